"""The head of the audit chain as a file, to be kept where whoever changes the database does not reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from image_similarity import whole_file
from image_similarity.errors import InvalidSetting, UsageError
from image_similarity.reports.rows import json_text
from image_similarity.store import audit
from image_similarity.store.catalog import Catalog
from image_similarity.values import KeptHead

# A file of a few lines; what is larger is none of ours.
LARGEST = 65_536


def head(catalog: Catalog) -> KeptHead:
    """The present head of a database.

    Raises:
        UsageError: Its chain has no entry yet.
    """
    with catalog.reading() as connection:
        last = audit.head(connection)
    if last is None:
        raise UsageError(f"{catalog.path} has no audit chain yet", hint="index something first")
    return KeptHead(last.number, last.digest, last.at, str(catalog.path.absolute()))


def write_head(kept: KeptHead, path: Path) -> Path:
    """Write a head to a new file.

    Raises:
        UsageError: The file exists: an earlier head must not be lost.
        OSError: It cannot be written.
    """
    if path.exists():
        raise UsageError(
            f"{path} exists already", hint="name a new file: an earlier head stays of use"
        )
    with whole_file.writing(path) as file:
        file.write(json_text(kept).encode("ascii") + b"\n")
    return path


def read_head(path: Path) -> KeptHead:
    """Read what `audit head` gave.

    Raises:
        InvalidSetting: The file is missing or holds no head.
    """
    try:
        with path.open("rb") as file:
            said: Any = json.loads(file.read(LARGEST))
        number, digest = said["number"], said["digest"]
        at, database = said.get("at", ""), said.get("database", "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidSetting(
            f"{path} is no head of an audit chain: {error}",
            hint="give a file that `image-similarity audit head -o FILE` wrote",
        ) from error
    is_digest = (
        isinstance(digest, str) and len(digest) == 64 and not set(digest) - set("0123456789abcdef")
    )
    if type(number) is not int or number < 1 or not is_digest:
        raise InvalidSetting(
            f"{path} is no head of an audit chain: no number with a SHA-256",
            hint="give a file that `image-similarity audit head -o FILE` wrote",
        )
    return KeptHead(number, digest, str(at), str(database))
