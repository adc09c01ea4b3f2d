"""The pages: what stands in the address bar. Each is a shell that its own script fills from the interface."""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from image_similarity import __version__
from image_similarity.reports.page import environment
from image_similarity.reports.text import visible
from image_similarity.values import Location
from image_similarity.web.desk import Desk, TheDesk
from image_similarity.web.guard import SIGN_IN, cookie_name, sender_of
from image_similarity.web.problems import Refused
from image_similarity.web.session import TheSession
from image_similarity.web.sessions import Session, Sessions, TooManyTries
from image_similarity.web.texts import FILE, text

# Pages by their address, in the order of the navigation; the name is that of template, script and texts.
PAGES = {
    "/": "library",
    "/search": "search",
    "/map": "map",
    "/stacks": "stacks",
    "/overview": "overview",
    "/selection": "selection",
}
# Pages that others lead to.
_OTHERS = {"/compare": "compare"}

router = APIRouter(include_in_schema=False)


@cache
def _environment() -> Any:
    made = environment("image_similarity.web")
    made.globals.update(t=text, pages=PAGES, version=__version__)
    return made


def shown(name: str, session: Session | None, desk: Desk, **more: object) -> HTMLResponse:
    """Give a page; `session` None is a page for who is not signed in."""
    page = (
        _environment()
        .get_template(f"{name}.html")
        .render(
            name=name,
            csrf=session.csrf if session else "",
            examiner=session.examiner if session else "",
            database=visible(desk.case.path.name),
            case_id=_case_id(desk.case.path),
            read_only=desk.options.read_only,
            **more,
        )
    )
    return HTMLResponse(page)


def _case_id(path: Location) -> str:
    """What a browser keeps a selection under: many a case is called case.db."""
    return hashlib.sha256(os.fsencode(str(path.resolve()))).hexdigest()[:16]


def _add(address: str, name: str) -> None:
    def page(desk: TheDesk, session: TheSession) -> HTMLResponse:
        return shown(name, session, desk)

    router.add_api_route(address, page, methods=["GET"], name=name)


for _address, _name in {**PAGES, **_OTHERS}.items():
    _add(_address, _name)


@router.get(SIGN_IN)
def sign_in(request: Request, desk: TheDesk, next: str = "/", token: str = "") -> Response:
    """The first link carries the token; a page that has a password asks for it."""
    sessions: Sessions = request.app.state.sessions
    if token and not sessions.is_password:
        return _opened(request, desk, token, next)
    return _asked(sessions, desk, next)


@router.post(SIGN_IN)
async def signed_in(request: Request, desk: TheDesk) -> Response:
    """The password, or the token, from the form."""
    sent = parse_qs((await request.body()).decode("utf-8", "replace"))
    return _opened(request, desk, *(sent.get(name, [""])[0] for name in ("key", "next")))


@router.post("/sign-out")
def sign_out(request: Request, session: TheSession, desk: TheDesk) -> Response:
    """End the session; the browser's cookie goes, and what it kept of the pictures."""
    sessions: Sessions = request.app.state.sessions
    sessions.close(session)
    answer = RedirectResponse(SIGN_IN, 303, {"Clear-Site-Data": '"cache"'})
    answer.delete_cookie(cookie_name(desk.options), **_flags(desk))
    return answer


def _opened(request: Request, desk: Desk, key: str, next: str) -> Response:
    sessions: Sessions = request.app.state.sessions
    try:
        session = sessions.opened_by(key, sender_of(request.scope))
    except TooManyTries as error:
        page = _asked(sessions, desk, next, text("sign_in.wait", seconds=error.seconds))
        page.status_code = 429
        page.headers["Retry-After"] = str(error.seconds)
        return page
    if session is None:
        page = _asked(sessions, desk, next, text("sign_in.wrong"))
        page.status_code = 403
        return page
    # Only to a page of ours: "//elsewhere" would be another server.
    is_ours = re.fullmatch("/[a-z]*", next.partition("?")[0])
    answer = RedirectResponse(next if is_ours else "/", 303)
    answer.set_cookie(cookie_name(desk.options), session.id, **_flags(desk))
    return answer


def _asked(sessions: Sessions, desk: Desk, next: str, problem: str = "") -> HTMLResponse:
    """The page that asks for the key."""
    return shown(
        "sign_in", None, desk, next=next, problem=problem, is_password=sessions.is_password
    )


def _flags(desk: Desk) -> dict[str, Any]:
    """What a browser may do with the cookie."""
    is_secure = desk.options.certificate is not None
    return {"httponly": True, "samesite": "strict", "secure": is_secure}


@router.get("/static/texts.json")
def texts_file() -> FileResponse:
    """The texts, for the scripts."""
    return FileResponse(FILE)


@router.get("/favicon.ico")
def favicon() -> Response:
    """None; browsers ask for one by themselves."""
    raise Refused(404, "not_found", "there is none")
