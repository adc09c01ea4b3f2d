"""Listings, the held-out split, batches and augmentation are what the training relies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from image_similarity.training.augment import Augmentation, augment, crop
from image_similarity.training.batches import epoch_batches
from image_similarity.training.data import (
    Listing,
    choose_heldout,
    open_picture_cache,
    read_listing,
    read_scene_names,
    split_heldout,
)
from image_similarity.training.probe import teach_probe

HELDOUT = Path(__file__).parents[2] / "scripts" / "builtin_heldout.txt"


def sample_listing() -> Listing:
    labels = np.repeat(np.arange(5, dtype=np.int64), 20)
    return Listing(tuple(f"train/{row:04d}.webp" for row in range(100)), labels)


def test_lists_are_read_with_their_class_numbers(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("train/a/abbey/1 .webp 0\ntrain/b/bakery/shop/2.webp 10\n")
    listing = read_listing(path)
    assert listing.names == ("train/a/abbey/1 .webp", "train/b/bakery/shop/2.webp")
    assert listing.labels.tolist() == [0, 10]


def test_scene_names_are_plain_words_in_class_order(tmp_path: Path) -> None:
    path = tmp_path / "categories.txt"
    path.write_text("/b/bakery/shop 1\n/a/art_gallery 0\n")
    assert read_scene_names(path) == ("art gallery", "bakery shop")


def test_scene_numbers_with_a_gap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "categories.txt"
    path.write_text("/a/abbey 0\n/b/bar 2\n")
    with pytest.raises(ValueError, match="class numbers"):
        read_scene_names(path)


def test_held_out_pictures_are_never_trained_on() -> None:
    listing = sample_listing()
    heldout = choose_heldout(listing, per_scene=3, seed=1)
    rows, kept = split_heldout(listing, heldout)
    assert len(rows) == 85 and len(kept) == 15
    assert set(rows.tolist()).isdisjoint(kept.tolist())
    assert np.bincount(listing.labels[kept]).tolist() == [3] * 5
    assert choose_heldout(listing, per_scene=3, seed=1) == heldout


def test_a_held_out_name_that_is_not_listed_stops_the_training() -> None:
    with pytest.raises(ValueError, match="not in the listing"):
        split_heldout(sample_listing(), ["train/9999.webp"])


def test_the_committed_held_out_list_has_thirty_training_pictures_of_each_scene() -> None:
    names = HELDOUT.read_text(encoding="utf-8").split("\n")[:-1]
    scenes = [name.rsplit("/", 1)[0] for name in names]
    assert len(names) == len(set(names)) == 3000
    assert {scenes.count(scene) for scene in set(scenes)} == {30}
    assert all(name.startswith("train/") for name in names)


def test_pictures_are_decoded_once_and_squashed_whole(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32), (10, 200, 30)).save(tmp_path / "a.png")
    Image.new("L", (16, 16), 77).save(tmp_path / "b.png")
    cache = tmp_path / "cache" / "pictures.npy"
    pictures = open_picture_cache(tmp_path, ["a.png", "b.png"], cache, size=16, workers=1)
    assert pictures.shape == (2, 16, 16, 3) and pictures.dtype == np.uint8
    assert pictures[0, 8, 8].tolist() == [10, 200, 30]
    assert pictures[1, 8, 8].tolist() == [77, 77, 77]
    (tmp_path / "a.png").unlink()
    again = open_picture_cache(tmp_path, ["a.png", "b.png"], cache, size=16, workers=1)
    assert np.array_equal(pictures, again)


def test_batches_hold_groups_of_scenes_and_end_with_second_views() -> None:
    listing = sample_listing()
    rows = np.arange(10, 100, dtype=np.int64)
    batches = epoch_batches(
        listing.labels, rows, scenes_per_batch=3, pictures_per_scene=4, second_views=2, seed=1
    )
    drawn = np.concatenate([batch[:12] for batch in batches])
    assert len(set(drawn.tolist())) == len(drawn)
    assert set(drawn.tolist()) <= set(rows.tolist())
    for batch in batches:
        assert batch[12:].tolist() == batch[:2].tolist()
        assert (np.bincount(listing.labels[batch[:12]]) % 4 == 0).all()


def test_augmentation_gives_pictures_in_range_and_depends_on_its_seed_only() -> None:
    pictures = torch.randint(0, 256, (12, 40, 40, 3), dtype=torch.uint8)
    how = Augmentation(blur_chance=0.5, box_chance=0.5, rotation_chance=0.5, grey_chance=0.3)
    first, second, third = (
        augment(pictures, 32, torch.Generator().manual_seed(seed), how) for seed in (1, 1, 2)
    )
    assert first.shape == (12, 3, 32, 32) and first.dtype == torch.float32
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_augmentation_can_be_switched_off() -> None:
    images = torch.rand(3, 3, 16, 16)
    off = Augmentation(min_area=1.0, max_aspect=1.0, rotation_chance=0, flip_chance=0)
    assert torch.allclose(crop(images, 16, torch.Generator(), off), images, atol=1e-5)


def test_the_probe_learns_scenes_from_features() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = np.repeat(np.arange(4, dtype=np.int64), 50)
    centres = torch.randn(4, 16, generator=generator)
    own = torch.randn(200, 16, generator=generator)
    features = torch.nn.functional.normalize(centres[labels] + 0.3 * own, dim=1)
    rows = np.arange(0, 200, 2, dtype=np.int64)
    logits = teach_probe(features, labels, rows, epochs=30)
    assert float((logits.argmax(dim=1).numpy() == labels)[1::2].mean()) > 0.9
