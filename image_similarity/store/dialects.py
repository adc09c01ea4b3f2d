"""What SQLite and PostgreSQL say in different words, as parts of statements that serve both.

SQLite keeps any type in any column, so its words also say what becomes of a damaged row; a column of PostgreSQL holds
what it is for.
"""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import ColumnElement, LargeBinary, cast, func, literal_column, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Value = TypeVar("Value")


class ByDialect(FunctionElement[Value]):
    """An expression in the words of SQLite, and the same in those of PostgreSQL."""

    inherit_cache = True

    def __init__(self, sqlite: ColumnElement[Value], postgresql: ColumnElement[Any]) -> None:
        super().__init__(sqlite, postgresql)
        self.type = sqlite.type


@compiles(ByDialect)
def _on_sqlite(element: ByDialect[Any], compiler: SQLCompiler, **more: Any) -> str:
    return f"({compiler.process(element.clauses.clauses[0], **more)})"


@compiles(ByDialect, "postgresql")
def _on_postgresql(element: ByDialect[Any], compiler: SQLCompiler, **more: Any) -> str:
    return f"({compiler.process(element.clauses.clauses[1], **more)})"


def as_bytes(text: ColumnElement[Any]) -> ColumnElement[bytes]:
    """A text in UTF-8; a damaged row of SQLite may hold one that is none."""
    return ByDialect(cast(text, LargeBinary), func.convert_to(text, literal_column("'UTF8'")))


def is_integer(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a column for whole numbers holds one."""
    return ByDialect(func.typeof(column) == "integer", true())
