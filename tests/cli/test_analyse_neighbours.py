"""`analyse neighbours`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from image_similarity.cli.signals import Stop
from tests.cli.conftest import Made, Run


def test_what_was_written_and_how_is_told(run: Run, copied: Made, tmp_path: Path) -> None:
    outcome = run(
        "analyse", "neighbours", "-dp", copied.database, "-k", 2, "-o", tmp_path / "n.json"
    )
    assert outcome.code == 0
    told = dict(line.split("  ", 1) for line in outcome.out.splitlines())
    assert told["neighbours"].strip() == str(tmp_path / "n.json")
    assert told["pictures"].strip() == "5 of 5, 2 neighbours each"
    assert told["search"].strip() == "exact, by proven bounds"
    made = json.loads((tmp_path / "n.json").read_text())
    assert [len(each["neighbours"]) for each in made["pictures"]] == [2] * 5
    assert sum(len(each["cited_by"]) for each in made["pictures"]) == 10


def test_json_gives_the_account(run: Run, copied: Made, tmp_path: Path) -> None:
    (found,) = run(
        "analyse", "neighbours", "-dp", copied.database, "-o", tmp_path / "n.csv", "-k", 1,
        "--format", "json",
    ).objects()  # fmt: skip
    assert (found["status"], found["pictures"], found["k"]) == ("done", 5, 1)
    assert found["paths"] == [str(tmp_path / "n.csv"), str(tmp_path / "n.csv.about.json")]


def test_how_far_it_is_can_be_followed(run: Run, copied: Made, tmp_path: Path) -> None:
    outcome = run(
        "analyse", "neighbours", "-dp", copied.database, "-o", tmp_path / "n.h5", "-k", 1,
        "--progress", "lines",
    )  # fmt: skip
    assert outcome.err == "neighbours: 5 pictures\nn.h5: 5 pictures\n"


def test_a_stopped_command_says_that_the_next_goes_on(
    run: Run, copied: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("analyse", "neighbours", "-dp", copied.database, "-k", 1, "-o", tmp_path / "n.json")
    with monkeypatch.context() as patch:
        patch.setattr(Stop, "__call__", lambda self: True)
        outcome = run(*asked)
    assert outcome.code == 130
    assert outcome.err == "Stopped; run the same command again to go on.\n"
    assert "not written yet" in outcome.out
    assert [path.name for path in tmp_path.iterdir()] == ["n.json.work"]
    assert run(*asked).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["n.json"]


def test_listed_pictures_that_are_not_there_are_named_with_the_code_for_partly_done(
    run: Run, copied: Made, tmp_path: Path
) -> None:
    lines = [f"none-{number}.png,{number}" for number in range(5)]
    lines += ["picture-1.png,a", "picture-2.png,b"]
    (tmp_path / "list.csv").write_text("\n".join(["path,id", *lines]))
    asked = ("analyse", "neighbours", "-dp", copied.database, "-k", 1)
    only = ("--only", tmp_path / "list.csv")
    outcome = run(*asked, *only, "-o", tmp_path / "n.json")
    assert outcome.code == 3
    assert outcome.err.splitlines() == [
        "5 listed pictures left out:",
        "  line 2: none-0.png is not known",
        "  line 3: none-1.png is not known",
        "  line 4: none-2.png is not known",
        "  and 2 more; -v names all",
    ]
    outcome = run(*asked, *only, "-v", "-o", tmp_path / "all.json")
    assert len(outcome.err.splitlines()) == 6


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (["-k", "5"], 2, "Error: 5 neighbours of each were asked for, but there are 5 pictures"),
        (["-k", "1", "--approximate"], 1, "Error: there is no approximate index at"),
        (["-k", "1", "-m", "other"], 13, "holds no vectors of other"),
        (["-k", "1", "--source", "tape"], 2, "Error: no source is called 'tape'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    run: Run, copied: Made, tmp_path: Path, asked: list[str], code: int, told: str
) -> None:
    outcome = run("analyse", "neighbours", "-dp", copied.database, "-o", tmp_path / "n.h5", *asked)
    assert outcome.code == code
    assert told in outcome.err.splitlines()[0]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_into_evidence_and_no_file_is_replaced_unasked(
    run: Run, copied: Made, tmp_path: Path
) -> None:
    asked = ("analyse", "neighbours", "-dp", copied.database, "-k", 1, "-o")
    outcome = run(*asked, copied.folder / "n.json")
    assert outcome.code == 2
    assert "would be written into the indexed folder" in outcome.err
    assert run(*asked, tmp_path / "n.json").code == 0
    assert "exists already" in run(*asked, tmp_path / "n.json").err
    assert run(*asked, tmp_path / "n.json", "--force").code == 0
