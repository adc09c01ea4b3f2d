"""What stdout gets: tables that a file name cannot disturb, and JSON, one object a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from image_similarity.reports.rows import json_text
from image_similarity.reports.text import count as count
from image_similarity.reports.text import visible


def emit(value: object) -> None:
    """Write a record as one line of JSON."""
    click.echo(json_text(value))


def line(text: str = "", *, bold: bool = False) -> None:
    """Write one line of text, made visible."""
    click.echo(click.style(visible(text), bold=True) if bold else visible(text))


def note(text: str) -> None:
    """Say something beside the data, on stderr."""
    click.echo(visible(text), err=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows under their headings; numbers stand right, the last column is as long as it needs to be."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    # A column of numbers is one that holds nothing else.
    right = [
        bool(rows) and all(isinstance(row[place], int | float | None) for row in rows)
        for place in range(len(columns))
    ]
    for number, row in enumerate([list(columns), *cells]):
        padded = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ]
        text = "  ".join(padded).rstrip()
        click.echo(text if number else click.style(text, bold=True))


def pairs(values: Sequence[tuple[str, object]], *, indent: int = 0) -> None:
    """Write names and values, one pair a line, the values under each other."""
    width = max((len(name) for name, _ in values), default=0)
    for name, value in values:
        line(f"{'':{indent}}{name:{width}}  {_text(value)}".rstrip())


def size(number: int) -> str:
    """Return a number of bytes in the unit that reads best."""
    value = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return json_text(value)
    return visible(f"{value:.4f}" if isinstance(value, float) else str(value))
