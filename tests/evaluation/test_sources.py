"""Folders, lists and CSV files are read as documented, and what is none of them is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.errors import InvalidSetting
from image_similarity.evaluation.sources import (
    pair_files,
    plain_name,
    read_class_names,
    read_pairs,
    read_pictures,
)


def test_the_class_of_a_file_is_its_first_folder(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/deep/2.png", "b/3.png", "flat.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found, failures = read_pictures(tmp_path)
    assert [(each.name, each.label) for each in found] == [
        ("a/1.png", "a"), ("a/deep/2.png", "a"), ("b/3.png", "b"), ("flat.png", None),
    ]  # fmt: skip
    assert failures == []


def test_a_line_of_a_list_is_a_path_with_or_without_a_class(tmp_path: Path) -> None:
    (tmp_path / "with blank 7").touch()
    (tmp_path / "plain.png").touch()
    listing = tmp_path / "list.txt"
    listing.write_text("with blank 7\n\nplain.png 12\nplain.png\ngone.png 3\n")
    found, failures = read_pictures(listing, class_names={"12": "bakery shop"})
    assert [(each.name, each.label) for each in found] == [
        ("with blank 7", None), ("plain.png", "bakery shop"), ("plain.png", None),
    ]  # fmt: skip
    assert [each.path for each in failures] == ["gone.png"]


def test_paths_of_a_list_begin_at_the_root_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.png").touch()
    listing = tmp_path / "list.txt"
    listing.write_text("one.png")
    assert read_pictures(listing)[0] == []
    assert [each.name for each in read_pictures(listing, root=tmp_path / "data")[0]] == ["one.png"]


def test_names_of_classes_are_compared_without_their_spelling(tmp_path: Path) -> None:
    path = tmp_path / "categories.txt"
    path.write_text("/b/bakery/shop 10\n/a/art_gallery 6\nOld Barn 2\n")
    assert read_class_names(path) == {"10": "bakery shop", "6": "art gallery", "2": "old barn"}
    assert plain_name("Art_Gallery") == plain_name("/a/art_gallery") == plain_name("art gallery")
    path.write_text("no number\n")
    with pytest.raises(InvalidSetting, match="no name with a number"):
        read_class_names(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.png,b.png,1\n",
        "a;b;same\n",
        "a,b,same\nx.png,y.png,perhaps\n",
        "a,b,same\nx.png,y.png\n",
        "a,b,same\n,y.png,1\n",
        "query,positive,negative\nx.png,y.png\n",
        'a,b,same\n"x.png,y.png,1\n',
    ],
)
def test_a_pairs_file_without_header_or_with_a_short_row_is_refused(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(InvalidSetting, match=r"pairs\.csv"):
        read_pairs(path)


def test_a_name_longer_than_a_path_may_be_is_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    (tmp_path / "b.png").touch()
    path.write_text(f"a,b,same\n{'x' * 5000},b.png,1\n")
    found, failures = pair_files(read_pairs(path), path)
    assert [each.name for each in found] == ["b.png"]
    assert [each.stage for each in failures] == ["stat"]


def test_pairs_and_triplets_are_told_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("\ufeffsame,b,a\n1,two.png,one.png\n", encoding="utf-8")
    assert read_pairs(path).pairs == (("one.png", "two.png", True),)
    path.write_text("query,positive,negative\nq,p,n\n")
    found = read_pairs(path)
    assert found.triplets == (("q", "p", "n"),)
    assert found.names == ("q", "p", "n")


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=400))
def test_no_bytes_lead_to_anything_but_a_result_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("hostile") / "file.csv"
    path.write_bytes(data)
    for read in (read_pairs, read_class_names, read_pictures):
        try:
            read(path)
        except InvalidSetting as error:
            assert "file.csv" in error.message
