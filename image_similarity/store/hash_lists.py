"""Lists of known files in the database, and which contents they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, insert, select, text, update

from image_similarity.store import audit
from image_similarity.store.clock import now
from image_similarity.store.engine import is_sqlite, plain_rows
from image_similarity.store.schema import hash_entry_table, hash_list_table
from image_similarity.values import Digests, HashList, KnownHash

# Entries that are stored, and digests that are asked for, in one statement.
_PORTION = 10_000

# Made once: asked before each query.
_LISTS = select(
    hash_list_table.c.name,
    hash_list_table.c.form,
    hash_list_table.c.file_sha256,
    hash_list_table.c.imported_at,
    hash_list_table.c.entries,
).order_by(hash_list_table.c.name)
# In words that SQLite cannot read the other way round: the entries are found by their digests, never walked through.
_KNOWN = (
    "SELECT id FROM image WHERE EXISTS (SELECT 1 FROM hash_entry"
    " WHERE digest IN (bytes_of(sha256), bytes_of(sha1), bytes_of(md5)){of_list})"
)
_OF_LIST = " AND list_id = (SELECT id FROM hash_list WHERE name = :name)"
_KNOWN_FAILURES = (
    "SELECT count(*) FROM failure WHERE resolved_run_id IS NULL AND sha256 IS NOT NULL"
    " AND EXISTS (SELECT 1 FROM hash_entry WHERE digest = bytes_of(sha256){of_list})"
)


def lists(connection: Connection) -> list[HashList]:
    """The lists, by name."""
    return [HashList(*row) for row in connection.execute(_LISTS)]


class Entry(NamedTuple):
    """A hash of 16, 20 or 32 bytes with its category, or an empty text."""

    digest: bytes
    category: str


def add(
    connection: Connection, name: str, form: str, file_sha256: str, entries: Iterable[Entry]
) -> HashList:
    """Store a list with its entries, each digest once and in ascending order, and append it to the audit chain.

    In another order it would take ten times as long: so pages are filled one after the other.
    """
    values = {"name": name, "form": form, "file_sha256": file_sha256, "imported_at": now()}
    list_id = connection.execute(
        insert(hash_list_table).values(entries=0, **values).returning(hash_list_table.c.id)
    ).scalar_one()
    count, waiting, digest = 0, iter(entries), hashlib.sha256()
    while portion := list(islice(waiting, _PORTION)):
        _write(connection, [(entry.digest, list_id, entry.category or None) for entry in portion])
        for entry in portion:
            digest.update(_sealed(*entry))
        count += len(portion)
    connection.execute(
        update(hash_list_table).where(hash_list_table.c.id == list_id).values(entries=count)
    )
    said = {"did": "imported", "entries": count, "entries_sha256": digest.hexdigest(), **values}
    audit.append(connection, "hashlist", said)
    return HashList(entries=count, **values)


def _write(connection: Connection, rows: list[tuple[bytes, int, str | None]]) -> None:
    # Not an insert of SQLAlchemy's: of millions of rows it takes longer than SQLite.
    if is_sqlite(connection):
        connection.exec_driver_sql(
            "INSERT INTO hash_entry (digest, list_id, category) VALUES (?, ?, ?)", rows
        )
    else:
        from image_similarity.store import postgres

        postgres.copy_in(connection, hash_entry_table, ("digest", "list_id", "category"), rows)


def remove(connection: Connection, name: str) -> HashList | None:
    """Remove a list with its entries, and append that to the audit chain; None if there is no such list."""
    found = next((each for each in lists(connection) if each.name == name), None)
    if found is None:
        return None
    entries_sha256 = digest_of(connection, name)
    list_id = connection.execute(
        select(hash_list_table.c.id).where(hash_list_table.c.name == name)
    ).scalar_one()
    connection.execute(delete(hash_entry_table).where(hash_entry_table.c.list_id == list_id))
    connection.execute(delete(hash_list_table).where(hash_list_table.c.id == list_id))
    said = {
        "did": "removed",
        "name": name,
        "file_sha256": found.file_sha256,
        "entries": found.entries,
        "entries_sha256": entries_sha256,
    }
    audit.append(connection, "hashlist", said)
    return found


def digest_of(connection: Connection, name: str) -> str:
    """The SHA-256 over the entries of a list, as the audit chain has it of the import; one walk over all lists."""
    of_list = select(hash_list_table.c.id).where(hash_list_table.c.name == name)
    statement = (
        select(hash_entry_table.c.digest, hash_entry_table.c.category)
        .where(hash_entry_table.c.list_id == of_list.scalar_subquery())
        .order_by(hash_entry_table.c.digest)
    )
    digest = hashlib.sha256()
    options = {"yield_per": _PORTION}
    for entry, category in connection.execute(statement, execution_options=options):
        digest.update(_sealed(entry, category or ""))
    return digest.hexdigest()


def _sealed(digest: bytes, category: str) -> bytes:
    """An entry as bytes that no other has: no text in UTF-8 holds 0xff."""
    return bytes([len(digest)]) + digest + category.encode("utf-8", "surrogatepass") + b"\xff"


def known_ids(connection: Connection, name: str | None = None) -> npt.NDArray[np.int64]:
    """The contents, int64, that any list holds, or this one: each is looked up by its three hashes."""
    if name is None:
        statement = text(_KNOWN.format(of_list=""))
    else:
        statement = text(_KNOWN.format(of_list=_OF_LIST)).bindparams(name=name)
    rows = plain_rows(connection, statement)
    return np.fromiter(chain.from_iterable(rows), np.int64, len(rows))


def held_by(connection: Connection, name: str) -> tuple[int, int]:
    """How many contents, and how many open failures whose bytes were read, one list holds."""
    failures = connection.execute(text(_KNOWN_FAILURES.format(of_list=_OF_LIST)), {"name": name})
    return len(known_ids(connection, name)), int(failures.scalar_one())


def known(
    connection: Connection, contents: Mapping[int, Digests]
) -> dict[int, tuple[KnownHash, ...]]:
    """The lists that hold contents, by the key that they are given under; those that none holds are left out.

    Hashes may be empty texts, where they are not known.
    """
    if not contents or not lists(connection):
        return {}
    # The strongest first: of a list that has several the first counts.
    wanted = [
        (key, algorithm, digest)
        for key, digests in contents.items()
        for algorithm in ("sha256", "sha1", "md5")
        if (digest := _bytes(getattr(digests, algorithm)))
    ]
    entries = _entries(connection, {digest for _, _, digest in wanted})
    found: dict[int, dict[str, KnownHash]] = {}
    for key, algorithm, digest in wanted:
        for name, category in entries.get(digest, ()):
            found.setdefault(key, {}).setdefault(name, KnownHash(name, algorithm, category))
    return {key: tuple(by_list[name] for name in sorted(by_list)) for key, by_list in found.items()}


def _entries(
    connection: Connection, digests: Iterable[bytes]
) -> dict[bytes, list[tuple[str, str]]]:
    found: dict[bytes, list[tuple[str, str]]] = {}
    for portion in _portions(digests):
        statement = (
            select(hash_entry_table.c.digest, hash_list_table.c.name, hash_entry_table.c.category)
            .join(hash_list_table, hash_list_table.c.id == hash_entry_table.c.list_id)
            .where(hash_entry_table.c.digest.in_(portion))
        )
        for digest, name, category in connection.execute(statement):
            found.setdefault(digest, []).append((name, category or ""))
    return found


def _bytes(text_: str) -> bytes:
    try:
        return bytes.fromhex(text_)
    except ValueError:
        return b""


def _portions(digests: Iterable[bytes]) -> Iterator[list[bytes]]:
    waiting = iter(digests)
    while portion := list(islice(waiting, _PORTION)):
        yield portion
