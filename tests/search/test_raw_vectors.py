"""Vectors without normalisation are ranked by their Euclidean distance, however long they are."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.indexing import packing
from image_similarity.search import SearchRequest
from image_similarity.search.searcher import Searcher
from image_similarity.store import packs
from image_similarity.store.catalog import Catalog
from image_similarity.values import SearchResult
from tests.ranking.hostile import KINDS, distances, make
from tests.search.synthetic import Row, at_angle, model_info, write_case

COUNT, DIM = 90, 6


def write_raw(folder: Path, vectors: np.ndarray, **changes: str) -> tuple[Path, list[Row]]:
    """Write a case of vectors as they are, most of them in packs."""
    rows = [Row(f"p{number:03d}", vector.tolist()) for number, vector in enumerate(vectors)]
    info = replace(model_info(dim=vectors.shape[1]), **({"normalisation": "none"} | changes))
    path = write_case(folder / "raw.db", rows, info=info)
    catalog = Catalog.open(path, read_only=False)
    packing.pack(catalog)
    catalog.close()
    return path, rows


def search(path: Path, row: Row, **request: object) -> SearchResult:
    asked = SearchRequest(scene=("off",), **request)  # type: ignore[arg-type]
    with closing(Catalog.open(path, read_only=True)) as catalog:
        return Searcher([catalog], asked).answer_stored(row.sha256)


@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**16), k=st.integers(1, 20))
@settings(max_examples=12, deadline=None)
def test_the_answer_is_that_of_brute_force_in_float64(kind: str, seed: int, k: int) -> None:
    vectors = make(kind, COUNT, DIM, seed)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(packs, "LARGEST_RANGE", 16)
        path, rows = write_raw(Path(folder), vectors)
        query = seed % COUNT
        result = search(path, rows[query], k=k)
    far = distances(vectors, vectors[query])
    found = [hit.distance for hit in result.hits]
    np.testing.assert_allclose(found, np.sort(far)[:k], rtol=1e-9, atol=1e-12)
    for hit in result.hits:
        at = int(hit.place.path[1:4])
        np.testing.assert_allclose(hit.distance, far[at], rtol=1e-9, atol=1e-12)
    assert len({hit.place.path for hit in result.hits}) == k


def test_a_distance_beyond_two_may_be_the_largest_asked_for(tmp_path: Path) -> None:
    path, rows = write_raw(tmp_path, make("large", COUNT, DIM, 3))
    everything = search(path, rows[0], k=COUNT)
    border = everything.hits[COUNT // 2].distance
    assert border > 2
    near = search(path, rows[0], k=COUNT, max_distance=border)
    assert near.hits == everything.hits[: COUNT // 2 + 1]


def test_a_raw_distance_is_no_cosine_and_stands_in_no_table(tmp_path: Path) -> None:
    path, rows = write_raw(tmp_path, make("lengths", COUNT, DIM, 4))
    result = search(path, rows[0])
    assert result.distances is None
    assert {(hit.similarity, hit.as_close) for hit in result.hits} == {(None, None)}


def test_cosine_and_euclidean_rank_unit_vectors_alike(tmp_path: Path) -> None:
    vectors = np.array([at_angle(angle) for angle in (0, 70, 20, 180, 45, 91)])
    answers = []
    for metric in ("euclidean", "cosine"):
        (folder := tmp_path / metric).mkdir()
        path, rows = write_raw(folder, vectors, normalisation="l2", metric=metric)
        answers.append(
            [(hit.place.path, hit.distance, hit.similarity) for hit in search(path, rows[0]).hits]
        )
    assert answers[0] == answers[1]
    by_cosine = np.argsort(-(vectors.astype(np.float16).astype(float) @ vectors[0]))
    assert [int(path[1:4]) for path, _, _ in answers[0]] == by_cosine.tolist()[:5]
    for path, _, similarity in answers[0]:
        assert similarity == pytest.approx(vectors[int(path[1:4])] @ vectors[0], abs=2e-3)
