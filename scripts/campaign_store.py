"""The store: disk full on a small tmpfs, a read-only mount, truncated and bit-flipped databases."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import campaign_ground as ground
from campaign_ground import Row, Settings, Tally

from image_similarity import Case
from image_similarity.errors import ImageSimilarityError
from image_similarity.store.schema import PAGE_SIZE
from tests.indexing.desk import Desk


def run(settings: Settings) -> list[Row]:
    desk = ground.new_desk(settings.work / "desk", ground.model_in(settings.work))
    ground.fill(desk, 12)
    desk.options = replace(desk.options, batch_size=4)
    ground.forked(desk.index)
    return [
        *mounts(settings, desk),
        damaged(settings, desk, "cut at a random place"),
        damaged(settings, desk, "with one to eight bits flipped"),
        damaged(settings, desk, "with a page of zeros or of noise"),
    ]


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def mounts(settings: Settings, desk: Desk) -> list[Row]:
    full = Tally("store", "index on a tmpfs of random size, then on one that is large enough")
    write_protected = Tally("store", "index, refresh and query on a read-only mount")
    wanted = ground.essence(desk)
    size = desk.database.stat().st_size
    folder = settings.work / "small"
    for _ in range(settings.times(40, 2)):
        copy = moved(desk, folder)
        try:
            with mounted(folder, settings.random.randrange(PAGE_SIZE, size + 8 * PAGE_SIZE)):
                ended = ground.forked(copy.index)
                if ended.kind not in ("done", "named"):
                    full.add("", f"{ended.kind} {ended.text}")
                    continue
                subprocess.run(["mount", "-o", f"remount,size={9 * size}", folder], check=True)
                ground.forked(copy.index)
                wrong = ground.forked(lambda copy=copy: ground.problems(copy.database))
                problem = wrong.value or wrong.text
                problem = problem or ground.differences(ground.essence(copy), wanted)
                said = "fitted" if ended.kind == "done" else "ended with a named error"
                full.add(f"{said}, then completed to the same database", problem)
        except subprocess.CalledProcessError:
            return [Row("store", f"{full.tried} (not tried: no right to mount)", {})]
    with mounted(folder, 9 * size):
        copy = moved(desk, folder)
        shutil.copy2(desk.database, copy.database)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        before = copy.database.read_bytes()
        for name, work, kind in (
            ("index", copy.index, "named"),
            ("refresh", copy.refresh, "named"),
            ("query", lambda: ground.problems(copy.database), "done"),
        ):
            ended = ground.forked(work)
            fine = ended.kind == kind and not ended.value and copy.database.read_bytes() == before
            said = "refused with a named error" if kind == "named" else "answered"
            write_protected.add(said, "" if fine else f"{name}: {ended}")
    return [full.row(), write_protected.row()]


def moved(desk: Desk, folder: Path) -> Desk:
    copy = Desk.__new__(Desk)
    copy.__dict__.update(desk.__dict__)
    copy.folder, copy.database = folder, folder / "case.db"
    return copy


def damaged(settings: Settings, desk: Desk, how: str) -> Row:
    """Whatever is damaged is named by the query, by `verify` or by `audit verify`, or changes no answer."""
    tally = Tally("store", f"a database {how}")
    sound = desk.database.read_bytes()
    images = ground._some_images(desk.database)
    path = settings.work / "damaged.db"
    wanted = ground.forked(lambda: answers(desk.database, images)).value
    for number in range(settings.times(500, 3)):
        path.write_bytes(damage(sound, how, settings.random))
        ended = ground.forked(lambda: told(path, images, wanted))
        if ended.kind == "done":
            said, problem = ended.value
            tally.add(said, problem, f"{how}, {number + 1}")
        elif ended.kind == "named":
            tally.add("named where it was opened")
        else:
            tally.add("", f"{ended.kind} {ended.text}", f"{how}, {number + 1}")
    return tally.row()


def damage(sound: bytes, how: str, chance: Any) -> bytes:
    data = bytearray(sound)
    if how.startswith("cut"):
        return bytes(data[: chance.randrange(len(data))])
    if how.startswith("with one"):
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(data)
    at = chance.randrange(len(data) // PAGE_SIZE) * PAGE_SIZE
    data[at : at + PAGE_SIZE] = chance.choice((bytes(PAGE_SIZE), chance.randbytes(PAGE_SIZE)))
    return bytes(data)


def answers(path: Path, images: list[str]) -> list[Any]:
    with Case.open(path, read_only=True) as case:
        results = [case.search(sha256=image, k=20, scene="off") for image in images]
    return [
        (hit.distance, hit.place.source, hit.place.path, hit.image.sha256)
        for result in results
        for hit in result.hits
    ]


def told(path: Path, images: list[str], wanted: list[Any]) -> tuple[str, str]:
    """What a user learns, and what is silently wrong."""
    try:
        found = answers(path, images)
    except ImageSimilarityError:
        return "named by the query", ""
    try:
        named = bool(ground.problems(path))
    except ImageSimilarityError:
        named = True
    if found == wanted:
        return (
            "same answers, named by verify" if named else "same answers, in no part that is used",
            "",
        )
    return "other answers, named by verify", "" if named else "other answers, named by nobody"
