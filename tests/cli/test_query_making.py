"""`query` with part of a picture."""

from __future__ import annotations

import pytest

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


def test_several_pictures_are_one_list_if_it_is_said_so(run: Run, indexed: Made) -> None:
    pictures = [indexed.folder / f"picture-{number}.png" for number in (1, 2)]
    done = run("query", *pictures, "--fuse", "-dp", indexed.database, "--scene", "off")
    assert done.code == 0
    assert "picture-1.png + " in done.out.splitlines()[0]
    assert "ranked by reciprocal rank fusion of 2 queries: each one's 100 nearest" in done.out
    assert "score" in done.out.splitlines()[1]
    assert run("query", *pictures, "-dp", indexed.database).code == 2


def test_a_fused_hit_says_its_score_to_other_programs(run: Run, indexed: Made) -> None:
    done = run(
        "query", indexed.folder, "--fuse", "-dp", indexed.database, "--scene", "off",
        "--format", "json",
    )  # fmt: skip
    assert done.code == 3, "a picture of the folder cannot be read"
    assert done.objects() == [], "every picture is a query"
    one = indexed.folder / "picture-3.png"
    row = run(
        "query", one, "--fuse", "-dp", indexed.database, "--scene", "off", "--format", "json"
    ).objects()[0]
    assert row["fused_score"] == 1 / 61
    assert (row["fused_best_rank"], row["fused_query"]) == (1, 1)


def test_a_ruled_out_picture_takes_hits_away_and_it_is_said_how_many(
    run: Run, indexed: Made
) -> None:
    one, other = (indexed.folder / f"picture-{number}.png" for number in (1, 2))
    done = run("query", one, "--not", other, "-dp", indexed.database, "--scene", "off")
    assert done.code == 0
    assert "are nearer to a picture to rule out" in done.out
    assert "picture-2.png\n" not in done.out.partition("search:")[0]


def test_a_strength_without_a_reference_table_is_refused_with_one_line(
    run: Run, indexed: Made
) -> None:
    done = run("query", indexed.first, "-dp", indexed.database, "--strength")
    assert (done.code, done.out) == (1, "")
    assert "has no reference table of distances on this machine" in done.err


def test_a_strength_stands_below_the_hits(
    run: Run, indexed: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.search import meaning
    from tests.reports.samples import TABLE

    monkeypatch.setattr(meaning, "find_table", lambda model: TABLE)
    done = run(
        "query", indexed.first, "-dp", indexed.database, "--scene", "off",
        "--max-expected-false", "0.5",
    )  # fmt: skip
    assert done.code == 0
    assert "R is not your case" in done.out
    assert "unrelated pictures are expected as close" in done.out
    assert (
        run("query", indexed.first, "-dp", indexed.database, "--max-expected-false", "0").code == 2
    )
