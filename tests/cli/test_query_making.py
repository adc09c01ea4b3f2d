"""`query` with part of a picture."""

from __future__ import annotations

from tests.cli.conftest import Made, Run


def test_a_crop_is_said_in_the_table(run: Run, indexed: Made) -> None:
    done = run("query", indexed.first, "-dp", indexed.database, "--crop", "0,0,32,24")
    assert done.code == 0
    assert "query made of: crop 0,0,32,24" in done.out
    assert "not indexed" in done.out.splitlines()[0]


def test_boxes_and_a_mask_hide_parts(run: Run, indexed: Made) -> None:
    done = run(
        "query", indexed.first, "-dp", indexed.database,
        "--mask-box", "0,0,9,9", "--mask-box", "50%,50%,9%,9%",
    )  # fmt: skip
    assert done.code == 0
    assert "hidden 0,0,9,9 and 50%,50%,9%,9%" in done.out


def test_a_box_that_leaves_the_picture_is_wrong_usage(run: Run, indexed: Made) -> None:
    done = run("query", indexed.first, "-dp", indexed.database, "--crop", "0,0,640,480")
    assert done.code == 2
    assert "leaves the picture, which has 64 x 48 pixels" in done.err


def test_a_mask_that_is_not_there_is_wrong_usage(run: Run, indexed: Made) -> None:
    done = run("query", indexed.first, "-dp", indexed.database, "--mask", "none.png")
    assert (done.code, done.out) == (2, "")
    assert "there is no mask none.png" in done.err
