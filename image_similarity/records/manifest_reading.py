"""Manifests read: every entry is handed out only in its type and range, since files travel."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from image_similarity.errors import ManifestRefused
from image_similarity.pictures.names import from_text
from image_similarity.records.manifest import (
    FORMAT,
    KIND,
    MAX_BYTES,
    Manifest,
    ManifestDatabase,
    ManifestQuery,
    ManifestResult,
)
from image_similarity.settings import MAX_DIM
from image_similarity.store.gallery import PlaceFilter
from image_similarity.values import Moment, SearchKind

MAX_TEXT = 65_536
LARGEST = 2**63 - 1
# No two float16 vectors of as many dimensions lie as far apart.
_FURTHEST = 1e9

_SEARCHES: dict[str, SearchKind] = {
    "exhaustive": "exhaustive",
    "bounded": "bounded",
    "approximate": "approximate",
}

Value = TypeVar("Value")


def read(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestRefused: The file is missing or not what it claims to be.
        OSError.
    """
    if not path.is_file():
        raise ManifestRefused(
            f"there is no manifest at {path}",
            hint="make one: image-similarity query IMAGE -dp DB --manifest FILE.json",
        )
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        return parse(data)
    except ValueError as error:
        raise ManifestRefused(
            f"{path} is no sound manifest: {error}", hint="take it from where it was made once more"
        ) from error


def parse(data: bytes) -> Manifest:
    """Read the bytes of a manifest.

    Raises:
        ValueError: They are none; the message says what is wrong.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    try:
        values = json.loads(data, parse_constant=_no_number, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise ValueError(f"its kind is not {KIND!r}")
    if type(values.get("format")) is not int or values["format"] != FORMAT:
        raise ValueError(f"this program reads format {FORMAT}")
    return _manifest(_Entries(values, "manifest", {f.name for f in fields(Manifest)}))


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


class _Entries:
    """The entries of one object, each handed out only in its type and range."""

    def __init__(self, values: object, where: str, names: Collection[str]) -> None:
        self._where = where
        if not isinstance(values, dict):
            self._refuse("", "an object is expected")
        unknown = values.keys() - names - ({"kind", "format"} if where == "manifest" else set())
        if unknown:
            self._refuse(min(unknown)[:50], "no such entry is known")
        self._values = values

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            self._refuse(key, f"a text of at most {MAX_TEXT} characters is expected")
        return value

    def place(self, key: str) -> str:
        value = self.text(key)
        if not _is_path(value):
            self._refuse(key, "the text form of a path is expected")
        return value

    def maybe(self, key: str, read: Callable[[str], Value]) -> Value | None:
        return None if self._values.get(key) is None else read(key)

    def digest(self, key: str) -> str:
        value = self.text(key)
        if not re.fullmatch("[0-9a-f]{64}", value):
            self._refuse(key, "64 hexadecimal digits are expected")
        return value

    def whole(self, key: str, low: int = 0, high: int = LARGEST) -> int:
        value = self._values.get(key)
        # type(), since True is an int.
        if type(value) is not int or not low <= value <= high:
            self._refuse(key, f"a whole number from {low} to {high} is expected")
        return value

    def number(self, key: str) -> float:
        value = self._values.get(key)
        if value is None or type(value) not in (int, float) or not 0 <= value <= _FURTHEST:
            self._refuse(key, f"a number from 0 to {_FURTHEST:g} is expected")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if type(value) is not bool:
            self._refuse(key, "true or false is expected")
        return value

    def one_of(self, key: str, *words: str) -> str:
        value = self.text(key)
        if value not in words:
            self._refuse(key, f"one of {', '.join(words)} is expected")
        return value

    def blob(self, key: str) -> bytes:
        value = self._values.get(key)
        try:
            return base64.b64decode(value if isinstance(value, str) else "?", validate=True)
        except ValueError:
            self._refuse(key, "base64 is expected")

    def items(self, key: str) -> list[Any]:
        value = self._values.get(key)
        if not isinstance(value, list):
            self._refuse(key, "a list is expected")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.items(key)
        if not all(isinstance(each, str) and len(each) <= MAX_TEXT for each in found):
            self._refuse(key, "a list of texts is expected")
        return tuple(found)

    def pairs(self, key: str) -> dict[str, str]:
        value = self._values.get(key)
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            self._refuse(key, "an object of texts is expected")
        return value

    def places(self, key: str) -> dict[str, str]:
        found = self.pairs(key)
        if not all(map(_is_path, found.values())):
            self._refuse(key, "an object of text forms of paths is expected")
        return found

    def inner(self, key: str, kind: type) -> _Entries:
        return _Entries(self._values.get(key), f"{self._where}: {key}", _names(kind))

    def each(self, key: str, kind: type) -> list[_Entries]:
        return [
            _Entries(value, f"{self._where}: {key} {number}", _names(kind))
            for number, value in enumerate(self.items(key), start=1)
        ]

    def positions(self, key: str, count: int) -> tuple[int, ...]:
        found = self.items(key)
        if not all(type(each) is int and 0 <= each < count for each in found):
            self._refuse(key, f"positions below {count} are expected")
        if len(set(found)) < len(found):
            self._refuse(key, "each position is expected once")
        return tuple(found)

    def maybe_positions(self, key: str, count: int) -> tuple[int | None, ...]:
        found = self.items(key)
        if not all(each is None or (type(each) is int and 0 <= each < count) for each in found):
            self._refuse(key, f"positions below {count}, or null, are expected")
        return tuple(found)

    def _refuse(self, key: str, reason: str) -> NoReturn:
        raise ValueError(f"{self._where}: {key}: {reason}" if key else f"{self._where}: {reason}")


def _is_path(text: str) -> bool:
    """Whether a text is the text form of a path that this system could open."""
    try:
        return b"\0" not in os.fsencode(from_text(text))
    except ValueError:
        return False


def _names(kind: type) -> set[str]:
    return {each.name for each in fields(kind)}


def _manifest(entries: _Entries) -> Manifest:
    dim, k = entries.whole("dim", 1, MAX_DIM), entries.whole("k", 1)
    exclusions = tuple(_digests(each) for each in entries.items("exclusions"))
    databases = tuple(_database(each) for each in entries.each("databases", ManifestDatabase))
    places = entries.inner("places", PlaceFilter)
    if not entries.items("queries"):
        # Replayed it would say "same" of nothing.
        raise ValueError("it holds no query")
    return Manifest(
        made_at=entries.text("made_at"),
        version=entries.text("version"),
        libraries=entries.pairs("libraries"),
        model=entries.text("model"),
        fingerprint=entries.digest("fingerprint"),
        dim=dim,
        scene_model=entries.maybe("scene_model", entries.digest),
        k=k,
        max_distance=entries.maybe("max_distance", entries.number),
        places=PlaceFilter(
            places.texts("sources"),
            places.maybe("under", places.text),
            places.flag("include_gone"),
            places.flag("include_partial"),
        ),
        exclusions=exclusions,
        databases=databases,
        queries=tuple(
            _query(each, dim, k, len(exclusions), len(databases))
            for each in entries.each("queries", ManifestQuery)
        ),
    )


def _digests(values: object) -> tuple[str, ...]:
    if isinstance(values, list) and all(
        isinstance(each, str) and re.fullmatch("[0-9a-f]{64}", each) for each in values
    ):
        return tuple(values)
    raise ValueError("exclusions: lists of SHA-256 are expected")


def _database(entries: _Entries) -> ManifestDatabase:
    moment = entries.inner("moment", Moment)
    number = moment.whole("audit_number")
    return ManifestDatabase(
        path=entries.place("path"),
        name=entries.text("name"),
        moment=Moment(
            run_id=moment.whole("run_id"),
            run_open=moment.flag("run_open"),
            embeddings=moment.whole("embeddings"),
            files=moment.whole("files"),
            revision=moment.text("revision"),
            audit_number=number,
            audit_digest=moment.digest("audit_digest") if number else "",
        ),
        rows_sha256=entries.digest("rows_sha256"),
        roots=tuple(entries.places("roots").items()),
    )


def _query(entries: _Entries, dim: int, k: int, exclusions: int, databases: int) -> ManifestQuery:
    vector, results = entries.blob("vector"), entries.each("results", ManifestResult)
    if len(vector) != 2 * dim:
        raise ValueError(f"a vector has {len(vector)} bytes where {2 * dim} are expected")
    if len(results) > k:
        raise ValueError(f"a query has {len(results)} results where {k} were asked for")
    searched = entries.positions("databases", databases)
    excluded = entries.maybe_positions("excluded", exclusions)
    if len(excluded) != len(searched):
        raise ValueError("a query has not one exclusion, or none, for each of its databases")
    return ManifestQuery(
        query=entries.text("query"),
        sha256=entries.digest("sha256"),
        vector=vector,
        own_path=entries.maybe("own_path", entries.place),
        stored=entries.flag("stored"),
        made=entries.text("made"),
        mode=entries.one_of("mode", "auto", "hard", "off", "named"),
        scenes=entries.texts("scenes"),
        search=_SEARCHES[entries.one_of("search", *_SEARCHES)],
        databases=searched,
        excluded=excluded,
        cut_off=entries.whole("cut_off", 0, k),
        results=tuple(_read_result(each, databases) for each in results),
    )


def _read_result(entries: _Entries, databases: int) -> ManifestResult:
    return ManifestResult(
        rank=entries.whole("rank", 1),
        distance=entries.number("distance"),
        sha256=entries.digest("sha256"),
        source=entries.text("source"),
        path=entries.text("path"),
        database=entries.whole("database", 0, databases - 1),
    )
