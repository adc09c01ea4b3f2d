"""The objects of large JSON files, one after the other: only one of them is in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import IO, Any

# An object, or a value within, that is longer than this many characters is damage or an attack.
MAX_VALUE = 2**24
_CHUNK = 2**18
# Arrays within arrays that are walked through; the forms that are read need three.
_DEPTH = 8
# What may stand behind a value.
_BEHIND = tuple(" \t\n\r,:]}")
_BLANK = re.compile(r"[ \t\n\r]*")


class JsonDamaged(Exception):
    """The text is no JSON, ends early, or holds a value that is too large or too deep."""


def objects_in(text: IO[str], *, within: Collection[str]) -> Iterator[dict[str, Any]]:
    """Give the objects of the outermost array, or of all arrays that members with certain names hold.

    Objects of such arrays are given without those of their own members that were walked through in turn.

    Args:
        text: The file, read in chunks.
        within: Names in lower case; those in the file may be in any.

    Raises:
        JsonDamaged.
    """
    reader = _Reader(text)
    if reader.peek() == "[":
        yield from _array(reader, within, 0)
    elif reader.peek() == "{":
        found: dict[str, Any] = {}
        yield from _members(reader, within, found, 0)
    else:
        raise JsonDamaged("it begins with neither an object nor an array")
    if reader.peek():
        raise JsonDamaged(f"something follows its end {reader.where()}")


def _array(reader: _Reader, within: Collection[str], depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEPTH:
        raise JsonDamaged(f"arrays are nested too deeply {reader.where()}")
    reader.expect("[")
    if reader.peek() == "]":
        reader.expect("]")
        return
    while True:
        if reader.peek() == "{":
            found: dict[str, Any] = {}
            yield from _members(reader, within, found, depth)
            yield found
        else:
            reader.value()
        if reader.peek() == "]":
            reader.expect("]")
            return
        reader.expect(",")


def _members(
    reader: _Reader, within: Collection[str], found: dict[str, Any], depth: int
) -> Iterator[dict[str, Any]]:
    """Read an object into `found`, giving the objects of the arrays that are walked through."""
    reader.expect("{")
    if reader.peek() == "}":
        reader.expect("}")
        return
    while True:
        if reader.peek() != '"':
            raise JsonDamaged(f"a name was expected {reader.where()}")
        name = reader.value()
        reader.expect(":")
        if name.lower() in within and reader.peek() == "[":
            yield from _array(reader, within, depth + 1)
        else:
            value = reader.value()
            # Lists of files and properties are not what is looked for, and may be long.
            if not isinstance(value, dict | list):
                found[name] = value
        if reader.peek() == "}":
            reader.expect("}")
            return
        reader.expect(",")


class _Reader:
    """A text of which a window is in memory."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self._window = ""
        self._at = 0
        self._before = 0
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode

    def where(self) -> str:
        return f"at character {self._before + self._at + 1}"

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            self._at = _end_of_blanks(self._window, self._at)
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._more(_CHUNK):
                return ""

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise JsonDamaged(
                f"it ends early {self.where()}"
                if not self.peek()
                else f"{character!r} was expected {self.where()}"
            )
        self._at += 1

    def value(self) -> Any:
        """The value that comes next, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._window, self._at)
                # A number may go on behind the window, which may end with "1" or "1." or "1e+".
                if self._window[end : end + 1] in _BEHIND or not self._more():
                    self._at = end
                    return value
            except RecursionError:
                raise JsonDamaged(f"a value is nested too deeply {self.where()}") from None
            except ValueError as error:
                if not self._more():
                    reason = getattr(error, "msg", "a number that is too long")
                    reason = reason.removesuffix(" at").removesuffix(" starting")
                    raise JsonDamaged(f"{reason} {self.where()}") from None

    def _more(self, count: int = 0) -> bool:
        """Read on, as much again as is there unless said; False at the end, or of a value that is too long."""
        left = len(self._window) - self._at
        if self._ended or left > MAX_VALUE:
            return False
        got = self._text.read(count or max(_CHUNK, left))
        if not got:
            self._ended = True
            return False
        self._before += self._at
        self._window, self._at = self._window[self._at :] + got, 0
        return True


def _end_of_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()
