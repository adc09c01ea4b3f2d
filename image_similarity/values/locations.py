"""Where a database is: a file, or a place on a PostgreSQL server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, unquote_plus

from image_similarity.errors import InvalidSetting

# The ways to write it that SQLAlchemy and PostgreSQL's own tools have; the driver is always psycopg.
_SCHEMES = ("postgresql+psycopg", "postgresql", "postgres")
# As SQLAlchemy takes a URL apart: its password may hold `/` and `?`, which other readers would count to what follows.
_URL = re.compile(
    r"(?P<scheme>[\w+]+)://"
    r"(?:(?P<user>[^:/?@]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<host>(?:\[[^\]/?@]*\])?[^\[\]/?@]*)/(?P<name>[^?@]+)(?:\?(?P<query>.*))?",
    re.DOTALL,
)
# Of libpq's settings, those that are secrets.
_SECRET = {
    "password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A database on a server, as "postgresql+psycopg://user@host:5432/name".

    A password belongs into libpq's own places (~/.pgpass, PGPASSWORD, a service file). One in the URL works and is
    neither shown nor recorded: the text form of this is without it.
    """

    url: str = field(repr=False)

    def __str__(self) -> str:
        """The URL without a password."""
        found = self._parts()
        said = [
            each
            for each in (found["query"] or "").split("&")
            if not _is_secret(each.partition("=")[0])
        ]
        user = "" if found["user"] is None else f"{found['user']}@"
        shown = f"{found['scheme']}://{user}{found['host']}/{found['name']}"
        return "?".join(filter(None, [shown, "&".join(said)]))

    def absolute(self) -> ServerUrl:
        """As of a path: what a record names wherever it is read."""
        return self

    def resolve(self) -> ServerUrl:
        """As of a path: no link leads here."""
        return self

    def with_name(self, name: str) -> Path:
        """As of a path: what lies beside a database lies in the current folder if that is on a server."""
        return Path(name.replace("/", "_"))

    def exists(self) -> bool:
        """As of a path. Whether the server has it shows when it is opened; nobody makes one by naming it."""
        return True

    @property
    def has_password(self) -> bool:
        """Whether the URL itself carries a password or another secret."""
        found = self._parts()
        settings = (each.partition("=") for each in (found["query"] or "").split("&"))
        return bool(found["password"]) or any(
            value and _is_secret(name) for name, _, value in settings
        )

    @property
    def name(self) -> str:
        """The name of the database on its server."""
        return unquote(self._parts()["name"])

    def _parts(self) -> re.Match[str]:
        found = _URL.fullmatch(self.url)
        if found is None:
            # Not the text itself: it may hold a password.
            raise InvalidSetting(_NO_URL, hint=_HOW)
        return found


def _is_secret(name: str) -> bool:
    return unquote_plus(name).strip().lower() in _SECRET


_NO_URL = "this is no URL of a database"
_HOW = (
    "write postgresql+psycopg://user@host/name; a password belongs into ~/.pgpass, or has %40 for @"
)

Location = Path | ServerUrl


# Two letters or more: one is a drive of Windows.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_uri(text: str) -> bool:
    """Whether a place of evidence is written as a URI; as the root of a source, that is one in an object store."""
    return _URI.match(text) is not None


def location(given: str | Path | ServerUrl) -> Location:
    """Give what a user wrote after -dp as a file or a server.

    Raises:
        InvalidSetting: The text looks like a URL and is none of a PostgreSQL server's.
    """
    if not isinstance(given, str):
        return given
    scheme, separator, rest = given.partition("://")
    if not separator:
        return Path(given)
    if scheme not in _SCHEMES:
        raise InvalidSetting(
            f"a database cannot be at {scheme}://…",
            hint="name a file, or a server: postgresql+psycopg://user@host/name",
        )
    server = ServerUrl(f"{_SCHEMES[0]}://{rest}")
    server._parts()
    return server
