"""`explain` writes a picture, says what it found, and never writes into evidence."""

from __future__ import annotations

from pathlib import Path

from image_similarity.case import Case
from tests.cli.conftest import Made, Run


def test_it_writes_a_picture_and_says_what_is_on_it(run: Run, case: Made, tmp_path: Path) -> None:
    target = tmp_path / "why.png"
    done = run(
        "explain", case.folder / "picture-1.png", "evidence:picture-2.png",
        "-dp", case.database, "-o", target,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert target.read_bytes().startswith(b"\x89PNG")
    assert "distance " in done.out and "method: " in done.out
    assert "never a finding" in done.out
    assert f"picture: {target}" in done.err


def test_other_programs_get_one_object(run: Run, case: Made, tmp_path: Path) -> None:
    done = run(
        "explain", case.first, "evidence:rooms/copy.png", "-dp", case.database,
        "-o", tmp_path / "why.png", "--format", "json", "--method", "occlusion",
    )  # fmt: skip
    (found,) = done.objects()
    assert found["identical"] is True
    assert found["method"] == "occlusion"
    assert len(found["query"]["heat"]) == 8


def test_the_picture_is_in_the_audit_chain(run: Run, case: Made, tmp_path: Path) -> None:
    target = tmp_path / "why.png"
    run("explain", case.first, "evidence:picture-2.png", "-dp", case.database, "-o", target)
    with Case.open(case.database, read_only=True) as opened:
        last = list(opened.audit())[-1]
    assert last.action == "export"
    assert '"kind": "picture"' in last.detail.replace('":"', '": "')
    assert str(target) in last.detail


def test_it_is_never_written_into_evidence(run: Run, case: Made) -> None:
    target = case.folder / "why.png"
    done = run("explain", case.first, "evidence:picture-2.png", "-dp", case.database, "-o", target)
    assert done.code == 2
    assert not target.exists()


def test_only_an_earlier_explanation_is_replaced_and_only_if_asked(
    run: Run, case: Made, tmp_path: Path
) -> None:
    target = tmp_path / "why.png"
    command = ["explain", case.first, "evidence:picture-2.png", "-dp", case.database, "-o", target]
    target.write_bytes(case.first.read_bytes())
    assert run(*command).code == 2
    assert run(*command, "--force").code == 2
    assert target.read_bytes() == case.first.read_bytes()
    target.unlink()
    assert run(*command).code == 0
    assert run(*command).code == 2
    assert run(*command, "--force").code == 0


def test_a_picture_that_cannot_be_read_exits_with_14(run: Run, case: Made, tmp_path: Path) -> None:
    target = tmp_path / "why.png"
    done = run(
        "explain", case.folder / "broken.jpg", "evidence:picture-2.png",
        "-dp", case.database, "-o", target,
    )  # fmt: skip
    assert done.code == 14
    assert not target.exists()
