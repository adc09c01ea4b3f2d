"""Long work that the page begins, watches and stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from image_similarity.case import Case
from image_similarity.errors import UnknownSource
from image_similarity.reports.text import visible
from image_similarity.web.api.paging import cut
from image_similarity.web.api.shapes import Cursor, Limit, Page
from image_similarity.web.desk import TheDesk
from image_similarity.web.jobs import Job, State
from image_similarity.web.session import TheSession

router = APIRouter(tags=["runs"])

Id = Annotated[int, Path(ge=1, le=2**31, description="Of the job.")]
# As it is shown; the library takes the escapes back.
SourceName = Annotated[str, Field(min_length=1, max_length=4096)]


class JobRequest(BaseModel):
    """What to do."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["refresh", "retry", "stacks", "map"] = Field(
        description='"refresh" takes in what is new or changed, "retry" also tries failures again, "stacks" looks '
        'for near duplicates, "map" lays pictures out.'
    )
    sources: list[SourceName] = Field(
        [], max_length=100, description="Only these, of refresh and retry; empty for all."
    )
    turned: bool = Field(False, description="Of stacks: also turned or mirrored ones.")
    model: str = Field(
        "", pattern="^([0-9a-f]{64})?$", description="Of map: a fingerprint; empty for the usual."
    )


class ProgressShape(BaseModel):
    """How far a job is with what it has in hand."""

    source: str
    unit: str
    done: int
    total: int
    embedded: int = Field(description="Pictures that went through the network.")
    failed: int
    rate: float | None = Field(description="Of `unit` a second.")
    seconds_left: float | None


class JobShape(BaseModel):
    """A job."""

    id: int
    kind: str
    state: State
    stopping: bool = Field(description="Asked to stop, and finishing what it has in hand.")
    sources: list[str]
    examiner: str
    began_at: str | None
    ended_at: str | None
    progress: ProgressShape | None
    notices: list[str]
    runs: list[int] = Field(description="That it finished; see /runs.")
    message: str = Field(description="Why it failed.")
    hint: str
    result: dict[str, Any]


@router.get("/jobs")
def jobs(desk: TheDesk, cursor: Cursor = "", limit: Limit = 100) -> Page[JobShape]:
    """The jobs since the page was opened, newest first."""
    found = desk.jobs.jobs()
    page, following = cut(found, lambda job: str(job.id), cursor, limit)
    return Page(items=[job_shape(each) for each in page], next=following, total=len(found))


@router.post("/jobs", status_code=202)
def begin(asked: JobRequest, desk: TheDesk, session: TheSession) -> JobShape:
    """Begin a job; 409 while another one runs. It goes on when the browser is closed, and ends with the server."""
    sources = source_names(desk.case, asked.sources)
    return job_shape(
        desk.jobs.begin(asked.kind, {**asked.model_dump(), "sources": sources}, session.examiner)
    )


@router.get("/jobs/{id}")
def job(id: Id, desk: TheDesk) -> JobShape:
    """One job."""
    return job_shape(desk.jobs.job(id))


@router.delete("/jobs/{id}")
def stop(id: Id, desk: TheDesk) -> JobShape:
    """Stop a job: what it finished is stored, and the next one goes on from there. One that is over stays as it is."""
    return job_shape(desk.jobs.stop(id))


def source_names(case: Case, shown: Sequence[str]) -> list[str]:
    """The names of sources that were given as they are shown.

    Raises:
        UnknownSource.
    """
    known = {visible(each.name): each.name for each in case.sources()}
    for name in shown:
        if name not in known:
            raise UnknownSource(
                f"there is no source {name!r}", hint=f"there is: {', '.join(known)}"
            )
    return list(dict.fromkeys(known[name] for name in shown))


def job_shape(job: Job) -> JobShape:
    """A job, as it is shown."""
    progress = ProgressShape(
        source=visible(job.source),
        unit=job.unit,
        done=job.done,
        total=job.total,
        embedded=job.embedded,
        failed=job.failed,
        rate=job.rate,
        seconds_left=job.seconds_left,
    )
    return JobShape(
        id=job.id,
        kind=job.kind,
        state=job.state,
        stopping=job.stopping,
        sources=[visible(each) for each in job.asked["sources"]],
        examiner=visible(job.examiner),
        began_at=job.began_at,
        ended_at=job.ended_at,
        progress=progress if job.unit else None,
        notices=[visible(each) for each in job.notices],
        runs=list(job.runs),
        message=visible(job.message),
        hint=visible(job.hint),
        result=dict(job.result),
    )
