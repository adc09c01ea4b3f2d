"""Compare ways to look alike on labelled pictures: one table of quality, speed and size, for docs/choosing.md.

    python scripts/compare_systems.py SET... -m builtin -m FILE ... [--class-names FILE] [--work DIR] [--quick]

A SET is what `image-similarity evaluate` takes: a folder of folders, or a list of paths and classes. Each model indexes
every set into a database of its own, or derives its vectors from those of the model below it; quality is measured on
what is stored. Rates are those of `Case.index` on a few pictures of the first set, after its first batch. For size and
query time a database is filled with the stored vectors and copies of them with jitter. Both are told in processor time,
all threads together, and taken in turns with the first model's: so the ratios stand whatever else the machine does. Of
a --speed-only model, whose weights are random, no quality is told. What was measured, and every database, stays in
--work: a run that was stopped goes on there. Markdown on stdout, where it is on stderr.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import machine, table
from search_asking import numbers_for, say
from search_data import JITTER
from synthetic_database import Block, sha256_of, write

MEASURES = ("recall@1", "precision@5", "mAP@R")
# Measured by `evaluate` on the files: they have no vectors in a database.
DESCRIPTORS = ("histogram", "pdq")
BLOCK = 4096
K = 10
# Seconds of processor time after which no further turn of a rate begins.
ENOUGH = 30


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: pictures in the database that is asked, queries, pictures and turns of a rate.

    `slow` are the pictures of a speed-only model: of those that exist only as random weights, none is quick.
    """

    gallery: int = 20_000
    queries: int = 30
    few: int = 256
    slow: int = 64
    turns: int = 3


QUICK = Sizes(gallery=300, queries=3, few=8, slow=8, turns=1)


@dataclass(slots=True)
class Row:
    """What was measured of one model.

    `figures` holds for each set the measures as (value, low, high). `rate` is in pictures a second of
    processor time, `size` in bytes a picture, `query` in seconds of it; the ratios are to the first model's beside it.
    """

    name: str
    dim: int | None = None
    figures: list[dict[str, tuple[float, float, float]]] = field(default_factory=list)
    rate: float | None = None
    rate_ratio: float | None = None
    size: float | None = None
    query: float | None = None
    query_ratio: float | None = None
    training: str = ""


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("-m", "--model", action="append", default=[], help="may be repeated")
    parser.add_argument("--speed-only", action="append", default=[], metavar="MODEL")
    parser.add_argument("--class-names", type=Path, help="names of classes that are numbers")
    parser.add_argument("--sample", type=int, help="so many pictures of each set, drawn")
    parser.add_argument("--work", type=Path, help="keeps what was measured; else a new folder")
    parser.add_argument("--quick", action="store_true", help="few queries: a trial")
    return parser.parse_args(words)


def main() -> None:
    arguments = parse_arguments()
    models = arguments.model or ["builtin"]
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        names = arguments.class_names
        sizes = QUICK if arguments.quick else Sizes()
        claim(work, models[0], arguments.sets, names, arguments.sample, sizes)
        sets = [copied(source, names, arguments.sample, work) for source in arguments.sets]
        bench = Bench(sets, models[0], work, sizes)
        rows = [kept(work, model, bench.measure) for model in models]
        rows += [kept(work, model, bench.measure_speed) for model in arguments.speed_only]
    print(f"{datetime.now(UTC).date()}; {machine()}; {bench.sizes.gallery:,} pictures are asked\n")
    print(show(rows, [folder.name for folder in sets]))
    for row in rows:
        print(f"{row.name}: {row.training}")


def claim(work: Path, *asked: object) -> None:
    """Refuse a folder that holds what was measured of other sets or sizes: their figures would stand in one table."""
    file, text = work / "asked.txt", "\n".join(map(str, asked))
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{work} holds another comparison (see {file}); name another --work")
    file.write_text(text, encoding="utf-8")


def kept(work: Path, model: str, measure: Callable[[str], Row]) -> Row:
    """Return what an earlier run in this folder measured of a model, or measure it and keep that."""
    from image_similarity.encoding import registry

    known = "" if model in DESCRIPTORS else registry.info(registry.get(model)).fingerprint[:12]
    file = work / f"{measure.__name__}-{Path(model).stem}-{known}.json"
    if not file.exists():
        say(model)
        text = json.dumps(asdict(measure(model)))
        file.write_text(text, encoding="utf-8")
    return Row(**json.loads(file.read_text(encoding="utf-8")))


def copied(source: Path, class_names: Path | None, sample: int | None, work: Path) -> Path:
    """Return a folder with a copy of each picture of a set in a folder of its class; made once."""
    from image_similarity.evaluation.sources import read_class_names, read_pictures

    target = work / (source.name if source.is_dir() else source.stem)
    if target.is_dir():
        return target
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    names = read_class_names(class_names) if class_names else {}
    files, failures = read_pictures(source, class_names=names)
    files = [file for file in files if file.label is not None]
    if failures or not files:
        raise SystemExit(
            f"{source}: {len(failures)} files cannot be read, {len(files)} have a class"
        )
    if sample is not None and sample < len(files):
        drawn = np.random.default_rng(1).permutation(len(files))[:sample]
        files = [files[at] for at in sorted(drawn)]
    for number, file in enumerate(files):
        path = partial / str(file.label).replace("/", "-") / f"{number:06d}{Path(file.name).suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.os_path, path)
    partial.rename(target)
    return target


@dataclass(slots=True)
class Bench:
    """The sets, as folders of folders, and the model with which all others are compared."""

    sets: list[Path]
    reference: str
    work: Path
    sizes: Sizes

    def measure(self, model: str) -> Row:
        """Measure everything of a model, or of a descriptor what it has."""
        row = Row(_name(model))
        for pictures in self.sets:
            if model in DESCRIPTORS:
                figures, row.training = quality(models=(model,), pictures=pictures)
            else:
                database = self._indexed(model, pictures)
                figures, row.training = quality(models=(row.name,), database=database)
            row.figures.append(figures)
        if model not in DESCRIPTORS:
            self._ask(row, model, self._indexed(model, self.sets[0]))
        self._rate(row, model, self._some(self.sizes.few))
        return row

    def measure_speed(self, model: str) -> Row:
        """Measure speed and size of a model whose weights say nothing."""
        row = Row(_name(model), training="random weights: quality not measured")
        some = self._some(self.sizes.slow)
        self._ask(row, model, self._indexed(model, some))
        self._rate(row, model, some)
        return row

    def _indexed(self, model: str, pictures: Path) -> Path:
        """A database with a model's vectors of a folder: of all that are not in it yet they are made."""
        from image_similarity import Case, IndexOptions
        from image_similarity.encoding import reductions, registry

        spec = registry.get(model)
        known = registry.info(spec).fingerprint[:12]
        database = self.work / f"{spec.name}-{known}-{pictures.name}.db"
        if reductions.kind_of(spec) and spec.config["base"] == self.reference:
            if not database.exists():
                shutil.copyfile(self._indexed(self.reference, pictures), database)
            with Case.open(database) as case:
                case.derive(model)
            return database
        with Case.open(database) as case:
            options = IndexOptions(models=(model,), scenes=None)
            report = case.index(pictures, source=pictures.name, options=options)
        if report.status != "done":
            raise SystemExit(f"{model}: {report.failed} of {report.seen} pictures failed")
        return database

    def _some(self, count: int) -> Path:
        """A folder with `count` pictures of the first set, from beginning to end."""
        folder = self.work / f"some-{count}"
        if not folder.is_dir():
            every = sorted(path for path in self.sets[0].rglob("*") if path.is_file())
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            for path in every[:: max(1, len(every) // count)][:count]:
                shutil.copyfile(path, partial / path.name)
            partial.rename(folder)
        return folder

    def _rate(self, row: Row, model: str, few: Path) -> None:
        """Add how many of some pictures are read, decoded and embedded a second."""
        ways = {"reference": lambda: rate(self.reference, few)}
        if model in DESCRIPTORS:
            ways["mine"] = lambda: described(model, few)
        elif model != self.reference:
            ways["mine"] = lambda: rate(model, few)
        began, found = time.process_time(), []
        # One turn of a slow network says enough.
        while not found or (len(found) < self.sizes.turns and time.process_time() - began < ENOUGH):
            found.append({name: way() for name, way in ways.items()})
        mine = [turn.get("mine", turn["reference"]) for turn in found]
        row.rate = statistics.median(mine)
        pairs = zip(mine, found, strict=True)
        row.rate_ratio = statistics.median(rate / turn["reference"] for rate, turn in pairs)

    def _ask(self, row: Row, model: str, database: Path) -> None:
        """Add what a query takes, and what a picture takes on disk, in a database of `gallery` pictures."""
        from image_similarity import Case

        name = _name(model)
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            target = Path(folder) / "gallery.db"
            row.dim = fill(target, model, database, self.sizes.gallery)
            row.size = stored_bytes(target)
            kept_gallery = self.work / "gallery.db"
            if model == self.reference and not kept_gallery.exists():
                shutil.copyfile(target, kept_gallery)
            if not kept_gallery.exists():
                raise SystemExit(f"{name}: measure {self.reference} first, in the same folder")
            with (
                Case.open(kept_gallery, read_only=True) as reference,
                Case.open(target, read_only=True) as mine,
            ):
                ways = {"reference": self._asker(reference), "mine": self._asker(mine)}
                turns = [
                    {name: seconds_of(way) for name, way in ways.items()}
                    for _ in range(self.sizes.queries + 1)
                ]
        # The first query of each reads what the later ones find in memory.
        found = {name: statistics.median(turn[name] for turn in turns[1:]) for name in ways}
        row.query, row.query_ratio = found["mine"], found["mine"] / found["reference"]

    def _asker(self, case: Any) -> Callable[[], object]:
        """A function that asks for the next of some known pictures at each call."""
        turn = itertools.cycle(numbers_for(self.sizes.gallery, self.sizes.queries))
        return lambda: case.search(sha256=sha256_of(next(turn)), k=K, scene="off")


def _name(model: str) -> str:
    from image_similarity.encoding import registry

    return model if model in DESCRIPTORS else registry.get(model).name


def seconds_of(work: Callable[[], object]) -> float:
    """Return how much processor time it takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def rate(model: str, pictures: Path) -> float:
    """Index a folder into a new database; return how many pictures a second it stored after the first batch."""
    from image_similarity import Case, IndexOptions
    from image_similarity.events import Event, Progress

    seen: list[tuple[float, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.embedded:
            seen.append((time.process_time(), event.embedded))

    began = time.process_time()
    options = IndexOptions(models=(model,), scenes=None, batch_size=32)
    with tempfile.TemporaryDirectory() as folder, Case.open(Path(folder) / "case.db") as case:
        case.index(pictures, options=options, on_event=listen)
    (first, some), (last, every) = seen[0], seen[-1]
    # A single batch is all there is: then with the time that it took to load the model.
    return (every - some) / (last - first) if every > some else every / (last - began)


def described(name: str, pictures: Path) -> float:
    """Return how many pictures a second a descriptor takes, read and decoded by one thread as `evaluate` does."""
    from image_similarity.evaluation.embedders import load_embedders
    from image_similarity.evaluation.reading import Account, embed_files
    from image_similarity.evaluation.sources import read_pictures
    from image_similarity.events import ignore

    files, _ = read_pictures(pictures)
    embedders = load_embedders([name], device="cpu")

    def work() -> None:
        embed_files(files, embedders, Account(ignore), what="pictures", side=None)

    return len(files) / seconds_of(work)


def quality(**request: Any) -> tuple[dict[str, tuple[float, float, float]], str]:
    """Return the measures of one model with their intervals, and what is known of its training pictures."""
    from image_similarity.evaluation import EvaluationRequest, evaluate

    (model,) = evaluate(EvaluationRequest(**{"models": (), **request})).models
    found = {
        figure.measure: (figure.value, figure.low, figure.high)
        for figure in model.figures
        if figure.task == "retrieval" and figure.measure in MEASURES
    }
    return found, model.training


def fill(target: Path, model: str, database: Path, count: int) -> int:
    """Write a database of `count` pictures from the vectors of another one; return their dimension."""
    from image_similarity.encoding import registry
    from image_similarity.evaluation.database import read_stored

    info = replace(registry.info(registry.get(model)), scenes=())
    ((_, embedded),) = read_stored(database, (info.name,)).models
    blocks = enlarged(embedded.vectors, count, unit=info.normalisation == "l2")
    write(target, info, (Block(each, np.empty((len(each), 0), int)) for each in blocks))
    return int(embedded.vectors.shape[1])


def enlarged(real: np.ndarray, count: int, *, unit: bool, seed: int = 1) -> Iterator[np.ndarray]:
    """Give float32 vectors in blocks: the real ones, then copies of them with jitter; of length 1 if `unit`."""
    random = np.random.default_rng(seed)
    lengths = np.linalg.norm(real, axis=1, keepdims=True)
    for start in range(0, count, BLOCK):
        numbers = np.arange(start, min(start + BLOCK, count))
        vectors = real[numbers % len(real)].astype(np.float32)
        noise = random.standard_normal(vectors.shape, dtype=np.float32)
        noise *= JITTER / np.sqrt(vectors.shape[1]) * lengths[numbers % len(real)]
        noise[numbers < len(real)] = 0
        vectors += noise
        if unit:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        yield vectors


def stored_bytes(database: Path) -> float:
    """Return how many bytes a picture's vector takes: its row, its part of a pack, and their indexes."""
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM embedding").fetchone()
        (size,) = connection.execute(
            "SELECT sum(pgsize) FROM dbstat WHERE name IN"
            " (SELECT name FROM sqlite_master WHERE tbl_name IN ('embedding', 'vector_pack'))"
        ).fetchone()
    return float(size / count)


def show(rows: Sequence[Row], sets: Sequence[str]) -> str:
    """Return the table in Markdown; shares in per cent with their 95 % intervals."""
    header = ["system", "numbers"]
    header += [f"{name}: {measure}" for name in sets for measure in MEASURES]
    header += ["pictures a second of one core", "bytes a picture", "query, ms of one core"]
    lines = []
    for row in rows:
        line = [row.name, "–" if row.dim is None else f"{row.dim:,}"]
        for number in range(len(sets)):
            figures = row.figures[number] if number < len(row.figures) else {}
            line += [percent(figures.get(measure)) for measure in MEASURES]
        line.append(beside(row.rate, row.rate_ratio))
        line.append("–" if row.size is None else f"{row.size:,.0f}")
        line.append(beside(row.query and 1000 * row.query, row.query_ratio))
        lines.append(line)
    return table(header, lines)


def percent(figure: Sequence[float] | None) -> str:
    """Return a share with its interval in per cent."""
    if figure is None:
        return "not measured"
    value, low, high = (100 * each for each in figure)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def beside(value: float | None, ratio: float | None) -> str:
    """Return the ratio to the first model, which the rest of the machine's work leaves alone, and the figure itself."""
    if value is None or ratio is None:
        return "–"
    return f"{ratio:.2g} × ({value:,.0f})" if value >= 100 else f"{ratio:.2g} × ({value:.3g})"


if __name__ == "__main__":
    main()
