"""What the benchmarks share: pictures to measure with, a database written directly, the table, the machine.

Nothing heavy is imported at the top: a child process begins with its parent's peak memory, and
bench_memory.py measures children.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from image_similarity.store.batch import BatchRows
    from image_similarity.values import ModelInfo

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Copies get this age, so that the next run can trust their times and need not read them again.
AGE_SECONDS = 3600


def pictures_below(folder: Path) -> list[Path]:
    """Return the pictures below a folder in order, or end the program if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"no pictures below {folder}")
    return found


def copy_pictures(folder: Path, count: int, target: Path) -> list[Path]:
    """Fill `target` with `count` pictures of distinct contents, made of those below `folder`; return them in order.

    Further copies of a picture end in a few bytes of their own, which decoders pass over: each has
    its own hash and must be decoded anew, at the cost of the original.
    """
    originals = pictures_below(folder)
    then = time.time() - AGE_SECONDS
    copies = []
    for number in range(count):
        again, position = divmod(number, len(originals))
        original = originals[position]
        copy = target / f"{again:04d}" / f"{position:05d}{original.suffix.lower()}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(original.read_bytes() + (f"copy {again}".encode() if again else b""))
        os.utime(copy, (then, then))
        copies.append(copy)
    return copies


def enlarge_pictures(
    originals: Sequence[Path],
    count: int,
    megapixels: float,
    target: Path,
    *,
    suffix: str = ".jpg",
    distinct: int = 16,
    **saved: Any,
) -> list[Path]:
    """Fill `target` with `count` pictures of that size, with the grain of a telephone's camera; return them in order.

    As in `copy_pictures` further copies of the `distinct` first ones differ in some bytes that decoders pass over.
    """
    import numpy as np
    from PIL import Image

    target.mkdir(parents=True, exist_ok=True)
    grain = np.random.default_rng(0)
    then = time.time() - AGE_SECONDS
    saved = {"quality": 90, **saved} if suffix == ".jpg" else saved
    made: list[Path] = []
    for number in range(count):
        path = target / f"{number:05d}{suffix}"
        if number < distinct:
            with Image.open(originals[number % len(originals)]) as opened:
                image = opened.convert("RGB")
            scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
            size = (round(image.width * scale), round(image.height * scale))
            pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
            # The same strip of grain again and again: random numbers for all would take longest of all.
            strip = np.resize(grain.integers(-8, 9, 65_521, np.int16), pixels.shape)
            Image.fromarray((pixels + strip).clip(0, 255).astype(np.uint8)).save(path, **saved)
        else:
            path.write_bytes(made[number % distinct].read_bytes() + f"copy {number}".encode())
        os.utime(path, (then, then))
        made.append(path)
    return made


def write_tiny_files(folder: Path, count: int) -> None:
    """Fill a folder with tiny PNG files of distinct contents, 1,000 in each folder below it."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    then = time.time() - AGE_SECONDS
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"IMG_{number:06d}.png"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(buffer.getvalue() + str(number).encode())
        os.utime(path, (then, then))


class DirectWriter:
    """A new database of ours, filled through the store's own functions without a run over files."""

    def __init__(self, path: Path, root: Path, info: ModelInfo, model: str) -> None:
        from image_similarity.store import batch, catalog, models, runs

        options = {"models": [model], "scenes": model, "weights": None}
        self._catalog = catalog.Catalog.open(path, read_only=False)
        with self._catalog.writing() as connection:
            self._source = catalog.add_source(connection, "pictures", str(root))
            start = runs.RunStart("index", self._source, options, {})
            self._run = runs.begin(connection, start)
            self.model_id = models.register(connection, info)
            ids = models.scene_ids(connection, self.model_id)
            self.scene_ids = [ids[name] for name in info.scenes]
        with self._catalog.reading() as connection:
            self._known = batch.load_knowledge(
                connection, self._source, [self.model_id], [self.model_id]
            )

    def write(self, rows: BatchRows) -> None:
        """Write one batch in one transaction."""
        from image_similarity.store import batch

        with self._catalog.writing() as connection:
            batch.write_batch(connection, self._run, self._source, rows, self._known)

    def close(self) -> None:
        """End the run and close the file."""
        from image_similarity.store import runs

        with self._catalog.writing() as connection:
            runs.save_account(connection, self._run, {}, "done")
        self._catalog.close()


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_of(repeats: int, work: Callable[[], object]) -> float:
    """Return the median duration of several times."""
    return statistics.median(seconds_of(work) for _ in range(repeats))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; all columns but the first are set to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def machine() -> str:
    """Describe what ran this in one line, without naming the machine."""
    found = [f"{os.cpu_count()} cores ({_processor()})", f"Python {platform.python_version()}"]
    found += [f"{name} {version(name)}" for name in ("torch", "numpy", "Pillow", "SQLAlchemy")]
    return ", ".join(found)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
