"""Reports of a search, of a selection or of the whole case: gathered in portions, written, and recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from image_similarity.errors import InvalidSetting, UnknownImage, UnknownScene, UnknownSource
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.pictures import held
from image_similarity.pictures.names import on_disk
from image_similarity.records import exports, previews
from image_similarity.reports import about as saying
from image_similarity.reports import case_uco, html, searches, tables, target, vics
from image_similarity.reports.about import About
from image_similarity.reports.rows import Row
from image_similarity.reports.searches import Entry, Search
from image_similarity.store import clock, gallery, selection
from image_similarity.store.catalog import Catalog
from image_similarity.values import (
    Coverage,
    Hit,
    ImageRecord,
    NearHit,
    ReportWritten,
    SearchResult,
    Selection,
)

Form = Literal["html", "csv", "jsonl", "vics", "case-uco"]

_MARKS = {
    "html": html.MARK,
    "csv": tables.CSV_MARK,
    "jsonl": tables.JSONL_MARK,
    "vics": vics.MARK,
    "case-uco": case_uco.MARK,
}
# A file of hits could have been edited since the query wrote it, and a case has grown since.
_AS_GIVEN = ("Hits", "as they were given; the pictures were not ranked again")
# Pictures read at once: some MB, and a transaction that no writer waits for.
_PORTION = 500


def write_report(
    catalog: Catalog,
    form: Form,
    path: Path,
    *,
    chosen: Selection,
    hits: Sequence[Row] = (),
    limit: int | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> ReportWritten:
    """Write a report; see `Case.report`."""
    exports.refuse_inside(path, catalog.sources())
    files = [path, *([path.with_name(path.name + ".about.json")] if form == "csv" else [])]
    for file, mark in zip(files, (_MARKS[form], tables.ABOUT_MARK), strict=False):
        target.refuse_existing(file, mark=mark, overwrite=overwrite)
    if limit is not None and limit < 1:
        raise InvalidSetting(f"a limit of {limit} pictures", hint="give 1 or more")
    covered = coverage(catalog)
    found = searches.from_rows(hits[:limit])
    by_content = form in ("vics", "case-uco")
    if hits:
        wanted = _of_hits(catalog, hits[:limit], by_content=by_content)
        total = len(hits) if not by_content else len(wanted)
        filter_ = gallery.PlaceFilter(include_gone=True)
    else:
        whole = complete(catalog, chosen)
        with catalog.reading() as connection:
            ids = selection.image_ids(connection, whole)
        wanted, total = [(each, ()) for each in ids[:limit]], len(ids)
        filter_ = selection.place_filter(whole)
    about = _about(covered, chosen, found, len(wanted), total, hits=bool(hits))
    entries = _entries(catalog, wanted, filter_, on_event, str(path))
    with target.writing(path, encoding="utf-8-sig" if form == "csv" else "utf-8") as stream:
        if form == "html":
            html.write(stream, entries, about, found, preview=_preview([catalog]))
        elif form == "csv":
            tables.write_csv(stream, entries, found)
            # Within, so that the rows do not stand there without what they are of.
            with target.writing(files[1]) as beside:
                tables.write_about(beside, about)
        elif form == "jsonl":
            tables.write_jsonl(stream, entries, about)
        elif form == "vics":
            vics.write(stream, entries, about, len(wanted))
        else:
            case_uco.write(stream, entries, about, found)
    said = [
        exports.record(catalog, "report", file, form=form, what=about.what, pictures=len(wanted))
        for file in files
    ]
    notes = dict.fromkeys(note for note in said if note)
    return ReportWritten(tuple(map(str, files)), len(wanted), total, tuple(notes))


def write_sheet(
    catalogs: Sequence[Catalog],
    results: Sequence[SearchResult],
    path: Path,
    *,
    settings: Mapping[str, str],
    overwrite: bool = False,
) -> ReportWritten:
    """Write results as one HTML report; see `case.write_sheet`."""
    for catalog in catalogs:
        exports.refuse_inside(path, catalog.sources())
    target.refuse_existing(path, mark=html.MARK, overwrite=overwrite)
    found = [searches.from_result(result, on_disk) for result in results]
    several = len(catalogs) > 1
    hits = sum(len(_shown(result)) for result in results)
    about = About(
        what="search",
        asked=tuple(settings.items()),
        extent=f"{hits} hits; queries: {len(results)}",
        coverages=tuple(map(coverage, catalogs)),
        written=clock.now(),
        strength=tuple(dict.fromkeys(line for search in found for line in search.strength)),
    )
    entries = (
        Entry(_shown_first(hit), (row,), hit.database if several else "")
        for result, search in zip(results, found, strict=True)
        for hit, row in zip(_shown(result), search.rows, strict=True)
    )
    with target.writing(path) as stream:
        html.write(stream, entries, about, found, preview=_preview(catalogs))
    said = [
        exports.record(catalog, "report", path, form="html", what="search", pictures=hits)
        for catalog in catalogs
    ]
    return ReportWritten((str(path),), hits, hits, tuple(note for note in said if note))


def _shown(result: SearchResult) -> tuple[Hit | NearHit, ...]:
    """The hits of a result, then its near duplicates."""
    return (*result.hits, *(result.near.hits if result.near else ()))


def _shown_first(hit: Hit | NearHit) -> ImageRecord:
    """The picture of a hit, the place that was ranked being the first of its places."""
    others = [place for place in hit.image.places if place != hit.place]
    return replace(hit.image, places=(hit.place, *others))


def coverage(catalog: Catalog) -> Coverage:
    """What a database covers of the evidence, and what not."""
    status = catalog.status()
    with catalog.reading() as connection:
        return selection.coverage(connection, status)


def complete(catalog: Catalog, chosen: Selection) -> Selection:
    """The selection with whole hashes, each of its names being one that the database knows.

    A tag may be unknown: that none of the pictures has it is an answer. A source or scene that is not known would
    give an empty report for a slip of the hand.

    Raises:
        UnknownSource, UnknownScene, UnknownImage.
    """
    known = {source.name for source in catalog.sources()}
    for name in chosen.sources:
        if name not in known:
            raise UnknownSource(
                f"{catalog.path} has no source {name!r}", hint=f"it has: {', '.join(sorted(known))}"
            )
    with catalog.reading() as connection:
        scenes = selection.scene_names(connection) if chosen.scenes else set()
        whole = gallery.ids_of(connection, [each for each in chosen.sha256s if len(each) == 64])
    for name in chosen.scenes:
        if name not in scenes:
            raise UnknownScene(f"{catalog.path} knows no scene {name!r}")
    return replace(
        chosen,
        # One look-up for each would take minutes of ten thousand.
        sha256s=tuple(
            each if each in whole else catalog.image(each).sha256 for each in chosen.sha256s
        ),
    )


def _of_hits(
    catalog: Catalog, hits: Sequence[Row], *, by_content: bool
) -> list[tuple[int, tuple[Row, ...]]]:
    """The ids of the contents that were hit, with their rows: one row each, or all of a content together."""
    with catalog.reading() as connection:
        ids = gallery.ids_of(connection, {row["sha256"] for row in hits})
    missing = {row["sha256"] for row in hits if row["sha256"] not in ids}
    if missing:
        raise UnknownImage(
            f"{catalog.path} does not hold {len(missing)} of the pictures that were hit, such as {min(missing)}",
            hint="give the hits of this database alone",
        )
    if not by_content:
        return [(ids[row["sha256"]], (row,)) for row in hits]
    together: dict[int, list[Row]] = {}
    for row in hits:
        together.setdefault(ids[row["sha256"]], []).append(row)
    return [(id_, tuple(rows)) for id_, rows in together.items()]


def _about(
    covered: Coverage,
    chosen: Selection,
    found: Sequence[Search],
    held: int,
    total: int,
    *,
    hits: bool,
) -> About:
    what = "search" if hits else "whole case" if chosen == Selection() else "selection"
    left_out = f"; {total - held} more are left out of this report" if total > held else ""
    strength = dict.fromkeys(line for search in found for line in search.strength)
    asked = tuple(
        (
            "" if number else "Query",
            f"{search.query}: " + "; ".join(f"{name} {value}" for name, value in search.pairs),
        )
        for number, search in enumerate(found)
    )
    return About(
        what=what,
        asked=(_AS_GIVEN, *asked) if hits else saying.selection_pairs(chosen),
        extent=f"{held} {'hit' if hits else 'picture'}{'' if held == 1 else 's'}{left_out}",
        coverages=(covered,),
        written=clock.now(),
        strength=tuple(strength),
    )


def _entries(
    catalog: Catalog,
    wanted: Sequence[tuple[int, tuple[Row, ...]]],
    filter_: gallery.PlaceFilter,
    on_event: Listener,
    name: str,
) -> Iterator[Entry]:
    """The pictures in order, read some at a time: a transaction held throughout would keep writers waiting."""
    on_event(Started(name, "", len(wanted), "pictures"))
    for start in range(0, len(wanted), _PORTION):
        portion = wanted[start : start + _PORTION]
        with catalog.reading() as connection:
            records = gallery.records(connection, {id_ for id_, _ in portion}, places=filter_)
        for number, (id_, rows) in enumerate(portion, start=start + 1):
            yield Entry(records[id_], rows)
            on_event(Progress(number, len(wanted), 0, 0))


def _preview(catalogs: Sequence[Catalog]) -> html.Preview:
    """What gives the small pictures: the file, else the thumbnail that one of the databases may hold."""

    def preview(shown: Search | ImageRecord) -> bytes | None:
        paths = [shown.query] if isinstance(shown, Search) else held.paths_of(shown.places)
        found = previews.preview(shown.sha256, paths, side=html.PREVIEW_SIDE)
        return found or previews.stored(catalogs, shown.sha256)

    return preview
