"""What examiners say of pictures: tags, notes, categories, verdicts, and how they are taken back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from image_similarity.case import Case
from image_similarity.errors import InvalidSetting, UsageError
from image_similarity.values import Decision
from image_similarity.web.api.shapes import (
    HEX,
    DecisionShape,
    Limit,
    Page,
    decision_shape,
    decision_shapes,
)
from image_similarity.web.desk import TheDesk
from image_similarity.web.problems import Refused
from image_similarity.web.session import TheSession

router = APIRouter(tags=["decisions"])

Mark = Literal["tag", "note", "category"]
_NAME = "^[mp][1-9][0-9]{0,17}$"
Name = Annotated[str, Field(pattern=_NAME)]
Hash = Annotated[str, Field(pattern=HEX)]
Text = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        description="One line of text; of a tag or category at most 100 characters.",
    ),
]
# In one transaction, which no run should wait for long.
_MOST = 1000
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "Unknown."}}
_AskedHash = Annotated[str, Query(pattern="^([0-9a-f]{64})?$")]


class NewMark(BaseModel):
    """What is said of a picture."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Mark
    sha256: Hash
    value: Text


class NewVerdict(BaseModel):
    """Whether a hit belongs to a query."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["verdict"]
    sha256: Hash
    value: Literal["relevant", "irrelevant"]
    query_sha256: Hash = Field(description="Of the query, which need not be stored.")


class NewDecisions(BaseModel):
    """The same, said of several pictures."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256s: list[Hash] = Field(min_length=1, max_length=_MOST)
    kind: Mark
    value: Text


class Decided(BaseModel):
    """What was said of several pictures."""

    decided: list[DecisionShape] = Field(description="Those that did not stand before.")
    stood: int = Field(description="Of how many pictures it stood already.")


class Names(BaseModel):
    """Decisions by their names."""

    model_config = ConfigDict(extra="forbid", strict=True)

    names: list[Name] = Field(min_length=1, max_length=_MOST)


class Withdrawn(BaseModel):
    """Decisions that were withdrawn."""

    withdrawn: list[DecisionShape]


@router.get("/decisions")
def decisions(
    desk: TheDesk,
    sha256: Annotated[_AskedHash, Query(description="On this picture.")] = "",
    tag: Annotated[
        str, Query(max_length=100, description="All decisions on pictures that have this tag.")
    ] = "",
    kind: Annotated[
        Mark | Literal["verdict"] | None, Query(description="Of this kind alone.")
    ] = None,
    value: Annotated[str, Query(max_length=2000, description="That say this.")] = "",
    query_sha256: Annotated[_AskedHash, Query(description="Verdicts on hits of this query.")] = "",
    withdrawn: Annotated[bool, Query(description="Also those that were withdrawn.")] = False,
    limit: Limit = 100,
    cursor: Annotated[
        str,
        Query(
            pattern="^([mp][1-9][0-9]{0,17})?$",
            description="`next` of the page before; empty for the first.",
        ),
    ] = "",
) -> Page[DecisionShape]:
    """Decisions that meet every choice made, the latest first; those that stand, or with `withdrawn` all."""
    try:
        found, total = desk.case.latest_decisions(
            sha256=sha256,
            tag=tag,
            kind=kind or "",
            value=value,
            query_sha256=query_sha256,
            withdrawn=withdrawn,
            before=cursor,
            limit=limit + 1,
        )
    except InvalidSetting as error:
        raise Refused(422, "bad_cursor", "the list has no such place", "begin anew") from error
    page = found[:limit]
    following = page[-1].name if len(found) > limit else None
    return Page(items=decision_shapes(page), next=following, total=total)


@router.post("/decisions", status_code=201, responses={200: {"model": DecisionShape}, **_UNKNOWN})
def decide(
    said: Annotated[NewMark | NewVerdict, Field(discriminator="kind")],
    desk: TheDesk,
    session: TheSession,
    response: Response,
) -> DecisionShape:
    """Say something of a picture, in the session's examiner's name: 201, or 200 with what stands already.

    A category takes the place of the one before, a verdict that of the one on the same hit of the same query.
    """
    with desk.deciding(session.examiner) as case:
        made = _said(case, said)
        if made is None:
            response.status_code = 200
            made = _standing(case, said)
    return decision_shape(made)


@router.delete("/decisions/{name}")
def withdraw(
    name: Annotated[str, Path(pattern=_NAME, description="Of the decision.")],
    desk: TheDesk,
    session: TheSession,
) -> DecisionShape:
    """Withdraw a decision; it stays on record, with the time."""
    return _withdrawn([name], desk, session)[0]


@router.post("/batches/decisions", responses=_UNKNOWN)
def decide_all(said: NewDecisions, desk: TheDesk, session: TheSession) -> Decided:
    """Say the same of up to 1,000 pictures in one transaction: of all of them, or where one is unknown, of none."""
    with desk.deciding(session.examiner) as case:
        made = case.decide_all(said.sha256s, said.kind, said.value)
    stood = len(set(said.sha256s)) - len(made)
    return Decided(decided=decision_shapes(made), stood=stood)


@router.post("/batches/withdrawals", responses=_UNKNOWN)
def withdraw_all(asked: Names, desk: TheDesk, session: TheSession) -> Withdrawn:
    """Withdraw up to 1,000 decisions, all or none."""
    return Withdrawn(withdrawn=_withdrawn(asked.names, desk, session))


def _said(case: Case, said: NewMark | NewVerdict) -> Decision | None:
    if isinstance(said, NewVerdict):
        return case.judge(said.query_sha256, said.sha256, said.value)
    return case.decide(said.sha256, said.kind, said.value)


def _standing(case: Case, said: NewMark | NewVerdict) -> Decision:
    """The decision that stood before this one was said."""
    query = said.query_sha256 if isinstance(said, NewVerdict) else ""
    found, _ = case.latest_decisions(
        sha256=said.sha256, kind=said.kind, value=said.value, query_sha256=query, limit=1
    )
    if not found:
        raise Refused(409, "withdrawn_meanwhile", "it stood, and was withdrawn meanwhile")
    return found[0]


def _withdrawn(names: list[str], desk: TheDesk, session: TheSession) -> list[DecisionShape]:
    with desk.deciding(session.examiner) as case:
        try:
            return decision_shapes(case.withdraw(*names))
        except UsageError as error:
            raise Refused(404, "no_such_decision", error.message) from error
