"""Every write, sync, truncate and unlink of an index, a refresh, an upgrade and more fails in turn, and kills.

With a compiler at hand fault_preload.c is preloaded, and each operation on the database's files is met. Without one
the size to which a file may grow is limited instead, step by step, which makes the writes fail that come later.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import campaign_ground as ground
from campaign_ground import ROOT, Row, Settings, Tally

from image_similarity import Case
from image_similarity.errors import (
    DatabaseMissing,
    NotOurDatabase,
    SchemaTooOld,
)
from image_similarity.store.schema import APPLICATION_ID, PAGE_SIZE
from tests.indexing.desk import Desk

# Of 200 in all.
KILLS = {"index of three batches": 100}
PRELOADED = "CAMPAIGN_PRELOADED"


def preload(work: Path) -> dict[str, str]:
    """Compile the preload; the variables of an environment that loads it, none without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    target = work / "fault.so"
    source = ROOT / "scripts" / "fault_preload.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(source), "-ldl"], check=True
    )
    return {"LD_PRELOAD": str(target), PRELOADED: "1"}


@dataclass(frozen=True)
class Scene:
    """Something that writes: how a database stands before, what is done, and what must come of it."""

    name: str
    before: Path | None
    act: Callable[[Desk], Any]
    essence: Callable[[Desk], dict[str, Any]]


@dataclass(frozen=True)
class Trial:
    """One disturbance of one scene; what it counts for is `row`."""

    row: str
    scene: Scene
    desk: Desk
    wanted: Any
    disturb: Callable[[Desk], ground.Ended]


def run(settings: Settings) -> list[Row]:
    trials: list[Trial] = []
    for scene, desk in scenes(settings):
        calm = copy_of(desk, settings.work / "calm", scene)
        began = time.monotonic()
        ended = ground.forked(lambda calm=calm, scene=scene: scene.act(calm))
        seconds = time.monotonic() - began
        if ended.kind != "done":
            raise SystemExit(f"{scene.name} undisturbed: {ended}")
        wanted = scene.essence(calm)
        disturb = every_operation if PRELOADED in os.environ else every_size
        found = [*disturb(settings, scene, desk), *kills(settings, scene, seconds)]
        trials += [Trial(row, scene, desk, wanted, work) for row, work in found]
    tallies = {trial.row: Tally("faults", trial.row) for trial in trials}
    total = Counter(trial.row for trial in trials)
    # In any order: should the time end before they do, some of everything was tried.
    settings.random.shuffle(trials)
    for trial in trials[settings.done :]:
        if settings.is_over():
            break
        settings.done += 1
        copy = copy_of(trial.desk, settings.work / "trial", trial.scene)
        ended = trial.disturb(copy)
        judge(tallies[trial.row], ended, copy, trial.scene, trial.wanted)
    return [replace(tally.row(), total=total[tally.tried]) for tally in tallies.values()]


def scenes(settings: Settings) -> list[tuple[Scene, Desk]]:
    model = ground.model_in(settings.work)
    made = []
    desk = ground.new_desk(settings.work / "index", model)
    ground.fill(desk, 9)
    desk.options = replace(desk.options, batch_size=3)
    made.append((Scene("index of three batches", None, Desk.index, ground.essence), desk))

    desk = ground.new_desk(settings.work / "refresh", model)
    ground.fill(desk, 6)
    ground.forked(desk.index)
    desk.put_many(4, start=20)
    (desk.evidence / "picture-003.png").unlink()
    desk.options = replace(desk.options, batch_size=3)
    before = settings.work / "refresh.db"
    shutil.move(desk.database, before)
    made.append((Scene("refresh", before, Desk.refresh, ground.essence), desk))

    desk = ground.new_desk(settings.work / "decide", model)
    ground.fill(desk, 2)
    ground.forked(desk.index)
    before = settings.work / "decide.db"
    shutil.move(desk.database, before)
    made.append((Scene("decision", before, decide, ground.essence), desk))

    if hasattr(Case, "merge"):
        made.append(merge_scene(settings, model))

    desk = ground.new_desk(settings.work / "upgrade", model)
    before = settings.work / "upgrade.db"
    before.unlink(missing_ok=True)
    with closing(sqlite3.connect(before)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        dump = ROOT / "tests" / "data" / "db" / "0001.sql"
        connection.executescript(dump.read_text(encoding="utf-8"))
    made.append((Scene("upgrade from schema 0001", before, upgrade, upgraded), desk))
    return made


def merge_scene(settings: Settings, model: Path) -> tuple[Scene, Desk]:
    other = ground.new_desk(settings.work / "other", model)
    other.put_many(5, start=40)
    ground.forked(other.index)
    desk = ground.new_desk(settings.work / "merge", model)
    ground.fill(desk, 5)
    ground.forked(desk.index)
    before = settings.work / "merge.db"
    shutil.move(desk.database, before)

    def merge(desk: Desk) -> None:
        from image_similarity.errors import UsageError

        with Case.open(desk.database) as case:
            try:
                case.merge(other.database)
            except UsageError:
                # Merged before the fault came.
                if len(case.sources()) < 2:
                    raise

    return Scene("merge", before, merge, ground.essence), desk


def decide(desk: Desk) -> None:
    with Case.open(desk.database) as case:
        case.decide(case.images_at("picture-000.png")[0].sha256, "tag", "kitchen")


def upgrade(desk: Desk) -> None:
    Case.open(desk.database).close()


def upgraded(desk: Desk) -> dict[str, Any]:
    tables = desk.tables(without=["audit"])
    copies = sorted(path.name for path in desk.database.parent.glob("*.before-*"))
    return {**tables, "copies": copies, "vectors": {}}


def copy_of(desk: Desk, folder: Path, scene: Scene) -> Desk:
    """The desk with a database of its own, as it stands before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy = Desk.__new__(Desk)
    copy.__dict__.update(desk.__dict__)
    copy.folder, copy.database = folder, folder / "case.db"
    if scene.before is not None:
        shutil.copy2(scene.before, copy.database)
    return copy


def after(desk: Desk, scene: Scene) -> dict[str, Any]:
    """A reader right after the fault, then the same work again, then all checks; raises what is wrong."""
    try:
        wrong = ground.problems(desk.database)
    except (DatabaseMissing, NotOurDatabase, SchemaTooOld):
        wrong = ""
        if scene.before is not None and "upgrade" not in scene.name:
            raise
    if wrong:
        raise ValueError(f"right after: {wrong}")
    scene.act(desk)
    if wrong := ground.problems(desk.database):
        raise ValueError(f"at the end: {wrong}")
    return scene.essence(desk)


def judge(tally: Tally, ended: ground.Ended, desk: Desk, scene: Scene, wanted: Any) -> None:
    """Count one fault: it must be named or survived, and the finished database as if it had never been."""
    where = f"{scene.name}, {tally.outcomes.total() + 1}"
    if ended.kind in ("untyped", "crashed", "hung"):
        tally.add("", f"{ended.kind} {ended.text}", where)
        return
    finished = ground.forked(lambda: after(desk, scene))
    if finished.kind != "done":
        tally.add("", f"after {ended.kind} {ended.text}: {finished.kind} {finished.text}", where)
        return
    tally.add(
        {"done": "survived", "named": "ended with a named error", "killed": "killed"}[ended.kind]
        + ", then completed to the same database",
        ground.differences(finished.value, wanted),
        where,
    )


Found = Iterator[tuple[str, Callable[[Desk], ground.Ended]]]


def every_operation(settings: Settings, scene: Scene, desk: Desk) -> Found:
    fault = ctypes.CDLL(None)

    def armed(copy: Desk, at: int, error: int, last: int, kill: int) -> int:
        fault.fault_arm(os.fsencode(copy.folder), at, error, last, kill)
        scene.act(copy)
        return int(fault.fault_count())

    counted = copy_of(desk, settings.work / "trial", scene)
    total = ground.forked(lambda: armed(counted, 0, 0, 0, 0)).value
    for name, error, last, kill in (
        ("fails once (EIO)", errno.EIO, 0, 0),
        ("and all after it fail (ENOSPC)", errno.ENOSPC, 1, 0),
        ("is cut in half by SIGKILL", 0, 0, 1),
    ):
        chosen = settings.random.sample(range(1, total + 1), settings.times(total))
        share = f"each of {total}" if len(chosen) == total else f"{len(chosen)} of {total}"
        row = f"{scene.name}: a write, sync, truncate or unlink {name}, {share} in turn"
        for at in chosen:
            yield (
                row,
                lambda copy, at=at, e=error, ls=last, k=kill: ground.forked(
                    lambda: armed(copy, at, e, ls, k)
                ),
            )


def every_size(settings: Settings, scene: Scene, desk: Desk) -> Found:
    """Without a compiler: files may grow to so many bytes and no further."""
    row = f"{scene.name}: no file may grow beyond a limit, drawn at random"
    largest = (settings.work / "calm" / "case.db").stat().st_size + PAGE_SIZE
    for _ in range(settings.times(100)):
        limit = settings.random.randrange(largest)

        def act(copy: Desk, limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            scene.act(copy)

        yield row, lambda copy, act=act: ground.forked(lambda: act(copy))


def kills(settings: Settings, scene: Scene, seconds: float) -> Found:
    row = f"{scene.name}: SIGKILL at a random moment"
    for _ in range(settings.times(KILLS.get(scene.name, 25))):
        moment = settings.random.uniform(0, seconds)
        yield (
            row,
            lambda copy, moment=moment: ground.forked(
                lambda: scene.act(copy) and None, kill_after=moment
            ),
        )
