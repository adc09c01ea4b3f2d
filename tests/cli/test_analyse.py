"""`analyse ann`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Made, Run
from tests.search.synthetic import Row, model_info, write_case


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vectors = np.random.default_rng(0).standard_normal((1_100, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [Row(f"p{number:04d}", vector.tolist()) for number, vector in enumerate(vectors)]
    path = tmp_path_factory.mktemp("analyse") / "case.db"
    return write_case(path, rows, info=model_info(dim=8))


def test_the_index_and_its_measured_recall_are_told(
    run: Run, database: Path, tmp_path: Path
) -> None:
    outcome = run("analyse", "ann", "-dp", database, "-o", tmp_path / "toy.ann")
    assert (outcome.code, outcome.err) == (0, "")
    told = dict(line.split("  ", 1) for line in outcome.out.splitlines())
    assert told["vectors"].strip() == "1100 of 8 numbers"
    assert told["recall@10"].endswith("against the exact search, over 55 queries")
    assert (tmp_path / "toy.ann").stat().st_size > 1_100 * 8


def test_json_gives_all_of_it(run: Run, database: Path) -> None:
    (found,) = run("analyse", "ann", "-dp", database, "--format", "json").objects()
    assert found["path"] == str(database.with_name("case.db.toy.ann"))
    assert found["recall"] >= 0.99
    assert (found["vectors"], found["queries"], found["seed"]) == (1_100, 55, 1)


def test_how_far_it_is_can_be_followed(run: Run, database: Path, tmp_path: Path) -> None:
    outcome = run(
        "analyse", "ann", "-dp", database, "-o", tmp_path / "toy.ann", "--progress", "lines"
    )
    assert outcome.err == "approximate index: 1100 vectors\n"


def test_an_index_is_never_written_into_evidence(run: Run, indexed: Made) -> None:
    outcome = run("analyse", "ann", "-dp", indexed.database, "-o", indexed.folder / "x.ann")
    assert outcome.code == 2
    assert "would be written into the indexed folder" in outcome.err


def test_too_few_pictures_and_a_wrong_recall_are_refused(run: Run, indexed: Made) -> None:
    outcome = run("analyse", "ann", "-dp", indexed.database)
    assert outcome.code == 1
    assert "5 vectors are too few for an approximate index" in outcome.err
    assert run("analyse", "ann", "-dp", indexed.database, "--recall", "2").code == 2


def test_a_query_with_an_index_says_which_it_was(run: Run, database: Path, tmp_path: Path) -> None:
    run("analyse", "ann", "-dp", database, "-o", tmp_path / "toy.ann")
    sha256 = Row("p0007", []).sha256
    outcome = run("query", "--sha256", sha256, "-dp", database, "--index", tmp_path / "toy.ann")
    assert outcome.code == 0
    assert "search: approximate (found " in outcome.out
    assert f"index: {tmp_path / 'toy.ann'}, built 20" in outcome.out
    outcome = run("query", "--sha256", sha256, "-dp", database, "--index", tmp_path / "none.ann")
    assert outcome.code == 1
    assert "Hint: build one: image-similarity analyse ann -dp DB" in outcome.err
