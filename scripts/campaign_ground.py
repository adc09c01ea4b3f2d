"""What all parts of the campaign stand on: a row of the table, a process that may die, and a case to compare with."""

from __future__ import annotations

import importlib
import os
import pickle
import random
import select
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Loaded once, before any process is forked off.
import torch  # noqa: E402, F401
from PIL import Image  # noqa: E402

import image_similarity  # noqa: E402
from image_similarity import Case  # noqa: E402
from image_similarity.errors import ImageSimilarityError  # noqa: E402
from tests.indexing.desk import Desk, same_vectors  # noqa: E402
from tests.tiny_model import write_tiny_model  # noqa: E402

for _room in ("encoding", "indexing", "pictures", "ranking", "records", "search", "store"):
    for _file in sorted((ROOT / "image_similarity" / _room).glob("[a-z]*.py")):
        importlib.import_module(f"{image_similarity.__name__}.{_room}.{_file.stem}")
importlib.import_module("image_similarity.verify")

# A part of a run that takes longer than this hangs.
LONGEST = 180.0


@dataclass(frozen=True)
class Row:
    """One row of the table: what was tried, how often each outcome came, and what broke.

    `total` is how often it is to be tried, 0 where nothing can end that early; `note` stands behind the outcomes.
    """

    part: str
    tried: str
    counts: dict[str, int]
    broken: tuple[str, ...] = ()
    note: str = ""
    total: int = 0


@dataclass
class Settings:
    """How much is tried: `share` of the full counts, drawn from `seed`, at most for so many `minutes` (0: for ever).

    `work` is a folder for what is made.
    """

    seed: int
    share: float
    work: Path
    odd: Path | None = None
    minutes: float = 0.0
    # What an earlier call did of a part that goes on where that one ended.
    done: int = 0
    random: random.Random = field(init=False)
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._end = time.monotonic() + 60 * self.minutes if self.minutes else float("inf")

    def is_over(self) -> bool:
        """Whether the time for this part has ended."""
        return time.monotonic() > self._end

    def times(self, full: int, least: int = 1) -> int:
        """The share of a full count."""
        return max(least, round(full * self.share))


class Tally:
    """Outcomes of one row, counted, and what broke."""

    def __init__(self, part: str, tried: str) -> None:
        self.part, self.tried = part, tried
        self.outcomes: Counter[str] = Counter()
        self.broken: list[str] = []

    def add(self, outcome: str, problem: str = "", where: str = "") -> None:
        self.outcomes["broken" if problem else outcome] += 1
        if problem:
            self.broken.append(f"{where}: {problem}" if where else problem)

    def row(self) -> Row:
        return Row(self.part, self.tried, dict(self.outcomes), tuple(self.broken[:20]))


@dataclass(frozen=True)
class Ended:
    """How a forked process ended: "done" with a value, "named" error of ours, "untyped" error, "killed", "hung"."""

    kind: str
    text: str = ""
    value: Any = None


def forked(
    work: Callable[[], Any], *, kill_after: float | None = None, longest: float = LONGEST
) -> Ended:
    """Run a function in a process of its own, which may be killed after so many seconds."""
    return ended(started(work), kill_after=kill_after, longest=longest)


def started(work: Callable[[], Any]) -> tuple[int, int]:
    """Start a function in a process of its own; gives what `ended` wants."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        with os.fdopen(target, "wb") as pipe:
            pickle.dump(_result_of(work), pipe)
        os._exit(0)
    os.close(target)
    return child, source


def ended(
    process: tuple[int, int], *, kill_after: float | None = None, longest: float = LONGEST
) -> Ended:
    """Wait for a process that was started, and kill it after so many seconds."""
    child, source = process
    killed = b""
    end = time.monotonic() + longest
    until = time.monotonic() + kill_after if kill_after is not None else end
    received = b""
    with os.fdopen(source, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                os.kill(child, signal.SIGKILL)
                killed = b"hung" if kill_after is None else b"killed"
                until = end + 60
                continue
            part = pipe.read(1 << 20)
            if not part:
                break
            received += part
    _, status = os.waitpid(child, 0)
    if killed == b"hung":
        return Ended("hung")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return Ended("killed" if number == signal.SIGKILL else "crashed", f"signal {number}")
    return pickle.loads(received)  # noqa: S301 - of our own child


def _result_of(work: Callable[[], Any]) -> Ended:
    try:
        return Ended("done", value=work())
    except ImageSimilarityError as error:
        return Ended("named", f"{type(error).__name__}: {error.message}")
    except BaseException as error:
        import traceback

        return Ended("untyped", f"{type(error).__name__}: {error} {traceback.format_exc()[-900:]}")


def model_in(folder: Path) -> Path:
    """The tiny model of the tests, written once."""
    path = folder / "tiny.safetensors"
    return path if path.exists() else write_tiny_model(path)


def new_desk(folder: Path, model: Path) -> Desk:
    if folder.exists():
        shutil.rmtree(folder)
    return Desk(folder, model)


def fill(desk: Desk, pictures: int) -> None:
    """Pictures, copies of some, and what cannot be taken."""
    desk.put_many(pictures)
    desk.put("again/copy.png", seed=0)
    desk.corrupt("broken.jpg")
    desk.write("notes.txt", b"text")


def essence(desk: Desk) -> dict[str, Any]:
    """All that must not depend on how a run went."""
    found = desk.essence()
    found["vectors"] = desk.vectors()
    for name in ("mark", "pair_mark"):
        found[name] = desk.count(name)
    found["runs open"] = desk.rows("SELECT count(*) FROM run WHERE status = 'running'")
    return found


def differences(some: dict[str, Any], others: dict[str, Any]) -> str:
    """What differs between two essences; vectors may differ by one step of float16."""
    wrong = [name for name in others if name != "vectors" and some.get(name) != others[name]]
    if not same_vectors(some["vectors"], others["vectors"]):
        wrong.append("vectors")
    return f"differs in {', '.join(wrong)}" if wrong else ""


def problems(path: Path) -> str:
    """What is half or twice in a database, as its own checks tell, and whether a reader works; "" if all is well."""
    with Case.open(path, read_only=True) as case:
        found = [finding.message for finding in case.verify().findings]
        found += [finding.message for finding in case.verify_audit().findings]
        for image in _some_images(path):
            case.search(sha256=image, scene="off", k=3)
    return "; ".join(found[:3])


def _some_images(path: Path) -> list[str]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        statement = "SELECT sha256 FROM image WHERE id IN (SELECT image_id FROM embedding) ORDER BY id LIMIT 2"
        return [row[0] for row in connection.execute(statement)]


def picture_bytes(form: str, size: tuple[int, int] = (48, 36), seed: int = 0, **save: Any) -> bytes:
    """A picture of the tests in a format."""
    import io

    from tests.conftest import draw_picture

    target = io.BytesIO()
    picture: Image.Image = draw_picture(seed, size)
    picture.save(target, form, **save)
    return target.getvalue()
