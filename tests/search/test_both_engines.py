"""One case, in a file and on a server: whatever is stored and asked, both answer the same."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, true, update

from image_similarity import Case
from image_similarity.indexing import packing
from image_similarity.search import seen
from image_similarity.store import as_of, dates, gallery, hash_lists, hashed, packs, standing
from image_similarity.store.catalog import Catalog
from image_similarity.store.gallery import PlaceFilter
from image_similarity.store.schema import file_table, pdq_table
from image_similarity.values import Choice, Location
from tests.postgres import fresh_case
from tests.search.synthetic import SCENES, Row, at_angle, write_case

# What a locale, or a pattern, would take for something else: an order, a case, an escape, a wildcard.
NAMES = ("a", "A", "b", "ab", "a b", "a-b", "Ä", "é", "z", "_", "%", "a%b", "\\", "'", "日本", "0")
TAKEN = (
    "",
    "2024-03-01T10:00:00",
    "2024-03-01T10:00:00+02:00",
    "2024-03-01",
    "2024-02-29T00:00:00",
    "2023-02-29T00:00:00",
    "2000-02-29T12:00:00",
    "1900-02-29T12:00:00",
    "2023-02-31T10:00:00",
    "2023-13-01T10:00:00",
    "2023-04-31T10:00:00",
    "0000-01-01T00:00:00",
    "0001-01-01T00:00:00",
    "2024-03-01\x00T10:00:00",
    "\x002024-03-01",
    "2024-03-01T10:00\ud800",
    "\ud83d 2024-03-01",
    "\uff12\uff10\uff12\uff14-03-01",
    "2024-3-1",
    " 2024-03-01",
    "in May",
)
DATES = (None, None, "2024", "2023-02", "2024-03", "2024-03-01", "0001", "1999-12-31")

# What says when the case was made; no camera of these writes so.
_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

names = st.sampled_from(NAMES)
paths = st.lists(st.one_of(names, st.tuples(names, names).map("/".join)), max_size=3, unique=True)
contents = st.lists(
    st.tuples(
        # Few directions, so that distances are equal, and short ones.
        st.sampled_from([0, 0, 30, 30, 45, 60, 90, 180]),
        st.lists(st.sampled_from(SCENES), max_size=3, unique=True),
        paths,
        st.booleans(),
        st.sampled_from(TAKEN),
    ),
    min_size=1,
    max_size=14,
)
numbers = st.sets(st.integers(0, 13), max_size=6)
requests = st.lists(
    st.fixed_dictionaries(
        {
            "scene": st.sampled_from(["auto", "hard", "off", "street", "bedroom"]),
            "k": st.sampled_from([1, 3, 40]),
            "max_distance": st.sampled_from([None, 0.6]),
            "sources": st.sampled_from([(), ("disk",), ("phone",), ("disk", "phone")]),
            "under": st.one_of(st.none(), names),
            "include_gone": st.booleans(),
            "include_partial": st.booleans(),
            "known": st.sampled_from(["mark", "hide", "only"]),
            "include_irrelevant": st.booleans(),
            "tags": st.sampled_from([(), (), ("a",), ("Ä", "%")]),
            "taken_from": st.sampled_from(DATES),
            "taken_to": st.sampled_from(DATES),
            "near": st.booleans(),
        }
    ),
    min_size=3,
    max_size=3,
)


class Wanted:
    """What a case holds: contents by number, those that are gone, tagged, judged, and known."""

    def __init__(self, drawn: list[Any], gone: set[int], tagged: set[int], known: set[int]) -> None:
        self.rows = [
            Row(
                f"p{number}",
                at_angle(degrees),
                # Without any label in the case no scene could be asked for.
                [
                    (name, 0.5 - rank / 10)
                    for rank, name in enumerate(labels or SCENES[: not number])
                ],
                paths or [f"p{number}"],
                partial,
                taken,
            )
            for number, (degrees, labels, paths, partial, taken) in enumerate(drawn)
        ]
        # No two live places of a source are one.
        held: set[str] = set()
        for number, row in enumerate(self.rows):
            places = [path for path in row.paths if path not in held] or [f"p{number}"]
            self.rows[number] = Row(
                row.name, row.vector, row.labels, places, row.partial, row.taken
            )
            held.update(places)
        self.gone = {number for number in gone if number < len(drawn)}
        self.tagged = {number for number in tagged if number < len(drawn)}
        self.known = {number for number in known if number < len(drawn)}

    def write(self, place: Location, hashes: Path) -> None:
        half = len(self.rows) // 2
        for source, rows in (("disk", self.rows[:half]), ("phone", self.rows[half:])):
            write_case(place, rows, source=source)
        hashes.write_text(
            "".join(f"{self.rows[number].sha256}\n" for number in self.known) or "0" * 64 + "\n"
        )
        with Case.open(place) as case:
            for number in sorted(self.tagged):
                case.decide(self.rows[number].sha256, "tag", NAMES[number])
                case.decide(self.rows[number].sha256, "category", NAMES[-number])
                case.judge(self.rows[0].sha256, self.rows[number].sha256, "irrelevant")
            case.import_hash_list(hashes, name="known")
            with case._catalog.writing() as connection:
                for number in sorted(self.gone):
                    # Of some contents a place stays.
                    of_it = file_table.c.image_id == number + 1
                    last = select(func.max(file_table.c.id)).where(of_it).scalar_subquery()
                    which = file_table.c.id < last if number % 3 == 0 else true()
                    connection.execute(update(file_table).where(of_it, which).values(gone_run_id=2))
                # Any two differ by two bits.
                for number in range(len(self.rows)):
                    bits = (1 << number).to_bytes(32, "big")
                    values = {"image_id": number + 1, "run_id": 1, "quality": 40 + 4 * number}
                    connection.execute(insert(pdq_table).values(hash=bits, **values))
            packing.pack(case._catalog)


def answers(place: Location, asked: list[dict[str, Any]], query: str) -> list[Any]:
    """Everything that reading gives."""
    found = searches(place, asked, query)
    with Case.open(place, read_only=True) as case:
        for request in asked:
            choice = Choice(
                sources=request["sources"],
                under=request["under"],
                include_gone=request["include_gone"],
                scenes=() if request["scene"] in ("auto", "hard", "off") else (request["scene"],),
                tags=request["tags"],
                known="any" if request["known"] == "mark" else request["known"],
                taken_from=request["taken_from"],
                taken_to=request["taken_to"],
            )
            found.append(case.facets(choice))
            found.append(case.duplicates(near=True, sources=request["sources"]))
            for order in ("path", "taken", "added"):
                page = case.browse(choice, order=order, limit=3)
                found.append(page)
                if page.following:
                    found.append(case.browse(choice, order=order, limit=3, after=page.following))
        found += _stored(case._catalog, asked)
    return found


def searches(place: Location, asked: list[dict[str, Any]], query: str) -> list[Any]:
    with Case.open(place, read_only=True) as case:
        return [_search(case, query, request) for request in asked]


def _search(case: Case, query: str, request: dict[str, Any]) -> dict[str, Any]:
    found = asdict(case.search(sha256=query, **request))
    # How it was searched, and what names the state of the case, is each one's own.
    del found["basis"], found["search"]
    for hit in (*found["hits"], *(found["near"] or {"hits": ()})["hits"]):
        del hit["database"]
    return found


def _stored(catalog: Catalog, asked: list[dict[str, Any]]) -> list[Any]:
    """What the parts of the store give that these answers are made of, and those that they do not use."""
    with catalog.reading() as connection:
        found: list[Any] = [
            sorted(hash_lists.known_ids(connection).tolist()),
            hash_lists.held_by(connection, "known"),
            hash_lists.digest_of(connection, "known"),
            sorted(dates.undated_ids(connection)),
            hashed.live(connection),
            hashed.gone(connection),
            as_of.digest(connection, as_of.now(connection), 1, 1),
            packs.loose_vectors(connection, 1, 2).vectors.tobytes(),
            gallery.load(connection, 1, 2, PlaceFilter()).vectors.tobytes(),
            standing.extent(connection, 1),
        ]
        for request in asked:
            given = standing.standing(
                connection,
                PlaceFilter(
                    request["sources"],
                    request["under"],
                    request["include_gone"],
                    request["include_partial"],
                ),
            )
            found.append((given.included, given.image_ids.tolist()))
            taken = dates.taken_ids(connection, request["taken_from"], request["taken_to"])
            found.append(sorted(taken))
        return found


def same(one: Any, other: Any) -> None:
    assert _WHEN.sub("then", repr(one)) == _WHEN.sub("then", repr(other))


@settings(
    max_examples=3,
    deadline=None,
    # To shrink takes a hundred databases more; what differs is told in full.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=contents, gone=numbers, tagged=numbers, known=numbers, asked=requests)
def test_a_file_and_a_server_give_the_same_answers(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    postgres_server: str,
    drawn: list[Any],
    gone: set[int],
    tagged: set[int],
    known: set[int],
    asked: list[dict[str, Any]],
) -> None:
    monkeypatch.setattr(packs, "LARGEST_RANGE", 4)
    wanted = Wanted(drawn, gone, tagged, known)
    folder = tmp_path_factory.mktemp("both")
    places: list[Location] = [folder / "case.db", fresh_case(postgres_server)]
    for place in places:
        wanted.write(place, folder / "known.txt")
    query = wanted.rows[0].sha256
    # The packs of so few vectors are read; the server is also asked to compare them.
    in_file, on_server = (answers(place, asked, query) for place in places)
    for one, other in zip(in_file, on_server, strict=True):
        same(one, other)
    with monkeypatch.context() as patch:
        patch.setattr(seen, "READ_HERE", 0)
        for one, other in zip(in_file, searches(places[1], asked, query), strict=False):
            same(one, other)
