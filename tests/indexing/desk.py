"""An examiner's desk for the tests: a folder of evidence, a database, and what the database says."""

from __future__ import annotations

import itertools
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from image_similarity.case import Case
from image_similarity.events import Event, ignore
from image_similarity.settings import IndexOptions
from image_similarity.values import Location, RunReport, ServerUrl
from tests.conftest import draw_picture
from tests.postgres import server_change, server_rows

# Long ago, so that a file's time can be trusted; each file written gets a time of its own.
LONG_AGO_NS = 1_500_000_000_000_000_000
SECOND_NS = 1_000_000_000


@dataclass
class Desk:
    """One case: `evidence/` in a folder of the test, and a database: `case.db` there, unless `place` is another."""

    folder: Path
    model: Path
    place: Location | None = None
    evidence: Path = field(init=False)
    database: Any = field(init=False)
    options: IndexOptions = field(init=False)

    def __post_init__(self) -> None:
        self.evidence = self.folder / "evidence"
        self.evidence.mkdir(parents=True)
        self.database = self.place or self.folder / "case.db"
        self.options = IndexOptions(
            models=(str(self.model),), scenes=str(self.model), batch_size=4, workers=2, device="cpu"
        )
        self._clock = itertools.count(1)

    # -- the evidence ---------------------------------------------------------------------------------------------

    def put(self, name: str, seed: int = 0, size: tuple[int, int] = (48, 36), **save: Any) -> Path:
        """Write a picture, old enough to be trusted; the same seed gives the same bytes."""
        path = self.evidence / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(seed, size).save(path, **save)
        return self.settle(path)

    def put_many(self, count: int, start: int = 0) -> list[Path]:
        return [self.put(f"picture-{n:03d}.png", seed=n) for n in range(start, start + count)]

    def write(self, name: str, data: bytes) -> Path:
        path = self.evidence / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.settle(path)

    def corrupt(self, name: str) -> Path:
        """A file that promises a JPEG and holds none."""
        return self.write(name, b"\xff\xd8\xff\xe0" + name.encode("utf-8", "replace") * 9)

    def settle(self, path: Path) -> Path:
        """Give a file a time of its own, long ago."""
        mtime_ns = LONG_AGO_NS + next(self._clock) * SECOND_NS
        os.utime(path, ns=(mtime_ns, mtime_ns))
        return path

    def snapshot(self) -> dict[str, tuple[Any, ...]]:
        """Every entry of the evidence with its kind, permissions, times and bytes."""
        entries = {}
        for path in sorted(self.evidence.rglob("*")):
            found = path.lstat()
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            entries[str(path)] = (found.st_mode, found.st_ino, found.st_mtime_ns, data)
        return entries

    # -- the work -------------------------------------------------------------------------------------------------

    def index(
        self,
        folder: Path | None = None,
        *,
        source: str | None = None,
        on_event: Callable[[Event], None] = ignore,
        stop: Callable[[], bool] = lambda: False,
        **changed: Any,
    ) -> RunReport:
        with Case.open(self.database) as case:
            return case.index(
                folder or self.evidence,
                options=replace(self.options, **changed),
                source=source,
                on_event=on_event,
                stop=stop,
            )

    def refresh(self, *sources: str, **changed: Any) -> list[RunReport]:
        with Case.open(self.database) as case:
            return case.refresh(sources, options=IndexOptions(device="cpu", **changed))

    def find(self, query: Path, k: int = 100, **asked: Any) -> list[Any]:
        """The hits of a query without any scene filter."""
        with Case.open(self.database, read_only=True) as case:
            return list(case.search(query, k=k, **{"scene": "off", **asked}).hits)

    # -- what the database says -----------------------------------------------------------------------------------

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        if isinstance(self.database, ServerUrl):
            return server_rows(self.database, statement, *values)
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: Any) -> int:
        """Change the database behind the program's back."""
        if isinstance(self.database, ServerUrl):
            return server_change(self.database, statement, *values)
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement, values).rowcount

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def tables(self, *, without: Sequence[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, as stored."""
        listing = "SELECT name FROM sqlite_master WHERE type='table'"
        if isinstance(self.database, ServerUrl):
            listing = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        names = [name for (name,) in self.rows(listing)]
        return {name: self.rows(f"SELECT * FROM {name}") for name in names if name not in without}

    def live(self) -> dict[str, str]:
        """The live places: path to SHA-256."""
        return dict(self._places("IS NULL"))

    def gone(self) -> list[tuple[str, str]]:
        """The places that are history: path and SHA-256."""
        return self._places("IS NOT NULL")

    def _places(self, condition: str) -> list[tuple[str, str]]:
        return self.rows(
            "SELECT path, sha256 FROM file JOIN image ON image.id = image_id "
            f"WHERE gone_run_id {condition} ORDER BY path, file.id"
        )

    def failures(self) -> dict[str, tuple[str, str]]:
        """The open failures: path to stage and error."""
        found = self.rows("SELECT path, stage, error FROM failure WHERE resolved_run_id IS NULL")
        return {path: (stage, error) for path, stage, error in found}

    def skipped(self) -> dict[str, str]:
        return dict(self.rows("SELECT path, kind FROM skipped"))

    def vectors(self) -> dict[tuple[str, str], np.ndarray]:
        """The vectors by model fingerprint and SHA-256."""
        found = self.rows(
            "SELECT fingerprint, sha256, vector FROM embedding JOIN image ON image.id = image_id "
            "JOIN model ON model.id = model_id"
        )
        return {(model, digest): np.frombuffer(blob, "<f2") for model, digest, blob in found}

    def vector(self, path: Path) -> np.ndarray:
        """The one vector of the content that a file holds."""
        digest = digest_of(path)
        (found,) = [vector for (_, sha), vector in self.vectors().items() if sha == digest]
        return found

    def labels(self) -> dict[tuple[str, str], list[str]]:
        """The scene labels in order, by model fingerprint and SHA-256."""
        found = self.rows(
            "SELECT fingerprint, sha256, scene.name FROM image_scene "
            "JOIN scene ON scene.id = scene_id JOIN model ON model.id = model_id "
            "JOIN image ON image.id = image_id ORDER BY fingerprint, sha256, rank"
        )
        labels: dict[tuple[str, str], list[str]] = {}
        for model, digest, name in found:
            labels.setdefault((model, digest), []).append(name)
        return labels

    def essence(self) -> dict[str, Any]:
        """All that must not depend on how a run went: everything but ids, times, runs and vectors."""
        return {
            "live": self.live(),
            "gone": self.gone(),
            "contents": sorted(
                self.rows("SELECT sha256, sha1, md5, size, width, height, format FROM image")
            ),
            "failures": self.failures(),
            "skipped": self.skipped(),
            "labels": self.labels(),
            "embedded": sorted(self.vectors()),
        }

    def runs(self) -> list[RunReport]:
        with Case.open(self.database, read_only=True) as case:
            return case.runs()

    def check(self, *, chain: bool = True) -> None:
        """Nothing is half written: references hold, contents are complete, no vector is damaged, the chain agrees.

        Without `chain` for a test that takes rows away behind the program's back, which the chain would tell.
        """
        with Case.open(self.database, read_only=True) as case:
            report, audit = case.verify(), case.verify_audit()
        assert report.findings == ()
        assert audit.findings == () or not chain
        placeless = "SELECT count(*) FROM image WHERE id NOT IN (SELECT image_id FROM file)"
        vectorless = "SELECT count(*) FROM image WHERE id NOT IN (SELECT image_id FROM embedding)"
        assert self.rows(placeless) == self.rows(vectorless) == [(0,)]


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def same_vectors(
    some: dict[tuple[str, str], np.ndarray], others: dict[tuple[str, str], np.ndarray]
) -> bool:
    """Whether the same contents have vectors that differ by one float16 step at most in every number."""
    return some.keys() == others.keys() and all(
        within_one_step(some[key], others[key]) for key in some
    )


def within_one_step(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two float16 vectors are neighbours; numbers that are nearly 0 may differ by float32 rounding."""

    def order(vector: np.ndarray) -> np.ndarray:
        bits = vector.view("<i2").astype(np.int32)
        return np.where(bits < 0, -(bits & 0x7FFF), bits)

    steps = np.abs(order(one) - order(other))
    nearly_zero = np.abs(one.astype(np.float64) - other.astype(np.float64)) < 1e-6
    return bool(((steps <= 1) | nearly_zero).all())


# -- what the program does to files -----------------------------------------------------------------------------

_watched: list[tuple[str, list[tuple[str, str, Any]]]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched or not arguments or not event.startswith(("open", "os.", "shutil.")):
        return
    try:
        path = os.fsdecode(arguments[0])
    except TypeError:
        return
    for root, events in _watched:
        if path == root or path.startswith(root + os.sep):
            events.append((event, path, arguments[-1]))


_installed = False


@contextmanager
def watching(root: Path) -> Iterator[list[tuple[str, str, Any]]]:
    """Collect (event, path, last argument) of all that this process does below a folder."""
    global _installed
    if not _installed:
        # A hook cannot be taken out again, so there is one, which listens only while asked to.
        sys.addaudithook(_audit)
        _installed = True
    events: list[tuple[str, str, Any]] = []
    _watched.append((str(root), events))
    try:
        yield events
    finally:
        _watched.pop()


def opens(events: Sequence[tuple[str, str, Any]]) -> Counter[str]:
    """How often each file was opened; with O_DIRECTORY the system opens nothing but a folder."""
    return Counter(
        path
        for event, path, flags in events
        if event == "open" and not flags & getattr(os, "O_DIRECTORY", 0)
    )


# -- networks that misbehave --------------------------------------------------------------------------------------


class Misbehaving:
    """Stands for `Encoder` where networks are loaded: `rule` sees each batch before the real network does.

    With `only` the network of that weights file misbehaves, and no other.
    """

    def __init__(
        self,
        rule: Callable[[np.ndarray], None],
        change: Callable[..., Any] | None = None,
        only: Path | None = None,
    ) -> None:
        from image_similarity.encoding.encoder import Encoder

        self._real = Encoder
        self._rule = rule
        self._change = change
        self._only = only
        self.batches: list[int] = []

    def load(self, spec: Any, **settings: Any) -> Any:
        encoder = self._real.load(spec, **{**settings, "device": "cpu"})
        if self._only is not None and spec.weights != self._only:
            return encoder
        really_encode = encoder.encode

        def encode(batch: np.ndarray) -> Any:
            self.batches.append(len(batch))
            self._rule(batch)
            encoded = really_encode(batch)
            return self._change(batch, encoded) if self._change else encoded

        encoder.encode = encode
        return encoder
