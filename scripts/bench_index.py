"""Measure indexing: where a picture's time goes, how near the whole comes to its parts, and others' ways.

    python scripts/bench_index.py --pictures PHOTOS [-m builtin] [--count 2000] [--quick]

Four tables, all of the same run:

- one picture's way, each step alone with one thread, and steps over the same files with all cores;
- the whole way through `Case.index` against 1 / (1/d + 1/n), where d and n are decoding alone and
  the network alone with all cores; for the photos, and for photos enlarged to 12 megapixels;
- other ways over the same photos: the earlier system's (earlier_system.py), and a CLIP ViT-B/32 in
  torch (index_anchors.py); over fewer photos, because they are slow;
- a run that finds nothing changed, over many tiny files, against a bare walk with `stat`.

Medians of --repeats, the things compared taking turns. Markdown on stdout.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import earlier_system
import index_anchors
import numpy as np
from benchmark import (
    DirectWriter,
    copy_pictures,
    enlarge_pictures,
    machine,
    seconds_of,
    table,
    write_tiny_files,
)
from PIL import ImageFile

from image_similarity import Case, IndexOptions
from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoded, Encoder
from image_similarity.encoding.scenes import top_scenes
from image_similarity.pictures import decode, pixels, prepared, read
from image_similarity.pictures.walk import walk
from image_similarity.store.batch import BatchRows, NewContent, SeenFile
from image_similarity.values import Digests, PictureFacts

# As many as `Case.index` takes at once.
BATCH = 64
# Files of the database behind the re-scan that are written at once.
FILES_AT_ONCE = 5000
MAX_PIXELS = 250_000_000
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
STEPS = (
    "read",
    "hash (SHA-256, SHA-1, MD5)",
    "open, EXIF",
    "decode",
    "colours (ICC)",
    "resize",
    "network",
    "write",
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures to copy")
    parser.add_argument("-m", "--model", default="builtin")
    parser.add_argument("--count", type=int, default=2000, help="photos")
    parser.add_argument("--large", type=int, default=200, help="enlarged photos")
    parser.add_argument("--megapixels", type=float, default=12, help="of an enlarged photo")
    parser.add_argument("--files", type=int, default=100_000, help="tiny files of the re-scan")
    parser.add_argument("--earlier-count", type=int, default=20, help="photos for the others' ways")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few pictures, once: a trial")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.count, arguments.earlier_count, arguments.repeats = 12, 2, 1
        arguments.large, arguments.megapixels, arguments.files = 2, 2, 200
    return arguments


def tell(text: str) -> None:
    """Say on stderr what is being measured."""
    print(text, file=sys.stderr, flush=True)


def median_of(found: Sequence[float]) -> float:
    return statistics.median(found)


# -- one picture's way -------------------------------------------------------------------------------------------


@contextmanager
def timed(spent: dict[str, float], *functions: tuple[Any, str, str]) -> Iterator[None]:
    """Within it, count the seconds inside functions (owner, name, step)."""

    def counted(function: Callable[..., Any], step: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            began = perf_counter()
            try:
                return function(*given, **named)
            finally:
                spent[step] += perf_counter() - began

        return call

    before = [getattr(owner, name) for owner, name, _ in functions]
    for (owner, name, step), function in zip(functions, before, strict=True):
        setattr(owner, name, counted(function, step))
    try:
        yield
    finally:
        for (owner, name, _), function in zip(functions, before, strict=True):
            setattr(owner, name, function)


def measure_steps(
    files: Sequence[Path], encoder: Encoder, writer: DirectWriter
) -> dict[str, float]:
    """Return the seconds that each step took over all files, one after the other, with one thread."""
    spent = dict.fromkeys((*STEPS, "whole read", "whole decode"), 0.0)
    preprocess = encoder.info.preprocess
    inner = (
        (read, "_digests", STEPS[1]),
        (ImageFile.ImageFile, "load", "decode"),
        (decode, "to_rgb", "colours (ICC)"),
        (pixels, "prepare", "resize"),
        (decode, "decode_here", "whole decode"),
    )
    for start in range(0, len(files), BATCH):
        block = files[start : start + BATCH]
        contents, decoded = [], []
        with timed(spent, *inner):
            for path in block:
                began = perf_counter()
                content = read.read_file(str(path))
                spent["whole read"] += perf_counter() - began
                assert isinstance(content, read.Contents)  # noqa: S101 - these are pictures
                contents.append(content)
                found = prepared.decode_for(content.data, {preprocess}, max_pixels=MAX_PIXELS)
                decoded.append(found)
        began = perf_counter()
        encoded = encoder.encode(np.stack([found[preprocess] for _, found in decoded]))
        spent["network"] += perf_counter() - began
        rows = rows_of(block, contents, decoded, encoded, encoder, writer)
        spent["write"] += seconds_of(lambda rows=rows: writer.write(rows))
    spent["read"] = spent.pop("whole read") - spent[STEPS[1]]
    spent["open, EXIF"] = spent.pop("whole decode") - spent["decode"] - spent["colours (ICC)"]
    return spent


def rows_of(
    files: Sequence[Path],
    contents: Sequence[read.Contents],
    decoded: Sequence[Any],
    encoded: Encoded,
    encoder: Encoder,
    writer: DirectWriter,
) -> BatchRows:
    """Return what an index run stores of these files."""
    rows = BatchRows()
    for number, (file, content, (facts, _)) in enumerate(
        zip(files, contents, decoded, strict=True)
    ):
        sha256 = content.digests.sha256
        rows.contents.append(NewContent(content.digests, content.size, facts))
        rows.files.append(
            SeenFile(str(file), sha256, content.size, content.mtime_ns, None, None, True)
        )
        if encoded.vectors is not None:
            vector = encoded.vectors[number].astype("<f2").tobytes()
            rows.vectors.append((writer.model_id, sha256, vector))
        if encoded.scenes is not None:
            top = top_scenes(encoded.scenes[number], encoder.info.scene_top_k)
            labels = [(writer.scene_ids[position], value) for position, value in top]
            rows.scenes.append((writer.model_id, sha256, labels))
    return rows


def show_steps(files: Sequence[Path], arguments: argparse.Namespace, work: Path) -> None:
    """Measure the steps with one thread, and print them."""
    tell("one picture's way")
    encoder = Encoder.load(registry.get(arguments.model), device="cpu", threads=1)
    passes = []
    for number in range(arguments.repeats):
        writer = DirectWriter(work / f"steps-{number}.db", work, encoder.info, arguments.model)
        passes.append(measure_steps(files, encoder, writer))
        writer.close()
    steps = {step: median_of([each[step] for each in passes]) / len(files) for step in STEPS}
    total = sum(steps.values())
    rows = [[step, f"{steps[step] * 1000:.3f}", f"{steps[step] / total:.1%}"] for step in STEPS]
    rows.append(["all", f"{total * 1000:.3f}", "100%"])
    print("One picture's way, one thread, one step after the other:\n")
    print(table(["step", "milliseconds", "share"], rows))


# -- the whole against its parts -----------------------------------------------------------------------------------


def decode_rate(files: Sequence[Path], encoder: Encoder, *, with_read: bool) -> float:
    """Return pictures a second, decoded and resized by a thread per core; read and hashed, too, if asked for."""
    preprocess = encoder.info.preprocess
    given: list[Any] = list(map(str, files))
    if not with_read:
        # Held as bytes, some at a time, so that large pictures do not fill the memory.
        given = [path.read_bytes() for path in files[: 4 * BATCH]]

    def one(item: Any) -> None:
        data = read.read_file(item).data if with_read else item  # type: ignore[union-attr]
        prepared.decode_for(data, {preprocess}, max_pixels=MAX_PIXELS)

    with ThreadPoolExecutor(CORES) as pool:
        return len(given) / seconds_of(lambda: list(pool.map(one, given)))


def network_rate(encoder: Encoder, count: int) -> float:
    """Return pictures a second through the network alone, in full batches with a thread per core."""
    size = encoder.info.preprocess.size
    batch = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)
    turns = max(1, min(count, 8 * BATCH) // BATCH)
    return turns * BATCH / seconds_of(lambda: [encoder.encode(batch) for _ in range(turns)])


def index_rate(folder: Path, count: int, model: str, database: Path) -> float:
    """Return pictures a second of a first run into a new database, loading of the network included."""
    options = IndexOptions(models=(model,), scenes=model, device="cpu")
    with Case.open(database) as case:
        seconds = seconds_of(lambda: case.index(folder, options=options))
        assert case.status().images == count  # noqa: S101 - else the figure means nothing
    return count / seconds


def show_whole(
    kinds: Sequence[tuple[str, Path, Sequence[Path]]], arguments: argparse.Namespace, work: Path
) -> float:
    """Measure the parts and the whole in turns, print them, and return the rate of the whole for the first kind."""
    rows, wholes = [], []
    encoder = Encoder.load(registry.get(arguments.model), device="cpu", threads=CORES)
    encoder.encode(np.zeros((BATCH, *[encoder.info.preprocess.size] * 2, 3), np.uint8))
    for kind, folder, files in kinds:
        turns = []
        for number in range(arguments.repeats):
            tell(f"{kind}: turn {number + 1} of {arguments.repeats}")
            decoding = decode_rate(files, encoder, with_read=False)
            loading = decode_rate(files, encoder, with_read=True)
            network = network_rate(encoder, len(files))
            name = work / f"{folder.name}-{number}.db"
            whole = index_rate(folder, len(files), arguments.model, name)
            limit, practical = (1 / (1 / d + 1 / network) for d in (decoding, loading))
            turns.append(
                [decoding, loading, network, limit, whole, whole / limit, whole / practical]
            )
        *rates, share, practical = [median_of(column) for column in zip(*turns, strict=True)]
        cells = [f"{rate:,.1f}" for rate in rates]
        rows.append([kind, f"{len(files):,}", *cells, f"{share:.1%}", f"{practical:.1%}"])
        wholes.append(rates[4])
    print(
        f"The whole against its parts, {CORES} threads, pictures a second. d: decoding and resizing"
        " alone, from memory;\nn: the network alone, batches of 64; limit: 1 / (1/d + 1/n). The last"
        " column takes reading and hashing into d.\n"
    )
    head = ["pictures", "count", "d", "d with read and hash", "n", "limit", "`Case.index`"]
    print(table([*head, "of the limit", "with read and hash"], rows))
    return wholes[0]


# -- others' ways --------------------------------------------------------------------------------------------------


def show_others(
    files: Sequence[Path], ours: float, arguments: argparse.Namespace, work: Path
) -> None:
    """Measure the earlier system and a CLIP pipeline over a few files, and print how many times faster ours is."""
    tell("others' ways")
    network = earlier_system.DeepRanking().eval()
    clip = index_anchors.new_clip_network()
    weights = earlier_system.write_weights(earlier_system.new_scene_network(), work / "scenes.pth")

    def earlier(batch: int) -> dict[str, float]:
        database = work / "earlier.db"
        database.unlink(missing_ok=True)
        return earlier_system.index(files, database, network, weights, batch)

    # The first call of a network takes longer.
    earlier_system.embed(network, earlier_system.read_pixels(files[0])[None])
    index_anchors.clip_index(files[:1], clip)
    batched, single, peer = [], [], []
    for _ in range(arguments.repeats):
        batched.append(earlier(earlier_system.BATCH))
        single.append(earlier(1))
        peer.append(seconds_of(lambda: index_anchors.clip_index(files, clip)))
    ways = [
        (
            f"earlier system, network in batches of {earlier_system.BATCH}",
            [sum(each.values()) for each in batched],
        ),
        ("earlier system, network one by one", [sum(each.values()) for each in single]),
        ("CLIP ViT-B/32 in torch, batches of 8", peer),
    ]
    rates = [(way, len(files) / median_of(seconds)) for way, seconds in ways]
    rows = [[way, f"{rate:,.2f}", f"{ours / rate:,.1f}"] for way, rate in rates]
    print(f"Other ways over {len(files)} of the photos:\n")
    print(table(["way", "pictures a second", "`Case.index` is times faster"], rows))
    print("Where the earlier system spends its time, seconds a picture:\n")
    steps = {
        step: median_of([each[step] for each in batched]) / len(files)
        for step in earlier_system.STAGES
    }
    total = sum(steps.values())
    rows = [[step, f"{value:.3f}", f"{value / total:.1%}"] for step, value in steps.items()]
    print(table(["step", "seconds", "share"], rows))


# -- a run that finds nothing changed ------------------------------------------------------------------------------


def show_rescan(arguments: argparse.Namespace, work: Path) -> None:
    """Measure a second run over unchanged tiny files against a bare walk, in turns, and print both."""
    tell("re-scan")
    folder = work / "tiny"
    write_tiny_files(folder, arguments.files)
    fill(work / "rescan.db", folder, arguments.model)
    options = IndexOptions(models=(arguments.model,), scenes=arguments.model, device="cpu")
    bare, ours = [], []
    with Case.open(work / "rescan.db") as case:

        def again() -> None:
            report = case.index(folder, options=options, source="pictures")
            assert report.unchanged == arguments.files  # noqa: S101 - else the figure means nothing

        again()  # brings what later runs find
        for _ in range(max(3, arguments.repeats)):
            bare.append(seconds_of(lambda: index_anchors.bare_walk(str(folder))))
            ours.append(seconds_of(again))
    ratio = median_of([one / other for one, other in zip(ours, bare, strict=True)])
    rows = [
        ["`os.scandir` and `stat`", f"{arguments.files / median_of(bare):,.0f}", "1.0"],
        [
            "`Case.index`, nothing changed",
            f"{arguments.files / median_of(ours):,.0f}",
            f"{ratio:.1f}",
        ],
    ]
    print(f"A re-scan of {arguments.files:,} unchanged files:\n")
    print(table(["way", "files a second", "times the bare walk"], rows))


def fill(database: Path, folder: Path, model: str) -> None:
    """Write a database that knows all files of a folder, with random vectors, as if they had been indexed."""
    info = registry.info(registry.get(model))
    writer = DirectWriter(database, folder.resolve(), info, model)
    random = np.random.default_rng(0)
    rows = BatchRows()
    for entry in walk(folder):
        sha256 = hashlib.sha256(entry.path.encode()).hexdigest()
        digests = Digests(sha256, sha256[:40], sha256[:32])
        rows.contents.append(
            NewContent(digests, entry.size, PictureFacts(2, 2, "PNG", "image/png"))  # type: ignore[union-attr]
        )
        rows.files.append(
            SeenFile(entry.path, sha256, entry.size, entry.mtime_ns, None, None, True)  # type: ignore[union-attr]
        )
        vector = random.standard_normal(info.dim).astype("<f2").tobytes()
        rows.vectors.append((writer.model_id, sha256, vector))
        scenes = random.permutation(len(info.scenes))[: info.scene_top_k]
        labels = [(writer.scene_ids[scene], 1 / (2 + rank)) for rank, scene in enumerate(scenes)]
        rows.scenes.append((writer.model_id, sha256, labels))
        if len(rows.files) == FILES_AT_ONCE:
            writer.write(rows)
            rows = BatchRows()
    writer.write(rows)
    writer.close()


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        work, folder, large = Path(name), Path(name, "pictures"), Path(name, "large")
        files = copy_pictures(arguments.pictures, arguments.count, folder)
        tell("enlarging")
        enlarged = enlarge_pictures(files, arguments.large, arguments.megapixels, large)
        sizes = [
            sum(path.stat().st_size for path in some) / len(some) / 1024
            for some in (files, enlarged)
        ]
        side = registry.get(arguments.model).preprocess.size
        print(f"{machine()}; model {Path(arguments.model).stem}, input {side} x {side} pixels")
        print(f"Photos of {sizes[0]:,.0f} KiB, enlarged ones of {sizes[1]:,.0f} KiB on average;")
        print(f"medians of {arguments.repeats}\n")
        show_steps(files, arguments, work)
        kinds = [
            ("photos", folder, files),
            (f"enlarged to {arguments.megapixels:g} megapixels", large, enlarged),
        ]
        ours = show_whole(kinds, arguments, work)
        show_others(files[: arguments.earlier_count], ours, arguments, work)
        show_rescan(arguments, work)


if __name__ == "__main__":
    main()
