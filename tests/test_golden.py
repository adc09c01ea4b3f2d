"""A model answers here as where it was exported, or the check says which part of it does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from image_similarity import golden
from image_similarity.encoding import registry
from image_similarity.encoding.card import read_card, spec_from_card
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.golden_picture import GoldenPicture
from image_similarity.errors import GoldenDiffers, WeightsRefused
from image_similarity.pictures import colours, decode, pixels
from image_similarity.training.export import record_golden
from tests.cli.conftest import Run, run  # noqa: F401 - a fixture
from tests.tiny_model import tiny_card, tiny_state, write_tiny_model


def write_model(path: Path, **preprocess: Any) -> Path:
    """Write a tiny model that sees pictures of 96 px, as the built-in one does, and its golden record."""
    card = tiny_card()
    card["preprocess"] |= {"size": 96, "interpolation": "bicubic"} | preprocess
    save_file(tiny_state(), path, metadata={"card": json.dumps(card)})
    record_golden(path)
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    path = write_model(tmp_path_factory.mktemp("golden") / "tiny.safetensors")
    return Encoder.load(registry.get(str(path)), device="cpu")


def with_spec(encoder: Encoder, **changes: Any) -> Encoder:
    spec = dataclasses.replace(encoder.spec, **changes)
    return Encoder(spec, encoder.info, encoder._network, device=encoder.device)


def with_preprocess(encoder: Encoder, **changes: Any) -> Encoder:
    return with_spec(encoder, preprocess=dataclasses.replace(encoder.spec.preprocess, **changes))


def with_picture(encoder: Encoder, name: str, **changes: Any) -> Encoder:
    pictures = tuple(
        dataclasses.replace(each, **changes) if each.name == name else each
        for each in encoder.spec.golden
    )
    return with_spec(encoder, golden=pictures)


def test_a_model_answers_as_it_was_recorded(encoder: Encoder) -> None:
    assert golden.check(encoder) == len(golden.FILES) + 1
    assert {each.name for each in encoder.spec.golden} == {golden.RAMP, *golden.FILES}


def test_a_card_without_a_golden_record_passes(tiny_model: Path) -> None:
    assert golden.check(Encoder.load(registry.get(str(tiny_model)), device="cpu")) == 0


def test_every_golden_picture_is_there_and_of_its_kind() -> None:
    with Image.open(golden.FOLDER / "reduced.jpg") as large:
        assert min(large.size) // (2 * 224) >= 2
    with Image.open(golden.FOLDER / "turned.jpg") as turned:
        assert turned.getexif()[0x0112] == 6
    with Image.open(golden.FOLDER / "transparent.png") as transparent:
        assert transparent.mode == "RGBA"
    with Image.open(golden.FOLDER / "enlarged.png") as small:
        assert max(small.size) <= 32
    assert sum(path.stat().st_size for path in golden.FOLDER.glob("*.*g")) < 100_000


@pytest.mark.parametrize("changes", [{"interpolation": "bilinear"}, {"decode_scale": 1}])
def test_another_way_of_resizing_is_named(encoder: Encoder, changes: dict[str, Any]) -> None:
    with pytest.raises(GoldenDiffers, match=r"preprocessing .* levels"):
        golden.check(with_preprocess(encoder, **changes))


def test_decoding_in_full_instead_of_at_twice_the_size_is_as_good(encoder: Encoder) -> None:
    assert golden.check(with_preprocess(encoder, decode_scale=0)) == 5


def test_a_picture_that_is_not_turned_upright_is_named(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "read_orientation", lambda image: 1)
    with pytest.raises(GoldenDiffers, match=r"preprocessing .*turned\.jpg"):
        golden.check(encoder)


def test_transparency_on_another_ground_is_named(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "to_rgb", lambda image: image.convert("RGB"))
    with pytest.raises(GoldenDiffers, match=r"preprocessing .*transparent\.png"):
        golden.check(encoder)
    assert colours.to_rgb is not decode.to_rgb


def test_resizing_without_antialiasing_is_named(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "prepare", nearest)
    with pytest.raises(GoldenDiffers, match="preprocessing"):
        golden.check(encoder)


def nearest(frame: Image.Image, preprocess: Any) -> np.ndarray:
    size = (preprocess.size, preprocess.size)
    return np.array(frame.resize(size, Image.Resampling.NEAREST))


def test_another_network_is_named_and_tried_first(encoder: Encoder, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other.safetensors", seed=1)
    network = Encoder.load(registry.get(str(other)), device="cpu")._network
    changed = Encoder(encoder.spec, encoder.info, network, device="cpu")
    with pytest.raises(GoldenDiffers, match=r"The network of tiny .*ramp: its vector has a cosine"):
        golden.check(changed)


def test_pixels_that_differ_a_little_but_move_the_vector_are_the_preprocessings(
    encoder: Encoder,
) -> None:
    other = encoder.spec.golden[1].vector
    changed = with_picture(encoder, "enlarged.png", vector=other, sha256="0" * 64)
    with pytest.raises(GoldenDiffers, match=r"preprocessing .*enlarged\.png: its vector"):
        golden.check(changed)


def test_an_answer_that_is_no_number_is_refused(encoder: Encoder) -> None:
    vector = (float("nan"), *encoder.spec.golden[0].vector[1:])
    with pytest.raises(GoldenDiffers, match="network"):
        golden.check(with_picture(encoder, golden.RAMP, vector=vector))


def test_a_picture_of_a_later_version_is_named(encoder: Encoder) -> None:
    later = dataclasses.replace(encoder.spec.golden[0], name="later.jpg")
    with pytest.raises(GoldenDiffers, match=r"later\.jpg"):
        golden.check(with_spec(encoder, golden=(later,)))


def test_a_model_that_only_classifies_has_no_golden_record(encoder: Encoder) -> None:
    class Classifier:
        spec = encoder.spec

        def encode(self, batch: np.ndarray) -> Any:
            return dataclasses.replace(encoder.encode(batch), vectors=None)

    with pytest.raises(ValueError, match="only classifies"):
        golden.record(Classifier())  # type: ignore[arg-type]


def test_the_record_is_no_part_of_the_fingerprint(encoder: Encoder) -> None:
    from image_similarity.encoding.spec import fingerprint

    without = dataclasses.replace(encoder.spec, golden=())
    assert fingerprint(without, "0" * 64) == fingerprint(encoder.spec, "0" * 64)


# --- the card -------------------------------------------------------------------------------


def changed_card(encoder: Encoder, **changes: Any) -> dict[str, Any]:
    card = read_card(encoder.spec.weights)  # type: ignore[arg-type]
    assert card is not None
    card["golden"][0] |= changes
    return card


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", 5),
        ("name", "\x1b[31m"),
        ("sha256", "xyz"),
        ("samples", []),
        ("samples", [0.5] * 192),
        ("samples", [256] * 192),
        ("samples", [True] * 192),
        ("vector", [0.0] * 16),
        ("vector", [0.25] * 15),
        ("vector", [1.0] * 16),
        ("vector", ["1"] * 16),
        ("vector", {}),
    ],
)
def test_a_record_out_of_its_range_is_refused(encoder: Encoder, key: str, value: Any) -> None:
    with pytest.raises(WeightsRefused, match=rf"golden\[0\]\.{key}"):
        spec_from_card(changed_card(encoder, **{key: value}), Path("model.safetensors"))


@pytest.mark.parametrize("golden_entry", [{}, "x", [5], [{}] * 17])
def test_a_record_that_is_no_list_of_pictures_is_refused(
    encoder: Encoder, golden_entry: Any
) -> None:
    with pytest.raises(WeightsRefused, match="golden"):
        spec_from_card(changed_card(encoder) | {"golden": golden_entry}, Path("model.safetensors"))


def test_one_picture_recorded_twice_is_refused(encoder: Encoder) -> None:
    card = changed_card(encoder)
    card["golden"].append(card["golden"][0])
    with pytest.raises(WeightsRefused, match="twice"):
        spec_from_card(card, Path("model.safetensors"))


def test_a_model_without_an_embedding_has_no_golden_vectors(encoder: Encoder) -> None:
    card = changed_card(encoder) | {"dim": None}
    with pytest.raises(WeightsRefused, match="no golden vectors"):
        spec_from_card(card, Path("model.safetensors"))


def test_the_record_survives_the_card(encoder: Encoder) -> None:
    assert all(isinstance(each, GoldenPicture) for each in encoder.spec.golden)
    first = encoder.spec.golden[0]
    assert (first.name, len(first.samples), len(first.vector)) == (golden.RAMP, 192, 16)


# --- the command ----------------------------------------------------------------------------


def test_the_command_says_how_many_golden_pictures_came_out_as_recorded(
    run: Run,  # noqa: F811
    encoder: Encoder,
    tiny_model: Path,
) -> None:
    outcome = run("models", "check", encoder.spec.weights, "--device", "cpu")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "golden record: 5 pictures as recorded"
    assert "golden record: none in its card" in run("models", "check", tiny_model).out


def test_the_command_names_what_differs_and_exits_with_13(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_model(tmp_path / "tiny.safetensors")
    monkeypatch.setattr(decode, "read_orientation", lambda image: 1)
    outcome = run("models", "check", path, "--device", "cpu")
    assert outcome.code == 13
    assert "preprocessing of tiny" in outcome.err
    assert "Pillow" in outcome.err


def test_models_show_names_the_golden_pictures_only(run: Run, encoder: Encoder) -> None:  # noqa: F811
    (card,) = run("models", "show", encoder.spec.weights, "--format", "json").objects()
    assert card["golden"] == [golden.RAMP, *golden.FILES]
