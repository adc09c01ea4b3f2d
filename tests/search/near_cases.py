"""A small case with PDQ hashes that the tests choose, bit by bit."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

ORIGINAL = np.random.default_rng(7).integers(0, 256, 32, dtype=np.uint8).tobytes()


def flipped(hash_: bytes, bits: int, seed: int = 0) -> bytes:
    """The hash with so many of its bits turned."""
    found = np.unpackbits(np.frombuffer(hash_, dtype=np.uint8))
    found[np.random.default_rng(seed).choice(256, bits, replace=False)] ^= 1
    return np.packbits(found).tobytes()


def give_hashes(database: Path, hashes: Mapping[str, tuple[bytes, int]]) -> None:
    """Put hashes with their qualities into a database, by the name of a file of the content."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for name, (hash_, quality) in hashes.items():
            connection.execute(
                "INSERT INTO pdq (image_id, run_id, quality, hash) "
                "SELECT image_id, 1, ?, ? FROM file WHERE path = ? LIMIT 1",
                (quality, hash_, name),
            )
