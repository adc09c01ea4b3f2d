"""What lists show of contents: few columns of few rows, and nothing that a damaged row could stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, select, true

from image_similarity.store import dates, gallery, hash_lists, marks
from image_similarity.store.holdings import Holdings, Numbers
from image_similarity.store.schema import file_table, image_table, pair_mark_table, source_table
from image_similarity.values import Decision, Digests, Listed, SceneScore


def listed(connection: Connection, held: Holdings, rows: Numbers, places: Numbers) -> list[Listed]:
    """Give contents by their rows of the holdings, each at one of its places; a few hundred at most."""
    ids: list[int] = held.contents.ids[rows].tolist()
    files: list[int] = held.places.ids[places].tolist()
    found = _contents(connection, ids)
    addresses = _addresses(connection, files)
    scenes = gallery.scenes_of(connection, ids, None)
    decided = marks.marks_of(connection, ids)
    digests = {id_: Digests(*map(_text, row[1:4])) for id_, row in found.items()}
    known = hash_lists.known(connection, digests)
    verdicts = _verdicts(connection, ids)
    live = held.places.live[places].tolist()
    return [
        Listed(
            sha256=digests[id_].sha256,
            width=_number(row.width),
            height=_number(row.height),
            partial=row.partial == 1,
            source=addresses[file][0],
            path=addresses[file][1],
            places=count,
            gone=not is_live,
            scene=_scene(scenes.get(id_, ())),
            taken=(row.taken or b"").decode("ascii", "replace"),
            tags=tuple(sorted(_values(decided.get(id_, ()), "tag"))),
            category=next(iter(_values(decided.get(id_, ()), "category")), ""),
            known=tuple(each.list for each in known.get(id_, ())),
            verdicts=tuple(sorted(verdicts.get(id_, ()))),
        )
        for id_, file, count, is_live in zip(ids, files, _many(held, rows), live, strict=True)
        if (row := found[id_])
    ]


def _contents(connection: Connection, ids: Sequence[int]) -> dict[int, Any]:
    """Their rows by id; EXIF, which may be long or damaged, is not read."""
    columns = image_table.c
    statement = select(
        columns.id,
        columns.sha256,
        columns.sha1,
        columns.md5,
        columns.width,
        columns.height,
        # Not as truth: SQLite keeps any number there, and SQLAlchemy refuses most.
        (columns.partial == true()).label("partial"),
        dates.moment().label("taken"),
    ).where(columns.id.in_(ids))
    return {row.id: row for row in connection.execute(statement)}


def _addresses(connection: Connection, files: Sequence[int]) -> dict[int, tuple[str, str]]:
    statement = (
        select(file_table.c.id, source_table.c.name, file_table.c.path)
        .join(source_table, source_table.c.id == file_table.c.source_id)
        .where(file_table.c.id.in_(files))
    )
    return {id_: (_text(name), _text(path)) for id_, name, path in connection.execute(statement)}


def _verdicts(connection: Connection, ids: Sequence[int]) -> dict[int, set[str]]:
    statement = select(pair_mark_table.c.image_id, pair_mark_table.c.verdict).where(
        pair_mark_table.c.image_id.in_(ids), pair_mark_table.c.withdrawn_at.is_(None)
    )
    found: dict[int, set[str]] = {}
    for id_, verdict in connection.execute(statement):
        found.setdefault(id_, set()).add(_text(verdict))
    return found


def _many(held: Holdings, rows: Numbers) -> list[int]:
    """At how many places contents lie; of those that lie nowhere any more at how many they lay."""
    places, every = held.places, len(held.contents.ids)
    live = np.bincount(places.rows[places.live], minlength=every)[rows]
    ever = np.bincount(places.rows, minlength=every)[rows]
    found: list[int] = np.where(live > 0, live, ever).tolist()
    return found


def _values(decisions: Sequence[Decision], kind: str) -> list[str]:
    return [_text(each.value) for each in decisions if each.kind == kind]


def _scene(scenes: Sequence[SceneScore]) -> SceneScore | None:
    if not scenes:
        return None
    share = scenes[0].probability
    sound = isinstance(share, float) and 0 <= share <= 1
    return SceneScore(_text(scenes[0].name), share if sound else 0.0)


def _text(value: object) -> str:
    """A text as it is; of a damaged row whatever is there."""
    return value if isinstance(value, str) else repr(value)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
