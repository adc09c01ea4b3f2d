"""The earlier system's way to index and to search, written anew to be measured against; nothing else uses it.

What was published in 2020 under the same name: a DeepRanking network of 63 million weights, a scene
network (ResNet-18, 365 scenes) that is built and loaded from its file for every single picture,
embeddings as JSON text in a table without an index, and a search that compares lists of numbers in
a Python loop. Network and loop follow it step by step. In its favour: torch instead of Keras 2.3,
Pillow's resize instead of one in float64, and the DeepRanking network is loaded before the clock
starts. The weights are random, which costs the same time as trained ones.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from benchmark import ROOT  # noqa: F401 - makes the package importable
from PIL import Image
from torch import Tensor, nn

from image_similarity.encoding.torchvision_import import import_torchvision

SCHEMA = (
    "CREATE TABLE metadata (imageId INTEGER PRIMARY KEY AUTOINCREMENT,"
    " image_path TEXT, embedding TEXT, scene_type TEXT)"
)
INSERT = "INSERT INTO metadata (image_path, embedding, scene_type) VALUES (?, ?, ?)"
SCENES = 365
DIMENSIONS = 4096
# What Keras's `predict` takes at once unless told otherwise.
BATCH = 32
STAGES = ("decode and resize", "DeepRanking network", "scene network", "JSON and write")


class DeepRanking(nn.Module):
    """VGG-16 and two shallow paths of large strides, joined into 4096 numbers of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = import_torchvision().models.vgg16(weights=None, init_weights=False).features
        self.deep = nn.Sequential(
            nn.Linear(512, DIMENSIONS), nn.ReLU(), nn.Linear(DIMENSIONS, DIMENSIONS), nn.ReLU()
        )
        self.first = nn.Conv2d(3, 96, 8, stride=16)
        self.second = nn.Conv2d(3, 96, 8, stride=32)
        self.joined = nn.Linear(2 * 1536 + DIMENSIONS, DIMENSIONS)

    def forward(self, pictures: Tensor) -> Tensor:
        deep = self.deep(self.trunk(pictures).mean(dim=(2, 3)))
        first = F.max_pool2d(self.first(pictures), 3, 4, ceil_mode=True)
        second = F.max_pool2d(self.second(pictures), 7, 2, padding=3)
        parts = [F.normalize(part.flatten(1), dim=1) for part in (first, second, deep)]
        return F.normalize(self.joined(torch.cat(parts, dim=1)), dim=1)


def new_scene_network() -> nn.Module:
    """Return a ResNet-18 for 365 scenes with random weights."""
    network: nn.Module = import_torchvision().models.resnet18(weights=None, num_classes=SCENES)
    return network.eval()


def write_weights(network: nn.Module, path: Path) -> Path:
    """Write a network's weights as such files are published."""
    torch.save({"state_dict": network.state_dict()}, path)
    return path


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Fill a network from its file."""
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict(state)
    return network.eval()


def scene_of(picture: Path, weights: Path) -> str:
    """Name the scene of a picture, building and loading the network for it, as was done each time."""
    network = load_weights(new_scene_network(), weights)
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR))
    values = torch.from_numpy(pixels[16:240, 16:240].astype(np.float32) / 255).permute(2, 0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        logits = network(((values - mean[:, None, None]) / std[:, None, None])[None])
    return f"scene-{int(logits.argmax())}"


def read_pixels(picture: Path) -> np.ndarray:
    """Return the picture squeezed to 224 x 224, in [0, 1]."""
    with Image.open(picture) as image:
        small = image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.float64) / 255


def embed(network: nn.Module, pixels: np.ndarray) -> list[list[float]]:
    """Return the embeddings as lists of Python floats."""
    with torch.inference_mode():
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        vectors: list[list[float]] = network(batch).tolist()
    return vectors


def index(
    pictures: Sequence[Path], database: Path, network: nn.Module, scene_weights: Path, batch: int
) -> dict[str, float]:
    """Index pictures into a new database and return the seconds that each stage took."""
    marks = [time.perf_counter()]
    pixels = np.stack([read_pixels(picture) for picture in pictures])
    marks.append(time.perf_counter())
    vectors: list[list[float]] = []
    for start in range(0, len(pictures), batch):
        vectors += embed(network, pixels[start : start + batch])
    marks.append(time.perf_counter())
    scenes = [scene_of(picture, scene_weights) for picture in pictures]
    marks.append(time.perf_counter())
    write(database, zip(map(str, pictures), vectors, scenes, strict=True))
    marks.append(time.perf_counter())
    return {stage: marks[i + 1] - marks[i] for i, stage in enumerate(STAGES)}


def write(database: Path, rows: Iterable[tuple[str, list[float], str]]) -> None:
    """Write (path, embedding, scene) rows into a new database."""
    connection = sqlite3.connect(database)
    connection.execute(SCHEMA)
    connection.executemany(
        INSERT, ((path, json.dumps(vector), scene) for path, vector, scene in rows)
    )
    connection.commit()
    connection.close()


def search(database: Path, picture: str, scene: str, k: int) -> list[tuple[float, str]]:
    """Return the k nearest (distance, path) of a stored picture among those of one scene."""
    connection = sqlite3.connect(database)
    rows: list[Any] = connection.execute(
        "SELECT * FROM metadata WHERE scene_type = (?)", (scene,)
    ).fetchall()
    connection.close()
    vectors = {path: json.loads(text) for _, path, text, _ in rows}
    query = vectors.pop(picture)
    distances = {}
    for path, vector in vectors.items():
        distances[path] = sum([(query[i] - vector[i]) ** 2 for i in range(len(query))]) ** 0.5
    return heapq.nsmallest(k, [(distance, path) for path, distance in distances.items()])
