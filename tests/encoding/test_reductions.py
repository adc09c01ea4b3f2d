"""The file of a reduction is held to its card, and whatever else it is, it is refused in one line."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from image_similarity.encoding import derived, reductions
from image_similarity.encoding.card import read_card, spec_from_card
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.registry import get, info
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import ModelError, WeightsMissing, WeightsRefused
from tests.tiny_model import tiny_card, write_tiny_model

BASE_DIM, DIM, HIDDEN = 16, 3, 5


def pca_arrays() -> dict[str, np.ndarray]:
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((BASE_DIM, DIM)))[0].T
    return {
        "mean": np.full(BASE_DIM, 0.1, np.float32),
        "components": np.ascontiguousarray(axes, np.float32),
    }


def autoencoder_arrays() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    shapes = reductions.autoencoder_shapes(BASE_DIM, DIM, HIDDEN)
    arrays = {name: draw.standard_normal(shape).astype("f4") for name, shape in shapes.items()}
    return arrays | {"scale": np.ones(1, np.float32)}


def card(kind: str, **config: Any) -> dict[str, Any]:
    return {
        **{key: tiny_card()[key] for key in ("format", "preprocess")},
        "name": "small",
        "architecture": f"derived/{kind}",
        "dim": DIM,
        "config": {
            "base": "tiny.safetensors",
            "base_fingerprint": "0" * 64,
            "base_dim": BASE_DIM,
            **({"whiten": False} if kind == "pca" else {"hidden": HIDDEN}),
            **config,
        },
    }


def write(path: Path, card: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    path.write_bytes(save(arrays, metadata={"card": json.dumps(card)}))
    return path


def load(path: Path) -> reductions.Reduction:
    said = read_card(path)
    assert said is not None
    return reductions.load(spec_from_card(said, path), path)


def test_principal_axes_reduce_and_restore(tmp_path: Path) -> None:
    reduction = load(write(tmp_path / "r.safetensors", card("pca"), pca_arrays()))
    codes = np.random.default_rng(1).standard_normal((5, DIM)).astype(np.float32)
    there = reduction.restore(codes)
    assert there.shape == (5, BASE_DIM)
    assert np.allclose(reduction.reduce(there), codes, atol=1e-5)


def test_whitened_axes_reduce_and_restore(tmp_path: Path) -> None:
    arrays = pca_arrays() | {"scale": np.array([3, 2, 0.5], np.float32)}
    reduction = load(write(tmp_path / "r.safetensors", card("pca", whiten=True), arrays))
    codes = np.ones((2, DIM), np.float32)
    assert np.allclose(reduction.reduce(reduction.restore(codes)), codes, atol=1e-5)


def test_an_autoencoder_does_what_its_arrays_say(tmp_path: Path) -> None:
    arrays = autoencoder_arrays()
    reduction = load(write(tmp_path / "r.safetensors", card("autoencoder"), arrays))
    x = np.random.default_rng(1).standard_normal((4, BASE_DIM)).astype(np.float32)
    rows = x - arrays["mean"]
    hidden = np.maximum(rows @ arrays["encoder.hidden"].T + arrays["encoder.hidden_bias"], 0)
    wanted = hidden @ arrays["encoder.out"].T + rows @ arrays["encoder.linear"].T
    assert np.allclose(reduction.reduce(x), wanted + arrays["encoder.bias"], rtol=1e-5)
    assert reduction.restore(reduction.reduce(x)).shape == (4, BASE_DIM)
    # A code of any length restores as the stored one of length 1.
    assert np.allclose(reduction.restore(wanted), reduction.restore(2 * wanted), atol=1e-5)


def test_rows_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "r.safetensors", card("pca"), pca_arrays())
    reduction = load(path)
    many = np.random.default_rng(1).standard_normal((9_000, BASE_DIM)).astype(np.float32)
    whole = reductions.reduced(reduction, many, path)
    assert whole.shape == (9_000, DIM)
    assert np.allclose(whole[5_000:5_001], reductions.reduced(reduction, many[5_000:5_001], path))
    assert reductions.reduced(reduction, many[:0], path).shape == (0, DIM)


def test_vectors_of_another_length_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.safetensors", card("pca"), pca_arrays())
    with pytest.raises(WeightsRefused, match="vectors of 16 numbers; those of the model below"):
        derived.transform_of(get(str(path)), path)(np.zeros((1, 9), np.float32))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("components", np.full((DIM, BASE_DIM), np.nan, np.float32)),
        ("components", np.full((DIM, BASE_DIM), np.inf, np.float32)),
        ("components", np.zeros((DIM, BASE_DIM), np.float64)),
        ("components", np.zeros((DIM + 1, BASE_DIM), np.float32)),
        ("components", np.zeros((DIM, BASE_DIM), np.int32)),
        ("mean", np.zeros((BASE_DIM, 1), np.float32)),
        ("more", np.zeros(3, np.float32)),
        ("scale", np.zeros(DIM, np.float32)),
    ],
)
def test_other_arrays_than_the_card_asks_for_are_refused(
    tmp_path: Path, name: str, value: np.ndarray
) -> None:
    config = {"whiten": True} if name == "scale" else {}
    path = write(tmp_path / "r.safetensors", card("pca", **config), pca_arrays() | {name: value})
    with pytest.raises(WeightsRefused, match=name):
        load(path)


@pytest.mark.parametrize("config", [{"base_dim": 2**40}, {"base_dim": True}, {"base_dim": None}])
def test_a_card_with_lengths_out_of_range_is_refused(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    path = write(tmp_path / "r.safetensors", card("pca"), pca_arrays())
    said = card("pca", **config)
    with pytest.raises(WeightsRefused):
        reductions.load(spec_from_card(said, path), path)


def test_a_model_below_that_is_missing_other_or_derived_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.safetensors", card("pca"), pca_arrays())
    with pytest.raises(ModelError, match="not on this machine"):
        Encoder.load(get(str(path)))
    write_tiny_model(tmp_path / "tiny.safetensors")
    with pytest.raises(ModelError, match="was made with"):
        Encoder.load(get(str(path)))
    write(path, card("pca", base="r.safetensors"), pca_arrays())
    with pytest.raises(WeightsRefused, match="is itself derived"):
        Encoder.load(get(str(path)))


def test_pictures_prepared_otherwise_than_for_the_model_below_are_refused(tmp_path: Path) -> None:
    from image_similarity.encoding import registry

    base = write_tiny_model(tmp_path / "tiny.safetensors")
    said = card("pca", base_fingerprint=registry.info(get(str(base))).fingerprint)
    path = write(tmp_path / "r.safetensors", said, pca_arrays())
    assert Encoder.load(get(str(path))).spec.dim == DIM
    said["preprocess"]["size"] = 64
    write(path, said, pca_arrays())
    with pytest.raises(WeightsRefused, match="prepares pictures otherwise"):
        Encoder.load(get(str(path)))


def test_what_a_file_says_of_its_making_is_plain_or_left_out(tmp_path: Path) -> None:
    said = card("pca") | {"reduction": {"kind": "pca", "deep": {"a": 1}, "long": "x" * 999}}
    path = write(tmp_path / "r.safetensors", said, pca_arrays())
    assert reductions.described(path) == {"kind": "pca"}
    for nothing in ([1], "text", None):
        write(path, said | {"reduction": nothing}, pca_arrays())
        assert reductions.described(path) == {}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["pca", "autoencoder"]))
def test_a_damaged_file_is_refused_or_reduces_to_numbers(
    tmp_path: Path, seed: int, kind: str
) -> None:
    arrays = pca_arrays() if kind == "pca" else autoencoder_arrays()
    path = write(tmp_path / f"{kind}.safetensors", card(kind), arrays)
    data, draw = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(draw.randint(1, 6)):
        match draw.randint(0, 3):
            case 0:
                data[draw.randrange(len(data))] = draw.randrange(256)
            case 1:
                del data[draw.randrange(1, len(data)) :]
            case 2:
                data += draw.randbytes(draw.randint(1, 40))
            case _:
                start = draw.randrange(len(data))
                data[start : start + 4] = b"\xff\xff\xff\x7f"
        if len(data) < 2:
            break
    path.write_bytes(data)
    try:
        said = read_card(path)
        spec: ModelSpec | None = None if said is None else spec_from_card(said, path)
        transform = None if spec is None else derived.transform_of(spec, path)
    except WeightsRefused as error:
        assert "\n" not in error.message
        return
    if transform is not None and spec is not None:
        try:
            with np.errstate(all="ignore"):
                found = transform(np.ones((2, BASE_DIM), np.float32))
        except WeightsRefused:
            return
        assert found.shape == (2, spec.dim)


@pytest.mark.parametrize(
    "base", ["", "/", "x" * 900, "a\0b", "\ud800", "C:\\Models\\none.safetensors", "/dev/zero"]
)
def test_a_model_below_that_no_file_can_be_is_missing_in_one_line(
    tmp_path: Path, base: str
) -> None:
    path = write(tmp_path / "r.safetensors", card("pca", base=base), pca_arrays())
    with pytest.raises(WeightsMissing, match="not on this machine") as error:
        derived.find_base(get(str(path)))
    assert len(error.value.message) < 600


def test_the_model_below_is_found_beside_whatever_system_wrote_its_path(tmp_path: Path) -> None:
    base = write_tiny_model(tmp_path / "tiny.safetensors")
    for said in ("C:\\Models\\tiny.safetensors", "/elsewhere/tiny.safetensors", "tiny.safetensors"):
        config = {"base": said, "base_fingerprint": info(get(str(base))).fingerprint}
        path = write(tmp_path / "r.safetensors", card("pca", **config), pca_arrays())
        assert derived.find_base(get(str(path))).weights == base


def test_a_file_of_the_same_name_in_the_current_folder_is_not_taken_for_the_model_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_tiny_model(tmp_path / "tiny.safetensors")
    config = {"base": base.name, "base_fingerprint": info(get(str(base))).fingerprint}
    path = write(tmp_path / "r.safetensors", card("pca", **config), pca_arrays())
    other = tmp_path / "other"
    other.mkdir()
    write_tiny_model(other / base.name, seed=1)
    monkeypatch.chdir(other)
    assert derived.find_base(get(str(path))).weights == base


@pytest.mark.skipif(sys.platform == "win32", reason="the path is one of POSIX")
def test_no_card_makes_the_program_look_at_another_machine(tmp_path: Path) -> None:
    base = write_tiny_model(tmp_path / "tiny.safetensors")
    away = tmp_path / "away"
    away.mkdir()
    # To Windows this is a share of a machine, to others the file itself.
    path = write(away / "r.safetensors", card("pca", base=f"/{base}"), pca_arrays())
    assert Path(f"/{base}").is_file()
    with pytest.raises(WeightsMissing):
        derived.find_base(get(str(path)))
