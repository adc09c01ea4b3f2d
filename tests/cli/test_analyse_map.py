"""`analyse map`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Made, Run


def told(text: str) -> dict[str, str]:
    return dict(line.split("  ", 1) for line in text.splitlines())


def test_a_map_and_what_is_on_it_are_told(run: Run, copied: Made, tmp_path: Path) -> None:
    outcome = run(
        "analyse", "map", "-dp", copied.database, "-o", tmp_path / "map.png",
        "--layout", tmp_path / "layout.csv",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    lines = {name: text.strip() for name, text in told(outcome.out).items()}
    assert lines["map"].startswith(f"{tmp_path / 'map.png'} (")
    assert lines["pictures"].startswith("5 in ")
    assert lines["positions"] == "t-SNE, perplexity 1.33333, seed 1"
    assert lines["layout"] == f"{tmp_path / 'layout.csv'}, written"


def test_json_gives_all_of_it(run: Run, copied: Made, tmp_path: Path) -> None:
    (found,) = run(
        "analyse", "map", "-dp", copied.database, "-o", tmp_path / "map.html", "--format", "json",
        "--perplexity", "1", "--seed", "5", "--tile", "48",
    ).objects()  # fmt: skip
    assert (found["pictures"], found["perplexity"], found["seed"], found["tile"]) == (5, 1, 5, 48)
    assert found["size_bytes"] == (tmp_path / "map.html").stat().st_size


def test_pictures_that_cannot_be_shown_or_have_no_position_are_told(
    run: Run, case: Made, tmp_path: Path
) -> None:
    layout = tmp_path / "layout.csv"
    run("analyse", "map", "-dp", case.database, "-o", tmp_path / "a.html", "--layout", layout)
    (case.folder / "picture-1.png").unlink()
    lines = layout.read_text().splitlines()
    layout.write_text("\n".join(line for line in lines if "picture-2" not in line) + "\n")
    outcome = run(
        "analyse", "map", "-dp", case.database, "-o", tmp_path / "b.html", "--layout", layout
    )
    assert outcome.code == 0
    assert "1 picture could not be shown: gone or changed" in outcome.err
    assert "1 picture of the database not on the map" in outcome.err


def test_how_far_it_is_can_be_followed(run: Run, copied: Made, tmp_path: Path) -> None:
    outcome = run(
        "analyse", "map", "-dp", copied.database, "-o", tmp_path / "m.png", "--progress", "lines"
    )
    assert outcome.err == "map: 1000 iterations\nthumbnails: 5 pictures\n"


def test_bad_input_is_one_line_with_what_to_do(run: Run, copied: Made, tmp_path: Path) -> None:
    base = ("analyse", "map", "-dp", copied.database, "-o")
    for given, said in (
        ((tmp_path / "m.jpg",), "give FILE.png or FILE.html"),
        ((copied.folder / "m.png",), "would be written into the indexed folder"),
        ((tmp_path / "m.png", "--source", "tablet"), "no source 'tablet'"),
        ((tmp_path / "m.png", "--under", "rooms"), "1 picture with a vector of tiny: too few"),
        ((tmp_path / "m.png", "--perplexity", "0"), "a perplexity of 0"),
        ((tmp_path / "m.png", "--layout", copied.model), "is no layout of a map"),
    ):
        outcome = run(*base, *given)
        assert outcome.code == 2, given
        assert said in outcome.err
        assert outcome.out == ""
        assert not (tmp_path / "m.png").exists()
