"""`show`."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Made, Run


def test_a_picture_is_shown_with_all_its_places(run: Run, indexed: Made) -> None:
    outcome = run("show", indexed.first, "-dp", indexed.database)
    assert outcome.code == 0
    for said in (
        "SHA-1",
        "MD5",
        "64 x 48, PNG",
        "evidence:picture-0.png",
        "evidence:rooms/copy.png",
    ):
        assert said in outcome.out


@pytest.mark.parametrize(
    "path", ["rooms/copy.png", "evidence:rooms/copy.png", "evidence:picture-0.png"]
)
def test_a_path_may_be_as_hits_print_it(run: Run, indexed: Made, path: str) -> None:
    (record,) = run("show", path, "-dp", indexed.database, "--format", "json").objects()
    assert [place["path"] for place in record["places"]] == ["picture-0.png", "rooms/copy.png"]
    (same,) = run(
        "show", "--sha256", record["sha256"][:10], "-dp", indexed.database, "--format", "json"
    ).objects()
    assert same == record


@pytest.mark.parametrize("absolute", [True, False])
def test_a_file_that_could_not_be_taken_is_shown_with_its_reason(
    run: Run, indexed: Made, absolute: bool
) -> None:
    path = indexed.folder / "broken.jpg" if absolute else "evidence:broken.jpg"
    outcome = run("show", path, "-dp", indexed.database)
    assert outcome.code == 0
    assert outcome.out.startswith("not taken: decode  evidence:broken.jpg  ")


@pytest.mark.parametrize(
    "arguments", [["none.jpg"], ["--sha256", "0" * 64], ["--sha256", "xyz"], []]
)
def test_what_is_not_known_exits_with_2(run: Run, indexed: Made, arguments: list[str]) -> None:
    assert run("show", *arguments, "-dp", indexed.database).code == 2
