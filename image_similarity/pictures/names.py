r"""The reversible text form of a relative path: valid UTF-8 for any file name that a disk can hold.

Separators are `/`. Written verbatim is every name that is plain text; written as an escape are

 - a backslash: two backslashes,
 - a byte that is not valid in the file system's encoding (a surrogate in Python's form): `\xHH`,
 - a control character or line separator, and any other lone surrogate: `\uHHHH`.

Two different paths never share a text form, and each form leads back to exactly one path.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_similarity.values import Place

# Controls (C0, DEL, C1) and the two Unicode line separators would break a line of a report in two; surrogates cannot
# be written as UTF-8 at all.
_ESCAPED = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4}))")


def is_plain(name: str) -> bool:
    """Whether the text form of a path without separators, or of several written together, is what it is already."""
    # All that is escaped is not printable, but for the backslash; nearly every path is plain.
    return name.isprintable() and "\\" not in name


def to_text(path: str) -> str:
    """Return the text form of a path as `os.fsdecode` gives it."""
    if os.sep != "/":
        path = path.replace(os.sep, "/")
    return path if is_plain(path) else _ESCAPED.sub(_escape, path)


def from_text(text: str) -> str:
    """Return the path whose text form is `text`.

    Raises:
        ValueError: `text` is not what `to_text` writes for any path.
    """
    path = _ESCAPE.sub(_unescape, text)
    if os.sep != "/":
        path = path.replace("/", os.sep)
    if to_text(path) != text:
        raise ValueError(f"not the text form of a path: {text!r}")
    return path


def on_disk(place: Place) -> str:
    """Return where a place lies on disk, as this system opens it.

    Raises:
        ValueError: as `from_text`.
    """
    return from_text(place.full_path)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\\":
        return "\\\\"
    # os.fsdecode turns the undecodable byte 0xHH into the surrogate U+DCHH.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return f"\\u{ord(character):04x}"


def _unescape(match: re.Match[str]) -> str:
    byte, character = match.groups()
    if byte:
        return chr(0xDC00 + int(byte, 16))
    return chr(int(character, 16)) if character else "\\"


def text_forms(path: str) -> list[str]:
    """Every way in which a path, as a user gives it, may be on record: as printed, as typed, and where it lies on disk.

    A link in the evidence is a place of its own, so the last name is not resolved; but a link that leads into the
    evidence means what it leads to.
    """
    folder, name = os.path.split(path)
    on_disk = [os.path.join(os.path.realpath(folder), name), os.path.realpath(path)]  # noqa: PTH118
    texts = [to_text(each) for each in (path, *on_disk)]
    is_text = path.isprintable()
    return list(dict.fromkeys([path, *texts] if is_text else texts))
