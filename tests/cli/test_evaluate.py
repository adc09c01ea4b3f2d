"""`evaluate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Made, Run
from tests.evaluation.samples import class_folder, flat_folder, trained_on
from tests.search.synthetic import Row, write_case
from tests.tiny_model import write_tiny_model

FEW = ("--resamples", "20", "--device", "cpu")


def test_a_table_shows_the_figures_and_what_is_known_of_the_training(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    folder = class_folder(tmp_path / "classes")
    outcome = run("evaluate", folder, "-m", tiny_model, "-m", "histogram", *FEW)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[1].split() == ["task", "per", "cent", "tiny", "histogram", "queries"]
    assert lines[2].startswith("retrieval       mAP@R")
    assert "tiny: training pictures unknown" in lines
    assert "histogram: not trained" in lines
    assert outcome.err == ""


def test_json_is_one_figure_a_line_and_the_file_holds_every_query(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    folder, target = class_folder(tmp_path / "classes"), tmp_path / "result.json"
    outcome = run("evaluate", folder, "-m", tiny_model, "--json", target, *FEW, "--format", "json")
    first = outcome.objects()[0]
    assert (first["model"], first["task"], first["measure"]) == ("tiny", "retrieval", "mAP@R")
    assert first["low"] <= first["value"] <= first["high"]
    content = json.loads(target.read_text())
    assert len(content["tasks"]["retrieval"]["queries"]) == 12
    assert len(content["models"][0]["outcomes"]["retrieval"]["recall@1"]) == 12


def test_a_plot_is_a_png(run: Run, tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "plot.of mine"
    folder = flat_folder(tmp_path / "flat", 6)
    asked = ("--edits", "mirror", "--edits", "text", "--plot", target)
    assert run("evaluate", folder, "-m", tiny_model, *asked, *FEW).code == 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_measured(
    run: Run, tmp_path: Path, indexed: Made
) -> None:
    for option in ("--json", "--plot"):
        for target in (tmp_path / "none" / "x.json", tmp_path):
            outcome = run("evaluate", tmp_path / "gone", option, target)
            assert outcome.code == 2
            assert "cannot be written" in outcome.err
    inside = indexed.folder / "x.json"
    outcome = run("evaluate", "-dp", indexed.database, "--json", inside)
    assert outcome.code == 2
    assert "indexed folder" in outcome.err
    assert not inside.exists()


def test_without_its_extra_a_plot_is_refused_before_anything_is_measured(
    run: Run, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    folder = class_folder(tmp_path / "classes")
    outcome = run("evaluate", folder, "-m", tiny_model, "--plot", tmp_path / "p.png", *FEW)
    assert outcome.code == 1
    assert "matplotlib" in outcome.err
    assert 'pip install "image_similarity[evaluate]"' in outcome.err
    assert outcome.out == ""
    assert run("evaluate", folder, "-m", tiny_model, *FEW).code == 0


def test_without_its_extra_pdq_is_refused_and_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    outcome = run("evaluate", class_folder(tmp_path / "classes"), "-m", "pdq", *FEW)
    assert outcome.code == 1
    assert "image_similarity[pdq]" in outcome.err


def test_a_model_that_saw_the_pictures_is_refused_without_figures(run: Run, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "classes")
    model = trained_on(tmp_path / "trained.safetensors", [folder / "class-1" / "2.png"])
    outcome = run("evaluate", folder, "-m", model, *FEW)
    assert (outcome.code, outcome.out) == (1, "")
    assert "trained on 1 of the 12 pictures" in outcome.err
    assert "class-1/2.png" in outcome.err


def test_files_that_cannot_be_read_are_said_and_exit_with_3(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    folder = class_folder(tmp_path / "classes")
    (folder / "class-0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    outcome = run("evaluate", folder, "-m", tiny_model, *FEW)
    assert outcome.code == 3
    assert "not evaluated: decode  class-0/broken.png" in outcome.err
    assert "1 file could not be evaluated" in outcome.err


def test_a_database_is_measured_by_its_stored_vectors(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    folder, database = class_folder(tmp_path / "classes"), tmp_path / "case.db"
    run("index", "-m", tiny_model, "--scenes", tiny_model, "-ip", folder, "-dp", database)
    stored = run("evaluate", "-dp", database, "--resamples", "20", "--format", "json").objects()
    fresh = run("evaluate", folder, "-m", tiny_model, *FEW, "--format", "json").objects()
    of_fresh = {(each["task"], each["measure"]): each["value"] for each in fresh}
    for each in stored:
        assert each["value"] == pytest.approx(of_fresh[each["task"], each["measure"]], abs=0.1)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("query,positive,negative\nclass-0/0.png,class-0/1.png,class-1/0.png\n")
    with_pairs = run("evaluate", "-dp", database, "--pairs", pairs, "--resamples", "20")
    assert "triplets" in with_pairs.out
    assert run("evaluate", "-dp", database, "-m", "builtin").code == 13


def test_a_database_of_training_pictures_is_refused_where_the_weights_file_is_at_hand(
    run: Run, tmp_path: Path
) -> None:
    folder, database = class_folder(tmp_path / "classes"), tmp_path / "case.db"
    model = trained_on(tmp_path / "trained.safetensors", [folder / "class-1" / "2.png"])
    run("index", "-m", model, "--scenes", model, "-ip", folder, "-dp", database)
    outcome = run("evaluate", "-dp", database, "--resamples", "20")
    assert (outcome.code, outcome.out) == (1, "")
    assert (
        "trained on 1 of the 12 pictures given; the first is classes:class-1/2.png" in outcome.err
    )


def test_pictures_that_lack_the_vector_of_one_model_are_counted(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    other = write_tiny_model(tmp_path / "other.safetensors", dim=2, seed=3)
    folder, database = class_folder(tmp_path / "classes"), tmp_path / "case.db"
    given = ("--scenes", tiny_model, "-ip", folder, "-dp", database)
    assert run("index", "-m", tiny_model, "-m", other, *given).code == 0
    flat_folder(folder / "class-0" / "more", 2)
    assert run("index", "-m", tiny_model, *given).code == 0
    outcome = run("evaluate", "-dp", database, "--resamples", "20")
    assert "note: 2 pictures without a vector of every model are left out" in outcome.out


def test_a_pairs_file_must_say_which_of_two_pictures_of_one_name_it_means(
    run: Run, tmp_path: Path
) -> None:
    rows = [Row(f"{n}", [1, n], paths=[f"{n}.png"]) for n in range(3)]
    database = write_case(tmp_path / "case.db", rows)
    write_case(database, [Row("another", [0, 1], paths=["0.png"])], source="phone")
    pairs = tmp_path / "pairs.csv"
    asked = ("evaluate", "-dp", database, "--pairs", pairs, "--resamples", "20")
    pairs.write_text("a,b,same\n0.png,1.png,1\n1.png,2.png,0\n")
    outcome = run(*asked)
    assert outcome.code == 2
    assert "several pictures at 0.png" in outcome.err
    assert "SOURCE:PATH" in outcome.err
    pairs.write_text("a,b,same\nphone:0.png,1.png,1\n1.png,2.png,0\n")
    assert run(*asked).code == 0
    pairs.write_text("a,b,same\nnowhere.png,1.png,1\n")
    outcome = run(*asked)
    assert outcome.code == 1
    assert "holds no row of" in outcome.err


def test_a_database_of_the_environment_does_not_stand_in_the_way_of_pictures(
    run: Run, tmp_path: Path, tiny_model: Path, indexed: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_SIMILARITY_DB", str(indexed.database))
    assert run("evaluate", class_folder(tmp_path / "classes"), "-m", tiny_model, *FEW).code == 0
    assert run("evaluate").code == 1  # the database has no folders


def test_a_database_without_folders_has_no_task(run: Run, indexed: Made) -> None:
    outcome = run("evaluate", "-dp", indexed.database)
    assert outcome.code == 1
    assert "--pairs" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["nowhere"], 2),
        (["FOLDER", "--edits", "sepia"], 2),
        (["FOLDER", "--gallery", "FOLDER"], 2),
        (["FOLDER", "--resamples", "0"], 2),
        (["FOLDER"], 1),
        (["FOLDER", "--edits", "mirror", "-m", "nonsense"], 13),
        (["-dp", "nowhere.db"], 10),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    run: Run, tmp_path: Path, arguments: list[str], code: int
) -> None:
    folder = flat_folder(tmp_path / "flat", 3)
    given = [str(folder) if each == "FOLDER" else each for each in arguments]
    outcome = run("evaluate", *given)
    assert outcome.code == code
    assert outcome.err.count("Error:") == 1
    assert "unexpected" not in outcome.err


def test_progress_is_shown_when_asked_for(run: Run, tmp_path: Path, tiny_model: Path) -> None:
    folder = flat_folder(tmp_path / "flat", 3)
    asked = ("--edits", "mirror", "--progress", "json")
    outcome = run("evaluate", folder, "-m", tiny_model, *asked, *FEW)
    assert '"event": "progress", "done": 6, "total": 6' in outcome.err
