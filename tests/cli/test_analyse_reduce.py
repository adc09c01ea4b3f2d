"""`analyse reduce` and `analyse derive`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.analysis.forty import make
from tests.cli.conftest import Made, Run
from tests.conftest import draw_picture


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Made:
    database, folder, model = make(tmp_path_factory.mktemp("cli-reduce"))
    return Made(folder, database, model)


@pytest.fixture
def database(forty: Made, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(forty.database, tmp_path / "case.db"))


@pytest.fixture
def reduce(run: Run, database: Path, tmp_path: Path) -> Run:
    def call(kind: str, *more: object) -> object:
        return run(
            "analyse", "reduce", kind, "-dp", database, "-o", tmp_path / "small.safetensors", *more
        )

    return call  # type: ignore[return-value]


def test_what_is_lost_is_told_and_every_picture_gets_its_vector(
    run: Run, reduce: Run, database: Path
) -> None:
    outcome = reduce("pca", "--dim", 4)
    assert (outcome.code, outcome.err) == (0, "")
    told = dict(line.split("  ", 1) for line in outcome.out.splitlines() if "  " in line)
    assert told["vectors"].strip() == "4 numbers of 16 of tiny"
    assert told["lost"].strip().endswith("on the 36 learned on")
    assert told["recall@10"].strip().endswith("over 4 queries held aside among 40")
    assert "evidence: 40 pictures given a vector with" in outcome.out
    listed = run("runs", "list", "-dp", database, "--format", "json").objects()
    assert [each["kind"] for each in listed] == ["derive", "index"]


def test_queries_with_the_new_model_are_answered_and_replayed(
    run: Run, reduce: Run, database: Path, tmp_path: Path
) -> None:
    assert reduce("autoencoder", "--dim", 4, "--epochs", 2, "--name", "tiny-4").code == 0
    new = tmp_path / "query.png"
    draw_picture(3, (48, 40)).save(new)
    manifest = tmp_path / "hits.json"
    outcome = run(
        "query", new, "-dp", database, "-m", "tiny-4", "--scene", "off",
        "--manifest", manifest, "--format", "json",
    )  # fmt: skip
    assert outcome.objects()[0]["relative_path"] == "p03.png"
    assert run("replay", manifest).out.startswith("same")
    assert run("db", "verify", "-dp", database).code == 0
    assert run("audit", "verify", "-dp", database).code == 0
    assert run("models", "check", tmp_path / "small.safetensors", "-dp", database).code == 0


def test_json_gives_all_of_it_and_no_store_only_writes_the_file(
    run: Run, reduce: Run, database: Path, tmp_path: Path
) -> None:
    (found,) = reduce("pca", "--dim", 4, "--no-store", "--format", "json").objects()
    assert (found["kind"], found["dim"], found["learned_on"]) == ("pca", 4, 36)
    assert found["size_bytes"] == (tmp_path / "small.safetensors").stat().st_size
    assert len(run("runs", "list", "-dp", database, "--format", "json").objects()) == 1
    (derived,) = run(
        "analyse", "derive", found["path"], "-dp", database, "--format", "json"
    ).objects()
    assert derived["embedded"] == 40
    outcome = run("analyse", "derive", found["path"], "-dp", database)
    assert (outcome.code, outcome.out) == (0, "Every picture has its vector already.\n")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--dim", 17), "Error: 17 dimensions of vectors that have 16\nHint: --dim 16 at most\n"),
        (("--dim", 0), "Error: 0 dimensions, 40 epochs\nHint: both are 1 or more\n"),
    ],
)
def test_bad_settings_get_one_line_and_lose_nothing(
    run: Run, reduce: Run, database: Path, tmp_path: Path, more: tuple[object, ...], told: str
) -> None:
    outcome = reduce("pca", *more)
    assert (outcome.code, outcome.err) == (2, told)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["case.db"]
    assert run("db", "verify", "-dp", database).code == 0


def test_more_dimensions_than_pictures_are_refused(run: Run, case: Made, tmp_path: Path) -> None:
    outcome = run(
        "analyse", "reduce", "pca", "-dp", case.database, "-o", tmp_path / "x.safetensors",
        "--dim", 8,
    )  # fmt: skip
    assert outcome.code == 2
    assert outcome.err == (
        "Error: 8 dimensions cannot be learned from 5 pictures, of which 1 are held aside\n"
        "Hint: --dim 3 at most, or index more pictures\n"
    )
    assert not (tmp_path / "x.safetensors").exists()


def test_a_database_that_is_missing_is_not_created(run: Run, tmp_path: Path) -> None:
    for command in (["reduce", "pca", "-o", tmp_path / "x.safetensors"], ["derive", "x"]):
        outcome = run("analyse", *command, "-dp", tmp_path / "none.db")
        assert outcome.code == 10
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_never_written_into_evidence(run: Run, forty: Made) -> None:
    target = forty.folder / "x.safetensors"
    outcome = run("analyse", "reduce", "pca", "-dp", forty.database, "-o", target, "--no-store")
    assert outcome.code == 2
    assert "would be written into the indexed folder" in outcome.err


def test_how_far_it_is_can_be_followed(reduce: Run) -> None:
    outcome = reduce("autoencoder", "--dim", 4, "--epochs", 2, "--progress", "lines")
    assert outcome.err.splitlines() == [
        "reading: 40 vectors",
        "principal axes: 36 vectors",
        "autoencoder: 2 epochs",
        "small: 40 vectors",
    ]


def test_models_show_says_what_it_loses(run: Run, reduce: Run) -> None:
    (found,) = reduce("pca", "--dim", 4, "--no-store", "--format", "json").objects()
    (shown,) = run("models", "show", found["path"], "--format", "json").objects()
    assert shown["reduction"]["error_held_aside"] == found["error_held_aside"]
    assert shown["reduction"]["recall"] == found["recall"]
    text = run("models", "show", found["path"]).out
    (line,) = [line for line in text.splitlines() if line.startswith("reduction  ")]
    assert "kind pca" in line
    assert "learned_on 36" in line


def test_a_file_that_is_no_reduction_is_refused(run: Run, database: Path, forty: Made) -> None:
    outcome = run("analyse", "derive", forty.model, "-dp", database)
    assert outcome.code == 2
    assert "tiny does not go on from the vectors of another model" in outcome.err
