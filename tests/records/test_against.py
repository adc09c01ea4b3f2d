"""A list of acquisition hashes is compared with what is recorded: each of its entries is in exactly one class."""

from __future__ import annotations

import shutil
import string
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.case import Case
from image_similarity.errors import HashListRefused, UnknownSource, UsageError
from image_similarity.records.acquisition import Acquired, read_list
from image_similarity.values import AgainstReport
from tests.indexing.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, tiny_model: Path) -> Desk:
    """Three pictures, one of them deep, a broken one and a document, indexed."""
    desk = Desk(tmp_path, tiny_model)
    desk.put("a.png", seed=1)
    desk.put("b.png", seed=2)
    desk.put("deep/er/c.png", seed=3)
    desk.corrupt("broken.jpg")
    desk.write("notes.txt", b"text")
    desk.index()
    return desk


def digest(path: Path, kind: Any = sha256) -> str:
    return str(kind(path.read_bytes()).hexdigest())


def sums(desk: Desk, base: str = "", kind: Any = sha256) -> list[str]:
    files = sorted(path for path in desk.evidence.rglob("*") if path.is_file())
    return [f"{digest(f, kind)}  {base}{f.relative_to(desk.evidence).as_posix()}" for f in files]


def against(desk: Desk, lines: list[str] | bytes, *sources: str) -> AgainstReport:
    path = desk.folder / "hashes.txt"
    path.write_bytes(lines if isinstance(lines, bytes) else "\n".join(lines).encode() + b"\n")
    with Case.open(desk.database, read_only=True) as case:
        report = case.verify_against(path, sources=sources)
    counts = (report.confirmed, report.elsewhere, report.contradicted, report.gone, report.failed)
    assert report.entries == sum(counts) + sum(report.skipped.values()) + report.unknown
    return report


@pytest.mark.parametrize(
    "base", ["", "./", "/mnt/first/", "evidence/", "E:\\", "\\\\server\\share\\"]
)
@pytest.mark.parametrize("kind", [sha256, md5])
def test_a_list_of_what_is_there_is_confirmed_wherever_it_was_made(
    desk: Desk, base: str, kind: Any
) -> None:
    lines = sums(desk, base, kind)
    if "\\" in base:
        lines = [line.replace("/", "\\") for line in lines]
    report = against(desk, lines)
    assert (report.confirmed, report.failed, report.skipped) == (3, 1, {"document": 1})
    assert (report.unlisted, report.copies, report.clean) == (0, 0, True)
    assert report.sources == ("evidence",)
    (failure,) = report.findings
    assert (failure.kind, failure.path) == ("failed", "broken.jpg")
    assert ("its bytes are those acquired" in failure.message) == (kind is sha256)


def test_a_listed_picture_that_a_later_run_no_longer_found_is_said_to_be_gone(desk: Desk) -> None:
    lines, contents = sums(desk, "/x/"), digest(desk.evidence / "a.png")
    (desk.evidence / "a.png").unlink()
    desk.index()
    report = against(desk, lines)
    assert (report.confirmed, report.gone, report.unknown, report.contradicted) == (2, 1, 0, 0)
    assert [(f.path, f.expected) for f in report.findings if f.kind == "gone"] == [
        ("a.png", contents)
    ]
    assert against(desk, [contents]).gone == 1
    changed = [line.replace(contents, "0" * 64) for line in lines]
    (contradiction,) = [f for f in against(desk, changed).findings if f.kind == "contradicted"]
    assert contradiction.message.endswith("; it is no longer there")
    desk.put("moved.png", seed=1)
    desk.index()
    assert (against(desk, lines).elsewhere, against(desk, lines).gone) == (1, 0)


def test_a_list_made_below_the_source_is_confirmed(desk: Desk) -> None:
    report = against(desk, [f"{digest(desk.evidence / 'deep/er/c.png')} *er/c.png"])
    assert (report.confirmed, report.unlisted) == (1, 2)


def test_a_file_that_was_changed_before_it_was_indexed_is_contradicted(desk: Desk) -> None:
    lines = [line.replace(digest(desk.evidence / "a.png"), "0" * 64) for line in sums(desk, "/x/")]
    report = against(desk, lines)
    assert (report.contradicted, report.confirmed, report.clean) == (1, 2, False)
    finding = next(each for each in report.findings if each.kind == "contradicted")
    assert (finding.source, finding.path) == ("evidence", "a.png")
    assert (finding.expected, finding.found) == ("0" * 64, digest(desk.evidence / "a.png"))


def test_a_failed_file_whose_bytes_are_others_than_acquired_is_contradicted(desk: Desk) -> None:
    was = digest(desk.evidence / "broken.jpg")
    report = against(desk, [line.replace(was, "0" * 64) for line in sums(desk)])
    (finding,) = report.findings
    assert (finding.kind, finding.path) == ("contradicted", "broken.jpg")


def test_even_if_nothing_agrees_the_only_source_is_compared_by_its_names(desk: Desk) -> None:
    report = against(desk, [f"{'0' * 64}  /mnt/{name}" for name in ("a.png", "deep/er/c.png")])
    assert (report.contradicted, report.unlisted) == (2, 1)


def test_what_was_moved_or_never_met_or_not_listed_is_told_apart(desk: Desk) -> None:
    shutil.copy2(desk.evidence / "a.png", desk.evidence / "copy.png")
    desk.index()
    lines = sums(desk)
    lines = [line for line in lines if "copy.png" not in line and "b.png" not in line]
    lines += [f"{digest(desk.evidence / 'deep/er/c.png')}  other/name.png", f"{'1' * 64}  lost.png"]
    report = against(desk, lines)
    assert (report.confirmed, report.elsewhere, report.unknown) == (2, 1, 1)
    assert (report.unlisted, report.copies, report.clean) == (1, 1, True)
    assert {(each.kind, each.path) for each in report.findings} == {
        ("failed", "broken.jpg"),
        ("unknown", "lost.png"),
        ("unlisted", "b.png"),
    }


def test_the_list_of_one_disk_does_not_contradict_another_with_the_same_names(desk: Desk) -> None:
    other = desk.folder / "second"
    for number, name in enumerate(("a.png", "b.png", "d.png")):
        shutil.copy2(
            desk.put(f"../made/{name}", seed=20 + number), other.mkdir(exist_ok=True) or other
        )
    shutil.copy2(desk.evidence / "deep/er/c.png", other / "d.png")
    shutil.copy2(desk.evidence / "deep/er/c.png", desk.evidence / "d.png")
    desk.index()
    desk.index(other)
    report = against(desk, sums(desk))
    assert (report.contradicted, report.sources) == (0, ("evidence",))
    named = against(desk, sums(desk), "second")
    assert (named.contradicted, named.sources) == (2, ("second",))
    with pytest.raises(UnknownSource):
        against(desk, sums(desk), "third")


def test_one_picture_in_common_does_not_make_the_list_that_of_another_source(desk: Desk) -> None:
    other = desk.folder / "second"
    other.mkdir()
    for number in range(4):
        shutil.copy2(desk.put(f"../made/{number}.png", seed=30 + number), other)
    shutil.copy2(desk.evidence / "a.png", other)
    desk.index(other)
    report = against(desk, sums(desk))
    assert (report.sources, report.confirmed, report.unlisted) == (("evidence",), 3, 0)


def test_bare_hashes_are_looked_up_by_content(desk: Desk) -> None:
    report = against(desk, [line.split()[0].upper() for line in sums(desk)])
    assert (report.form, report.confirmed, report.failed, report.unknown) == ("plain", 3, 1, 1)
    assert (report.unlisted, report.sources) == (0, ())


def test_hashdeep_lists_are_read_with_all_their_hashes(desk: Desk) -> None:
    files = [desk.evidence / name for name in ("a.png", "b.png")]
    head = ["%%%% HASHDEEP-1.0", "%%%% size,md5,sha256,filename", "## Invoked from: /", "##"]
    rows = [f"{f.stat().st_size},{digest(f, md5)},{digest(f)},/mnt/{f.name}" for f in files]
    report = against(desk, [*head, *rows])
    assert (report.form, report.hashes, report.confirmed) == ("hashdeep", ("md5", "sha256"), 2)
    report = against(desk, [*head, rows[0], rows[1].replace(digest(files[1], md5), "0" * 32)])
    (finding,) = (each for each in report.findings if each.kind == "contradicted")
    assert (finding.path, finding.expected) == ("b.png", "0" * 32)


ONE = "a" * 64


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (f"\ufeff{ONE}  é.png\r\n".encode(), "é.png"),
        (f"{ONE}  é.png\r\n".encode("utf-16"), "é.png"),
        (f"# made by me\n\n{ONE.upper()} *a  b.png".encode(), "a  b.png"),
        (f"\\{ONE}  d/a\\nb\\\\c.png\n".encode(), "d/a\\u000ab\\\\c.png"),
        (f"SHA256 (x (1).png) = {ONE}\n".encode(), "x (1).png"),
        (ONE.encode() + b"  \xff.png\n", "\\xff.png"),
        (f"%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n12,{ONE},a,b.png".encode(), "a,b.png"),
    ],
)
def test_every_form_is_read_as_its_tool_writes_it(tmp_path: Path, data: bytes, path: str) -> None:
    file = tmp_path / "list"
    file.write_bytes(data)
    assert read_list(file).entries == (Acquired(path, sha256=ONE),)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "lists no hash"),
        (b"hello\n", "line 1"),
        (f"{ONE}  a.png\n{ONE[:-1]}  b.png\n".encode(), "63 digits"),
        (("a" * 128 + "  a.png\n").encode(), "128 digits"),
        (f"{ONE}\n{ONE}  a.png\n".encode(), "line 2"),
        (f"SHA256 (a) = {ONE}\n{ONE}  a.png\n".encode(), "line 2"),
        (f"MD5 (a) = {ONE}\n".encode(), "no MD5"),
        (f"\\{ONE}  a\\q.png\n".encode(), "escape"),
        (b"%%%% size,md5,filename\n12,abc,a.png\n", "no MD5"),
        (b"%%%% size,md5,filename\n" + b"a" * 32 + b"  a.png\n", "fields"),
        (b"%%%% size,tiger,filename\n", "no MD5, SHA-1 or SHA-256"),
        (b"%%%% name,md5\n", "other columns"),
        (b"\0" * 100, "no text"),
        (b"\xff\xfe\x00", "utf-16"),
    ],
)
def test_a_list_that_is_not_sound_is_refused_whole(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "list"
    file.write_bytes(data)
    with pytest.raises(HashListRefused, match=said):
        read_list(file)


def test_a_list_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_list(tmp_path / "none")


@given(st.binary(max_size=300) | st.text(string.printable, max_size=300).map(str.encode))
def test_whatever_a_list_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile-list"
    file.write_bytes(data)
    try:
        assert read_list(file).entries
    except HashListRefused as error:
        assert error.message.isprintable()
