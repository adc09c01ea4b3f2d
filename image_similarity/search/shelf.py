"""Shelf: one database, opened for searches with one model: vectors, labels and who counts, kept until it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from image_similarity.errors import IndexRefused
from image_similarity.ranking import bounded
from image_similarity.ranking.bounded import Bounds, Coded, CodedQuery, Half, Rows
from image_similarity.store import dates, hash_lists, packs, standing
from image_similarity.store.catalog import Catalog
from image_similarity.store.gallery import PlaceFilter
from image_similarity.values import HashList, ModelInfo, PackedCodes

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from image_similarity.search.ann import AnnIndex

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Mode = Literal["auto", "hard", "off", "named"]

# Codes up to this size are kept in memory from the second query on; larger ones are read anew for each. 10,000,000
# pictures of 256 dimensions take 2.4 GiB.
KEPT_BYTES = 4 * 2**30
# Choices of places whose contents are remembered.
_FILTERS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Which rows (N,) were taken within a range of dates, and which do not tell when."""

    within: Mask
    undated: Mask


@dataclass(slots=True)
class _Contents:
    """What is known of one state of the database.

    Rows are the contents of all packs in order, then the loose ones. `labels` (K, N) are positions of scenes, the most
    probable first, and the number that stands for none; read when a filter asks for them.
    """

    ids: Ids
    packed: int
    loose: Half
    labels: tuple[npt.NDArray[np.integer], int] | None = None
    coded: Coded | None = None
    bits: npt.NDArray[np.uint8] | None = None
    counting: dict[PlaceFilter, Mask] = field(default_factory=dict)
    known: tuple[Sequence[HashList], Mask] | None = None
    taken: tuple[tuple[str | None, str | None], Taken] | None = None
    members: dict[tuple[int, bool], npt.NDArray[np.uint8]] = field(default_factory=dict)


class Shelf:
    """The vectors and labels of one database for one model; every method wants a connection inside a transaction.

    The first query streams the packed codes past the query and forgets them; from the second on they are in memory, as
    far as KEPT_BYTES allows. `open` must be called first in each transaction.
    """

    def __init__(self, model_id: int, dim: int, scene_model_id: int | None) -> None:
        self.model_id = model_id
        self.dim = dim
        self.scene_model_id = scene_model_id
        self._state: standing.State | None = None
        self._contents: _Contents | None = None
        self._first: tuple[Half, Bounds] | None = None
        self.recall: tuple[int, int] | None = None
        self._index: tuple[tuple[Path, int, int], AnnIndex] | None = None

    def open(self, connection: Connection, query: Half | None) -> None:
        """Read what is not known yet; a first query, float16 (dim,), is compared on the way.

        What was read is forgotten if the database has changed since.
        """
        state = standing.state(connection, self.model_id)
        if state != self._state:
            self._state, self._contents, self.recall, self._index = state, None, None, None
        if self._contents is None:
            near = self._streamed(connection, None if query is None else bounded.coded_query(query))
            self._first = None if query is None else (query, near)

    # -- who is there ---------------------------------------------------------------------------------------------

    @property
    def _known(self) -> _Contents:
        assert self._contents is not None  # noqa: S101 - every use begins with `open`
        return self._contents

    def __len__(self) -> int:
        return len(self._known.ids)

    @property
    def packed(self) -> int:
        """How many rows have codes; they come first."""
        return self._known.packed

    @property
    def coded(self) -> Coded | None:
        """The codes, if they are in memory."""
        return self._known.coded

    @property
    def loose(self) -> Half:
        """The vectors that have no codes, in the order of the last rows."""
        return self._known.loose

    def ids(self, rows: Rows) -> list[int]:
        """The image ids of rows."""
        found: list[int] = self._known.ids[rows].tolist()
        return found

    def rows_of(self, image_ids: Ids) -> Rows:
        """The rows of image ids, each of which must have a vector here."""
        known = self._known
        packed, loose = known.ids[: known.packed], known.ids[known.packed :]
        at = np.searchsorted(packed, image_ids)
        if not len(loose):
            return at
        there = packed[np.minimum(at, len(packed) - 1)] == image_ids if len(packed) else False
        return np.where(there, at, known.packed + np.searchsorted(loose, image_ids))

    def counting(self, connection: Connection, places: PlaceFilter) -> Mask:
        """Which rows have a place that counts; the others do not exist for the search."""
        known = self._known
        if places not in known.counting:
            if len(known.counting) == _FILTERS:
                known.counting.clear()
            known.counting[places] = standing.standing(connection, places).mask(known.ids)
        return known.counting[places]

    def known(self, connection: Connection, lists: Sequence[HashList]) -> Mask:
        """Which rows are of contents that any of the hash lists, all that there are, holds."""
        known = self._known
        if known.known is None or known.known[0] != lists:
            ids = hash_lists.known_ids(connection) if lists else ()
            known.known = (lists, self.rows_with(ids))
        return known.known[1]

    def taken(self, connection: Connection, first: str | None, last: str | None) -> Taken:
        """Which rows are of contents taken from `first` to `last`; of the last range asked for they are remembered."""
        known = self._known
        if known.taken is None or known.taken[0] != (first, last):
            within = self.rows_with(dates.taken_ids(connection, first, last))
            known.taken = (
                (first, last),
                Taken(within, self.rows_with(dates.undated_ids(connection))),
            )
        return known.taken[1]

    def rows_with(self, image_ids: Sequence[int] | Ids) -> Mask:
        """Which rows are of some contents; ids without a row are none."""
        there = np.unique(np.asarray(image_ids, dtype=np.int64))
        return standing.Standing(True, there).mask(self._known.ids)

    def passing(
        self, connection: Connection, mode: Mode, scenes: Collection[int], own: int | None
    ) -> Mask | None:
        """Who passes a scene filter: a label in the set (`hard`: the first), no label at all, or the query's content.

        Args:
            connection: Open.
            mode: The kind of filter.
            scenes: Positions of scenes in their model.
            own: The query's image id, if it is stored.

        Returns:
            A mask (N,), or None if nobody is left out.
        """
        known = self._known
        if mode == "off" or self.scene_model_id is None:
            return None
        labels, none = self._labels(connection, self.scene_model_id)
        passing: Mask = labels[0] == none
        for scene in scenes:
            passing |= self._members(labels, scene, top_only=mode == "hard")
        if own is not None:
            passing[known.ids == own] = True
        return passing

    def scene_counts(self, connection: Connection, counting: Mask) -> tuple[Ids, int]:
        """How many of some rows have each scene among their labels, by its position; and how many have no label."""
        if self.scene_model_id is None:
            return np.empty(0, dtype=np.int64), int(np.count_nonzero(counting))
        labels, none = self._labels(connection, self.scene_model_id)
        some = labels if counting.all() else labels[:, counting]
        counts = sum(np.bincount(column, minlength=none + 1) for column in some)
        unlabelled = int(np.count_nonzero(some[0] == none))
        return np.asarray(counts, dtype=np.int64)[:none], unlabelled

    def _labels(
        self, connection: Connection, scene_model_id: int
    ) -> tuple[npt.NDArray[np.integer], int]:
        known = self._known
        if known.labels is None:
            known.labels = labels_of(connection, scene_model_id, known.ids)
        return known.labels

    def _members(self, labels: npt.NDArray[np.integer], scene: int, *, top_only: bool) -> Mask:
        members = self._known.members
        if (scene, top_only) not in members:
            mask = labels[0] == scene
            for column in () if top_only else labels[1:]:
                mask |= column == scene
            members[scene, top_only] = np.packbits(mask)
        return np.unpackbits(members[scene, top_only], count=labels.shape[1]).view(np.bool_)

    # -- vectors --------------------------------------------------------------------------------------------------

    def bounds(self, connection: Connection, query: Half) -> Bounds:
        """Bound the distances of all rows from a query."""
        known = self._known
        first, self._first = self._first, None
        if first is not None and first[0] is query:
            near = first[1]
        elif self.load(connection) and known.coded is not None:
            near = bounded.bounds_of_codes(known.coded, bounded.coded_query(query))
        else:
            near = self._streamed(connection, bounded.coded_query(query))
        return _joined(near, bounded.bounds_of_vectors(known.loose, query))

    def load(self, connection: Connection) -> bool:
        """Have the codes in memory if they may be: for more than one query. Says whether they are."""
        known = self._known
        if known.coded is None and 0 < known.packed * self.dim <= KEPT_BYTES:
            known.coded = self._read_codes(connection, known.packed)
        return known.coded is not None or not known.packed

    def bits(self, connection: Connection) -> npt.NDArray[np.uint8]:
        """The 1-bit codes of the rows that have codes, uint8 (n, bytes)."""
        known = self._known
        if known.bits is None:
            known.bits = np.empty((known.packed, packs.bytes_of(self.dim)), dtype=np.uint8)
            at = 0
            for pack in packs.vector_packs(connection, self.model_id, self.dim, bits_only=True):
                known.bits[at : at + len(pack.image_ids)] = pack.bits
                at += len(pack.image_ids)
        return known.bits

    def index(self, connection: Connection, path: Path, model: ModelInfo) -> AnnIndex:
        """The approximate index of a file, read once for each state of the database and of the file.

        Raises:
            IndexRefused: It is missing, damaged, of another model or of another state.
            ExtraMissing: faiss is not installed.
        """
        # A file that is built anew replaces the one before, so it is another one by its number.
        stat = path.stat() if path.exists() else None
        key = (path, stat.st_ino, stat.st_mtime_ns) if stat else (path, 0, 0)
        kept = self._index
        if kept is None or kept[0] != key:
            from image_similarity.search import ann_file

            extent = standing.extent(connection, self.model_id)
            found = ann_file.load(path, model, extent)
            if not np.isin(found.image_ids, self._known.ids).all():
                raise IndexRefused(
                    f"{path} was built of other vectors than this database holds",
                    hint=f"build it again: image-similarity analyse ann -m {model.name} -dp DB",
                )
            self._index = kept = key, found
        return kept[1]

    def rough(self, rows: Rows, query: Half) -> Bounds | None:
        """Bound some rows, ascending, as a scan would, from what is in memory; None if nothing is."""
        return self._in_memory(
            rows,
            query,
            lambda coded, part: bounded.bounds_of_codes(
                bounded.some(coded, part), bounded.coded_query(query)
            ),
            bounded.bounds_of_vectors,
        )

    def closer(self, rows: Rows, query: Half) -> Bounds | None:
        """Bound some rows, ascending, more closely from what is in memory; None if nothing is."""
        return self._in_memory(
            rows,
            query,
            lambda coded, part: bounded.bounds_of_decoded(coded.packed, part, query),
            bounded.bounds_of_rows,
        )

    def _in_memory(
        self,
        rows: Rows,
        query: Half,
        bound: Callable[[Coded, Rows], Bounds],
        bound_loose: Callable[[Half, Half], Bounds],
    ) -> Bounds | None:
        known = self._known
        if known.packed and known.coded is None:
            return None
        split = int(np.searchsorted(rows, known.packed))
        some = known.loose
        if len(rows) - split < len(some):
            some = some[rows[split:] - known.packed]
        loose = bound_loose(some, query)
        return loose if known.coded is None else _joined(bound(known.coded, rows[:split]), loose)

    def vectors(self, connection: Connection, rows: Rows) -> Half:
        """The stored vectors, float16 (n, dim), of rows in ascending order."""
        known = self._known
        split = int(np.searchsorted(rows, known.packed))
        loose = known.loose[rows[split:] - known.packed]
        if not split:
            return loose
        packed = packs.vectors_at(connection, self.model_id, self.dim, known.ids[rows[:split]])
        return np.concatenate([packed, loose])

    # -- reading --------------------------------------------------------------------------------------------------

    def _streamed(self, connection: Connection, query: CodedQuery | None) -> Bounds:
        """Read the packs once, bounding what they hold on the way; the first time also everything else."""
        ids, parts = [np.empty(0, dtype=np.int64)], [_NOTHING]
        for pack in packs.vector_packs(
            connection, self.model_id, self.dim, codes_only=True, bits_only=query is None
        ):
            ids.append(pack.image_ids)
            if query is not None:
                parts.append(bounded.bounds_of_codes(bounded.coded(pack), query))
        if self._contents is None:
            self._contents = self._read(connection, np.concatenate(ids))
        return _joined(*parts)

    def _read(self, connection: Connection, packed: Ids) -> _Contents:
        gallery = packs.loose_vectors(connection, self.model_id, self.dim)
        ids = np.concatenate([packed, gallery.image_ids])
        return _Contents(ids, len(packed), gallery.vectors)

    def _read_codes(self, connection: Connection, count: int) -> Coded:
        codes = np.empty((count, self.dim), dtype=np.int8)
        scales, errors, squares, reach = np.empty((4, count), dtype=np.float32)
        bits = np.empty((count, 0), dtype=np.uint8)
        at = 0
        for pack in packs.vector_packs(connection, self.model_id, self.dim, codes_only=True):
            part = slice(at, at + len(pack.image_ids))
            codes[part], scales[part], errors[part] = pack.codes, pack.scales, pack.errors
            one = bounded.coded(pack)
            squares[part], reach[part] = one.squares, one.reach
            at = part.stop
        return Coded(PackedCodes(codes, scales, errors, bits), squares, reach)


_NOTHING = Bounds(np.empty(0, dtype=np.float32), np.empty(0, dtype=np.float32))


def _joined(*parts: Bounds) -> Bounds:
    filled = [part for part in parts if len(part)] or [_NOTHING]
    if len(filled) == 1:
        return filled[0]
    return Bounds(
        np.concatenate([part.centre for part in filled]),
        np.concatenate([part.radius for part in filled]),
    )


def labels_of(
    connection: Connection, scene_model_id: int, ids: Ids
) -> tuple[npt.NDArray[np.integer], int]:
    """The labels of contents as columns (K, N), and the number that stands for no label."""
    parts = [
        *packs.scene_packs(connection, scene_model_id),
        packs.loose_labels(connection, scene_model_id),
    ]
    width = max(part.labels.shape[1] for part in parts)
    none = parts[-1].none
    labelled = np.concatenate([part.image_ids for part in parts])
    table = np.full((width, len(labelled)), none, dtype=parts[-1].labels.dtype)
    at = 0
    for part in parts:
        count, columns = part.labels.shape
        table[:columns, at : at + count] = part.labels.T
        at += count
    if np.array_equal(labelled, ids):
        return table, none
    # Another model, or other ranges: each content's labels are looked up by its id.
    labels = np.full((width, len(ids)), none, dtype=table.dtype)
    if len(labelled):
        order = np.argsort(labelled, kind="stable")
        place = np.minimum(np.searchsorted(labelled, ids, sorter=order), len(labelled) - 1)
        found = order[place]
        known = labelled[found] == ids
        labels[:, known] = table[:, found[known]]
    return labels, none


_OPENED: WeakKeyDictionary[Catalog, dict[tuple[int, int | None], Shelf]] = WeakKeyDictionary()


def shelf_of(catalog: Catalog, model_id: int, dim: int, scene_model_id: int | None) -> Shelf:
    """Give the shelf of an opened database: the same one as long as it is open, with what it keeps."""
    shelves = _OPENED.setdefault(catalog, {})
    key = (model_id, scene_model_id)
    # One step, so that two threads get the same one.
    return shelves.setdefault(key, Shelf(model_id, dim, scene_model_id))
