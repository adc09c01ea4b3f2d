"""Whether a database still has its tables, columns and indexes, and objects where JSON objects belong."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, inspect

from image_similarity.store.engine import is_sqlite
from image_similarity.store.schema import JsonObject, metadata


def missing(connection: Connection) -> Iterator[str]:
    """Say, one by one, which tables, columns and indexes are not there: something else than this program removed them.

    What needs a removed table fails, and so does a check of the rest; without a unique index, a run could store a thing
    twice.
    """
    found = inspect(connection)
    tables = set(found.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in tables:
            yield f"the table {table.name} was removed; nothing else was checked"
            continue
        there = {column["name"] for column in found.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                yield f"the column {column.name} of the table {table.name} was removed; nothing else was checked"
        indexes = {index["name"] for index in found.get_indexes(table.name)}
        for name in sorted(str(index.name) for index in table.indexes):
            if name not in indexes:
                yield f"the index {name} was removed; nothing else was checked"


def broken_objects(connection: Connection) -> Iterator[str]:
    """Say in which rows a column of JSON objects holds anything else."""
    # A server's column holds nothing but JSON.
    broken = (
        "CASE WHEN json_valid({0}) THEN json_type({0}) != 'object' ELSE 1 END"
        if is_sqlite(connection)
        else "json_typeof({0}) != 'object'"
    )
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, JsonObject):
                condition = broken.format(column.name)
                statement = f"SELECT id FROM {table.name} WHERE {condition}"  # noqa: S608 - words of ours
                for (row,) in connection.exec_driver_sql(statement):
                    yield f"{column.name} of row {row} of {table.name} is no JSON object"
