"""Several at once: two indexers, an indexer and forty readers, decisions during a run, readers during an upgrade."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import campaign_ground as ground
from campaign_faults import decide, scenes
from campaign_ground import Row, Settings, Tally

from image_similarity import Case
from image_similarity.errors import SchemaTooOld
from tests.indexing.desk import Desk

READERS = 40


def run(settings: Settings) -> list[Row]:
    model = ground.model_in(settings.work)
    desk = ground.new_desk(settings.work / "desk", model)
    ground.fill(desk, 12)
    desk.options = replace(desk.options, batch_size=2)
    first = desk.evidence / "picture-000.png"
    ground.forked(lambda: desk.index(first))
    before = settings.work / "before.db"
    shutil.move(desk.database, before)
    shutil.copy2(before, desk.database)
    ground.forked(desk.index)
    wanted = ground.essence(desk)
    return [
        two_indexers(settings, desk, before, wanted),
        readers(settings, desk, before, wanted),
        decisions(settings, desk, before, wanted),
        during_upgrade(settings),
    ]


def two_indexers(settings: Settings, desk: Desk, before: object, wanted: dict) -> Row:
    tally = Tally("together", "two indexers of one database, started at once")
    for _ in range(settings.times(50, 2)):
        shutil.copy2(before, desk.database)
        processes = [ground.started(desk.index) for _ in range(2)]
        kinds = [ground.ended(process) for process in processes]
        refused = [end for end in kinds if end.kind == "named" and "DatabaseLocked" in end.text]
        done = [end for end in kinds if end.kind == "done"]
        problem = "" if len(refused) + len(done) == 2 and done else str(kinds)
        problem = problem or ground.differences(ground.essence(desk), wanted) or checked(desk)
        said = (
            "one refused as locked, the other done" if refused else "both done, one after the other"
        )
        tally.add(said, problem)
    return tally.row()


def checked(desk: Desk) -> str:
    ended = ground.forked(lambda: ground.problems(desk.database))
    return ended.value if ended.kind == "done" else f"{ended.kind} {ended.text}"


def readers(settings: Settings, desk: Desk, before: object, wanted: dict) -> Row:
    tally = Tally("together", f"an indexer and {READERS} readers that search until it has ended")
    count = max(4, round(READERS * min(1.0, settings.share * 10)))
    for _ in range(settings.times(10)):
        shutil.copy2(before, desk.database)
        images = ground._some_images(desk.database)
        over = settings.work / "over"
        over.unlink(missing_ok=True)

        def read(images: list[str] = images, over: Path = over) -> int:
            searches = 0
            while True:
                last = over.exists()
                with Case.open(desk.database, read_only=True) as case:
                    case.search(sha256=images[0], scene="off", k=50)
                    searches += 1
                if last:
                    return searches

        others = [ground.started(read) for _ in range(count)]
        indexed = ground.forked(desk.index)
        over.touch()
        ends = [ground.ended(process) for process in others]
        wrong = [f"{end.kind} {end.text}" for end in (indexed, *ends) if end.kind != "done"]
        problem = "; ".join(wrong[:2]) or ground.differences(ground.essence(desk), wanted)
        searches = sum(end.value or 0 for end in ends)
        tally.add("all done", problem or ("" if searches >= count else "readers read nothing"))
    return tally.row()


def decisions(settings: Settings, desk: Desk, before: object, wanted: dict) -> Row:
    tally = Tally("together", "decisions while a run writes")
    for _ in range(settings.times(20)):
        shutil.copy2(before, desk.database)
        process = ground.started(desk.index)
        time.sleep(settings.random.uniform(0, 0.4))
        decided = ground.forked(lambda: decide(desk))
        indexed = ground.ended(process)
        problem = "" if indexed.kind == decided.kind == "done" else f"{indexed} {decided}"
        problem = problem or ("" if desk.count("mark") == 1 else "the decision is not there")
        found = {**ground.essence(desk), "mark": wanted["mark"]}
        tally.add("both done", problem or ground.differences(found, wanted) or checked(desk))
    return tally.row()


def during_upgrade(settings: Settings) -> Row:
    tally = Tally("together", "a reader during an upgrade")
    scene, desk = next(each for each in scenes(settings) if "upgrade" in each[0].name)
    for _ in range(settings.times(50, 2)):
        for path in desk.folder.glob("case.db*"):
            path.unlink()
        shutil.copy2(scene.before, desk.database)
        process = ground.started(lambda: scene.act(desk))
        time.sleep(settings.random.uniform(0, 0.15))

        def read() -> str:
            try:
                with Case.open(desk.database, read_only=True) as case:
                    return (
                        f"answered with {len(case.search(sha256='3946ca64', scene='off').hits) > 0}"
                    )
            except SchemaTooOld:
                return "told that the schema is too old"

        found, upgraded = ground.forked(read), ground.ended(process)
        fine = found.kind == upgraded.kind == "done" and not found.value.endswith("False")
        said = str(found.value).replace(" with True", "")
        tally.add(said, "" if fine else f"{found} {upgraded}")
    return tally.row()
