"""Packs: what they hold is what the rows hold, each content once, after whatever was written in whatever order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_similarity.errors import DatabaseDamaged
from image_similarity.indexing import packing
from image_similarity.ranking import codes
from image_similarity.store import batch, models, pack_writing, packs, runs
from image_similarity.store import catalog as stored
from image_similarity.store.batch import BatchRows, NewContent, SeenFile
from image_similarity.store.catalog import Catalog
from image_similarity.values import Digests, Location, ModelInfo, PictureFacts
from tests.search.synthetic import SCENES, model_info
from tests.store.packed import check

DIM = 3
R = 4


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of four contents."""
    monkeypatch.setattr(packs, "LARGEST_RANGE", R)


def digest(name: int) -> str:
    return f"{name:064x}"


class Desk:
    """A database that is written batch by batch, with two models of three dimensions; the first has scenes."""

    def __init__(self, path: Location, scenes: int = len(SCENES)) -> None:
        names = tuple(f"scene {number}" for number in range(scenes))
        infos = [with_scenes(model_info("first", DIM), names), model_info("second", DIM)]
        self.catalog = Catalog.open(path, read_only=False)
        with self.catalog.writing() as connection:
            self.source = stored.add_source(connection, "disk", "/evidence/disk")
            self.run = runs.begin(connection, runs.RunStart("index", self.source, {}, {}))
            self.models = [models.register(connection, info) for info in infos]
            self.scenes = list(models.scene_ids(connection, self.models[0]).values())
            self.known = batch.load_knowledge(connection, self.source, self.models, self.models[:1])

    def write(
        self,
        contents: Sequence[int],
        vectors: Sequence[tuple[int, int]],
        labels: Sequence[tuple[int, Sequence[int]]] = (),
        *,
        fail: bool = False,
    ) -> None:
        """One batch: new contents, vectors as (model, content), labels as (content, positions)."""
        rows = BatchRows()
        for name in contents:
            digests = Digests(digest(name), "1" * 40, "5" * 32)
            rows.contents.append(NewContent(digests, 1, PictureFacts(1, 1, "PNG", "image/png")))
            rows.files.append(SeenFile(f"{name}.png", digest(name), 1, 1, None, None, True))
        for model, name in vectors:
            vector = vector_of(model, name).tobytes()
            rows.vectors.append((self.models[model], digest(name), vector))
        for name, positions in labels:
            chosen = [(self.scenes[position], 0.1) for position in positions]
            rows.scenes.append((self.models[0], digest(name), chosen))
        if not fail:
            with self.catalog.writing() as connection:
                batch.write_batch(connection, self.run, self.source, rows, self.known)
            return
        with pytest.raises(ZeroDivisionError), self.catalog.writing() as connection:
            batch.write_batch(connection, self.run, self.source, rows, self.known)
            raise ZeroDivisionError
        with self.catalog.reading() as connection:
            self.known = batch.load_knowledge(connection, self.source, self.models, self.models[:1])

    def pack(self, limit: int | None = None) -> int:
        with self.catalog.writing() as connection:
            made = pack_writing.build_missing_scenes(connection, self.models[0], limit=limit)
            for model in self.models:
                made += pack_writing.build_missing(
                    connection, model, DIM, codes.encode, limit=limit
                )
            return made


def with_scenes(info: ModelInfo, scenes: tuple[str, ...]) -> ModelInfo:
    return ModelInfo(**{name: getattr(info, name) for name in info.__slots__} | {"scenes": scenes})


def vector_of(model: int, name: int) -> np.ndarray:
    vector = np.random.default_rng([model, name]).standard_normal(DIM)
    return (vector / np.linalg.norm(vector)).astype("<f2")


@pytest.fixture
def desk(small: None, location: Location) -> Iterator[Desk]:
    desk = Desk(location)
    yield desk
    desk.catalog.close()


@pytest.fixture
def damaged(small: None, tmp_path: Path) -> Iterator[Desk]:
    """One in a file, in which any column can hold anything."""
    desk = Desk(tmp_path / "case.db")
    yield desk
    desk.catalog.close()


def test_packs_are_made_of_complete_ranges_only(desk: Desk) -> None:
    desk.write(range(8), [(0, name) for name in range(8)])
    assert desk.pack() == 1
    check(desk.catalog)
    desk.write([8], [(0, 8)])
    assert desk.pack() == 1
    assert desk.pack() == 0
    check(desk.catalog)


def test_a_model_without_vectors_in_a_range_has_no_pack_there(desk: Desk) -> None:
    desk.write(range(9), [(0, name) for name in range(9)] + [(1, 5)])
    assert desk.pack() == 3
    with desk.catalog.reading() as connection:
        (only,) = packs.vector_packs(connection, desk.models[1], DIM)
    assert (only.number, only.image_ids.tolist()) == (1, [6])


def test_a_row_that_comes_later_takes_its_pack_away_in_the_same_transaction(desk: Desk) -> None:
    desk.write(range(9), [(0, name) for name in range(9) if name != 2])
    desk.pack()
    desk.write([], [(0, 2)], fail=True)
    with desk.catalog.reading() as connection:
        numbers = [pack.number for pack in packs.vector_packs(connection, desk.models[0], DIM)]
    assert numbers == [0, 1]
    desk.write([], [(0, 2)])
    with desk.catalog.reading() as connection:
        numbers = [pack.number for pack in packs.vector_packs(connection, desk.models[0], DIM)]
    assert numbers == [1]
    check(desk.catalog)
    assert desk.pack() == 1
    check(desk.catalog)


def test_labels_that_come_later_take_their_pack_away(desk: Desk) -> None:
    vectors = [(0, name) for name in range(9)]
    desk.write(range(9), vectors, [(name, [0, 2]) for name in range(9) if name != 1])
    desk.pack()
    desk.write([], [], [(1, [3, 1, 0])])
    check(desk.catalog)
    assert desk.pack() == 1
    check(desk.catalog)


def test_a_limit_is_kept_and_the_rest_stays_loose(desk: Desk) -> None:
    desk.write(range(17), [(0, name) for name in range(17)])
    assert desk.pack(limit=1) == 1
    check(desk.catalog)
    assert desk.pack() == 3
    check(desk.catalog)


def test_many_scenes_take_two_bytes_and_few_take_one(small: None, tmp_path: Path) -> None:
    for scenes, dtype in ((255, "u1"), (256, "<u2")):
        desk = Desk(tmp_path / f"{scenes}.db", scenes)
        desk.write(range(5), [(0, n) for n in range(5)], [(n, [scenes - 1, n]) for n in range(5)])
        desk.pack()
        check(desk.catalog)
        with desk.catalog.reading() as connection:
            (pack,) = packs.scene_packs(connection, desk.models[0])
        assert pack.labels.dtype == np.dtype(dtype)
        assert pack.labels[0].tolist() == [scenes - 1, 0]
        desk.catalog.close()


def test_only_what_is_asked_for_is_read(desk: Desk) -> None:
    desk.write(range(9), [(0, name) for name in range(9)])
    desk.pack()
    with desk.catalog.reading() as connection:
        bits = list(packs.vector_packs(connection, desk.models[0], DIM, bits_only=True))
        both = list(packs.vector_packs(connection, desk.models[0], DIM))
        eight = list(packs.vector_packs(connection, desk.models[0], DIM, codes_only=True))
    assert [pack.codes.shape for pack in bits] == [(0, DIM)] * 2
    assert [pack.bits.shape for pack in eight] == [(0, 1)] * 2
    assert np.array_equal(bits[1].bits, both[1].bits)
    assert np.array_equal(eight[1].codes, both[1].codes)


def test_vectors_come_in_the_order_asked_and_twice_if_asked_twice(desk: Desk) -> None:
    desk.write(range(5), [(0, name) for name in range(5)])
    wanted = np.array([4, 1, 4, 2])
    with desk.catalog.reading() as connection:
        found = packs.vectors_at(connection, desk.models[0], DIM, wanted)
    assert found.tolist() == [vector_of(0, name).tolist() for name in (3, 0, 3, 1)]


def test_a_content_without_a_vector_is_damage_where_one_is_asked_for(desk: Desk) -> None:
    desk.write(range(2), [(0, 0)])
    with (
        desk.catalog.reading() as connection,
        pytest.raises(DatabaseDamaged, match="1 contents in packs"),
    ):
        packs.vectors_at(connection, desk.models[0], DIM, np.array([1, 2]))


def test_labels_of_another_scene_model_make_no_packs(desk: Desk) -> None:
    desk.write(range(9), [(0, n) for n in range(9)], [(n, [0]) for n in range(9)])
    desk.pack()
    with desk.catalog.writing() as connection:
        assert pack_writing.build_missing_scenes(connection, desk.models[1]) == 0
    check(desk.catalog)


def test_an_empty_database_has_neither_packs_nor_loose_rows(desk: Desk) -> None:
    assert desk.pack() == 0
    check(desk.catalog)


@pytest.mark.parametrize(
    ("dim", "size"),
    [(1, 4096), (512, 4096), (513, 2048), (1024, 2048), (100_352, 16), (2**21, 1), (2**25, 1)],
)
def test_long_vectors_have_smaller_packs(dim: int, size: int) -> None:
    assert packs.range_size(dim) == size


@pytest.mark.parametrize("column", ["image_ids", "scales", "errors", "bits", "codes"])
@pytest.mark.parametrize("value", [b"", b"123", "text", None])
def test_a_pack_of_the_wrong_size_is_named(damaged: Desk, column: str, value: object) -> None:
    if value is None:
        value = 7
    damaged.write(range(9), [(0, name) for name in range(9)])
    damaged.pack()
    damage(damaged, f"UPDATE vector_pack SET {column} = ? WHERE number = 1", value)
    with damaged.catalog.reading() as connection:
        with pytest.raises(DatabaseDamaged, match="pack 1 of the vectors of model 1") as caught:
            list(packs.vector_packs(connection, damaged.models[0], DIM))
        assert "db verify" in caught.value.hint
        wrong = packs.wrong_packs(connection, damaged.models[0], DIM, codes.problem_of)
        assert [number for number, _ in wrong] == [1]


@pytest.mark.parametrize("column", ["image_ids", "labels"])
@pytest.mark.parametrize("value", [b"", b"123", "text", 7])
def test_a_pack_of_labels_of_the_wrong_size_is_named(
    damaged: Desk, column: str, value: object
) -> None:
    damaged.write(range(5), [(0, n) for n in range(5)], [(n, [0, 1]) for n in range(5)])
    damaged.pack()
    damage(damaged, f"UPDATE scene_pack SET {column} = ?", value)
    with damaged.catalog.reading() as connection:
        with pytest.raises(DatabaseDamaged, match="pack 0 of the labels of scene model 1"):
            list(packs.scene_packs(connection, damaged.models[0]))
        wrong = packs.wrong_scene_packs(connection, damaged.models[0])
        assert [number for number, _ in wrong] == [0]


def test_a_pack_that_differs_from_its_rows_is_found(damaged: Desk) -> None:
    labels = [(name, [0, 1]) for name in range(9)]
    damaged.write(range(9), [(0, name) for name in range(9)], labels)
    damaged.pack()
    damage(
        damaged, "UPDATE embedding SET vector = ? WHERE image_id = 2", vector_of(1, 99).tobytes()
    )
    damage(damaged, "DELETE FROM embedding WHERE image_id = ?", 8)
    damage(damaged, "DELETE FROM image_scene WHERE image_id = ?", 1)
    damage(damaged, "UPDATE image_scene SET rank = 3 - rank WHERE image_id = ?", 7)
    with damaged.catalog.reading() as connection:
        wrong = dict(packs.wrong_packs(connection, damaged.models[0], DIM, codes.problem_of))
        scenes = dict(packs.wrong_scene_packs(connection, damaged.models[0]))
    assert set(wrong) == {0, 1}
    assert wrong[1] == "holds other contents than the rows"
    assert scenes == {
        0: "holds other contents than the rows",
        1: "holds other labels than the rows",
    }


def test_wrong_packs_are_made_anew_where_that_is_asked_for(damaged: Desk) -> None:
    damaged.write(range(9), [(0, name) for name in range(9)], [(name, [0, 1]) for name in range(9)])
    made = damaged.pack()
    damage(damaged, "UPDATE vector_pack SET codes = ? WHERE number = 1", b"short")
    damage(damaged, "UPDATE scene_pack SET labels = ? WHERE number = 0", b"x")
    assert damaged.pack() == 0
    assert packing.drop_wrong(damaged.catalog) == 2
    assert damaged.pack() == 2
    assert packing.drop_wrong(damaged.catalog) == 0
    assert check(damaged.catalog) == made


def test_damaged_rows_are_not_packed_and_are_named_where_they_are_read(damaged: Desk) -> None:
    labels = [(name, [0, 1]) for name in range(9)]
    damaged.write(range(9), [(0, name) for name in range(9)], labels)
    damage(damaged, "UPDATE embedding SET vector = ? WHERE image_id = 2", b"short")
    damage(damaged, "UPDATE image_scene SET rank = ? WHERE image_id = 6", 1)
    assert damaged.pack() == 2
    with damaged.catalog.reading() as connection:
        with pytest.raises(DatabaseDamaged, match="another length than 3"):
            packs.loose_vectors(connection, damaged.models[0], DIM)
        with pytest.raises(DatabaseDamaged, match="ranks twice"):
            packs.loose_labels(connection, damaged.models[0])


def test_vectors_that_are_no_numbers_are_not_packed(damaged: Desk) -> None:
    damaged.write(range(5), [(0, name) for name in range(5)])
    nan = np.full(DIM, np.nan, dtype="<f2").tobytes()
    damage(damaged, "UPDATE embedding SET vector = ? WHERE image_id = 2", nan)
    assert damaged.pack() == 0


def damage(desk: Desk, statement: str, value: object) -> None:
    with closing(sqlite3.connect(desk.catalog.path)) as connection, connection:
        connection.execute(statement, (value,))


names = st.integers(0, 20)
step = st.one_of(
    st.tuples(
        st.just("write"), st.lists(names, max_size=7), st.sets(st.tuples(st.integers(0, 1), names))
    ),
    st.tuples(
        st.just("fail"), st.lists(names, max_size=7), st.sets(st.tuples(st.integers(0, 1), names))
    ),
    st.tuples(st.just("labels"), st.sets(names), st.permutations(range(len(SCENES)))),
    st.tuples(st.just("pack"), st.integers(1, 3), st.none()),
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(step, max_size=8))
def test_whatever_is_written_packs_and_loose_rows_are_everything_once(
    small: None, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object, object]]
) -> None:
    desk = Desk(tmp_path_factory.mktemp("case") / "case.db")
    for kind, first, second in steps:
        if kind == "pack":
            desk.pack(limit=first)  # type: ignore[arg-type]
        elif kind == "labels":
            images = [n for n in first if digest(n) in desk.known.images]  # type: ignore[union-attr]
            given = desk.known.present[-desk.models[0]]
            wanted = [n for n in images if desk.known.images[digest(n)] not in given]
            desk.write([], [], [(n, second[: 1 + n % 4]) for n in wanted])  # type: ignore[index]
        else:
            new = [n for n in dict.fromkeys(first) if digest(n) not in desk.known.images]  # type: ignore[call-overload]
            desk.write(new, lacking(desk, new, second), fail=kind == "fail")  # type: ignore[arg-type]
        check(desk.catalog)
    desk.pack()
    check(desk.catalog)
    desk.catalog.close()


def lacking(desk: Desk, new: Sequence[int], wanted: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of the wanted vectors, as (model, content), that can be added: of contents known or new, not there yet."""
    return [
        (model, name)
        for model, name in sorted(wanted)
        if (name in new or digest(name) in desk.known.images)
        and desk.known.images.get(digest(name)) not in desk.known.present[desk.models[model]]
    ]
