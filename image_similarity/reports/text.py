"""Text that shows what is in it: file names from evidence may carry control and direction characters."""

from __future__ import annotations

import re

# Controls (C0, DEL, C1) can steer a terminal; bidirectional marks, embeddings, overrides and isolates can make
# "gpj.exe" read as "exe.jpg"; line separators break a line in two; surrogates cannot be written as UTF-8.
_DECEPTIVE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

_SURROGATE = re.compile("[\ud800-\udfff]")

# What a spreadsheet takes for the start of a formula, also in full width; at the start of a text, or behind a
# semicolon: where that separates cells, as in much of Europe, a comma-separated file is cut there.
_FORMULA = re.compile(r"""(^|;)(["'\s]*)(?=[=+@\-\t\r\n\uff0b\uff0d\uff1d\uff20])""")


def visible(text: str) -> str:
    r"""Return the text with every character that could deceive a reader as an escape such as `\x1b` or `\u202e`."""
    return _DECEPTIVE.sub(_escape, text)


def whole_text(text: str) -> str:
    r"""Return the text with escapes such as `\udcff` for lone surrogates, which many readers of JSON refuse."""
    return _SURROGATE.sub(_escape, text)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 picture", "2 pictures"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def cell(value: object) -> object:
    """Return a value for a CSV cell: text is made visible, and never starts a formula; numbers stay numbers.

    What could start one gets an apostrophe before it.
    """
    if not isinstance(value, str):
        return value
    # Judged before it is escaped: an escaped tab no longer looks like one.
    return visible(_FORMULA.sub(r"\1\2'", value))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
