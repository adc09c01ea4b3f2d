"""Other ways to index, and a bare walk, for bench_index.py to measure against.

The CLIP pipeline is what the closest peers do (rclip, for one): open, scale and cut each picture in
full, batches of 8 through CLIP's ViT-B/32 in torch, as it comes. torchvision's ViT-B/32 stands for
it: the same transformer, with random weights, which costs the same time as trained ones.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark import ROOT  # noqa: F401 - makes the package importable
from PIL import Image

from image_similarity.encoding.torchvision_import import import_torchvision

CLIP_SIDE = 224
CLIP_BATCH = 8
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def new_clip_network() -> Any:
    """Return the image half of a CLIP ViT-B/32: a transformer of 88 million weights, all random."""
    return import_torchvision().models.vit_b_32(weights=None).eval()


def clip_pixels(picture: Path) -> np.ndarray:
    """Return the picture as CLIP prepares it: short side 224, bicubic, the middle square, normalised."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    scale = CLIP_SIDE / min(image.size)
    width, height = (max(CLIP_SIDE, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - CLIP_SIDE) // 2, (height - CLIP_SIDE) // 2
    image = image.crop((left, top, left + CLIP_SIDE, top + CLIP_SIDE))
    values = np.asarray(image, np.float32) / 255
    return (values - np.float32(MEAN)) / np.float32(STD)


def clip_index(pictures: Sequence[Path], network: Any) -> np.ndarray:
    """Return the unit vectors of pictures, one batch after the other."""
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(pictures), CLIP_BATCH):
            block = np.stack([clip_pixels(each) for each in pictures[start : start + CLIP_BATCH]])
            found = network(torch.from_numpy(block).permute(0, 3, 1, 2))
            vectors.append(torch.nn.functional.normalize(found, dim=1).numpy())
    return np.concatenate(vectors)


def bare_walk(folder: str) -> int:
    """Return the number of files below a folder, each of which was examined; the least that any re-scan does."""
    count, folders = 0, [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count
