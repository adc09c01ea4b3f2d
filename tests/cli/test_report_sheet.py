"""`report sheet`."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Made, Run


def text_of(path: Path) -> str:
    with Image.open(path) as image:
        return str(image.info["Description"])


def colours(path: Path) -> int:
    """How many colourful pixels a picture has."""
    with Image.open(path) as image:
        pixels = np.asarray(image, dtype=int)
    return int((np.ptp(pixels, axis=2) > 60).sum())


def test_a_sheet_is_its_owners_alone_recorded_and_listed_among_the_traces(
    run: Run, case: Made, tmp_path: Path
) -> None:
    target = tmp_path / "sheet.png"
    outcome = run("report", "sheet", case.first, "-dp", case.database, "-o", target, "-k", 3)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{target}\n"
    assert outcome.err == "1 sheet, pictures blurred\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    (report,) = run("case", "traces", "-dp", case.database, "--format", "json").objects()
    (trace,) = report["files"]
    assert (trace["kind"], trace["path"], trace["state"]) == ("sheet", str(target), "as written")


def test_distances_are_those_that_query_prints(run: Run, case: Made, tmp_path: Path) -> None:
    run(
        "report", "sheet", case.first, "-dp", case.database, "-o", tmp_path / "a.png", "-k", 4,
        "--scene", "off",
    )  # fmt: skip
    said = re.findall(r"^distance (.*)", text_of(tmp_path / "a.png"), flags=re.MULTILINE)
    outcome = run("query", case.first, "-dp", case.database, "-k", 4, "--scene", "off")
    assert said == re.findall(r"^ *\d+ +(\d\.\d{4})", outcome.out, flags=re.MULTILINE)
    assert len(said) == 4


def test_pictures_are_blurred_and_grey_unless_they_are_revealed(
    run: Run, case: Made, tmp_path: Path
) -> None:
    found = {}
    for look in ("", "--blur", "--grey", "--reveal"):
        target = tmp_path / f"sheet{look}.png"
        given = [look] if look else []
        run("report", "sheet", case.first, "-dp", case.database, "-o", target, *given)
        found[look] = colours(target)
    assert found["--reveal"] > 3 * found["--grey"]
    assert found[""] == found["--blur"] == found["--grey"], "the borders and letters"
    assert "blurred on purpose" in text_of(tmp_path / "sheet.png")


def test_all_pictures_into_a_pdf_or_a_folder(run: Run, case: Made, tmp_path: Path) -> None:
    outcome = run("report", "sheet", "--all", "-dp", case.database, "-o", tmp_path / "all.pdf")
    assert outcome.code == 0, outcome.err
    assert len(re.findall(rb"/Type /Page\b", (tmp_path / "all.pdf").read_bytes())) == 5
    outcome = run(
        "report", "sheet", "-dp", case.database, "-o", tmp_path / "some", "--under", "rooms"
    )
    assert outcome.out.splitlines() == [str(path) for path in (tmp_path / "some").iterdir()]
    assert "Sheets for: Below rooms" in text_of(next((tmp_path / "some").iterdir()))


def test_several_named_pictures_stand_in_one_pdf_in_their_order(
    run: Run, case: Made, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.jpg"
    shutil.copy(case.folder / "picture-3.png", outside)
    folder = tmp_path / "pages"
    run(
        "report", "sheet", outside, case.folder / "picture-1.png", "-dp", case.database,
        "-o", folder,
    )  # fmt: skip
    first, second = sorted(folder.iterdir())
    assert str(outside) in text_of(first) and "picture-1.png" in text_of(second)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Give IMAGE"),
        (["--all", "--source", "evidence"], 2, "--all leaves nothing to choose"),
        (["--all", "-o", "{out}.png"], 2, "holds one page, and 5 pictures"),
        (["--all", "-o", "{out}.jpg"], 2, "neither a PNG nor a PDF"),
        (["--all", "-o", "{out}.pdf", "--tile", "5"], 2, "--tile 5"),
        (["--all", "-o", "{out}.pdf", "-k", "0"], 2, "k is 0"),
        (["--all", "-o", "{out}.pdf", "--scene", "kitchn"], 2, "no scene is called"),
        (["--scene-is", "kitchn", "-o", "{out}.pdf"], 2, "knows no scene"),
        (["--tag", "none", "-o", "{out}.pdf"], 2, "no picture was chosen"),
        (["{evidence}/broken.jpg", "-o", "{out}.pdf"], 14, "cannot read"),
        (["{evidence}/missing.jpg", "-o", "{out}.png"], 14, "No such file"),
        (["{evidence}", "-o", "{out}.png"], 14, "cannot read"),
        (["--all", "-o", "{evidence}/sheet.pdf"], 2, "indexed folder"),
        (["--all", "-o", "{evidence}/pages"], 2, "indexed folder"),
        (["--all", "-o", "{out}/no/folder.pdf"], 2, "does not exist or cannot be written"),
        (["--all", "-m", "histogram", "-o", "{out}.pdf"], 13, "histogram"),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(
    run: Run, case: Made, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    given = [each.format(out=tmp_path / "out", evidence=case.folder) for each in arguments]
    if "-o" not in given:
        given += ["-o", str(tmp_path / "out.pdf")]
    before = sorted(tmp_path.rglob("*"))
    outcome = run("report", "sheet", "-dp", case.database, *given)
    assert outcome.code == code, outcome.err
    assert said in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_replaced_but_an_earlier_sheet_with_force(
    run: Run, case: Made, tmp_path: Path
) -> None:
    target = tmp_path / "sheet.pdf"
    arguments = ["report", "sheet", "--all", "-dp", case.database, "-o", target]
    assert run(*arguments).code == 0
    outcome = run(*arguments)
    assert outcome.code == 2 and "exists already" in outcome.err
    assert run(*arguments, "--force").code == 0
    target.write_text("a letter")
    outcome = run(*arguments, "--force")
    assert outcome.code == 2 and "was not written by this program" in outcome.err
    assert target.read_text() == "a letter"


def test_a_folder_with_something_in_it_is_left_alone(run: Run, case: Made, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "letter.txt").write_text("Dear Sir")
    arguments = ["report", "sheet", "--all", "-dp", case.database, "-o", folder]
    outcome = run(*arguments)
    assert outcome.code == 2 and "is not empty" in outcome.err
    for _ in range(2):
        assert run(*arguments, "--force").code == 0
    assert len(list(folder.iterdir())) == 6
    assert (folder / "letter.txt").read_text() == "Dear Sir"


def test_a_file_is_no_folder_for_sheets(run: Run, case: Made, tmp_path: Path) -> None:
    mine = tmp_path / "pages"
    mine.write_text("mine")
    for more in ((), ("--force",)):
        outcome = run("report", "sheet", "--all", "-dp", case.database, "-o", mine, *more)
        assert (outcome.code, mine.read_text()) == (2, "mine")
        assert "is a file" in outcome.err


def test_a_hostile_name_is_drawn_as_escapes_and_deceives_nobody(
    run: Run, case: Made, tmp_path: Path
) -> None:
    name = "\u202egpj.exe\x1b[31m日本\udcff.png"
    (case.folder / "picture-1.png").rename(case.folder / name)
    outcome = run("refresh", "-dp", case.database)
    assert outcome.code in (0, 3), outcome.err
    run(
        "report", "sheet", case.first, "-dp", case.database, "-o", tmp_path / "a.png",
        "--scene", "off",
    )  # fmt: skip
    text = text_of(tmp_path / "a.png")
    assert "\\u202egpj.exe\\u001b[31m日本\\xff.png" in text
    assert text.replace("\n", "").isprintable()


def test_a_picture_that_is_gone_or_changed_is_a_grey_tile_and_no_error(
    run: Run, case: Made, tmp_path: Path
) -> None:
    (case.folder / "picture-1.png").unlink()
    shutil.copy(case.folder / "picture-3.png", case.folder / "picture-2.png")
    outcome = run(
        "report", "sheet", "--all", "-dp", case.database, "-o", tmp_path / "all.pdf", "--scene",
        "off", "--reveal",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_what_a_sheet_was_of_stands_in_the_audit_chain(
    run: Run, case: Made, tmp_path: Path
) -> None:
    run(
        "report", "sheet", "--all", "-dp", case.database, "-o", tmp_path / "all.pdf", "-k", 2,
        "--scene", "off", "--reveal",
    )  # fmt: skip
    last = run("audit", "show", "-dp", case.database, "--format", "json").objects()[-1]
    said = last["detail"]
    assert (said["kind"], said["look"], said["k"], said["scene"]) == ("sheet", "reveal", 2, ["off"])
    assert said["pictures"] == len(said["queries"]) == 5
    assert said["what"] == "whole case"
