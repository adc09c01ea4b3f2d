"""A reduction is learned on stored vectors, says what it loses, and is a model like any other."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from image_similarity import Case
from image_similarity.analysis import reduce as reducing
from image_similarity.analysis import reduction_learning as learning
from image_similarity.analysis.reduce import recall, restoring_error
from image_similarity.encoding import reductions, registry
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.encoding.training_hashes import read_training_hashes
from image_similarity.errors import (
    DatabaseDamaged,
    ExtraMissing,
    InvalidSetting,
    UnknownModel,
    UsageError,
    WeightsChanged,
    WeightsMissing,
)
from image_similarity.pictures.prepared import decode_for
from image_similarity.settings import IndexOptions
from image_similarity.values import ReductionInfo
from tests.analysis.forty import make, vectors
from tests.tiny_model import tiny_card, tiny_state, write_tiny_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return make(tmp_path_factory.mktemp("reduce"))


@pytest.fixture
def database(made: tuple[Path, Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copyfile(made[0], tmp_path / "case.db"))


def reduced(database: Path, path: Path, **asked: object) -> ReductionInfo:
    kind = asked.pop("kind", "pca")
    with Case.open(database) as case:
        info = case.reduce(kind, path, **{"dim": 4, "model": "tiny", **asked})  # type: ignore[arg-type]
    assert info is not None
    return info


@pytest.mark.parametrize("kind", ["pca", "autoencoder"])
def test_a_new_picture_gets_the_vector_that_was_derived_for_the_stored_one(
    database: Path, made: tuple[Path, Path, Path], tmp_path: Path, kind: str
) -> None:
    info = reduced(database, tmp_path / "small.safetensors", kind=kind, epochs=3)
    with Case.open(database) as case:
        (report,) = case.derive(info.path)
    assert (report.kind, report.status, report.embedded) == ("derive", "done", 40)
    encoder = Encoder.load(registry.get(info.path))
    assert encoder.info.fingerprint == info.fingerprint
    stored = vectors(database, info.fingerprint, 4)
    assert len(stored) == 40
    for path, vector in list(stored.items())[:10]:
        data = (made[1] / path).read_bytes()
        pixels = decode_for(data, [encoder.spec.preprocess], max_pixels=10**6)[1]
        (fresh,) = encoder.encode(pixels[encoder.spec.preprocess][None]).vectors  # type: ignore[misc]
        step = np.spacing(np.abs(vector)).astype(np.float64) + 1e-6
        assert (np.abs(fresh - vector.astype(np.float64)) <= step).all()


@pytest.mark.parametrize("kind", ["pca", "autoencoder"])
def test_the_error_on_record_can_be_measured_again(
    database: Path, tmp_path: Path, kind: str
) -> None:
    info = reduced(database, tmp_path / "small.safetensors", kind=kind, epochs=3)
    spec = registry.get(info.path)
    reduction = reductions.load(spec, Path(info.path))
    every = np.stack(list(vectors(database, info.base_fingerprint, 16).values()))
    again = restoring_error(reduction, every, reduction.arrays["mean"])
    both = (info.error_learned * 36 + info.error_held_aside * 4) / 40
    assert again == pytest.approx(both, rel=0.2)
    assert 0 < info.error_learned < 1
    assert (info.learned_on, info.held_aside, info.pictures) == (36, 4, 40)
    said = reductions.described(Path(info.path))
    assert said["error_held_aside"] == info.error_held_aside
    assert said["recall"] == info.recall


def test_the_error_of_principal_axes_is_the_variance_that_they_leave_out(
    database: Path, tmp_path: Path
) -> None:
    errors = [
        reduced(database, tmp_path / f"{dim}.safetensors", dim=dim).error_learned
        for dim in (2, 8, 16)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] == pytest.approx(0, abs=1e-6)
    whole = tmp_path / "16.safetensors"
    assert reductions.described(whole)["recall"] > 0.9


def test_an_autoencoder_loses_less_than_axes_where_vectors_lie_on_a_curve() -> None:
    turn = np.random.default_rng(0).uniform(-2, 2, 900)
    curve = np.stack([turn, turn**2, np.sin(2 * turn), np.cos(turn)], axis=1).astype(np.float16)
    heard = {"seed": 1, "on_event": lambda event: None, "stop": lambda: False}
    axes = learning.learn_pca(curve[100:], 1, whiten=False, **heard)  # type: ignore[arg-type]
    net, epoch = learning.learn_autoencoder(
        curve[100:],
        curve[:100],
        1,
        unit=False,
        epochs=40,
        **heard,  # type: ignore[arg-type]
    )
    lost = [restoring_error(each, curve[:100], axes.arrays["mean"]) for each in (axes, net)]
    assert lost[1] < 0.9 * lost[0]
    assert 1 <= epoch <= 40


@pytest.mark.parametrize("kind", ["pca", "autoencoder"])
def test_the_same_database_and_seed_give_the_same_file(
    database: Path, tmp_path: Path, kind: str
) -> None:
    one, two = tmp_path / "a" / "x.safetensors", tmp_path / "b" / "x.safetensors"
    for path in (one, two):
        path.parent.mkdir()
        reduced(database, path, kind=kind, epochs=2, seed=3)
    assert one.read_bytes() == two.read_bytes()
    three = reduced(database, tmp_path / "x.safetensors", kind=kind, epochs=2, seed=4)
    assert three.fingerprint != registry.info(registry.get(str(one))).fingerprint


def test_whitened_coordinates_vary_alike(database: Path, tmp_path: Path) -> None:
    info = reduced(database, tmp_path / "white.safetensors", whiten=True)
    every = np.stack(list(vectors(database, info.base_fingerprint, 16).values()))
    codes = reductions.load(registry.get(info.path), Path(info.path)).reduce(every.astype("f4"))
    assert np.allclose(codes.std(axis=0), 1, atol=0.3)


def test_vectors_that_do_not_vary_enough_are_not_whitened() -> None:
    flat = np.zeros((50, 6), np.float16)
    flat[:, :2] = np.random.default_rng(0).standard_normal((50, 2))
    with pytest.raises(InvalidSetting, match="along 2 axes only: 4 cannot be whitened") as caught:
        learning.learn_pca(
            flat, 4, whiten=True, seed=1, on_event=lambda event: None, stop=lambda: False
        )
    assert caught.value.hint == "--dim 2, or without --whiten"


def test_many_vectors_are_learned_block_by_block_with_the_same_axes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    many = (random.standard_normal((5_000, 12)) * 0.7 ** np.arange(12)).astype(np.float16)
    given = {"whiten": False, "seed": 1, "on_event": lambda event: None, "stop": lambda: False}
    exact = learning.learn_pca(many, 3, **given)  # type: ignore[arg-type]
    monkeypatch.setattr(learning, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(learning, "BLOCK", 512)
    blocks = learning.learn_pca(many, 3, **given)  # type: ignore[arg-type]
    cosines = np.abs((exact.arrays["components"] * blocks.arrays["components"]).sum(axis=1))
    assert (cosines > 0.99).all()
    assert np.allclose(exact.arrays["mean"], blocks.arrays["mean"], atol=1e-3)


def test_of_more_vectors_than_memory_should_hold_a_sample_is_learned_on(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reducing, "SAMPLE_BYTES", 20 * 32)
    info = reduced(database, tmp_path / "small.safetensors")
    assert (info.pictures, info.learned_on, info.held_aside) == (40, 16, 4)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"dim": 17}, "17 dimensions of vectors that have 16"),
        ({"dim": 0}, "0 dimensions"),
        ({"epochs": 0}, "0 epochs"),
        ({"kind": "autoencoder", "whiten": True}, "only principal axes are whitened"),
    ],
)
def test_settings_without_sense_are_refused_and_nothing_is_written(
    database: Path, tmp_path: Path, asked: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidSetting, match=told):
        reduced(database, tmp_path / "small.safetensors", **asked)
    assert [each.name for each in tmp_path.iterdir()] == ["case.db"]


def test_more_dimensions_than_pictures_are_refused(tmp_path: Path) -> None:
    database, _, _ = make(tmp_path, pictures=8)
    with pytest.raises(
        InvalidSetting, match="12 dimensions cannot be learned from 8 pictures, of which 1"
    ) as caught:
        reduced(database, tmp_path / "small.safetensors", dim=12)
    assert caught.value.hint.startswith("--dim 6 at most")
    assert reduced(database, tmp_path / "small.safetensors", dim=6).dim == 6


def test_only_an_earlier_reduction_is_replaced_and_only_when_asked(
    database: Path, tmp_path: Path
) -> None:
    target = tmp_path / "small.safetensors"
    assert reduced(database, target).dim == 4
    with pytest.raises(UsageError, match="exists already"):
        reduced(database, target, dim=3)
    assert reduced(database, target, dim=3, force=True).dim == 3
    target.write_bytes(b"something dear")
    with pytest.raises(UsageError, match="exists already"):
        reduced(database, target)
    with pytest.raises(UsageError, match="was not written by this command, and is not replaced"):
        reduced(database, target, force=True)
    assert target.read_bytes() == b"something dear"


def test_the_model_below_is_never_replaced_by_its_reduction(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    base = Path(shutil.copyfile(made[2], tmp_path / "base.safetensors"))
    with Case.open(tmp_path / "own.db") as case:
        case.index(made[1], options=IndexOptions(models=(str(base),)))
    with pytest.raises(UsageError, match="was not written by this command, and is not replaced"):
        reduced(tmp_path / "own.db", base, force=True)
    assert base.read_bytes() == made[2].read_bytes()


def test_a_file_that_could_not_be_written_in_the_end_is_refused_at_once(
    made: tuple[Path, Path, Path], database: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSetting, match="must end in"):
        reduced(database, tmp_path / "small.pth")
    with pytest.raises(UsageError, match=r"The folder of .* does not exist"):
        reduced(database, tmp_path / "none" / "small.safetensors")
    with pytest.raises(UsageError, match="would be written into the indexed folder"):
        reduced(database, made[1] / "small.safetensors")


def test_a_model_that_is_not_held_and_one_that_is_derived_are_refused(
    database: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnknownModel, match="holds no vectors of nobody"):
        reduced(database, tmp_path / "small.safetensors", model="nobody")
    info = reduced(database, tmp_path / "small.safetensors")
    with Case.open(database) as case:
        case.derive(info.path)
    with pytest.raises(InvalidSetting, match="small is itself derived"):
        reduced(database, tmp_path / "smaller.safetensors", model="small", dim=2)


@pytest.mark.parametrize("kind", ["pca", "autoencoder"])
@pytest.mark.parametrize("questions", [0, 1, 3])
def test_who_stops_leaves_no_file(
    database: Path, tmp_path: Path, kind: str, questions: int
) -> None:
    asked = iter(range(1_000))
    with Case.open(database) as case:
        info = case.reduce(
            kind,  # type: ignore[arg-type]
            tmp_path / "small.safetensors",
            dim=4,
            stop=lambda: next(asked) >= questions,
        )
    if kind == "autoencoder" or questions == 0:
        assert info is None
        assert [each.name for each in tmp_path.iterdir()] == ["case.db"]


def test_without_scikit_learn_the_extra_is_named(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(ExtraMissing) as caught:
        reduced(database, tmp_path / "small.safetensors")
    assert caught.value.hint == 'pip install "image_similarity[analysis]"'


def test_the_file_is_checked_by_the_golden_pictures_and_names_what_taught_it(
    database: Path, tmp_path: Path
) -> None:
    from image_similarity import golden

    info = reduced(database, tmp_path / "small.safetensors")
    assert golden.check(Encoder.load(registry.get(info.path))) == 5
    hashes = read_training_hashes(Path(info.path))
    assert hashes is not None
    assert hashes.shape == (40, 8)


def test_the_model_below_is_found_beside_the_file_and_held_to_its_fingerprint(
    tmp_path: Path,
) -> None:
    (tmp_path / "there").mkdir()
    database, _, model = make(tmp_path / "there")
    here = tmp_path / "here"
    here.mkdir()
    info = reduced(database, here / "small.safetensors")
    model.rename(here / "elsewhere.safetensors")
    with pytest.raises(WeightsMissing, match=r"tiny\.safetensors, which is not on this machine"):
        Encoder.load(registry.get(info.path))
    (here / "elsewhere.safetensors").rename(here / "tiny.safetensors")
    assert Encoder.load(registry.get(info.path)).spec.dim == 4
    write_tiny_model(here / "tiny.safetensors", seed=5)
    with pytest.raises(WeightsChanged, match="'small' was made with"):
        Encoder.load(registry.get(info.path))


def test_the_file_that_was_written_is_in_the_audit_chain(database: Path, tmp_path: Path) -> None:
    info = reduced(database, tmp_path / "small.safetensors")
    with Case.open(database, read_only=True) as case:
        (entry,) = case.audit(1)
    assert entry.action == "export"
    assert info.fingerprint in entry.detail


def test_a_stored_vector_that_is_no_number_is_told(database: Path, tmp_path: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE embedding SET vector = ? WHERE image_id = 7", (b"\0\x7e" * 16,))
    connection.close()
    with pytest.raises(DatabaseDamaged, match="some stored vectors are not numbers"):
        reduced(database, tmp_path / "small.safetensors")


def test_a_file_that_has_the_name_of_a_registered_model_is_found_by_its_path(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    card = tiny_card() | {"name": "torchvision/resnet50"}
    model = tmp_path / "own.safetensors"
    save_file(tiny_state(), model, metadata={"card": json.dumps(card)})
    database = tmp_path / "own.db"
    with Case.open(database) as case:
        case.index(made[1], options=IndexOptions(models=(str(model),)))
    info = reduced(database, tmp_path / "small.safetensors", model=None)
    assert registry.get(info.path).config["base"] == str(model)


def test_a_model_that_was_given_its_weights_by_name_is_found_again(
    made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a file says nothing of itself: the card keeps the name, and where the weights lie."""
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path / "empty"))
    torch.manual_seed(0)
    weights = tmp_path / "mine.pth"
    torch.save(import_torchvision().models.resnet18(weights=None).state_dict(), weights)
    name = "torchvision/resnet18"
    database = tmp_path / "own.db"
    options = IndexOptions(models=(name,), weights=weights, scenes=None)
    with Case.open(database) as case:
        case.index(made[1], options=options)
    info = reduced(database, tmp_path / "small.safetensors", model=None)
    config = registry.get(info.path).config
    assert (config["base"], config["base_weights"]) == (name, str(weights))
    assert Encoder.load(registry.get(info.path), device="cpu").info.fingerprint == info.fingerprint
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in (weights, Path(info.path)):
        shutil.move(file, elsewhere / file.name)
    moved = registry.get(str(elsewhere / "small.safetensors"))
    assert Encoder.load(moved, device="cpu").info.fingerprint == info.fingerprint


@pytest.mark.parametrize("kind", ["pca", "autoencoder"])
def test_raw_features_stay_raw(made: tuple[Path, Path, Path], tmp_path: Path, kind: str) -> None:
    card = tiny_card() | {"normalisation": "none", "name": "raw"}
    model = tmp_path / "raw.safetensors"
    save_file(tiny_state(), model, metadata={"card": json.dumps(card)})
    database = tmp_path / "raw.db"
    with Case.open(database) as case:
        case.index(made[1], options=IndexOptions(models=(str(model),)))
    info = reduced(database, tmp_path / "small.safetensors", model="raw", kind=kind, epochs=3)
    spec = registry.get(info.path)
    assert (spec.normalisation, spec.metric) == ("none", "euclidean")
    with Case.open(database) as case:
        case.derive(info.path)
        query = made[1] / "p03.png"
        (hit,) = case.search(query, model="small", k=1, scene="off").hits
    stored = vectors(database, info.fingerprint, 4)
    away = np.linalg.norm(stored["p03.png"].astype("f4") - stored[hit.place.path].astype("f4"))
    assert hit.distance == pytest.approx(float(away), rel=1e-3)


def test_recall_counts_the_nearest_that_stay() -> None:
    full = np.arange(24, dtype=np.float16)[:, None]
    assert recall(full, full, 24) == 1
    assert recall(full, full[::-1], 24) == 1
    assert recall(full[:3], np.array([[0], [2], [1]], np.float16), 3) == 1
    far = np.array([[0], [1], [2], [30], [31], [32]] * 3, np.float16)
    assert recall(far, np.random.default_rng(1).permutation(far), 18) < 1
