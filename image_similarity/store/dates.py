"""When a picture was taken, as its camera wrote it: the one notion of a picture's date, for searches and for browsing.

Only EXIF's DateTimeOriginal counts: the times of a file say when it was copied. A camera's clock may be wrong, and
anyone may change it.
"""

from __future__ import annotations

import datetime
import re

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    case,
    cast,
    collate,
    func,
    select,
    true,
)

from image_similarity.errors import InvalidSetting
from image_similarity.store.dialects import ByDialect, as_bytes
from image_similarity.store.engine import plain_rows
from image_similarity.store.schema import image_table

_FORM = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)
# What completes a year, or a year and month, to a day.
_FIRST = "0000-01-01"


def day() -> ColumnElement[str | None]:
    """The day that a picture was taken, "2024-03-01", for a statement over `image`; NULL where it tells none."""
    return ByDialect(case((_is_day(), _first(10))), func.substr(_taken_at(), 1, 10))


def moment() -> ColumnElement[bytes | None]:
    """The day with the time that follows it, "2024-03-01T18:05:59", as bytes: behind the day anything may stand."""
    return ByDialect(case((_is_day(), as_bytes(_first(19)))), as_bytes(_taken_at()))


def _taken_at() -> ColumnElement[str]:
    """On PostgreSQL what the following are on SQLite: a function of the database, see migration 0001."""
    return collate(func.taken_at(image_table.c.exif, type_=Text()), "C")


def _is_day() -> ColumnElement[bool]:
    """Whether what is told begins with a day that there is: nobody could ask for 31 February, or for month 13."""
    # What is not written so, or is no day, becomes another text or NULL. Year 0 `checked` refuses, too.
    return and_(func.date(_first(10), "+0 days") == _first(10), _first(10) >= "0001")


def _first(count: int) -> ColumnElement[str]:
    return func.substr(_told(), 1, count)


def _told() -> ColumnElement[str]:
    # A damaged row may hold anything; SQLite would end the whole statement at text that is no JSON.
    exif = cast(image_table.c.exif, Text)
    sound = case((func.json_valid(exif) == 1, exif), else_="{}")
    return func.json_extract(sound, "$.date_time_original")


def between(first: str | None, last: str | None) -> ColumnElement[bool]:
    """The condition that a picture was taken from `first` to `last`, each included; see `checked` for their form."""
    conditions: list[ColumnElement[bool]] = [true()]
    if first is not None:
        conditions.append(ByDialect(day() >= first, _taken_at() >= first))
    if last is not None:
        # All of the last year, month or day: it is compared as far as it says something. PostgreSQL has an index, by
        # which it finds what comes before the first text that does not begin so.
        beyond = last[:-1] + chr(ord(last[-1]) + 1)
        conditions.append(ByDialect(func.substr(day(), 1, len(last)) <= last, _taken_at() < beyond))
    return and_(*conditions)


def taken_ids(connection: Connection, first: str | None, last: str | None) -> list[int]:
    """The ids of the contents that were taken within a range; see `between`."""
    return _ids(connection, between(first, last))


def undated_ids(connection: Connection) -> list[int]:
    """The ids of the contents that do not tell when they were taken."""
    return _ids(connection, ByDialect(day().is_(None), _taken_at().is_(None)))


def _ids(connection: Connection, condition: ColumnElement[bool]) -> list[int]:
    return [id_ for (id_,) in plain_rows(connection, select(image_table.c.id).where(condition))]


def checked(text: str | None, name: str) -> str | None:
    """Give a year, a month or a day as it was written: "2024", "2024-03", "2024-03-01".

    Raises:
        InvalidSetting: It is none; `name` says of what.
    """
    if text is None:
        return None
    try:
        if not _FORM.fullmatch(text):
            raise ValueError(text)
        datetime.date.fromisoformat(text + _FIRST[len(text) :])
    except ValueError as error:
        raise InvalidSetting(
            f"{name} {text!r} is no date",
            hint="write a year, month or day: 2024, 2024-03, 2024-03-01",
        ) from error
    return text
