"""Batches adapt to the memory there is: nothing dropped, nothing twice, and no vector that depends on its batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_similarity.encoding.encoder import OutOfMemory
from image_similarity.events import Notice
from image_similarity.indexing import batches
from tests.indexing.desk import Desk, Misbehaving, digest_of, same_vectors
from tests.tiny_model import write_tiny_model

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location")


def at_most(size: int) -> Callable[[np.ndarray], None]:
    def rule(batch: np.ndarray) -> None:
        if len(batch) > size:
            raise OutOfMemory(f"{len(batch)} pictures")

    return rule


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_out_of_memory_halves_the_batch_and_loses_or_doubles_nothing(
    desk: Desk, tmp_path: Path, tiny_model: Path, network: Callable[..., Misbehaving], limit: int
) -> None:
    calm = Desk(tmp_path / "calm", tiny_model)
    calm.put_many(13)
    calm.index(batch_size=13)
    desk.put_many(13)
    narrow = network(at_most(limit))
    notices: list[str] = []
    report = desk.index(
        batch_size=8,
        on_event=lambda event: notices.append(event.text) if isinstance(event, Notice) else None,
    )
    assert (report.status, report.new, report.embedded) == ("done", 13, 13)
    assert desk.essence() == calm.essence()
    assert same_vectors(desk.vectors(), calm.vectors())
    assert sum(size for size in narrow.batches if size <= limit) == 13
    assert len(notices) >= 1


def test_a_batch_grows_again_after_calm_and_never_beyond_the_largest() -> None:
    size = batches.BatchSize(8)
    assert size.shrink()
    for _ in range(10 * batches.CALM_BATCHES):
        size.went_well()
    assert size.size == 8


def test_a_single_picture_too_large_for_the_memory_is_a_failure_of_stage_embed(
    desk: Desk, network: Callable[..., Misbehaving]
) -> None:
    pictures = desk.put_many(5)
    dark = desk.put("dark.png", seed=77)
    from image_similarity.pictures.prepared import decode_for

    marker = _pixels(decode_for, desk, dark)

    def rule(batch: np.ndarray) -> None:
        if any(np.array_equal(row, marker) for row in batch):
            raise OutOfMemory("too large")

    network(rule)
    report = desk.index(batch_size=6)
    assert (report.status, report.new, report.failed) == ("partial", 5, 1)
    assert desk.failures() == {"dark.png": ("embed", "OutOfMemory")}
    assert set(desk.live()) == {picture.name for picture in pictures}
    assert desk.count("image") == desk.count("embedding") == 5


def _pixels(decode_for: Callable[..., Any], desk: Desk, picture: Path) -> np.ndarray:
    from image_similarity.encoding import registry

    wanted = registry.get(str(desk.model)).preprocess
    _, pixels = decode_for(picture.read_bytes(), {wanted}, max_pixels=10**6)
    return np.asarray(pixels[wanted])


def not_finite(row: int) -> Callable[..., Any]:
    """Let one row of the first batch be NaN."""
    done: list[bool] = []

    def change(batch: np.ndarray, encoded: Any) -> Any:
        if done:
            return encoded
        done.append(True)
        finite = np.ones(len(batch), bool)
        finite[row] = False
        vectors = encoded.vectors.copy()
        vectors[row] = np.nan
        return replace(encoded, vectors=vectors, finite=finite)

    return change


def test_a_vector_that_is_not_finite_is_a_failure_and_not_stored(
    desk: Desk, network: Callable[..., Misbehaving]
) -> None:
    pictures = desk.put_many(4)
    desk.put("copy.png", seed=1)
    network(lambda batch: None, not_finite(1))
    # In the order of the walk copy.png stands before its equal, so row 1 is picture-000.
    report = desk.index(batch_size=8)
    assert (report.new, report.duplicate, report.failed) == (3, 1, 1)
    assert desk.failures() == {"picture-000.png": ("embed", "NotFinite")}
    assert digest_of(pictures[0]) not in {sha for _, sha in desk.vectors()}
    assert all(np.isfinite(vector).all() for vector in desk.vectors().values())
    desk.check()


def test_every_place_of_a_content_that_cannot_be_encoded_is_a_failure(
    desk: Desk, network: Callable[..., Misbehaving]
) -> None:
    desk.put("a.png", seed=1)
    desk.put("b.png", seed=1)
    desk.put("c.png", seed=2)
    network(lambda batch: None, not_finite(0))
    report = desk.index()
    assert (report.new, report.failed, set(desk.failures())) == (1, 2, {"a.png", "b.png"})
    report = desk.index(retry_failed=True)
    assert (report.new, report.duplicate, report.failed) == (1, 1, 0)


def test_a_content_that_one_of_two_models_refuses_is_stored_for_neither_and_harms_no_other(
    desk: Desk, tmp_path: Path, network: Callable[..., Misbehaving]
) -> None:
    later = write_tiny_model(tmp_path / "later.safetensors", seed=5)
    desk.put_many(4)
    network(lambda batch: None, not_finite(2), later)
    report = desk.index(models=(str(desk.model), str(later)))
    assert (report.new, report.failed, set(desk.failures())) == (3, 1, {"picture-002.png"})
    assert (desk.count("embedding"), len(desk.labels())) == (6, 3)
    desk.check()


def test_a_later_model_that_refuses_a_picture_leaves_its_place_and_its_earlier_vector(
    desk: Desk, tmp_path: Path, network: Callable[..., Misbehaving]
) -> None:
    later = write_tiny_model(tmp_path / "later.safetensors", seed=5)
    pictures = desk.put_many(4)
    desk.index()
    before = desk.live()
    network(lambda batch: None, not_finite(2), later)
    report = desk.index(models=(str(later),), scenes=None)
    assert (report.new, report.failed, desk.live()) == (3, 1, before)
    assert len(desk.find(pictures[2], model="tiny@" + fingerprint(desk.model))) == 3


def fingerprint(model: Path) -> str:
    from image_similarity.encoding import registry

    return registry.info(registry.get(str(model))).fingerprint


@pytest.mark.usefixtures("an_hour_is_young")
def test_a_young_picture_that_the_network_refused_is_tried_again(
    desk: Desk, network: Callable[..., Misbehaving]
) -> None:
    picture = desk.put("young.png", seed=1)
    desk.put("old.png", seed=2)
    os.utime(picture)
    network(lambda batch: None, not_finite(1))
    assert desk.index().failed == 1
    assert (desk.index().failed, len(desk.live())) == (0, 2)


def test_different_batch_sizes_and_workers_give_the_same_database(
    desk: Desk, tmp_path: Path, tiny_model: Path
) -> None:
    others = [Desk(tmp_path / f"other-{n}", tiny_model) for n in range(2)]
    for each in (desk, *others):
        each.put_many(9)
        each.put("again.png", seed=3)
        each.corrupt("broken.jpg")
    desk.index(batch_size=1, workers=1)
    for each, size in zip(others, (4, 64), strict=True):
        each.index(batch_size=size, workers=3)
        assert each.essence() == desk.essence()
        assert same_vectors(each.vectors(), desk.vectors())


def test_two_models_in_one_database_never_mix(desk: Desk, tmp_path: Path, tiny_model: Path) -> None:
    other_model = write_tiny_model(tmp_path / "other.safetensors", seed=5)
    wide_model = write_tiny_model(tmp_path / "wide.safetensors", dim=24, scenes=(), seed=6)
    every = (str(tiny_model), str(other_model), str(wide_model))
    desk.put_many(5)
    report = desk.index(models=every)
    assert (report.new, report.embedded, desk.count("embedding")) == (5, 5, 15)
    together = desk.vectors()
    for number, model in enumerate(every):
        alone = Desk(tmp_path / f"alone-{number}", tiny_model)
        alone.put_many(5)
        alone.index(models=(model,), scenes=None, batch_size=2)
        (fingerprint,) = {model for model, _ in alone.vectors()}
        of_model = {key: vector for key, vector in together.items() if key[0] == fingerprint}
        assert same_vectors(of_model, alone.vectors())


def test_a_model_added_later_decodes_again_and_keeps_every_place(
    desk: Desk, tmp_path: Path, tiny_model: Path
) -> None:
    later = str(write_tiny_model(tmp_path / "later.safetensors", seed=5))
    desk.put_many(4)
    desk.put("copy.png", seed=1)
    desk.index()
    before, files = desk.vectors(), desk.tables()["file"]
    report = desk.index(models=(later,), scenes=None)
    assert (report.new, report.unchanged, report.gone) == (4, 1, 0)
    assert desk.tables()["file"] == files
    after = desk.vectors()
    assert {key: after[key].tobytes() for key in before} == {
        key: vector.tobytes() for key, vector in before.items()
    }
    assert len(after) == 8
    report = desk.index(models=(str(tiny_model), later))
    assert (report.unchanged, report.bytes_read) == (5, 0)


def test_scenes_asked_for_later_are_added_without_a_second_vector(desk: Desk) -> None:
    desk.put_many(3)
    desk.index(scenes=None)
    assert (desk.count("image_scene"), desk.count("embedding")) == (0, 3)
    desk.index()
    assert (len(desk.labels()), desk.count("embedding")) == (3, 3)
