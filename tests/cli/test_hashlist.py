"""`hashlist`, and `query --known`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Made, Run


def digest(path: Path, name: str = "sha256") -> str:
    return hashlib.new(name, path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def listed(case: Made, tmp_path: Path) -> Path:
    """A list that holds two of the pictures, one of them twice, and the picture that cannot be read."""
    path = tmp_path / "known.csv"
    rows = [
        ("name", "MD5", "Category"),
        ("a", digest(case.folder / "picture-1.png", "md5").upper(), "2"),
        ("b", digest(case.folder / "picture-2.png", "md5"), ""),
        ("b again", digest(case.folder / "picture-2.png", "md5"), ""),
        ("empty", hashlib.md5(b"", usedforsecurity=False).hexdigest(), ""),
        ("none", "", ""),
    ]
    path.write_text("\n".join(map(",".join, rows)))
    return path


def test_an_import_says_what_was_taken_and_what_not(run: Run, case: Made, listed: Path) -> None:
    outcome = run("hashlist", "import", listed, "-dp", case.database)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "known",
        "  form                 csv",
        f"  SHA-256 of the file  {digest(listed)}",
        "  hashes               2; 1 rows repeat one of them",
        "  empty file           1 rows dropped",
        "  without a hash       1 rows not taken; the first: line 6: it has no MD5, SHA-1 or SHA-256",
        "  in this database     2 pictures known",
        "                       0 known among the files that could not be taken",
    ]
    (row,) = run("hashlist", "list", "-dp", case.database, "--format", "json").objects()
    assert (row["name"], row["form"], row["entries"]) == ("known", "csv", 2)
    assert "known" in run("hashlist", "list", "-dp", case.database).out


def test_a_file_that_could_not_be_decoded_is_found_in_a_list(
    run: Run, case: Made, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(digest(case.folder / "broken.jpg"))
    (report,) = run(
        "hashlist", "import", tmp_path / "list.txt", "-dp", case.database, "--format", "json"
    ).objects()
    assert (report["pictures"], report["unreadable"]) == (0, 1)


def test_matches_are_listed_with_every_place(run: Run, case: Made, tmp_path: Path) -> None:
    text = f"sha256,category\n{digest(case.first)},2\n{digest(case.folder / 'broken.jpg')},\n"
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "b.txt").write_text(digest(case.folder / "picture-3.png", "sha1"))
    for name in ("a.csv", "b.txt"):
        assert run("hashlist", "import", tmp_path / name, "-dp", case.database).code == 0
    asked = ["hashlist", "matches", "-dp", case.database]
    found = run(*asked, "--format", "json").objects()
    assert [
        (each["list"], each["algorithm"], each["category"], each["place"]) for each in found
    ] == [
        ("a", "sha256", "2", "evidence:picture-0.png"),
        ("a", "sha256", "2", "evidence:rooms/copy.png"),
        ("b", "sha1", "", "evidence:picture-3.png"),
        ("a", "sha256", "", "evidence:broken.jpg"),
    ]
    assert [each["failure"] is None for each in found] == [True, True, True, False]
    table = run(*asked, "b")
    assert (table.code, table.err) == (0, "1 place\n")
    assert table.out.splitlines()[1].split() == ["b", "SHA-1", "evidence:picture-3.png"]
    lines = run(*asked, "a", "--format", "csv").out.splitlines()
    assert lines[0] == "list,algorithm,category,sha256,place,root,gone_since,failure"
    assert len(lines) == 4
    assert run(*asked, "none").code == 2


def test_a_list_is_named_and_removed(run: Run, case: Made, listed: Path) -> None:
    arguments = ["hashlist", "import", listed, "-dp", case.database, "--name", "NSRL 3"]
    assert run(*arguments).code == 0
    again = run(*arguments)
    assert (again.code, again.out) == (2, "")
    assert "there is a hash list 'NSRL 3' already" in again.err
    removed = run("hashlist", "remove", "NSRL 3", "-dp", case.database)
    assert (removed.code, removed.out) == (0, "NSRL 3: removed, 2 hashes\n")
    assert run("hashlist", "remove", "NSRL 3", "-dp", case.database).code == 2
    assert run("hashlist", "list", "-dp", case.database, "--format", "json").out == ""


@pytest.mark.parametrize(
    ("data", "form", "said"),
    [
        (b"no hashes here\n", "auto", "holds no hash that could be used: line 1"),
        (b'{"value": [', "auto", "no VICS-style JSON"),
        (b"\x00" * 5000, "auto", "holds no hash"),
        (b"5" * 32, "nsrl", "no NSRL list"),
        (b"5" * 32, "vics", "no VICS-style JSON"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(
    run: Run, case: Made, tmp_path: Path, data: bytes, form: str, said: str
) -> None:
    path = tmp_path / "list"
    path.write_bytes(data)
    outcome = run("hashlist", "import", path, "-dp", case.database, "--form", form)
    assert (outcome.code, outcome.out) == (1, "")
    assert said in outcome.err.splitlines()[0]
    assert len(outcome.err.splitlines()) == 2
    assert run("hashlist", "list", "-dp", case.database, "--format", "json").out == ""


def test_no_database_is_made_for_a_list(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("5" * 32)
    missing = tmp_path / "none.db"
    assert run("hashlist", "import", tmp_path / "list.txt", "-dp", missing).code == 10
    assert not missing.exists()


def test_a_missing_file_is_named(run: Run, case: Made, tmp_path: Path) -> None:
    outcome = run("hashlist", "import", tmp_path / "none.txt", "-dp", case.database)
    assert outcome.code == 1
    assert "none.txt" in outcome.err


def test_known_pictures_are_marked_hidden_or_alone(run: Run, case: Made, listed: Path) -> None:
    run("hashlist", "import", listed, "-dp", case.database, "--name", "NSRL")
    asked = ["query", case.first, "-dp", case.database, "--scene", "off", "-k", 9]
    marked = run(*asked)
    assert marked.code == 0
    assert marked.out.count("known:NSRL") == 2
    assert "hidden" not in marked.out
    hidden = run(*asked, "--known", "hide")
    assert "known:NSRL" not in hidden.out
    assert "2 pictures, known, hidden (hash list NSRL; --known mark shows them)" in hidden.out
    assert "picture-1.png" not in hidden.out
    alone = run(*asked, "--known", "only", "--format", "json").objects()
    assert {row["relative_path"] for row in alone} == {"picture-1.png", "picture-2.png"}
    assert {tuple(row["known"]) for row in alone} == {("NSRL (md5)",)}


def test_a_known_query_is_said(run: Run, case: Made, tmp_path: Path) -> None:
    (tmp_path / "NSRL.txt").write_text(digest(case.first, "sha1"))
    run("hashlist", "import", tmp_path / "NSRL.txt", "-dp", case.database)
    outcome = run("query", case.first, "-dp", case.database, "--known", "hide", "--scene", "off")
    assert "the query itself is in a hash list: NSRL by SHA-1" in outcome.out
    assert "copy.png" not in outcome.out


def test_only_known_pictures_without_a_list_exit_with_2(run: Run, indexed: Made) -> None:
    outcome = run("query", indexed.first, "-dp", indexed.database, "--known", "only")
    assert (outcome.code, outcome.out) == (2, "")
    assert "hashlist import" in outcome.err


def test_show_says_the_lists_of_a_picture(run: Run, case: Made, listed: Path) -> None:
    run("hashlist", "import", listed, "-dp", case.database, "--name", "set")
    picture = case.folder / "picture-1.png"
    assert "known    set by MD5, category 2" in run("show", picture, "-dp", case.database).out
    (record,) = run("show", picture, "-dp", case.database, "--format", "json").objects()
    assert record["known"] == [{"list": "set", "algorithm": "md5", "category": "2"}]


def test_hostile_categories_are_shown_as_text(run: Run, case: Made, tmp_path: Path) -> None:
    media = {"MD5": digest(case.folder / "picture-1.png", "md5"), "Category": "=1+1\x1b[31m\u202e"}
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"value": [media]}))
    assert run("hashlist", "import", path, "-dp", case.database).code == 0
    shown = run("show", case.folder / "picture-1.png", "-dp", case.database).out
    assert "set by MD5, category =1+1\\x1b[31m\\u202e" in shown


@pytest.mark.parametrize("known", ["hide", "only"])
def test_a_manifest_of_a_search_without_known_pictures_is_replayed_so(
    run: Run, case: Made, listed: Path, tmp_path: Path, known: str
) -> None:
    run("hashlist", "import", listed, "-dp", case.database)
    run("review", "irrelevant", case.first, "picture-3.png", "-dp", case.database)
    manifest = tmp_path / "hits.json"
    asked = ["query", case.first, "-dp", case.database, "--known", known, "--manifest", manifest]
    assert run(*asked).code == 0
    # What is decided later does not change what was answered then.
    run("review", "irrelevant", case.first, "picture-4.png", "-dp", case.database)
    run("hashlist", "remove", "known", "-dp", case.database)
    outcome = run("replay", manifest)
    assert outcome.code == 0, outcome.out
