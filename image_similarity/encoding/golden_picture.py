"""One picture of a model's golden record, as its card carries it."""

from __future__ import annotations

from dataclasses import dataclass

# Pixels are sampled on an even lattice of so many rows and columns.
LATTICE = 8
SAMPLES = 3 * LATTICE**2


@dataclass(frozen=True, slots=True)
class GoldenPicture:
    """What the exporter of a model saw and answered on one picture of `image_similarity.golden`.

    `sha256` is that of the prepared pixels; `samples` are 192 of their values, 0 to 255: row by row,
    8 x 8 pixels of three channels; `vector` is the unit vector, rounded.
    """

    name: str
    sha256: str
    samples: tuple[int, ...]
    vector: tuple[float, ...]
