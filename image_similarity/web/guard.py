"""Guard: what every request passes before anything else sees it, and what every answer leaves with.

The page is on loopback, where any web page in the same browser and any program on the machine can reach it. So a
request must name this server as its host (or a foreign name that was pointed at this machine would do: DNS rebinding),
must come with the cookie or the key, and if it changes anything, from this page itself: same origin, and with the
session's token in a header, which no foreign page can read or set.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response

from image_similarity.web.options import ServeOptions
from image_similarity.web.problems import problem
from image_similarity.web.sessions import Session, Sessions

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CSRF_HEADER = "X-CSRF-Token"
UPLOADS = "/api/v1/uploads"
# Of any other request's body, in bytes.
MOST_SENT = 2 * 2**20
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What needs no session: how one is opened, and what the pages look like.
_OPEN = ("/sign-in", "/static/")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """The middleware; a request that passed has its `Session` as `request.state.session`."""

    def __init__(self, app: App, *, options: ServeOptions, sessions: Sessions) -> None:
        self._app = app
        self._options = options
        self._sessions = sessions
        self._cookie = cookie_name(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what must not pass; hand on the rest."""
        if scope["type"] != "http":
            # No web sockets here; `lifespan` is the server's own.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        leave = _leaving(send, scope["path"])
        headers = Headers(scope=scope)
        refusal, session = self._judged(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, leave)
            return
        scope.setdefault("state", {})["session"] = session
        most = self._options.most_uploaded if scope["path"] == UPLOADS else MOST_SENT
        if _length(headers) > most:
            await _too_large(most)(scope, receive, leave)
            return
        await self._app(scope, _limited(receive, most), leave)

    def _judged(self, scope: Scope, headers: Headers) -> tuple[Response | None, Session | None]:
        """The answer to what must not pass, or None and the session."""
        origins = origins_of(self._options)
        scheme = "https" if self._options.certificate else "http"
        if f"{scheme}://{headers.get('host', '').lower()}" not in origins:
            return problem(
                421, "foreign_host", "this server is not called that", "use the link it printed"
            ), None
        path: str = scope["path"]
        safe = scope["method"] in _SAFE
        origin = headers.get("origin")
        foreign = origin is not None and origin.lower() not in origins
        if foreign or (not safe and headers.get("sec-fetch-site", "same-origin") != "same-origin"):
            return problem(
                403, "foreign_origin", "another site's page asked for this", "use the page itself"
            ), None
        if path.startswith(_OPEN):
            return None, None
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            session = self._sessions.of_program(key.strip())
            return (None, session) if session else (_no_session(), None)
        session = self._sessions.of_cookie(cookie_of(headers, self._cookie))
        if session is None:
            if path.startswith("/api/") or not safe:
                return _no_session(), None
            query = scope["query_string"].decode("ascii", "replace")
            wanted = path + (f"?{query}" if query else "")
            return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", 303), None
        if not safe and not hmac.compare_digest(
            headers.get(CSRF_HEADER, "").encode(), session.csrf.encode()
        ):
            return problem(
                403, "no_csrf_token", f"a change needs the header {CSRF_HEADER}", "reload the page"
            ), None
        return None, session


def cookie_name(options: ServeOptions) -> str:
    """The name of the session's cookie; browsers keep cookies by host, not by port, and several pages may be up."""
    return f"image_similarity_{options.port}"


def cookie_of(headers: Headers, name: str) -> str:
    """The value of a cookie, or an empty text."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def origins_of(options: ServeOptions) -> frozenset[str]:
    """What this server may be called, as origins: "http://127.0.0.1:8765"."""
    scheme, usual = ("https", 443) if options.certificate else ("http", 80)
    host = f"[{options.host}]" if ":" in options.host else options.host
    names = {host, *options.names}
    if is_loopback(options.host):
        names |= {"127.0.0.1", "localhost", "[::1]"}
    found = {f"{scheme}://{name.lower()}:{options.port}" for name in names}
    if options.port == usual:
        found |= {f"{scheme}://{name.lower()}" for name in names}
    return frozenset(found)


def is_loopback(host: str) -> bool:
    """Whether an address to listen at can be reached from this machine alone."""
    return host in ("127.0.0.1", "::1", "localhost")


def _no_session() -> Response:
    return problem(401, "no_session", "sign in first", "use the link that the server printed")


def _too_large(most: int) -> Response:
    return problem(413, "too_large", f"at most {most} bytes are taken", "send a smaller picture")


def _length(headers: Headers) -> int:
    told = headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdigit() else 0


def _limited(receive: Receive, most: int) -> Receive:
    """Stop a body that is longer than it said, or did not say how long it is."""
    from starlette.exceptions import HTTPException

    received = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise HTTPException(413, f"at most {most} bytes are taken")
        return message

    return limited


def _leaving(send: Send, path: str) -> Send:
    # Pages and answers tell of the case; small pictures say themselves how long they may be kept.
    keeping = "no-cache" if path.startswith("/static/") else "no-store"

    async def leave(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", keeping)
        await send(message)

    return leave
