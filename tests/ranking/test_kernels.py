"""Scans on all processors."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.ranking import kernels


def scan() -> bool:
    codes = np.ones((kernels.SHARE + 1, 2), dtype=np.int8)
    found = np.empty(len(codes), dtype=np.float32)
    kernels.in_shares(
        len(codes),
        lambda start, stop: kernels.dot_products(codes[start:stop], codes[0], found[start:stop]),
    )
    return bool((found == 2).all())


def test_no_reference_is_lost_however_often_codes_are_compared() -> None:
    codes, found = np.ones((3, 5), dtype=np.int8), np.empty(3, dtype=np.float32)
    before = sys.getrefcount(None)
    for _ in range(1000):
        kernels.dot_products(codes, codes[0], found)
        kernels.squared_norms(codes)
    assert abs(sys.getrefcount(None) - before) < 100
    assert found.tolist() == [5, 5, 5]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dim", [100_352, kernels.MAX_DIM, kernels.MAX_DIM + 1])
def test_the_largest_sums_do_not_overflow(dim: int, sign: int) -> None:
    codes = np.full((3, dim), 127 * sign, dtype=np.int8)
    found = np.empty(3, dtype=np.float32)
    kernels.dot_products(codes, np.full(dim, 127, dtype=np.int8), found)
    assert (found == np.float32(127 * 127 * dim * sign)).all()
    assert (kernels.squared_norms(codes) == 127 * 127 * dim).all()


@pytest.mark.parametrize("dim", [1, 7, 256, 1000, kernels.MAX_DIM])
def test_products_of_whole_numbers_are_right_at_their_extremes(dim: int) -> None:
    draw = np.random.default_rng(dim)
    codes = draw.integers(-127, 128, (9, dim), dtype=np.int8)
    codes[0], codes[1] = 127, -127
    queries = draw.integers(-kernels.LARGEST_FACTOR, kernels.LARGEST_FACTOR + 1, (dim, 5))
    queries[:, 0], queries[:, 1] = kernels.LARGEST_FACTOR, -kernels.LARGEST_FACTOR
    multiply = kernels.integer_product(dim)
    assert multiply is not None
    found = multiply(codes, queries.astype(np.int8))
    assert (found == codes.astype(np.int64) @ queries).all()


def test_longer_vectors_than_32_bits_hold_are_not_multiplied_as_whole_numbers() -> None:
    assert kernels.integer_product(kernels.MAX_DIM + 1) is None


def test_the_network_of_one_step_is_what_it_is_said_to_be() -> None:
    onnx = pytest.importorskip("onnx")
    make, types = onnx.helper, onnx.TensorProto
    graph = make.make_graph(
        [make.make_node("MatMulInteger", ["rows", "queries", "zero"], ["products"])],
        "products",
        [
            make.make_tensor_value_info("rows", types.UINT8, ["n", "dim"]),
            make.make_tensor_value_info("queries", types.INT8, ["dim", "q"]),
            make.make_tensor_value_info("zero", types.UINT8, []),
        ],
        [make.make_tensor_value_info("products", types.INT32, ["n", "q"])],
    )
    expected = make.make_model(graph, opset_imports=[make.make_opsetid("", 10)], ir_version=7)
    assert onnx.load_from_string(kernels._INTEGER_PRODUCT) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python warns of forks beside threads")
def test_a_forked_process_does_not_wait_for_the_threads_of_its_parent() -> None:
    assert scan()
    child = os.fork()
    if not child:
        os._exit(0 if scan() else 1)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("it hangs")


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 3000),
    width=st.sampled_from([1, 4, 8, 32, 33]),
    share=st.sampled_from([0.5, 0.1, 0.01]),
    count=st.integers(1, 1500),
)
def test_the_nearest_in_bits_are_all_up_to_the_last_tie_whatever_looks_for_them(
    seed: int, rows: int, width: int, share: float, count: int
) -> None:
    draw = np.random.default_rng(seed)
    bits = np.packbits(draw.random((rows, 8 * width)) < share, axis=1)
    query = bits[draw.integers(rows)]
    differing = np.bitwise_count(bits ^ query).sum(axis=1)
    border = np.sort(differing)[min(count, rows) - 1]
    expected = np.flatnonzero(differing <= border) if count < rows else np.arange(rows)
    found = kernels.nearest_in_bits(bits, query, count)
    assert found.tolist() == expected.tolist()
    assert kernels.hamming_distances(bits, query).tolist() == differing.tolist()
