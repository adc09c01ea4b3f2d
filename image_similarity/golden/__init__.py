"""The golden record: pictures that are shipped, and what the model's exporter saw and answered on them.

Another way of decoding or resizing a picture moves its vector, silently. So the card of a model may record, for each of
the pictures in this folder (drawn by scripts/draw_golden.py), a sample of its prepared pixels and its vector; `check`
makes both again on this machine. They are a large JPEG that is decoded at a reduced scale, one that EXIF turns upright,
a transparent PNG, a picture that is enlarged; and a ramp that no decoder has touched, which tests the network alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from image_similarity.encoding.golden_picture import LATTICE, GoldenPicture
from image_similarity.errors import GoldenDiffers
from image_similarity.pictures.decode import MAX_PIXELS
from image_similarity.pictures.prepared import decode_for
from image_similarity.values import Preprocess

if TYPE_CHECKING:
    from image_similarity.encoding.encoder import Encoder

RAMP = "ramp"
FILES = ("reduced.jpg", "turned.jpg", "transparent.png", "enlarged.png")
FOLDER = Path(__file__).parent

# Mean difference of sampled pixels, in levels of 255. Measured at 96 px: another decoder's rounding
# gives 0.3, torch's antialiased bicubic 0.2; Lanczos 1.5, bilinear 3, without antialiasing 5,
# decoding at a scale of 1 instead of 2 gives 4, transparency or orientation ignored 50 and more.
PIXEL_TOLERANCE = 0.5
# Cosine of the recorded and the present vector. Devices and batch sizes agree to 0.999999.
MIN_COSINE = 0.9999
# Vectors are kept with so many places, which costs less than 0.000001 of the cosine.
_PLACES = 4


def record(encoder: Encoder) -> tuple[GoldenPicture, ...]:
    """Return what an embedding model sees and answers on every golden picture.

    Raises:
        ValueError: the model only classifies scenes.
    """
    preprocess = encoder.spec.preprocess
    pixels = {name: _pixels(name, preprocess) for name in (RAMP, *FILES)}
    vectors = _vectors(encoder, np.stack(list(pixels.values())))
    return tuple(
        GoldenPicture(
            name,
            sha256=hashlib.sha256(array.tobytes()).hexdigest(),
            samples=tuple(_samples(array).tolist()),
            vector=tuple(round(float(number), _PLACES) for number in vector),
        )
        for (name, array), vector in zip(pixels.items(), vectors, strict=True)
    )


def check(encoder: Encoder) -> int:
    """Return how many golden pictures the model's card records; all came out as recorded.

    The network is tried first, on the ramp; if it answers as recorded, whatever differs further on
    is due to the preparation of pictures. 0 means that the card has no golden record.

    Raises:
        GoldenDiffers: preprocessing or network do not do what they did at the export, or the record
            names a picture that this version does not carry.
    """
    wanted = sorted(encoder.spec.golden, key=lambda picture: picture.name != RAMP)
    for picture in wanted:
        if picture.name not in (RAMP, *FILES):
            raise GoldenDiffers(
                f"The card of {encoder.spec.name} records the golden picture {picture.name!r}, "
                "which this version does not carry",
                hint="Use the version of the program that the model came with, or a later one.",
            )
        _check_picture(encoder, picture)
    return len(wanted)


def _check_picture(encoder: Encoder, wanted: GoldenPicture) -> None:
    """Compare pixels and vector of one picture with its record."""
    array = _pixels(wanted.name, encoder.spec.preprocess)
    off = float(np.abs(_samples(array) - np.array(wanted.samples)).mean())
    if off > PIXEL_TOLERANCE:
        raise _differs(
            encoder, "preprocessing", wanted.name, f"pixels are off by {off:.2f} levels of 255"
        )
    vector = _vectors(encoder, array[None])[0]
    golden = np.array(wanted.vector, dtype=np.float64)
    cosine = float(vector @ golden / np.linalg.norm(golden))
    # Not `cosine < MIN_COSINE`: that would let pass a cosine that is no number.
    if not cosine >= MIN_COSINE:
        same = hashlib.sha256(array.tobytes()).hexdigest() == wanted.sha256
        part = "network" if same else "preprocessing"
        raise _differs(encoder, part, wanted.name, f"its vector has a cosine of {cosine:.6f}")


def _differs(encoder: Encoder, part: str, picture: str, how: str) -> GoldenDiffers:
    """Return the error that names what differs."""
    hint = {
        "preprocessing": "Pictures are decoded or resized in another way than at the export: compare the "
        "versions of Pillow and of this program with those of the machine that exported the model.",
        "network": f"The same pixels give another vector in {encoder.runtime} on {encoder.device}: compare its "
        "version with that of the export, and try --device cpu and --runtime torch.",
    }[part]
    return GoldenDiffers(
        f"The {part} of {encoder.spec.name} does not do what its card records: {picture}: {how}",
        hint=hint,
    )


def _pixels(name: str, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return the prepared pixels (size, size, 3) of a golden picture."""
    if name == RAMP:
        # Whole numbers only: every machine calculates the same.
        numbers = np.arange(preprocess.size**2 * 3, dtype=np.int64).reshape(
            preprocess.size, preprocess.size, 3
        )
        return (numbers * 40_503 // 4_096 % 256).astype(np.uint8)
    data = (FOLDER / name).read_bytes()
    return decode_for(data, [preprocess], max_pixels=MAX_PIXELS)[1][preprocess]


def _samples(array: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the channels of 8 x 8 pixels, evenly spread, as whole numbers (192,)."""
    size = array.shape[0]
    places = (np.arange(LATTICE) * 2 + 1) * size // (2 * LATTICE)
    return array[np.ix_(places, places)].astype(np.int64).reshape(-1)


def _vectors(encoder: Encoder, batch: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the vectors (N, dim), float64."""
    vectors = encoder.encode(batch).vectors
    if vectors is None:
        raise ValueError(f"{encoder.spec.name} only classifies scenes; it has no golden record")
    return vectors.astype(np.float64)
