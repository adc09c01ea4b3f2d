"""Measure indexing: pictures a second from folder to database, stage by stage, and against the earlier system.

    python scripts/bench_index.py --pictures PHOTOS [-m builtin] [--count 2000] [--quick]

The folder is copied up to --count pictures of distinct contents. Each stage is measured alone over
the same files, with one thread and with one per core; then the whole way through `Case.index`; then
the earlier system's way (earlier_system.py) over --earlier-count of them, because it is slow.
Medians of --repeats. Markdown on stdout.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import earlier_system
import numpy as np
import torch
from benchmark import DirectWriter, copy_pictures, machine, median_of, seconds_of, table

from image_similarity import Case, IndexOptions
from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoded, Encoder
from image_similarity.encoding.scenes import top_scenes
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, read_file
from image_similarity.store.batch import BatchRows, NewContent, SeenFile

# As many as `Case.index` takes at once.
BATCH = 64
STAGES = ("read and hash", "decode and resize", "network", "write")
MAX_PIXELS = 250_000_000
CORES = os.cpu_count() or 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures to copy")
    parser.add_argument("-m", "--model", default="builtin")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--earlier-count", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few pictures, once: a trial")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.count, arguments.earlier_count, arguments.repeats = 12, 2, 1
    return arguments


def measure_stages(
    files: Sequence[Path], encoder: Encoder, writer: DirectWriter, threads: int
) -> dict[str, float]:
    """Return the seconds that each stage took over all files, one stage after the other, batch by batch."""
    torch.set_num_threads(threads)
    spent = dict.fromkeys(STAGES, 0.0)
    preprocess = encoder.info.preprocess

    def decode(contents: Contents) -> Any:
        return decode_for(contents.data, {preprocess}, max_pixels=MAX_PIXELS)

    with ThreadPoolExecutor(threads) as pool:

        def each(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
            return list(map(work, items) if threads == 1 else pool.map(work, items))

        for start in range(0, len(files), BATCH):
            block = files[start : start + BATCH]
            marks = [perf_counter()]
            contents = each(read_file, map(str, block))
            marks.append(perf_counter())
            decoded = each(decode, contents)
            marks.append(perf_counter())
            encoded = encoder.encode(np.stack([pixels[preprocess] for _, pixels in decoded]))
            marks.append(perf_counter())
            writer.write(rows_of(block, contents, decoded, encoded, encoder, writer))
            marks.append(perf_counter())
            for number, stage in enumerate(STAGES):
                spent[stage] += marks[number + 1] - marks[number]
    return spent


def rows_of(
    files: Sequence[Path],
    contents: Sequence[Contents],
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


def stage_medians(
    files: Sequence[Path], encoder: Encoder, arguments: argparse.Namespace, threads: int, work: Path
) -> dict[str, float]:
    """Return each stage's median of several passes, every pass into a new database."""
    passes = []
    for number in range(arguments.repeats):
        database = work / f"stages-{threads}-{number}.db"
        writer = DirectWriter(database, work, encoder.info, arguments.model)
        passes.append(measure_stages(files, encoder, writer, threads))
        writer.close()
    return {stage: statistics.median(each[stage] for each in passes) for stage in STAGES}


def show_stages(files: Sequence[Path], arguments: argparse.Namespace, work: Path) -> None:
    """Measure the stages with one thread and with one per core, and print them."""
    encoder = Encoder.load(registry.get(arguments.model), device="cpu")
    one = stage_medians(files, encoder, arguments, 1, work)
    many = stage_medians(files, encoder, arguments, CORES, work)
    count, total = len(files), sum(one.values())
    rows = [
        [
            stage,
            f"{count / one[stage]:,.1f}",
            f"{one[stage] / total:.1%}",
            f"{count / many[stage]:,.1f}",
        ]
        for stage in STAGES
    ]
    rows.append(
        [
            "one after the other",
            f"{count / total:,.1f}",
            "100%",
            f"{count / sum(many.values()):.1f}",
        ]
    )
    print("Stages, pictures a second:\n")
    print(table(["stage", "1 thread", "share of time", f"{CORES} threads"], rows))


def index_rates(
    folder: Path, count: int, arguments: argparse.Namespace, work: Path
) -> tuple[float, float]:
    """Return pictures a second of a first run into a new database, and of a second run that finds all unchanged."""
    options = IndexOptions(models=(arguments.model,), scenes=arguments.model, device="cpu")
    first, second = [], []
    for number in range(arguments.repeats):
        with Case.open(work / f"case-{number}.db") as case:

            def run(case: Case = case) -> None:
                case.index(folder, options=options)

            first.append(seconds_of(run))
            second.append(median_of(3, run))
            assert case.status().images == count  # noqa: S101 - else the figures mean nothing
    return count / statistics.median(first), count / statistics.median(second)


def earlier_medians(
    files: Sequence[Path], arguments: argparse.Namespace, work: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the seconds a picture of each stage of the earlier system, its network in batches and one by one."""
    network = earlier_system.DeepRanking().eval()
    weights = earlier_system.write_weights(earlier_system.new_scene_network(), work / "scenes.pth")

    def run(pictures: Sequence[Path], batch: int) -> dict[str, float]:
        database = work / "earlier.db"
        database.unlink(missing_ok=True)
        return earlier_system.index(pictures, database, network, weights, batch)

    run(files[:1], 1)  # the first call of a network takes longer
    batched, single = (
        [run(files, batch) for _ in range(arguments.repeats)] for batch in (earlier_system.BATCH, 1)
    )
    return seconds_each(batched, len(files)), seconds_each(single, len(files))


def seconds_each(passes: Sequence[dict[str, float]], count: int) -> dict[str, float]:
    """Return the median of several passes for each stage, divided by the number of pictures."""
    return {stage: statistics.median(each[stage] for each in passes) / count for stage in passes[0]}


def main() -> None:
    arguments = parse_arguments()
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        work, folder = Path(name), Path(name, "pictures")
        files = copy_pictures(arguments.pictures, arguments.count, folder)
        size = sum(file.stat().st_size for file in files) / len(files)
        side = registry.get(arguments.model).preprocess.size
        print(f"{machine()}; model {Path(arguments.model).stem}, input {side} x {side} pixels")
        print(
            f"{len(files):,} pictures of {size / 1024:,.0f} KiB; medians of {arguments.repeats}\n"
        )
        show_stages(files, arguments, work)
        torch.set_num_threads(threads)
        first, second = index_rates(folder, len(files), arguments, work)
        few = files[: arguments.earlier_count]
        batched, single = earlier_medians(few, arguments, work)
    best = 1 / sum(batched.values())
    ways = [
        ("Case.index, first run", len(files), first),
        ("Case.index, second run, nothing changed", len(files), second),
        (f"earlier system, network in batches of {earlier_system.BATCH}", len(few), best),
        ("earlier system, network one by one", len(few), 1 / sum(single.values())),
    ]
    rows = [[way, f"{count:,}", f"{rate:,.2f}", f"{rate / best:,.1f}"] for way, count, rate in ways]
    print("From a folder to a database:\n")
    print(table(["way", "pictures", "pictures a second", "ratio"], rows))
    print("Where the earlier system spends its time, seconds a picture:\n")
    rows = [[s, f"{batched[s]:.3f}", f"{batched[s] * best:.1%}"] for s in earlier_system.STAGES]
    print(table(["stage", "seconds", "share of time"], rows))


if __name__ == "__main__":
    main()
