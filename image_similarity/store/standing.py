"""Standing: which contents count in a search, and whether a database is still what it was."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    select,
    true,
)

from image_similarity.store.engine import is_sqlite, plain_rows
from image_similarity.store.gallery import PlaceFilter, counting
from image_similarity.store.schema import (
    embedding_table,
    file_table,
    image_table,
    run_table,
    scene_pack_table,
    source_table,
    vector_pack_table,
)

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Standing:
    """Which contents count: with `included` those of `image_ids` (int64, ascending), else all but those."""

    included: bool
    image_ids: Ids

    def mask(self, image_ids: Ids) -> npt.NDArray[np.bool_]:
        """Whether each of these contents, bool (n,), counts."""
        if not len(self.image_ids):
            return np.full(len(image_ids), not self.included)
        at = np.minimum(np.searchsorted(self.image_ids, image_ids), len(self.image_ids) - 1)
        found: npt.NDArray[np.bool_] = self.image_ids[at] == image_ids
        return found if self.included else ~found


@dataclass(frozen=True, slots=True)
class State:
    """What the last write left: while it stays equal, one request has one answer.

    Every batch of a run is written together with the run's account, so its text tells one write from the next; `open`
    holds those of all runs that are open on a server, where there may be several. Packs may be made at another time:
    the answers are the same then, but not where to read what they need.
    """

    run_id: int
    account: str
    open: str
    newest_image: int
    packs: int


@dataclass(frozen=True, slots=True)
class Extent:
    """Which vectors a model has: how many, and the SHA-256 of the content with the greatest id among them.

    Vectors are added, never changed or deleted: an index made of them holds them all as long as this stays equal.
    """

    vectors: int
    newest: str


def standing(connection: Connection, filter_: PlaceFilter) -> Standing:
    """Say which contents have a place that counts.

    Without a choice of sources or paths these are nearly all, and the few others are found by indexes of their own:
    those without any live place, and those that were decoded only in part, as far as the filter leaves them out.
    """
    partial = np.empty(0, np.int64) if filter_.include_partial else _partial(connection)
    if filter_.sources or filter_.below:
        statement = select(file_table.c.image_id).where(counting(filter_), *_range(filter_))
        return Standing(True, _ascending(_ids(connection, statement), partial))
    gone = np.empty(0, np.int64) if filter_.include_gone else _gone(connection)
    return Standing(False, _ascending(np.concatenate([gone, partial])))


def _range(filter_: PlaceFilter) -> list[ColumnElement[bool]]:
    """The paths below a folder once more, so that the index of sources and paths finds them.

    Here only: where a few contents are asked for, SQLite would take this index, too, and read the whole folder.
    """
    below = filter_.below
    if not below:
        return []
    of_any = file_table.c.source_id.in_(select(source_table.c.id))
    # In the order of bytes, which is SQLite's, "0" follows "/".
    return [of_any, file_table.c.path >= f"{below}/", file_table.c.path < f"{below}0"]


def _gone(connection: Connection) -> Ids:
    live = file_table.alias("live")
    is_live = live.c.gone_run_id.is_(None) & (live.c.image_id == file_table.c.image_id)
    statement = select(file_table.c.image_id).where(
        file_table.c.gone_run_id.is_not(None), ~exists(1).where(is_live)
    )
    return _ids(connection, statement)


def _partial(connection: Connection) -> Ids:
    return _ids(connection, select(image_table.c.id).where(image_table.c.partial == true()))


def _ids(connection: Connection, statement: Select[tuple[int]]) -> Ids:
    rows = plain_rows(connection, statement)
    return np.fromiter(chain.from_iterable(rows), np.int64, len(rows))


def _ascending(image_ids: Ids, without: Ids | None = None) -> Ids:
    """Each id once, in order; ids are small and dense, so marking them beats sorting."""
    marked = np.zeros(int(image_ids.max(initial=0)) + 1, dtype=np.bool_)
    marked[image_ids] = True
    if without is not None:
        marked[without[without < len(marked)]] = False
    return np.flatnonzero(marked)


# Made once: asked before each query, it took longer to build than to answer.
_NEWEST_RUN = select(func.max(run_table.c.id)).scalar_subquery()
_STATE = select(
    _NEWEST_RUN,
    select(cast(run_table.c.account, Text)).where(run_table.c.id == _NEWEST_RUN).scalar_subquery(),
    select(func.max(embedding_table.c.image_id))
    .where(embedding_table.c.model_id == bindparam("model_id"))
    .scalar_subquery(),
    select(func.count()).select_from(vector_pack_table).scalar_subquery(),
    select(func.count()).select_from(scene_pack_table).scalar_subquery(),
)
# Of a file none but the newest run can be open, and to look through all of a thousand takes half a millisecond.
_STATE_OF_FILE = _STATE.add_columns(literal_column("''"))
_STATE_ON_SERVER = _STATE.add_columns(
    select(func.aggregate_strings(cast(run_table.c.account, Text), "\n"))
    .where(run_table.c.status == "running")
    .scalar_subquery()
)


def state(connection: Connection, model_id: int) -> State:
    """Give what tells one state of the database from the next; one look-up, so it may be asked before each query."""
    statement = _STATE_OF_FILE if is_sqlite(connection) else _STATE_ON_SERVER
    row = connection.execute(statement, {"model_id": model_id}).one()
    run_id, account, newest, vector_packs, scene_packs, open_ = row
    return State(run_id or 0, account or "", open_ or "", newest or 0, vector_packs + scene_packs)


def newest(connection: Connection, model_id: int) -> int:
    """The greatest id of a content that has a vector of a model, 0 if none has: no fewer than have one."""
    statement = select(func.max(embedding_table.c.image_id))
    return connection.execute(statement.where(embedding_table.c.model_id == model_id)).scalar() or 0


def extent(connection: Connection, model_id: int) -> Extent:
    """Say which vectors a model has; counted in an index, some hundredths of a second a million."""
    count = select(func.count()).where(embedding_table.c.model_id == model_id)
    newest = (
        select(image_table.c.sha256)
        .join(embedding_table, embedding_table.c.image_id == image_table.c.id)
        .where(embedding_table.c.model_id == model_id)
        .order_by(embedding_table.c.image_id.desc())
        .limit(1)
    )
    return Extent(connection.execute(count).scalar_one(), connection.execute(newest).scalar() or "")
