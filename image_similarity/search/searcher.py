"""A query to ranked hits: which scenes are searched, how near each picture is, and where it was."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
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
from image_similarity.events import Listener, ignore
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, Left, read_file
from image_similarity.pictures.walk import FileEntry, walk
from image_similarity.ranking.batched import BATCH
from image_similarity.search import choice
from image_similarity.search.answer import answer_all
from image_similarity.search.beside import Beside
from image_similarity.search.meaning import Meaning
from image_similarity.search.query import Query
from image_similarity.search.request import MODES, SearchRequest
from image_similarity.search.seen import Asked, Opened
from image_similarity.search.shelf import Shelf, shelf_of
from image_similarity.store import catalog as stored
from image_similarity.store import gallery, hash_lists
from image_similarity.store.catalog import Catalog
from image_similarity.values import (
    Digests,
    DistanceTable,
    Failure,
    SceneScore,
    SearchResult,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from image_similarity.encoding.encoder import Encoder

Mode = Literal["auto", "hard", "off", "named"]


def search(
    catalogs: Sequence[Catalog],
    request: SearchRequest,
    *,
    on_event: Listener = ignore,
    shared: choice.Shared | None = None,
) -> SearchResult:
    """Rank the pictures of one or several databases by their distance to one query.

    Hits are places, nearest first; ties are broken by SHA-256, then by path, then by database. The place that is the
    query's own path is left out, other places of the same content are hits marked `identical`. A query whose content
    is stored with the model is answered without loading a network. Threads that search at once must have a `shared` in
    common.

    Raises:
        InvalidSetting, UnknownScene, UnknownSource, UnknownImage, AmbiguousModel: The request has no answer.
        CalibrationRefused: The calibration is of another model, or the model's reference table is damaged.
        ImageUnreadable: The query cannot be read or decoded.
        ModelError: No vectors of the model, or a network is needed and cannot be loaded.
        ExtraMissing: Near duplicates or a geometric check are asked for, and their package is not installed.
    """
    if (request.query is None) == (request.sha256 is None):
        raise InvalidSetting("a query is either a picture or a SHA-256", hint="give one of the two")
    beside = Beside(catalogs, request, on_event)
    searcher = Searcher(catalogs, beside.ranked, shared)
    if request.query is not None:
        return beside.add(searcher.answer_picture(request.query), request.query)
    assert request.sha256 is not None  # noqa: S101 - checked above
    return beside.add(searcher.answer_stored(request.sha256), None)


def search_folder(
    catalogs: Sequence[Catalog],
    folder: Path,
    request: SearchRequest,
    *,
    on_event: Listener = ignore,
) -> Iterator[SearchResult | Failure]:
    """Give one result for each picture below a folder, in the order of a walk; unreadable ones come as `Failure`.

    Raises:
        InvalidSetting, and whatever `search` raises about models, scenes and sources.
    """
    beside = Beside(catalogs, request, on_event)
    searcher = Searcher(catalogs, beside.ranked)
    # The first answers come at once; later ones together, which takes a fraction of the time.
    size, waiting = 1, list[Query | Failure]()
    for query in queries_below(searcher, folder):
        waiting.append(query)
        if len(waiting) >= size:
            yield from _answers(searcher, beside, waiting)
            size, waiting = min(2 * size, BATCH), []
    yield from _answers(searcher, beside, waiting)


def queries_below(searcher: Searcher, folder: Path) -> Iterator[Query | Failure]:
    """Give a query for each picture below a folder, in the order of a walk; unreadable ones come as `Failure`."""
    for entry in walk(folder):
        if isinstance(entry, Failure):
            yield entry
        elif isinstance(entry, FileEntry):
            query = _query_of(searcher, entry)
            if query is not None:
                yield query


def _answers(
    searcher: Searcher, beside: Beside, waiting: Sequence[Query | Failure]
) -> Iterator[SearchResult | Failure]:
    """The answers in the order of the pictures, failures among them."""
    queries = [each for each in waiting if isinstance(each, Query)]
    answers = iter(searcher.answer_queries(queries) if queries else [])
    for each in waiting:
        if isinstance(each, Failure):
            yield each
            continue
        answer = next(answers)
        try:
            yield beside.add(answer, Path(each.label))
        except ImageUnreadable as error:
            # Readable a moment ago: the others of the folder are searched all the same.
            yield Failure(answer.query, "read", "Changed", error.message)


def _query_of(searcher: Searcher, entry: FileEntry) -> Query | Failure | None:
    try:
        contents = read_file(entry.os_path)
        if isinstance(contents, Left):
            return None
        return searcher.query_of(Path(entry.os_path), contents)
    except PictureError as error:
        return Failure(
            entry.path,
            error.stage,
            error.error,
            error.message,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
        )
    except InvalidSetting as error:
        if searcher.request.region is None:
            raise
        # A box that fits the other pictures of the folder may leave this one.
        return Failure(
            entry.path,
            "decode",
            "RegionMisfits",
            error.message,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
        )


class Searcher:
    """Databases opened together to answer many queries of one request; vectors are kept until a database changes.

    Between two answers no transaction is open: a long list of queries must not keep an index run from writing.
    """

    def __init__(
        self,
        catalogs: Sequence[Catalog],
        request: SearchRequest,
        shared: choice.Shared | None = None,
    ) -> None:
        request.check()
        if request.index is not None and len(catalogs) > 1:
            raise InvalidSetting(
                "an index is of one database, several were given",
                hint="search them one by one, or without an index",
            )
        self.request = request
        with ExitStack() as stack:
            connections = [stack.enter_context(catalog.reading()) for catalog in catalogs]
            self._check_sources(connections)
            self._check_lists(connections)
            self.model = choice.choose(catalogs, connections, request.model)
            meaning = Meaning(self.model, request.calibration)
            self.scene_model = choice.choose_scenes(connections)
            self._check_scenes()
        places = gallery.PlaceFilter(
            request.sources, request.under, request.include_gone, request.include_partial
        )
        self._asked = Asked(request, places, self.model, self.scene_model, meaning)
        self._shelves = [
            (catalog, self._shelf(number, catalog)) for number, catalog in enumerate(catalogs)
        ]
        shared = shared or choice.Shared(
            choice.Networks(request.device, request.runtime), nullcontext()
        )
        self._networks, self._ranking = shared.networks, shared.ranking

    @contextmanager
    def _open(self) -> Iterator[list[Opened]]:
        with ExitStack() as stack:
            yield [
                Opened(catalog, shelf, stack.enter_context(catalog.reading()))
                for catalog, shelf in self._shelves
            ]

    @property
    def table(self) -> DistanceTable | None:
        """The reference table of the model, if it has one here."""
        return self._asked.meaning.table

    def encoder(self) -> Encoder:
        """The network of the model.

        Raises:
            ModelError: It cannot be loaded.
        """
        return self._networks.of(self.model)

    @contextmanager
    def vectors(self) -> Iterator[Callable[[str], npt.NDArray[np.float16]]]:
        """Give a function from the SHA-256 of a hit to its stored vector, float16 (dim,)."""
        with self._open() as databases:

            def vector_of(sha256: str) -> npt.NDArray[np.float16]:
                for opened in databases:
                    shelf = opened.shelf
                    found = gallery.vector_of(opened.connection, shelf.model_id, shelf.dim, sha256)
                    if found is not None:
                        return found
                raise UnknownImage(f"no database holds a vector of {sha256}")

            yield vector_of

    def _check_sources(self, connections: Sequence[Connection]) -> None:
        for name in self.request.sources:
            if not any(stored.find_source(connection, name) for connection in connections):
                raise UnknownSource(
                    f"no source is called {name!r}", hint="see: image-similarity db status"
                )

    def _check_lists(self, connections: Sequence[Connection]) -> None:
        if self.request.known == "only" and not any(map(hash_lists.lists, connections)):
            raise InvalidSetting(
                "only known pictures were asked for, and there is no hash list",
                hint="import one: image-similarity hashlist import FILE -dp DB",
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

    def _shelf(self, number: int, catalog: Catalog) -> Shelf:
        model_id, dim = self.model.ids[number], self.model.info.dim
        assert model_id is not None and dim is not None  # noqa: S101 - `choose` saw to both
        scene_model_id = self.scene_model.ids[number] if self.scene_model else None
        return shelf_of(catalog, model_id, dim, scene_model_id)

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
        return self.answer_queries([self.query_of_stored(sha256)])[0]

    def query_of_stored(self, sha256: str) -> Query:
        """Make a query of a content that one of the databases holds; see `answer_stored`."""
        for catalog, _ in self._shelves:
            try:
                record = catalog.image(sha256)
            except UnknownImage:
                continue
            with self._open() as databases:
                found = self._stored_query(databases, record.sha256, record.sha256, None)
                if found is not None:
                    digests = Digests(record.sha256, record.sha1, record.md5)
                    return replace(found, digests=digests)
        what, hint = "a vector", "give the picture itself as the query"
        if self._filters:
            what, hint = "a vector and scene labels", f"{hint}, or --scene off"
        raise UnknownImage(f"no database holds {what} of {sha256}", hint=hint)

    def answer_contents(self, path: Path, contents: Contents) -> SearchResult:
        """Answer for the bytes of a picture, from the database if it holds them, else with the network.

        Raises:
            PictureError: If they cannot be decoded.
        """
        return self.answer_queries([self.query_of(path, contents)])[0]

    def answer_queries(
        self, queries: Sequence[Query], *, as_one: bool = False
    ) -> list[SearchResult]:
        """Answer queries that `query_of` gave, all at once; `as_one`: what was judged for one is judged for all."""
        with self._ranking, self._open() as databases:
            return answer_all(databases, self._asked, queries, as_one=as_one)

    def query_of(self, path: Path, contents: Contents) -> Query:
        """Make a query of the bytes of a picture, from the database if it holds them, else with the network.

        Raises:
            PictureError: If they cannot be decoded.
            InvalidSetting: If the region that is asked for does not fit the picture.
        """
        own_path = str(path.resolve())
        if self.request.region is not None:
            # What is stored is the vector of the whole picture.
            return self._encode(path, contents, own_path)
        with self._open() as databases:
            found = self._stored_query(databases, contents.digests.sha256, str(path), own_path)
        if found is None:
            return self._encode(path, contents, own_path)
        return replace(found, digests=contents.digests)

    def _stored_query(
        self, databases: Sequence[Opened], sha256: str, label: str, own_path: str | None
    ) -> Query | None:
        """The query as the databases hold it, or None if its vector, or labels that the filter needs, are in none."""
        vector: npt.NDArray[np.float16] | None = None
        scenes: tuple[SceneScore, ...] = ()
        for opened in databases:
            shelf, connection = opened.shelf, opened.connection
            if vector is None:
                vector = gallery.vector_of(connection, shelf.model_id, shelf.dim, sha256)
            if not scenes and shelf.scene_model_id is not None:
                scenes = gallery.labels_of(connection, shelf.scene_model_id, sha256)
        if vector is None or (not scenes and self._filters):
            return None
        return Query(label, sha256, vector, scenes, own_path, was_stored=True)

    @property
    def _filters(self) -> bool:
        """Whether an answer needs the query's own scenes."""
        return self.scene_model is not None and bool({"auto", "hard"} & set(self.request.scene))

    def _encode(self, path: Path, contents: Contents, own_path: str) -> Query:
        wanted = {self.model.info.preprocess}
        if self.scene_model is not None:
            wanted.add(self.scene_model.info.preprocess)
        max_pixels = int(self.request.max_megapixels * 1_000_000)
        region = self.request.region
        _, pixels = decode_for(contents.data, wanted, max_pixels=max_pixels, region=region)
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
        return Query(
            str(path),
            contents.digests.sha256,
            vector,
            scenes,
            own_path,
            was_stored=False,
            made="" if region is None else str(region),
            digests=contents.digests,
        )
