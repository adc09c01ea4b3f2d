"""Tables and accounts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from image_similarity.cli import account, output
from image_similarity.values import RunReport

REPORT = RunReport(
    1, "index", "done", "disk-07", "/evidence", ("builtin",), "", None, seen=2, new=2
)


def test_numbers_stand_right_and_names_cannot_disturb(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("n", "name"), [(1, "a\x1b[2J"), (20, None), (300, "\u202eb")])
    assert capsys.readouterr().out == "  n  name\n  1  a\\x1b[2J\n 20  -\n300  \\u202eb\n"


def test_sizes_and_counts_read_as_a_person_writes_them() -> None:
    assert [output.size(n) for n in (0, 999, 1500, 2_300_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "2.3 GB",
    ]
    assert [output.count(n, "picture") for n in (0, 1, 2)] == [
        "0 pictures",
        "1 picture",
        "2 pictures",
    ]


def test_an_account_that_does_not_add_up_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    account.print_account(REPORT, Path("case.db"))
    assert "does not add up" not in capsys.readouterr().out
    account.print_account(replace(REPORT, seen=3), Path("case.db"))
    assert "does not add up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([], 0),
        (["done", "done"], 0),
        (["done", "partial"], 3),
        (["partial", "failed"], 1),
        (["failed", "interrupted", "done"], 143),
    ],
)
def test_the_worst_of_several_runs_is_the_exit_code(statuses: list[str], code: int) -> None:
    reports = [replace(REPORT, status=status) for status in statuses]
    assert account.exit_code(reports, 143) == code
