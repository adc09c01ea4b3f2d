"""`calibrate`, and `query --calibration`."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from image_similarity.calibration.files import read_calibration, write_calibration
from tests.cli.conftest import Made, Run
from tests.evaluation.samples import class_folder, trained_on
from tests.reports.samples import CALIBRATION
from tests.search.synthetic import Row, model_info, write_case

GROUPS = 200


def rows(groups: int = GROUPS) -> list[Row]:
    """Three pictures of each group, around a direction of the group's own."""
    random = np.random.default_rng(0)
    made = []
    for group in range(groups):
        centre = random.standard_normal(16)
        for number in range(3):
            vector = centre + 0.8 * random.standard_normal(16)
            name = f"g{group:03d}-{number}"
            made.append(Row(name, (vector / np.linalg.norm(vector)).tolist()))
    return made


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(
        tmp_path_factory.mktemp("calibrate") / "case.db", rows(), info=model_info(dim=16)
    )


def write_list(path: Path, *, groups: int = GROUPS, more: list[list[str]] | None = None) -> Path:
    """A list that names pictures in every way: by SHA-256, with the source, below it, and on disk."""
    ways = [
        lambda row: row.sha256,
        lambda row: f"disk:{row.name}.png",
        lambda row: f"{row.name}.png",
        lambda row: f"/evidence/disk/{row.name}.png",
    ]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "group"])
        for number, row in enumerate(rows(groups)):
            writer.writerow([ways[number % 4](row), row.name[:4]])
        writer.writerows(more or [])
    return path


def test_a_calibration_is_written_and_told(run: Run, database: Path, tmp_path: Path) -> None:
    listed, target = write_list(tmp_path / "rooms.csv"), tmp_path / "lr.json"
    outcome = run(
        "calibrate", "--groups", listed, "-dp", database, "-o", target,
        "--same", "both pictures show the same room",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, f"calibration: {target}\n")
    found = read_calibration(target)
    assert (found.groups, found.pictures, found.same_pairs) == (200, 600, 600)
    assert found.model == "toy"
    assert "200, of 600 pictures" in outcome.out
    assert "if both pictures show the same room than if they are of two different" in outcome.out
    assert "C_llr_min" in outcome.out


def test_json_gives_all_that_was_written(run: Run, database: Path, tmp_path: Path) -> None:
    listed, target = write_list(tmp_path / "rooms.csv"), tmp_path / "lr.json"
    outcome = run(
        "calibrate", "--groups", listed, "-dp", database, "-o", target, "--format", "json"
    )
    assert outcome.objects() == [asdict(read_calibration(target))]
    written = json.loads(target.read_text())
    assert written["kind"] == "calibration of distances"


def test_199_groups_are_refused_in_one_line(run: Run, database: Path, tmp_path: Path) -> None:
    listed, target = write_list(tmp_path / "rooms.csv", groups=199), tmp_path / "lr.json"
    outcome = run("calibrate", "--groups", listed, "-dp", database, "-o", target)
    assert outcome.code == 1
    assert outcome.err.splitlines()[0] == (
        "Error: rooms.csv has 199 groups of two or more pictures; 200 are needed"
    )
    assert not target.exists()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["nowhere.jpg", "g000"], "line 602: the database holds no picture with a vector"),
        (["0" * 64, "g000"], "line 602: the database holds no picture with a vector"),
        (["/evidence/disk/g000-1.png", "other"], "lines 3 and 602 put one content in two groups"),
        (["g000-2.png", ""], "line 602 lacks a path or a group"),
        (["nul\0.jpg", "g000"], "line 602: the database holds no picture"),
    ],
)
def test_a_list_that_does_not_fit_the_database_is_refused_with_the_line(
    run: Run, database: Path, tmp_path: Path, more: list[str], reason: str
) -> None:
    listed = write_list(tmp_path / "rooms.csv", more=[more])
    outcome = run("calibrate", "--groups", listed, "-dp", database, "-o", tmp_path / "lr.json")
    assert outcome.code == 1
    assert reason in outcome.err


def test_pictures_that_the_model_was_trained_on_are_refused(run: Run, tmp_path: Path) -> None:
    folder, database = class_folder(tmp_path / "classes"), tmp_path / "case.db"
    model = trained_on(tmp_path / "trained.safetensors", [folder / "class-1" / "2.png"])
    run("index", "-m", model, "--scenes", model, "-ip", folder, "-dp", database)
    listed, target = tmp_path / "rooms.csv", tmp_path / "lr.json"
    for names, said in (("012", "trained on 1 of the 3 pictures given"), ("013", "0 groups of")):
        text = "".join(f"class-1/{name}.png,{name}\n" for name in names)
        listed.write_text(f"path,group\n{text}")
        outcome = run("calibrate", "--groups", listed, "-dp", database, "-o", target)
        assert outcome.code == 1
        assert said in outcome.err


def test_a_vector_that_is_not_of_numbers_is_a_damaged_database(run: Run, tmp_path: Path) -> None:
    broken = Row("broken", [float("nan")] * 16, paths=["a/b.png"])
    database = write_case(tmp_path / "case.db", [broken], info=model_info(dim=16))
    listed = tmp_path / "rooms.csv"
    listed.write_text("path,group\na/b.png,1\n")
    outcome = run("calibrate", "--groups", listed, "-dp", database, "-o", tmp_path / "lr.json")
    assert outcome.code == 10
    assert "db verify" in outcome.err
    assert run("evaluate", "-dp", database).code == 10


def test_a_path_that_two_sources_have_must_be_named_with_its_source(
    run: Run, tmp_path: Path
) -> None:
    database = write_case(tmp_path / "case.db", rows(2), info=model_info(dim=16))
    other = [Row("other", rows(1)[0].vector, paths=["g000-0.png"])]
    write_case(database, other, info=model_info(dim=16), source="phone")
    (tmp_path / "rooms.csv").write_text("path,group\ng000-0.png,1\n")
    outcome = run(
        "calibrate", "--groups", tmp_path / "rooms.csv", "-dp", database, "-o", tmp_path / "lr.json"
    )
    assert outcome.code == 1
    assert "line 2: the database holds several pictures at g000-0.png" in outcome.err
    assert "SOURCE:PATH" in outcome.err


def test_a_missing_list_and_an_existing_target_are_refused(
    run: Run, database: Path, tmp_path: Path
) -> None:
    target = tmp_path / "lr.json"
    outcome = run("calibrate", "--groups", tmp_path / "none.csv", "-dp", database, "-o", target)
    assert outcome.code == 1
    assert "none.csv" in outcome.err
    target.write_text("mine")
    listed = write_list(tmp_path / "rooms.csv")
    outcome = run("calibrate", "--groups", listed, "-dp", database, "-o", target)
    assert (outcome.code, target.read_text()) == (1, "mine")
    assert "exists already" in outcome.err


def test_a_proposition_is_one_line(run: Run, database: Path, tmp_path: Path) -> None:
    arguments = ["calibrate", "--groups", "x.csv", "-dp", database, "-o", tmp_path / "lr.json"]
    assert run(*arguments, "--same", "two\nlines").code == 2
    assert run(*arguments, "--same", "").code == 2


def test_nothing_is_written_into_evidence(run: Run, indexed: Made, tmp_path: Path) -> None:
    target = indexed.folder / "lr.json"
    outcome = run("calibrate", "--groups", "x.csv", "-dp", indexed.database, "-o", target)
    assert outcome.code == 2
    assert not target.exists()


def test_query_says_ratios_with_a_calibration_of_its_model(
    run: Run, database: Path, tmp_path: Path
) -> None:
    listed, target = write_list(tmp_path / "rooms.csv"), tmp_path / "lr.json"
    run("calibrate", "--groups", listed, "-dp", database, "-o", target)
    asked = ["query", "--sha256", rows(1)[0].sha256, "-dp", database, "-k", 600]
    asked += ["--calibration", target]
    outcome = run(*asked)
    assert outcome.code == 0
    assert "LR about " in outcome.out
    assert "LR: how many times likelier the distance is if" in outcome.out
    ratios = [row["log10_lr"] for row in run(*asked, "--format", "json").objects()]
    assert ratios == sorted(ratios, reverse=True)
    report = tmp_path / "sheet.html"
    assert run(*asked, "--report", report).code == 0
    assert "LR about " in report.read_text("utf-8")


def test_a_calibration_of_another_model_is_refused(
    run: Run, database: Path, tmp_path: Path
) -> None:
    other = replace(CALIBRATION, fingerprint="0" * 64)
    write_calibration(tmp_path / "lr.json", other)
    asked = ["query", "--sha256", rows(1)[0].sha256, "-dp", database]
    outcome = run(*asked, "--calibration", tmp_path / "lr.json")
    assert (outcome.code, outcome.out) == (1, "")
    assert "the calibration is of builtin@000000000000, the search uses toy@" in outcome.err
    assert run(*asked, "--calibration", tmp_path / "none.json").code == 1
