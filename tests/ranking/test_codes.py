"""Codes say how far they are from their vectors, and are the same everywhere."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.ranking import codes
from tests.ranking.hostile import KINDS, make

FIVE = "81066380"
MANY = "c305d2e15f1ecd43e7321a3077eb5140c13e58ec389d92bd5f1081a7222354e9"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 70), st.integers(0, 2**32))
def test_no_vector_is_further_from_its_code_than_the_code_says(
    kind: str, n: int, dim: int, seed: int
) -> None:
    vectors = make(kind, n, dim, seed)
    packed = codes.encode(vectors)
    decoded = packed.scales.astype(np.float64)[:, None] * packed.codes
    lost = np.linalg.norm(vectors.astype(np.float64) - decoded, axis=1)
    assert (lost <= packed.errors).all()
    assert (packed.errors <= lost * (1 + 1e-6) + 1e-38).all()
    assert codes.problem_of(vectors, packed) == ""


def test_shapes_and_types_are_those_that_the_store_keeps() -> None:
    packed = codes.encode(make("random", 5, 11, 1))
    assert [(each.shape, each.dtype.str) for each in (packed.codes, packed.bits)] == [
        ((5, 11), "|i1"),
        ((5, 2), "|u1"),
    ]
    assert [(each.shape, each.dtype.str) for each in (packed.scales, packed.errors)] == [
        ((5,), "<f4"),
        ((5,), "<f4"),
    ]
    assert len(codes.encode(np.empty((0, 7), np.float16)).codes) == 0


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 100, 256, 1025, 1500])
def test_the_rotation_keeps_lengths_and_angles(dim: int) -> None:
    vectors = make("random", 9, dim, dim)
    turned = codes.rotate(vectors).astype(np.float64)
    wide = vectors.astype(np.float64)
    assert np.allclose(turned @ turned.T, wide @ wide.T, atol=1e-4 * dim)


def test_the_rotation_never_changes() -> None:
    """Bits in old databases are compared with those of new queries."""
    assert np.packbits(codes.rotate(np.eye(5, dtype=np.float32)) >= 0).tobytes().hex() == FIVE
    many = np.packbits(codes.rotate(np.eye(256, dtype=np.float32)) >= 0).tobytes()
    assert hashlib.sha256(many).hexdigest() == MANY


def test_wrong_codes_are_told_from_right_ones() -> None:
    vectors = make("normalised", 20, 64, 3)
    packed = codes.encode(vectors)
    assert "further" in codes.problem_of(vectors, replace(packed, codes=-packed.codes))
    assert "larger" in codes.problem_of(vectors, replace(packed, errors=packed.errors * 9))
    assert "bits" in codes.problem_of(vectors, replace(packed, bits=~packed.bits))
