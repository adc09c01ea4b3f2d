"""Jobs: long work that the page begins, one at a time, each in a thread with a case of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from image_similarity.case import Case
from image_similarity.errors import ImageSimilarityError
from image_similarity.events import Event, Finished, Listener, Notice, Progress, Started
from image_similarity.settings import IndexOptions
from image_similarity.values import Location
from image_similarity.web.problems import Refused, tell_terminal

State = Literal["waiting", "running", "done", "stopped", "failed"]
Stop = Callable[[], bool]
# Three batches are read ahead, and a run that is stopped finishes these: with larger ones, whoever closes the page
# on a slow machine would wait for minutes.
_BATCH = 16
# Takes the job's own case and what was asked for; gives a small JSON object.
Work = Callable[[Case, Mapping[str, Any], Listener, Stop], Mapping[str, Any]]

# Jobs that are remembered, and notices of each.
_KEPT = 50
_NOTICES = 20
# A run stores the batch in hand; a share that hangs must not keep the page from closing.
_SECONDS_TO_STOP = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of a job; `rate` is in `unit` a second, `runs` are the ids of the runs that it finished."""

    id: int
    kind: str
    asked: Mapping[str, Any]
    examiner: str
    state: State = "waiting"
    stopping: bool = False
    began_at: str | None = None
    ended_at: str | None = None
    source: str = ""
    unit: str = ""
    done: int = 0
    total: int = 0
    embedded: int = 0
    failed: int = 0
    rate: float | None = None
    seconds_left: float | None = None
    notices: tuple[str, ...] = ()
    runs: tuple[int, ...] = ()
    message: str = ""
    hint: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state in ("done", "stopped", "failed")


@dataclass(frozen=True, slots=True)
class _Kind:
    work: Work
    writes: bool


class Jobs:
    """The jobs of one page. Closing it stops the one that runs, in order: what was finished is stored."""

    def __init__(self, database: Location, *, read_only: bool) -> None:
        self._database, self._read_only = database, read_only
        self._kinds: dict[str, _Kind] = {}
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.add("refresh", refresh, writes=True)
        self.add("retry", retry, writes=True)

    def add(self, kind: str, work: Work, *, writes: bool = False) -> None:
        """Make a kind of job known; one that does not write may run on a case that is open for reading only."""
        self._kinds[kind] = _Kind(work, writes)

    def begin(self, kind: str, asked: Mapping[str, Any], examiner: str) -> Job:
        """Begin a job in an examiner's name.

        Raises:
            Refused: There is no such kind, it writes and the page must not, or another job is running.
        """
        known = self._kinds.get(kind)
        if known is None:
            raise Refused(422, "unknown_kind", f"there is no job {kind}", ", ".join(self._kinds))
        if known.writes and self._read_only:
            raise Refused(
                403, "read_only", "the case was opened for reading only", "leave out --read-only"
            )
        with self._lock:
            if self._closed or any(not each.is_over for each in self._jobs.values()):
                raise Refused(409, "job_running", "another job is running", "wait, or stop it")
            job = Job(max(self._jobs, default=0) + 1, kind, dict(asked), examiner)
            self._jobs[job.id] = job
            for old in list(self._jobs)[:-_KEPT]:
                del self._jobs[old]
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(job, known, self._stop), daemon=True, name=f"job-{job.id}"
            )
            self._thread.start()
        return job

    def jobs(self) -> list[Job]:
        """The jobs since the page was opened, newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def job(self, job_id: int) -> Job:
        """One job.

        Raises:
            Refused: There is none of that number.
        """
        with self._lock:
            found = self._jobs.get(job_id)
        if found is None:
            raise Refused(404, "unknown_job", f"there is no job {job_id}")
        return found

    def stop(self, job_id: int) -> Job:
        """Ask a job to end after what it has in hand; one that is over stays as it is.

        Raises:
            Refused: There is none of that number.
        """
        job = self.job(job_id)
        with self._lock:
            job = self._jobs.get(job_id, job)
            if not job.is_over:
                job = self._jobs[job_id] = replace(job, stopping=True)
                self._stop.set()
        return job

    def close(self) -> None:
        """Stop the job that runs, and wait for its end."""
        with self._lock:
            self._closed = True
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_SECONDS_TO_STOP)

    def _change(self, job_id: int, **what: Any) -> None:
        with self._lock:
            self._jobs[job_id] = replace(self._jobs[job_id], **what)

    def _run(self, job: Job, kind: _Kind, asked_to_stop: threading.Event) -> None:
        heeded = False

        def stop() -> bool:
            nonlocal heeded
            heeded = asked_to_stop.is_set()
            return heeded

        self._change(job.id, state="running", began_at=_now())
        ending: dict[str, Any]
        try:
            with (
                Case.open(self._database, read_only=not kind.writes) as case,
                case.acting_as(job.examiner),
            ):
                result = kind.work(case, job.asked, _Told(self, job.id), stop)
            ending = {"state": "stopped" if heeded else "done", "result": result}
        except Stopped:
            ending = {"state": "stopped"}
        except ImageSimilarityError as error:
            ending = {"state": "failed", "message": error.message, "hint": error.hint}
        # The outer door of this thread: what nobody expected must not look like a job that runs for ever.
        except Exception as error:
            tell_terminal(f"job {job.id}, {job.kind}", error)
            text = f"unexpected {type(error).__name__}: {error}"
            ending = {"state": "failed", "message": text}
        self._change(job.id, ended_at=_now(), stopping=False, seconds_left=None, **ending)


class Stopped(Exception):
    """Raised by a work that was stopped and has nothing to give."""


class _Told:
    """Keeps what the work says of its progress with the job."""

    def __init__(self, jobs: Jobs, job_id: int) -> None:
        self._jobs, self._id = jobs, job_id
        self._first: tuple[int, float] | None = None

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Started(source, _, total, unit):
                self._first = None
                began = {"source": source, "total": total, "unit": unit, "rate": None}
                self._keep(**began, done=0, embedded=0, failed=0, seconds_left=None)
            case Progress(done, total, embedded, failed):
                rate = self._rate(done)
                left = (total - done) / rate if rate else None
                counts = {"done": done, "total": total, "embedded": embedded, "failed": failed}
                self._keep(**counts, rate=rate, seconds_left=left)
            case Notice(text):
                self._keep(notices=(*self._jobs.job(self._id).notices, text)[-_NOTICES:])
            case Finished(report):
                self._keep(runs=(*self._jobs.job(self._id).runs, report.run_id))

    def _rate(self, done: int) -> float | None:
        """Since the first batch: what was unchanged is counted before it, in no time."""
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
        before, since = self._first
        return (done - before) / (now - since) if done > before and now > since else None

    def _keep(self, **what: Any) -> None:
        self._jobs._change(self._id, **what)


def refresh(
    case: Case, asked: Mapping[str, Any], on_event: Listener, stop: Stop
) -> Mapping[str, Any]:
    """Take in what is new or changed in the `sources` asked for, or in all."""
    _refresh(case, IndexOptions(batch_size=_BATCH), asked, on_event, stop)
    return {}


def retry(
    case: Case, asked: Mapping[str, Any], on_event: Listener, stop: Stop
) -> Mapping[str, Any]:
    """Likewise, and try the files again that could not be taken, though they have not changed."""
    _refresh(case, IndexOptions(batch_size=_BATCH, retry_failed=True), asked, on_event, stop)
    return {}


def _refresh(
    case: Case, options: IndexOptions, asked: Mapping[str, Any], on_event: Listener, stop: Stop
) -> None:
    case.refresh(asked["sources"], options=options, on_event=on_event, stop=stop)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
