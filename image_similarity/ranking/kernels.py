"""The scans that must run at the speed of memory: products of int8 codes, and Hamming distances of bits.

SimSIMD (Apache-2.0, without dependencies) multiplies int8 codes where they lie: 1,000,000 of 256 numbers took it a
tenth of the time of numpy's float32 product, its import about 1 ms; NumKong and faiss came near it but are tens of
megabytes large, usearch was slower. For bits, faiss (MIT, the extra `ann`) was the fastest and is taken where it is
installed. Without either numpy does the same, slower. What is added up are whole numbers, so all give one result. ONNX
Runtime (MIT) multiplies for many queries at once, three times as fast as numpy does in float32.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

# Rows that one thread takes at a time: few enough that the threads end together, enough that Python does not count.
SHARE = 65_536
# Numbers that numpy widens at once where SimSIMD is missing: 4 MiB as float64.
_WIDENED = 2**19
# The kernels add in 32 bits: 128 * 128 * dim must stay below 2^31.
MAX_DIM = 131_071


@cache
def _library(name: str) -> Any:
    """The library, or None where it is not installed or cannot be loaded."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1)


if hasattr(os, "register_at_fork"):
    # A forked process has the pool, but none of its threads: it would wait for them for ever.
    os.register_at_fork(after_in_child=_threads.cache_clear)


def in_shares(rows: int, work: Callable[[int, int], None]) -> None:
    """Call `work(start, stop)` for shares of so many rows, on all processors: kernels let other threads run."""
    shares = [(start, min(rows, start + SHARE)) for start in range(0, rows, SHARE)]
    if len(shares) == 1:
        work(*shares[0])
        return
    for done in [_threads().submit(work, *share) for share in shares]:
        done.result()


def dot_products(
    codes: npt.NDArray[np.int8], query: npt.NDArray[np.int8], out: npt.NDArray[np.float32]
) -> None:
    """Write the dot products of codes (n, dim) with one query (dim,) to `out` (n,), each rounded once to float32."""
    simsimd = _library("simsimd")
    if simsimd is not None and len(codes) and codes.shape[1] <= MAX_DIM:
        # Not with `out`: SimSIMD 6.5 then returns None without counting the reference, and Python before 3.12 aborts
        # once none is left, after some thousand calls.
        out[:] = np.asarray(simsimd.cdist(query[None], codes, metric="dot"))[0]
        return
    # float64 holds the sums exactly.
    wide = query.astype(np.float64)
    for start, stop in _portions(codes):
        out[start:stop] = codes[start:stop].astype(np.float64) @ wide


# Processors without instructions for 8-bit products add pairs of them in 16 bits: 2 * 255 * 63 is within these.
LARGEST_FACTOR = 63

Product = Callable[[npt.NDArray[np.int8], npt.NDArray[np.int8]], npt.NDArray[np.int32]]

# A network for ONNX Runtime of one step, MatMulInteger: rows uint8 (n, dim), queries int8 (dim, B), what the rows'
# zero is; whole numbers int32 (n, B). A test makes it anew with the package `onnx`.
_INTEGER_PRODUCT = bytes.fromhex(
    "08073aa3010a2e0a04726f77730a07717565726965730a047a65726f120870726f6475637473220d4d61744d"
    "756c496e7465676572120870726f64756374735a1a0a04726f777312120a100802120c0a0312016e0a051203"
    "64696d5a1d0a077175657269657312120a100803120c0a05120364696d0a031201715a0e0a047a65726f1206"
    "0a0408021200621c0a0870726f647563747312100a0e0806120a0a0312016e0a0312017142040a00100a"
)


@cache
def integer_product(dim: int) -> Product | None:
    """What multiplies codes (n, dim) with queries (dim, B) from -63 to 63, exactly; None without ONNX Runtime."""
    runtime = _library("onnxruntime")
    if runtime is None or dim > MAX_DIM:
        return None
    options = runtime.SessionOptions()
    # The caller's threads share the rows.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        _INTEGER_PRODUCT, options, providers=["CPUExecutionProvider"]
    )
    zero = np.array(128, dtype=np.uint8)

    def multiply(
        codes: npt.NDArray[np.int8], queries: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.int32]:
        found: npt.NDArray[np.int32] = session.run(
            None, {"rows": codes.view(np.uint8) ^ zero, "queries": queries, "zero": zero}
        )[0]
        return found

    return multiply


def squared_norms(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """Give the squared norms, float64 (n,), of codes (n, dim): whole numbers, exact."""
    simsimd = _library("simsimd")
    if simsimd is not None and len(codes) > 1 and codes.shape[1] <= MAX_DIM:
        return np.array(simsimd.dot(codes, codes), dtype=np.float64)
    norms = np.empty(len(codes), dtype=np.float64)
    for start, stop in _portions(codes):
        block = codes[start:stop].astype(np.float64)
        norms[start:stop] = np.einsum("nd,nd->n", block, block)
    return norms


def _portions(codes: npt.NDArray[np.int8]) -> list[tuple[int, int]]:
    rows = max(1, _WIDENED // max(1, codes.shape[1]))
    return [(start, start + rows) for start in range(0, len(codes), rows)]


def hamming_distances(
    bits: npt.NDArray[np.uint8], query: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int32]:
    """Give the number of differing bits, int32 (n,), between rows of bytes (n, width) and one (width,)."""
    # The longest words that divide a row: what is counted is the same.
    word = next(size for size in (8, 4, 2, 1) if bits.shape[1] % size == 0)
    words, wanted = bits.view(f"u{word}"), query.view(f"u{word}")
    distances = np.zeros(len(bits), dtype=np.int32)

    def count(start: int, stop: int) -> None:
        for position in range(words.shape[1]):
            differing = words[start:stop, position] ^ wanted[position]
            distances[start:stop] += np.bitwise_count(differing)

    in_shares(len(bits), count)
    return distances


def nearest_in_bits(
    bits: npt.NDArray[np.uint8], query: npt.NDArray[np.uint8], count: int
) -> npt.NDArray[np.intp]:
    """Give, ascending, the rows that differ from the query in no more bits than the `count`-th nearest row does.

    Ties make it more than `count`; that the same rows come from every kernel is worth it.
    """
    if count >= len(bits):
        return np.arange(len(bits))
    faiss = _library("faiss")
    if faiss is not None and faiss_can(faiss):
        # Twice as many as asked for: enough to see where the ties end, as a rule.
        # "mc": it keeps what is near by its distance, a whole number, which takes 0.6 of the time of a heap.
        distances, rows = faiss.knn_hamming(
            query[None], bits, min(2 * count, len(bits)), variant="mc"
        )
        if distances[0, -1] > distances[0, count - 1]:
            found: npt.NDArray[np.intp] = rows[0, distances[0] <= distances[0, count - 1]]
            return np.sort(found)
    differing = hamming_distances(bits, query)
    return np.flatnonzero(differing <= np.partition(differing, count - 1)[count - 1])


def faiss_can(faiss: Any) -> bool:
    """Whether this faiss compares bits without an index of its own."""
    return hasattr(faiss, "knn_hamming")
