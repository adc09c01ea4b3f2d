"""`show`: everything that a database knows of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.errors import UnknownImage
from image_similarity.pictures.names import on_disk
from image_similarity.reports import taken_out
from image_similarity.values import Failure, ImageRecord, Location, Place


@click.command(context_settings=options.CONTEXT)
@click.argument("path", metavar="[PATH]", required=False)
@click.option("--sha256", metavar="HEX", help="A picture by its hash; 6 or more digits.")
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def show(talk: Talk, /, path: str | None, sha256: str | None, database: Location, form: str) -> int:
    """Show what is known of a picture.

    PATH is a path on disk, or one as hits print it. A path that held several pictures over time gives them all.
    """
    if (path is None) == (sha256 is None):
        raise click.UsageError("Give either PATH or --sha256.")
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = _look_up(case, path, sha256)
    for number, record in enumerate(found):
        if form == "json":
            output.emit(record)
            continue
        if number:
            output.line()
        if isinstance(record, Failure):
            output.line(f"not taken: {progress.failure_line(record)}")
        else:
            _print(record)
    return 0


def _look_up(case: Case, path: str | None, sha256: str | None) -> list[ImageRecord | Failure]:
    if sha256 is not None:
        return [case.image(sha256)]
    # Hits are printed as source:path; a path on disk may hold a colon, too.
    roots = {source.name: source.root for source in case.sources()}
    name, colon, rest = str(path).partition(":")
    wanted, source = (rest, name) if colon and name in roots else (str(path), None)
    try:
        return [
            each
            for each in case.images_at(wanted)
            if source is None or _is_at(each, source, wanted)
        ]
    except UnknownImage:
        found = [each for each in case.failures() if _failed_at(each, roots, source, wanted)]
        if not found:
            raise
        return [*found]


def _is_at(image: ImageRecord, source: str, path: str) -> bool:
    return any(place.source == source and place.path == path for place in image.places)


def _failed_at(failure: Failure, roots: Mapping[str, str], source: str | None, wanted: str) -> bool:
    if source is not None:
        return (failure.source, failure.path) == (source, wanted)
    place = Place(failure.source, roots[failure.source], failure.path, "")
    return failure.path == wanted or on_disk(place) == str(Path(wanted).absolute())


def _print(image: ImageRecord) -> None:
    output.line(image.sha256, bold=True)
    output.pairs(
        [
            ("SHA-1", image.sha1),
            ("MD5", image.md5),
            ("size", f"{image.size} bytes"),
            ("picture", f"{image.width} x {image.height}, {image.format} ({image.mime})"),
            ("decoded", "only in part" if image.partial else "in full"),
            *((f"EXIF {name}", value) for name, value in sorted(image.exif.items())),
            *(("scene", f"{each.name} ({each.probability:.2f})") for each in image.scenes),
            *taken_out.details(image),
        ],
        indent=2,
    )
    output.line("  places:")
    for place in image.places:
        gone = f", gone since {place.gone_since}" if place.gone_since else ""
        output.line(f"    {place.source}:{place.path}")
        output.line(f"      below {place.root}, first seen {place.first_seen}{gone}")
