"""Listings, the held-out split, batches and augmentation are what the training relies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from image_similarity.training.augment import (
    Augmentation,
    augment,
    compress,
    crop,
    disguise,
    perspective_grid,
    reframe,
)
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
    off = Augmentation(max_aspect=1.0, rotation_chance=0, flip_chance=0)
    whole = crop(images, 16, torch.Generator(), off, min_area=torch.ones(3))
    assert torch.allclose(whole, images, atol=1e-5)


def test_only_the_named_rows_are_disguised() -> None:
    images = torch.rand(6, 3, 32, 32)
    named = torch.tensor([True, False, True, False, True, False])
    how = Augmentation(disguise_chance=1.0)
    edited = disguise(images, named, torch.Generator().manual_seed(3), how)
    changed = (edited != images).flatten(1).any(dim=1)
    assert torch.equal(changed, named)
    assert float(edited.min()) >= 0 and float(edited.max()) <= 1


def test_a_reframed_picture_is_smaller_and_whole() -> None:
    images = torch.zeros(2, 3, 64, 64)
    images[0] = 1
    generator = torch.Generator().manual_seed(1)
    shares = [
        float(reframe(images, torch.tensor([0]), generator)[0, 0].ge(0.999).float().mean())
        for _ in range(20)
    ]
    # 1.1 to 1.9 times smaller, its corners up to an eighth of a side aside; before black or a colour.
    assert all(0.15 < share < 0.98 for share in shares)


def test_a_perspective_that_moves_no_corner_changes_nothing() -> None:
    corners = torch.tensor([[[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]])
    straight = torch.nn.functional.affine_grid(
        torch.eye(2, 3).unsqueeze(0), [1, 1, 8, 8], align_corners=False
    )
    assert torch.allclose(perspective_grid(corners, 8), straight, atol=1e-6)


def test_compression_keeps_flat_areas_nearly_and_loses_faint_detail() -> None:
    flat = torch.full((1, 3, 16, 16), 0.5)
    noise = 0.5 + 0.03 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    rows, generator = torch.tensor([0]), torch.Generator().manual_seed(5)
    kept, lost = (compress(images, rows, generator) for images in (flat, noise))
    assert float((kept - flat).abs().max()) < 0.03
    assert float(lost.std()) < 0.8 * float(noise.std())


def test_the_probe_learns_scenes_from_features() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = np.repeat(np.arange(4, dtype=np.int64), 50)
    centres = torch.randn(4, 16, generator=generator)
    own = torch.randn(200, 16, generator=generator)
    features = torch.nn.functional.normalize(centres[labels] + 0.3 * own, dim=1)
    rows = np.arange(0, 200, 2, dtype=np.int64)
    logits = teach_probe(features, labels, rows, epochs=30)(features)
    assert float((logits.argmax(dim=1).numpy() == labels)[1::2].mean()) > 0.9
