"""Neighbours of everything: which pictures, in which order, kept from kills, and refused in one line."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from image_similarity.analysis import neighbours as computing
from image_similarity.analysis import neighbours_files
from image_similarity.analysis.neighbours import NeighboursReport
from image_similarity.case import Case
from image_similarity.errors import (
    ExtraMissing,
    ImageSimilarityError,
    IndexRefused,
    InvalidSetting,
    UnknownImage,
    UnknownModel,
    UnknownSource,
    UsageError,
)
from image_similarity.events import Event, Notice, Progress, Started
from tests.search.synthetic import Row, at_angle, model_info, write_case

ROOT = Path(__file__).resolve().parents[2]
BEDROOM, KITCHEN = [("bedroom", 0.9)], [("kitchen", 0.9)]
# On a circle, so that it is seen what is near to what: a and its copy b, then c, d, and e on the other side.
ROWS = [
    Row("a", at_angle(0), BEDROOM, ["a.png", "copies/a.png"]),
    Row("b", at_angle(0), BEDROOM),
    Row("c", at_angle(10), KITCHEN),
    Row("d", at_angle(25), KITCHEN),
    Row("e", at_angle(180), KITCHEN),
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_case(tmp_path / "case.db", ROWS)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,300 pictures, a tenth of them with the vector of another."""
    vectors = np.random.default_rng(0).standard_normal((1_300, 8))
    vectors[::10] = vectors[5]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [Row(f"p{number:04d}", vector.tolist()) for number, vector in enumerate(vectors)]
    return write_case(tmp_path_factory.mktemp("many") / "case.db", rows, info=model_info(dim=8))


def write(database: Path, target: Path, **asked: Any) -> NeighboursReport:
    with Case.open(database, read_only=True) as case:
        return case.neighbours(target, **asked)


def named(database: Path, tmp_path: Path, **asked: Any) -> dict[str, list[str]]:
    """The names of the neighbours of each picture, by its name."""
    write(database, tmp_path / "named.json", overwrite=True, **asked)
    made = json.loads((tmp_path / "named.json").read_text())
    names = {row.sha256: row.name for row in ROWS}
    pictures = [names[each["sha256"]] for each in made["pictures"]]
    return {
        own: [pictures[near["number"]] for near in each["neighbours"]]
        for own, each in zip(pictures, made["pictures"], strict=True)
    }


def arrays(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        return {name: file[name][:] for name in file}


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# -- which pictures ---------------------------------------------------------------------------------------------------


def test_each_picture_has_its_nearest_others_and_never_itself(
    database: Path, tmp_path: Path
) -> None:
    assert named(database, tmp_path, k=2) == {
        "a": ["b", "c"],
        "b": ["a", "c"],
        "c": sorted("ab", key=lambda name: Row(name, []).sha256),
        "d": ["c", min("ab", key=lambda name: Row(name, []).sha256)],
        "e": ["d", "c"],
    }


def test_they_are_those_of_a_query_with_the_same_distances(many: Path, tmp_path: Path) -> None:
    write(many, tmp_path / "all.json", k=4)
    pictures = json.loads((tmp_path / "all.json").read_text())["pictures"]
    with Case.open(many, read_only=True) as case:
        for each in pictures[::260]:
            hits = case.search(sha256=each["sha256"], k=5, scene="off").hits
            others = [hit for hit in hits if hit.image.sha256 != each["sha256"]][:4]
            assert [(hit.image.sha256, hit.distance) for hit in others] == [
                (pictures[near["number"]]["sha256"], near["distance"])
                for near in each["neighbours"]
            ]


def test_a_content_at_two_places_is_one_picture_with_its_first_place(
    database: Path, tmp_path: Path
) -> None:
    assert write(database, tmp_path / "all.h5", k=1).pictures == 5
    paths = [path.decode() for path in arrays(tmp_path / "all.h5")["paths"]]
    assert sorted(paths) == [f"/evidence/disk/{name}.png" for name in "abcde"]


def test_pictures_that_are_gone_or_partial_or_elsewhere_can_be_left_out(
    database: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(database)) as raw, raw:
        raw.execute("UPDATE file SET gone_run_id = 1 WHERE path = 'c.png'")
        raw.execute("UPDATE image SET partial = 1 WHERE sha256 = ?", (Row("d", []).sha256,))
    assert set(named(database, tmp_path, k=1)) == set("abde")
    assert set(named(database, tmp_path, k=1, include_partial=False)) == set("abe")
    assert set(named(database, tmp_path, k=1, include_gone=True)) == set("abcde")
    write_case(database, [Row("f", at_angle(1)), Row("g", at_angle(2))], source="usb")
    report = write(database, tmp_path / "usb.json", k=1, sources=["usb"])
    assert report.pictures == 2
    assert write(database, tmp_path / "x.json", k=1, under="").pictures == 6
    with pytest.raises(InvalidSetting, match="is one picture alone"):
        write(database, tmp_path / "copies.json", k=1, under="copies")
    with pytest.raises(UnknownSource):
        write(database, tmp_path / "none.json", k=1, sources=["tape"])


def test_with_the_same_scene_only_its_pictures_are_neighbours(
    database: Path, tmp_path: Path
) -> None:
    assert named(database, tmp_path, k=3, same_scene=True) == {
        "a": ["b"],
        "b": ["a"],
        "c": ["d", "e"],
        "d": ["c", "e"],
        "e": ["d", "c"],
    }
    report = write(database, tmp_path / "scene.h5", k=3, same_scene=True)
    assert report.fewer == 5
    made = arrays(tmp_path / "scene.h5")
    assert (made["neighbours"][:, 2] == -1).all()
    assert np.isnan(made["distances"][:, 2]).all()


def test_a_picture_without_a_scene_has_no_neighbours_of_the_same(tmp_path: Path) -> None:
    database = write_case(tmp_path / "case.db", [*ROWS, Row("f", at_angle(1))])
    report = write(database, tmp_path / "scene.json", k=1, same_scene=True)
    assert (report.without_scene, report.fewer) == (1, 1)
    bare = write_case(tmp_path / "bare.db", [replace(row, labels=()) for row in ROWS])
    with pytest.raises(UnknownModel, match="holds no scenes"):
        write(bare, tmp_path / "bare.json", k=1, same_scene=True)


# -- a list -----------------------------------------------------------------------------------------------------------


def listing(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["path,id", *lines]) + "\n")
    return path


def test_a_list_restricts_both_sides_and_gives_its_identifiers_and_order(
    database: Path, tmp_path: Path
) -> None:
    only = listing(tmp_path, "e.png,E-5", "disk:a.png,A-1", "/evidence/disk/d.png,D-4")
    for form in ("h5", "json", "csv"):
        write(database, tmp_path / f"listed.{form}", k=1, only=only)
    made = arrays(tmp_path / "listed.h5")
    assert [each.decode() for each in made["ids"]] == ["E-5", "A-1", "D-4"]
    assert made["neighbours"].tolist() == [[2], [2], [1]]
    pictures = json.loads((tmp_path / "listed.json").read_text())["pictures"]
    assert [(each["id"], each["cited_by"]) for each in pictures] == [
        ("E-5", []),
        ("A-1", [2]),
        ("D-4", [0, 1]),
    ]
    rows = csv_rows(tmp_path / "listed.csv")
    assert [(row["id"], row["neighbour_id"]) for row in rows] == [
        ("E-5", "D-4"),
        ("A-1", "D-4"),
        ("D-4", "A-1"),
    ]


def test_listed_pictures_that_are_not_known_or_not_clear_are_told_and_the_others_answered(
    database: Path, tmp_path: Path
) -> None:
    write_case(database, [Row("z", at_angle(5), paths=["a.png"])], source="usb")
    only = listing(tmp_path, "none.png,1", "a.png,2", "b.png,3", "c.png,4")
    report = write(database, tmp_path / "listed.h5", k=1, only=only)
    assert report.missing == (
        "line 2: none.png is not known",
        "line 3: a.png names several pictures; write SOURCE:PATH",
    )
    assert report.pictures == 2
    assert [each.decode() for each in arrays(tmp_path / "listed.h5")["missing"]] == list(
        report.missing
    )
    with pytest.raises(UnknownImage, match="none of its 1 pictures can be taken"):
        write(database, tmp_path / "x.h5", k=1, only=listing(tmp_path, "none.png,1"))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a.png,1", "b.png,1"], "lines 2 and 3 give one identifier twice"),
        (["a.png,1", "copies/a.png,2", "c.png,3"], "lines 2 and 3 name one picture twice"),
        (["a.png"], "line 2 lacks a path or an id"),
        ([], "it lists no picture"),
    ],
)
def test_a_list_that_is_none_or_names_something_twice_is_refused(
    database: Path, tmp_path: Path, lines: Sequence[str], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        write(database, tmp_path / "x.h5", k=1, only=listing(tmp_path, *lines))
    assert not (tmp_path / "x.h5.work").exists()


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"path,id\n\xff\xfe,1\n", b'path,id\n"a,1'])
def test_bytes_that_are_no_list_are_refused(database: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.csv").write_bytes(data)
    with pytest.raises(UsageError, match=r"bad\.csv is no list of pictures"):
        write(database, tmp_path / "x.h5", k=1, only=tmp_path / "bad.csv")


# -- kept -------------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from image_similarity.analysis import neighbours, neighbours_work
from image_similarity.cli import main
neighbours.BLOCK = 100
whole = neighbours_work.Work.append
def append(self, numbers, distances):
    if self.blocks == 4:
        self._file.write(b"half a block")
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, numbers, distances)
neighbours_work.Work.append = append
main.main()
"""


@pytest.mark.parametrize("form", ["h5", "json", "csv"])
def test_a_killed_call_goes_on_and_gives_the_same_file(
    many: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "BLOCK", 100)
    write(many, tmp_path / f"whole.{form}")
    target = tmp_path / f"killed.{form}"
    arguments = ["analyse", "neighbours", "-dp", str(many), "-o", str(target)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    report = write(many, target)
    assert (report.status, report.resumed, report.done) == ("done", 400, 1_300)
    assert not Path(f"{target}.work").exists()
    if form == "h5":
        first, second = arrays(tmp_path / "whole.h5"), arrays(target)
        assert first.keys() == second.keys()
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name])
    assert target.read_bytes() == (tmp_path / f"whole.{form}").read_bytes()


@pytest.mark.parametrize("form", ["h5", "json", "csv"])
def test_killed_when_the_file_was_there_but_not_on_record_it_is_completed_by_the_same_call(
    database: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / f"all.{form}"

    def killed(*_: Any, **__: Any) -> str:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(computing.exports, "record", killed)
        write(database, target, k=1)
    content, beside = target.read_bytes(), tmp_path / "all.csv.about.json"
    if form == "csv":
        # Of the two files that with the rows comes last.
        assert beside.exists()
        target.unlink()
    report = write(database, target, k=1)
    assert (report.status, report.resumed, target.read_bytes()) == ("done", 5, content)
    assert not Path(f"{target}.work").exists()
    with Case.open(database, read_only=True) as case:
        assert [each.action for each in case.audit(len(report.paths))] == ["export"] * len(
            report.paths
        )
    with pytest.raises(UsageError, match="exists already"):
        write(database, target, k=1)


def test_unfinished_work_does_not_let_an_earlier_file_be_replaced_unasked(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "BLOCK", 100)
    target, work = tmp_path / "all.json", tmp_path / "all.json.work"
    write(many, target)
    stopped(many, target, k=2, overwrite=True)
    kept = target.read_bytes(), work.read_bytes()
    for k in (2, 3):
        with pytest.raises(UsageError, match="exists already"):
            write(many, target, k=k)
    assert (target.read_bytes(), work.read_bytes()) == kept
    assert write(many, target, k=2, overwrite=True).resumed == 200


def stopped(database: Path, target: Path, **asked: Any) -> NeighboursReport:
    """Stop a call after its second block."""
    stops = iter([False, False, True])
    return write(database, target, stop=lambda: next(stops), **asked)


def test_a_stopped_call_says_how_far_it_came_and_the_next_goes_on(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "BLOCK", 100)
    report = stopped(many, tmp_path / "all.h5")
    assert (report.status, report.done, report.paths) == ("interrupted", 200, ())
    events: list[Event] = []
    assert write(many, tmp_path / "all.h5", on_event=events.append).resumed == 200
    assert [each.text for each in events if isinstance(each, Notice)] == [
        "200 pictures were answered before; going on from there"
    ]
    assert next(each for each in events if isinstance(each, Started)).unit == "pictures"
    assert [each.done for each in events if isinstance(each, Progress)][:2] == [200, 300]


def test_other_options_and_another_state_begin_anew(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "BLOCK", 1)
    target = tmp_path / "all.json"
    for asked, told in [({"k": 2}, "k"), ({"k": 1, "same_scene": True}, "options, state")]:
        assert stopped(database, target, k=1).done == 2
        events: list[Event] = []
        assert write(database, target, on_event=events.append, **asked).resumed == 0
        assert [each.text for each in events if isinstance(each, Notice)] == [
            f"{target}.work was of other input ({told}); all is computed anew"
        ]
        target.unlink()
    assert stopped(database, target, k=1).done == 2
    write_case(database, [Row("f", at_angle(3))], source="usb")
    assert write(database, target, k=1).resumed == 0


@pytest.mark.parametrize("kept", [3, 60, 700])
def test_work_that_was_cut_or_damaged_is_computed_again(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(computing, "BLOCK", 100)
    write(many, tmp_path / "whole.json")
    stopped(many, tmp_path / "all.json")
    work = tmp_path / "all.json.work"
    data = work.read_bytes()
    work.write_bytes(data[:kept])
    assert write(many, tmp_path / "all.json").resumed == 0
    stopped(many, tmp_path / "all.json", overwrite=True)
    work.write_bytes(data[:-9] + b"\x00" + data[-8:])
    assert write(many, tmp_path / "all.json", overwrite=True).resumed == 100
    assert (tmp_path / "all.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_another_file_in_the_place_of_the_work_is_left_alone(
    database: Path, tmp_path: Path
) -> None:
    (tmp_path / "all.h5.work").write_text("the examiner's own notes")
    with pytest.raises(UsageError, match="is no work of this command"):
        write(database, tmp_path / "all.h5", k=1)
    assert (tmp_path / "all.h5.work").read_text() == "the examiner's own notes"


def test_two_processes_do_not_work_on_one_file(database: Path, tmp_path: Path) -> None:
    def again() -> bool:
        with pytest.raises(UsageError, match="another process is working on"):
            write(database, tmp_path / "all.h5", k=1)
        return False

    assert write(database, tmp_path / "all.h5", k=1, stop=again).status == "done"


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"k": 5}, "5 neighbours of each were asked for, but there are 5 pictures"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_more_neighbours_than_pictures_or_none_are_refused(
    database: Path, tmp_path: Path, asked: dict[str, int], told: str
) -> None:
    with pytest.raises(InvalidSetting, match=told):
        write(database, tmp_path / "all.h5", **asked)
    assert [path.name for path in tmp_path.iterdir()] == ["case.db"]


def test_files_are_not_replaced_unasked_nor_those_of_others(database: Path, tmp_path: Path) -> None:
    for form in ("h5", "json", "csv"):
        target = tmp_path / f"all.{form}"
        write(database, target, k=1)
        with pytest.raises(UsageError, match="exists already"):
            write(database, target, k=1)
        assert write(database, target, k=2, overwrite=True).status == "done"
        target.write_bytes(b"weights")
        with pytest.raises(UsageError, match="and is not replaced"):
            write(database, target, k=1, overwrite=True)
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = [1.0]
    with pytest.raises(UsageError, match="was not written by this command"):
        write(database, tmp_path / "weights.h5", k=1, overwrite=True)


def test_a_name_without_a_form_and_a_place_in_the_evidence_are_refused(
    tmp_path: Path, database: Path
) -> None:
    with pytest.raises(UsageError, match=r"ends in \.h5, \.json or \.csv|does not say its form"):
        write(database, tmp_path / "all.txt", k=1)
    with pytest.raises(UsageError, match="into the indexed folder"):
        write(database, Path("/evidence/disk/all.h5"), k=1)


def test_without_h5py_the_extra_is_named_before_anything_is_computed(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ExtraMissing) as refused:
        write(database, tmp_path / "all.h5", k=1)
    assert "image_similarity[analysis]" in refused.value.hint
    assert write(database, tmp_path / "all.json", k=1).status == "done"


def test_a_full_disk_is_one_line_and_the_work_stays(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(
            "Unable to flush file (file write failed: errno = 28, error message = 'No space left on device')"
        )

    monkeypatch.setattr(h5py, "File", full)
    with pytest.raises(OSError, match="No space left on device") as refused:
        write(database, tmp_path / "all.h5", k=1)
    assert refused.value.filename == str(tmp_path / "all.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.h5.work", "case.db"]


# -- written ----------------------------------------------------------------------------------------------------------


def test_hdf5_has_the_promised_arrays_and_says_what_they_are_of(
    database: Path, tmp_path: Path
) -> None:
    report = write(database, tmp_path / "all.h5", k=2)
    made = arrays(tmp_path / "all.h5")
    assert {name: (values.dtype.name, values.shape) for name, values in made.items()} == {
        "neighbours": ("int64", (5, 2)),
        "distances": ("float32", (5, 2)),
        "ids": ("object", (5,)),
        "paths": ("object", (5,)),
        "sha256": ("object", (5,)),
        "missing": ("object", (0,)),
    }
    with h5py.File(tmp_path / "all.h5", "r") as file:
        said = dict(file.attrs)
    assert (said["program"], said["kind"]) == ("image_similarity", "neighbours")
    assert (said["model"], said["fingerprint"]) == ("toy", model_info().fingerprint)
    assert (said["state"], said["k"], said["last_run"]) == (report.state, 2, 1)
    assert said["search"] == "bounded"
    assert json.loads(said["options"])["same_scene"] is False


@pytest.mark.parametrize("form", ["h5", "json", "csv"])
def test_every_form_is_for_the_eyes_of_its_owner_only(
    database: Path, tmp_path: Path, form: str
) -> None:
    report = write(database, tmp_path / f"all.{form}", k=1)
    assert {Path(path).stat().st_mode & 0o777 for path in report.paths} == {0o600}


def test_the_export_is_in_the_audit_chain(database: Path, tmp_path: Path) -> None:
    report = write(database, tmp_path / "all.csv", k=1)
    assert len(report.paths) == 2
    with Case.open(database, read_only=True) as case:
        entries = [
            json.loads(each.detail) if isinstance(each.detail, str) else each.detail
            for each in case.audit(2)
        ]
    assert [Path(each["path"]).name for each in entries] == ["all.csv", "all.csv.about.json"]
    assert {each["kind"] for each in entries} == {"neighbours"}


def test_names_that_start_a_formula_or_are_no_text_come_out_harmless(tmp_path: Path) -> None:
    rows = [Row("a", at_angle(0), paths=["=1+1.png"]), Row("b", at_angle(1), paths=["\\xff.png"])]
    database = write_case(tmp_path / "case.db", rows)
    only = listing(tmp_path, "=1+1.png,=cmd()", f"{rows[1].sha256},@x")
    write(database, tmp_path / "all.csv", k=1, only=only)
    (first, _) = csv_rows(tmp_path / "all.csv")
    assert (first["id"], first["neighbour_id"]) == ("'=cmd()", "'@x")
    write(database, tmp_path / "all.h5", k=1, only=only)
    assert arrays(tmp_path / "all.h5")["paths"][1].decode() == "/evidence/disk/\\xff.png"


# -- approximate ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors as a network gave them, of lengths from 10 to 400, with an index."""
    random = np.random.default_rng(1)
    vectors = random.standard_normal((1_500, 16)) * random.uniform(3, 100, (1_500, 1))
    rows = [
        Row(f"r{number:04d}", vector.tolist(), BEDROOM if number % 3 else KITCHEN)
        for number, vector in enumerate(vectors)
    ]
    info = replace(model_info("raw", 16), normalisation="none")
    database = write_case(tmp_path_factory.mktemp("raw") / "case.db", rows, info=info)
    with Case.open(database, read_only=True) as case:
        case.build_ann()
    return database


@pytest.mark.parametrize("same_scene", [False, True])
def test_an_index_answers_approximately_with_a_measured_recall_also_without_normalisation(
    raw: Path, tmp_path: Path, same_scene: bool
) -> None:
    report = write(raw, tmp_path / "near.h5", approximate=True, same_scene=same_scene)
    assert report.search == "approximate"
    assert report.recall is not None
    assert (report.recall.queries, report.recall.at) == (200, 5)
    write(raw, tmp_path / "exact.h5", same_scene=same_scene)
    near, exact = arrays(tmp_path / "near.h5"), arrays(tmp_path / "exact.h5")
    truth = np.mean(
        [
            len(set(a) & set(b)) / 5
            for a, b in zip(near["neighbours"], exact["neighbours"], strict=True)
        ]
    )
    assert report.recall.share == pytest.approx(truth, abs=0.03)
    assert truth > 0.95
    with h5py.File(tmp_path / "near.h5", "r") as file:
        assert file.attrs["search"] == "approximate"
        assert json.loads(file.attrs["recall"])["queries"] == 200


def test_an_index_that_is_missing_or_of_another_state_is_refused(
    many: Path, raw: Path, tmp_path: Path
) -> None:
    with pytest.raises(IndexRefused, match="there is no approximate index") as refused:
        write(many, tmp_path / "x.h5", approximate=True)
    assert "analyse ann" in refused.value.hint
    with pytest.raises(IndexRefused, match="is an index of the model raw"):
        write(many, tmp_path / "x.h5", index=raw.with_name("case.db.raw.ann"))
    stale = tmp_path / "case.db"
    stale.write_bytes(raw.read_bytes())
    info = replace(model_info("raw", 16), normalisation="none")
    write_case(stale, [Row("new", [0.5] * 16)], info=info)
    with pytest.raises(IndexRefused, match="is stale"):
        write(stale, tmp_path / "x.h5", index=raw.with_name("case.db.raw.ann"))
    with np.load(raw.with_name("case.db.raw.ann")) as archive:
        made = dict(archive)
    made["image_ids"] = made["image_ids"] + 1_500
    with (tmp_path / "made.ann").open("wb") as file:
        np.savez(file, allow_pickle=False, **made)
    with pytest.raises(IndexRefused, match="was built of other vectors"):
        write(raw, tmp_path / "x.h5", index=tmp_path / "made.ann")
    assert not (tmp_path / "x.h5.work").exists()


def test_every_refusal_has_one_line(database: Path, tmp_path: Path) -> None:
    for asked in ({"k": 9}, {"k": 1, "index": tmp_path / "none"}, {"k": 1, "model": "other"}):
        with pytest.raises(ImageSimilarityError) as refused:
            write(database, tmp_path / "all.h5", **asked)
        assert "\n" not in refused.value.message
        assert os.linesep not in refused.value.hint


def test_of_many_neighbours_each_fewer_pictures_are_kept_and_written_at_once(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(many, tmp_path / "whole.csv", k=40)
    monkeypatch.setattr(neighbours_files, "AT_ONCE", 1_000)
    events: list[Event] = []
    write(many, tmp_path / "parts.csv", k=40, on_event=events.append)
    steps = [each.done for each in events if isinstance(each, Progress)]
    assert max(later - earlier for earlier, later in pairwise(steps)) == 25
    assert csv_rows(tmp_path / "parts.csv") == csv_rows(tmp_path / "whole.csv")
