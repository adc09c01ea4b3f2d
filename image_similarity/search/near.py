"""Near duplicates of a query, by PDQ: told beside the hits, which are ranked by the model's distance alone.

A copy whose scene is judged otherwise than the query's is found here: the scene filter does not apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.errors import ImageUnreadable, InvalidSetting
from image_similarity.matching import pdq
from image_similarity.matching.pdq import PdqHash
from image_similarity.pictures.names import on_disk
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, read_file
from image_similarity.search.answer import hit_order
from image_similarity.search.request import SearchRequest
from image_similarity.store import copies, dates, gallery, marks
from image_similarity.store.catalog import Catalog
from image_similarity.values import Hit, ImageRecord, NearHit, NearSearch, SearchResult

if TYPE_CHECKING:
    from sqlalchemy import Connection


class NearFinder:
    """Finds the near duplicates of queries in databases, whose hashes it reads once."""

    def __init__(self, catalogs: Sequence[Catalog], request: SearchRequest) -> None:
        self._request = request
        self._places = gallery.PlaceFilter(
            request.sources, request.under, request.include_gone, request.include_partial
        )
        self._databases: list[tuple[Catalog, copies.Hashes]] = []
        for catalog in catalogs:
            with catalog.reading() as connection:
                self._databases.append((catalog, copies.load(connection, self._places)))

    def add(self, result: SearchResult, path: Path | None) -> SearchResult:
        """Give a result with the near duplicates of its query, and the PDQ distances of its hits.

        Args:
            result: Any result of the same request.
            path: Where the query lies on disk, if it was given so; that place is left out.

        Raises:
            ImageUnreadable: The query's hash is not stored, and the picture has changed or cannot be read.
            ExtraMissing: Its hash is not stored, and pdqhash is not installed.
        """
        stored = [hashes for _, hashes in self._databases]
        found = NearSearch(
            quality=0,
            min_quality=pdq.MIN_QUALITY,
            limit=pdq.MAX_DISTANCE,
            turned=self._request.turned,
            pictures=sum(each.pictures for each in stored),
            hashed=sum(len(each.hashes) for each in stored),
            poor=sum(int((each.qualities < pdq.MIN_QUALITY).sum()) for each in stored),
            hits=(),
        )
        if not found.hashed:
            return replace(result, near=found)
        own = self._hash_of(result.sha256, path)
        if own.quality < pdq.MIN_QUALITY:
            return replace(result, near=replace(found, quality=own.quality))
        irrelevant = self._irrelevant(result.sha256)
        hits = [
            hit
            for catalog, hashes in self._databases
            for hit in self._near(catalog, hashes, own, result, path)
            if hit.image.sha256 not in irrelevant
        ]
        distances = self._distances(own, result.hits)
        return replace(
            result,
            near=replace(found, quality=own.quality, hits=tuple(sorted(hits, key=hit_order))),
            hits=tuple(
                replace(hit, pdq_distance=distances.get(hit.image.sha256)) for hit in result.hits
            ),
        )

    def _hash_of(self, sha256: str, path: Path | None) -> PdqHash:
        for catalog, _ in self._databases:
            with catalog.reading() as connection:
                stored = copies.hash_of(connection, sha256)
            if stored is not None:
                return PdqHash(*stored)
        if path is None:
            raise InvalidSetting(
                f"no database holds a PDQ hash of {sha256}",
                hint="give the picture itself as the query, or: image-similarity refresh --pdq",
            )
        pdq.require()
        try:
            contents = read_file(str(path))
            if not isinstance(contents, Contents) or contents.digests.sha256 != sha256:
                raise ImageUnreadable(f"{path} changed while it was searched with")
            limit = int(self._request.max_megapixels * 1_000_000)
            _, pixels = decode_for(contents.data, {pdq.PREPROCESS}, max_pixels=limit)
        except PictureError as error:
            raise ImageUnreadable(f"cannot read {path}: {error.message}") from error
        return pdq.hash_pixels(pixels[pdq.PREPROCESS])

    def _near(
        self,
        catalog: Catalog,
        hashes: copies.Hashes,
        own: PdqHash,
        result: SearchResult,
        path: Path | None,
    ) -> Iterator[NearHit]:
        """The near duplicates in one database, each place of them."""
        far, turn = pdq.nearest_orientation(own.hash, hashes.hashes, turned=self._request.turned)
        rows = np.flatnonzero((far <= pdq.MAX_DISTANCE) & (hashes.qualities >= pdq.MIN_QUALITY))
        ids = hashes.image_ids[rows].tolist()
        own_path = None if path is None else str(path.resolve())
        with catalog.reading() as connection:
            records = gallery.records(connection, ids, places=self._places)
            kept = self._kept(connection, records)
        for row, id_ in zip(rows.tolist(), ids, strict=True):
            if id_ not in kept:
                continue
            record = records[id_]
            for place in record.places:
                if on_disk(place) != own_path:
                    yield NearHit(
                        distance=int(far[row]),
                        quality=int(hashes.qualities[row]),
                        orientation=pdq.ORIENTATIONS[turn[row]],
                        identical=record.sha256 == result.sha256,
                        place=place,
                        image=record,
                        database=str(catalog.path),
                    )

    def _irrelevant(self, sha256: str) -> set[str]:
        """The contents that were judged irrelevant for a query in any database, unless they are asked for."""
        if self._request.include_irrelevant:
            return set()
        found: set[str] = set()
        for catalog, _ in self._databases:
            with catalog.reading() as connection:
                said = marks.verdicts(connection, sha256)
            found.update(each for each, verdict in said.items() if verdict == "irrelevant")
        return found

    def _kept(self, connection: Connection, records: Mapping[int, ImageRecord]) -> set[int]:
        """The contents that hash lists, tags and dates leave in a search, as they do for hits; see `excluded`."""
        request, kept = self._request, set(records)
        if request.tags:
            kept &= set(connection.execute(marks.tagged(request.tags)).scalars())
        if request.taken_from is not None or request.taken_to is not None:
            kept &= set(dates.taken_ids(connection, request.taken_from, request.taken_to))
        if request.known != "mark":
            only = request.known == "only"
            kept = {id_ for id_ in kept if bool(records[id_].known) == only}
        return kept

    def _distances(self, own: PdqHash, hits: Sequence[Hit]) -> dict[str, int]:
        """The PDQ distance of each hit, by SHA-256, where it has a hash of quality."""
        found: dict[str, int] = {}
        for catalog, _ in self._databases:
            with catalog.reading() as connection:
                for sha256 in {hit.image.sha256 for hit in hits}.difference(found):
                    stored = copies.hash_of(connection, sha256)
                    if stored is None or stored[1] < pdq.MIN_QUALITY:
                        continue
                    other = np.frombuffer(stored[0], dtype=np.uint8)[None]
                    far, _ = pdq.nearest_orientation(own.hash, other, turned=self._request.turned)
                    found[sha256] = int(far[0])
        return found
