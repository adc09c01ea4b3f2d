"""A map whose layout lies in a file, and what a page draws of it: a cell for each picture, scenes, what is missing."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from image_similarity.analysis import tsne
from image_similarity.analysis.map import MapRequest, compute, points_of
from image_similarity.events import Event, Listener
from image_similarity.records import exports
from image_similarity.reports import map_grid, map_layout, map_scenes, target
from image_similarity.reports.map_layout import Layout
from image_similarity.search import choice
from image_similarity.store import gallery, models
from image_similarity.store.catalog import Catalog
from image_similarity.store.gallery import PlaceFilter

Cells = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class LaidOut:
    """A map to be drawn: of each of its pictures `hashes`, `cells` (column and row), `scene_of` (position in `scenes`).

    `mapped` of them have their position from t-SNE, the others from their nearest. `missing` pictures have a vector and
    a place and are not in the layout; `left` are in the layout and not on record. `perplexity` is what t-SNE was given.
    """

    model: str
    fingerprint: str
    perplexity: float
    seed: int
    columns: int
    rows: int
    hashes: tuple[str, ...]
    cells: Cells
    scenes: tuple[map_scenes.SceneShown, ...]
    scene_of: npt.NDArray[np.uint16]
    mapped: int
    missing: int
    left: int


class _Stopped(Exception):
    """t-SNE has no other way out."""


def lay_out(
    catalog: Catalog, request: MapRequest, *, on_event: Listener, stop: Callable[[], bool]
) -> bool:
    """Compute positions and write them to the request's path; see `Case.lay_out`."""

    def listen(event: Event) -> None:
        if stop():
            raise _Stopped
        on_event(event)

    exports.refuse_inside(request.path, catalog.sources())
    try:
        layout = compute(catalog, request, listen)
    except _Stopped:
        return False
    points, _ = points_of(catalog, layout, request.filter)
    with target.writing(request.path) as stream:
        map_layout.write(stream, layout, points)
    # Of what was written: a picture may have lost its last place meanwhile.
    _cells(request.path, map_layout.read(request.path))
    return True


def read(catalog: Catalog, path: Path) -> LaidOut:
    """Give a layout as it is drawn; see `Case.laid_out`."""
    layout = map_layout.read(path)
    cells = _cells(path, layout)
    with catalog.reading() as connection:
        ids = gallery.ids_of(connection, layout.positions.keys())
        scene_model = choice.choose_scenes([connection])
        scene_id = None if scene_model is None else scene_model.ids[0]
        scenes = (
            {} if scene_id is None else gallery.first_scenes(connection, ids.values(), scene_id)
        )
        missing = _missing(catalog, layout, set(ids.values()))
    shown = [number for number, sha256 in enumerate(layout.positions) if sha256 in ids]
    hashes = [sha256 for sha256 in layout.positions if sha256 in ids]
    names = [scenes.get(ids[sha256], "") for sha256 in hashes]
    legend = map_scenes.scenes_named(names)
    number_of = {each.name: number for number, each in enumerate(legend)}
    mapped = sum(each.mapped for each in layout.positions.values())
    return LaidOut(
        model=layout.model,
        fingerprint=layout.fingerprint,
        perplexity=tsne.fitting_perplexity(layout.perplexity, mapped),
        seed=layout.seed,
        columns=int(cells[:, 0].max()) + 1,
        rows=int(cells[:, 1].max()) + 1,
        hashes=tuple(hashes),
        cells=cells[shown],
        scenes=tuple(legend),
        scene_of=np.array(
            [number_of[name or map_scenes.NO_SCENE] for name in names], dtype=np.uint16
        ),
        mapped=sum(layout.positions[sha256].mapped for sha256 in hashes),
        missing=missing,
        left=len(layout.positions) - len(hashes),
    )


def _missing(catalog: Catalog, layout: Layout, known: set[int]) -> int:
    """How many pictures could be on the map and are not."""
    with catalog.reading() as connection:
        model_id = next(
            (
                id_
                for id_, info in models.stored(connection).items()
                if info.fingerprint == layout.fingerprint
            ),
            None,
        )
        if model_id is None:
            return 0
        every = gallery.embedded_ids(connection, model_id, PlaceFilter()).tolist()
    return sum(id_ not in known for id_ in every)


def _cells(path: Path, layout: Layout) -> Cells:
    """The cell of each picture of a layout, kept beside it: of 50,000 they take seconds."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    beside = path.with_name(f"{path.name}.cells.npz")
    try:
        with beside.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            found: Cells = kept["cells"]
            if str(kept["layout"]) == digest and found.shape == (len(layout.positions), 2):
                return found
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    cells = map_grid.grid_of([(each.x, each.y) for each in layout.positions.values()]).cells
    # A map can be shown although a disk is full.
    with suppress(OSError), target.writing_bytes(beside) as file:
        np.savez(file, cells=cells, layout=np.array(digest))
    return cells
