"""What case this is, and who is at it."""

from __future__ import annotations

import importlib.util
import unicodedata
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from image_similarity import __version__
from image_similarity.reports.text import visible
from image_similarity.web.api.shapes import SourceShape, source_shape
from image_similarity.web.desk import TheDesk
from image_similarity.web.problems import Refused
from image_similarity.web.session import TheSession
from image_similarity.web.sessions import LONGEST_NAME

router = APIRouter(tags=["case"])


class Model(BaseModel):
    """A model whose vectors or scenes the case holds."""

    name: str
    fingerprint: str
    vectors: int = Field(description="Pictures that have a vector of it.")


class About(BaseModel):
    """The case as a whole."""

    database: str
    number: str
    examiner: str = Field(description="Of the case; that of the session is its own.")
    exhibit: str
    version: str
    read_only: bool
    pictures: int
    files: int
    failures: int
    models: list[Model]
    sources: list[SourceShape]
    hash_lists: list[str]
    tags: list[str]
    extras: list[str] = Field(description='Of "match" and "pdq" those that are installed.')


class Examiner(BaseModel):
    """Whose name decisions carry in the audit chain."""

    model_config = ConfigDict(extra="forbid", strict=True)

    examiner: Annotated[str, Field(max_length=LONGEST_NAME)]


@router.get("/case")
def case(desk: TheDesk) -> About:
    """The case: what it is called, what it holds, what can be asked of it."""
    facts, status = desk.case.facts(), desk.case.status()
    installed = {"match": "cv2", "pdq": "pdqhash"}
    return About(
        database=visible(str(desk.case.path)),
        number=facts.number,
        examiner=facts.examiner,
        exhibit=facts.exhibit,
        version=__version__,
        read_only=desk.options.read_only,
        pictures=status.images,
        files=status.files,
        failures=status.failures,
        models=[
            Model(
                name=each.name,
                fingerprint=each.fingerprint,
                vectors=status.embeddings.get(each.fingerprint, 0),
            )
            for each in status.models
        ],
        sources=[source_shape(each) for each in status.sources],
        hash_lists=[visible(each.name) for each in desk.case.hash_lists()],
        tags=desk.case.tags(),
        extras=[name for name, module in installed.items() if importlib.util.find_spec(module)],
    )


@router.get("/session")
def session(session: TheSession) -> Examiner:
    """Whose name this session's decisions carry; empty for the system's own."""
    return Examiner(examiner=session.examiner)


@router.put("/session")
def set_session(examiner: Examiner, session: TheSession) -> Examiner:
    """Say whose name this session's decisions carry from now on; empty for the system's own."""
    name = unicodedata.normalize("NFC", examiner.examiner).strip()
    if visible(name) != name or len(name) > LONGEST_NAME:
        raise Refused(422, "invalid_setting", "a name is one line of text that can be read")
    session.examiner = name
    return Examiner(examiner=session.examiner)
