"""Neighbours of everything as files: HDF5, an inverted index in JSON, or CSV with a row a pair.

Pictures are numbered from 0 in the order in which they stand in the file; a number of -1 is no picture.
"""

from __future__ import annotations

import csv
import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import numpy.typing as npt

from image_similarity.errors import ExtraMissing, UsageError
from image_similarity.reports import rows, target
from image_similarity.whole_file import writing

Form = Literal["hdf5", "json", "csv"]
Rows = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]

KIND = "neighbours"
FORMS: Mapping[str, Form] = {".h5": "hdf5", ".hdf5": "hdf5", ".json": "json", ".csv": "csv"}
COLUMNS = (
    "rank", "path", "id", "sha256", "neighbour_path", "neighbour_id", "neighbour_sha256", "distance",
)  # fmt: skip
# By these a file is known as one of ours.
_JSON_MARK = '{"program": "image_similarity", "kind": "neighbours"'
_ABOUT_MARK = _JSON_MARK
# Neighbours that are written at once: 16 bytes each.
AT_ONCE = 2**22


@dataclass(frozen=True, slots=True)
class Table:
    """What is written: `head` says what it is of; ids, paths and SHA-256 of N pictures, and the neighbours of some.

    `ids` are foreign identifiers, None where none were given. `missing` are the listed pictures that are not in it.
    """

    head: Mapping[str, Any]
    k: int
    ids: Sequence[str] | None
    paths: Sequence[str]
    sha256: Sequence[str]
    missing: Sequence[str]
    rows: Callable[[int, int], Rows]

    def __len__(self) -> int:
        return len(self.sha256)

    @property
    def names(self) -> Sequence[str]:
        """The identifier of each picture: the foreign one, else its SHA-256."""
        return self.sha256 if self.ids is None else self.ids


def form_of(path: Path) -> Form:
    """Give the form of a file by the end of its name.

    Raises:
        UsageError: It has another.
    """
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise UsageError(
            f"{path} does not say its form", hint="give a name that ends in .h5, .json or .csv"
        )
    return form


def files_of(path: Path) -> tuple[Path, ...]:
    """Give the files that are written: CSV, which holds rows alone, has what they are of in a file beside it."""
    beside = path.with_name(path.name + ".about.json")
    return (path, beside) if form_of(path) == "csv" else (path,)


def load_h5py() -> Any:
    """Give the library.

    Raises:
        ExtraMissing: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ExtraMissing(
            "HDF5 needs the package h5py, which is not installed",
            hint='pip install "image_similarity[analysis]"; or write .json or .csv',
        ) from error
    return h5py


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, or that would take another's place, before anything is computed.

    Raises:
        UsageError: Its name says no form, its folder is not there, or it exists and is not to be replaced, or is none
            of ours.
        ExtraMissing: Its form needs a package that is not installed.
    """
    form = form_of(path)
    if form == "hdf5":
        load_h5py()
        if path.exists() and overwrite and not _is_our_hdf5(path):
            raise UsageError(f"{path} was not written by this command, and is not replaced")
        # Without a mark of text: whether it is ours was seen above.
        target.refuse_existing(path, mark="", overwrite=overwrite)
        return
    marks = (_JSON_MARK,) if form == "json" else (",".join(COLUMNS), _ABOUT_MARK)
    for file, mark in zip(files_of(path), marks, strict=True):
        target.refuse_existing(file, mark=mark, overwrite=overwrite)


def _is_our_hdf5(path: Path) -> bool:
    try:
        with load_h5py().File(path, "r") as file:
            return bool(file.attrs.get("kind") == KIND)
    except OSError:
        return False


def write(path: Path, table: Table, on_written: Callable[[int], object]) -> None:
    """Write a table in the form that the name says, whole or not at all; tells how many pictures are written.

    Raises:
        OSError, ExtraMissing, UsageError.
    """
    form = form_of(path)
    if form == "hdf5":
        _write_hdf5(path, table, on_written)
    elif form == "json":
        with target.writing(path) as stream:
            _write_json(stream, table, on_written)
    else:
        first, beside = files_of(path)
        # Within, so that the rows do not stand there without what they are of.
        with target.writing(first, encoding="utf-8-sig") as stream:
            _write_csv(stream, table, on_written)
            with target.writing(beside) as about:
                about.write(rows.json_text({**_head(table), "missing": table.missing}) + "\n")


def _head(table: Table) -> dict[str, Any]:
    return {"program": "image_similarity", "kind": KIND, **table.head}


def portions(table: Table) -> Iterator[tuple[int, int]]:
    """Give the pictures, from one to another, that are written at once: fewer where each has many neighbours."""
    step = max(1, AT_ONCE // table.k)
    for start in range(0, len(table), step):
        yield start, min(len(table), start + step)


def _write_hdf5(path: Path, table: Table, on_written: Callable[[int], object]) -> None:
    h5py = load_h5py()
    text, size = h5py.string_dtype("utf-8"), len(table)
    # HDF5 opens the file by its name once more; `writing` gives it its place, whole.
    with writing(path) as partial:
        # As the other forms: it shows what its reader's colleagues need not see.
        os.fchmod(partial.fileno(), 0o600)
        try:
            with h5py.File(partial.name, "w") as file:
                for name, value in _head(table).items():
                    scalar = isinstance(value, str | int | float)
                    file.attrs[name] = value if scalar else rows.json_text(value)
                numbers = file.create_dataset("neighbours", (size, table.k), np.int64)
                distances = file.create_dataset("distances", (size, table.k), np.float32)
                texts = {"ids": table.names, "paths": table.paths, "sha256": table.sha256}
                made = {name: file.create_dataset(name, (size,), text) for name in texts}
                file.create_dataset("missing", data=list(table.missing), dtype=text)
                for start, stop in portions(table):
                    numbers[start:stop], distances[start:stop] = table.rows(start, stop)
                    for name, values in texts.items():
                        made[name][start:stop] = list(values[start:stop])
                    on_written(stop)
        except (OSError, RuntimeError) as error:
            raise _told(error) from error


def _told(error: Exception) -> OSError:
    """An error of HDF5, which puts the system's number into its text, as one of the system."""
    number = re.search(r"errno = (\d+)", str(error))
    code = int(number.group(1)) if number else errno.EIO
    message = re.search(r"error message = '([^']*)'", str(error))
    return OSError(code, message.group(1) if message else str(error).splitlines()[0])


def _write_json(stream: TextIO, table: Table, on_written: Callable[[int], object]) -> None:
    """Write the inverted index, one picture a line: its neighbours, and the pictures of whose neighbours it is one."""
    head = rows.json_text({**_head(table), "missing": table.missing})
    stream.write(f'{head[:-1]}, "pictures": [')
    cited_by = _inverted(table)
    for start, stop in portions(table):
        numbers, distances = table.rows(start, stop)
        for number, near, far in zip(
            range(start, stop), numbers.tolist(), distances.tolist(), strict=True
        ):
            picture = {
                "number": number,
                "id": table.names[number],
                "path": table.paths[number],
                "sha256": table.sha256[number],
                "neighbours": [
                    {"number": other, "distance": distance}
                    for other, distance in zip(near, far, strict=True)
                    if other >= 0
                ],
                "cited_by": cited_by(number),
            }
            stream.write(("," if number else "") + "\n" + rows.json_text(picture))
        on_written(stop)
    stream.write("\n]}\n")


def _inverted(table: Table) -> Callable[[int], list[int]]:
    """A function that gives the pictures, ascending, that have a picture among their neighbours."""
    cited = np.concatenate(
        [table.rows(*portion)[0] for portion in portions(table)], dtype=np.int64
    ).ravel()
    order = np.argsort(cited, kind="stable")
    ends = np.searchsorted(cited[order], np.arange(len(table) + 1))
    citing = order // table.k

    def cited_by(number: int) -> list[int]:
        found: list[int] = citing[ends[number] : ends[number + 1]].tolist()
        return found

    return cited_by


def _write_csv(stream: TextIO, table: Table, on_written: Callable[[int], object]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for start, stop in portions(table):
        numbers, distances = table.rows(start, stop)
        for number, near, far in zip(
            range(start, stop), numbers.tolist(), distances.tolist(), strict=True
        ):
            own = _cells(table, number)
            for rank, (other, distance) in enumerate(zip(near, far, strict=True), start=1):
                if other >= 0:
                    values = (rank, *own, *_cells(table, other), distance)
                    writer.writerow([rows.csv_value(value) for value in values])
        on_written(stop)


def _cells(table: Table, number: int) -> tuple[str, str | None, str]:
    foreign = None if table.ids is None else table.ids[number]
    return table.paths[number], foreign, table.sha256[number]
