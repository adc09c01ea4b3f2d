"""Every command does the same on a server as on a file; what people meet there instead of it is said in one line.

Tests of one part on both stand with that part; these are of the whole program, as people call it.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from image_similarity.cli import main
from image_similarity.values import Location, ServerUrl
from tests.cli.conftest import Outcome, index_arguments
from tests.conftest import draw_picture
from tests.postgres import fresh_database

PICTURES = 12


def run(*arguments: object) -> Outcome:
    """Run a command in this process, as `main` does."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = main.run(main.cli, [str(each) for each in arguments], "image-similarity")
    written = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Outcome(code, *written)


def url_of(database: Location) -> str:
    return database.url if isinstance(database, ServerUrl) else str(database)


# --- every command --------------------------------------------------------------------------


@dataclass(frozen=True)
class Twins:
    """The same small case in a file and on a server, indexed and decided by the same commands; and what lies around."""

    file: Location
    server: Location
    base: Path

    def run(self, line: str) -> dict[str, Outcome]:
        """Run a command on both."""
        found = {}
        for name, database in (("file", self.file), ("server", self.server)):
            out = self.base / name
            out.mkdir(exist_ok=True)
            said = {
                "db": url_of(database), "out": out, "base": self.base,
                "tiny": self.base / "tiny.safetensors", "seen": self.base / "evidence" / "picture",
            }  # fmt: skip
            found[name] = run(*shlex.split(line.format(**said)))
        return found

    def plain(self, name: str, text: str) -> str:
        """What a command wrote, without the database's name, times, and sizes."""
        database = self.file if name == "file" else self.server
        for known, stands in (
            (str(database), "DB"), (database.name, "DB"), (f"{self.base / name}", "OUT"),
        ):  # fmt: skip
            text = text.replace(known, stands)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
        text = re.sub(r"\b[\d.]+ (s|ms|a second|B|[kM]B)\b", "NUMBER", text)
        return re.sub(r'(?m)^(size +).*$|("size": )\d+', r"\1\2SIZE", text)


PAIRS = """a,b,same
evidence:picture-00.png,evidence:copy.png,1
evidence:picture-01.png,evidence:picture-02.png,0
evidence:picture-03.png,evidence:picture-04.png,0
"""
SET_UP = """
case set -dp {db} --number 17/2026 --examiner Anna
hashlist import {base}/known.csv -dp {db}
review tag evidence:picture-01.png sofa -dp {db}
review note evidence:picture-01.png "the sofa" -dp {db}
review category evidence:picture-02.png 2 -dp {db}
review irrelevant {seen}-00.png evidence:picture-03.png -dp {db}
"""


@pytest.fixture(scope="module")
def twins(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, tiny_model: Path
) -> Twins:
    """Pictures, a copy, a broken one, a document, one that is gone; scenes, thumbnails, a list, and decisions."""
    base = tmp_path_factory.mktemp("twins")
    folder = base / "evidence"
    folder.mkdir()
    for number in range(PICTURES):
        draw_picture(number, (64, 48)).save(folder / f"picture-{number:02d}.png")
    shutil.copyfile(folder / "picture-00.png", folder / "copy.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (folder / "letter.txt").write_text("Dear Sir")
    draw_picture(99, (64, 48)).save(base / "new.png")
    shutil.copyfile(tiny_model, base / "tiny.safetensors")
    (base / "known.csv").write_text(f"name,sha256\na,{'0' * 64}\nb,{sha256(folder, 4)}\n")
    (base / "pairs.csv").write_text(PAIRS)
    (base / "hashes.txt").write_text(f"{sha256(folder, 4)}  picture-04.png\n")
    for path in folder.rglob("*"):
        # A file younger than 2 s is read again by the next run.
        os.utime(path, (1_600_000_000, 1_600_000_000))
    # Relinked to and back.
    shutil.copytree(folder, base / "moved")
    found = Twins(base / "case.db", fresh_database(postgres_server), base)
    more = ["--thumbnails", *(["--pdq"] if find_spec("pdqhash") else [])]
    for database in (found.file, found.server):
        asked = index_arguments(folder, Path("x"), tiny_model)[:-1]
        outcome = run(*asked, url_of(database), *more)
        assert outcome.code == 3, outcome
    (folder / f"picture-{PICTURES - 1}.png").unlink()
    for line in ["refresh -dp {db}", *SET_UP.strip().splitlines()]:
        for outcome in found.run(line).values():
            assert outcome.code in (0, 3), (line, outcome)
    return found


def sha256(folder: Path, number: int) -> str:
    import hashlib

    return hashlib.sha256((folder / f"picture-{number:02d}.png").read_bytes()).hexdigest()


@dataclass(frozen=True)
class Tried:
    """A command line; the exit code that it has on both, and whether it also says the same."""

    line: str
    code: int = 0
    same: bool = True
    only: tuple[str, ...] = field(default=("file", "server"))


def differs(line: str, code: int = 0) -> Tried:
    """One whose output holds what is different each time it runs: digests of times, random numbers."""
    return Tried(line, code, same=False)


# Of every command that takes a database what it is tried with; of the others, None.
TRIED: dict[str, list[Tried] | None] = {
    "analyse ann": [Tried("analyse ann -dp {db} -o {out}/x.ann", 1)],
    "analyse codebook build": [
        differs("analyse codebook build -dp {db} -m {tiny} -o {out}/w.safetensors --words 8")
    ],
    "analyse map": [
        Tried("analyse map -dp {db} -o {out}/map.png --layout {out}/map.csv"),
        differs("analyse map -dp {db} -o {out}/map.html"),
    ],
    "analyse neighbours": [
        Tried("analyse neighbours -k 2 -dp {db} -o {out}/near.json"),
        Tried("analyse neighbours -k 2 --include-gone --same-scene -dp {db} -o {out}/near.csv --format json"),
    ],
    "audit head": [differs("audit head -dp {db}"), differs("audit head -dp {db} -o {out}/head.json")],
    "audit show": [differs("audit show -dp {db}"), differs("audit show -dp {db} --last 3 --format json")],
    "audit verify": [
        differs("audit head -dp {db} -o {out}/kept.json"),
        differs("audit verify -dp {db}"),
        differs("audit verify -dp {db} --head {out}/kept.json --format json"),
    ],
    "calibrate": [
        differs("calibrate --groups {base}/known.csv -dp {db} -o {out}/lr.json", 1),
    ],
    "case new": [Tried("case new -dp {db} --number 1", 2)],
    "case purge-thumbnails": [Tried("case purge-thumbnails -dp {db}")],
    "case set": [Tried("case set -dp {db} --exhibit 4"), Tried("case show -dp {db} --format json")],
    "case show": [Tried("case show -dp {db}")],
    "case traces": [differs("case traces -dp {db}"), differs("case traces -dp {db} --format json")],
    # It takes servers only, and Ray; see tests/cluster.
    "cluster index": None,
    "compare": None,
    "db backup": [
        Tried("db backup {out}/copy.db -dp {db}", only=("file",)),
        Tried("db backup {out}/copy.db -dp {db}", 2, only=("server",)),
    ],
    "db copy": [
        Tried("db copy {db} {out}/whole.db", same=False),
        Tried("db verify -dp {out}/whole.db"),
        Tried("query {base}/new.png -dp {out}/whole.db --scene off"),
        Tried("db copy {db} {out}/whole.db", 2, same=False),
    ],
    "db index-vectors": [
        Tried("db index-vectors -dp {db}", 2, only=("file",)),
        Tried("db index-vectors -dp {db}", only=("server",)),
        Tried("query {base}/new.png -dp {db} --exact"),
        Tried("db index-vectors --drop -dp {db}", only=("server",)),
    ],
    "db import": [Tried("db import {base}/new.png -ip {base}/evidence -dp {db}", 10)],
    "db status": [Tried("db status -dp {db}"), Tried("db status -dp {db} --format json", same=False)],
    "db upgrade": [Tried("db upgrade -dp {db}"), Tried("db upgrade --repair -dp {db}")],
    "db verify": [
        Tried("db verify -dp {db}"),
        Tried("db verify --rehash -dp {db} --format json"),
        Tried("db verify --against {base}/hashes.txt --source evidence -dp {db}"),
    ],
    "duplicates": [Tried("duplicates -dp {db}"), Tried("duplicates --near -dp {db} --format json")],
    "evaluate": [differs("evaluate -dp {db} --pairs {base}/pairs.csv -m tiny --resamples 20")],
    "explain": [
        Tried("explain {base}/new.png evidence:picture-02.png -dp {db} -o {out}/why.png --format json")
    ],
    "hashlist import": [
        Tried("hashlist import {base}/known.csv -dp {db} --name again", same=False),
        Tried("hashlist import {base}/known.csv -dp {db} --name again", 2, same=False),
    ],
    "hashlist list": [Tried("hashlist list -dp {db}"), Tried("hashlist list -dp {db} --format json")],
    "hashlist matches": [Tried("hashlist matches known -dp {db}"), Tried("hashlist matches none -dp {db}", 2)],
    "hashlist remove": [
        Tried("hashlist import {base}/known.csv -dp {db} --name gone"),
        Tried("hashlist remove gone -dp {db}"),
    ],
    "models add": None,
    "models check": [Tried("models check {tiny} -dp {db} --device cpu", same=False)],
    "models list": [Tried("models list -dp {db} --format json")],
    "models show": None,
    "predict": None,
    "query": [
        Tried("query {base}/new.png -dp {db} -k 4"),
        Tried("query {base}/new.png -dp {db} --scene off --include-gone --format json"),
        Tried("query {seen}-01.png -dp {db} --format csv --known hide --source evidence"),
        Tried("query {base}/new.png -dp {db} --tag sofa --format paths -0"),
        Tried("query {seen}-00.png -dp {db} --scene off --include-irrelevant"),
        Tried("query {base}/evidence -dp {db} --manifest {out}/many.json -k 2", 3, same=False),
        Tried("query {base}/new.png {seen}-01.png --fuse --not {seen}-02.png -dp {db}"),
        Tried("query {seen}-03.png -dp {db} --near --report {out}/hits.html", same=False),
        Tried("query {base}/new.png -dp {db} --approximate", same=False),
    ],
    "refresh": [Tried("refresh -dp {db} --source evidence", 3, same=False)],
    "relink": [
        Tried("relink evidence {base}/moved -dp {db} --dry-run --sample 3"),
        Tried("relink evidence {base}/moved -dp {db}"),
        Tried("relink evidence {base}/evidence -dp {db}"),
        Tried("relink none {base}/evidence -dp {db}", 2),
    ],
    "replay": [
        differs("query {base}/new.png -dp {db} --manifest {out}/again.json"),
        Tried("replay {out}/again.json"),
        Tried("replay {out}/again.json -dp {db} --format json"),
    ],
    "report case-uco": [differs("report case-uco -dp {db} -o {out}/r.jsonld --tag sofa")],
    "report csv": [Tried("report csv -dp {db} -o {out}/r.csv --source evidence --include-gone")],
    "report html": [Tried("report html -dp {db} -o {out}/r.html --tag sofa")],
    "report jsonl": [Tried("report jsonl -dp {db} -o {out}/r.jsonl")],
    "report sheet": [
        Tried("report sheet {base}/new.png -dp {db} -o {out}/sheet.png -k 3"),
        Tried("report sheet --all -dp {db} -o {out}/all.pdf"),
    ],
    "report vics": [Tried("report vics -dp {db} -o {out}/r.json")],
    "review category": [Tried("review category evidence:picture-05.png 1 -dp {db}")],
    "review irrelevant": [Tried("review irrelevant {base}/new.png evidence:picture-06.png -dp {db}")],
    "review list": [Tried("review list -dp {db}"), Tried("review list --withdrawn --format json -dp {db}")],
    "review note": [Tried("review note evidence:picture-05.png 'seen % twice' -dp {db}")],
    "review relevant": [Tried("review relevant {base}/new.png evidence:picture-07.png -dp {db}")],
    "review tag": [
        Tried("review tag evidence:picture-05.png table 'green ☂' -dp {db}"),
        Tried("review tag evidence:none.png table -dp {db}", 2),
    ],
    "review withdraw": [Tried("review withdraw m2 -dp {db}"), Tried("review withdraw m999 -dp {db}", 2)],
    "runs close": [Tried("runs close 1 -dp {db}", 2)],
    "runs failures": [Tried("runs failures -dp {db}"), Tried("runs failures 1 -dp {db} --format json")],
    "runs list": [Tried("runs list -dp {db}")],
    "runs show": [Tried("runs show 1 -dp {db}"), Tried("runs show 77 -dp {db}", 2)],
    # It ends with Ctrl-C; see tests/web/test_servers.py.
    "serve": None,
    "show": [
        Tried("show {seen}-01.png -dp {db}"),
        Tried("show evidence/broken.jpg -dp {db}", 2),
        Tried("show {base}/evidence/broken.jpg -dp {db} --format json", 0),
    ],
    "train": None,
    # Last, as a database with several models must be told which is meant.
    "analyse codebook encode": [
        differs("analyse codebook build -dp {db} -m {tiny} -o {base}/v.safetensors --words 8 --force"),
        differs("analyse codebook encode {base}/v.safetensors -dp {db}", 3),
    ],
    "analyse derive": [
        differs("analyse reduce pca --dim 2 -m tiny -dp {db} -o {out}/d.safetensors --no-store"),
        differs("analyse derive {out}/d.safetensors -dp {db}"),
    ],
    "analyse reduce": [differs("analyse reduce pca --dim 4 --name small -m tiny -dp {db} -o {out}/small.safetensors")],
    "case merge": [
        Tried("index -m {tiny} --scenes {tiny} -ip {base}/moved --source other -dp {out}/other.db", 3, same=False),
        Tried("case merge {out}/other.db -dp {db}", same=False),
        Tried("case merge {out}/other.db -dp {db}", 2, same=False),
    ],
    "index": [
        Tried("index -m {tiny} --scenes {tiny} -ip {base}/moved --source moved -dp {db}", 3, same=False),
        Tried("index -m {tiny} --scenes {tiny} -ip {base}/none -dp {db}", 2),
    ],
}  # fmt: skip


def commands() -> Iterator[str]:
    def walk(command: click.Command, name: str) -> Iterator[str]:
        if not isinstance(command, click.Group):
            yield name.strip()
            return
        context = click.Context(command)
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None
            yield from walk(inner, f"{name} {each}")

    yield from walk(main.cli, "")


def test_every_command_is_tried() -> None:
    assert set(commands()) == set(TRIED)


@pytest.mark.parametrize("command", [name for name, tried in TRIED.items() if tried])
def test_a_command_does_the_same_on_a_server(twins: Twins, command: str) -> None:
    for tried in TRIED[command] or []:
        found = twins.run(tried.line)
        assert "unexpected" not in found["server"].err, found["server"].err
        for name in tried.only:
            assert found[name].code == tried.code, (name, tried.line, found[name])
        if tried.same and len(tried.only) == 2:
            out = {name: twins.plain(name, outcome.out) for name, outcome in found.items()}
            assert out["server"] == out["file"], tried.line
            err = {name: twins.plain(name, outcome.err) for name, outcome in found.items()}
            assert err["server"] == err["file"], tried.line


# --- what people meet -----------------------------------------------------------------------


SECRET = "s3cret-Pa55"


@pytest.fixture
def small(tmp_path: Path, postgres: ServerUrl, tiny_model: Path) -> Twins:
    """Three pictures, indexed into a file and on a server; the second is named with a password."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    for number in range(3):
        draw_picture(number, (64, 48)).save(folder / f"picture-{number}.png")
    server = ServerUrl(postgres.url.replace("postgres@", f"postgres:{SECRET}@"))
    return Twins(tmp_path / "case.db", server, tmp_path)


def index(twins: Twins, model: Path, database: Location, *more: str) -> Outcome:
    asked = index_arguments(twins.base / "evidence", Path("x"), model)[:-1]
    return run(*asked, url_of(database), *more)


def test_a_password_in_the_url_works_and_is_nowhere_shown_or_kept(
    small: Twins, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.base)
    picture, written = small.base / "evidence" / "picture-1.png", small.base / "written"
    written.mkdir()
    database = url_of(small.server)
    said = [index(small, tiny_model, small.server, "-v", "--progress", "json")]
    for line, code in {
        f"case set --number 17 --examiner Anna -dp {database}": 0,
        f"query {picture} --manifest m.json --report m.html --format json -v -dp {database}": 0,
        "replay m.json -v": 0,
        f"report html -o all.html -dp {database}": 0,
        f"report jsonl -o all.jsonl -dp {database}": 0,
        f"report case-uco -o all.jsonld -dp {database}": 0,
        f"analyse map -o map.html -dp {database}": 0,
        f"audit head -o head.json -dp {database}": 0,
        f"audit show --format json -dp {database}": 0,
        f"audit verify --head written/head.json -dp {database}": 0,
        f"case traces -dp {database}": 0,
        f"db status -v -dp {database}": 0,
        f"db backup copy.db -v -dp {database}": 2,
        f"runs list -v -dp {database}": 0,
        f"runs show 99 -v -dp {database}": 2,
        f"db status -v -dp {database.replace('/case_', '/none_')}": 10,
        f"db status -v -dp {database}&sslmode=none": 10,
        f"db status -v -dp {database}&connect_timeout=none": 1,
        f"db status -v -dp {database.replace('host=', 'host=/none')}": 10,
    }.items():  # fmt: skip
        said.append(run(*shlex.split(line.replace(" -o ", f" -o {written}/"))))
        assert said[-1].code == code, (line, said[-1])
    for outcome in said:
        assert SECRET not in outcome.out + outcome.err
    files = [path for path in small.base.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert not stored(small.server, SECRET)


def stored(server: ServerUrl, text: str) -> list[str]:
    """The tables of a database in which a text stands."""
    import psycopg

    with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
        names = connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace ="
                                   " 'public'::regnamespace").fetchall()  # fmt: skip
        return [
            name
            for (name,) in names
            if connection.execute(
                f'SELECT 1 FROM "{name}" AS row WHERE row::text LIKE %s', [f"%{text}%"]
            ).fetchone()
        ]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("mysql://u:s3cret@h/name", 2, "a database cannot be at mysql://…"),
        ("postgresql://u:s3cret@h", 2, "this is no URL of a database"),
        ("postgresql://u:s3cret@/name?host=/none", 10, "cannot connect to postgresql+psycopg://u@/"),
        ("postgresql://u:s3cret@127.0.0.1:1/name", 10, "cannot connect to postgresql+psycopg://u@127"),
        ("postgresql:///name?service=s3cret", 10, "cannot connect to postgresql+psycopg:///name?serv"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_reached_is_one_line(given: str, code: int, said: str) -> None:
    outcome = run("db", "status", "-dp", given)
    assert outcome.code == code
    assert said in outcome.err
    assert "unexpected" not in outcome.err
    assert "service" in given or "s3cret" not in outcome.err
    assert len([line for line in outcome.err.splitlines() if line.startswith("Error")]) == 1


def test_a_database_that_the_server_has_not_is_not_made(postgres: ServerUrl) -> None:
    for command in (
        ["db", "status"],
        ["case", "new", "--number", "1"],
        ["case", "set", "--number", "1"],
    ):
        outcome = run(*command, "-dp", postgres.url.replace("/case_", "/none_"))
        assert outcome.code == 10
        assert "there is no database" in outcome.err
        assert "createdb none_" in outcome.err


def test_only_what_makes_a_database_makes_one_in_an_empty_one(postgres: ServerUrl) -> None:
    """A slip of the name must not put our tables into a database that is meant for something else."""
    for command in (
        ["case", "set", "--number", "1"],
        ["refresh"],
        ["db", "upgrade"],
        ["review", "list"],
    ):
        outcome = run(*command, "-dp", postgres.url)
        assert outcome.code == 10, outcome
        assert "There is nothing in the database" in outcome.err or "is an empty" in outcome.err
    assert run("case", "new", "--number", "1", "-dp", postgres.url).code == 0
    again = run("case", "new", "--number", "2", "-dp", postgres.url)
    assert (again.code, "exists already" in again.err) == (2, True)


def test_an_owner_who_may_add_no_extension_is_told_who_may(postgres: ServerUrl) -> None:
    import psycopg

    owner, url = f"owner_of_{postgres.name}", postgres.url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {owner} LOGIN")
        connection.execute(f"ALTER DATABASE {postgres.name} OWNER TO {owner}")
    outcome = run(
        "case", "new", "--number", "1", "-dp", postgres.url.replace("postgres@", f"{owner}@")
    )
    assert outcome.code == 1
    assert 'permission denied to create extension "vector"' in outcome.err
    assert "CREATE EXTENSION vector" in outcome.err


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    outcome = run("db", "status", "-dp", "postgresql://u@h/name")
    assert outcome.code == 1
    assert "a database on a server needs the package psycopg" in outcome.err
    assert 'pip install "image_similarity[postgres]"' in outcome.err


def test_the_variable_holds_a_url_or_several_databases(
    small: Twins, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(small.file, Path)
    for database in (small.file, small.server):
        assert index(small, tiny_model, database).code == 0
    monkeypatch.setenv("IMAGE_SIMILARITY_DB", url_of(small.server))
    assert run("db", "status").code == 0
    picture = small.base / "evidence" / "picture-1.png"
    alone = run("query", picture, "--format", "json").objects()
    assert {hit["database"] for hit in alone} == {str(small.server)}
    monkeypatch.setenv("IMAGE_SIMILARITY_DB", f"{small.file} {url_of(small.server)}")
    both = run("query", picture, "--format", "json").objects()
    assert {hit["database"] for hit in both} == {str(small.file), str(small.server)}


def test_a_file_and_a_server_are_searched_together(small: Twins, tiny_model: Path) -> None:
    """The rankings are merged; a manifest of both is replayed."""
    index(small, tiny_model, small.file)
    draw_picture(7, (64, 48)).save(small.base / "evidence" / "later.png")
    index(small, tiny_model, small.server)
    manifest = small.base / "both.json"
    databases = ["-dp", small.file, "-dp", url_of(small.server)]
    asked = ["query", small.base / "evidence" / "picture-1.png", "--scene", "off"]
    found = run(*asked, *databases, "--format", "json", "--manifest", manifest).objects()
    distances = [hit["distance"] for hit in found]
    assert distances == sorted(distances)
    apart = [
        (hit["distance"], hit["path"], hit["database"])
        for database in (small.file, small.server)
        for hit in run(*asked, "-dp", url_of(database), "--format", "json").objects()
    ]
    assert sorted((hit["distance"], hit["path"], hit["database"]) for hit in found) == sorted(apart)
    assert run("replay", manifest).out.startswith("same")
    assert run("replay", manifest, *databases).out.startswith("same")


# --- what is loaded -------------------------------------------------------------------------

LOADED = """
import sys
from image_similarity.cli import main
code = main.run(main.cli, sys.argv[1:], "image-similarity")
heavy = {"psycopg", "pgvector", "ray", "pyarrow", "sqlalchemy.dialects.postgresql"}
print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def test_help_and_searches_of_a_file_load_nothing_of_servers(
    small: Twins, tiny_model: Path
) -> None:
    assert index(small, tiny_model, small.file).code == 0
    picture = small.base / "evidence" / "picture-1.png"
    for arguments in (["--help"], ["query", picture, "-dp", small.file]):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, *map(str, arguments)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr.splitlines()[-1] == "0 []"
