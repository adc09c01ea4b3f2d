"""The card of a weights file: read from it or from beside it, then checked."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from image_similarity.encoding.architectures import is_known
from image_similarity.encoding.golden_picture import SAMPLES, GoldenPicture
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import WeightsRefused
from image_similarity.settings import MAX_DIM as MAX_DIM
from image_similarity.values import Preprocess

FORMAT = 1

# A file of 400 tensors has a header of about 40 KiB; what is far beyond is damage or an attack.
MAX_HEADER_BYTES = 16 * 2**20
MAX_CARD_BYTES = 2**20

MAX_SIDE = 4_096
MAX_SCENES = 20_000
MAX_CONFIG_ENTRIES = 100
MAX_GOLDEN = 16


def read_card(weights: Path) -> dict[str, Any] | None:
    """Return the card of a weights file, unchecked, or None if it has none.

    The metadata of a .safetensors file come first; a file `<weights>.json` beside it is read only
    if they hold no card. No torch is loaded and no tensor is read.

    Raises:
        WeightsRefused: the header or the card is not what it claims to be.
        OSError: the file cannot be read.
    """
    text = _card_inside(weights)
    if text is not None:
        return _parse(text, weights)
    beside = card_path(weights)
    if not beside.is_file():
        return None
    if beside.stat().st_size > MAX_CARD_BYTES:
        refuse(beside, f"a card has at most {MAX_CARD_BYTES} bytes")
    try:
        return _parse(beside.read_text("utf-8"), beside)
    except UnicodeDecodeError as error:
        refuse(beside, f"not UTF-8 text ({error})")


def card_path(weights: Path) -> Path:
    """Return where the card of a weights file lies that does not carry it inside."""
    return weights.with_name(weights.name + ".json")


def carries_card(weights: Path) -> bool:
    """Whether a weights file has a card inside, so that none beside it is read.

    Raises:
        WeightsRefused, OSError: as `read_card`.
    """
    return _card_inside(weights) is not None


def _card_inside(weights: Path) -> object:
    return (
        _safetensors_metadata(weights).get("card")
        if weights.suffix.lower() == ".safetensors"
        else None
    )


def spec_from_card(card: Mapping[str, Any], weights: Path) -> ModelSpec:
    """Return the specification that a card states for the weights beside it.

    Keys that are not known are ignored, so that a later version may add some.

    Raises:
        WeightsRefused: a key is missing, of a wrong type or out of its range.
    """
    fields = _Fields(card, weights)
    if fields.integer("format", 1, 2**31) != FORMAT:
        fields.refuse("format", f"this program reads cards of format {FORMAT}")
    architecture = fields.text("architecture", 200)
    if not is_known(architecture):
        fields.refuse("architecture", f"{architecture!r} is not one that this program can build")
    scenes = fields.labels("scenes")
    dim = None if card.get("dim") is None else fields.integer("dim", 1, MAX_DIM)
    if dim is None and not scenes:
        fields.refuse("dim", "a model must embed (dim) or classify (scenes)")
    chosen = fields.section("scene_filter", default={})
    normalisation = fields.choice("normalisation", ("l2", "none"), default="l2")
    metric = fields.choice("metric", ("euclidean", "cosine"), default="euclidean")
    if normalisation == "none" and metric == "cosine":
        fields.refuse("metric", "cosine ranks by direction: its vectors are normalised by l2")
    if normalisation == "none" and card.get("centre") is not None:
        fields.refuse("centre", "only vectors normalised by l2 are centred")
    return ModelSpec(
        name=fields.text("name", 100),
        architecture=architecture,
        preprocess=_preprocess(fields.section("preprocess")),
        config=_config(fields),
        layer=fields.text("layer", 200, default="embedding"),
        dim=dim,
        centre=_centre(fields, dim),
        normalisation=normalisation,
        metric=metric,
        numeric_class=fields.choice("numeric_class", ("f32",), default="f32"),
        scenes=scenes,
        scene_top_k=chosen.integer("top_k", 1, 1_000, default=5),
        scene_mass=chosen.number("mass", 0.0, 1.0, default=0.95),
        licence=fields.text("licence", 4_000, default=""),
        origin=fields.text("origin", 4_000, default=""),
        weights=weights,
        weights_sha256=_sha256(fields, "weights_sha256"),
        golden=_golden(fields, dim),
    )


class _Fields:
    """The entries of one mapping of a card, each handed out only in its type and range."""

    def __init__(self, values: Mapping[str, Any], source: Path, prefix: str = "") -> None:
        self.values = values
        self.source = source
        self.prefix = prefix

    def refuse(self, key: str, reason: str) -> NoReturn:
        """Refuse the card because of this entry."""
        refuse(self.source, f"card entry {self.prefix}{key}: {reason}")

    def entry(self, key: str, default: Any) -> Any:
        """Return the entry; without one the default, or a refusal if there is no default."""
        if key in self.values and self.values[key] is not None:
            return self.values[key]
        if default is None:
            self.refuse(key, "missing")
        return default

    def text(self, key: str, longest: int, *, default: str | None = None) -> str:
        """Return a printable text of at most `longest` characters; empty by default only."""
        value = self.entry(key, default)
        if not isinstance(value, str) or len(value) > longest or (not value and value != default):
            self.refuse(key, f"a text of 1 to {longest} characters is expected")
        # Prose may have lines, which become one; anything else that does not print is refused.
        value = " ".join(value.split()) if "\n" in value and longest > 1_000 else value
        if not value.isprintable():
            self.refuse(key, "control characters and lone surrogates are not allowed")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], *, default: str) -> Any:
        """Return one of the allowed words."""
        value = self.entry(key, default)
        if value not in allowed:
            self.refuse(key, f"one of {', '.join(allowed)} is expected")
        return value

    def integer(self, key: str, low: int, high: int, *, default: int | None = None) -> int:
        """Return a whole number within the range; True is not 1."""
        value = self.entry(key, default)
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"a whole number from {low} to {high} is expected")
        return int(value)

    def number(self, key: str, low: float, high: float, *, default: float | None = None) -> float:
        """Return a finite number within the range."""
        value = self.entry(key, default)
        if not _is_number(value) or not low <= value <= high:
            self.refuse(key, f"a number from {low} to {high} is expected")
        return float(value)

    def numbers(self, key: str, count: int, low: float, high: float) -> tuple[float, ...]:
        """Return exactly `count` finite numbers within the range."""
        value = self.entry(key, None)
        if not isinstance(value, list) or len(value) != count:
            self.refuse(key, f"a list of {count} numbers is expected")
        if not all(_is_number(each) and low <= each <= high for each in value):
            self.refuse(key, f"numbers from {low} to {high} are expected")
        return tuple(float(each) for each in value)

    def labels(self, key: str) -> tuple[str, ...]:
        """Return distinct printable labels of at most 100 characters."""
        value = self.entry(key, [])
        if not isinstance(value, list) or len(value) > MAX_SCENES:
            self.refuse(key, f"a list of at most {MAX_SCENES} labels is expected")
        if not all(isinstance(each, str) and 0 < len(each) <= 100 for each in value):
            self.refuse(key, "labels of 1 to 100 characters are expected")
        if not all(each.isprintable() for each in value) or len(set(value)) != len(value):
            self.refuse(key, "labels must be printable and distinct")
        return tuple(value)

    def section(self, key: str, *, default: dict[str, Any] | None = None) -> _Fields:
        """Return the entries of a nested mapping."""
        value = self.entry(key, default)
        if not isinstance(value, dict):
            self.refuse(key, "an object is expected")
        return _Fields(value, self.source, f"{self.prefix}{key}.")

    def sections(self, key: str, most: int) -> list[_Fields]:
        """Return the entries of each mapping in a list of at most `most`, which may be missing."""
        value = self.entry(key, [])
        if not isinstance(value, list) or len(value) > most:
            self.refuse(key, f"a list of at most {most} objects is expected")
        if not all(isinstance(each, dict) for each in value):
            self.refuse(key, "a list of objects is expected")
        return [
            _Fields(each, self.source, f"{self.prefix}{key}[{number}].")
            for number, each in enumerate(value)
        ]


def _preprocess(fields: _Fields) -> Preprocess:
    """Read how a picture becomes the network's input."""
    size = fields.integer("size", 8, MAX_SIDE)
    fit = fields.choice("fit", ("squash", "crop"), default="squash")
    resize = fields.integer("resize", size, MAX_SIDE) if fit == "crop" else None
    mean = fields.numbers("mean", 3, -10.0, 10.0)
    std = fields.numbers("std", 3, 1e-4, 1e4)
    interpolation = fields.choice(
        "interpolation", ("bicubic", "bilinear", "deepranking-skimage-v1"), default="bicubic"
    )
    if interpolation == "deepranking-skimage-v1" and fit != "squash":
        fields.refuse("interpolation", "deepranking-skimage-v1 squashes the whole frame")
    return Preprocess(
        size=size,
        fit=fit,
        resize=resize,
        interpolation=interpolation,
        decode_scale=fields.integer("decode_scale", 0, 16, default=2),
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
    )


def _config(fields: _Fields) -> dict[str, Any]:
    """Read the network's keyword arguments: scalars, and flat lists of scalars."""
    values = fields.section("config", default={}).values
    if len(values) > MAX_CONFIG_ENTRIES:
        fields.refuse("config", f"at most {MAX_CONFIG_ENTRIES} entries are expected")
    for key, value in values.items():
        items = value if isinstance(value, list) else [value]
        if len(items) > 1_000 or not all(_is_scalar(each) for each in items):
            fields.refuse(f"config.{key}", "a number, a text, a truth value or a list is expected")
    return dict(values)


def _centre(fields: _Fields, dim: int | None) -> tuple[float, ...] | None:
    """Read the mean to subtract from unit vectors, if there is one."""
    if fields.values.get("centre") is None:
        return None
    if dim is None:
        fields.refuse("centre", "a model without an embedding has nothing to centre")
    return fields.numbers("centre", dim, -1.0, 1.0)


def _sha256(fields: _Fields, key: str) -> str | None:
    """Read a recorded SHA-256, if there is one."""
    value = fields.text(key, 64, default="").lower()
    if value and not re.fullmatch("[0-9a-f]{64}", value):
        fields.refuse(key, "64 hexadecimal digits are expected")
    return value or None


def _golden(fields: _Fields, dim: int | None) -> tuple[GoldenPicture, ...]:
    """Read what the exporter saw and answered on the golden pictures, if that is recorded."""
    records = fields.sections("golden", MAX_GOLDEN)
    if records and dim is None:
        fields.refuse("golden", "a model without an embedding has no golden vectors")
    pictures = tuple(_golden_picture(record, dim or 0) for record in records)
    if len({picture.name for picture in pictures}) != len(pictures):
        fields.refuse("golden", "one picture is recorded twice")
    return pictures


def _golden_picture(fields: _Fields, dim: int) -> GoldenPicture:
    """Read the golden record of one picture."""
    samples = fields.numbers("samples", SAMPLES, 0, 255)
    vector = fields.numbers("vector", dim, -1.0, 1.0)
    if not 0.9 < sum(number**2 for number in vector) < 1.1:
        fields.refuse("vector", "a vector of length 1 is expected")
    if any(number != int(number) for number in samples):
        fields.refuse("samples", "whole numbers are expected")
    return GoldenPicture(
        name=fields.text("name", 100),
        sha256=_sha256(fields, "sha256") or "",
        samples=tuple(int(number) for number in samples),
        vector=vector,
    )


def _is_number(value: object) -> bool:
    """Whether it is a finite number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Not math.isfinite, which answers an int that is too long for a float with an error.
    return abs(value) < 1e300


def _is_scalar(value: object) -> bool:
    """Whether it may stand in a network's configuration."""
    if isinstance(value, str):
        return len(value) <= 1_000
    return value is None or isinstance(value, bool) or (_is_number(value) and abs(value) <= 2**31)  # type: ignore[arg-type]


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a .safetensors file, unchecked, and the place in bytes where its tensors begin.

    It is 8 bytes of length, then a JSON object: an entry for each tensor, and `__metadata__`.

    Raises:
        WeightsRefused: the file is no safetensors file.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            refuse(path, "too short for a safetensors file")
        (length,) = struct.unpack("<Q", prefix)
        if length > min(MAX_HEADER_BYTES, size - 8):
            refuse(path, f"its header claims {length} bytes")
        header = file.read(length)
    try:
        return _parse(header.decode("utf-8"), path), 8 + length
    except UnicodeDecodeError as error:
        refuse(path, f"its header is not UTF-8 ({error})")


def _safetensors_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a .safetensors file."""
    header, _ = read_header(path)
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict):
        refuse(path, "its metadata are no object")
    return metadata


def _parse(text: object, source: Path) -> dict[str, Any]:
    """Return the JSON object in the text; NaN and infinities are not JSON."""
    if not isinstance(text, str):
        refuse(source, "the card is no text")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        refuse(source, f"not valid JSON ({error})")
    if not isinstance(value, dict):
        refuse(source, "a JSON object is expected")
    return value


def _no_constant(word: str) -> NoReturn:
    """Refuse NaN, Infinity and -Infinity, which Python's parser would let pass."""
    raise ValueError(f"{word} is not a number")


def refuse(source: Path, reason: str) -> NoReturn:
    """Refuse a file with a reason.

    Raises:
        WeightsRefused: always.
    """
    raise WeightsRefused(
        f"{source}: {reason}",
        hint="The file is damaged, of another kind, or its card was written by hand and wrongly.",
    )
