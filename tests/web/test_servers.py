"""The page over a database on a server: what it shows and stores, and what becomes of it when the server goes away."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from playwright.sync_api import BrowserContext, expect

from image_similarity.case import Case
from image_similarity.values import ServerUrl
from image_similarity.web.options import ServeOptions
from tests.cli.conftest import Made
from tests.cli.test_serve import opened
from tests.postgres import fresh_database
from tests.test_servers import run
from tests.web.conftest import PICTURES, Served, running
from tests.web.test_decisions import say
from tests.web.test_map import laid_out
from tests.web.test_overview import over
from tests.web.test_searches import ask, picture, sent

SECRET = "s3cret-Pa55"


@pytest.fixture(scope="module")
def database(gallery: Made, postgres_server: str) -> ServerUrl:
    """The gallery on a server, named with a password."""
    found = fresh_database(postgres_server)
    with Case.open(gallery.database, read_only=True) as case:
        case.copy(found)
    return ServerUrl(found.url.replace("postgres@", f"postgres:{SECRET}@"))


@pytest.fixture(scope="module")
def served(
    gallery: Made, database: ServerUrl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server-page")
    options = ServeOptions(database, port=0, cache=folder / "cache", reports=folder / "reports")
    with running(options, gallery) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client() as found:
        yield found


def test_the_library_is_that_of_the_file(client: httpx.Client, gallery: Made) -> None:
    options = ServeOptions(gallery.database, port=0, read_only=True)
    with running(options, gallery) as of_file, of_file.client() as other:
        for address in (
            "/pictures?limit=20",
            "/pictures?sort=taken&order=desc",
            "/pictures?has=place&limit=3",
            "/facets",
            "/failures",
            "/runs",
            f"/pictures/{of_file.hashes()[0]}",
        ):
            found, known = client.get(address), other.get(address)
            assert (found.status_code, found.json()) == (known.status_code, known.json())


def test_a_search_finds_what_the_case_finds(
    client: httpx.Client, served: Served, gallery: Made
) -> None:
    sha256 = hashlib.sha256((gallery.folder / "picture-00.jpg").read_bytes()).hexdigest()
    found = ask(client, {"sha256": sha256}, scene=["off"], k=10)
    hits = client.get(f"/searches/{found['id']}/hits").json()["items"]
    with Case.open(gallery.database, read_only=True) as case:
        known = case.search(sha256=sha256, k=10, scene="off").hits
    assert [hit["sha256"] for hit in hits] == [hit.image.sha256 for hit in known]


def test_a_picture_that_was_sent_is_searched_with_and_a_thumbnail_is_shown(
    client: httpx.Client, served: Served
) -> None:
    upload = sent(client, picture()).json()
    found = ask(client, {"upload": upload["sha256"]})
    assert client.get(f"/searches/{found['id']}/hits").json()["items"]
    shown = client.get(f"/pictures/{served.hashes()[3]}/thumbnail")
    assert shown.headers["content-type"] == "image/jpeg"


def test_a_decision_is_in_the_database_at_once_in_the_name_of_who_made_it(
    client: httpx.Client, served: Served, database: ServerUrl
) -> None:
    client.put("/session", json={"examiner": "A. Smith"})
    made = say(client, served.hashes()[5], "tag", "sofa")
    with Case.open(database, read_only=True) as case:
        (mark,) = [each for each in case.decisions() if each.name == made["name"]]
        assert mark.value == "sofa"
        assert case.audit(1)[0].actor.startswith("A. Smith (")
        assert case.verify_audit().findings == ()


def test_a_run_that_the_page_begins_is_followed_to_its_end(client: httpx.Client) -> None:
    job = over(client, client.post("/jobs", json={"kind": "refresh"}).json())
    assert (job["state"], job["message"]) == ("done", "")
    made = client.get(f"/runs/{job['runs'][0]}").json()
    assert (made["kind"], made["unchanged"]) == ("refresh", PICTURES + 1)
    assert client.get("/coverage").json()["failures"] == 1


def test_the_map_is_read_anew_only_when_something_was_written(
    client: httpx.Client, served: Served
) -> None:
    first = laid_out(client)
    assert (first["state"], first["map"]["pictures"]) == ("ready", PICTURES)
    before = served.desk.case.state()
    client.get("/pictures")
    assert served.desk.case.state() == before
    say(client, served.hashes()[6], "tag", "table")
    assert served.desk.case.state() != before
    assert client.get("/map").json()["map"]["version"] == first["map"]["version"]


def test_a_report_goes_to_the_folder_that_was_named(client: httpx.Client, served: Served) -> None:
    asked = {"of": "pictures", "sha256s": served.hashes()[:2], "form": "html"}
    made = client.post("/reports", json=asked)
    assert made.status_code == 201, made.text
    assert client.get(f"/reports/{made.json()['name']}").status_code == 200


def test_without_a_folder_reports_and_thumbnails_have_their_places(
    database: ServerUrl, gallery: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with running(ServeOptions(database, port=0), gallery) as found:
        assert found.desk.reports.folder == tmp_path / f"{database.name}-reports"
        kept = found.desk.thumbnails.kept.folder
        assert kept is not None and kept.parent == tmp_path / "cache/image_similarity/thumbnails"


def test_the_password_of_the_server_is_nowhere_told(
    client: httpx.Client, served: Served, database: ServerUrl
) -> None:
    assert SECRET in database.url
    for address in ("/case", "/session", "/reports", "/cache", "/jobs", "/runs"):
        assert SECRET not in client.get(address).text
    assert client.get("/case").json()["database"] == str(database)


def test_read_only_writes_nothing(database: ServerUrl, gallery: Made) -> None:
    with running(ServeOptions(database, port=0, read_only=True), gallery) as found:
        before = found.desk.case.state()
        with found.client() as client:
            body = {"sha256": found.hashes()[0], "kind": "tag", "value": "x"}
            assert client.post("/decisions", json=body).status_code == 403
            assert client.post("/jobs", json={"kind": "refresh"}).status_code == 403
            assert client.get(f"/pictures/{found.hashes()[1]}/thumbnail").status_code == 200
        assert found.desk.case.state() == before


@contextmanager
def away(database: ServerUrl) -> Iterator[None]:
    """The server ends all connections to the database and takes no others."""
    url = database.url.replace("+psycopg", "").replace(f"/{database.name}", "/postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        try:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database.name],
            )
            yield
        finally:
            connection.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")


def test_while_the_server_is_away_the_page_says_so_and_then_goes_on(
    client: httpx.Client, served: Served, database: ServerUrl
) -> None:
    body = {"sha256": served.hashes()[7], "kind": "tag", "value": "later"}
    with away(database):
        for answer in (
            client.get("/pictures"),
            client.get("/case"),
            client.post("/decisions", json=body),
            client.post("/searches", json={"queries": [{"sha256": body["sha256"]}]}),
            client.post("/jobs", json={"kind": "refresh"}),
        ):
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"]
            told = answer.json()["error"]
            assert told["code"] == "server_refused"
            assert told["message"].startswith(f"cannot connect to {database}: ")
            assert SECRET not in answer.text
    # Also the first: connections that were ended meanwhile are not blamed on it.
    assert client.get("/pictures").status_code == 200
    assert client.post("/decisions", json=body).status_code == 201
    assert over(client, client.post("/jobs", json={"kind": "refresh"}).json())["state"] == "done"


def test_a_browser_shows_the_library_and_gets_over_a_server_that_is_away(
    context: BrowserContext, served: Served, database: ServerUrl
) -> None:
    page = context.new_page()
    page.goto(f"{served.url}/", wait_until="networkidle")
    expect(page.locator("main img").first).to_be_visible()
    with away(database):
        told = page.goto(f"{served.url}/overview")
        assert told is not None and told.status in (200, 503)
        expect(page.get_by_text("cannot connect to").first).to_be_visible()
    page.goto(f"{served.url}/overview", wait_until="networkidle")
    expect(page.get_by_text("evidence").first).to_be_visible()
    assert "cannot connect to" not in page.locator("body").inner_text()


def test_serve_takes_a_url_and_tells_no_password(database: ServerUrl, tmp_path: Path) -> None:
    with opened("-dp", database.url, "--cache", tmp_path) as page, page.client() as client:
        assert client.get("/case").json()["database"] == str(database)
        code, out, err = page.end(signal.SIGTERM)
    assert code == 0
    assert SECRET not in page.link + out + err


def test_serve_without_its_server_is_one_line(database: ServerUrl) -> None:
    with away(database):
        outcome = run("serve", "-dp", database.url, "--port", 0)
    assert outcome.code == 10
    assert outcome.err.startswith(f"Error: cannot connect to {database}: ")
