"""A run on many machines, with Ray replaced by a loop: the same rows and the same account as a local run's."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from image_similarity.case import Case
from image_similarity.cluster import connection as clusters
from image_similarity.cluster import job as jobs
from image_similarity.cluster import pipeline, stages, stores, writing
from image_similarity.cluster.work import Job, Portion
from image_similarity.errors import (
    ClusterError,
    ClusterStalled,
    DatabaseLocked,
    ExtraMissing,
    FolderMissing,
    InvalidSetting,
    NothingToIndex,
    WeightsChanged,
)
from image_similarity.events import Event, Failed, Progress, Started
from image_similarity.settings import ClusterOptions, IndexOptions
from image_similarity.values import RunReport, ServerUrl
from tests.cluster.conftest import account, mixed
from tests.indexing.desk import Desk, same_vectors

Rows = Callable[[Job, Sequence[Portion]], Iterator[dict[str, Any]]]


def in_order(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
    """Every portion through all stages."""
    embed = stages.Embed(job)
    for portion in portions:
        yield stages.write(embed(stages.read({"portion": stages.pack(portion)}, job)), job)


def twice_and_mixed(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
    """As Ray may: all read before any is written, in another order, and each written twice."""
    embed = stages.Embed(job)
    read = [stages.read({"portion": stages.pack(portion)}, job) for portion in portions] * 2
    random.Random(1).shuffle(read)
    for row in read:
        yield stages.write(embed(row), job)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Rows], None]]:
    """A function that puts a loop in the place of Ray."""

    @contextmanager
    def opened(options: ClusterOptions) -> Iterator[clusters.Machines]:
        yield clusters.Machines(1, 2, 0, "none")

    def put(rows: Rows) -> None:
        def results(job: Job, portions: Sequence[Portion], *given: Any) -> Iterator[Any]:
            for row in rows(job, portions):
                yield stages.unpack(row["written"])

        monkeypatch.setattr(pipeline, "results", results)

    monkeypatch.setattr(clusters, "opened", opened)
    monkeypatch.setattr(stages, "was_tried", lambda: False)
    put(in_order)
    yield put
    for catalog in stages._catalogs.values():
        catalog.close()
    stages._catalogs.clear()


def index(
    desk: Desk, on_event: Callable[[Event], None] = lambda event: None, **given: Any
) -> RunReport:
    changed = {name: given.pop(name) for name in list(given) if name in IndexOptions.__slots__}
    with Case.open(desk.database) as case:
        return case.index_on_cluster(
            desk.evidence, options=replace(desk.options, **changed), on_event=on_event, **given
        )


@pytest.mark.parametrize("rows", [in_order, twice_and_mixed])
def test_rows_and_account_are_those_of_a_local_run(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], rows: Rows
) -> None:
    loop(rows)
    mixed(desk)
    local = desk.index()
    events: list[Event] = []
    report = index(far, events.append)
    assert account(report) == account(local)
    assert report.accounted and report.seen == local.seen
    assert far.essence() == desk.essence()
    assert same_vectors(far.vectors(), desk.vectors())
    far.check()
    assert [e.total for e in events if isinstance(e, Started)] == [local.seen]
    done = [e.done for e in events if isinstance(e, Progress)]
    assert done == sorted(done) and done[-1] == local.seen
    failed = sorted(e.failure.path for e in events if isinstance(e, Failed))
    assert failed == ["broken.jpg", "empty.jpg"]


@pytest.mark.parametrize("rows", [in_order, twice_and_mixed])
def test_a_second_run_counts_as_a_local_one_what_changed_moved_went_and_failed(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], rows: Rows
) -> None:
    loop(rows)
    mixed(desk)
    desk.index()
    index(far)
    desk.put("new.png", seed=90)
    desk.put("picture-001.png", seed=91)
    desk.write("picture-002.png", b"no picture any more")
    (desk.evidence / "picture-004.png").rename(desk.evidence / "moved.png")
    (desk.evidence / "picture-005.png").unlink()
    desk.put("broken.jpg", seed=92)
    local, report = desk.index(retry_failed=True), index(far, retry_failed=True)
    assert account(report) == account(local)
    assert (report.moved, report.gone) == (1, 2)
    assert far.essence() == desk.essence()
    far.check()
    again = index(far)
    assert (again.new, again.duplicate, again.embedded, again.bytes_read) == (0, 0, 0, 0)


def test_what_another_place_gave_is_not_decoded_again(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.indexing import loader

    desk.put_many(4)
    index(far)
    desk.put("copy.png", seed=2)
    decoded: list[bytes] = []
    monkeypatch.setattr(loader, "decode_for", lambda data, *given, **named: decoded.append(data))
    report = index(far)
    assert (report.duplicate, report.unchanged, decoded) == (1, 4, [])


def test_a_second_model_fills_in_what_it_lacks_and_nothing_else(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], tmp_path: Path
) -> None:
    from tests.tiny_model import write_tiny_model

    other = tmp_path / "other.safetensors"
    write_tiny_model(other, seed=5)
    desk.put_many(5)
    both = (str(desk.model), str(other))
    for each in (desk.index, lambda **given: index(far, **given)):
        each()
        report = each(models=both)
        assert (report.new, report.embedded) == (5, 5)
    assert far.essence() == desk.essence()
    assert same_vectors(far.vectors(), desk.vectors())


def test_thumbnails_are_those_of_a_local_run(
    desk: Desk, far: Desk, loop: Callable[[Rows], None]
) -> None:
    desk.put_many(3)
    desk.index(thumbnails=True)
    index(far, thumbnails=True)
    statement = "SELECT sha256, jpeg FROM thumbnail JOIN image ON image.id = image_id"
    some = {sha: bytes(data) for sha, data in far.rows(statement)}
    assert some == dict(desk.rows(statement)) and len(some) == 3


def test_a_file_that_vanished_after_the_walk_is_a_failure(
    desk: Desk, far: Desk, loop: Callable[[Rows], None]
) -> None:
    paths = desk.put_many(3)

    def rows(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
        paths[1].unlink()
        return in_order(job, portions)

    loop(rows)
    report = index(far)
    assert (report.new, report.failed, report.status) == (2, 1, "partial")
    assert far.failures() == {"picture-001.png": ("stat", "FileNotFoundError")}


def test_on_a_machine_without_the_evidence_no_file_is_recorded_as_failed(
    desk: Desk, far: Desk, loop: Callable[[Rows], None]
) -> None:
    paths = desk.put_many(3)

    def rows(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
        for path in paths:
            path.unlink()
        return in_order(job, portions)

    loop(rows)
    with pytest.raises(FolderMissing, match="is empty on"):
        index(far)
    assert far.failures() == {} and far.runs()[0].status == "failed"


def test_a_crash_in_a_decoder_is_a_failure_where_the_task_is_tried_again(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.indexing import loader

    desk.put_many(3)
    careful: list[bool] = []
    really = loader.decode_for

    def decode(*given: Any, **named: Any) -> Any:
        careful.append(named["careful"])
        return really(*given, **named)

    monkeypatch.setattr(loader, "decode_for", decode)
    monkeypatch.setattr(stages, "was_tried", lambda: True)
    assert index(far).new == 3
    assert careful == [True] * 3


def test_a_run_that_is_stopped_keeps_what_was_written_and_the_next_goes_on(
    desk: Desk, far: Desk, loop: Callable[[Rows], None]
) -> None:
    desk.put_many(12)
    stopped = threading.Event()

    def rows(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
        for number, row in enumerate(in_order(job, portions)):
            yield row
            if number == 0:
                stopped.wait(30)
                return

    def tell(event: Event) -> None:
        if isinstance(event, Progress):
            stopped.set()

    loop(rows)
    report = index(far, tell, stop=stopped.is_set)
    assert report.status == "interrupted" and report.accounted
    assert report.new == far.count("image") == 4
    loop(in_order)
    again = index(far)
    assert (again.status, again.new, again.unchanged) == ("done", 8, 4)
    far.check()


def test_a_worker_that_comes_too_late_writes_nothing(
    desk: Desk, far: Desk, loop: Callable[[Rows], None]
) -> None:
    desk.put_many(8)
    late: list[Any] = []

    def rows(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
        read = [stages.read({"portion": stages.pack(each)}, job) for each in portions]
        embed = stages.Embed(job)
        late.append((embed(read[1]), job))
        yield stages.write(embed(read[0]), job)
        raise ClusterError("lost")

    loop(rows)
    with pytest.raises(ClusterError, match="lost"):
        index(far)
    assert far.count("image") == 4
    with pytest.raises(ClusterError, match="was closed while"):
        stages.write(*late[0])
    assert far.count("image") == 4
    assert [(run.status, run.new) for run in far.runs()] == [("interrupted", 4)]
    far.check()


def test_a_run_that_stands_still_is_closed_as_interrupted(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(8)
    ended, now = threading.Event(), [0.0]
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def rows(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
        yield from in_order(job, portions[:1])
        while not ended.wait(0.05):
            now[0] += 30

    loop(rows)
    with pytest.raises(ClusterStalled):
        index(far, cluster=ClusterOptions(stall_seconds=60))
    ended.set()
    (run,) = far.runs()
    assert (run.status, run.new, run.accounted) == ("interrupted", 4, True)


def test_workers_with_other_weights_or_another_program_are_refused(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.tiny_model import write_tiny_model

    desk.put_many(2)
    kept = desk.model.read_bytes()

    def rows(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
        write_tiny_model(model, seed=6)
        return in_order(job, portions)

    model = far.folder / "here.safetensors"
    model.write_bytes(kept)
    loop(rows)
    with pytest.raises(WeightsChanged, match="not the one that the run was begun with"):
        index(far, models=(str(model),), scenes=None)
    monkeypatch.setattr(stages, "__version__", "0.0.1")
    loop(in_order)
    with pytest.raises(ClusterError, match=r"has image-similarity 0\.0\.1"):
        index(far)


def test_an_empty_folder_a_file_and_a_missing_extra_are_refused_and_nothing_is_recorded(
    desk: Desk, far: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NothingToIndex):
        index(far)
    desk.put_many(1)
    with pytest.raises(
        InvalidSetting, match="is a file, which several machines cannot write"
    ) as raised:
        index(desk)
    assert "image-similarity db copy" in raised.value.hint
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExtraMissing, match="needs the package ray"):
        index(far)
    assert far.runs() == []


def test_the_client_of_ray_is_an_extra_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    with (
        pytest.raises(ExtraMissing, match="grpc") as raised,
        clusters.opened(ClusterOptions(address="ray://127.0.0.1:10001")),
    ):
        pass
    assert "ray[client]" in raised.value.hint


def test_an_address_where_nobody_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    never = threading.Event()

    class Silent:
        @staticmethod
        def init(address: str, **given: Any) -> None:
            never.wait(30)

    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.2)
    with (
        contextlib.ExitStack() as stack,
        pytest.raises(ClusterError, match=r"cannot be reached: no answer for 0\.2 seconds"),
    ):
        clusters._connect(Silent, ClusterOptions(address="10.0.0.1:6379"), stack)
    never.set()


def test_the_command_is_known_and_neither_it_nor_its_help_loads_ray() -> None:
    code = (
        "import sys; from image_similarity.cli import main;"
        "code = main.run(main.cli, ['cluster', 'index', '--help'], 'image-similarity');"
        "assert code == 0 and not {'ray', 'pyarrow', 'torch', 'sqlalchemy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--gpus-per-actor" in done.stdout


def test_the_environment_and_the_signals_are_left_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    before = dict(os.environ)
    with clusters._environment(local=True, logs=False):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_AUTH_MODE"] == "token" and os.environ["RAY_AUTH_TOKEN"]
    assert dict(os.environ) == before
    with clusters._environment(local=False, logs=True):
        assert "RAY_AUTH_MODE" not in os.environ
    handler = signal.getsignal(signal.SIGTERM)
    with clusters._signals_kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_what_the_run_row_says_of_the_cluster(
    desk: Desk, far: Desk, loop: Callable[[Rows], None]
) -> None:
    import json

    desk.put_many(1)
    index(far)
    ((environment, recorded, options),) = far.rows("SELECT environment, account, options FROM run")
    told = environment if isinstance(environment, dict) else json.loads(environment)
    assert told["ray"] == "none" and told["cluster"].startswith("1 nodes, 2 CPUs, 0 GPUs; 1 actors")
    assert told["runtime"].endswith("onnx") or told["runtime"].endswith("torch")
    counted = recorded if isinstance(recorded, dict) else json.loads(recorded)
    assert "portions" not in counted and "hashed" not in counted
    settings = options if isinstance(options, dict) else json.loads(options)
    assert settings["only"] is None


def test_copies_of_a_picture_that_cannot_be_decoded_are_failures_each(
    desk: Desk, far: Desk, loop: Callable[[Rows], None]
) -> None:
    desk.put_many(1)
    for name in ("broken.jpg", "copy.jpg", "another.jpg"):
        desk.write(name, desk.corrupt("broken.jpg").read_bytes())
    local, report = desk.index(), index(far)
    assert account(report) == account(local)
    assert (report.new, report.failed) == (1, 3)
    assert far.failures() == desk.failures()
    assert far.essence() == desk.essence()


def test_files_that_were_given_away_and_never_came_back_are_not_gone(
    desk: Desk, far: Desk, loop: Callable[[Rows], None]
) -> None:
    desk.put_many(8)
    index(far)
    for path in sorted(desk.evidence.iterdir())[:2]:
        path.unlink()
    loop(lambda job, portions: in_order(job, portions[1:]))
    with pytest.raises(ClusterError, match="2 of 6 files were accounted for") as raised:
        index(far, rehash=True)
    assert "run the command again" in raised.value.hint
    assert far.runs()[0].status == "interrupted" and far.gone() == []
    loop(in_order)
    assert index(far).gone == 2


@pytest.mark.parametrize("error", ["ESTALE", "ENOTCONN", "EIO", "EACCES", "ETIMEDOUT"])
def test_on_a_machine_whose_share_is_away_no_file_is_recorded_as_failed(
    desk: Desk,
    far: Desk,
    loop: Callable[[Rows], None],
    error: str,
) -> None:
    import errno
    import os

    from image_similarity.indexing import loader

    desk.put_many(2)
    number = getattr(errno, error)

    def away(*given: Any) -> Any:
        raise OSError(number, os.strerror(number))

    def rows(job: Job, portions: Sequence[Portion]) -> Iterator[dict[str, Any]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loader, "from_disk", away)
            patch.setattr(os, "scandir", away)
            yield from in_order(job, portions)

    loop(rows)
    with pytest.raises(FolderMissing, match="cannot be listed"):
        index(far)
    assert far.failures() == {} and far.count("image") == 0


def test_an_object_that_is_refused_while_its_store_is_there_is_tried_again_by_the_next_run(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = pytest.importorskip("pyarrow.fs")
    desk.put_many(2)
    opened = stores.Store(fs.LocalFileSystem(), str(desk.evidence), "s3://bucket/rooms")
    monkeypatch.setattr(stores, "open_store", lambda uri: opened)
    far.evidence = "s3://bucket/rooms"  # type: ignore[assignment]  # as a user writes it
    really = stores.Store._read
    refused = ["picture-001.png"]

    def read(self: stores.Store, entry: Any) -> Any:
        if entry.path in refused:
            raise OSError(5, "SlowDown")
        return really(self, entry)

    monkeypatch.setattr(stores.Store, "_read", read)
    first = index(far)
    assert (first.new, first.failed) == (1, 1)
    assert far.failures() == {"picture-001.png": ("read", "OSError")}
    refused.clear()
    again = index(far)
    assert (again.new, again.unchanged, again.failed) == (1, 1, 0)


def test_a_writer_that_finds_the_database_locked_tries_again_for_as_long_as_a_run_may_stall(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(2)
    now = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    monkeypatch.setattr(stages, "time", clock)
    really, locked = writing.write, [3]

    def write(*given: Any) -> Any:
        if locked[0] > 0:
            locked[0] -= 1
            raise DatabaseLocked("another process writes")
        return really(*given)

    monkeypatch.setattr(writing, "write", write)
    assert index(far, cluster=ClusterOptions(stall_seconds=60)).new == 2
    assert now[0] == 3 * stages.SECONDS_BETWEEN_TRIES
    desk.put("new.png", seed=9)
    locked[0] = 10**9
    with pytest.raises(DatabaseLocked):
        index(far, cluster=ClusterOptions(stall_seconds=60))
    assert 60 < now[0] < 65


def test_what_is_known_is_read_while_others_may_write(
    desk: Desk, far: Desk, loop: Callable[[Rows], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred million places take minutes to read, and others write into other sources."""
    desk.put_many(1)
    really = jobs.store.load_knowledge
    entered: list[bool] = []

    def load(*given: Any, **named: Any) -> Any:
        with Case.open(far.database) as other, other._catalog.writing():
            entered.append(True)
        return really(*given, **named)

    monkeypatch.setattr(jobs.store, "load_knowledge", load)
    assert index(far).new == 1 and entered == [True]


@pytest.mark.parametrize("url", ["anna:s3cret@db.unit/case", "anna@db.unit/case?password=s3cret"])
def test_a_password_in_the_url_of_the_database_is_refused(desk: Desk, url: str) -> None:
    """Ray keeps the command line of whoever connects."""
    database = ServerUrl(f"postgresql+psycopg://{url}")
    with pytest.raises(InvalidSetting, match="carries a password") as raised:
        jobs.check(desk.evidence, database, desk.options)
    assert "~/.pgpass on every machine" in raised.value.hint
    assert "s3cret" not in f"{raised.value} {raised.value.hint}"
