"""A merged database answers as one that indexed both; every place, history and the other chain whole come with it."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from image_similarity.case import Case
from image_similarity.errors import (
    DatabaseDamaged,
    DatabaseLocked,
    DatabaseMissing,
    ModelError,
    NotOurDatabase,
    SchemaTooNew,
    SchemaTooOld,
    UsageError,
    VerificationFailed,
)
from image_similarity.events import Event, Progress, Started
from image_similarity.indexing import packing
from image_similarity.records import merge as records_merge
from image_similarity.store import packs, sealing
from image_similarity.store.half_vectors import to_text
from image_similarity.values import Location, MergeReport
from tests.indexing.desk import Desk
from tests.tiny_model import write_tiny_model


def a_desk(folder: Path, model: Path, place: Location | None = None) -> Desk:
    """One picture at a time: what stands beside a picture in a batch can change the last bit of what is said of it."""
    desk = Desk(folder, model, place)
    desk.options = replace(desk.options, batch_size=1)
    return desk


@pytest.fixture
def ours(tmp_path: Path, tiny_model: Path, location: Location) -> Desk:
    """Four pictures, a broken one and a document, indexed: in a file, and once more on a server."""
    desk = a_desk(tmp_path / "ours", tiny_model, location)
    desk.put_many(4)
    desk.corrupt("broken.jpg")
    desk.write("notes.txt", b"text")
    desk.index(source="disk-01")
    return desk


@pytest.fixture
def theirs(tmp_path: Path, tiny_model: Path) -> Desk:
    """Two of our pictures, three others, one of them gone; a failure that was settled; indexed twice."""
    desk = a_desk(tmp_path / "theirs", tiny_model)
    desk.put_many(5, start=2)
    desk.corrupt("broken.png")
    desk.index(source="disk-02")
    (desk.evidence / "picture-006.png").unlink()
    desk.put("broken.png", seed=50)
    desk.corrupt("worse.png")
    desk.index(source="disk-02")
    return desk


def merge(ours: Desk, theirs: Desk, **asked: Any) -> MergeReport:
    with Case.open(ours.database) as case:
        return case.merge(theirs.database, **asked)


def as_kept(desk: Desk, vector: bytes) -> object:
    return vector if isinstance(desk.database, Path) else to_text(vector)


def sound(desk: Desk) -> bool:
    with Case.open(desk.database, read_only=True) as case:
        audit = case.verify_audit()
        assert audit.findings == ()
        return case.verify().clean


def hits(desk: Desk, query: Path, **asked: Any) -> list[tuple[Any, ...]]:
    return [
        (
            hit.rank,
            hit.distance,
            hit.image.sha256,
            hit.place.source,
            hit.place.path,
            hit.image.scenes,
        )
        for hit in desk.find(query, **asked)
    ]


def test_a_merged_database_answers_as_one_that_indexed_both(
    ours: Desk, theirs: Desk, tmp_path: Path
) -> None:
    both = a_desk(tmp_path / "both", ours.model)
    both.index(ours.evidence, source="disk-01")
    both.index(theirs.evidence, source="disk-02")
    merge(ours, theirs)
    queries = [ours.evidence / "picture-000.png", theirs.evidence / "broken.png"]
    for query in (*queries, both.put("new.png", seed=70)):
        for scene in ("off", "auto"):
            assert hits(ours, query, scene=scene) == hits(both, query, scene=scene)
    assert sound(ours)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_two_folders_hold_the_answers_are_those_of_one_database(
    tmp_path: Path, tiny_model: Path, location: Location, seed: int
) -> None:
    draw = random.Random(seed)
    places = {"one": location}
    desks = [
        a_desk(tmp_path / name, tiny_model, places.get(name)) for name in ("one", "two", "both")
    ]
    for desk in desks[:2]:
        for number in draw.sample(range(9), draw.randrange(1, 7)):
            desk.put(f"{draw.choice(['', 'room/', 'a/b/'])}{number}.png", seed=number)
    for name, desk in zip(("one", "two"), desks, strict=False):
        desk.index(source=name)
        desks[2].index(desk.evidence, source=name)
    for name, desk in zip(("one", "two"), desks, strict=False):
        for path in draw.sample(sorted(desk.evidence.rglob("*.png")), 1):
            path.unlink()
            desk.put("changed.png", seed=draw.randrange(20))
        desk.index(source=name)
        desks[2].index(desk.evidence, source=name)
    one, two, both = desks
    merge(one, two)
    query = both.put("query.png", seed=draw.randrange(30))
    for asked in ({}, {"include_gone": True}, {"sources": ("two",)}, {"under": "room"}):
        assert hits(one, query, **asked) == hits(both, query, **asked)
    assert sound(one)


def test_what_is_kept_beside_vectors_comes_too(ours: Desk, theirs: Desk) -> None:
    pytest.importorskip("pdqhash")
    theirs.index(source="disk-02", thumbnails=True, pdq=True)
    ours.index(source="disk-01", thumbnails=True)
    report = merge(ours, theirs)
    live = len(set(theirs.live().values()))
    assert (report.pdq, report.thumbnails) == (live, live - 2)
    assert sound(ours)


def test_everything_is_counted_and_the_other_database_is_not_touched(
    ours: Desk, theirs: Desk
) -> None:
    before, when = theirs.database.read_bytes(), theirs.database.stat().st_mtime_ns
    report = merge(ours, theirs)
    assert (report.sources, report.runs, report.models) == ((("disk-02", "disk-02"),), 2, 0)
    assert (report.pictures, report.pictures_in_both, report.places) == (4, 2, 6)
    assert (report.vectors, report.labels, report.vectors_otherwise) == (4, 4, 0)
    assert (report.failures, report.skipped) == (2, 0)
    assert theirs.database.read_bytes() == before
    assert theirs.database.stat().st_mtime_ns == when


def test_progress_is_told_in_rows(ours: Desk, theirs: Desk) -> None:
    events: list[Event] = []
    merge(ours, theirs, on_event=events.append)
    started = [each for each in events if isinstance(each, Started)][-1]
    told = [each.done for each in events if isinstance(each, Progress)][-4:]
    assert started.unit == "rows"
    assert told == sorted(told)
    assert told[-1] == started.total > 0


def test_history_and_failures_come_with_their_runs(ours: Desk, theirs: Desk) -> None:
    gone, failures = theirs.gone(), theirs.failures()
    merge(ours, theirs)
    assert ours.gone() == gone
    assert failures.items() <= ours.failures().items()
    with Case.open(ours.database, read_only=True) as case, Case.open(theirs.database) as other:
        taken = [replace(run, run_id=run.run_id - 1) for run in case.runs()[:2]]
        assert taken == other.runs()
        (place,) = case.images_at("picture-006.png")[0].places
        assert place.gone_since is not None
    (again,) = ours.refresh("disk-02")
    assert (again.unchanged, again.new, again.gone, again.failed) == (5, 0, 0, 1)
    assert sound(ours)


def test_the_other_chain_is_kept_whole_under_an_entry_that_names_its_head(
    ours: Desk, theirs: Desk
) -> None:
    with Case.open(theirs.database) as other:
        other.set_facts(number="17/2")
        chain = other.audit()
    report = merge(ours, theirs)
    assert report.chain == (chain[-1].number, chain[-1].digest)
    kept = ours.rows(
        "SELECT number, at, actor, action, detail, previous, digest FROM merged_audit"
        " WHERE merge_id = ? ORDER BY number",
        report.entry,
    )
    assert kept == [
        (e.number, e.at, e.actor, e.action, e.detail, e.previous, e.digest) for e in chain
    ]
    with Case.open(ours.database, read_only=True) as case:
        assert case.facts().number == ""
        (entry,) = (each for each in case.audit() if each.action == "merge")
        assert chain[-1].digest in entry.detail
        assert report.other_sha256 in entry.detail
        assert "17/2" in entry.detail


def test_what_the_other_had_merged_before_is_kept_under_entries_of_its_own(
    ours: Desk, theirs: Desk, tmp_path: Path
) -> None:
    third = Desk(tmp_path / "third", ours.model)
    third.put("third.png", seed=30)
    third.index(source="disk-03")
    merge(theirs, third)
    merge(ours, theirs)
    assert sound(ours)
    merges = ours.rows("SELECT DISTINCT merge_id FROM merged_audit")
    assert len(merges) == 2
    assert {name for (name,) in ours.rows("SELECT name FROM source")} == {
        "disk-01",
        "disk-02",
        "disk-03",
    }


def test_a_changed_row_that_was_merged_is_found(ours: Desk, theirs: Desk) -> None:
    merge(ours, theirs)
    ours.change("UPDATE embedding SET vector = ? WHERE id = 8", as_kept(ours, bytes(32)))
    with Case.open(ours.database, read_only=True) as case:
        (finding,) = case.verify_audit().findings
    assert finding.table == "embedding"


def test_a_merge_of_many_rows_is_sealed_in_portions(
    ours: Desk, theirs: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "PORTION", 2)
    monkeypatch.setattr(records_merge, "SEALS_AT_ONCE", 3)
    merge(ours, theirs)
    assert sound(ours)
    assert ours.rows("SELECT count(*) FROM audit WHERE action = 'seal'") > [(1,)]


def test_a_source_whose_name_is_taken_gets_another_and_a_prefix_if_asked(
    ours: Desk, theirs: Desk
) -> None:
    theirs.change("UPDATE source SET name = 'disk-01'")
    with pytest.raises(VerificationFailed):
        # The name of a source is sealed.
        merge(ours, theirs)
    theirs.change("UPDATE source SET name = 'disk-02'")
    ours.index(theirs.evidence, source="x/disk-02")
    report = merge(ours, theirs, prefix="x/")
    assert report.sources == (("disk-02", "x/disk-02 (2)"),)


def test_decisions_of_both_stand_and_one_that_contradicts_ours_is_kept_as_withdrawn(
    ours: Desk, theirs: Desk
) -> None:
    in_both, other = ours.evidence / "picture-002.png", theirs.evidence / "picture-004.png"
    with Case.open(ours.database) as case:
        case.decide(in_both, "tag", "room")
        case.decide(in_both, "category", "A")
        case.judge(in_both, ours.evidence / "picture-003.png", "relevant")
    with Case.open(theirs.database) as case:
        case.decide(theirs.evidence / "picture-002.png", "tag", "room")
        case.decide(theirs.evidence / "picture-002.png", "tag", "lamp")
        case.decide(theirs.evidence / "picture-002.png", "category", "B")
        case.decide(other, "note", "seen twice")
        case.judge(in_both, theirs.evidence / "picture-003.png", "irrelevant")
    report = merge(ours, theirs)
    assert (report.decisions, report.decisions_withdrawn) == (4, 2)
    with Case.open(ours.database, read_only=True) as case:
        standing = {(each.kind, each.value) for each in case.decisions()}
        assert standing == {
            ("tag", "room"),
            ("tag", "lamp"),
            ("category", "A"),
            ("note", "seen twice"),
            ("verdict", "relevant"),
        }
        assert len(case.decisions(withdrawn=True)) == 7
    assert sound(ours)


def test_hash_lists_come_once_by_the_file_that_they_were_made_of(
    ours: Desk, theirs: Desk, tmp_path: Path
) -> None:
    for name, digit in (("same.txt", "a"), ("other.txt", "b")):
        (tmp_path / name).write_text(digit * 64 + "\n")
    with Case.open(ours.database) as case:
        case.import_hash_list(tmp_path / "same.txt", name="known")
    with Case.open(theirs.database) as case:
        case.import_hash_list(tmp_path / "same.txt", name="the same")
        case.import_hash_list(tmp_path / "other.txt", name="known")
    assert merge(ours, theirs).hash_lists == 1
    with Case.open(ours.database, read_only=True) as case:
        assert [(each.name, each.entries) for each in case.hash_lists()] == [
            ("known", 1),
            ("known (2)", 1),
        ]
    assert ours.count("hash_entry") == 2


def test_a_vector_that_both_hold_otherwise_stays_as_ours(ours: Desk, theirs: Desk) -> None:
    # As after an index on another machine, whose rounding may differ in the last bit.
    vector = theirs.rows("SELECT vector FROM embedding WHERE id = 1")[0][0]
    other = bytes([vector[0] ^ 1]) + vector[1:]
    ours.change("UPDATE embedding SET vector = ? WHERE id = 3", as_kept(ours, other))
    assert ours.rows("SELECT sha256 FROM image WHERE id = 3") == theirs.rows(
        "SELECT sha256 FROM image WHERE id = 1"
    )
    report = merge(ours, theirs)
    assert (report.vectors, report.vectors_otherwise) == (4, 1)
    assert ours.rows("SELECT vector FROM embedding WHERE id = 3") == [(other,)]


def test_vectors_of_another_model_are_refused_unless_they_are_asked_for(
    ours: Desk, theirs: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "LARGEST_RANGE", 2)
    with Case.open(ours.database) as case:
        assert packing.pack(case._catalog) > 0
    write_tiny_model(tmp_path / "other.safetensors", seed=9)
    theirs.index(models=(str(tmp_path / "other.safetensors"),), source="disk-02")
    before = ours.tables()
    with pytest.raises(ModelError, match="was indexed with"):
        merge(ours, theirs)
    assert ours.tables() == before
    assert merge(ours, theirs, allow_models=True).models == 1
    assert sound(ours)
    with Case.open(ours.database, read_only=True) as case:
        assert len(case.status().embeddings) == 2


def test_an_empty_database_takes_any_model(
    theirs: Desk, tmp_path: Path, location: Location
) -> None:
    empty = Desk(tmp_path / "empty", theirs.model, location)
    Case.open(empty.database).close()
    report = merge(empty, theirs)
    assert (report.models, report.pictures) == (1, 6)
    assert sound(empty)


def test_a_model_that_is_recorded_otherwise_there_is_refused(ours: Desk, theirs: Desk) -> None:
    ours.change("UPDATE model SET metric = 'cosine'")
    with pytest.raises(ModelError, match="recorded otherwise"):
        merge(ours, theirs)


def test_a_database_is_not_merged_into_itself_a_copy_or_twice(
    ours: Desk, theirs: Desk, tmp_path: Path
) -> None:
    said = "itself" if isinstance(ours.database, Path) else "is on a server"
    with pytest.raises(UsageError, match=said):
        merge(ours, ours)
    merge(ours, theirs)
    before = ours.tables()
    with pytest.raises(UsageError, match="already"):
        merge(ours, theirs)
    theirs.put("later.png", seed=60)
    theirs.index(source="disk-02")
    with pytest.raises(UsageError, match="share 2 of its 3 runs"):
        merge(ours, theirs)
    assert ours.tables() == before


def test_what_cannot_be_merged_is_refused_and_changes_nothing(
    ours: Desk, theirs: Desk, tmp_path: Path
) -> None:
    before = ours.tables()
    (tmp_path / "text.db").write_text("hello")
    copies = {
        name: Desk(tmp_path / name, theirs.model) for name in ("old", "new", "open", "damaged")
    }
    for desk in copies.values():
        shutil.copy2(theirs.database, desk.database)
    copies["old"].change("UPDATE alembic_version SET version_num = '0002'")
    copies["new"].change("UPDATE alembic_version SET version_num = '9999'")
    copies["open"].change("UPDATE run SET status = 'running', host = 'another' WHERE id = 2")
    copies["damaged"].change("DELETE FROM embedding WHERE id = 2")
    expected = {
        tmp_path / "none.db": DatabaseMissing,
        tmp_path / "text.db": NotOurDatabase,
        copies["old"].database: SchemaTooOld,
        copies["new"].database: SchemaTooNew,
        copies["damaged"].database: VerificationFailed,
    }
    with Case.open(ours.database) as case:
        for path, error in expected.items():
            with pytest.raises(error):
                case.merge(path)
        with pytest.raises(DatabaseLocked, match="run 2 of"):
            case.merge(copies["open"].database)
    ours.change("UPDATE run SET status = 'running', host = 'another'")
    with pytest.raises(DatabaseLocked):
        merge(ours, theirs)
    assert {name: len(rows) for name, rows in ours.tables().items()} == {
        name: len(rows) for name, rows in before.items()
    }


def test_a_merge_that_breaks_off_leaves_nothing(
    ours: Desk, theirs: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.store import audit

    def fail(*given: Any) -> Any:
        raise DatabaseDamaged("a page is gone")

    before = ours.tables()
    with monkeypatch.context() as patch:
        patch.setattr(audit, "adopt", fail)
        with pytest.raises(DatabaseDamaged):
            merge(ours, theirs)
    assert ours.tables() == before
    assert merge(ours, theirs).pictures == 4
