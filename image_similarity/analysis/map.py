"""A map of many pictures: positions by t-SNE, drawn as one picture or as a page to move about in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.analysis import sklearn_import, tsne
from image_similarity.errors import InvalidSetting, UnknownSource, UsageError
from image_similarity.events import Listener, Notice, Progress, Started
from image_similarity.pictures import held
from image_similarity.records import exports, previews, reporting
from image_similarity.reports import map_grid, map_layout, map_page, map_picture, target
from image_similarity.reports.about import About
from image_similarity.reports.map_layout import Layout, MapPoint, Position
from image_similarity.reports.text import count
from image_similarity.reports.tiles import Look, Tile
from image_similarity.search import choice
from image_similarity.store import catalog as stored
from image_similarity.store import clock, gallery, models, packs
from image_similarity.store.catalog import Catalog
from image_similarity.store.gallery import PlaceFilter

SEED = 1
# Smaller ones show nothing.
LEAST_TILE = 12
# Below this the positions are there before one has read that it takes time.
_SOON = 2000
_HOW_TO_READ = (
    "Pictures that lie together are similar to the model. How far apart groups lie, and how large they are, "
    "says nothing."
)


@dataclass(frozen=True, slots=True)
class MapRequest:
    """What to map and how: a model's name, and what t-SNE is given, None standing for what is usual or laid down.

    `layout` is a file of positions: read if it is there, else written. `tile` is the longest side of thumbnails in
    pixels, None the largest that fits up to what is usual. `filter` says which places count.
    """

    path: Path
    model: str | None = None
    perplexity: float | None = None
    seed: int | None = None
    tile: int | None = None
    layout: Path | None = None
    filter: PlaceFilter = field(default_factory=PlaceFilter)
    reveal: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class MapWritten:
    """What came of a map: the files, and how many pictures it shows.

    Of the `pictures` `mapped` have their position from t-SNE, the others from their nearest neighbours; `unseen` could
    not be shown, as their files are gone or changed. `missing` are pictures of the database that the layout does not
    know, `left` those of the layout that are not shown. `perplexity` is the one that was asked for, `fitted` the one
    that so many pictures allow. `notes` are sentences to be told, such as that the audit chain could not be written.
    """

    path: str
    layout: str | None
    computed: bool
    model: str
    fingerprint: str
    pictures: int
    mapped: int
    unseen: int
    missing: int
    left: int
    perplexity: float
    fitted: float
    seed: int
    columns: int
    rows: int
    tile: int
    size_bytes: int
    notes: tuple[str, ...] = ()


def draw(catalog: Catalog, request: MapRequest, *, on_event: Listener) -> MapWritten:
    """Lay out the pictures of a database and draw them; see `Case.map`."""
    page = _is_page(request.path)
    _check_targets(catalog, request, page=page)
    _check_sources(catalog, request.filter.sources)
    layout = None if request.layout is None else _laid_down(request)
    computed = layout is None
    if layout is None:
        layout = compute(catalog, request, on_event)
    points, missing = points_of(catalog, layout, request.filter)
    notes = []
    if computed and request.layout is not None:
        # At once: what took minutes is kept also if drawing is stopped.
        with target.writing(request.layout) as stream:
            map_layout.write(stream, layout, points)
        notes.append(_record(catalog, "layout", request.layout, layout, points))
    if not points:
        raise UsageError(
            f"{request.layout} and {catalog.path} have no picture in common in this selection",
            hint="choose the database that the layout was made of",
        )
    room = map_page.largest_tile if page else map_picture.largest_tile
    tile = _tile(request.tile, room(len(points)), map_page.TILE if page else map_picture.TILE)
    drawing = _Drawing(catalog, request, layout, points, tile, on_event)
    grid, unseen = drawing.page() if page else drawing.picture()
    notes.append(_record(catalog, "map", request.path, layout, points))
    mapped = sum(point.position.mapped for point in points)
    return MapWritten(
        path=str(request.path),
        layout=None if request.layout is None else str(request.layout),
        computed=computed,
        model=layout.model,
        fingerprint=layout.fingerprint,
        pictures=len(points),
        mapped=mapped,
        unseen=unseen,
        missing=missing,
        left=len(layout.positions) - len(points),
        perplexity=layout.perplexity,
        fitted=_fitted(layout),
        seed=layout.seed,
        columns=grid.columns,
        rows=grid.rows,
        tile=tile,
        size_bytes=request.path.stat().st_size,
        notes=tuple(dict.fromkeys(note for note in notes if note)),
    )


def _is_page(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in (".png", ".html", ".htm"):
        raise UsageError(
            f"{path} names neither a picture nor a page", hint="give FILE.png or FILE.html"
        )
    return suffix != ".png"


def _check_targets(catalog: Catalog, request: MapRequest, *, page: bool) -> None:
    for path in filter(None, (request.path, request.layout)):
        exports.refuse_inside(path, catalog.sources())
    mark = map_page.MARK if page else map_picture.MARK
    target.refuse_existing(request.path, mark=mark, overwrite=request.overwrite)
    if request.layout is None:
        return
    if request.layout.resolve() == request.path.resolve():
        raise UsageError("the map and its layout are one file; the second would replace the first")
    if not request.layout.exists():
        target.refuse_existing(request.layout, mark="", overwrite=False)


def _check_sources(catalog: Catalog, names: Sequence[str]) -> None:
    with catalog.reading() as connection:
        for name in names:
            if stored.find_source(connection, name) is None:
                raise UnknownSource(
                    f"{catalog.path} has no source {name!r}",
                    hint="see: image-similarity db status",
                )


def _laid_down(request: MapRequest) -> Layout | None:
    """The layout that is there already; None if it is to be made.

    Raises:
        UsageError: It is none, or of another computation than is asked for.
    """
    path = request.layout
    if path is None or not path.exists():
        return None
    layout = map_layout.read(path)
    name, _, fingerprint = (request.model or "").partition("@")
    of_model = (
        name in ("", layout.model) or (len(name) >= 6 and layout.fingerprint.startswith(name))
    ) and layout.fingerprint.startswith(fingerprint)
    asked = (
        (of_model, f"the model {layout.model} ({layout.fingerprint[:12]})"),
        (request.perplexity in (None, layout.perplexity), f"perplexity {layout.perplexity:g}"),
        (request.seed in (None, layout.seed), f"seed {layout.seed}"),
    )
    for same, said in asked:
        if not same:
            raise UsageError(
                f"{path} was computed with {said}, another is asked for",
                hint="leave it out to draw this layout, or name another file to compute anew",
            )
    return layout


def compute(catalog: Catalog, request: MapRequest, on_event: Listener) -> Layout:
    """Give a position to every picture that a request asks for; see `tsne.positions`.

    Raises:
        UsageError: There are fewer than 3 pictures.
        ExtraMissing, InvalidSetting, AmbiguousModel, UnknownModel, DatabaseDamaged.
    """
    sklearn_import.require("a map")
    perplexity = tsne.PERPLEXITY if request.perplexity is None else request.perplexity
    seed = SEED if request.seed is None else request.seed
    tsne.check_perplexity(perplexity)
    with catalog.reading() as connection:
        chosen = choice.choose([catalog], [connection], request.model)
        model_id, dim = chosen.ids[0], chosen.info.dim
        assert model_id is not None and dim is not None  # noqa: S101 - `choose` saw to both
        ids = gallery.embedded_ids(connection, model_id, request.filter)
        hashes = gallery.hashes_of(connection, ids.tolist())
    if len(ids) < tsne.FEWEST:
        raise UsageError(
            f"{count(len(ids), 'picture')} with a vector of {chosen.info.name}: too few for a map",
            hint=f"it takes {tsne.FEWEST} or more; see -m, --source and --under",
        )
    if len(ids) >= _SOON:
        on_event(Notice(_patience(len(ids), kept=request.layout is not None)))

    def read(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        with catalog.reading() as connection:
            return packs.vectors_at(connection, model_id, dim, ids[rows])

    found = tsne.positions(len(ids), read, perplexity=perplexity, seed=seed, on_event=on_event)
    positions = {
        sha256: Position(x, y, mapped)
        for sha256, (x, y), mapped in zip(
            hashes, found.xy.tolist(), found.mapped.tolist(), strict=True
        )
    }
    return Layout(chosen.info.name, chosen.info.fingerprint, perplexity, seed, positions)


def _patience(pictures: int, *, kept: bool) -> str:
    sample = (
        f"{tsne.MOST_MAPPED} of them, drawn by the seed, are mapped; the others are placed by their nearest. "
        if pictures > tsne.MOST_MAPPED
        else ""
    )
    again = "" if kept else "; --layout FILE.csv keeps it, to be drawn again at once"
    return f"laying out {pictures} pictures. {sample}It takes minutes for thousands{again}"


def points_of(catalog: Catalog, layout: Layout, filter_: PlaceFilter) -> tuple[list[MapPoint], int]:
    """The pictures of a layout that have a place that counts, in its order, and how many it does not know."""
    with catalog.reading() as connection:
        ids = gallery.ids_of(connection, layout.positions.keys())
        places = gallery.places_of(connection, ids.values(), filter_)
        scene_model = choice.choose_scenes([connection])
        scene_id = None if scene_model is None else scene_model.ids[0]
        scenes: Mapping[int, Any] = (
            {} if scene_id is None else gallery.scenes_of(connection, ids.values(), scene_id)
        )
        model_id = next(
            (
                id_
                for id_, info in models.stored(connection).items()
                if info.fingerprint == layout.fingerprint
            ),
            None,
        )
        known = set(ids.values())
        every: list[int] = (
            [] if model_id is None else gallery.embedded_ids(connection, model_id, filter_).tolist()
        )
    points = []
    for sha256, position in layout.positions.items():
        id_ = ids.get(sha256)
        if id_ is not None and id_ in places:
            scene = scenes[id_][0].name if scenes.get(id_) else ""
            points.append(MapPoint(position, sha256, places[id_], scene))
    return points, sum(id_ not in known for id_ in every)


def _tile(asked: int | None, room: int, usual: int) -> int:
    """The longest side of thumbnails."""
    if room < LEAST_TILE:
        raise UsageError(
            "so many pictures do not fit on one map", hint="choose some: --source, --under"
        )
    if asked is None:
        return min(usual, room)
    if not LEAST_TILE <= asked <= room:
        raise InvalidSetting(
            f"thumbnails of {asked} pixels",
            hint=f"give {LEAST_TILE} to {room} for so many pictures",
        )
    return asked


def _look(request: MapRequest) -> Look:
    return "reveal" if request.reveal else "blur"


def _fitted(layout: Layout) -> float:
    mapped = sum(position.mapped for position in layout.positions.values())
    return tsne.fitting_perplexity(layout.perplexity, mapped)


def _record(
    catalog: Catalog, kind: str, path: Path, layout: Layout, points: Sequence[MapPoint]
) -> str | None:
    return exports.record(
        catalog, kind, path, model=layout.model, pictures=len(points), seed=layout.seed
    )


@dataclass(frozen=True, slots=True)
class _Drawing:
    """The drawing of points that are laid out: what is told beside them, and where thumbnails come from."""

    catalog: Catalog
    request: MapRequest
    layout: Layout
    points: Sequence[MapPoint]
    tile: int
    on_event: Listener

    def picture(self) -> tuple[map_grid.Grid, int]:
        """Write the PNG; gives its cells, and how many pictures could not be shown."""
        grid, look = self._grid(), _look(self.request)
        covered = (
            [] if look == "reveal" else ["Pictures are blurred and grey; --reveal shows them."]
        )
        told = ". ".join(f"{name}: {value}" for name, value in self._said())
        said = [told, _HOW_TO_READ, *covered]
        drawn = map_picture.write(
            self.request.path,
            self.points,
            grid,
            self._tiles(),
            tile=self.tile,
            look=look,
            said=said,
        )
        return grid, drawn.unseen

    def page(self) -> tuple[map_grid.Grid, int]:
        """Write the page; gives its cells, and how many pictures could not be shown."""
        grid = self._grid()
        about = About(
            what="map",
            asked=(*self._said()[1:], ("How to read it", _HOW_TO_READ)),
            extent=count(len(self.points), "picture"),
            coverages=(reporting.coverage(self.catalog),),
            written=clock.now(),
        )
        with target.writing(self.request.path) as stream:
            unseen = map_page.write(
                stream,
                self.points,
                grid,
                self._tiles(),
                about,
                tile=self.tile,
                reveal=self.request.reveal,
            )
        return grid, unseen

    def _grid(self) -> map_grid.Grid:
        return map_grid.grid_of([(each.position.x, each.position.y) for each in self.points])

    def _tiles(self) -> Callable[[MapPoint], Tile]:
        done = 0
        total = len(self.points)
        self.on_event(Started("thumbnails", "", total, "pictures"))

        def tile(point: MapPoint) -> Tile:
            nonlocal done
            paths = held.paths_of(point.places)
            found = previews.tile([self.catalog], point.sha256, paths, side=self.tile)
            done += 1
            self.on_event(Progress(done, total, 0, 0))
            return found

        return tile

    def _said(self) -> list[tuple[str, str]]:
        """What stands beside the map, as names and values."""
        layout = self.layout
        mapped = sum(each.position.mapped for each in self.points)
        others = len(self.points) - mapped
        chosen = [
            *(
                [f"source {' or '.join(self.request.filter.sources)}"]
                if self.request.filter.sources
                else []
            ),
            *([f"below {self.request.filter.below}"] if self.request.filter.below else []),
        ]
        return [
            ("Map", f"{count(len(self.points), 'picture')} of {self.catalog.path}"),
            ("Model", f"{layout.model}, fingerprint {layout.fingerprint}"),
            ("Positions", f"t-SNE, perplexity {_fitted(layout):g}, seed {layout.seed}"),
            *(
                [("Sample", f"{mapped} mapped, {others} placed by their nearest in the sample")]
                if others
                else []
            ),
            *([("Selection", ", ".join(chosen))] if chosen else []),
        ]
