"""HALFVEC: how pgvector keeps a vector of float16, and how it is written and read as our bytes.

The binary form is that of pgvector's halfvec_send: two counts of two bytes (dimensions, and one that is unused), then
each number as float16, all big-endian.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Dialect, Function, func
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import UserDefinedType

HEADER = 4


class HalfVector(UserDefinedType[bytes]):
    """The column type: bytes in Python, as on SQLite; see `schema.Vector`."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **kwargs: Any) -> str:
        """Its name. Without a number of dimensions: vectors of all models share the column."""
        return "HALFVEC"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Write a vector as text."""
        return lambda data: None if data is None else to_text(data)

    def column_expression(self, column: ColumnElement[Any]) -> Function[bytes]:
        """Read a vector in its binary form: its text would be four times as long, and slow to parse."""
        return func.halfvec_send(column, type_=_Sent())


def make_known() -> None:
    """Let a look at the tables of a server know the type; not on import, as searches of a file need no such dialect."""
    from sqlalchemy.dialects.postgresql.base import ischema_names

    ischema_names["halfvec"] = HalfVector


class _Sent(UserDefinedType[bytes]):
    """What halfvec_send gives."""

    cache_ok = True

    def get_col_spec(self, **kwargs: Any) -> str:
        return "BYTEA"

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        return lambda sent: None if sent is None else from_sent(sent)


def from_sent(sent: bytes) -> bytes:
    """Our bytes of a vector as halfvec_send gives it."""
    return np.frombuffer(sent, dtype=">f2", offset=HEADER).astype("<f2").tobytes()


def stacked(sent: Sequence[bytes], dim: int) -> npt.NDArray[np.float16]:
    """Vectors as halfvec_send gives them, all of `dim` numbers, as one array, float16 (n, dim)."""
    rows = np.frombuffer(b"".join(sent), dtype=">u2").reshape(len(sent), HEADER // 2 + dim)
    return rows[:, HEADER // 2 :].astype("<u2").view("<f2")


def to_sent(data: bytes) -> bytes:
    """A vector as halfvec_recv takes it, for COPY in binary form."""
    dim = len(data) // 2
    return (
        dim.to_bytes(2, "big") + b"\0\0" + np.frombuffer(data, dtype="<f2").astype(">f2").tobytes()
    )


def to_text(data: bytes) -> str:
    """A vector as pgvector reads it from a statement; every float16 survives."""
    return str(np.frombuffer(data, dtype="<f2").astype(np.float64).tolist())
