"""The application: guard, pages and interface put together."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from image_similarity import __version__
from image_similarity.web import pages, problems
from image_similarity.web.api import routers
from image_similarity.web.desk import Desk
from image_similarity.web.guard import Guard
from image_similarity.web.problems import ProblemShape
from image_similarity.web.sessions import Sessions

_STATIC = Path(__file__).parent / "static"
API = "/api/v1"
_DESCRIPTION = (
    "The operations of the page, for programs. Send the key that the server printed as "
    "`Authorization: Bearer KEY`. Hits are documented leads for examination, never findings."
)


def make_app(desk: Desk, sessions: Sessions) -> FastAPI:
    """Give the application over an open case; whoever makes it closes the desk."""
    app = FastAPI(
        title="image_similarity",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        # Their pages load scripts from elsewhere; ours is /api.
        docs_url=None,
        redoc_url=None,
        responses={
            status: {"model": ProblemShape} for status in (400, 401, 403, 404, 409, 413, 422, 503)
        },
        redirect_slashes=False,
    )
    app.state.desk, app.state.sessions = desk, sessions
    problems.install(app)
    for router in routers():
        app.include_router(router, prefix=API)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=_STATIC))
    app.add_middleware(Guard, options=desk.options, sessions=sessions)
    return app
