"""What a run says on stderr while it works."""

from __future__ import annotations

import json

import pytest

from image_similarity.cli import progress
from image_similarity.cli.options import Talk
from image_similarity.events import Event, Failed, Notice, Progress, Started
from image_similarity.values import Failure

FAILURE = Failure("a\x1b.jpg", "decode", "Truncated", "cut off", source="disk-07")
EVENTS: list[Event] = [
    Started("disk-07", "/evidence", 10),
    Notice("the journal was recovered"),
    Failed(FAILURE),
    Progress(4, 10, 3, 1),
]


def said(talk: Talk, capsys: pytest.CaptureFixture[str]) -> str:
    with progress.listener(talk) as listen:
        for event in EVENTS:
            listen(event)
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_where_there_is_no_terminal_only_notices_are_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said(Talk(), capsys) == "Note: the journal was recovered\n"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for form in (None, "bar", "lines", "json", "off"):
        assert said(Talk(quiet=True, progress=form), capsys) == ""


def test_failures_are_said_one_by_one_only_with_v(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("bar", "lines", "off"):
        assert "Truncated" not in said(Talk(progress=form), capsys)
        verbose = said(Talk(progress=form, verbose=True), capsys)
        assert "not taken: decode  disk-07:a\\x1b.jpg  Truncated: cut off" in verbose


def test_json_gives_every_event_as_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    objects = [json.loads(line) for line in said(Talk(progress="json"), capsys).splitlines()]
    assert [each["event"] for each in objects] == ["started", "notice", "failed", "progress"]
    assert objects[0] == {
        "event": "started",
        "source": "disk-07",
        "root": "/evidence",
        "total": 10,
        "unit": "files",
    }
    assert objects[2]["failure"]["path"] == "a\x1b.jpg"


def test_lines_come_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 4.0, 6.0, 8.0, 11.5])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.listener(Talk(progress="lines")) as listen:
        listen(Started("disk-07", "/evidence", 100))
        for done in (10, 20, 30, 40):
            listen(Progress(done, 100, done, 2))
    assert capsys.readouterr().err.splitlines() == [
        "disk-07: 100 files",
        "disk-07: 20 of 100 files, embedded 20, failed 2, 3.3 a second, 0.4 min left",
        "disk-07: 40 of 100 files, embedded 40, failed 2, 3.5 a second, 0.3 min left",
    ]


def test_a_bar_shows_counts_also_without_a_terminal_when_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = said(Talk(progress="bar"), capsys)
    assert "disk-07" in text
    assert "4/10" in text
    assert "failed=1" in text
