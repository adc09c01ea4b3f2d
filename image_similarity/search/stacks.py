"""Stacks of duplicates in a database: one content at several places, and contents that are near by PDQ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from image_similarity.errors import UnknownSource
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.matching import pdq
from image_similarity.store import catalog as stored
from image_similarity.store import copies, gallery
from image_similarity.store.catalog import Catalog
from image_similarity.values import Duplicates, ImageRecord, Stack, StackMember


def duplicates(
    catalog: Catalog,
    *,
    near: bool = False,
    turned: bool = False,
    sources: Sequence[str] = (),
    on_event: Listener = ignore,
) -> Duplicates:
    """Find the stacks of duplicates among the pictures that are still there; see `Case.duplicates`."""
    places = gallery.PlaceFilter(tuple(sources))
    with catalog.reading() as connection:
        for name in sources:
            if stored.find_source(connection, name) is None:
                raise UnknownSource(
                    f"no source is called {name!r}", hint="see: image-similarity db status"
                )
        hashes = copies.load(connection, places)
        identical = copies.at_several_places(connection, places)
    good = np.flatnonzero(hashes.qualities >= pdq.MIN_QUALITY)
    # Of many pictures it takes minutes, in which nobody could write if a transaction were open.
    groups = _near_groups(hashes.hashes[good], turned, on_event) if near else []
    near_rows = [good[group] for group in groups]
    ids = [int(hashes.image_ids[row]) for group in near_rows for row in group]
    with catalog.reading() as connection:
        records = gallery.records(connection, {*identical, *ids}, places=places)
    # What went meanwhile is no duplicate any more.
    near_rows = [_standing(hashes, group, records) for group in near_rows]
    return Duplicates(
        stacks=(
            *(
                Stack("identical", (StackMember(records[id_]),))
                for id_ in identical
                if len(records[id_].places) > 1
            ),
            *(_near_stack(hashes, group, records, turned) for group in near_rows if len(group) > 1),
        ),
        pictures=hashes.pictures,
        hashed=len(hashes.hashes),
        poor=len(hashes.hashes) - len(good),
        near=near,
        turned=turned,
        limit=pdq.MAX_DISTANCE,
        min_quality=pdq.MIN_QUALITY,
    )


def _near_groups(hashes: pdq.Hashes, turned: bool, on_event: Listener) -> list[pdq.Rows]:
    on_event(Started("comparing", "", len(hashes), unit="pictures"))
    return pdq.stacks(
        hashes,
        turned=turned,
        tell=lambda done: on_event(Progress(done, len(hashes), 0, 0)),
    )


def _standing(hashes: copies.Hashes, rows: pdq.Rows, records: dict[int, ImageRecord]) -> pdq.Rows:
    """The rows of the contents that still lie somewhere."""
    there = [bool(records[int(hashes.image_ids[row])].places) for row in rows]
    return rows[np.array(there, dtype=np.bool_)]


def _near_stack(
    hashes: copies.Hashes, rows: pdq.Rows, records: dict[int, ImageRecord], turned: bool
) -> Stack:
    """A stack of the contents in some rows, the one with most pixels first, the others by their distance to it."""

    def standing(row: int) -> tuple[int, int, str]:
        record = records[int(hashes.image_ids[row])]
        return -record.width * record.height, -record.size, record.sha256

    first = min(rows.tolist(), key=standing)
    own = hashes.hashes[rows]
    far, turn = pdq.nearest_orientation(hashes.hashes[first].tobytes(), own, turned=turned)
    members = [
        (
            int(distance),
            standing(row),
            StackMember(
                records[int(hashes.image_ids[row])],
                int(hashes.qualities[row]),
                int(distance),
                pdq.ORIENTATIONS[at],
            ),
        )
        for row, distance, at in zip(rows.tolist(), far, turn, strict=True)
    ]
    # The first is at distance 0 to itself, but so may others be.
    members.sort(key=lambda each: (each[0], each[1]))
    return Stack("near", tuple(each for *_, each in members), pdq.spread(own, turned=turned))
