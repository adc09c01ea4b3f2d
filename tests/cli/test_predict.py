"""`predict` says which classes a model sees in pictures."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from image_similarity.analysis.predict import Predictor
from image_similarity.encoding.devices import OutOfMemory
from image_similarity.encoding.encoder import Encoder
from image_similarity.values import Prediction, Skipped
from tests.cli.conftest import Made, Run
from tests.tiny_model import SCENES, write_tiny_model


def test_one_picture_gets_its_classes_the_most_probable_first(run: Run, indexed: Made) -> None:
    (said,) = run("predict", indexed.first, "-m", indexed.model, "--format", "json").objects()
    assert said["path"] == str(indexed.first)
    assert sorted(label["name"] for label in said["labels"]) == sorted(SCENES)
    shares = [label["probability"] for label in said["labels"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert (said["model"], said["partial"]) == ("tiny", False)


def test_the_classes_are_those_that_an_index_run_stores(run: Run, indexed: Made) -> None:
    (said,) = run(
        "predict", indexed.first, "-m", indexed.model, "--format", "json", "-k", 3
    ).objects()
    (stored,) = run("show", indexed.first, "-dp", indexed.database, "--format", "json").objects()
    assert said["sha256"] == stored["sha256"]
    assert [each["name"] for each in said["labels"]] == [each["name"] for each in stored["scenes"]]


def test_a_folder_is_walked_and_its_failures_are_told(run: Run, indexed: Made) -> None:
    outcome = run("predict", indexed.folder, "-m", indexed.model, "-k", 1)
    assert outcome.code == 3
    assert len(outcome.out.splitlines()) == 6
    assert f"{indexed.folder}/rooms/copy.png: " in outcome.out
    first, last = outcome.err.splitlines()
    assert first.startswith(f"not predicted: decode  {indexed.folder}/broken.jpg  ")
    assert last.startswith("predicted by the model tiny (")
    assert last.endswith("): 6 pictures, 1 failed, 1 skipped by rule")


def test_nothing_is_written(run: Run, case: Made) -> None:
    before = {path: path.stat().st_mtime_ns for path in case.folder.rglob("*")}
    run("predict", case.folder, "-m", case.model)
    assert {path: path.stat().st_mtime_ns for path in case.folder.rglob("*")} == before


def test_csv_is_one_row_a_class(run: Run, indexed: Made) -> None:
    out = run("predict", indexed.folder, "-m", indexed.model, "-k", 2, "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["rank"] for row in rows] == ["1", "2"] * 6
    assert rows[0]["path"] == str(indexed.first)
    assert 0 < float(rows[0]["probability"]) <= 1


def test_a_picture_that_decodes_in_part_says_so(run: Run, indexed: Made, tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((96, 96), 60).convert("RGB").save(whole, "JPEG")
    half = tmp_path / "half.jpg"
    half.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    outcome = run("predict", half, "-m", indexed.model)
    assert outcome.code == 0
    assert outcome.out.endswith(" (partly decoded)\n")


@pytest.mark.parametrize("name", ["broken.jpg", "letter.txt"])
def test_a_single_file_without_a_picture_ends_with_3(run: Run, indexed: Made, name: str) -> None:
    outcome = run("predict", indexed.folder / name, "-m", indexed.model)
    assert (outcome.code, outcome.out) == (3, "")


def test_bad_requests_get_one_line(run: Run, indexed: Made, tmp_path: Path) -> None:
    outcome = run("predict", tmp_path / "none", "-m", indexed.model)
    assert (outcome.code, outcome.err) == (
        2, f"Error: no such folder or picture: {tmp_path / 'none'}\n",
    )  # fmt: skip
    assert run("predict", indexed.first, "-m", indexed.model, "-k", 0).code == 2
    blind = write_tiny_model(tmp_path / "blind.safetensors", scenes=())
    outcome = run("predict", indexed.first, "-m", blind)
    assert outcome.code == 13
    assert "knows no scenes" in outcome.err
    assert run("predict", indexed.first, "-m", "nobody").code == 13


def test_how_far_it_is_can_be_followed(run: Run, indexed: Made) -> None:
    err = run("predict", indexed.folder, "-m", indexed.model, "--progress", "lines").err
    assert "predict: 8 files\n" in err


def test_stopped_it_gives_what_was_read(indexed: Made) -> None:
    asked = iter([False, True])
    said = list(
        Predictor(str(indexed.model)).predict([indexed.folder] * 10, stop=lambda: next(asked))
    )
    assert len(said) == 32
    assert sum(isinstance(each, Prediction) for each in said) == 24
    assert sum(isinstance(each, Skipped) for each in said) == 4


def test_where_memory_is_short_batches_are_halved(
    indexed: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(str(indexed.model))
    whole = list(predictor.predict([indexed.folder]))
    encode = Encoder.encode

    def short(self: Encoder, batch: object) -> object:
        if len(batch) > 2:  # type: ignore[arg-type]
            raise OutOfMemory("no room")
        return encode(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Encoder, "encode", short)
    halved = list(predictor.predict([indexed.folder]))
    names = [
        [[label.name for label in getattr(each, "labels", ())] for each in said]
        for said in (whole, halved)
    ]
    assert names[0] == names[1]
