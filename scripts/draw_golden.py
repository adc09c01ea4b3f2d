"""Draw the pictures of the golden record, by code alone, into image_similarity/golden/.

    python scripts/draw_golden.py

Run once: the files are kept, because another version of an encoder may write other bytes, and a
golden record in a model's card holds for these bytes only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "image_similarity" / "golden"
QUARTER_TURN = 6  # EXIF: to be turned by 90 degrees clockwise before it is looked at


def waves(width: int, height: int, *, finest: float) -> np.ndarray:
    """Return uint8 (height, width, 3): rings that grow finer outwards, each channel its own centre.

    `finest` is the length in pixels of the finest wave. Detail of every size makes any other way
    of decoding or resizing show.
    """
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    longest = np.hypot(width, height)
    channels = []
    for number, (left, top) in enumerate(((0.2, 0.3), (0.7, 0.4), (0.4, 0.8))):
        distance = np.hypot(across - left * width, down - top * height)
        phase = np.pi * distance**2 / (longest * finest)
        light = 128 + 40 * np.sin(phase + number) + 60 * np.cos((across + down) / longest * 4)
        channels.append(light.clip(0, 255))
    return np.stack(channels, axis=2).astype(np.uint8)


def disc(width: int, height: int) -> np.ndarray:
    """Return uint8 (height, width): opacity that falls from the middle to the edges."""
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    return (255 * (1.2 - np.hypot(across, down)).clip(0, 1)).astype(np.uint8)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    large = Image.fromarray(waves(1200, 900, finest=14))
    large.save(FOLDER / "reduced.jpg", quality=25)
    turned = Image.fromarray(waves(400, 300, finest=5))
    exif = Image.Exif()
    exif[0x0112] = QUARTER_TURN
    turned.save(FOLDER / "turned.jpg", quality=40, exif=exif)
    transparent = np.dstack([waves(100, 75, finest=9), disc(100, 75)])
    Image.fromarray(transparent).save(FOLDER / "transparent.png", optimize=True)
    Image.fromarray(waves(30, 20, finest=4)).save(FOLDER / "enlarged.png", optimize=True)


if __name__ == "__main__":
    main()
