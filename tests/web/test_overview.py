"""The overview: what the case covers, runs and their accounts, failures, and the jobs that take in what is new."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page

from image_similarity.case import Case
from image_similarity.store import runs
from image_similarity.web.desk import Desk
from image_similarity.web.options import ServeOptions
from tests.cli.conftest import Made, index_arguments, start
from tests.conftest import draw_picture
from tests.web.conftest import Serve, Served, running, signed_in

MANY = 400


@pytest.fixture
def growing(gallery: Made, tmp_path: Path) -> Made:
    """A copy of the gallery's evidence and database, to which a test may add pictures."""
    from image_similarity.cli import main

    folder = tmp_path / "evidence"
    folder.mkdir()
    for name in ("picture-00.jpg", "picture-01.jpg", "broken.jpg", "letter.txt"):
        shutil.copy2(gallery.folder / name, folder / name)
    database = tmp_path / "growing.db"
    main.run(main.cli, index_arguments(folder, database, gallery.model), "image-similarity")
    return Made(folder, database, gallery.model)


@contextmanager
def serving(made: Made, **settings: Any) -> Iterator[Served]:
    """Serve a database as it lies."""
    options = ServeOptions(made.database, port=0, cache=made.database.parent / "cache", **settings)
    with running(options, made) as served:
        yield served


def add_pictures(folder: Path, count: int, first: int = 100) -> None:
    for number in range(first, first + count):
        path = folder / f"added-{number}.png"
        draw_picture(number, (64, 48)).save(path)
        os.utime(path, (1_600_000_000, 1_600_000_000))


def over(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job once it is over, asked for as the page does."""
    while job["state"] in ("waiting", "running"):
        job = client.get(f"/jobs/{job['id']}").json()
    return job


def test_the_case_says_what_it_covers_and_what_it_does_not(client: httpx.Client) -> None:
    found = client.get("/coverage").json()
    assert (found["pictures"], found["files"], found["failures"]) == (30, 31, 1)
    assert found["not_searched"] == {"document": 1, "video": 0, "archive": 0}
    assert found["skipped"] == {"document": 1}
    assert found["failed"] == {"decode": 1}
    assert found["sources"][0]["last_run"]["mount"] is not None
    assert len(found["head"]["digest"]) == 64


def test_every_file_of_a_run_is_in_its_account(client: httpx.Client) -> None:
    (run,) = client.get("/runs").json()["items"]
    parts = [run[name] for name in ("new", "duplicate", "unchanged", "failed")]
    assert run["seen"] == sum(parts) + sum(run["skipped"].values()) == 33
    assert run["accounted"]
    assert run["status"] == "partial"


def test_a_run_tells_its_failures_in_plain_words(client: httpx.Client) -> None:
    run = client.get("/runs/1").json()
    (failure,) = run["failures"]
    assert failure["path"] == "broken.jpg"
    assert failure["meaning"].startswith("The file begins")
    assert client.get("/runs/2").json()["error"]["code"] == "unknown_run"


def test_failures_are_counted_by_stage_and_by_reason(client: httpx.Client) -> None:
    found = client.get("/failures").json()
    assert found["by_stage"] == {"decode": 1}
    (reason,) = found["by_error"]
    assert client.get("/failures", params={"error": reason}).json()["total"] == 1
    assert client.get("/failures", params={"stage": "walk"}).json()["items"] == []
    assert client.get("/failures", params={"source": "elsewhere"}).status_code == 404


def test_lists_come_page_by_page_and_a_cursor_of_another_list_is_refused(growing: Made) -> None:
    for name in ("second.jpg", "third.jpg"):
        (growing.folder / name).write_bytes(b"\xff\xd8\xff\xe0 no picture either")
    with Case.open(growing.database) as case:
        case.refresh()
    with serving(growing) as served, served.client() as client:
        paths, cursor = [], ""
        while cursor is not None:
            page = client.get("/failures", params={"limit": 1, "cursor": cursor}).json()
            paths += [each["path"] for each in page["items"]]
            cursor = page["next"]
        assert paths == ["broken.jpg", "second.jpg", "third.jpg"]
        assert page["total"] == 3
        refused = client.get("/runs", params={"cursor": "nothing"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_cursor")


def test_a_refresh_takes_in_what_is_new_and_its_run_carries_the_examiner_s_name(
    growing: Made,
) -> None:
    add_pictures(growing.folder, 3)
    with serving(growing) as served, served.client() as client:
        client.put("/session", json={"examiner": "A. Smith"})
        begun = client.post("/jobs", json={"kind": "refresh", "sources": ["evidence"]})
        assert begun.status_code == 202
        job = over(client, begun.json())
        assert (job["state"], job["examiner"]) == ("done", "A. Smith")
        assert job["progress"]["total"] == 7
        run = client.get(f"/runs/{job['runs'][0]}").json()
        assert (run["new"], run["unchanged"], run["failed"]) == (3, 2, 1)
        assert client.get("/case").json()["pictures"] == 5
        assert served.desk.case.audit(1)[0].actor.startswith("A. Smith")


def test_a_file_that_failed_is_read_again_by_a_retry_alone(growing: Made) -> None:
    broken = growing.folder / "broken.jpg"
    before = broken.stat()
    mended = (growing.folder / "picture-00.jpg").read_bytes()
    with serving(growing) as served, served.client() as client:
        # Of the same size and time: what a refresh takes for unchanged.
        broken.write_bytes(mended)
        os.utime(broken, (1_600_000_000, 1_600_000_000))
        assert before.st_mtime == 1_600_000_000
        job = over(client, client.post("/jobs", json={"kind": "retry"}).json())
        assert client.get(f"/runs/{job['runs'][0]}").json()["failed"] == 0
        assert client.get("/failures").json()["total"] == 0


def test_a_job_that_cannot_go_on_says_why(growing: Made) -> None:
    shutil.move(growing.folder, growing.folder.with_name("unplugged"))
    with serving(growing) as served, served.client() as client:
        job = over(client, client.post("/jobs", json={"kind": "refresh"}).json())
        assert job["state"] == "failed"
        assert "evidence" in job["message"]
        assert client.get("/case").json()["pictures"] == 2, "nothing was marked as gone"


def test_what_nobody_expected_of_a_job_is_told_on_the_terminal_where_it_writes_nothing_else(
    growing: Made, caplog: pytest.LogCaptureFixture
) -> None:
    def work(case: Case, asked: object, on_event: object, stop: object) -> dict[str, int]:
        raise RuntimeError("of a file called \x1b]0;owned\x07.jpg")

    with serving(growing) as served, served.client() as client:
        served.desk.jobs.add("stacks", work)
        job = over(client, client.post("/jobs", json={"kind": "stacks"}).json())
    assert job["state"] == "failed"
    assert "\\x1b]0;owned" in job["message"]
    assert "test_overview.py" in caplog.text, "the place, too"
    assert "\x1b" not in caplog.text


def test_one_job_runs_at_a_time_and_can_be_stopped(growing: Made) -> None:
    add_pictures(growing.folder, MANY)
    with serving(growing) as served, served.client() as client:
        job = client.post("/jobs", json={"kind": "refresh"}).json()
        second = client.post("/jobs", json={"kind": "retry"})
        assert (second.status_code, second.json()["error"]["code"]) == (409, "job_running")
        assert client.delete(f"/jobs/{job['id']}").json()["stopping"]
        job = over(client, job)
        assert job["state"] == "stopped"
        assert [each["state"] for each in client.get("/jobs").json()["items"]] == ["stopped"]
        again = over(client, client.post("/jobs", json={"kind": "refresh"}).json())
        assert again["state"] == "done"
        assert client.get("/case").json()["pictures"] == 2 + MANY


def test_closing_the_page_stops_the_job_in_order_and_the_next_run_goes_on(growing: Made) -> None:
    add_pictures(growing.folder, MANY)
    with Desk(ServeOptions(growing.database, cache=growing.database.parent / "cache")) as desk:
        job = desk.jobs.begin("refresh", {"sources": []}, "")
        while not desk.jobs.job(job.id).unit:
            assert not desk.jobs.job(job.id).is_over
    with Case.open(growing.database) as case:
        assert case.runs()[0].status == "interrupted"
        assert case.refresh()[0].status == "partial"
        assert case.status().images == 2 + MANY
        assert case.verify_audit().consistent


@pytest.mark.parametrize("kind", ["refresh", "retry"])
def test_a_page_for_reading_only_begins_no_run(serve: Serve, kind: str) -> None:
    served = serve(read_only=True)
    with served.client() as client:
        answer = client.post("/jobs", json={"kind": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "read_only")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"kind": "erase"}, 422),
        ({"kind": "refresh", "folder": "/etc"}, 422),
        ({"kind": "refresh", "sources": ["elsewhere"]}, 404),
        ({"kind": "refresh", "sources": [""]}, 422),
    ],
)
def test_what_is_no_job_is_refused(
    client: httpx.Client, asked: dict[str, Any], status: int
) -> None:
    assert client.post("/jobs", json=asked).status_code == status
    assert client.get("/jobs").json()["items"] == []


def test_a_job_that_never_was_is_not_found(client: httpx.Client) -> None:
    assert client.get("/jobs/7").status_code == client.delete("/jobs/7").status_code == 404


def test_while_another_process_indexes_the_page_shows_its_run_and_goes_on_with_its_work(
    growing: Made,
) -> None:
    add_pictures(growing.folder, MANY)
    with serving(growing) as served, served.client() as client:
        sha256 = served.hashes()[0]
        arguments = index_arguments(growing.folder, growing.database, growing.model)
        process = start(*arguments, "--batch-size", "4", "--workers", "1")
        seen: set[int] = set()
        try:
            while process.poll() is None:
                for run in client.get("/runs", params={"status": "running"}).json()["items"]:
                    seen.add(run["seen"])
                assert client.get(f"/pictures/{sha256}").status_code == 200
                with served.desk.searching:
                    hits = served.desk.case.search(sha256=sha256, k=1, scene="off").hits
                assert len(hits) == 1
                with served.desk.deciding("A. Smith") as case:
                    case.decide(sha256, "note", f"seen {len(case.decisions())}")
        finally:
            process.kill()
            process.communicate()
        assert len(seen) > 1, "its account grew before our eyes"
        assert client.get("/case").json()["pictures"] == 2 + MANY
        assert served.desk.case.decisions()
        assert served.desk.case.verify_audit().consistent


@pytest.fixture
def watching(profile: BrowserContext, growing: Made) -> Iterator[tuple[Page, Served]]:
    """The overview of the growing case, in a browser."""
    with serving(growing) as served, signed_in(profile, served) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{served.url}/overview")
        page.get_by_text("2 at 2 places").wait_for()
        yield page, served


def test_new_pictures_are_taken_in_by_a_button_and_the_tables_follow(
    watching: tuple[Page, Served], growing: Made
) -> None:
    page, _ = watching
    add_pictures(growing.folder, 3)
    page.get_by_role("button", name="Take in what is new: evidence").press("Enter")
    page.get_by_text("Taking in what is new: done.").first.wait_for()
    page.get_by_text("5 at 5 places").wait_for()
    page.get_by_text("7 seen = 3 new + 0 duplicate + 2 unchanged + 1 failed").wait_for()


def test_failures_are_told_with_their_reason_and_filtered_in_the_address(
    watching: tuple[Page, Served],
) -> None:
    page, served = watching
    row = page.get_by_role("row", name="broken.jpg")
    row.get_by_text("The file begins like a picture but could not be decoded.").wait_for()
    page.get_by_label("Stage").select_option("decode")
    page.wait_for_url("**/overview?stage=decode")
    page.goto(f"{served.url}/overview?source=evidence&stage=read")
    page.get_by_text("There are none.").wait_for()


def test_a_run_that_was_begun_elsewhere_is_shown_while_it_works_and_told_when_it_is_over(
    watching: tuple[Page, Served], growing: Made
) -> None:
    page, _ = watching
    with Case.open(growing.database) as case:
        with case._catalog.writing() as connection:
            run = runs.begin(connection, runs.RunStart("index", 1, {}, {}))
            runs.save_account(connection, run, {"seen": 1200, "failed": 3, "seconds": 1.0})
        page.get_by_text("Run 2 over evidence, begun outside this page: 1,200 files").wait_for()
        with case._catalog.writing() as connection:
            runs.save_account(connection, run, {"seen": 1300, "failed": 3}, "partial")
    page.get_by_text("A run is over: evidence, done, but for some files.").wait_for()
    page.get_by_text("Nothing is running.").wait_for()


def test_a_page_for_reading_only_offers_no_run(profile: BrowserContext, serve: Serve) -> None:
    served = serve(read_only=True)
    with signed_in(profile, served) as context:
        page = context.new_page()
        page.goto(f"{served.url}/overview")
        page.get_by_text("30 at 31 places").wait_for()
        assert page.get_by_role("button", name="Take in what is new").count() == 0
        assert page.get_by_role("button", name="Try failures again").count() == 0
