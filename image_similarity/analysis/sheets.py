"""Contact sheets: for one picture, for some or for all its nearest ones, searched and drawn a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from image_similarity.errors import ImageUnreadable, UnknownImage, UsageError
from image_similarity.events import Listener, Progress, Started
from image_similarity.pictures import held
from image_similarity.pictures.names import on_disk, to_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import Contents, read_file
from image_similarity.records import exports, previews, reporting
from image_similarity.records.queries import LISTED
from image_similarity.reports import about as saying
from image_similarity.reports import contact_sheet, searches, target
from image_similarity.reports.about import About
from image_similarity.reports.sheet_layout import Form, Page, Sheet, lay_out
from image_similarity.reports.tiles import Tile
from image_similarity.search import Searcher, SearchRequest
from image_similarity.search.query import Query
from image_similarity.store import clock, gallery, selection
from image_similarity.store.catalog import Catalog
from image_similarity.values import Place, ReportWritten, SearchResult, Selection

# Queries answered in one pass over the vectors. Of each answer k records are held, of no picture its pixels.
_AT_ONCE = 32
_SUFFIXES = (".png", ".pdf")
# Of a hash so many digits are in the name of a page.
_DIGITS = 12

Stop = Callable[[], bool]


# A picture that gets a sheet: a file, or the id of a stored content.
_Wanted = Path | int


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A picture that is searched with: what it is called, and where its pixels may lie, in text form."""

    label: str
    paths: tuple[str, ...]
    query: Query


class _Stopped(Exception):
    """The user asked for an end while one file was written."""


def write(
    catalog: Catalog,
    path: Path,
    pictures: Sequence[Path],
    *,
    request: SearchRequest,
    form: Form,
    chosen: Selection | None,
    overwrite: bool,
    on_event: Listener,
    stop: Stop,
) -> ReportWritten:
    """Write contact sheets; see `Case.sheet`."""
    exports.refuse_inside(path, catalog.sources())
    kind = _kind(path)
    wanted: list[_Wanted] = list(pictures)
    if chosen is not None:
        complete = reporting.complete(catalog, chosen)
        with catalog.reading() as connection:
            wanted += selection.image_ids(connection, complete)
    if not wanted:
        raise UsageError(
            "no picture was chosen", hint="name a picture, a choice that some meet, or --all"
        )
    if kind == ".png" and len(wanted) > 1:
        raise UsageError(
            f"{path} holds one page, and {len(wanted)} pictures were chosen",
            hint="write OUT.pdf, or a folder: -o FOLDER",
        )
    _refuse_existing(path, kind, overwrite=overwrite)
    form = replace(form, paged=kind == ".pdf")
    work = _Work(catalog, path, request, form, chosen, on_event, stop)
    return work.folder(wanted, overwrite=overwrite) if not kind else work.file(wanted, kind)


class _Work:
    """One call: what all of its sheets have in common."""

    def __init__(
        self,
        catalog: Catalog,
        path: Path,
        request: SearchRequest,
        form: Form,
        chosen: Selection | None,
        on_event: Listener,
        stop: Stop,
    ) -> None:
        self._catalog, self._path, self._form = catalog, path, form
        self._on_event, self._stop = on_event, stop
        self._searcher = Searcher([catalog], request)
        self._places = selection.place_filter(chosen or Selection())
        asked = [] if chosen is None else _chosen_by(chosen)
        self._chosen = "pictures named" if chosen is None else "selection"
        if chosen == Selection():
            self._chosen = "whole case"
        self._about = About(
            what=self._chosen,
            asked=(("Sheets for", "; ".join(asked)),) if asked else (),
            extent="",
            coverages=(reporting.coverage(catalog),),
            written=clock.now(),
        )
        self._notes: list[str] = []

    def file(self, wanted: Sequence[_Wanted], kind: str) -> ReportWritten:
        """Write all sheets into one file, or nothing."""
        done: list[str] = []

        def pages() -> Iterator[tuple[Page, Image.Image]]:
            for sheet, each in self._sheets(wanted):
                for page in lay_out(sheet, self._form):
                    yield page, self._draw(sheet, each, page)
                done.append(sheet.search.sha256)
                if self._stop() and sheet.number < sheet.of:
                    raise _Stopped
            self._refuse_none(done)

        try:
            if kind == ".pdf":
                contact_sheet.write_pdf(self._path, pages())
            else:
                for page, image in pages():
                    contact_sheet.write_png(self._path, page, image)
        except _Stopped:
            note = f"stopped; {self._path} was not written"
            return ReportWritten((), 0, len(wanted), (*self._said(), note))
        self._record(self._path, done)
        return ReportWritten((str(self._path),), len(done), len(wanted), self._said())

    def folder(self, wanted: Sequence[_Wanted], *, overwrite: bool) -> ReportWritten:
        """Write each sheet as a PNG of its own; what is finished stays, whatever comes."""
        self._path.mkdir(mode=0o700, exist_ok=True)
        digits, paths = max(4, len(str(len(wanted)))), list[str]()
        for sheet, each in self._sheets(wanted):
            name = f"{sheet.number:0{digits}d}-{sheet.search.sha256[:_DIGITS]}.png"
            path = self._path / name
            target.refuse_existing(path, mark=contact_sheet.MARK, overwrite=overwrite)
            (page,) = lay_out(sheet, self._form)
            contact_sheet.write_png(path, page, self._draw(sheet, each, page))
            self._record(path, [sheet.search.sha256])
            paths.append(str(path))
            if self._stop() and sheet.number < sheet.of:
                self._notes.append(
                    f"stopped after {len(paths)} of {len(wanted)}; these are whole, --force begins again"
                )
                break
        self._refuse_none(paths)
        return ReportWritten(tuple(paths), len(paths), len(wanted), self._said())

    def _sheets(self, wanted: Sequence[_Wanted]) -> Iterator[tuple[Sheet, _Asked]]:
        """The sheets in order, some searched at once; a stored picture without a vector is noted and left out."""
        self._on_event(Started(to_text(str(self._path)), "", len(wanted), "pictures"))
        lacking = 0
        for start in range(0, len(wanted), _AT_ONCE):
            portion = wanted[start : start + _AT_ONCE]
            asked = self._asked(portion)
            queries = [each.query for each in asked if each is not None]
            answers = iter(self._searcher.answer_queries(queries) if queries else ())
            for number, each in enumerate(asked, start=start + 1):
                if each is None:
                    lacking += 1
                else:
                    yield self._sheet(next(answers), each, number, len(wanted)), each
                self._on_event(Progress(number, len(wanted), 0, lacking))
        if lacking:
            self._notes.append(
                f"{lacking} of {len(wanted)} pictures have no page: no vector of {self._searcher.model.info.name} is "
                "stored of them, or no scenes"
            )

    def _asked(self, portion: Sequence[_Wanted]) -> list[_Asked | None]:
        ids = [each for each in portion if isinstance(each, int)]
        with self._catalog.reading() as connection:
            hashes = dict(zip(sorted(ids), gallery.hashes_of(connection, ids), strict=True))
            places = gallery.places_of(connection, ids, self._places)
        return [
            self._stored(hashes[each], places.get(each, ()))
            if isinstance(each, int)
            else self._file(each)
            for each in portion
        ]

    def _stored(self, sha256: str, places: Sequence[Place]) -> _Asked | None:
        # A run that goes on meanwhile may find that a picture is gone.
        label = f"{places[0].source}:{places[0].path}" if places else sha256
        with suppress(UnknownImage):
            query = self._searcher.query_of_stored(sha256)
            # The place that the sheet is of is no hit of itself; other copies are.
            own_path = on_disk(places[0]) if places else None
            query = replace(query, label=label, own_path=own_path)
            return _Asked(label, tuple(held.paths_of(places)), query)
        return None

    def _file(self, path: Path) -> _Asked:
        try:
            contents = read_file(str(path))
            if not isinstance(contents, Contents):
                raise ImageUnreadable(f"{path} is no picture ({contents.kind.rule})")
            query = self._searcher.query_of(path, contents)
        except PictureError as error:
            raise ImageUnreadable(
                f"cannot read {path}: {error.message}", hint="the query must be a picture"
            ) from error
        text = to_text(str(path))
        return _Asked(text, (text,), query)

    def _sheet(self, answer: SearchResult, asked: _Asked, number: int, of: int) -> Sheet:
        search = searches.from_result(answer, on_disk)
        return Sheet(search, self._about, asked.label, answer.stored, number, of)

    def _draw(self, sheet: Sheet, asked: _Asked, page: Page) -> Image.Image:
        side = self._form.tile

        def tile_of(picture: int) -> Tile:
            if not picture:
                sha256, paths = sheet.search.sha256, asked.paths
            else:
                row = sheet.search.rows[picture - 1]
                sha256, paths = row["sha256"], (to_text(row["path"]),)
            return previews.tile([self._catalog], sha256, paths, side=side)

        return contact_sheet.draw(page, self._form, tile_of)

    def _record(self, path: Path, queries: Sequence[str]) -> None:
        request = self._searcher.request
        said = exports.record(
            self._catalog,
            "sheet",
            path,
            form=path.suffix[1:],
            what=self._chosen,
            pictures=len(queries),
            queries=list(queries[:LISTED]),
            look=self._form.look,
            model=self._searcher.model.info.fingerprint,
            k=request.k,
            scene=list(request.scene),
        )
        if said and said not in self._notes:
            self._notes.append(said)

    def _refuse_none(self, done: Sequence[str]) -> None:
        if not done:
            raise UnknownImage(
                f"none of the pictures chosen has a vector of {self._searcher.model.info.name} and scenes",
                hint="choose another model with -m, or --scene off",
            )

    def _said(self) -> tuple[str, ...]:
        return tuple(self._notes)


def _chosen_by(chosen: Selection) -> list[str]:
    """What was chosen, in words; gone places are in no selection of sheets, so nothing need be said of them."""
    pairs = saying.selection_pairs(chosen)
    return [f"{name} {value}" for name, value in pairs if not name.startswith("Places")]


def _kind(path: Path) -> str:
    """The suffix of a file to write, or nothing for a folder."""
    if path.is_dir():
        return ""
    suffix = path.suffix.lower()
    if suffix and suffix not in _SUFFIXES:
        raise UsageError(
            f"{path} is neither a PNG nor a PDF",
            hint="name it OUT.png or OUT.pdf; a folder whose name has a dot must be there already",
        )
    return suffix


def _refuse_existing(path: Path, kind: str, *, overwrite: bool) -> None:
    if not kind and path.exists() and not path.is_dir():
        raise UsageError(
            f"{path} is a file; a name that ends neither in .png nor in .pdf is a folder",
            hint="name it OUT.png or OUT.pdf, or name a folder",
        )
    if kind or not path.exists():
        target.refuse_existing(path, mark=contact_sheet.MARK, overwrite=overwrite)
    elif not overwrite and any(path.iterdir()):
        raise UsageError(
            f"the folder {path} is not empty",
            hint="Choose another; --force replaces earlier pages of the same name in it.",
        )
