"""A query to ranked hits: which scenes are searched, how near each picture is, and where it was."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from image_similarity.errors import (
    ImageUnreadable,
    InvalidSetting,
    UnknownImage,
    UnknownScene,
    UnknownSource,
)
from image_similarity.pictures.names import from_text, to_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, Left, read_file
from image_similarity.pictures.walk import FileEntry, walk
from image_similarity.ranking import exhaustive
from image_similarity.ranking.scenes import likely_scenes
from image_similarity.search import choice
from image_similarity.search.meaning import Meaning
from image_similarity.search.request import MODES, SearchRequest
from image_similarity.store import catalog as stored
from image_similarity.store import gallery
from image_similarity.store.catalog import Catalog
from image_similarity.values import (
    Failure,
    Hit,
    ImageRecord,
    Place,
    SceneFilter,
    SceneScore,
    SearchResult,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

Mode = Literal["auto", "hard", "off", "named"]


def search(catalogs: Sequence[Catalog], request: SearchRequest) -> SearchResult:
    """Rank the pictures of one or several databases by their distance to one query.

    Hits are places, nearest first; ties are broken by SHA-256, then by path, then by database. The place that is the
    query's own path is left out, other places of the same content are hits marked `identical`. A query whose content
    is stored with the model is answered without loading a network.

    Raises:
        InvalidSetting, UnknownScene, UnknownSource, UnknownImage, AmbiguousModel: The request has no answer.
        CalibrationRefused: The calibration is of another model, or the model's reference table is damaged.
        ImageUnreadable: The query cannot be read or decoded.
        ModelError: No vectors of the model, or a network is needed and cannot be loaded.
    """
    if (request.query is None) == (request.sha256 is None):
        raise InvalidSetting("a query is either a picture or a SHA-256", hint="give one of the two")
    searcher = Searcher(catalogs, request)
    if request.query is not None:
        return searcher.answer_picture(request.query)
    assert request.sha256 is not None  # noqa: S101 - checked above
    return searcher.answer_stored(request.sha256)


def search_folder(
    catalogs: Sequence[Catalog], folder: Path, request: SearchRequest
) -> Iterator[SearchResult | Failure]:
    """Give one result for each picture below a folder, in the order of a walk; unreadable ones come as `Failure`.

    Raises:
        InvalidSetting, and whatever `search` raises about models, scenes and sources.
    """
    searcher = Searcher(catalogs, request)
    for entry in walk(folder):
        if isinstance(entry, Failure):
            yield entry
        elif isinstance(entry, FileEntry):
            answer = _answer_entry(searcher, entry)
            if answer is not None:
                yield answer


def _answer_entry(searcher: Searcher, entry: FileEntry) -> SearchResult | Failure | None:
    try:
        contents = read_file(entry.os_path)
        return (
            None
            if isinstance(contents, Left)
            else searcher.answer_contents(Path(entry.os_path), contents)
        )
    except PictureError as error:
        return Failure(
            entry.path,
            error.stage,
            error.error,
            error.message,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
        )


@dataclass(frozen=True, slots=True)
class _Query:
    """A query made comparable: its vector as it would be stored, its scenes, and where it lies."""

    label: str
    sha256: str
    vector: npt.NDArray[np.float16]
    scenes: tuple[SceneScore, ...]
    own_path: str | None
    was_stored: bool


@dataclass(frozen=True, slots=True)
class _Shelf:
    """One database, opened for this search: its vectors, and who among them has scene labels."""

    catalog: Catalog
    model_id: int
    scene_model_id: int | None
    gallery: gallery.Gallery
    labelled: npt.NDArray[np.bool_]


# The databases of a search with a connection each, inside transactions that end with the block that uses them.
_Open = Sequence[tuple[_Shelf, "Connection"]]


class Searcher:
    """Databases opened together to answer many queries of one request; vectors are loaded once.

    Between two answers no transaction is open: a long list of queries must not keep an index run from writing.
    """

    def __init__(self, catalogs: Sequence[Catalog], request: SearchRequest) -> None:
        request.check()
        self.request = request
        self._places = gallery.PlaceFilter(
            request.sources, request.under, request.include_gone, request.include_partial
        )
        with ExitStack() as stack:
            connections = [stack.enter_context(catalog.reading()) for catalog in catalogs]
            self._check_sources(connections)
            self.model = choice.choose(catalogs, connections, request.model)
            self._meaning = Meaning(self.model, request.calibration)
            self.scene_model = choice.choose_scenes(connections)
            self._check_scenes()
            self._shelves = [
                self._shelve(number, catalog, connection)
                for number, (catalog, connection) in enumerate(
                    zip(catalogs, connections, strict=True)
                )
            ]
        self._networks = choice.Networks(request.device, request.runtime)

    @contextmanager
    def _open(self) -> Iterator[_Open]:
        with ExitStack() as stack:
            yield [(shelf, stack.enter_context(shelf.catalog.reading())) for shelf in self._shelves]

    def _check_sources(self, connections: Sequence[Connection]) -> None:
        for name in self.request.sources:
            if not any(stored.find_source(connection, name) for connection in connections):
                raise UnknownSource(
                    f"no source is called {name!r}", hint="see: image-similarity db status"
                )

    def _check_scenes(self) -> None:
        names = [name for name in self.request.scene if name not in MODES]
        known = self.scene_model.info.scenes if self.scene_model else ()
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3)
                hint = (
                    f"did you mean {', '.join(near)}?"
                    if near
                    else "see: image-similarity models show builtin"
                )
                raise UnknownScene(
                    f"no scene is called {name!r}",
                    hint=hint if known else "index with --scenes first",
                )

    def _shelve(self, number: int, catalog: Catalog, connection: Connection) -> _Shelf:
        model_id, dim = self.model.ids[number], self.model.info.dim
        assert model_id is not None and dim is not None  # noqa: S101 - `choose` saw to both
        found = gallery.load(connection, model_id, dim, self._places)
        scene_model_id = self.scene_model.ids[number] if self.scene_model else None
        labelled = np.zeros(len(found.image_ids), dtype=np.bool_)
        if scene_model_id is not None:
            labelled = np.isin(found.image_ids, gallery.labelled(connection, scene_model_id))
        return _Shelf(catalog, model_id, scene_model_id, found, labelled)

    # -- the query ----------------------------------------------------------------------------------------------

    def answer_picture(self, path: Path) -> SearchResult:
        """Answer for a picture on disk.

        Raises:
            ImageUnreadable: If it cannot be read or decoded.
        """
        try:
            contents = read_file(str(path))
            if isinstance(contents, Left):
                raise ImageUnreadable(f"{path} is no picture ({contents.kind.rule})")
            return self.answer_contents(path, contents)
        except PictureError as error:
            raise ImageUnreadable(
                f"cannot read {path}: {error.message}", hint="the query must be a picture"
            ) from error

    def answer_stored(self, sha256: str) -> SearchResult:
        """Answer for a content that one of the databases holds, named by its SHA-256 or a prefix of it.

        Raises:
            UnknownImage: If none holds it, or not with this model's vector.
        """
        for shelf in self._shelves:
            try:
                record = shelf.catalog.image(sha256)
            except UnknownImage:
                continue
            with self._open() as shelves:
                found = self._stored_query(shelves, record.sha256, record.sha256, None)
                if found is not None:
                    return self._rank(shelves, found)
        raise UnknownImage(
            f"no database holds a vector of {sha256}", hint="give the picture itself as the query"
        )

    def answer_contents(self, path: Path, contents: Contents) -> SearchResult:
        """Answer for the bytes of a picture, from the database if it holds them, else with the network.

        Raises:
            PictureError: If they cannot be decoded.
        """
        own_path = str(path.resolve())
        with self._open() as shelves:
            found = self._stored_query(shelves, contents.digests.sha256, str(path), own_path)
            if found is not None:
                return self._rank(shelves, found)
        encoded = self._encode(path, contents, own_path)
        with self._open() as shelves:
            return self._rank(shelves, encoded)

    def _stored_query(
        self, shelves: _Open, sha256: str, label: str, own_path: str | None
    ) -> _Query | None:
        """The query as the databases hold it, or None if its vector, or labels that the filter needs, are in none."""
        vector: npt.NDArray[np.float16] | None = None
        scenes: tuple[SceneScore, ...] = ()
        for shelf, connection in shelves:
            if vector is None:
                vector = gallery.vector_of(connection, shelf.model_id, sha256)
            if not scenes and shelf.scene_model_id is not None:
                scenes = gallery.labels_of(connection, shelf.scene_model_id, sha256)
        if vector is None or (not scenes and self._filters):
            return None
        return _Query(label, sha256, vector, scenes, own_path, was_stored=True)

    @property
    def _filters(self) -> bool:
        """Whether an answer needs the query's own scenes."""
        return self.scene_model is not None and bool({"auto", "hard"} & set(self.request.scene))

    def _encode(self, path: Path, contents: Contents, own_path: str) -> _Query:
        wanted = {self.model.info.preprocess}
        if self.scene_model is not None:
            wanted.add(self.scene_model.info.preprocess)
        max_pixels = int(self.request.max_megapixels * 1_000_000)
        _, pixels = decode_for(contents.data, wanted, max_pixels=max_pixels)
        encoded = self._networks.encode(self.model, pixels[self.model.info.preprocess])
        if encoded.vectors is None or not encoded.finite[0]:
            raise PictureError("embed", "NotFinite", "the network gave no finite vector")
        vector = encoded.vectors[0].astype(np.float16)
        scenes: tuple[SceneScore, ...] = ()
        if self.scene_model is not None:
            if self.scene_model.info.fingerprint != self.model.info.fingerprint:
                encoded = self._networks.encode(
                    self.scene_model, pixels[self.scene_model.info.preprocess]
                )
            scenes = choice.labels_of(self.scene_model, encoded)
        return _Query(
            str(path), contents.digests.sha256, vector, scenes, own_path, was_stored=False
        )

    # -- the answer ---------------------------------------------------------------------------------------------

    def _searched_scenes(self, query: _Query) -> tuple[Mode, tuple[str, ...]]:
        """Which scenes are searched for this query."""
        asked = self.request.scene
        if self.scene_model is None or "off" in asked:
            return "off", ()
        if "hard" in asked:
            return "hard", tuple(score.name for score in query.scenes[:1])
        names = tuple(name for name in asked if name not in MODES)
        if "auto" not in asked:
            return "named", names
        likely = likely_scenes(query.scenes, self.scene_model.info.scene_mass)
        return "auto", tuple(dict.fromkeys([*likely, *names]))

    def _passing(
        self,
        shelf: _Shelf,
        connection: Connection,
        mode: Mode,
        scenes: Collection[str],
        sha256: str,
    ) -> npt.NDArray[np.bool_]:
        """Who passes the scene filter: a label in the set, no label at all, or the query's own content."""
        if mode == "off" or shelf.scene_model_id is None:
            return np.ones(len(shelf.gallery.image_ids), dtype=np.bool_)
        members = gallery.with_scenes(
            connection, shelf.scene_model_id, sorted(scenes), top_only=mode == "hard"
        )
        passing = ~shelf.labelled | np.isin(shelf.gallery.image_ids, members)
        own = gallery.id_of(connection, sha256)
        return passing if own is None else passing | (shelf.gallery.image_ids == own)

    def _rank(self, shelves: _Open, query: _Query) -> SearchResult:
        mode, scenes = self._searched_scenes(query)
        found: list[Hit] = []
        filtered: list[tuple[_Shelf, npt.NDArray[np.float32], npt.NDArray[np.bool_]]] = []
        for shelf, connection in shelves:
            squared = exhaustive.squared_distances(shelf.gallery.vectors, query.vector)
            passing = self._passing(shelf, connection, mode, scenes, query.sha256)
            filtered.append((shelf, squared, passing))
            found += self._hits(shelf, connection, squared, passing, query)
        found.sort(
            key=lambda hit: (
                hit.distance,
                hit.image.sha256,
                hit.place.path,
                hit.place.source,
                hit.database,
            )
        )
        hits = tuple(
            self._meaning.explain(replace(hit, rank=rank))
            for rank, hit in enumerate(found[: self.request.k], start=1)
        )
        hidden = sum(int(np.count_nonzero(~passing)) for _, _, passing in filtered)
        border = self._border(hits)
        nearer = sum(
            exhaustive.count_nearer(
                shelf.gallery.vectors[~passing], squared[~passing], query.vector, border
            )
            for shelf, squared, passing in filtered
        )
        return SearchResult(
            query=to_text(query.label),
            sha256=query.sha256,
            model=self.model.info,
            scene_model=self.scene_model.info if self.scene_model else None,
            query_scenes=query.scenes,
            stored=query.was_stored,
            k=self.request.k,
            max_distance=self.request.max_distance,
            search="exhaustive",
            filter=SceneFilter(
                mode=mode,
                scenes=scenes,
                searched=sum(int(np.count_nonzero(passing)) for _, _, passing in filtered),
                hidden=hidden,
                hidden_nearer=nearer,
            ),
            hits=hits,
            distances=self._meaning.table,
            calibration=self.request.calibration,
        )

    def _border(self, hits: Sequence[Hit]) -> float:
        """The distance below which a hidden picture would have taken a hit's place, or filled a free one."""
        if len(hits) == self.request.k:
            return hits[-1].distance
        furthest = self.request.max_distance
        # Just above: a picture at the maximum distance itself is a hit.
        return math.inf if furthest is None else math.nextafter(furthest, math.inf)

    def _hits(
        self,
        shelf: _Shelf,
        connection: Connection,
        squared: npt.NDArray[np.float32],
        passing: npt.NDArray[np.bool_],
        query: _Query,
    ) -> Iterator[Hit]:
        """The places, with exact distances, of all contents of one database that can be among the nearest."""
        rows = np.flatnonzero(passing)
        # One more than k: the query's own place, which is left out, may be all that its content has.
        near = rows[
            exhaustive.candidates(squared[rows], self.request.k + 1, self.request.max_distance)
        ]
        ids = shelf.gallery.image_ids[near].tolist()
        records = gallery.records(
            connection, ids, scene_model=shelf.scene_model_id, places=self._places
        )
        own = _own_place(records.values(), query.own_path)
        for row, image_id in zip(near.tolist(), ids, strict=True):
            distance = exhaustive.exact_distance(shelf.gallery.vectors[row], query.vector)
            if self.request.max_distance is not None and distance > self.request.max_distance:
                continue
            record = records[image_id]
            for place in record.places:
                if place is not own:
                    yield Hit(
                        rank=0,
                        distance=distance,
                        similarity=1.0 - distance * distance / 2.0,
                        identical=record.sha256 == query.sha256,
                        place=place,
                        image=record,
                        database=str(shelf.catalog.path),
                    )


def _own_place(records: Iterable[ImageRecord], own_path: str | None) -> Place | None:
    """The place that is the query itself; of disks that were mounted in turn at one folder, the latest."""
    own = [
        place
        for record in records
        for place in record.places
        if own_path is not None
        and str(Path(from_text(place.root)) / from_text(place.path)) == own_path
    ]
    return max(own, key=lambda place: (place.gone_since is None, place.first_seen), default=None)
