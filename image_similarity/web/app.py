"""The application: guard, pages and interface put together."""

from __future__ import annotations

from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from image_similarity import __version__
from image_similarity.web import api_page, pages, problems
from image_similarity.web.api import routers
from image_similarity.web.description import (
    ALWAYS,
    API,
    BEARER,
    INTRODUCTION,
    Described,
    operation_id,
)
from image_similarity.web.desk import Desk
from image_similarity.web.guard import Guard
from image_similarity.web.problems import ProblemShape
from image_similarity.web.sessions import Sessions

_STATIC = Path(__file__).parent / "static"


def make_app(desk: Desk, sessions: Sessions) -> FastAPI:
    """Give the application over an open case; whoever makes it closes the desk."""
    app = Described(
        title="image_similarity",
        version=__version__,
        description=INTRODUCTION,
        openapi_url=f"{API}/openapi.json",
        # Their pages load scripts from elsewhere; ours is /api.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        responses={status: {"model": ProblemShape} for status in ALWAYS},
        redirect_slashes=False,
        # An earlier FastAPI, which tells nobody of requests, keeps this and does nothing with it.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.state.desk, app.state.sessions = desk, sessions
    problems.install(app)
    for router in routers():
        app.include_router(router, prefix=API, dependencies=[Depends(BEARER)])
    app.include_router(pages.router)
    app.include_router(api_page.router)
    app.mount("/static", StaticFiles(directory=_STATIC))
    app.add_middleware(Guard, options=desk.options, sessions=sessions)
    return app
