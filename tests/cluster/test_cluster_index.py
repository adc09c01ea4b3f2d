"""`cluster index` on a cluster of two nodes, into PostgreSQL: whatever is killed, the rows are those of a local run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from image_similarity.case import Case
from image_similarity.events import Event, Progress
from image_similarity.settings import ClusterOptions
from image_similarity.values import RunReport
from tests.cluster.conftest import account, mixed
from tests.indexing.desk import Desk, same_vectors

ROOT = Path(__file__).resolve().parents[2]


def index(
    desk: Desk,
    address: str,
    on_event: Callable[[Event], None] = lambda event: None,
    **given: Any,
) -> RunReport:
    with Case.open(desk.database) as case:
        return case.index_on_cluster(
            given.pop("folder", desk.evidence),
            options=replace(desk.options, **given),
            cluster=ClusterOptions(address=address, actors=2, stall_seconds=240),
            on_event=on_event,
        )


def same(far: Desk, desk: Desk) -> None:
    """The rows are those of the local run, each content has its vectors once, and the chain agrees."""
    assert far.essence() == desk.essence()
    assert same_vectors(far.vectors(), desk.vectors())
    assert far.count("embedding") == far.count("image") == len(far.vectors())
    far.check()


def command(desk: Desk, place: object, address: str | None) -> list[str]:
    """The command as a user types it."""
    options = desk.options
    told = ("-m", options.models[0], "--scenes", options.scenes, "--batch-size", options.batch_size)
    return [
        *(sys.executable, "-m", "image_similarity", "cluster", "index"),
        *map(str, (*told, "--device", "cpu", "--exclude", "left", "--actors", 2)),
        *map(str, ("-ip", place, "-dp", desk.database.url)),
        *(() if address is None else ("--address", address)),
        *("--format", "json", "--progress", "json"),
    ]


def start(desk: Desk, address: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        command(desk, desk.evidence, address),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_rows(far: Desk, process: subprocess.Popen[str]) -> None:
    """Wait until something was written, and while the process is at work."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        # The database may not have its tables yet.
        with suppress(Exception):
            if far.count("embedding"):
                return
        time.sleep(0.05)
    raise AssertionError("nothing was written")


def kill_an_actor(killed: threading.Event) -> None:
    """Kill the first of this test's actors that is seen, as the kernel does where memory runs out."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for pid in descendants(os.getpid()):
            if title(pid).startswith("ray::MapWorker"):
                os.kill(pid, signal.SIGKILL)
                killed.set()
                return
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    parents: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(place.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found[1:]


def title(pid: int) -> str:
    """What a process calls itself; Ray names its workers by what they do."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def test_the_command_gives_what_a_local_run_gives_and_the_rest_after_it_was_killed(
    desk: Desk, far: Desk, ray_cluster: Any
) -> None:
    """One story, because each start on a cluster takes seconds: killed, run again, and run a third time."""
    mixed(desk)
    # So many that the run can be killed in the middle of it.
    desk.put_many(60, start=100)
    local = desk.index()
    first = start(far, ray_cluster.address)
    try:
        wait_for_rows(far, first)
        first.kill()
    finally:
        first.kill()
        first.communicate()
    there = far.count("embedding")
    assert 0 < there < desk.count("embedding")
    second = start(far, ray_cluster.address)
    out, err = second.communicate(timeout=240)
    assert second.returncode == 3, err
    report = json.loads(out)
    events = [json.loads(line) for line in err.splitlines()]
    assert {event["event"] for event in events} <= {
        "started", "progress", "failed", "notice", "finished",
    }  # fmt: skip
    assert [run.status for run in far.runs()] == ["partial", "interrupted"]
    # What workers wrote after the count above, until they knew that their beginner was gone, counts as done.
    assert report["embedded"] <= desk.count("embedding") - there
    assert report["seen"] == local.seen
    same(far, desk)


def test_an_actor_that_is_killed_costs_nothing_but_time(
    desk: Desk, far: Desk, ray_cluster: Any
) -> None:
    mixed(desk)
    desk.put_many(20, start=100)
    local = desk.index()
    killed = threading.Event()
    killer = threading.Thread(target=kill_an_actor, args=(killed,), daemon=True)
    killer.start()
    report = index(far, ray_cluster.address)
    assert killed.is_set()
    assert account(report) == account(local)
    same(far, desk)


def test_ctrl_c_closes_the_run_as_interrupted(desk: Desk, far: Desk, ray_cluster: Any) -> None:
    desk.put_many(400)
    process = start(far, ray_cluster.address)
    try:
        wait_for_rows(far, process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, err
    assert json.loads(out)["status"] == "interrupted"
    (run,) = far.runs()
    assert run.accounted and run.new == far.count("image") < 400


@pytest.mark.slow
def test_a_node_that_is_removed_costs_nothing_but_time(desk: Desk, far: Desk) -> None:
    from ray.cluster_utils import Cluster

    mixed(desk)
    desk.put_many(100, start=100)
    local = desk.index()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.fspath(ROOT))
        memory = {"object_store_memory": 80 * 1024**2}
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "include_dashboard": False, **memory},
        )
        node = cluster.add_node(num_cpus=2, **memory)
        cluster.wait_for_nodes()
        removed: list[bool] = []

        def remove(event: Event) -> None:
            if isinstance(event, Progress) and event.embedded and not removed:
                removed.append(True)
                cluster.remove_node(node, allow_graceful=False)

        try:
            report = index(far, cluster.address, remove)
        finally:
            cluster.shutdown()
    assert removed and account(report) == account(local)
    same(far, desk)


@pytest.mark.slow
def test_a_cluster_of_this_machine_alone_reads_a_uri_and_leaves_nothing_behind(
    desk: Desk, far: Desk, tmp_path: Path
) -> None:
    """In a process of its own, with Ray's own way to let in whom it knows: a process can have one way only."""
    mixed(desk)
    desk.index()
    # A short name: sockets lie in it.
    temporary = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    place = f"local://{desk.evidence}"
    try:
        done = subprocess.run(
            command(far, place, None),
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        assert json.loads(done.stdout)["root"] == place
        same(far, desk)
        assert list(temporary.glob("ray-*")) == []
        assert not (Path.home() / ".ray").exists()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
