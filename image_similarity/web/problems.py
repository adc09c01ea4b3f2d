"""What goes wrong, as the interface tells it: one shape for every error, whoever found it."""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from image_similarity import errors
from image_similarity.reports.text import visible
from image_similarity.web.description import methods_of

_LOG = logging.getLogger(__name__)
# Of what is wrong with one request.
_MOST_TOLD = 5
# The first class that an error is of decides.
_STATUS: tuple[tuple[type[errors.ImageSimilarityError], int], ...] = (
    (errors.UnknownImage, 404),
    (errors.UnknownScene, 404),
    (errors.UnknownSource, 404),
    (errors.UnknownModel, 404),
    (errors.UsageError, 400),
    (errors.ImageUnreadable, 422),
    (errors.ExtraMissing, 501),
    (errors.DatabaseLocked, 503),
    # It may be back in a moment; the next request connects anew.
    (errors.ServerRefused, 503),
    (errors.DatabaseError, 500),
    (errors.ImageSimilarityError, 409),
)


class Problem(BaseModel):
    """What went wrong: a word for programs, a sentence for people, and what to do next."""

    code: str
    message: str
    hint: str = ""


class ProblemShape(BaseModel):
    """The body of every answer that is an error."""

    error: Problem


class Refused(Exception):
    """What the page itself does not do, with the status that says so."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


def problem(status: int, code: str, message: str, hint: str = "") -> JSONResponse:
    """Give the answer that says what went wrong."""
    told = Problem(code=code, message=visible(message), hint=visible(hint))
    headers = {"Retry-After": "1"} if status in (429, 503) else None
    return JSONResponse({"error": told.model_dump()}, status_code=status, headers=headers)


def tell_terminal(where: str, error: BaseException) -> None:
    """Say on the terminal what nobody expected; texts from evidence must not write there as they like."""
    trace = "".join(traceback.format_exception(error)).splitlines()
    _LOG.error("\n".join(map(visible, (where, *trace))))


def install(app: FastAPI) -> None:
    """Make an application answer in this shape; what nobody expected, the guard answers."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return problem(error.status, error.code, error.message, error.hint)

    @app.exception_handler(errors.ImageSimilarityError)
    async def ours(request: Request, error: errors.ImageSimilarityError) -> JSONResponse:
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        return problem(status, _code(type(error).__name__), error.message, error.hint)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        # One that sends a thousand unknown fields need not read of each.
        told = "; ".join(map(_where, error.errors()[:_MOST_TOLD]))
        return problem(422, "malformed", told, "see /api")

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        answer = problem(status, status.name.lower(), error.detail or status.phrase)
        answer.headers.update(error.headers or {})
        if status == 405 and (methods := methods_of(app.openapi(), request.url.path)):
            # The framework names those of the first operation at this address alone.
            answer.headers["Allow"] = ", ".join(methods)
        return answer


def _where(found: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in found["loc"][1:]) or str(found["loc"][0])
    return f"{place}: {found['msg']}"


def _code(name: str) -> str:
    """A class name as a word for programs: UnknownImage, unknown_image."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]
