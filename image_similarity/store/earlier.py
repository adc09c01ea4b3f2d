"""Reading a database of the earlier image-similarity: metadata(imageId, image_path, embedding, scene_type).

It is opened for reading only. Every value is taken as it comes: SQLite keeps any type in any column.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from image_similarity.errors import DatabaseMissing, NotOurDatabase
from image_similarity.store.engine import name_error, read_only_uri
from image_similarity.store.upgrade import EARLIER, read_state

# Paths by which it is found out where the pictures lie now.
SAMPLE = 500


@dataclass(frozen=True, slots=True)
class EarlierRow:
    """One row as it stands there; `number` counts from 1 in its order."""

    number: int
    path: object
    embedding: object
    scene: object


@dataclass(frozen=True, slots=True)
class EarlierDatabase:
    """What a first look at the file says.

    `dim` is the length of most of its embeddings, 0 if none looks like one; `scenes` counts its scene types; `paths`
    are some of its paths, spread over all rows.
    """

    path: Path
    sha256: str
    rows: int
    dim: int
    scenes: dict[object, int]
    paths: tuple[str, ...]


def require(path: Path) -> None:
    """Refuse what is no database of the earlier system.

    Raises:
        DatabaseMissing: There is none.
        NotOurDatabase: It is another file.
    """
    if not path.is_file():
        raise DatabaseMissing(f"there is no database {path}", hint="name the earlier database")
    if read_state(path).detail != EARLIER:
        raise NotOurDatabase(
            f"{path} is no database of the earlier image-similarity",
            hint="that has a table metadata with image_path, embedding and scene_type",
        )


def look(path: Path) -> EarlierDatabase:
    """Look through a file once, without changing it.

    Raises:
        DatabaseMissing, NotOurDatabase: See `require`.
        DatabaseDamaged, DatabaseLocked, DatabaseNotWritable: SQLite cannot read it.
    """
    require(path)
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    with _opened(path) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM metadata").fetchone()
        lengths, scenes, paths = Counter[int](), Counter[object](), list[str]()
        every = max(1, rows // SAMPLE)
        for row in _rows(connection):
            if isinstance(row.embedding, str):
                lengths[row.embedding.count(",") + 1] += 1
            scenes[row.scene if isinstance(row.scene, str) else None] += 1
            if row.number % every == 0 and isinstance(row.path, str):
                paths.append(row.path)
    dim = lengths.most_common(1)[0][0] if lengths else 0
    return EarlierDatabase(path, sha256, rows, dim, dict(scenes), tuple(paths))


@contextmanager
def rows_of(path: Path) -> Iterator[Iterator[EarlierRow]]:
    """All rows in their order."""
    with _opened(path) as connection:
        yield _rows(connection)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(read_only_uri(path), uri=True)) as connection:
            # A file from elsewhere may hold a view in the table's place, with functions in it.
            connection.execute("PRAGMA trusted_schema = OFF")
            # A path need not be valid text; Python keeps such bytes in names of files, and so do we.
            connection.text_factory = _text
            yield connection
    except sqlite3.Error as error:
        raise name_error(error, path) from error


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _rows(connection: sqlite3.Connection) -> Iterator[EarlierRow]:
    cursor = connection.execute("SELECT image_path, embedding, scene_type FROM metadata")
    for number, (path, embedding, scene) in enumerate(cursor, start=1):
        yield EarlierRow(number, path, embedding, scene)
