"""Whatever is done to a folder, after a refresh the database says what the folder holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import draw_picture
from tests.indexing.desk import Desk, digest_of

NAMES = ["a.png", "b.png", "c.jpg", "room/a.png", "room/d", "room/deep/e.png"]
SEEDS = range(4)

name = st.sampled_from(NAMES)
seed = st.sampled_from(SEEDS)


class Folder(RuleBasedStateMachine):
    """File operations on one folder; `model` is set by the test."""

    model: Path

    @initialize()
    def prepare(self) -> None:
        self._kept = tempfile.TemporaryDirectory()
        self.desk = Desk(Path(self._kept.name), self.model)
        # A folder without any file is refused, so one stays.
        self.desk.put("kept.png", seed=99, size=(16, 16))
        self.live_before: dict[str, str] = {}
        self.ever: set[str] = set()
        self.refreshed = False

    def teardown(self) -> None:
        if hasattr(self, "_kept"):
            self._kept.cleanup()

    def path(self, name: str) -> Path:
        return self.desk.evidence / name

    # -- what may happen ----------------------------------------------------------------------------------------

    @rule(name=name, seed=seed)
    def write_picture(self, name: str, seed: int) -> None:
        self.desk.put(name, seed=seed, size=(16, 16), format="PNG")

    @rule(name=name)
    def delete(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    @rule(old=name, new=name)
    def move(self, old: str, new: str) -> None:
        if self.path(old).exists():
            self.path(new).parent.mkdir(parents=True, exist_ok=True)
            self.path(old).replace(self.path(new))

    @rule(old=name, new=name)
    def duplicate(self, old: str, new: str) -> None:
        if self.path(old).exists():
            self.desk.write(new, self.path(old).read_bytes())

    @rule(name=name)
    def touch(self, name: str) -> None:
        if self.path(name).exists():
            self.desk.settle(self.path(name))

    @rule(name=name)
    def corrupt(self, name: str) -> None:
        self.desk.write(name, b"\x89PNG\r\n\x1a\n and then nothing")

    @rule(name=name)
    def become_a_document(self, name: str) -> None:
        self.desk.write(name, b"%PDF-1.4\n...")

    @rule(name=name)
    def empty(self, name: str) -> None:
        self.desk.write(name, b"")

    # -- what must hold -----------------------------------------------------------------------------------------

    @rule(rehash=st.booleans(), retry=st.booleans(), workers=st.sampled_from([1, 3]))
    def refresh(self, rehash: bool, retry: bool, workers: int) -> None:
        if self.refreshed:
            (report,) = self.desk.refresh(rehash=rehash, retry_failed=retry, workers=workers)
        else:
            report = self.desk.index(rehash=rehash, retry_failed=retry, workers=workers)
        self.refreshed = True
        readable, others = self.classify()
        live = self.desk.live()
        self.ever.update(readable.values())
        assert live == readable
        assert {*self.desk.failures(), *self.desk.skipped()} == others
        assert not {*self.desk.failures()} & {*self.desk.skipped()}
        assert report.accounted
        assert report.seen == len(readable) + len(others)
        assert report.failed == len(self.desk.failures())
        assert sum(report.skipped.values()) == len(self.desk.skipped())
        assert report.gone == len(self.live_before.keys() - readable.keys() - others)
        assert {sha for _, sha in self.desk.vectors()} == self.ever
        again = self.desk.refresh()[0]
        assert (again.bytes_read, again.new, again.gone, again.moved) == (0, 0, 0, 0)
        self.live_before = live
        self.desk.check()

    def classify(self) -> tuple[dict[str, str], set[str]]:
        """The readable pictures with their hashes, and all other files."""
        readable: dict[str, str] = {}
        others: set[str] = set()
        for path in self.desk.evidence.rglob("*"):
            if path.is_file():
                relative = path.relative_to(self.desk.evidence).as_posix()
                if digest_of(path) in PICTURES:
                    readable[relative] = digest_of(path)
                else:
                    others.add(relative)
        return readable, others


PICTURES: set[str] = set()


@pytest.fixture(scope="module", autouse=True)
def pictures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The hashes of all pictures that the rules may write."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in (*SEEDS, 99):
        draw_picture(number, (16, 16)).save(folder / f"{number}.png")
        PICTURES.add(digest_of(folder / f"{number}.png"))


def test_after_any_sequence_of_file_operations_the_database_says_what_the_folder_holds(
    tiny_model: Path,
) -> None:
    class OfThisModel(Folder):
        model = tiny_model

    run_state_machine_as_test(
        OfThisModel,
        settings=settings(
            max_examples=12,
            stateful_step_count=14,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
