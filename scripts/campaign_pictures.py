"""Bad pictures: mutations of every format, bombs, odd files, and a run whose decoders are killed while it goes on."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import campaign_ground as ground
from campaign_ground import Row, Settings, Tally
from campaign_mutations import bombs, mutated, seeds

from image_similarity.pictures import isolate
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.values import Preprocess

MUTATIONS = 20_000
# In one process: should it die, no more is lost.
AT_ONCE = 500
WANTED = [Preprocess(64), Preprocess(48, fit="crop", resize=56, decode_scale=0)]
MAX_PIXELS = 250_000_000
# Beside the limits of the program: what a bomb may take, all processes together.
SECONDS, MEGABYTES = 150.0, 4000
# Those that are ended because their time is over, or nearly; a slice leaves them out.
SLOW = ("scans:", "EXIF: 100,000", "EXIF: 60,000", "chunks:", "TIFF: 65,000")
# A hang is told from a slow picture by a shorter time than a run allows.
HANG_SECONDS = 20.0


def run(settings: Settings) -> list[Row]:
    isolate.SECONDS = HANG_SECONDS
    if settings.done:
        return mutations(settings)
    rows = [all_bombs(settings)]
    if settings.odd is not None:
        rows.append(odd_files(settings.odd))
    rows.append(killed_decoders(settings))
    return [*mutations(settings), *rows]


def outcome(data: bytes) -> str:
    """What the program makes of a file."""
    try:
        facts, pixels = decode_for(data, WANTED, max_pixels=MAX_PIXELS)
    except PictureError as error:
        if error.error in ("DecoderCrashed", "DecoderHung"):
            return {"DecoderCrashed": "crashed", "DecoderHung": "hung"}[error.error]
        if not error.message.isprintable():
            raise ValueError(f"an unprintable message: {error.message!r}") from error
        return "refused"
    for wanted in WANTED:
        if pixels[wanted].shape != (wanted.size, wanted.size, 3):
            raise ValueError(f"pixels of shape {pixels[wanted].shape}")
    return "damaged, partly decoded" if facts.partial else "decoded"


def mutations(settings: Settings) -> list[Row]:
    """Mutated files of all formats, each decoded as a run would; none may end this process."""
    formats = seeds(settings.odd)
    tallies = {
        form: Tally("pictures", f"{form}: seeded mutations of {len(files)} valid files")
        for form, files in formats.items()
    }
    count = settings.times(MUTATIONS)
    blocks = [(start, form) for start in range(0, count, AT_ONCE) for form in formats]
    for start, form in blocks[settings.done :]:
        if settings.is_over():
            break
        settings.done += 1
        seed = f"{settings.seed} {form} {start // AT_ONCE}"

        def work(
            seed: str = seed, files: list[bytes] = formats[form], start: int = start
        ) -> Counter[str]:
            chance = random.Random(seed)
            tries = range(min(AT_ONCE, count - start))
            found = Counter(outcome(mutated(chance.choice(files), chance)) for _ in tries)
            isolate.close()
            return found

        ended = ground.forked(work, longest=1800)
        if ended.kind == "done":
            tallies[form].outcomes.update(ended.value)
        else:
            tallies[form].add("", f"{ended.kind} {ended.text}", f"{form}, block {seed!r}")
    return [replace(tally.row(), total=count) for tally in tallies.values()]


def all_bombs(settings: Settings) -> Row:
    """Each within its time and memory, or it is broken."""
    tally = Tally("pictures", f"bombs, each within {SECONDS:.0f} s and {MEGABYTES:,} MB")
    most = [0.0, 0]
    for name, data in bombs(settings.share >= 0.5):
        if settings.share < 0.01 and name.startswith(SLOW):
            continue

        def work(data: bytes = data) -> tuple[str, float, int]:
            began = time.monotonic()
            found = outcome(data)
            seconds = time.monotonic() - began
            isolate.close()
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            theirs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            return found, seconds, (own + theirs) // 1024

        ended = ground.forked(work, longest=SECONDS)
        if ended.kind != "done":
            tally.add("", f"{ended.kind} {ended.text}", name)
            continue
        found, seconds, megabytes = ended.value
        print(f"  {name}: {found}, {seconds:.1f} s, {megabytes} MB", file=sys.stderr, flush=True)
        most = [max(most[0], seconds), max(most[1], megabytes)]
        too_much = megabytes > MEGABYTES
        tally.add(found, f"{megabytes} MB" if too_much else "", name)
    row = tally.row()
    return replace(row, note=f"at most {most[0]:.1f} s and {most[1]:,} MB")


def odd_files(odd: Path) -> Row:
    tally = Tally("pictures", "odd files that other projects collected: damaged, rare modes, HEIF")
    for path in sorted(path for path in odd.rglob("*") if path.is_file()):
        ended = ground.forked(lambda path=path: outcome(path.read_bytes()))
        problem = "" if ended.kind == "done" else f"{ended.kind} {ended.text}"
        tally.add(ended.value or "", problem, path.name)
    return tally.row()


def killed_decoders(settings: Settings) -> Row:
    """A run over TIFFs whose decoding processes are killed at random: it goes on, and its account is whole."""
    tally = Tally("pictures", "a run whose decoding processes are killed again and again")
    model = ground.model_in(settings.work)
    for number in range(settings.times(10)):
        desk = ground.new_desk(settings.work / "killed", model)
        for picture in range(40):
            desk.put(f"{picture:02d}.tif", seed=picture)

        def work(desk: Any = desk, number: int = number) -> str:
            chance = random.Random(f"{settings.seed} {number}")
            over = threading.Event()

            def kill() -> None:
                while not over.wait(chance.uniform(0.05, 0.3)):
                    for pid in _children():
                        os.kill(pid, signal.SIGKILL)

            thread = threading.Thread(target=kill)
            thread.start()
            try:
                report = desk.index()
            finally:
                over.set()
                thread.join()
            if not report.accounted or report.seen != 40:
                return f"seen {report.seen}"
            wrong = {failure.error for failure in report.failures} - {"DecoderCrashed"}
            if wrong:
                return f"failures {wrong}"
            report = desk.index(retry_failed=True)
            return "" if report.failed == 0 and len(desk.live()) == 40 else f"then {report}"

        ended = ground.forked(work)
        problem = ended.value if ended.kind == "done" else f"{ended.kind} {ended.text}"
        tally.add("completed; --retry-failed took what was left", problem)
    return tally.row()


def _children() -> list[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    found = [int(pid) for pid in listed.read_text().split()] if listed.exists() else []
    for task in Path("/proc/self/task").iterdir():
        text = (task / "children").read_text() if (task / "children").exists() else ""
        found += [int(pid) for pid in text.split()]
    return sorted(set(found))
