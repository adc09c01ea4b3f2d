"""The date of a picture: what its camera wrote, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, update

from image_similarity.errors import InvalidSetting
from image_similarity.store import dates
from image_similarity.store.catalog import Catalog
from image_similarity.store.schema import image_table
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


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    rows = [Row(name, at_angle(0), taken=taken) for name, taken in TAKEN.items()]
    return Catalog.open(write_case(tmp_path / "case.db", rows), read_only=False)


def found(catalog: Catalog, first: str | None, last: str | None) -> set[str]:
    by_hash = {Row(name, ()).sha256: name for name in TAKEN}
    with catalog.reading() as connection:
        rows = connection.execute(select(image_table.c.sha256).where(dates.between(first, last)))
        return {by_hash[sha256] for (sha256,) in rows}


def test_the_day_is_that_of_the_camera_and_text_that_is_no_time_is_none(catalog: Catalog) -> None:
    with catalog.reading() as connection:
        days = connection.execute(select(dates.day()).order_by(image_table.c.id)).scalars().all()
    assert days == ["2023-12-31", "2024-03-01", "2024-04-30", *[None] * 9]
    catalog.close()


def test_a_picture_without_a_day_that_there_is_counts_as_undated(catalog: Catalog) -> None:
    with catalog.reading() as connection:
        undated = set(dates.undated_ids(connection))
        dated = set(dates.taken_ids(connection, "0001", "9999"))
    assert len(undated) == 9
    assert undated | dated == set(range(1, len(TAKEN) + 1))
    catalog.close()


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
    catalog.close()


def test_a_damaged_row_has_no_date_and_hides_no_other(catalog: Catalog) -> None:
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
