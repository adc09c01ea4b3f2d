"""What the page is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from image_similarity.values import Location

HOST = "127.0.0.1"
PORT = 8765
# Of one picture that is dropped or pasted, in bytes: more than any camera's file.
MOST_UPLOADED = 128 * 2**20
# Of all thumbnails that are kept, in bytes.
MOST_CACHED = 2 * 2**30


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The settings of the page.

    `database` is the case. `read_only` neither writes it nor anything beside it. `reports` is the folder that reports
    are written to, DATABASE-reports by default; `cache` the one of thumbnails, in the user's cache folder by default,
    which holds `most_cached` bytes. Without `password` a token in the first link opens the page; `certificate` and
    `key` are TLS files in PEM. A `host` that is not this machine alone takes both.
    """

    database: Location
    host: str = HOST
    port: int = PORT
    read_only: bool = False
    reports: Path | None = None
    cache: Path | None = None
    most_cached: int = MOST_CACHED
    most_uploaded: int = MOST_UPLOADED
    password: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()
