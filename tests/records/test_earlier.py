"""A database of the earlier system is converted with counts; its vectors keep to themselves, and it stays as it was."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.case import Case
from image_similarity.errors import (
    DatabaseDamaged,
    DatabaseInsideEvidence,
    DatabaseMissing,
    FolderMissing,
    NothingToIndex,
    NotOurDatabase,
    UnknownModel,
)
from image_similarity.events import Event, Finished, Progress, Started
from image_similarity.records.earlier_rows import Malformed, Whereabouts, read_vector
from image_similarity.values import ImportReport, SceneScore
from tests.conftest import draw_picture
from tests.indexing.desk import Desk

DIM = 8
# As the earlier system made it.
TABLE = (
    "CREATE TABLE metadata (imageId INTEGER PRIMARY KEY AUTOINCREMENT,"
    " image_path TEXT, embedding TEXT, scene_type TEXT)"
)


def unit(seed: int) -> list[float]:
    numbers = np.random.default_rng(seed).normal(size=DIM)
    return list(map(float, numbers / np.linalg.norm(numbers)))


def write(path: Path, rows: list[tuple[Any, Any, Any]]) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(TABLE)
        connection.executemany(
            "INSERT INTO metadata (image_path, embedding, scene_type) VALUES (?, ?, ?)", rows
        )
    return path


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path, tiny_model: Path) -> Desk:
    """Five pictures, one of them deep; nothing is indexed. On both engines where a test uses `location`."""
    asked = "location" in request.fixturenames
    desk = Desk(tmp_path, tiny_model, request.getfixturevalue("location") if asked else None)
    desk.put_many(4)
    desk.put("deep/er/one.png", seed=9)
    return desk


def names(desk: Desk) -> list[str]:
    return [f"picture-00{n}.png" for n in range(4)] + ["deep/er/one.png"]


def rows(desk: Desk, base: str = "/home/someone/photos/") -> list[tuple[Any, Any, Any]]:
    scenes = ["bedroom", "bedroom", "kitchen", "", "street"]
    return [
        (base + name, json.dumps(unit(number)), scene)
        for number, (name, scene) in enumerate(zip(names(desk), scenes, strict=True))
    ]


def taken(desk: Desk, some: list[tuple[Any, Any, Any]], **asked: Any) -> ImportReport:
    path = desk.folder / "old.db"
    path.unlink(missing_ok=True)
    write(path, some)
    with Case.open(desk.database) as case:
        report = case.import_earlier(path, desk.evidence, **asked)
    assert report.rows == report.run.seen + report.repeated or report.run.status == "interrupted"
    assert report.run.accounted
    return report


@pytest.mark.usefixtures("location")
def test_all_is_converted_with_counts_and_the_original_is_untouched(desk: Desk) -> None:
    path = write(desk.folder / "old.db", rows(desk))
    before, when, evidence = path.read_bytes(), path.stat().st_mtime_ns, desk.snapshot()
    with Case.open(desk.database) as case:
        report = case.import_earlier(path, desk.evidence)
        assert case.verify().clean
        assert case.verify_audit().findings == ()
        assert case.verify(rehash=True).unchanged == 5
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, when)
    assert desk.snapshot() == evidence
    assert (report.rows, report.repeated, report.labelled, report.rescaled) == (5, 0, 4, 0)
    assert report.run.mount is not None, "how the evidence was mounted is told of an import, too"
    assert (report.run.kind, report.run.status, report.run.new) == ("import", "done", 5)
    assert (report.dim, report.model) == (DIM, "earlier")
    ((detail,),) = desk.rows("SELECT detail FROM audit WHERE action = 'import'")
    assert json.loads(detail)["sha256"] == report.earlier_sha256
    assert json.loads(detail)["counts"]["new"] == 5


@pytest.mark.usefixtures("location")
def test_its_vectors_rank_as_they_did(desk: Desk) -> None:
    taken(desk, rows(desk))
    found = desk.find(desk.evidence / "picture-000.png", model="earlier")
    query = np.array(unit(0))
    expected = sorted(
        (float(np.linalg.norm(query - unit(number))), name)
        for number, name in enumerate(names(desk))
        if number
    )
    assert [hit.place.path for hit in found] == [name for _, name in expected]
    assert [hit.distance for hit in found] == pytest.approx([d for d, _ in expected], abs=2e-3)


def test_its_scenes_filter_but_hide_nothing_that_has_none(desk: Desk) -> None:
    taken(desk, rows(desk))
    found = desk.find(desk.evidence / "picture-000.png", scene="auto")
    scenes = {hit.place.path: hit.image.scenes for hit in found}
    assert scenes == {"picture-001.png": (SceneScore("bedroom", 1.0),), "picture-003.png": ()}


def test_a_picture_that_was_not_imported_has_no_network(desk: Desk) -> None:
    taken(desk, rows(desk))
    new = desk.folder / "new.png"
    draw_picture(80, (48, 36)).save(new)
    with pytest.raises(UnknownModel, match="were imported"):
        desk.find(new)


def test_its_vectors_are_never_mixed_with_those_of_another_model_or_file(desk: Desk) -> None:
    first = taken(desk, rows(desk))
    second = taken(desk, rows(desk, base="x/"))
    assert first.fingerprint != second.fingerprint
    desk.index()
    with Case.open(desk.database, read_only=True) as case:
        assert sorted(case.status().embeddings.values()) == [5, 5, 5]
    assert desk.count("image") == 5
    assert len(desk.find(desk.evidence / "picture-000.png", model=first.fingerprint)) == 4
    assert desk.find(desk.evidence / "picture-000.png", model="tiny")


@pytest.mark.usefixtures("location")
def test_importing_the_same_file_again_adds_nothing(desk: Desk) -> None:
    path = write(desk.folder / "old.db", rows(desk))
    with Case.open(desk.database) as case:
        case.import_earlier(path, desk.evidence)
        again = case.import_earlier(path, desk.evidence)
    assert (again.run.new, again.run.unchanged) == (0, 5)
    assert (desk.count("file"), desk.count("embedding")) == (5, 5)


@pytest.mark.usefixtures("location")
def test_an_import_that_was_stopped_is_taken_up_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_similarity.records.earlier.ROWS_PER_BATCH", 2)
    path = write(desk.folder / "old.db", rows(desk))
    asked = iter([False, True])
    with Case.open(desk.database) as case:
        first = case.import_earlier(path, desk.evidence, stop=lambda: next(asked))
        second = case.import_earlier(path, desk.evidence)
        assert case.verify_audit().findings == ()
    assert (first.run.status, first.run.new) == ("interrupted", 2)
    assert (second.run.status, second.run.new, second.run.unchanged) == ("done", 3, 2)


@pytest.mark.usefixtures("location")
def test_what_cannot_be_taken_is_on_record_with_its_reason(desk: Desk) -> None:
    desk.corrupt("broken.jpg")
    desk.write("notes.txt", b"text")
    good, base = rows(desk), "/home/someone/photos/"
    vector = json.dumps(unit(3))
    bad = [
        (base + "missing.png", vector, "street"),
        (base + "broken.jpg", vector, "street"),
        (base + "notes.txt", vector, "street"),
        (base + "picture-000.png", "[1, 2", "street"),
        (base + "picture-001.png", json.dumps(unit(1)[:-1]), "street"),
        (base + "picture-002.png", vector.replace("[", "[NaN, ", 1).rpartition(",")[0] + "]", None),
        (base + "picture-003.png", json.dumps([0] * DIM), "street"),
        (base + "../../../etc/passwd", vector, "street"),
        (None, vector, "street"),
        ("17", b"\xff", 4.5),
    ]
    report = taken(desk, [*bad, *good[4:], *good[4:], good[4]])
    assert (report.run.failed, report.run.new, report.repeated) == (10, 1, 2)
    assert report.run.status == "partial"
    with Case.open(desk.database, read_only=True) as case:
        found = {each.path: (each.stage, each.error) for each in case.failures()}
        assert case.verify_audit().findings == ()
    assert found.pop("broken.jpg")[0] == "decode"
    assert found == {
        "missing.png": ("stat", "FileNotFoundError"),
        "notes.txt": ("decode", "NoPicture"),
        "picture-000.png": ("embed", "MalformedEmbedding"),
        "picture-001.png": ("embed", "WrongDimension"),
        "picture-002.png": ("embed", "NotFinite"),
        "picture-003.png": ("embed", "ZeroLength"),
        "row 8": ("walk", "NoPath"),
        "row 9": ("walk", "NoPath"),
        "row 10": ("walk", "NoPath"),
    }
    again = desk.index()
    assert (again.new, again.failed) == (5, 1)
    assert list(desk.failures()) == ["broken.jpg"]


def test_copies_share_one_content_and_other_vectors_of_it_are_counted(desk: Desk) -> None:
    shutil.copy2(desk.evidence / "picture-000.png", desk.evidence / "copy.png")
    some = [*rows(desk), ("/home/someone/photos/copy.png", json.dumps(unit(50)), "kitchen")]
    report = taken(desk, some)
    assert (report.run.new, report.run.duplicate, report.otherwise) == (5, 1, 1)
    assert desk.count("embedding") == 5


def test_vectors_of_other_lengths_are_made_unit_vectors_and_counted(desk: Desk) -> None:
    some = rows(desk)
    some[0] = (some[0][0], json.dumps([1e300 * n for n in unit(0)]), "bedroom")
    assert taken(desk, some).rescaled == 1
    assert taken(desk, some).rescaled == 0, "nothing was stored that second time"
    with Case.open(desk.database, read_only=True) as case:
        assert case.verify().clean


@pytest.mark.parametrize(
    "base", ["", "./", "photos/", "/other/mount/", "C:\\photos\\", "{evidence}/"]
)
def test_pictures_are_found_wherever_they_lay_then(desk: Desk, base: str) -> None:
    some = rows(desk, base.format(evidence=desk.evidence))
    if "\\" in base:
        some = [(path.replace("/", "\\"), *rest) for path, *rest in some]
    assert taken(desk, some).run.new == 5


def test_one_path_never_stands_for_two_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "one/a.png", "one/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = ["/x/one/a.png", "/x/two/a.png", "/x/one/b.png", "a.png", "/y/one/a.png"]
    found = Whereabouts(tmp_path, paths)
    assert found.left_out == ["x"]
    places = [found.place(path) for path in paths]
    assert places == ["one/a.png", "two/a.png", "one/b.png", None, None]


def test_a_refresh_leaves_a_source_alone_that_was_only_imported(desk: Desk) -> None:
    taken(desk, rows(desk))
    assert desk.refresh() == []
    desk.index()
    (again,) = desk.refresh()
    assert again.unchanged == 5


def test_progress_is_told_in_rows(desk: Desk) -> None:
    events: list[Event] = []
    taken(desk, rows(desk), on_event=events.append)
    started = next(each for each in events if isinstance(each, Started))
    assert (started.total, started.unit) == (5, "rows")
    assert Progress(5, 5, 5, 0) in events
    assert isinstance(events[-1], Finished)


def test_what_is_no_such_database_or_has_no_pictures_there_is_refused(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
    old = write(tmp_path / "old.db", rows(desk))
    nothing = write(tmp_path / "nothing.db", [])
    with Case.open(desk.database) as case:
        for path, folder, error in (
            (tmp_path / "none.db", desk.evidence, DatabaseMissing),
            (other, desk.evidence, NotOurDatabase),
            (desk.database, desk.evidence, NotOurDatabase),
            (desk.evidence / "picture-000.png", desk.evidence, NotOurDatabase),
            (nothing, desk.evidence, NotOurDatabase),
            (old, tmp_path / "empty", NothingToIndex),
            (old, tmp_path / "gone", FolderMissing),
            (old, tmp_path, DatabaseInsideEvidence),
        ):
            with pytest.raises(error):
                case.import_earlier(path, folder)
        assert (case.runs(), case.sources()) == ([], [])


def test_a_damaged_one_is_named_as_damaged(desk: Desk) -> None:
    path = write(desk.folder / "old.db", rows(desk) * 200)
    data = bytearray(path.read_bytes())
    for page in range(8192, len(data) - 4096, 4096):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)
    with Case.open(desk.database) as case, pytest.raises(DatabaseDamaged, match=str(path)):
        case.import_earlier(path, desk.evidence)


def test_opening_it_says_how_to_take_it_over(desk: Desk) -> None:
    old = write(desk.folder / "old.db", rows(desk))
    with pytest.raises(NotOurDatabase) as caught:
        Case.open(old)
    assert f"db import {old} -ip" in caught.value.hint


@given(
    st.one_of(
        st.text(max_size=60),
        st.binary(max_size=20),
        st.none(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=4),
        ).map(json.dumps),
        st.lists(st.floats() | st.integers(), min_size=3, max_size=3).map(json.dumps),
        st.just("[" * 150),
        st.just("[1e999, 1, 1]"),
        st.just(f"[{'9' * 60}, 1, 1]"),
    )
)
def test_whatever_an_embedding_is_it_gives_a_unit_vector_or_is_refused(embedding: Any) -> None:
    try:
        vector = read_vector(embedding, 3)
    except Malformed:
        return
    found = np.frombuffer(vector.data, dtype="<f2").astype(np.float64)
    assert len(found) == 3
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=2e-3)
