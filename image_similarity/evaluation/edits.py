"""The edits that make copies: what people do to a picture before they pass it on.

Written with Pillow alone and apart from the augmentation of the training, so that no model is tested on exactly what it
was trained to undo.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from image_similarity.errors import InvalidSetting

Picture = Image.Image
Others = Sequence[Picture]
# An edit takes an RGB picture, what decides by chance, and other pictures that may stand beside it.
Edit = Callable[[Picture, np.random.Generator, Others], Picture]

_WORDS = ("watch this before it is gone", "SOLD", "my holiday 2019", "share if you agree", "HD")


def edited(
    picture: Picture, name: str, *, seed: int, row: int, others: Sequence[Picture] = ()
) -> Picture:
    """Return an RGB picture after one edit; the same arguments give the same pixels.

    Args:
        picture: RGB; it is not changed.
        name: one of `EDITS`.
        seed: of places, colours and strengths.
        row: the number of the picture; each has its own places and colours.
        others: pictures that a collage may show beside it; plain ones are drawn if there are none.
    """
    # crc32 and not hash(), which differs from run to run.
    generator = np.random.default_rng([seed, row, zlib.crc32(name.encode())])
    return EDITS[name](picture, generator, others).convert("RGB")


def edit_pictures(
    pictures: NDArray[np.uint8], name: str, *, size: int, seed: int
) -> NDArray[np.uint8]:
    """Return one edit of every picture (N, S, S, 3), squashed with the bicubic filter to (N, size, size, 3)."""
    result = np.empty((len(pictures), size, size, 3), dtype=np.uint8)
    for row, pixels in enumerate(pictures):
        copy = edited(Image.fromarray(np.asarray(pixels)), name, seed=seed, row=row)
        if copy.size != (size, size):
            copy = copy.resize((size, size), Image.Resampling.BICUBIC)
        result[row] = np.asarray(copy)
    return result


def edit_sets(wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the names of the edits asked for, by set: "easy", "hard", or "named" for those that were named.

    Raises:
        InvalidSetting: there is no such edit or set.
    """
    named = tuple(dict.fromkeys(name for name in wanted if name not in _SETS))
    for name in named:
        if name not in EDITS:
            raise InvalidSetting(
                f"no edit is called {name!r}", hint=f"easy, hard, or one of: {', '.join(EDITS)}"
            )
    sets = {name: _SETS[name] for name in dict.fromkeys(wanted) if name in _SETS}
    return sets | ({"named": named} if named else {})


def _crop(least: float, most: float) -> Edit:
    """Keep a rectangle of the picture's shape anywhere, `least` to `most` of its area."""

    def edit(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
        share = float(chance.uniform(least, most)) ** 0.5
        width, height = (max(1, round(side * share)) for side in picture.size)
        left = int(chance.integers(0, picture.width - width + 1))
        top = int(chance.integers(0, picture.height - height + 1))
        return picture.crop((left, top, left + width, top + height))

    return edit


def _rotate(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
    """Turn by 5 degrees to either side; the corners stay black."""
    return picture.rotate(5 if chance.random() < 0.5 else -5, Image.Resampling.BICUBIC)


def _lay_down(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)
    return picture.transpose(turns[int(chance.integers(2))])


def _mirror(picture: Picture, _: np.random.Generator, __: Others) -> Picture:
    return ImageOps.mirror(picture)


def _blur(picture: Picture, _: np.random.Generator, __: Others) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(min(picture.size) / 64))


def _jpeg(least: int, most: int, *, scale: float = 1.0) -> Edit:
    """Compress with a quality of `least` to `most`, after reducing both sides to `scale` of their length."""

    def edit(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
        size = tuple(max(8, round(side * scale)) for side in picture.size)
        small = picture if scale == 1 else picture.resize(size, Image.Resampling.BICUBIC)  # type: ignore[arg-type]
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=int(chance.integers(least, most + 1)))
        return Image.open(buffer).convert("RGB")

    return edit


def _brightness(factor: float) -> Edit:
    def edit(picture: Picture, _: np.random.Generator, __: Others) -> Picture:
        return ImageEnhance.Brightness(picture).enhance(factor)

    return edit


def _text(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
    """Write two lines across the picture, with a thin edge in the other colour, as captions have it."""
    result = picture.copy()
    pen = ImageDraw.Draw(result)
    size = max(8, picture.height // 9)
    font = ImageFont.load_default(size)
    dark = bool(chance.random() < 0.5)
    ink, edge = ("black", "white") if dark else ("white", "black")
    top = float(chance.uniform(0, 0.7)) * picture.height
    for line in range(2):
        words = _WORDS[int(chance.integers(len(_WORDS)))]
        place = (picture.width * float(chance.uniform(0, 0.15)), top + line * size * 1.3)
        pen.text(
            place, words, fill=ink, font=font, stroke_width=max(1, size // 12), stroke_fill=edge
        )
    return result


def _box(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
    """Cover a rectangle of 5 to 20 % of the picture with one colour."""
    result = picture.copy()
    area, shape = chance.uniform(0.05, 0.2), np.exp(chance.uniform(-0.7, 0.7))
    width = min(1.0, (area * shape) ** 0.5) * picture.width
    height = min(1.0, (area / shape) ** 0.5) * picture.height
    left = chance.uniform(0, picture.width - width)
    top = chance.uniform(0, picture.height - height)
    ImageDraw.Draw(result).rectangle((left, top, left + width, top + height), fill=_colour(chance))
    return result


def _person(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
    """Cover 10 to 40 % with the silhouette of a person, as Hotels-50K does (Stylianou et al., AAAI 2019)."""
    wanted = float(chance.uniform(0.1, 0.4))
    middle, tone = float(chance.uniform(0.25, 0.75)), _colour(chance)
    mask = Image.new("L", picture.size, 0)
    for size in np.arange(0.3, 2.0, 0.04):
        mask = _silhouette(picture.size, middle, float(size))
        if np.asarray(mask).mean() / 255 >= wanted:
            break
    grain = chance.normal(0, 25 if chance.random() < 0.5 else 0, (picture.height, picture.width, 1))
    cloth = np.clip(np.array(tone, dtype=np.float64) + grain, 0, 255).astype(np.uint8)
    return Image.composite(Image.fromarray(cloth, "RGB"), picture, mask)


def _silhouette(size: tuple[int, int], middle: float, height: float) -> Picture:
    """Head, neck, shoulders and body, `height` times as high as the picture and cut off at its lower edge."""
    mask = Image.new("L", size, 0)
    pen = ImageDraw.Draw(mask)
    unit = height * size[1] / 8
    x, top = middle * size[0], size[1] - min(height, 0.97) * size[1]
    pen.ellipse((x - 0.8 * unit, top, x + 0.8 * unit, top + 2.1 * unit), fill=255)
    pen.rectangle((x - 0.4 * unit, top + 1.8 * unit, x + 0.4 * unit, top + 2.8 * unit), fill=255)
    pen.ellipse((x - 2 * unit, top + 2.4 * unit, x + 2 * unit, top + 5 * unit), fill=255)
    pen.rectangle((x - 1.8 * unit, top + 3.7 * unit, x + 1.8 * unit, size[1]), fill=255)
    return mask


def _stacked(picture: Picture, chance: np.random.Generator, others: Others) -> Picture:
    """Two to four easy edits of different kinds, one after the other."""
    kinds = chance.permutation(len(_KINDS))[: int(chance.integers(2, 5))]
    for kind in kinds:
        names = _KINDS[int(kind)]
        picture = EDITS[names[int(chance.integers(len(names)))]](picture, chance, others)
    return picture


def _collage(picture: Picture, chance: np.random.Generator, others: Others) -> Picture:
    """One of two or of four tiles, the others showing other pictures."""
    across, down = ((2, 1), (1, 2), (2, 2))[int(chance.integers(3))]
    tile = (max(8, picture.width // across), max(8, picture.height // down))
    result = Image.new("RGB", (tile[0] * across, tile[1] * down))
    mine = int(chance.integers(across * down))
    for place in range(across * down):
        other = others[int(chance.integers(len(others)))] if others else _plain(tile, chance)
        shown = picture if place == mine else other
        fitted = ImageOps.fit(shown, tile, Image.Resampling.BICUBIC)
        result.paste(fitted, (place % across * tile[0], place // across * tile[1]))
    return result


def _plain(size: tuple[int, int], chance: np.random.Generator) -> Picture:
    """A gradient between two colours."""
    one, other = (Image.new("RGB", size, _colour(chance)) for _ in range(2))
    return Image.composite(one, other, Image.linear_gradient("L").resize(size))


def _screenshot(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
    """The picture on the screen of a telephone: a bar above, lines of text below, a plain page around it."""
    width = max(48, round(picture.width * 1.15))
    scale = width * float(chance.uniform(0.75, 1.0)) / picture.width
    shown = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
        Image.Resampling.BICUBIC,
    )
    height = round(shown.height * float(chance.uniform(1.4, 1.9)))
    dark = bool(chance.random() < 0.5)
    page, ink = ((24, 24, 28), (210, 210, 215)) if dark else ((250, 250, 250), (40, 40, 45))
    result = Image.new("RGB", (width, height), page)
    top = round(height * float(chance.uniform(0.1, 0.2)))
    result.paste(shown, ((width - shown.width) // 2, top))
    pen, font = ImageDraw.Draw(result), ImageFont.load_default(max(8, height // 28))
    pen.text((4, 2), "12:41", fill=ink, font=font)
    pen.rectangle((width - 16, 4, width - 4, 9), fill=ink)
    line = max(9, height // 24)
    for y in range(top + shown.height + 4, height - line, line):
        pen.text((6, y), _WORDS[int(chance.integers(len(_WORDS)))], fill=ink, font=font)
    return result


def _perspective(picture: Picture, chance: np.random.Generator, _: Others) -> Picture:
    """Photographed at a slant before a plain wall: each corner moves inwards by up to 35 % of the side."""
    width, height = picture.size
    ends = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * (width, height)
    moved = ends + inward * chance.uniform(0, 0.35, (4, 2))
    # One corner at least moves far, or the slant would be none.
    corner = int(chance.integers(4))
    moved[corner] = ends[corner] + inward[corner] * (0.35, 0.3)
    coefficients = _homography(moved, ends)
    transform, resample = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
    slanted = picture.transform(picture.size, transform, coefficients, resample)
    inside = Image.new("L", picture.size, 255).transform(picture.size, transform, coefficients)
    wall = Image.new("RGB", picture.size, _colour(chance))
    return Image.composite(slanted, wall, inside)


def _homography(source: NDArray[np.float64], target: NDArray[np.float64]) -> list[float]:
    """The eight numbers with which Pillow finds for each place of the result its place in the picture."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return [float(each) for each in np.linalg.solve(np.array(rows), np.array(values))]


def _colour(chance: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in chance.integers(0, 256, 3))
    return red, green, blue


EDITS: dict[str, Edit] = {
    "unchanged": lambda picture, _, __: picture,
    "crop-70": _crop(0.7, 0.7),
    "crop-50": _crop(0.5, 0.5),
    "rotate-5": _rotate,
    "rotate-90": _lay_down,
    "mirror": _mirror,
    "blur": _blur,
    "jpeg-20": _jpeg(20, 20),
    "brighter": _brightness(1.3),
    "darker": _brightness(0.7),
    "text": _text,
    "box": _box,
    "person": _person,
    "stacked": _stacked,
    "crop-below-30": _crop(0.1, 0.3),
    "collage": _collage,
    "screenshot": _screenshot,
    "perspective": _perspective,
    "jpeg-quarter": _jpeg(5, 15, scale=0.25),
}
HARD = ("stacked", "crop-below-30", "collage", "screenshot", "perspective", "jpeg-quarter")
EASY = tuple(name for name in EDITS if name not in (*HARD, "unchanged"))
_SETS = {"easy": EASY, "hard": HARD}
# What may be stacked: one of each kind at most.
_KINDS = (
    ("crop-70", "crop-50"),
    ("rotate-5", "rotate-90"),
    ("mirror",),
    ("blur",),
    ("jpeg-20",),
    ("brighter", "darker"),
    ("text",),
    ("box",),
    ("person",),
)
