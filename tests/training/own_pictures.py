"""Folders of small pictures that a model can learn to group, and models that train in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.training.export import write_model
from tests.tiny_model import tiny_card

SIDE = 48


def draw_place(place: int, number: int) -> Image.Image:
    """Return a picture of a place: what tells the place is one colour among patches that tell nothing."""
    generator = np.random.default_rng([place, number])
    pixels = generator.integers(0, 256, (6, 6, 3)).repeat(8, axis=0).repeat(8, axis=1)
    own = np.random.default_rng(place).integers(0, 256, 3)
    pixels[8:24, 8:32] = own
    return Image.fromarray(pixels.astype(np.uint8))


def make_places(root: Path, *, places: int = 10, each: int = 4) -> Path:
    """Write `each` pictures of each place into a folder of its own below `root`."""
    for place in range(places):
        folder = root / f"place-{place:02d}"
        folder.mkdir(parents=True)
        for number in range(each):
            draw_place(place, number).save(folder / f"{number}.png")
    return root


def write_small_multiscale(path: Path, *, scenes: int = 4) -> Path:
    """Write an untrained multiscale network of 32 x 32 pixels with its card."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = MultiscaleNet("regnet_x_400mf", dim=16, scenes=scenes, shallow_channels=8)
    card = tiny_card(16)
    card |= {
        "name": "small",
        "architecture": "multiscale/regnet_x_400mf",
        "config": dict(network.config),
        "layer": "joint embedding",
    }
    write_model(path, network, card)
    return path
