"""Reference tables and calibrations as JSON files; what is read is checked first, since files travel."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from image_similarity.errors import CalibrationRefused
from image_similarity.values import DISTANCE_STEPS, TAIL_STEPS, Calibration, DistanceTable
from image_similarity.whole_file import writing

FORMAT = 1
MAX_BYTES = 2**20
MAX_PAIRS = 10**12

_TABLE = "reference table of distances"
_CALIBRATION = "calibration of distances"


def table_path(weights: Path) -> Path:
    """Return where the reference table of a weights file lies: beside it, so that the weights keep their hash."""
    return weights.with_name(weights.name + ".distances.json")


def write_table(path: Path, table: DistanceTable) -> None:
    """Write a reference table, replacing an older one in one move."""
    with writing(path) as file:
        file.write(_text(_TABLE, asdict(table)).encode("utf-8"))


def read_table(path: Path) -> DistanceTable | None:
    """Return the reference table of a file, or None if there is no such file.

    Raises:
        CalibrationRefused: The file is not what it claims to be.
    """
    if not path.is_file():
        return None
    entries = _Entries(path, _TABLE)
    return DistanceTable(
        fingerprint=entries.digest("fingerprint"),
        made_on=entries.text("made_on"),
        pictures=entries.whole("pictures", 2),
        unrelated=entries.counts("unrelated"),
        same_scene=entries.counts("same_scene"),
        tail=entries.tail("tail"),
    )


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration to a new file.

    Raises:
        CalibrationRefused: The file exists.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_text(_CALIBRATION, asdict(calibration)))
    except FileExistsError as error:
        raise CalibrationRefused(f"{path} exists already", hint="name a new file") from error


def read_calibration(path: Path) -> Calibration:
    """Return the calibration of a file.

    Raises:
        CalibrationRefused: The file is missing or not what it claims to be.
    """
    if not path.is_file():
        raise CalibrationRefused(
            f"there is no calibration at {path}", hint="make one: image-similarity calibrate"
        )
    entries = _Entries(path, _CALIBRATION)
    return Calibration(
        fingerprint=entries.digest("fingerprint"),
        model=entries.text("model"),
        same=entries.text("same"),
        different=entries.text("different"),
        intercept=entries.number("intercept", -1e6, 1e6),
        # Never upwards: a larger distance must not speak for the same source.
        slope=entries.number("slope", -1e6, 0.0),
        bound=entries.number("bound", 0.0, 12.0),
        groups=entries.whole("groups", 2),
        pictures=entries.whole("pictures", 4),
        same_pairs=entries.whole("same_pairs", 1),
        different_pairs=entries.whole("different_pairs", 1),
        cllr=entries.number("cllr", 0.0, 1e3),
        cllr_low=entries.number("cllr_low", 0.0, 1e3),
        cllr_high=entries.number("cllr_high", 0.0, 1e3),
        cllr_min=entries.number("cllr_min", 0.0, 1e3),
        groups_sha256=entries.digest("groups_sha256"),
        made_at=entries.text("made_at"),
        version=entries.text("version"),
    )


class _Entries:
    """The entries of one file, each handed out only in its type and range."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            self._refuse(f"it has more than {MAX_BYTES} bytes")
        try:
            values = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            self._refuse(f"not valid JSON ({type(error).__name__})")
        if not isinstance(values, dict) or values.get("kind") != kind:
            self._refuse(f"its kind is not {kind!r}")
        if type(values.get("format")) is not int or values["format"] != FORMAT:
            self._refuse(f"this program reads format {FORMAT}")
        self._values: dict[str, Any] = values

    def text(self, key: str) -> str:
        """Return a printable text of 1 to 1,000 characters."""
        value = self._values.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= 1_000 or not value.isprintable():
            self._refuse(f"{key}: a printable text of 1 to 1000 characters is expected")
        return value

    def digest(self, key: str) -> str:
        """Return a SHA-256, lower-case hexadecimal."""
        value = self._values.get(key)
        if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
            self._refuse(f"{key}: 64 hexadecimal digits are expected")
        return value

    def whole(self, key: str, low: int) -> int:
        """Return a whole number from `low` on; True is none."""
        value = self._values.get(key)
        if type(value) is not int or not low <= value <= MAX_PAIRS:
            self._refuse(f"{key}: a whole number from {low} is expected")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """Return a number within the range; NaN is in none."""
        value = self._values.get(key)
        # type(), since True is an int; the range refuses NaN and infinity.
        if value is None or type(value) not in (int, float) or not low <= value <= high:
            self._refuse(f"{key}: a number from {low:g} to {high:g} is expected")
        return float(value)

    def counts(self, key: str) -> tuple[int, ...]:
        """Return one count for each step of distance, never falling, the last of them positive."""
        value = self._values.get(key)
        if not isinstance(value, list) or len(value) != DISTANCE_STEPS + 1:
            self._refuse(f"{key}: {DISTANCE_STEPS + 1} counts are expected")
        if not all(type(each) is int and 0 <= each <= MAX_PAIRS for each in value):
            self._refuse(f"{key}: whole numbers are expected")
        if value != sorted(value) or not value[-1]:
            self._refuse(f"{key}: counts that never fall are expected, the last above 0")
        return tuple(value)

    def tail(self, key: str) -> tuple[float, ...]:
        """Return rising scores; none where an older file, or one of few pictures, has none."""
        value = self._values.get(key, [])
        if value == []:
            return ()
        if not isinstance(value, list) or len(value) != TAIL_STEPS:
            self._refuse(f"{key}: {TAIL_STEPS} scores are expected")
        # type(), since True is an int; the range refuses NaN and infinity.
        if not all(type(each) in (int, float) and -1e3 <= each <= 1e3 for each in value):
            self._refuse(f"{key}: numbers from -1000 to 1000 are expected")
        if value != sorted(value):
            self._refuse(f"{key}: scores that never fall are expected")
        return tuple(map(float, value))

    def _refuse(self, reason: str) -> NoReturn:
        raise CalibrationRefused(
            f"{self._path} is no sound {self._kind}: {reason}",
            hint="make the file anew, or remove it",
        )


def _text(kind: str, values: dict[str, Any]) -> str:
    entries = {"kind": kind, "format": FORMAT, **values}
    return json.dumps(entries, ensure_ascii=True, allow_nan=False) + "\n"
