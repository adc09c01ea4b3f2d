"""PDQ hashes are stored when a run is asked for them, filled in later, and remembered by a refresh."""

from __future__ import annotations

from dataclasses import replace

import pytest

from image_similarity.case import Case
from image_similarity.errors import ExtraMissing
from image_similarity.events import Event, Notice
from image_similarity.matching import pdq
from tests.indexing.desk import Desk

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location", "pdq_stand_in")


def hashes(desk: Desk) -> dict[str, tuple[int, int, bytes]]:
    """Quality, run and hash by the SHA-256 of the content."""
    statement = (
        "SELECT sha256, quality, run_id, hash FROM pdq JOIN image ON image.id = pdq.image_id"
    )
    return {row[0]: (row[1], row[2], row[3]) for row in desk.rows(statement)}


def run(desk: Desk, *, asked: bool) -> None:
    with Case.open(desk.database) as case:
        case.index(desk.evidence, options=replace(desk.options, pdq=asked))


def test_a_run_that_is_not_asked_stores_no_hash(desk: Desk) -> None:
    desk.put_many(3)
    run(desk, asked=False)
    assert hashes(desk) == {}


def test_each_content_gets_one_hash_wherever_it_lies(desk: Desk) -> None:
    desk.put_many(6)
    desk.put("copy.png", seed=0)
    run(desk, asked=True)
    stored = hashes(desk)
    assert len(stored) == 6
    assert {(quality, run_id) for quality, run_id, _ in stored.values()} == {(64, 1)}
    assert len({each for *_, each in stored.values()}) == 6


def test_a_later_run_fills_in_what_is_missing_and_embeds_nothing_again(desk: Desk) -> None:
    desk.put_many(5)
    run(desk, asked=False)
    desk.put("later.png", seed=50)
    events: list[Event] = []
    with Case.open(desk.database) as case:
        options = replace(desk.options, pdq=True)
        report = case.index(desk.evidence, options=options, on_event=events.append)
    assert Notice("evidence: 6 pictures got a PDQ hash") in events
    assert (report.new, report.unchanged, report.embedded) == (1, 5, 1)
    assert {run_id for _, run_id, _ in hashes(desk).values()} == {2}
    assert len(hashes(desk)) == 6


def test_a_run_without_them_keeps_those_that_are_there(desk: Desk) -> None:
    desk.put_many(3)
    run(desk, asked=True)
    before = hashes(desk)
    desk.put("later.png", seed=50)
    run(desk, asked=False)
    assert hashes(desk) == before


def test_a_refresh_remembers_that_hashes_were_asked_for(desk: Desk) -> None:
    desk.put_many(3)
    run(desk, asked=True)
    desk.put("later.png", seed=50)
    with Case.open(desk.database) as case:
        case.refresh()
    assert len(hashes(desk)) == 4


def test_a_refresh_that_is_asked_fills_in_all(desk: Desk) -> None:
    desk.put_many(3)
    run(desk, asked=False)
    with Case.open(desk.database) as case:
        case.refresh(options=replace(desk.options, pdq=True))
        desk.put("later.png", seed=50)
        case.refresh()
    assert len(hashes(desk)) == 4


def test_a_run_says_at_once_that_the_package_is_missing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require() -> None:
        raise ExtraMissing("PDQ needs the package pdqhash, which is not installed")

    monkeypatch.setattr(pdq, "require", require)
    desk.put_many(1)
    with pytest.raises(ExtraMissing, match="pdqhash"):
        run(desk, asked=True)
    with Case.open(desk.database) as case:
        assert case.runs() == []
