"""What was done and what could not be taken: runs with their accounts, failures, and what the case does not cover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from image_similarity.errors import UsageError
from image_similarity.reports.text import visible
from image_similarity.values import Failure, RunReport
from image_similarity.web.api.jobs import source_names
from image_similarity.web.api.paging import cut
from image_similarity.web.api.shapes import Cursor, Limit, Page, SourceShape, source_shape
from image_similarity.web.desk import TheDesk
from image_similarity.web.problems import Refused
from image_similarity.web.texts import texts

router = APIRouter(tags=["runs"])

# Kinds that may well hold pictures; none is opened.
NOT_SEARCHED = ("document", "video", "archive")
# Of one run, with its account; /failures has them page by page.
_FAILURES_SHOWN = 500

RunId = Annotated[int, Path(ge=1, le=2**31, description="Of the run, from the list of runs.")]
Stage = Literal["walk", "stat", "read", "decode", "embed"]
Status = Literal["running", "done", "partial", "interrupted", "failed"]
# As it is shown.
SourceFilter = Annotated[
    str | None, Query(min_length=1, max_length=4096, description="Only of this source.")
]


class MountShape(BaseModel):
    """How the evidence was mounted during a run."""

    point: str
    read_only: bool
    access_times: str = Field(description='Written "on" every reading, "relative" or "off".')


class RunShape(BaseModel):
    """A run with its account: seen = new + duplicate + unchanged + failed + all of skipped."""

    id: int
    kind: str
    status: Status
    source: str
    root: str
    models: list[str]
    started_at: str
    finished_at: str | None
    seen: int
    new: int
    duplicate: int
    unchanged: int
    failed: int
    skipped: dict[str, int] = Field(description="Left out by a rule, by what they seemed to be.")
    moved: int
    gone: int
    partial: int
    embedded: int
    bytes_read: int
    seconds: float = Field(description="Until the batch that was stored last.")
    rate: float | None = Field(description="Pictures through the network a second.")
    accounted: bool = Field(description="Whether the account adds up.")
    mount: MountShape | None


class FailureShape(BaseModel):
    """A file that could not be taken, and why."""

    source: str
    path: str
    stage: Stage
    error: str
    message: str
    meaning: str = Field(description="The same in plain words.")
    size: int | None
    sha256: str | None = Field(description="Of its bytes, where they could be read.")
    run: int | None = Field(description="That met it.")


class RunRecord(RunShape):
    """A run with the failures that it met, 500 of them at most; see /failures."""

    failures: list[FailureShape]


class Failures(Page[FailureShape]):
    """Failures, counted by stage and by error among those of the source or run that was asked for."""

    by_stage: dict[str, int]
    by_error: dict[str, int] = Field(description="Of the stage that was asked for.")


class Head(BaseModel):
    """The end of the audit chain."""

    number: int
    at: str
    digest: str


class SourceState(SourceShape):
    """A source and its last run that walked it."""

    last_run: RunShape | None


class CoverageShape(BaseModel):
    """What of the evidence the case covers, and what not."""

    number: str
    examiner: str
    exhibit: str
    notes: str
    pictures: int
    files: int
    gone: int
    failures: int
    failed: dict[str, int] = Field(description="Open failures by stage.")
    skipped: dict[str, int] = Field(description="Left out by a rule, by what they seemed to be.")
    not_searched: dict[str, int] = Field(
        description="Of these, documents, videos and archives: pictures inside them are not in the case."
    )
    partial: int = Field(description="Pictures that could be decoded only in part.")
    several_frames: dict[str, int] = Field(
        description="Pictures by format that may hold more than the one frame that was looked at."
    )
    database_bytes: int
    schema_revision: str
    sources: list[SourceState]
    head: Head | None


@router.get("/coverage")
def coverage(desk: TheDesk) -> CoverageShape:
    """What of the evidence the case covers and what not, as every report says it, with the head of the audit chain."""
    found = desk.case.coverage()
    facts, status = found.facts, found.status
    return CoverageShape(
        number=visible(facts.number),
        examiner=visible(facts.examiner),
        exhibit=visible(facts.exhibit),
        notes=visible(facts.notes),
        pictures=status.images,
        files=status.files,
        gone=status.gone,
        failures=status.failures,
        failed=dict(found.failed),
        skipped=dict(status.skipped),
        not_searched=_not_searched(status.skipped),
        partial=found.partial,
        several_frames=dict(found.several_frames),
        database_bytes=status.size,
        schema_revision=status.revision,
        sources=[
            SourceState(**source_shape(each).model_dump(), last_run=_last(found.runs, each.name))
            for each in status.sources
        ],
        head=Head(number=found.head.number, at=found.head.at, digest=found.head.digest)
        if found.head
        else None,
    )


@router.get("/runs")
def runs(
    desk: TheDesk,
    source: SourceFilter = None,
    status: Annotated[Status | None, Query(description="Only runs that ended so.")] = None,
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Page[RunShape]:
    """The runs, newest first; one that is running, in whatever process, as far as it stored its account."""
    names = source_names(desk.case, [source]) if source else []
    found = [
        each
        for each in desk.case.runs()
        if (not names or each.source in names) and status in (None, each.status)
    ]
    page, following = cut(found, lambda run: str(run.run_id), cursor, limit)
    return Page(items=[run_shape(each) for each in page], next=following, total=len(found))


@router.get("/runs/{id}")
def run(id: RunId, desk: TheDesk) -> RunRecord:
    """One run with its account and the failures that it met."""
    found = _run(desk, id)
    return RunRecord(
        **run_shape(found).model_dump(),
        failures=[_failure_shape(each) for each in found.failures[:_FAILURES_SHOWN]],
    )


@router.get("/failures")
def failures(
    desk: TheDesk,
    source: SourceFilter = None,
    run: Annotated[int | None, Query(ge=1, le=2**31, description="Only what it met.")] = None,
    stage: Annotated[Stage | None, Query(description="Only failures of this stage.")] = None,
    error: Annotated[
        str | None, Query(min_length=1, max_length=100, description="Only failures of this kind.")
    ] = None,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Failures:
    """The failures that are still open, or those that one run met, by source and path."""
    names = source_names(desk.case, [source]) if source else []
    every = desk.case.failures() if run is None else _run(desk, run).failures
    found = [each for each in every if not names or each.source in names]
    by_stage = Counter(each.stage for each in found)
    found = [each for each in found if stage in (None, each.stage)]
    by_error = Counter(each.error for each in found)
    found = [each for each in found if error in (None, each.error)]
    page, following = cut(found, _name, cursor, limit)
    return Failures(
        items=[_failure_shape(each) for each in page],
        next=following,
        total=len(found),
        by_stage=dict(by_stage.most_common()),
        by_error={visible(name): count for name, count in by_error.most_common()},
    )


def run_shape(report: RunReport) -> RunShape:
    """A run, as it is shown."""
    mount = report.mount
    return RunShape(
        id=report.run_id,
        kind=report.kind,
        status=report.status,
        source=visible(report.source),
        root=visible(report.root),
        models=[visible(each) for each in report.models],
        started_at=report.started_at,
        finished_at=report.finished_at,
        seen=report.seen,
        new=report.new,
        duplicate=report.duplicate,
        unchanged=report.unchanged,
        failed=report.failed,
        skipped=dict(report.skipped),
        moved=report.moved,
        gone=report.gone,
        partial=report.partial,
        embedded=report.embedded,
        bytes_read=report.bytes_read,
        seconds=report.seconds,
        rate=report.embedded / report.seconds if report.embedded and report.seconds else None,
        accounted=report.accounted,
        mount=None
        if mount is None
        else MountShape(
            point=visible(mount.point), read_only=mount.read_only, access_times=mount.access_times
        ),
    )


def _run(desk: TheDesk, run_id: int) -> RunReport:
    try:
        return desk.case.run(run_id)
    except UsageError as error:
        raise Refused(404, "unknown_run", error.message) from error


def _failure_shape(failure: Failure) -> FailureShape:
    words = texts()
    return FailureShape(
        source=visible(failure.source),
        path=visible(failure.path),
        stage=failure.stage,
        error=visible(failure.error),
        message=visible(failure.message),
        meaning=words.get(f"failure.{failure.error}") or words[f"failure.{failure.stage}"],
        size=failure.size,
        sha256=failure.sha256,
        run=failure.run_id,
    )


def _name(failure: Failure) -> str:
    return f"{failure.run_id}\0{failure.source}\0{failure.path}"


def _last(found: Sequence[RunReport], source: str) -> RunShape | None:
    """The newest run that walked a source; imports and derivations did not."""
    walked = (each for each in found if each.source == source)
    newest = next((each for each in walked if each.kind not in ("import", "derive")), None)
    return None if newest is None else run_shape(newest)


def _not_searched(skipped: Mapping[str, int]) -> dict[str, int]:
    return {kind: skipped.get(kind, 0) for kind in NOT_SEARCHED}
