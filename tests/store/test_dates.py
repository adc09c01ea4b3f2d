"""The date of a picture: what its camera wrote, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from image_similarity.errors import InvalidSetting
from image_similarity.store import dates
from image_similarity.store.catalog import Catalog
from image_similarity.store.schema import image_table
from image_similarity.values import Location, ServerUrl
from tests.search.synthetic import Row, at_angle, write_case

TAKEN = {
    "winter": "2023-12-31T23:59:59",
    "spring": "2024-03-01T00:00:00+01:00",
    "april": "2024-04-30T10:00:00",
    "never": "",
    "words": "in the year 2024",
    "quotes": '"2024-03-05',
    "month 13": "2024-13-05T10:00:00",
    "no day": "2024-00-00T00:00:00",
    "31 February": "2024-02-31T10:00:00",
    "year 0": "0000-01-01T00:00:00",
    "zeros": "0000-00-00T00:00:00",
    "blank": " 2024-03-05T10:00:00",
}


WROTE: list[tuple[dict[str, object], str | None]] = [
    # A NUL and half a character are in no text of PostgreSQL, but in that of a camera they may be.
    ({"user_comment": "a\0b", "date_time_original": "2024-03-05T10:00:00"}, "2024-03-05"),
    ({"user_comment": "\ud800", "date_time_original": "2024-03-05T10:00:00"}, "2024-03-05"),
    ({"user_comment": "\\u0000 \\ud800", "date_time_original": "2024-03-05"}, "2024-03-05"),
    ({"date_time_original": "2024-03-05\0:00"}, "2024-03-05"),
    ({"date_time_original": "2024-03\0-05"}, None),
    ({"date_time_original": "2024-03-0\ud835"}, None),
    ({"date_time_original": "2024-02-29"}, "2024-02-29"),
    ({"date_time_original": "2023-02-29"}, None),
    ({"date_time_original": "2000-02-29"}, "2000-02-29"),
    ({"date_time_original": "1900-02-29"}, None),
    ({"date_time_original": "2023-04-31"}, None),
    ({"date_time_original": "0000-02-29"}, None),
    ({"date_time_original": "0001-01-01"}, "0001-01-01"),
    ({"date_time_original": "9999-12-31"}, "9999-12-31"),
    ({"date_time_original": 20240305}, None),
    ({"date_time_original": ["2024-03-05"]}, None),
    ({"date_time_original": None}, None),
    ({"more": {"date_time_original": "2024-03-05"}}, None),
]


@pytest.fixture(scope="module")
def catalog(shared_location: Location) -> Iterator[Catalog]:
    rows = [Row(name, at_angle(0), taken=taken) for name, taken in TAKEN.items()]
    catalog = Catalog.open(write_case(shared_location, rows), read_only=True)
    yield catalog
    catalog.close()


def found(catalog: Catalog, first: str | None, last: str | None) -> set[str]:
    by_hash = {Row(name, ()).sha256: name for name in TAKEN}
    with catalog.reading() as connection:
        rows = connection.execute(select(image_table.c.sha256).where(dates.between(first, last)))
        return {by_hash[sha256] for (sha256,) in rows}


def test_the_day_is_that_of_the_camera_and_text_that_is_no_time_is_none(catalog: Catalog) -> None:
    with catalog.reading() as connection:
        days = connection.execute(select(dates.day()).order_by(image_table.c.id)).scalars().all()
    assert days == ["2023-12-31", "2024-03-01", "2024-04-30", *[None] * 9]


def test_a_picture_without_a_day_that_there_is_counts_as_undated(catalog: Catalog) -> None:
    with catalog.reading() as connection:
        undated = set(dates.undated_ids(connection))
        dated = set(dates.taken_ids(connection, "0001", "9999"))
    assert len(undated) == 9
    assert undated | dated == set(range(1, len(TAKEN) + 1))


@pytest.mark.parametrize(
    ("first", "last", "names"),
    [
        ("2024", None, {"spring", "april"}),
        (None, "2023", {"winter"}),
        ("2024-03", "2024-03", {"spring"}),
        ("2024-03-01", "2024-04-30", {"spring", "april"}),
        ("2024-03-02", "2024-04-29", set()),
        (None, "2024-04", {"winter", "spring", "april"}),
        (None, None, set(TAKEN)),
    ],
)
def test_both_ends_of_a_range_belong_to_it_as_far_as_they_say(
    catalog: Catalog, first: str | None, last: str | None, names: set[str]
) -> None:
    assert found(catalog, first, last) == names


def test_whatever_else_a_camera_wrote_only_a_day_is_a_date(location: Location) -> None:
    catalog = Catalog.open(write_case(location, [Row("p", at_angle(0))]), read_only=False)
    for exif, day in WROTE:
        with catalog.writing() as connection:
            connection.execute(update(image_table).values(exif=exif))
        with catalog.reading() as connection:
            assert connection.execute(select(dates.day())).scalar() == day, exif
            told = connection.execute(select(dates.moment())).scalar()
            assert (told or b"").decode()[:10] == (day or ""), exif
            assert dates.taken_ids(connection, "0001", day) == ([1] if day else []), exif
            assert dates.undated_ids(connection) == ([] if day else [1]), exif
    catalog.close()


def test_a_server_finds_dates_by_an_index(postgres: ServerUrl) -> None:
    catalog = Catalog.open(postgres, read_only=False)
    for asked in (dates.between("2023", "2024-03"), dates.between(None, "2024")):
        with catalog.reading() as connection:
            # A table without rows is read as a whole else, whatever indexes it has.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            wanted = select(image_table.c.id).where(asked).compile(connection)
            plan = connection.exec_driver_sql(f"EXPLAIN {wanted}", wanted.params).scalars().all()
        assert any("ix_image_taken_at" in line for line in plan), plan
        assert any("Index Cond" in line for line in plan), plan
    catalog.close()


def test_a_damaged_row_has_no_date_and_hides_no_other(tmp_path: Path) -> None:
    rows = [Row(name, at_angle(0), taken=taken) for name, taken in TAKEN.items()]
    catalog = Catalog.open(write_case(tmp_path / "case.db", rows), read_only=False)
    with catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE image SET exif = '{broken' WHERE id = 1")
        connection.execute(
            update(image_table)
            .where(image_table.c.id == 2)
            .values(exif={"date_time_original": [1]})
        )
    assert found(catalog, "2000", "2024") == {"april"}
    catalog.close()


@pytest.mark.parametrize("text", ["2024", "2024-02", "2024-02-29", "1970-01-01"])
def test_a_year_a_month_and_a_day_are_dates(text: str) -> None:
    assert dates.checked(text, "the first date") == text


@pytest.mark.parametrize(
    "text", ["", "24", "2024-13", "2024-02-30", "2024-1", "2024-01-01T10", "٢٠٢٤", "0000", "2024\n"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="is no date"):
        dates.checked(text, "the first date")
