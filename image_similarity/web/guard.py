"""Guard: what every request passes before anything else sees it, and what every answer leaves with.

The page is on loopback, where any web page in the same browser and any program on the machine can reach it. So a
request must name this server as its host (or a foreign name that was pointed at this machine would do: DNS rebinding),
must come with the cookie or the key, and if it changes anything, from this page itself: same origin, and with the
session's token in a header, which no foreign page can read or set.

What goes wrong further in is answered here, too: an answer that Starlette makes beyond this would have no headers.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import RedirectResponse, Response

from image_similarity.web.options import ServeOptions
from image_similarity.web.problems import problem, tell_terminal
from image_similarity.web.sessions import Session, Sessions, TooManyTries

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CSRF_HEADER = "X-CSRF-Token"
UPLOADS = "/api/v1/uploads"
SIGN_IN = "/sign-in"
# Of any other request's body, in bytes; whoever is not signed in sends a password, and nothing longer.
MOST_SENT = 2 * 2**20
_MOST_SENT_TO_SIGN_IN = 8 * 2**10
# Within which a body must have come: a client that sends a byte a minute would keep its place for ever.
SECONDS_TO_SEND = 300
# Requests that are worked on or wait for a thread; more are told to come back.
MOST_AT_ONCE = 128
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        # A script that would set markup or code from a text fails, whatever the text is.
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": with it browsers call the origin of our own form "null", as they do that of a foreign page.
    "Referrer-Policy": "same-origin",
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
        self._origins = origins_of(options)
        self._at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what must not pass; hand on the rest."""
        if scope["type"] != "http":
            # No web sockets here; `lifespan` is the server's own.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        leaving = _Leaving(send, scope["path"])
        refusal, session = self._judged(scope)
        if refusal is not None:
            await refusal(scope, receive, leaving)
            return
        scope.setdefault("state", {})["session"] = session
        self._at_once += 1
        try:
            await self._app(scope, _limited(receive, self._most_sent(scope["path"])), leaving)
        except ClientDisconnect:
            # Nobody is there to be answered.
            pass
        except asyncio.CancelledError:
            # The server ends, and this took longer than it waits for anyone.
            if not leaving.has_begun:
                await _closing()(scope, receive, leaving)
        except Exception as error:
            tell_terminal(f"{scope['method']} {scope['path']}", error)
            if not leaving.has_begun:
                await _unexpected(error)(scope, receive, leaving)
        finally:
            self._at_once -= 1

    def _judged(self, scope: Scope) -> tuple[Response | None, Session | None]:
        """The answer to what must not pass, or None and the session."""
        headers, path = Headers(scope=scope), scope["path"]
        refusal = self._foreign(scope["method"], path, headers)
        if refusal is None and self._at_once >= MOST_AT_ONCE:
            refusal = problem(503, "busy", "too many requests at once", "try again")
        most = self._most_sent(path)
        if refusal is None and _length(headers) > most:
            refusal = _too_large(most)
        if refusal is not None or _needs_no_session(path):
            return refusal, None
        try:
            return self._signed_in(scope, headers)
        except TooManyTries as error:
            return too_many_tries(error), None

    def _foreign(self, method: str, path: str, headers: Headers) -> Response | None:
        """The answer to what was meant for another server, or comes from another's page."""
        scheme = "https" if self._options.certificate else "http"
        hosts = headers.getlist("host")
        if len(hosts) != 1 or f"{scheme}://{hosts[0].lower()}" not in self._origins:
            return problem(
                421, "foreign_host", "this server is not called that", "use the link it printed"
            )
        site = headers.get("sec-fetch-site", "same-origin")
        # A link to a page may be followed from anywhere; whether the page is shown, the cookie decides.
        navigates = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        is_link = navigates and not path.startswith("/api/")
        if (
            any(origin.lower() not in self._origins for origin in headers.getlist("origin"))
            # "none" is what a person typed.
            or (site not in ("same-origin", "none") and not is_link)
        ):
            return problem(
                403, "foreign_origin", "another site's page asked for this", "use the page itself"
            )
        return None

    def _signed_in(self, scope: Scope, headers: Headers) -> tuple[Response | None, Session | None]:
        """The session, and with a change that comes by cookie the token that only our pages know."""
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            session = self._sessions.of_program(key.strip(), sender_of(scope))
            return (None, session) if session else (_no_session(), None)
        path, is_safe = scope["path"], scope["method"] in _SAFE
        cookie = HTTPConnection(scope).cookies.get(cookie_name(self._options), "")
        session = self._sessions.of_cookie(cookie)
        if session is None:
            if path.startswith("/api/") or not is_safe:
                return _no_session(), None
            query = scope["query_string"].decode("ascii", "replace")
            wanted = path + (f"?{query}" if query else "")
            return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='')}", 303), None
        if not is_safe and not hmac.compare_digest(
            headers.get(CSRF_HEADER, "").encode(), session.csrf.encode()
        ):
            return problem(
                403, "no_csrf_token", f"a change needs the header {CSRF_HEADER}", "reload the page"
            ), None
        return None, session

    def _most_sent(self, path: str) -> int:
        """How long a body may be."""
        if path == SIGN_IN:
            return _MOST_SENT_TO_SIGN_IN
        return self._options.most_uploaded if path == UPLOADS else MOST_SENT


def cookie_name(options: ServeOptions) -> str:
    """The name of the session's cookie; browsers keep cookies by host, not by port, and several pages may be up."""
    # A browser takes a cookie of this prefix over TLS only, and only from the very host.
    prefix = "__Host-" if options.certificate else ""
    return f"{prefix}image_similarity_{options.port}"


def sender_of(scope: Scope) -> str:
    """The address that a request came from."""
    client = scope.get("client")
    return client[0] if client else ""


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


def too_many_tries(error: TooManyTries) -> Response:
    """Give the answer to who guesses."""
    answer = problem(429, "too_many_tries", str(error), f"wait {error.seconds} s")
    answer.headers["Retry-After"] = str(error.seconds)
    return answer


def _needs_no_session(path: str) -> bool:
    """How a session is opened, and what the pages look like."""
    return path == SIGN_IN or path.startswith("/static/")


def _no_session() -> Response:
    return problem(401, "no_session", "sign in first", "use the link that the server printed")


def _too_large(most: int) -> Response:
    return problem(413, "too_large", f"at most {most} bytes are taken")


def _closing() -> Response:
    return problem(503, "closing", "the page is being closed", "what was decided is saved")


def _unexpected(error: Exception) -> Response:
    # Its text may tell of paths and programs; the terminal has it, with the place.
    told = f"unexpected {type(error).__name__}"
    return problem(500, "unexpected", told, "the terminal of the server says where")


def _length(headers: Headers) -> int:
    told = headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdigit() else 0


def _limited(receive: Receive, most: int) -> Receive:
    """Stop a body that is longer than it said, or did not say how long it is, or does not end."""
    received, is_whole = 0, False
    latest = asyncio.get_running_loop().time() + SECONDS_TO_SEND

    async def limited() -> MutableMapping[str, Any]:
        nonlocal received, is_whole
        if is_whole:
            # From here on it waits for the client to go.
            return await receive()
        try:
            async with asyncio.timeout_at(latest):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"it took more than {SECONDS_TO_SEND} s to send") from None
        received += len(message.get("body", b""))
        if received > most:
            raise HTTPException(413, f"at most {most} bytes are taken")
        is_whole = not message.get("more_body", False)
        return message

    return limited


class _Leaving:
    """The way out: every answer gets its headers here.

    Attributes:
        has_begun: Whether something was sent.
    """

    def __init__(self, send: Send, path: str) -> None:
        self._send = send
        self.has_begun = False
        # Pages and answers tell of the case; small pictures say themselves how long they may be kept.
        self._keeping = "no-cache" if path.startswith("/static/") else "no-store"

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", self._keeping)
        await self._send(message)
