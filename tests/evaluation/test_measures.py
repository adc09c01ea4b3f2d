"""Measures equal those computed by hand and by brute force, whatever the order of the pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.evaluation.measures import (
    as_products,
    calibration_error,
    copy_columns,
    micro_average_precision,
    recall_at_precision,
    retrieval_columns,
    scene_columns,
    triplet_columns,
)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def once(count: int) -> np.ndarray:
    return np.ones((1, count))


def test_retrieval_equals_what_was_computed_by_hand() -> None:
    angles = np.array([0.0, 0.1, 0.25, 1.5])
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    # Order of the others: 0 -> 1 2 3, 1 -> 0 2 3, 2 -> 1 0 3, 3 -> 2 1 0; one relevant each.
    queries, found = retrieval_columns(vectors, np.array([0, 1, 0, 1]))
    assert queries.tolist() == [0, 1, 2, 3]
    assert found["recall@1"].tolist() == [0, 0, 0, 0]
    assert found["recall@5"].tolist() == [1, 1, 1, 1]
    assert found["precision@5"] == pytest.approx([1 / 3] * 4)
    assert found["mAP@R"].tolist() == [0, 0, 0, 0]


def test_map_at_r_counts_the_precision_at_each_relevant_place_among_the_first_r() -> None:
    angles = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    _, found = retrieval_columns(vectors, np.array([0, 0, 1, 0, 1]))
    # Query 0 meets 1 (relevant), 2 (not) within its R of 2: (1/1) / 2.
    assert found["mAP@R"][0] == pytest.approx(0.5)


def test_perfect_clusters_have_perfect_figures() -> None:
    vectors = np.eye(3, dtype=np.float32).repeat(12, axis=0)
    _, found = retrieval_columns(vectors, np.arange(3).repeat(12))
    assert all(values.min() == 1 for values in found.values())


def test_a_picture_that_is_alone_in_its_class_is_no_query() -> None:
    queries, _ = retrieval_columns(np.eye(3, dtype=np.float32)[[0, 0, 1]], np.array([0, 0, 1]))
    assert queries.tolist() == [0, 1]
    assert len(retrieval_columns(np.empty((0, 2), np.float32), np.empty(0, np.int64))[0]) == 0


def test_equal_scores_go_against_the_model() -> None:
    same = np.tile(unit(np.ones((1, 4))), (6, 1))
    _, found = retrieval_columns(same, np.array([0, 0, 0, 1, 1, 1]))
    assert found["recall@1"].tolist() == [0] * 6
    assert triplet_columns(same, np.array([[0, 1, 3]]))["right"].tolist() == [0]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-3, 1.0, 300.0]))
def test_vectors_of_any_length_are_ranked_by_euclidean_distance(seed: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    vectors = (scale * (random.standard_normal((12, 4)) + 5)).astype(np.float32)
    asking, asked = as_products(vectors, vectors)
    found = (asking @ asked.T).astype(np.float64)
    gaps = vectors[:, None].astype(np.float64) - vectors[None]
    distances = np.square(gaps).sum(axis=2)
    assert found == pytest.approx(-distances / np.mean(distances), abs=1e-5)


def test_a_long_vector_in_the_same_direction_is_not_near() -> None:
    # By dot products the last would be the nearest of all.
    vectors = np.array([[1, 0], [1.2, 0], [1, 1], [9, 0]], dtype=np.float32)
    _, found = retrieval_columns(vectors, np.array([0, 0, 1, 1]))
    assert found["recall@1"].tolist() == [1, 1, 0, 0]
    assert triplet_columns(vectors, np.array([[0, 1, 3], [0, 3, 1]]))["right"].tolist() == [1, 0]
    twice = vectors[[0, 0]]
    found = copy_columns(twice, np.array([1, 3]), vectors[1:], owners=np.array([1, 2, 3]))
    assert found["correct"].tolist() == [1, 0]


def test_unit_vectors_and_pictures_without_one_are_compared_as_they_are() -> None:
    vectors = np.vstack([unit(np.ones((3, 5))), np.zeros((1, 5))]).astype(np.float32)
    assert as_products(vectors, vectors)[1] is vectors


def brute_map_at_r(vectors: np.ndarray, labels: np.ndarray, query: int) -> float:
    others = [row for row in range(len(labels)) if row != query]
    others.sort(key=lambda row: -float(vectors[query].astype(np.float64) @ vectors[row]))
    wanted = sum(labels[row] == labels[query] for row in others)
    total, hits = 0.0, 0
    for place, row in enumerate(others[:wanted], start=1):
        if labels[row] == labels[query]:
            hits += 1
            total += hits / place
    return total / wanted


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(6, 40))
def test_retrieval_equals_brute_force_and_does_not_depend_on_the_order(
    seed: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    vectors, labels = unit(random.standard_normal((count, 5))), random.integers(0, 3, count)
    queries, found = retrieval_columns(vectors, labels)
    expected = [brute_map_at_r(vectors, labels, query) for query in queries]
    assert found["mAP@R"] == pytest.approx(expected, abs=1e-6)
    order = random.permutation(count)
    again, shuffled = retrieval_columns(vectors[order], labels[order])
    for name, values in found.items():
        of = dict(zip(order[again], shuffled[name], strict=True))
        assert [of[query] for query in queries] == pytest.approx(values.tolist())


def test_the_first_five_scenes_count_and_equal_probabilities_go_against_the_model() -> None:
    probabilities = np.array([[0.4, 0.3, 0.1, 0.08, 0.07, 0.05], [1 / 6] * 6], dtype=np.float32)
    found = scene_columns(np.tile(probabilities, (2, 1)), np.array([0, 0, 5, 5]))
    assert found["top-1"].tolist() == [1, 0, 0, 0]
    assert found["top-5"].tolist() == [1, 0, 0, 0]
    assert found["confidence"] == pytest.approx([0.4, 1 / 6, 0.4, 1 / 6])


def test_a_copy_is_found_if_its_original_is_nearer_than_all_others() -> None:
    gallery = np.eye(4, dtype=np.float32)
    queries = unit(np.array([[1, 0.1, 0, 0], [1, 0.9, 0, 0], [0, 0, 1, 0.0]]))
    found = copy_columns(queries, np.array([7, 8, 9]), gallery, owners=np.array([7, 8, -1, -1]))
    assert found["correct"].tolist() == [1, 0, 0]
    assert found["matched"].tolist() == [1, 1, 0]
    assert found["score"][2] == 1


def test_micro_ap_equals_what_was_computed_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6])
    correct, matched = np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 1, 1])
    # Precision 1/1 at the first correct answer, 2/3 at the second; three queries have a match.
    found = micro_average_precision(score, correct, matched, once(4))
    assert found == pytest.approx([(1 + 2 / 3) / 3])
    assert recall_at_precision(score, correct, matched, once(4)) == pytest.approx([1 / 3])


def test_unmatched_queries_that_score_above_the_matches_lower_micro_ap() -> None:
    matched = np.array([1.0] * 6 + [0.0] * 3)
    below = np.array([0.9] * 6 + [0.1] * 3)
    above = np.array([0.9] * 6 + [0.95] * 3)
    assert micro_average_precision(below, matched, matched, once(9)) == pytest.approx([1.0])
    assert recall_at_precision(below, matched, matched, once(9)) == pytest.approx([1.0])
    assert micro_average_precision(above, matched, matched, once(9))[0] < 0.6
    assert recall_at_precision(above, matched, matched, once(9)).tolist() == [0.0]


def test_nine_right_answers_of_ten_are_90_per_cent() -> None:
    score, correct = np.linspace(1, 0.1, 10), np.array([1.0] * 9 + [0])
    assert recall_at_precision(score, correct, np.ones(10), once(10)).tolist() == [0.9]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
def test_micro_ap_equals_brute_force_in_any_order(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    score = random.permutation(count) / count
    matched = random.integers(0, 2, count).astype(float)
    matched[0] = 1
    correct = matched * random.integers(0, 2, count)
    ranked = sorted(zip(-score, correct, strict=True))
    right = [value for _, value in ranked]
    points = [sum(right[: n + 1]) / (n + 1) for n in range(count)]
    expected = sum(p for p, value in zip(points, right, strict=True) if value) / matched.sum()
    order = random.permutation(count)
    found = micro_average_precision(score[order], correct[order], matched[order], once(count))
    assert found == pytest.approx([expected])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 40))
def test_weights_count_as_often_as_the_query_repeated(seed: int, count: int) -> None:
    """Also where the best answers are not drawn: such a resample has figures like any other."""
    random = np.random.default_rng(seed)
    score = random.permutation(count) / count
    matched = random.integers(0, 2, count).astype(float)
    correct = matched * random.integers(0, 2, count)
    weights = random.integers(0, 3, count)
    weights[[int(score.argmax()), int(score.argmin())]] = 0, 1
    matched[int(score.argmin())] = 1
    for measure in (micro_average_precision, recall_at_precision):
        repeated = [np.repeat(each, weights) for each in (score, correct, matched)]
        expected = measure(*repeated, once(int(weights.sum())))
        assert np.isfinite(expected).all()
        found = measure(score, correct, matched, weights[None].astype(float))
        assert found >= expected - 1e-12  # the last of equal answers stands for all of them
        if weights.max() < 2:
            assert found == pytest.approx(expected)


def test_scores_that_differ_by_rounding_alone_are_a_tie_and_the_wrong_come_first() -> None:
    score = 1 - np.arange(8) * 6e-8
    correct = np.array([1.0] * 4 + [0.0] * 4)
    found = micro_average_precision(score, correct, correct, once(8))
    assert found == pytest.approx([(1 / 5 + 2 / 6 + 3 / 7 + 4 / 8) / 4])


def test_no_query_has_no_figure() -> None:
    nothing = np.zeros(3)
    assert np.isnan(micro_average_precision(nothing, nothing, nothing, once(3))).all()


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence, right = np.array([0.8] * 10 + [1.0] * 2), np.array([1.0] * 6 + [0] * 4 + [1, 1])
    expected = (10 * abs(0.8 - 0.6)) / 12
    assert calibration_error(confidence, right, once(12)) == pytest.approx([expected])
