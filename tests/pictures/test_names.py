"""The text form of a path."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from image_similarity.pictures.names import from_text, on_disk, to_text
from image_similarity.values import Place

# Everything a path can hold: any character, and the surrogates that stand for undecodable bytes.
PATHS = st.text(st.characters(codec=None, categories=None), max_size=40)
posix = pytest.mark.skipif(os.name == "nt", reason="backslashes separate folders there")


@posix
@given(PATHS)
@example("a\\b")
@example("a\\x80b")
@example("\udc80")
@example("\x80")
@example("line\nbreak\u2028")
def test_every_path_comes_back_from_its_text_form(path: str) -> None:
    assert from_text(to_text(path)) == path


@posix
@given(PATHS, PATHS)
@example("\udc85", "\x85")
@example("\\n", "\n")
def test_two_paths_never_share_a_text_form(one: str, other: str) -> None:
    assert (to_text(one) == to_text(other)) == (one == other)


@given(PATHS)
def test_the_text_form_is_one_line_of_valid_utf8(path: str) -> None:
    text = to_text(path)
    assert len(text.splitlines()) <= 1
    assert "\0" not in text
    assert text.encode("utf-8").decode("utf-8") == text


@given(PATHS)
def test_a_text_that_is_no_text_form_is_refused(text: str) -> None:
    try:
        path = from_text(text)
    except ValueError:
        return
    assert to_text(path) == text


@posix
@given(st.binary(max_size=20))
def test_any_bytes_of_a_file_name_survive(name: bytes) -> None:
    assert os.fsencode(from_text(to_text(os.fsdecode(name)))) == name


@pytest.mark.parametrize(
    "name", ["IMG_0001.JPG", "Ünïcödé/Ж/写真 (1).jpeg", "emoji 📷.png", "it's %20 &amp; <b>.jpg"]
)
def test_ordinary_names_are_written_verbatim(name: str) -> None:
    assert to_text(name) == name


@posix
def test_the_escapes_are_as_documented() -> None:
    assert to_text("a\\b/c\nd/e\udcfff") == r"a\\b/c\u000ad/e\xfff"


@pytest.mark.parametrize("text", ["a\\", "\\q", "\\x41", "\\xFF", "\\u0041", "\n"])
def test_escapes_that_are_never_written_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the text form"):
        from_text(text)


@posix
@pytest.mark.parametrize("root", ["/", "/evidence", "/caf\udce9/disk\n7"])
def test_a_place_lies_below_its_root(root: str) -> None:
    place = Place("disk", to_text(root), to_text("a/b\\\udcff.jpg"), "")
    assert on_disk(place) == os.path.join(root, "a/b\\\udcff.jpg")  # noqa: PTH118
