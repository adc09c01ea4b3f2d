"""Manifests: what a search was asked, of which rows, and what it answered, so that another can repeat it.

A manifest is one JSON file. It holds no picture: queries are there by SHA-256 and vector.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from image_similarity import __version__
from image_similarity.errors import ManifestRefused, UsageError
from image_similarity.pictures.names import to_text
from image_similarity.reports import target
from image_similarity.store import as_of, clock, models, versions
from image_similarity.store.catalog import Catalog
from image_similarity.store.gallery import PlaceFilter
from image_similarity.values import Hit, Moment, SearchKind, SearchResult
from image_similarity.whole_file import writing

KIND = "image_similarity manifest"
FORMAT = 1
# A folder of 1,000 queries with 500 hits each takes 150 MB.
MAX_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class ManifestDatabase:
    """A database at the moment of a search: where it lay, and `name`, as it was given.

    `rows_sha256` is what `store.as_of.digest` gives; `roots` are the folders of the sources, by name.
    """

    path: str
    name: str
    moment: Moment
    rows_sha256: str
    roots: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ManifestResult:
    """A place that was answered, with its distance; `database` is a position in the manifest's list."""

    rank: int
    distance: float
    sha256: str
    source: str
    path: str
    database: int


@dataclass(frozen=True, slots=True)
class ManifestQuery:
    """One query and its answer.

    `vector` is float16 little-endian; `made` says in words what of the picture was looked at, "" for all of it; `mode`
    and `scenes` are what the scene filter came to; `databases` are positions in the manifest's databases, `excluded`,
    for each of these, a position in its exclusions, None for none. Of the k nearest the last `cut_off` are not among
    the results: more unrelated pictures were expected to come as close than was asked for.
    """

    query: str
    sha256: str
    vector: bytes
    own_path: str | None
    stored: bool
    made: str
    mode: str
    scenes: tuple[str, ...]
    search: SearchKind
    databases: tuple[int, ...]
    excluded: tuple[int | None, ...]
    cut_off: int
    results: tuple[ManifestResult, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A search, whole: the program, the model, what all queries have in common, the databases, and the queries.

    `exclusions` are lists of the SHA-256 of contents that hash lists and decisions kept out.
    """

    made_at: str
    version: str
    libraries: Mapping[str, str]
    model: str
    fingerprint: str
    dim: int
    scene_model: str | None
    k: int
    max_distance: float | None
    places: PlaceFilter
    exclusions: tuple[tuple[str, ...], ...]
    databases: tuple[ManifestDatabase, ...]
    queries: tuple[ManifestQuery, ...]


# -- making ----------------------------------------------------------------------------------------------------------


class Writer:
    """Collects the results of one request, asked `with_basis`, and makes the manifest of them."""

    def __init__(self, catalogs: Sequence[Catalog], places: PlaceFilter) -> None:
        self._catalogs = {str(catalog.path): catalog for catalog in catalogs}
        self._places = places
        self._first: SearchResult | None = None
        self._queries: list[ManifestQuery] = []
        self._states: dict[tuple[str, Moment], int] = {}
        self._exclusions: dict[tuple[str, ...], int] = {}

    def add(self, result: SearchResult) -> None:
        """Take a result.

        Raises:
            UsageError: It does not say what it was computed from: it was put together of several.
        """
        basis = result.basis
        if basis is None:
            raise UsageError(
                "a manifest is of searches by one vector; this answer was put together of several",
                hint="leave out --manifest, or --fuse and --not",
            )
        self._first = self._first or result
        at = {state[0]: self._state(*state) for state in basis.moments}
        self._queries.append(
            ManifestQuery(
                query=result.query,
                sha256=result.sha256,
                vector=basis.vector,
                own_path=basis.own_path,
                stored=result.stored,
                made=result.query_made,
                mode=result.filter.mode,
                scenes=result.filter.scenes,
                search=result.search,
                databases=tuple(at.values()),
                excluded=tuple(map(self._exclusion, basis.excluded)),
                cut_off=result.strength.left_out if result.strength else 0,
                results=tuple(_result(hit, at[hit.database]) for hit in result.hits),
            )
        )

    def _state(self, path: str, moment: Moment) -> int:
        return self._states.setdefault((path, moment), len(self._states))

    def _exclusion(self, sha256s: tuple[str, ...]) -> int | None:
        if not sha256s:
            return None
        return self._exclusions.setdefault(tuple(sorted(sha256s)), len(self._exclusions))

    def manifest(self) -> Manifest:
        """Everything that was taken; every searched row is read once, for the digest of the rows.

        Raises:
            UsageError: Nothing was taken.
        """
        first = self._first
        if first is None:
            raise UsageError("there is no answer to make a manifest of")
        assert first.model.dim is not None  # noqa: S101 - a model that was searched with has vectors
        # Labels that no query was filtered by say nothing, and are the most to read.
        filtered = any(query.mode != "off" for query in self._queries)
        scene_model = first.scene_model.fingerprint if first.scene_model and filtered else None
        return Manifest(
            made_at=clock.now(),
            version=__version__,
            libraries=versions.installed(),
            model=first.model.name,
            fingerprint=first.model.fingerprint,
            dim=first.model.dim,
            scene_model=scene_model,
            k=first.k,
            max_distance=first.max_distance,
            places=self._places,
            exclusions=tuple(self._exclusions),
            databases=tuple(
                describe(self._catalogs[path], moment, first.model.fingerprint, scene_model)
                for path, moment in self._states
            ),
            queries=tuple(self._queries),
        )


def _result(hit: Hit, database: int) -> ManifestResult:
    place = hit.place
    return ManifestResult(
        hit.rank, hit.distance, hit.image.sha256, place.source, place.path, database
    )


def describe(
    catalog: Catalog, moment: Moment, fingerprint: str, scene_model: str | None
) -> ManifestDatabase:
    """Describe a database at a moment, for these models, with the digest of its rows.

    Raises:
        ManifestRefused: It has no vectors of the model.
    """
    with catalog.reading() as connection:
        by_fingerprint = {info.fingerprint: id_ for id_, info in models.stored(connection).items()}
        if fingerprint not in by_fingerprint:
            raise no_vectors(catalog, fingerprint)
        scene_model_id = by_fingerprint.get(scene_model or "")
        rows = as_of.digest(connection, moment, by_fingerprint[fingerprint], scene_model_id)
        roots = tuple(sorted(as_of.roots(connection).items()))
    path = to_text(str(catalog.path.absolute()))
    return ManifestDatabase(path, to_text(str(catalog.path)), moment, rows, roots)


def no_vectors(catalog: Catalog, fingerprint: str) -> ManifestRefused:
    """The error of a database that lacks the model of a manifest."""
    return ManifestRefused(
        f"{catalog.path} holds no vectors of the model {fingerprint[:12]} of the manifest",
        hint="name the database that the manifest was made of: -dp DB",
    )


# -- writing ---------------------------------------------------------------------------------------------------------


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that exists, unless it is an earlier manifest that may be replaced.

    Raises:
        UsageError.
    """
    target.refuse_existing(path, mark=f'{{"kind": "{KIND}"', overwrite=overwrite)


def write(path: Path, manifest: Manifest) -> None:
    """Write a manifest, readable by its owner only; it is there whole or not at all.

    Raises:
        ManifestRefused: It would be larger than can be read again.
        OSError.
    """
    data = text(manifest).encode("ascii")
    if len(data) > MAX_BYTES:
        raise ManifestRefused(
            f"the manifest would take {len(data)} bytes, {MAX_BYTES} can be read again",
            hint="ask with fewer queries at once, or a smaller -k",
        )
    with writing(path) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)


def text(manifest: Manifest) -> str:
    """Give the JSON text of a manifest: one line for each result, so that two can be compared line by line."""
    values = {"kind": KIND, "format": FORMAT, **asdict(manifest)}
    for query in values["queries"]:
        query["vector"] = base64.b64encode(query["vector"]).decode("ascii")
    for database in values["databases"]:
        database["roots"] = dict(database["roots"])
    return _lines(values) + "\n"


def _lines(values: dict[str, Any]) -> str:
    queries = values.pop("queries")
    shown = []
    for query in queries:
        results = ",\n    ".join(_json(each) for each in query.pop("results"))
        shown.append(f'{_json(query)[:-1]}, "results": [\n    {results}]}}')
    return f'{_json(values)[:-1]}, "queries": [\n  ' + ",\n  ".join(shown) + "]}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
