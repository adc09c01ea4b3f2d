"""The desk whose evidence is indexed on many machines, and the one cluster of two nodes that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from image_similarity.values import ServerUrl
from tests.indexing.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, tiny_model: Path) -> Desk:
    """An empty folder of evidence and the path of a database beside it."""
    found = Desk(tmp_path, tiny_model)
    found.options = replace(found.options, exclude=("left",))
    return found


@pytest.fixture
def far(desk: Desk, postgres: ServerUrl) -> Desk:
    """The same desk with an empty database on a server."""
    return replace_database(desk, postgres)


def replace_database(desk: Desk, database: Any) -> Desk:
    """Another desk over the same evidence."""
    found = object.__new__(Desk)
    found.__dict__.update(desk.__dict__, database=database)
    return found


def mixed(desk: Desk) -> None:
    """Of everything a little: pictures, copies, damaged and empty files, text, what is excluded."""
    desk.put_many(18)
    desk.put("rooms/deep/copy.png", seed=3)
    desk.put("rooms/again.png", seed=3)
    desk.put("rooms/camera.jpg", seed=40)
    desk.corrupt("broken.jpg")
    desk.write("empty.jpg", b"")
    desk.write("notes.txt", b"hello")
    desk.put("left/out.png", seed=41)


def account(report: Any) -> dict[str, Any]:
    """What a run counted, without when and how fast."""
    names = (
        "status", "source", "root", "models", "seen", "new", "duplicate", "unchanged", "failed",
        "skipped", "moved", "gone", "partial", "embedded", "bytes_read",
    )  # fmt: skip
    return {name: getattr(report, name) for name in names}


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """Two nodes of two processors each on this machine; gives the `Cluster`, to which nobody is connected."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
        # Workers run what is tested, from wherever Ray starts them.
        patch.setenv("PYTHONPATH", os.fspath(Path(__file__).resolve().parents[2]))
        patch.setenv("OMP_NUM_THREADS", "1")
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 2, "object_store_memory": 80 * 1024**2, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        cluster.add_node(num_cpus=2, object_store_memory=80 * 1024**2)
        cluster.wait_for_nodes()
        try:
            yield cluster
        finally:
            cluster.shutdown()
