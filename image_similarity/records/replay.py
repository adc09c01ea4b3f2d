"""Replay: rank again from the vectors in a manifest, over the rows as they were then, and say same or where not.

It is written for itself, so that it checks the search and not only repeats it: every stored vector is compared, without
codes, packs, indexes or a network, and the distances of what can be among the nearest are computed as
`ranking.exhaustive.exact_distance` does: float64 differences of the stored float16 values, an exactly rounded sum, so
that neither the machine nor the block size can move a bit of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from image_similarity.errors import InvalidSetting, UsageError
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.pictures.names import from_text
from image_similarity.ranking import bounded, exhaustive
from image_similarity.records.manifest import (
    Manifest,
    ManifestDatabase,
    ManifestQuery,
    ManifestResult,
    no_vectors,
)
from image_similarity.store import as_of, models
from image_similarity.store.catalog import Catalog
from image_similarity.values import Difference, Moment, Place, Replayed, ReplayReport

if TYPE_CHECKING:
    from sqlalchemy import Connection

Half = npt.NDArray[np.float16]

# Contents that are compared at once; the answer does not depend on it.
BLOCK = 4096


@dataclass(slots=True)
class _Near:
    """The nearest contents of one database to one query so far: (distance, SHA-256, image id), and all ties.

    `listed` are the distances of the contents that the manifest answers, and of the query's own, by SHA-256, passing or
    not.
    """

    query: ManifestQuery
    vector: Half
    excluded: frozenset[str]
    furthest: float
    found: list[tuple[float, str, int]] = field(default_factory=list)
    listed: dict[str, float] = field(default_factory=dict)

    def add(self, found: Sequence[tuple[float, str, int]], count: int) -> None:
        """Take more, and forget what is further than the `count` nearest."""
        self.found = sorted([*self.found, *found])
        if len(self.found) >= count:
            self.furthest = self.found[count - 1][0]
            self.found = [each for each in self.found if each[0] <= self.furthest]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A database of the manifest inside a transaction: the moment whose rows are read, and the ids of its models."""

    connection: Connection
    described: ManifestDatabase
    number: int
    moment: Moment
    model_id: int
    scene_model_id: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some contents: which count, bool (n,), the row of each by its SHA-256, and the scenes of each, see `_labels`."""

    contents: as_of.Contents
    counts: npt.NDArray[np.bool_]
    rows: Mapping[str, int]
    labels: npt.NDArray[np.int64]


def replay(
    catalogs: Sequence[Catalog],
    manifest: Manifest,
    *,
    block: int = BLOCK,
    on_event: Listener = ignore,
) -> ReplayReport:
    """Rank again and compare; needs neither the pictures nor a network.

    A database that is not the one of the manifest, as its audit chain tells, is searched as it stands now, and the
    difference is reported.

    Args:
        catalogs: One for each path in the manifest, in that order.
        manifest: What `manifest_reading.read` gave.
        block: Contents compared at once, at least 1; the answer does not depend on it.
        on_event: Gets `Started` and `Progress`, counted in databases.

    Raises:
        UsageError: Another number of databases.
        InvalidSetting: `block` is below 1.
        ManifestRefused: A database has no vectors of the model.
        DatabaseDamaged.
    """
    if block < 1:
        raise InvalidSetting(f"a block of {block} pictures", hint="it takes 1 or more")
    by_path = dict(zip(paths(manifest), catalogs, strict=False))
    if len(catalogs) != len(paths(manifest)):
        raise UsageError(
            f"databases in the manifest: {len(paths(manifest))}, given: {len(catalogs)}",
            hint="name one for each: " + ", ".join(paths(manifest)),
        )
    on_event(Started("replay", "", len(manifest.databases), "databases"))
    answers: list[list[ManifestResult]] = [[] for _ in manifest.queries]
    distances: list[dict[tuple[int, str], float]] = [{} for _ in manifest.queries]
    differences: list[Difference] = []
    for number, described in enumerate(manifest.databases):
        catalog = by_path[described.path]
        with catalog.reading() as connection:
            opened, found = _open(connection, catalog, manifest, number)
            differences += found
            asked = [at for at, q in enumerate(manifest.queries) if number in q.databases]
            nears = _look(opened, manifest, [manifest.queries[at] for at in asked], block)
            for at, near in zip(asked, nears, strict=True):
                answers[at] += _answer(opened, manifest, near)
                distances[at].update({(number, sha): far for sha, far in near.listed.items()})
        on_event(Progress(number + 1, len(manifest.databases), 0, 0))
    # In another database the query's content may well have another vector; that it is another is said already.
    elsewhere = any(difference.kind == "database" for difference in differences)
    return ReplayReport(
        queries=tuple(
            _compare(query, _ranked(found, manifest, query), known, elsewhere=elsewhere)
            for query, found, known in zip(manifest.queries, answers, distances, strict=True)
        ),
        databases=tuple(differences),
    )


def paths(manifest: Manifest) -> list[str]:
    """The databases of a manifest by path, each once; one that was written to meanwhile stands there several times."""
    return list(dict.fromkeys(database.path for database in manifest.databases))


# -- the databases ---------------------------------------------------------------------------------------------------


def _open(
    connection: Connection, catalog: Catalog, manifest: Manifest, number: int
) -> tuple[_Opened, list[Difference]]:
    """A database with the moment to read it at, and in what it is not what the manifest says."""
    described, name = manifest.databases[number], str(catalog.path)
    ids = {info.fingerprint: id_ for id_, info in models.stored(connection).items()}
    if manifest.fingerprint not in ids:
        raise no_vectors(catalog, manifest.fingerprint)
    moment, scene_model_id = described.moment, ids.get(manifest.scene_model or "")
    if not as_of.is_of(connection, moment):
        said = "not the database of the manifest, or its audit chain was cut or changed"
        moment = as_of.now(connection)
        there = [Difference("database", None, name, f"{said}; searched as it stands now")]
    else:
        there = []
    opened = _Opened(
        connection, described, number, moment, ids[manifest.fingerprint], scene_model_id
    )
    if there:
        return opened, there
    rows = as_of.digest(connection, moment, opened.model_id, scene_model_id)
    if rows == described.rows_sha256:
        return opened, []
    if moment.run_open:
        message = "a run was writing when the search was made, and went on to close places"
        return opened, [Difference("open", None, name, message, described.rows_sha256, rows)]
    message = f"the rows up to run {moment.run_id} are not those that were searched"
    return opened, [Difference("rows", None, name, message, described.rows_sha256, rows)]


# -- comparing every vector ------------------------------------------------------------------------------------------


def _look(
    opened: _Opened, manifest: Manifest, queries: Sequence[ManifestQuery], block: int
) -> list[_Near]:
    """The nearest contents to each query, and the distances of those that the manifest answers."""
    exclusions = [frozenset(each) for each in manifest.exclusions]
    furthest = math.inf if manifest.max_distance is None else manifest.max_distance
    nears = [
        _Near(
            query,
            np.frombuffer(query.vector, dtype="<f2"),
            _excluded(query, opened.number, exclusions),
            furthest,
        )
        for query in queries
    ]
    listed = [{query.sha256, *(each.sha256 for each in query.results)} for query in queries]
    ids = as_of.counting(opened.connection, opened.moment, manifest.places)
    scenes: dict[str, int] = {}
    for contents in as_of.contents(
        opened.connection, opened.moment, opened.model_id, manifest.dim, block
    ):
        here = _Block(
            contents,
            np.isin(contents.image_ids, ids),
            {sha256: row for row, sha256 in enumerate(contents.sha256)},
            _labels(opened, contents, scenes),
        )
        for near, wanted in zip(nears, listed, strict=True):
            _add(near, here, np.flatnonzero(_passing(near, here, scenes)), manifest.k + 1)
            near.listed.update(_distances(near.vector, here, wanted))
    return nears


def _excluded(
    query: ManifestQuery, number: int, exclusions: Sequence[frozenset[str]]
) -> frozenset[str]:
    at = query.excluded[query.databases.index(number)]
    return frozenset() if at is None else exclusions[at]


def _labels(
    opened: _Opened, contents: as_of.Contents, scenes: dict[str, int]
) -> npt.NDArray[np.int64]:
    """The scenes of each content, (n, K), the most probable first, -1 for none; `scenes` numbers their names."""
    found: Mapping[int, list[str]] = {}
    if opened.scene_model_id is not None:
        first, last = int(contents.image_ids[0]), int(contents.image_ids[-1])
        found = as_of.labels(opened.connection, opened.scene_model_id, first, last)
    width = max(map(len, found.values()), default=1)
    labels = np.full((len(contents.image_ids), width), -1, dtype=np.int64)
    for row, image_id in enumerate(contents.image_ids.tolist()):
        names = found.get(image_id, ())
        labels[row, : len(names)] = [scenes.setdefault(name, len(scenes)) for name in names]
    return labels


def _passing(near: _Near, block: _Block, scenes: Mapping[str, int]) -> npt.NDArray[np.bool_]:
    """Who counts, is not excluded, and passes the filter: a label among the scenes, none, or the query's content."""
    query, kept = near.query, block.counts.copy()
    kept[[block.rows[sha256] for sha256 in near.excluded & block.rows.keys()]] = False
    if query.mode == "off":
        return kept
    wanted = [scenes[name] for name in query.scenes if name in scenes]
    compared = block.labels[:, :1] if query.mode == "hard" else block.labels
    fits = np.isin(compared, wanted).any(axis=1) | (block.labels[:, 0] < 0)
    if query.sha256 in block.rows:
        fits[block.rows[query.sha256]] = True
    return kept & fits


def _add(near: _Near, block: _Block, rows: bounded.Rows, count: int) -> None:
    """Take those of some rows that are among the nearest so far; a product in float32 rules most of the others out."""
    contents, furthest = block.contents, None if math.isinf(near.furthest) else near.furthest
    rough = bounded.bounds_of_vectors(contents.vectors[rows], near.vector)
    rows = rows[bounded.within_reach(rough, count, furthest)]
    found = bounded.nearest(contents.vectors[rows], near.vector, count, furthest)
    near.add(
        [
            (distance, contents.sha256[rows[at]], int(contents.image_ids[rows[at]]))
            for at, distance in found
        ],
        count,
    )


def _distances(vector: Half, block: _Block, wanted: set[str]) -> dict[str, float]:
    vectors, found = block.contents.vectors, wanted & block.rows.keys()
    return {
        sha256: exhaustive.exact_distance(vectors[block.rows[sha256]], vector)
        for sha256 in found
        if np.isfinite(vectors[block.rows[sha256]]).all() and np.isfinite(vector).all()
    }


# -- from contents to places -----------------------------------------------------------------------------------------


def _answer(opened: _Opened, manifest: Manifest, near: _Near) -> Iterator[ManifestResult]:
    """The places of the nearest contents of one database, but for that of the query itself."""
    places = as_of.places(
        opened.connection,
        opened.moment,
        [image_id for _, _, image_id in near.found],
        manifest.places,
    )
    roots = dict(opened.described.roots)
    own = _own_place(
        [place for found in places.values() for place in found], near.query.own_path, roots
    )
    for distance, sha256, image_id in near.found:
        for place in places.get(image_id, []):
            if place is not own:
                yield ManifestResult(0, distance, sha256, place.source, place.path, opened.number)


def _own_place(
    places: Sequence[Place], own_path: str | None, roots: Mapping[str, str]
) -> Place | None:
    """The place that is the query itself; of disks that were mounted in turn at one folder, the latest.

    With the roots of the manifest: a source may have been moved since.
    """
    own = [
        place
        for place in places
        if own_path is not None
        and str(Path(from_text(roots.get(place.source, place.root))) / from_text(place.path))
        == from_text(own_path)
    ]
    return max(own, key=lambda place: (place.gone_since is None, place.first_seen), default=None)


def _ranked(
    found: Sequence[ManifestResult], manifest: Manifest, query: ManifestQuery
) -> list[ManifestResult]:
    """The k nearest but for what was cut off; ties by SHA-256, path, source and database."""

    def order(each: ManifestResult) -> tuple[float, str, str, str, str]:
        name = manifest.databases[each.database].name
        return each.distance, each.sha256, each.path, each.source, name

    nearest = sorted(found, key=order)[: manifest.k]
    kept = nearest[: max(0, len(nearest) - query.cut_off)]
    return [replace(each, rank=rank) for rank, each in enumerate(kept, start=1)]


# -- what differs ----------------------------------------------------------------------------------------------------


def _compare(
    query: ManifestQuery,
    again: Sequence[ManifestResult],
    known: Mapping[tuple[int, str], float],
    *,
    elsewhere: bool,
) -> Replayed:
    """Where the manifest's answer is not the one that was computed again."""
    wrong = [
        difference
        for result in query.results
        if (difference := _distance_difference(result, known)) is not None
    ]
    if query.stored and not elsewhere and not _is_own_vector(query, known):
        message = "the manifest's vector is not the one that is stored of this content"
        what = f"{query.query} ({query.sha256[:12]})"
        wrong.insert(0, Difference("query", None, what, message))
    before, after = {_key(each) for each in query.results}, {_key(each) for each in again}
    added = [
        Difference(
            "added",
            each.rank,
            _name(each),
            "among the nearest, and not in the manifest",
            "",
            _far(each),
        )
        for each in again
        if _key(each) not in before
    ]
    approximate = query.search == "approximate"
    if not approximate:
        wrong += [
            Difference(
                "missing",
                each.rank,
                _name(each),
                "in the manifest, and not among the nearest",
                _far(each),
            )
            for each in query.results
            if _key(each) not in after
        ]
        wrong += _other_ranks(query.results, again)
    faulty = {(each.rank, each.what) for each in wrong}
    return Replayed(
        query=query.query,
        sha256=query.sha256,
        search=query.search,
        results=len(query.results),
        confirmed=sum((each.rank, _name(each)) not in faulty for each in query.results),
        differences=(*wrong, *(() if approximate else added)),
        missed=tuple(added) if approximate else (),
    )


def _is_own_vector(query: ManifestQuery, known: Mapping[tuple[int, str], float]) -> bool:
    """Whether a database holds the query's vector as that of its content; else a manifest could name any picture."""
    return any(sha256 == query.sha256 and far == 0.0 for (_, sha256), far in known.items())


def _distance_difference(
    result: ManifestResult, known: Mapping[tuple[int, str], float]
) -> Difference | None:
    found = known.get((result.database, result.sha256))
    if found == result.distance:
        return None
    if found is None:
        message, shown = "its vector is not in the database", ""
    else:
        message, shown = "its distance is another", repr(found)
    return Difference("distance", result.rank, _name(result), message, _far(result), shown)


def _other_ranks(
    before: Sequence[ManifestResult], after: Sequence[ManifestResult]
) -> Iterator[Difference]:
    """The results that are in both answers, but not in one order; or whose rank is not their position."""
    kept = {_key(each) for each in after}
    common = [each for each in before if _key(each) in kept]
    listed = {_key(each) for each in before}
    order = [_key(each) for each in after if _key(each) in listed]
    for (position, result), expected in zip(enumerate(common, start=1), order, strict=False):
        if _key(result) != expected:
            now = str(order.index(_key(result)) + 1)
            message = "it stands elsewhere in the order"
            yield Difference("rank", result.rank, _name(result), message, str(position), now)
    for position, result in enumerate(before, start=1):
        if result.rank != position:
            message = "its rank is not its position in the list"
            yield Difference(
                "rank", result.rank, _name(result), message, str(result.rank), str(position)
            )


def _key(result: ManifestResult) -> tuple[int, str, str, str]:
    return result.database, result.sha256, result.source, result.path


def _name(result: ManifestResult) -> str:
    return f"{result.source}:{result.path} ({result.sha256[:12]})"


def _far(result: ManifestResult) -> str:
    return repr(result.distance)
