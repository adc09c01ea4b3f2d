"""Approximate indexes: what they find, what they say of themselves, and when they are refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_similarity import Case, SearchResult
from image_similarity.case import search_cases
from image_similarity.errors import ExtraMissing, IndexRefused, InvalidSetting, UsageError
from image_similarity.search import SearchRequest, ann, ann_file
from image_similarity.store.gallery import Gallery
from image_similarity.store.standing import Extent
from image_similarity.values import AnnInfo
from tests.search.synthetic import Row, model_info, write_case

DIM = 16
COUNT = 1_200
INFO = model_info(dim=DIM)
KNOWN = AnnInfo(
    path="",
    model=INFO.name,
    fingerprint=INFO.fingerprint,
    newest="a" * 64,
    dim=DIM,
    seed=1,
    made_at="2026-11-21T12:00:00Z",
    version="0",
)
EXTENT = Extent(COUNT, "a" * 64)


def clustered(count: int = COUNT) -> np.ndarray:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((20, DIM))[random.integers(20, size=count)]
    vectors = vectors + 0.4 * random.standard_normal(vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def near_stored(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (clustered()[:count] + 0.05 * random.standard_normal((count, DIM))).astype(np.float16)


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Ids with gaps, as contents without a vector of the model leave them."""
    return Gallery(np.arange(COUNT, dtype=np.int64) * 3 + 7, clustered())


@pytest.fixture(scope="module")
def index(gallery: Gallery) -> ann.AnnIndex:
    return ann.build(gallery, KNOWN, target=0.99)


@pytest.fixture(scope="module")
def file(index: ann.AnnIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ann") / "case.db.toy.ann"
    ann_file.write(path, index)
    return path


def true_nearest(gallery: Gallery, query: np.ndarray, count: int) -> list[int]:
    distances = np.linalg.norm(gallery.vectors.astype(float) - query.astype(float), axis=1)
    return [int(id_) for id_ in gallery.image_ids[np.argsort(distances)[:count]]]


def test_it_finds_the_nearest_pictures_by_their_ids(index: ann.AnnIndex, gallery: Gallery) -> None:
    queries = near_stored(50)
    found = ann.nearest(index, queries, ann.CANDIDATES)
    hits = sum(
        len(set(true_nearest(gallery, query, 10)) & set(row.tolist()))
        for query, row in zip(queries, found, strict=True)
    )
    assert hits >= 495


def test_it_says_what_it_was_measured_with(index: ann.AnnIndex) -> None:
    assert (index.info.vectors, index.info.queries) == (COUNT, COUNT // 20)
    assert index.info.recall >= 0.97
    assert index.info.effort in ann.EFFORTS


def test_the_vectors_held_aside_for_the_measurement_are_in_the_index(
    index: ann.AnnIndex, gallery: Gallery
) -> None:
    found = ann.nearest(index, gallery.vectors, 3)
    assert set(index.image_ids.tolist()) == set(gallery.image_ids.tolist())
    assert (found == gallery.image_ids[:, None]).any(axis=1).all()


def test_a_recall_that_8_bits_cannot_give_is_aimed_at_with_the_greatest_effort(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ann, "CANDIDATES", 1)
    found = ann.build(gallery, KNOWN, target=1.0)
    assert found.info.effort == ann.EFFORTS[-1]
    assert found.info.recall == pytest.approx(0.1, abs=0.01)


def test_the_recall_of_long_vectors_is_measured_as_that_of_unit_vectors(
    gallery: Gallery, index: ann.AnnIndex
) -> None:
    # Raw features: rounding in float32 grows with their length, and is no miss either.
    raw = Gallery(gallery.image_ids, gallery.vectors * np.float16(1_000))
    found = ann.build(raw, KNOWN, target=0.99)
    assert found.info.effort == index.info.effort
    assert found.info.recall == pytest.approx(index.info.recall, abs=0.005)


def test_where_fewer_are_met_than_asked_for_the_rest_is_minus_one(index: ann.AnnIndex) -> None:
    found = ann.nearest(index, near_stored(1), COUNT + 5)
    assert (found[0, -5:] == -1).all()
    assert (found[0, :100] > 0).all()


def test_too_few_vectors_and_vectors_that_are_no_numbers_are_refused(gallery: Gallery) -> None:
    few = Gallery(gallery.image_ids[:999], gallery.vectors[:999])
    with pytest.raises(IndexRefused, match="999 vectors are too few"):
        ann.build(few, KNOWN, target=0.99)
    damaged = gallery.vectors.copy()
    damaged[5, 2] = np.nan
    with pytest.raises(IndexRefused, match="not numbers"):
        ann.build(Gallery(gallery.image_ids, damaged), KNOWN, target=0.99)


def test_a_filtered_search_takes_candidates_until_enough_pass(
    index: ann.AnnIndex, gallery: Gallery
) -> None:
    query = near_stored(1)[0]
    found = ann.nearest_passing(index, query, 5, lambda ids: ids % 2 == 0)
    assert found is not None
    assert (found % 2 == 0).sum() >= 10
    even = gallery.image_ids % 2 == 0
    wanted = true_nearest(Gallery(gallery.image_ids[even], gallery.vectors[even]), query, 5)
    assert set(wanted) <= set(found.tolist())


def test_a_filter_that_hardly_any_picture_passes_is_left_to_an_exact_search(
    index: ann.AnnIndex,
) -> None:
    query = near_stored(1)[0]
    assert ann.nearest_passing(index, query, 5, lambda ids: np.isin(ids, [7, 10])) is None


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ExtraMissing) as caught:
        ann.load_faiss()
    assert caught.value.hint == 'pip install "image_similarity[ann]"'


# --- files ----------------------------------------------------------------------------------


def test_an_index_read_back_answers_as_the_one_that_was_written(
    index: ann.AnnIndex, file: Path
) -> None:
    again = ann_file.load(file, INFO, EXTENT)
    queries = near_stored(30)
    assert (ann.nearest(again, queries, 20) == ann.nearest(index, queries, 20)).all()
    size = file.stat().st_size
    assert again.info == replace(index.info, path=str(file), size_bytes=size)


def test_an_index_of_another_model_is_refused(file: Path) -> None:
    with pytest.raises(IndexRefused, match="of the model toy") as caught:
        ann_file.load(file, model_info("other", DIM), EXTENT)
    assert caught.value.hint == "build it again: image-similarity analyse ann -m other -dp DB"


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (Extent(COUNT + 1, "b" * 64), "is stale: it was built of 1200 vectors, .* holds 1201 now"),
        (Extent(COUNT, "b" * 64), "built of other vectors"),
    ],
)
def test_an_index_of_another_state_is_refused(file: Path, now: Extent, message: str) -> None:
    with pytest.raises(IndexRefused, match=message) as caught:
        ann_file.load(file, INFO, now)
    assert "build it again" in caught.value.hint


def test_a_missing_index_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexRefused, match="there is no approximate index"):
        ann_file.load(tmp_path / "none.ann", INFO, EXTENT)
    for content in (b"", b"text", b"\x80\x04N.", b"\x93NUMPY\x01\x00"):
        (tmp_path / "other.ann").write_bytes(content)
        with pytest.raises(IndexRefused, match="no sound approximate index"):
            ann_file.load(tmp_path / "other.ann", INFO, EXTENT)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_refused_or_answers_as_before(
    data: st.DataObject, index: ann.AnnIndex, file: Path, tmp_path: Path
) -> None:
    """Damage in what the zip format repeats or leaves unchecked, names and dates, may pass: the arrays are whole."""
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    damaged = tmp_path / "damaged.ann"
    damaged.write_bytes(content)
    try:
        found = ann_file.load(damaged, INFO, EXTENT)
    except IndexRefused:
        return
    queries = near_stored(5)
    assert (ann.nearest(found, queries, 20) == ann.nearest(index, queries, 20)).all()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("links", lambda a: np.where(np.arange(len(a)) == 3, COUNT, a)),
        ("links", lambda a: np.where(np.arange(len(a)) == 3, -2, a)),
        ("links", lambda a: a[:-1]),
        ("levels", lambda a: np.where(np.arange(len(a)) == 3, a + 1, a)),
        ("levels", lambda a: np.zeros_like(a)),
        ("levels", lambda a: a.astype(np.int64)),
        ("entry", lambda a: a * 0 - 1),
        ("scale", lambda a: a * np.float32("nan")),
        ("codes", lambda a: a[:, :-1]),
        ("image_ids", lambda a: a[:-1]),
        ("header", lambda a: a[:-1]),
        ("header", lambda a: np.frombuffer(b'{"kind": 1}', dtype=np.uint8)),
        ("header", lambda a: np.frombuffer(a.tobytes().replace(b'"effort": ', b'"effort": -')
                                           , dtype=np.uint8)),
    ],
)  # fmt: skip
def test_arrays_that_do_not_belong_together_are_refused_before_the_library_sees_them(
    name: str, change: object, file: Path, tmp_path: Path
) -> None:
    with np.load(file) as archive:
        arrays = dict(archive)
    arrays[name] = change(arrays[name])  # type: ignore[operator]
    with (tmp_path / "made.ann").open("wb") as made:
        np.savez(made, **arrays)
    with pytest.raises(IndexRefused, match="no sound approximate index"):
        ann_file.load(tmp_path / "made.ann", INFO, EXTENT)


def test_links_to_a_vector_that_is_not_on_their_level_are_refused(
    file: Path, tmp_path: Path
) -> None:
    with np.load(file) as archive:
        arrays = dict(archive)
    high, low = np.argmax(arrays["levels"] > 1), np.argmax(arrays["levels"] == 1)
    begin = ann_file._offsets(arrays["levels"]).astype(int)[high] + 2 * ann.LINKS
    arrays["links"][begin] = low
    with (tmp_path / "made.ann").open("wb") as made:
        np.savez(made, **arrays)
    with pytest.raises(IndexRefused, match="not on their level"):
        ann_file.load(tmp_path / "made.ann", INFO, EXTENT)


# --- of a database --------------------------------------------------------------------------


def rows(count: int = COUNT) -> list[Row]:
    """Half of the pictures in bedrooms, three in a forest, the others in kitchens."""
    scenes = {0: "forest", 300: "forest", 900: "forest"}
    return [
        Row(
            f"p{number:04d}",
            vector.tolist(),
            labels=[(scenes.get(number, "bedroom" if number % 2 else "kitchen"), 0.9)],
        )
        for number, vector in enumerate(clustered(count))
    ]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("ann") / "case.db", rows(), info=INFO)


@pytest.fixture(scope="module")
def built(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "toy.ann"
    with Case.open(database, read_only=True) as case:
        case.build_ann(path, recall=1.0)
    return path


def names(result: SearchResult) -> list[str]:
    return [hit.place.path for hit in result.hits]


def test_it_is_written_beside_the_database_and_replaced_by_the_next(database: Path) -> None:
    with Case.open(database, read_only=True) as case:
        first = case.build_ann()
        assert Path(first.path) == database.with_name("case.db.toy.ann")
        again = case.build_ann(recall=0.5, seed=2)
    assert Path(again.path).stat().st_size == again.size_bytes
    assert (again.seed, first.seed) == (2, 1)
    assert again.effort <= first.effort


def test_no_other_file_is_replaced(database: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir")
    with (
        Case.open(database, read_only=True) as case,
        pytest.raises(UsageError, match="is no approximate index"),
    ):
        case.build_ann(tmp_path / "letter.txt")
    assert (tmp_path / "letter.txt").read_text() == "Dear Sir"


@pytest.mark.parametrize("recall", [0.0, 1.1, float("nan")])
def test_a_recall_that_is_no_share_is_refused(database: Path, recall: float) -> None:
    with (
        Case.open(database, read_only=True) as case,
        pytest.raises(InvalidSetting, match="a recall of"),
    ):
        case.build_ann(recall=recall)


def test_the_name_of_a_model_makes_no_folder() -> None:
    path = ann_file.default_path(Path("/cases/a.db"), "../my model")
    assert path == Path("/cases/a.db..._my_model.ann")


# --- searches -------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", ["off", "bedroom", "auto"])
def test_a_search_with_an_index_finds_what_the_exact_one_finds_and_says_how_well(
    scene: str, database: Path, built: Path
) -> None:
    with Case.open(database, read_only=True) as case:
        for row in rows()[1::150]:
            exact = case.search(sha256=row.sha256, scene=scene, k=8)
            found = case.search(sha256=row.sha256, scene=scene, k=8, index=built)
            assert found.search == "approximate"
            assert found.index is not None
            assert found.recall is not None
            assert found.index.path == str(built)
            assert found.recall.share == pytest.approx(found.index.recall)
            assert found.recall.queries == found.index.queries
            assert names(found) == names(exact)
            assert [hit.distance for hit in found.hits] == [hit.distance for hit in exact.hits]
            assert found.filter.searched == exact.filter.searched
            assert found.filter.hidden_nearer <= exact.filter.hidden_nearer


def test_where_a_filter_leaves_few_pictures_they_are_all_compared(
    database: Path, built: Path
) -> None:
    with Case.open(database, read_only=True) as case:
        exact = case.search(sha256=rows()[300].sha256, scene="forest")
        found = case.search(sha256=rows()[300].sha256, scene="forest", index=built)
    assert found.search == exact.search != "approximate"
    assert found.recall is None
    assert names(found) == names(exact)
    assert len(found.hits) == 3


def test_an_index_is_read_once_and_refused_when_a_picture_was_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_case(tmp_path / "case.db", rows(), info=INFO)
    sha256 = rows()[1].sha256
    loads: list[Path] = []
    load = ann_file.load
    monkeypatch.setattr(
        ann_file, "load", lambda path, *more: loads.append(path) or load(path, *more)
    )
    with Case.open(path) as case:
        built = case.build_ann()
        for _ in range(2):
            assert case.search(sha256=sha256, index=built.path).search == "approximate"
        assert len(loads) == 1
        write_case(path, [Row("late", clustered()[1].tolist())], info=INFO)
        with pytest.raises(IndexRefused, match="is stale"):
            case.search(sha256=sha256, index=built.path)
        assert Path(case.build_ann().path) == Path(built.path)
        assert "late.png" in names(case.search(sha256=sha256, index=built.path))[:2]


def test_an_index_that_was_built_anew_is_read_anew(database: Path, tmp_path: Path) -> None:
    path, sha256 = tmp_path / "toy.ann", rows()[1].sha256
    with Case.open(database, read_only=True) as case:
        for seed in (1, 2):
            case.build_ann(path, seed=seed)
            found = case.search(sha256=sha256, index=path).index
            assert found is not None
            assert found.seed == seed
        path.unlink()
        with pytest.raises(IndexRefused, match="there is no approximate index"):
            case.search(sha256=sha256, index=path)


def test_an_index_of_other_pictures_is_refused(database: Path, built: Path, tmp_path: Path) -> None:
    with np.load(built) as archive:
        arrays = dict(archive)
    arrays["image_ids"] = arrays["image_ids"] + COUNT
    with (tmp_path / "made.ann").open("wb") as made:
        np.savez(made, **arrays)
    with (
        Case.open(database, read_only=True) as case,
        pytest.raises(IndexRefused, match="of other vectors"),
    ):
        case.search(sha256=rows()[0].sha256, index=tmp_path / "made.ann")


def test_an_index_is_for_one_database_and_for_approximate_searches(
    database: Path, built: Path, tmp_path: Path
) -> None:
    other = write_case(tmp_path / "other.db", rows(5), info=INFO)
    request = SearchRequest(sha256=rows()[0].sha256, approximate=True, index=built)
    with Case.open(database, read_only=True) as one, Case.open(other, read_only=True) as two:
        with pytest.raises(InvalidSetting, match="an index is of one database"):
            search_cases([one, two], request)
        with pytest.raises(InvalidSetting, match="for an exact search"):
            search_cases([one], replace(request, approximate=False))
