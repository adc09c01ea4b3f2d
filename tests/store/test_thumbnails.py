"""Stored thumbnails can be read, counted and deleted for good."""

from __future__ import annotations

from pathlib import Path

from image_similarity.case import Case
from image_similarity.store import gallery, thumbnails
from image_similarity.store.catalog import Catalog
from image_similarity.values import Location
from tests.search.synthetic import Place, Row, at_angle, write_case

MARK = b"\xff\xd8 small picture " * 50


def stored(path: Place) -> Place:
    write_case(path, [Row("a", at_angle(0)), Row("b", at_angle(9))])
    catalog = Catalog.open(path, read_only=False)
    with catalog.writing() as connection:
        first = gallery.id_of(connection, Row("a", ()).sha256)
        assert first is not None
        thumbnails.write(connection, 1, {first: MARK})
    catalog.close()
    return path


def test_a_thumbnail_is_read_by_the_sha256_of_its_content(location: Location) -> None:
    with Case.open(stored(location), read_only=True) as case:
        assert case.thumbnail(Row("a", ()).sha256) == MARK
        assert case.thumbnail(Row("b", ()).sha256) is None
        assert case.thumbnail("0" * 64) is None


def test_purged_thumbnails_are_gone_from_the_file_and_that_is_recorded(location: Location) -> None:
    stored(location)
    if isinstance(location, Path):
        assert b"small picture" in location.read_bytes()
    with Case.open(location) as case:
        assert case.purge_thumbnails() == 1
        assert case.purge_thumbnails() == 0
        assert case.thumbnail(Row("a", ()).sha256) is None
        head = case.audit_head()
    assert head is not None
    assert (head.action, head.detail) == ("purge", f'{{"bytes":{len(MARK)},"thumbnails":1}}')
    if isinstance(location, Path):
        assert b"small picture" not in location.read_bytes()
