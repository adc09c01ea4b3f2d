"""`analyse codebook build` and `analyse codebook encode`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Made, Outcome, Run
from tests.conftest import draw_picture
from tests.tiny_model import write_tiny_model


@pytest.fixture
def build(run: Run, case: Made, tmp_path: Path) -> Path:
    """A codebook of twelve words, beside the model below it."""
    shutil.copy(case.model, tmp_path / "tiny.safetensors")
    outcome = built(run, case, tmp_path / "words.safetensors")
    assert (outcome.code, outcome.err) == (0, "")
    return tmp_path / "words.safetensors"


def draw_new(path: Path) -> Path:
    draw_picture(77, (64, 48)).save(path)
    return path


def built(run: Run, case: Made, target: Path, *more: object) -> Outcome:
    arguments = ["-dp", case.database, "-m", target.with_name("tiny.safetensors"), "-o", target]
    return run("analyse", "codebook", "build", *arguments, "--words", "12", *more)


def test_what_was_built_is_told(run: Run, case: Made, build: Path) -> None:
    outcome = built(run, case, build, "--force")
    assert outcome.code == 0
    told = dict(line.split("  ", 1) for line in outcome.out.splitlines())
    assert told["features"].strip() == "tiny, layer pool, 8 x 8 cells a picture"
    assert told["learned from"].strip() == "320 features of 5 pictures"
    assert told["words"].strip().startswith("12 in 3 dimensions (")
    assert told["vectors"].strip() == "l2, 24 bytes a picture"
    (found,) = built(run, case, build, "--force", "--format", "json").objects()
    assert (found["words"], found["norm"], found["failures"]) == (12, "l2", [])


def test_pictures_are_encoded_and_found(run: Run, case: Made, build: Path) -> None:
    outcome = run("analyse", "codebook", "encode", "-dp", case.database, build)
    assert outcome.code == 3, outcome.err  # a broken picture lies there
    assert "5 pictures embedded with" in outcome.out
    again = run("analyse", "codebook", "encode", "-dp", case.database, build, "--format", "json")
    assert [each["embedded"] for each in again.objects()] == [0]
    asked = ("-dp", case.database, "-m", build, "-k", "2", "--scene", "off", "--format", "json")
    hits = run("query", case.first, *asked).objects()
    assert len(hits) == 2
    assert len(run("query", draw_new(build.with_name("new.png")), *asked).objects()) == 2


def test_a_build_can_be_followed(run: Run, case: Made, tmp_path: Path) -> None:
    shutil.copy(case.model, tmp_path / "tiny.safetensors")
    outcome = built(run, case, tmp_path / "words.safetensors", "--progress", "lines")
    assert outcome.err.splitlines() == [
        "local features: 5 pictures",
        "principal components: 1 steps",
        "visual words: 5 steps",
        "document frequencies: 1 steps",
    ]


def test_a_codebook_of_another_backbone_is_one_clear_line_and_nothing_is_lost(
    run: Run, case: Made, build: Path
) -> None:
    run("analyse", "codebook", "encode", "-dp", case.database, build)
    before = case.database.read_bytes()
    write_tiny_model(build.with_name("tiny.safetensors"), seed=7)
    new = draw_new(build.with_name("new.png"))
    for command in (
        ("analyse", "codebook", "encode", "-dp", case.database, build),
        ("query", new, "-dp", case.database, "-m", build),
    ):
        outcome = run(*command)
        assert outcome.code == 13
        lines = [line for line in outcome.err.splitlines() if not line.startswith("Note:")]
        assert "'words' was made with tiny.safetensors@" in lines[0]
        assert len(lines) == 2
        assert lines[1].startswith("Hint: ")
    assert case.database.read_bytes() == before


def test_a_codebook_is_never_written_into_evidence(run: Run, case: Made) -> None:
    shutil.copy(case.model, case.folder / "tiny.safetensors")
    outcome = built(run, case, case.folder / "words.safetensors")
    assert outcome.code == 2
    assert "would be written into the indexed folder" in outcome.err


def test_an_earlier_file_is_kept_unless_told(run: Run, case: Made, build: Path) -> None:
    before = build.read_bytes()
    outcome = built(run, case, build, "--seed", "2")
    assert outcome.code == 2
    assert "exists already" in outcome.err
    assert build.read_bytes() == before


def test_too_many_words_are_refused(run: Run, case: Made, build: Path) -> None:
    outcome = built(run, case, build.with_name("more.safetensors"), "--words", "400")
    assert outcome.code == 1
    assert "5 pictures give 320 local features, fewer than the 400 words" in outcome.err


def test_pictures_that_are_left_out_are_told(run: Run, case: Made, build: Path) -> None:
    shutil.copy(case.folder / "picture-1.png", case.folder / "picture-2.png")
    (case.folder / "picture-3.png").unlink()
    outcome = built(run, case, build, "--force")
    assert outcome.code == 3
    assert "1 picture left out: no longer as indexed" in outcome.err
    assert "not used: read" in outcome.err
    assert "1 file could not be used" in outcome.err


def test_the_codebook_is_in_the_audit_chain(run: Run, case: Made, build: Path) -> None:
    outcome = run("audit", "show", "-dp", case.database)
    assert "codebook" in outcome.out
    assert run("audit", "verify", "-dp", case.database).code == 0
