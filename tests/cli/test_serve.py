"""`serve` as a process: the link, the ways to end it, and what it refuses to open."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from image_similarity.case import Case
from image_similarity.cli import serve as command
from image_similarity.store import engine
from image_similarity.store.schema import APPLICATION_ID, PAGE_SIZE
from tests.cli.conftest import Made, Run, index_arguments, start

DUMPS = Path(__file__).resolve().parents[1] / "data" / "db"
LINK = re.compile(r"http://127\.0\.0\.1:(\d+)/sign-in\?token=([\w-]{40,})\n")


class Page:
    """A page that is up: its process, and the link that it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.link = process.stdout.readline()
        found = LINK.fullmatch(self.link)
        assert found, (self.link, process.poll())
        self.url, self.key = f"http://127.0.0.1:{found[1]}", found[2]

    def client(self) -> httpx.Client:
        """A program with the key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=60)

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal, and give exit code, the rest of stdout, and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def heed_signals() -> None:
    """Tests that run in the background of a shell hand signals down as ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def opened(*arguments: object) -> Iterator[Page]:
    process = start("serve", "--port", 0, *arguments, preexec_fn=heed_signals)
    try:
        yield Page(process)
    finally:
        process.kill()
        process.communicate(timeout=60)


def serving(made: Made, tmp_path: Path) -> tuple[object, ...]:
    return ("-dp", made.database, "--cache", tmp_path / "cache")


# --- the link and the end ----------------------------------------------------------------------


# The last one says that the terminal was closed.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_link_can_be_followed_and_a_signal_ends_the_page_in_order(
    copied: Made, tmp_path: Path, number: int
) -> None:
    with opened(*serving(copied, tmp_path)) as page:
        with httpx.Client(follow_redirects=True, timeout=60) as browser:
            assert browser.get(page.link.strip()).status_code == 200
        code, rest, err = page.end(number)
    assert (code, rest) == (0, ""), "stdout is the link and nothing else"
    assert err.splitlines() == [
        "The link is for one person and this machine. Ctrl-C closes the page.",
        "The page is closed.",
    ]


def test_quiet_says_the_link_alone(copied: Made, tmp_path: Path) -> None:
    with opened(*serving(copied, tmp_path), "-q") as page:
        assert page.end(signal.SIGTERM) == (0, "", "")


def test_it_ends_while_requests_are_under_way(copied: Made, tmp_path: Path) -> None:
    with opened(*serving(copied, tmp_path)) as page:
        stop = threading.Event()
        statuses: list[int] = []

        def ask() -> None:
            with page.client() as client:
                while not stop.is_set():
                    try:
                        statuses.append(client.get("/case").status_code)
                    except httpx.HTTPError:
                        return

        # One that never finishes its request, too.
        half = socket.create_connection(("127.0.0.1", int(page.url.rpartition(":")[2])))
        half.sendall(b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(statuses) < 20:
            assert any(thread.is_alive() for thread in threads)
            time.sleep(0.01)
        code, _, err = page.end(signal.SIGTERM)
        stop.set()
        for thread in threads:
            thread.join(60)
        half.close()
    assert code == 0
    assert set(statuses) <= {200, 503}
    assert "Traceback" not in err


SLOW = """
import sys, threading, time
from image_similarity.case import Case
from image_similarity.cli import main
def status(self):
    print("asked", file=sys.stderr, flush=True)
    time.sleep(300)
Case.status = status
main.main()
"""


def test_it_ends_although_a_request_computes_on(copied: Made, tmp_path: Path) -> None:
    arguments = ["serve", "--port", "0", *map(str, serving(copied, tmp_path))]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    page = Page(process)
    answers: list[httpx.Response] = []
    with page.client() as client:
        thread = threading.Thread(target=lambda: answers.append(client.get("/case")))
        thread.start()
        assert process.stderr is not None
        for line in process.stderr:
            if line == "asked\n":
                break
        code, _, err = page.end(signal.SIGTERM)
        thread.join(60)
    assert code == 0
    assert answers[0].status_code == 503
    assert answers[0].json()["error"]["code"] == "closing"
    assert "Traceback" not in err


def test_a_database_whose_name_is_no_text_is_served(copied: Made, tmp_path: Path) -> None:
    database = copied.database.rename(tmp_path / os.fsdecode(b"case-\xff\x1b.db"))
    arguments = ("-dp", database, "--cache", tmp_path / "cache")
    with opened(*arguments) as page:
        with httpx.Client(follow_redirects=True, timeout=60) as browser:
            answer = browser.get(page.link.strip())
            assert answer.status_code == 200
            assert "case-\\udcff\\x1b.db" in answer.text
        with page.client() as client:
            for each in ("/case", "/pictures", "/reports", "/jobs", "/cache"):
                assert client.get(each).status_code == 200, each


def test_killed_it_loses_nothing_that_was_decided(copied: Made, tmp_path: Path) -> None:
    with Case.open(copied.database) as case:
        sha256 = case.images_at(copied.first)[0].sha256
    with opened(*serving(copied, tmp_path)) as page:
        with page.client() as client:
            answer = client.post(
                "/decisions", json={"kind": "tag", "sha256": sha256, "value": "seen"}
            )
            assert answer.status_code in (200, 201), answer.text
        assert page.end(signal.SIGKILL)[0] == -signal.SIGKILL
    with Case.open(copied.database, read_only=True) as case:
        assert [each.value for each in case.decisions()] == ["seen"]
        assert case.verify_audit().consistent


def test_open_starts_a_browser_with_a_link_that_works_once(
    copied: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tmp_path / "shown"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {shown}.part && mv {shown}.part {shown}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    with opened(*serving(copied, tmp_path), "--open") as page:
        while not shown.exists():
            assert page.process.poll() is None
            time.sleep(0.01)
        link = shown.read_text()
        assert page.key not in link, "others on the machine can read a program's arguments"
        assert httpx.get(link, timeout=60).status_code == 303
        assert httpx.get(link, timeout=60).status_code == 403
        assert httpx.get(page.link.strip(), timeout=60).status_code == 303


def test_an_environment_that_asks_for_telemetry_gets_none_and_breaks_nothing(
    copied: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as collector:
        collector.settimeout(0)
        address = f"http://127.0.0.1:{collector.getsockname()[1]}"
        for name, value in {
            "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider",
            "OTEL_PROPAGATORS": "of_a_package_that_is_not_there",
        }.items():
            monkeypatch.setenv(name, value)
        with opened(*serving(copied, tmp_path)) as page, page.client() as client:
            assert [client.get(each).status_code for each in ("/case", "/pictures")] == [200, 200]
        with pytest.raises(BlockingIOError):
            collector.accept()


# --- what is refused --------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said_in_a_line(run: Run, copied: Made) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        outcome = run("serve", "-dp", copied.database, "--port", port)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines() == [
        f"Error: cannot listen at 127.0.0.1 port {port}: Address already in use",
        "Hint: another page may be up there; choose another with --port",
    ]


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_there_is_no_such_port(run: Run, copied: Made, port: int) -> None:
    outcome = run("serve", "-dp", copied.database, "--port", port)
    assert outcome.code == 2
    assert f"there is no port {port}" in outcome.err


def test_an_address_of_another_machine_is_refused(run: Run, copied: Made, pair: Any) -> None:
    password = copied.database.with_name("password")
    password.write_text("correct horse\n")
    outcome = run(
        *("serve", "-dp", copied.database, "--host", "192.0.2.1", "--port", 0),
        *("--password-file", password, "--tls-certificate", pair[0], "--tls-key", pair[1]),
    )
    assert outcome.code == 2
    assert "cannot listen at 192.0.2.1" in outcome.err


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that signed itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    files = (tmp_path / "certificate.pem", tmp_path / "key.pem")
    subprocess.run(
        [*made, "-subj", "/CN=localhost", "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104
def test_other_machines_are_not_let_in_without_password_and_tls(
    run: Run, copied: Made, tmp_path: Path, host: str
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    for more in ((), ("--password-file", password)):
        outcome = run("serve", "-dp", copied.database, "--host", host, *more)
        assert outcome.code == 2
        assert "can be reached by other machines" in outcome.err
        assert "--tls-certificate" in outcome.err


@pytest.mark.parametrize("text", [b"", b"\n", b"short\n", b"\n12345678\n", b"\xff\xfe" * 9])
def test_a_file_that_holds_no_password_is_refused(
    run: Run, copied: Made, tmp_path: Path, text: bytes
) -> None:
    file = tmp_path / "password"
    file.write_bytes(text)
    outcome = run("serve", "-dp", copied.database, "--password-file", file)
    assert outcome.code == 2
    assert "holds no password of 8 characters or more" in outcome.err


def test_a_password_file_that_is_missing_is_named(run: Run, copied: Made, tmp_path: Path) -> None:
    outcome = run("serve", "-dp", copied.database, "--password-file", tmp_path / "none")
    assert outcome.code == 1
    assert str(tmp_path / "none") in outcome.err


# --- the database -----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--read-only",)])
def test_a_database_that_is_missing_is_not_made(
    run: Run, tmp_path: Path, more: tuple[str, ...]
) -> None:
    outcome = run("serve", "-dp", tmp_path / "none.db", *more)
    assert (outcome.code, outcome.out) == (10, "")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_not_touched(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "letter.db"
    file.write_text("Dear Sir")
    assert run("serve", "-dp", file).code == 10
    assert file.read_text() == "Dear Sir"


def test_a_database_of_a_later_version_is_refused(run: Run, copied: Made) -> None:
    with closing(sqlite3.connect(copied.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    outcome = run("serve", "-dp", copied.database)
    assert outcome.code == 12


def test_a_database_of_an_earlier_version_is_upgraded_with_a_note_but_not_to_be_read_only(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.web import server

    database = tmp_path / "case.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript((DUMPS / "0001.sql").read_text(encoding="utf-8"))
    before = database.read_bytes()
    refused = run("serve", "-dp", database, "--read-only")
    assert refused.code == 12
    assert "db upgrade" in refused.err
    assert database.read_bytes() == before

    monkeypatch.setattr(server, "serve", lambda asked, taken, on_ready: taken.close())
    outcome = run("serve", "-dp", database, "--port", 0)
    assert outcome.code == 0
    assert "upgraded to" in outcome.err
    assert len(list(tmp_path.glob("case.db.before-*"))) == 1


def test_a_database_that_another_program_holds_is_said_to_be_locked(
    run: Run, copied: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 100)
    with closing(sqlite3.connect(copied.database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        outcome = run("serve", "-dp", copied.database)
    assert (outcome.code, outcome.out) == (11, "")


def test_a_medium_that_cannot_be_written_is_opened_for_reading_only(
    run: Run, copied: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from image_similarity.web import server

    monkeypatch.setattr(command.os, "access", lambda path, mode, **more: mode != os.W_OK)
    refused = run("serve", "-dp", copied.database)
    assert refused.code == 1
    assert "cannot be written" in refused.err
    assert "--read-only" in refused.err
    monkeypatch.setattr(server, "serve", lambda asked, taken, on_ready: taken.close())
    assert run("serve", "-dp", copied.database, "--port", 0, "--read-only").code == 0


def test_for_reading_only_nothing_is_written(copied: Made, tmp_path: Path) -> None:
    folder = copied.database.parent
    copied.database.chmod(0o444)
    folder.chmod(0o555)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        cache = tmp_path / "cache"
        with (
            opened("-dp", copied.database, "--cache", cache, "--read-only") as page,
            page.client() as client,
        ):
            with Case.open(copied.database, read_only=True) as case:
                sha256 = case.images_at(copied.first)[0].sha256
            assert client.get("/case").json()["read_only"] is True
            assert client.get(f"/pictures/{sha256}/thumbnail").status_code == 200
            assert page.end(signal.SIGTERM)[0] == 0
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert not cache.exists()
    finally:
        folder.chmod(0o755)


# --- what it takes ------------------------------------------------------------------------------------


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("fastapi", "starlette", "uvicorn", "pydantic")))
from image_similarity.cli import main
main.main()
"""


def without_the_extra(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command where nothing is installed that only the page needs."""
    command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_needs_nothing_that_the_page_needs() -> None:
    done = without_the_extra("serve", "--help")
    assert done.returncode == 0, done.stderr
    assert "Open the analyst's page" in done.stdout


def test_all_else_works_without_the_extra(copied: Made, tmp_path: Path) -> None:
    database = tmp_path / "new.db"
    indexed = without_the_extra(*index_arguments(copied.folder, database, copied.model))
    assert indexed.returncode == 3, indexed.stderr
    for asked in (
        ("query", copied.first, "-dp", database, "--scene", "off", "-k", 3),
        ("review", "tag", copied.first, "seen", "-dp", database),
        ("report", "html", "-dp", database, "-o", tmp_path / "report.html", "--tag", "seen"),
        ("case", "traces", "-dp", database),
        ("audit", "verify", "-dp", database),
    ):
        done = without_the_extra(*asked)
        assert done.returncode == 0, (asked, done.stderr)


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(
    run: Run, copied: Made, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    outcome = run("serve", "-dp", copied.database)
    assert (outcome.code, outcome.out) == (1, "")
    assert "image_similarity[web]" in outcome.err
