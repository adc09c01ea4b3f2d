"""The nearest pictures of every picture of a database: read once, computed in blocks that stay, written at the end.

A picture is a content: identical files at several places are one. The answer is that of comparing every stored vector
with every other in float64; `ranking.neighbours` computes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from image_similarity import __version__
from image_similarity.analysis import listed, neighbours_files
from image_similarity.analysis.neighbours_files import Table
from image_similarity.analysis.neighbours_work import Work, path_of
from image_similarity.errors import IndexRefused, InvalidSetting, UnknownModel, UnknownSource
from image_similarity.events import Listener, Notice, Progress, Started
from image_similarity.ranking.neighbours import Neighbourhood
from image_similarity.records import exports
from image_similarity.search import choice
from image_similarity.search.choice import Chosen
from image_similarity.search.shelf import labels_of
from image_similarity.store import as_of, gallery, packs, standing
from image_similarity.store import catalog as stored
from image_similarity.store.catalog import Catalog
from image_similarity.store.gallery import PlaceFilter
from image_similarity.values import MeasuredRecall, ModelInfo

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from image_similarity.search.ann import AnnIndex

Half = npt.NDArray[np.float16]
Ids = npt.NDArray[np.int64]
Stop = Callable[[], bool]

# Pictures that are answered, and kept, at once, of 2,048 neighbours each; fewer of more.
BLOCK = 2048
# Pictures by which the recall of an approximate answer is measured.
RECALL_PICTURES = 200
# Places that are looked up in one transaction.
_PORTION = 10_000
# No image id reaches it.
_BEYOND = 2**40


@dataclass(frozen=True, slots=True)
class NeighboursRequest:
    """What is asked.

    Args:
        k: How many neighbours of each picture, at least 1.
        model: Whose vectors; None if the database holds those of one model.
        same_scene: Only neighbours of the same most probable scene; pictures without a scene have none.
        only: A list, CSV with the columns path and id: only these pictures are asked, and only they are neighbours.
        sources, under, include_gone, include_partial: Which pictures there are, as for a search.
        approximate: By the index of `analyse ann`.
        index: Its file; DB.MODEL.ann beside the database unless given.
    """

    k: int = 5
    model: str | None = None
    same_scene: bool = False
    only: Path | None = None
    sources: tuple[str, ...] = ()
    under: str | None = None
    include_gone: bool = False
    include_partial: bool = True
    approximate: bool = False
    index: Path | None = None

    @property
    def places(self) -> PlaceFilter:
        """Which places count."""
        return PlaceFilter(self.sources, self.under, self.include_gone, self.include_partial)


@dataclass(frozen=True, slots=True)
class NeighboursReport:
    """The account: `done` of `pictures` are answered, `resumed` of them by an earlier call that was interrupted.

    `fewer` have fewer than `k` neighbours: those of a scene with few pictures, `without_scene`, or whose vector is no
    number (`not_finite`). `missing` says of each listed picture that is not in the answer why; `notes`, what else must
    be said. `state` is the SHA-256 of what the answer was computed from.
    """

    status: str
    paths: tuple[str, ...]
    pictures: int
    done: int
    resumed: int
    k: int
    model: str
    fingerprint: str
    state: str
    search: str
    recall: MeasuredRecall | None
    fewer: int
    without_scene: int
    not_finite: int
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Pictures:
    """What one state of the database holds, in the order of the SHA-256: all arrays (N,), `vectors` (N, dim).

    `groups` are scenes, or all 0; below 0 a picture has no neighbours. `shown` are the pictures in the order of the
    file, and `foreign` their identifiers in that order, None without a list.
    """

    model: Chosen
    scene_model: Chosen | None
    last_run: int
    image_ids: Ids
    sha256: Sequence[str]
    vectors: Half
    groups: Ids
    shown: Ids
    foreign: Sequence[str] | None
    missing: tuple[str, ...]
    list_sha256: str | None
    index: AnnIndex | None
    without_scene: int
    not_finite: int

    @property
    def info(self) -> ModelInfo:
        """The model."""
        return self.model.info


def neighbours(
    catalog: Catalog,
    target: Path,
    request: NeighboursRequest,
    *,
    overwrite: bool = False,
    on_event: Listener,
    stop: Stop,
) -> NeighboursReport:
    """Write the nearest pictures of every picture; see `Case.neighbours`."""
    if request.k < 1:
        raise InvalidSetting(f"k is {request.k}: that asks for nothing", hint="-k takes 1 or more")
    exports.refuse_inside(target, catalog.sources())
    # A call may have been killed when the file was there and its work still was; below it is seen whether it was.
    begun = path_of(target).exists()
    neighbours_files.check_target(target, overwrite=overwrite or begun)
    with catalog.reading() as connection:
        pictures = _read(catalog, connection, request)
    if request.k >= len(pictures.image_ids):
        raise _too_few(len(pictures.image_ids), request.k)
    search = Neighbourhood(pictures.vectors, pictures.groups, request.k)
    head = _head(pictures, request)
    # Of a large database each copy of the vectors counts; the search has its own.
    pictures = replace(pictures, vectors=np.empty((0, 0), np.float16))
    block = min(BLOCK, len(search), max(1, neighbours_files.AT_ONCE // request.k))
    work = Work(path_of(target), head, rows=len(search), k=request.k, block=block)
    if begun and not overwrite and not work.is_complete():
        neighbours_files.check_target(target, overwrite=False)
    with work:
        _say_what_is_there(work, on_event)
        if not _compute(work, search, pictures, request.k, on_event, stop):
            return _report("interrupted", (), work, pictures, request, head["state"])
        recall = _recall(work, search, request.k) if pictures.index is not None else None
        written = {**head, "last_run": pictures.last_run, "recall": recall}
        paths = neighbours_files.files_of(target)
        fewer = _write(catalog, target, work, search, pictures, request, written, on_event)
        notes = _record(catalog, paths, head)
        work.discard()
    names = tuple(map(str, paths))
    done = _report("done", names, work, pictures, request, head["state"], recall, fewer)
    return replace(done, notes=notes)


def _record(catalog: Catalog, paths: Sequence[Path], head: Mapping[str, Any]) -> tuple[str, ...]:
    """Record the files in the audit chain; gives why not, where that cannot be."""
    detail = {key: head[key] for key in ("model", "k", "state")}
    said = [exports.record(catalog, "neighbours", path, **detail) for path in paths]
    return tuple(dict.fromkeys(note for note in said if note))


def _too_few(count: int, k: int) -> InvalidSetting:
    if count < 2:
        there = "is no picture" if not count else "is one picture alone"
        return InvalidSetting(f"there {there} with a vector of this model, so no neighbours")
    return InvalidSetting(
        f"{k} neighbours of each were asked for, but there are {count} pictures",
        hint=f"-k takes at most {count - 1} here",
    )


# -- reading ----------------------------------------------------------------------------------------------------------


def _read(catalog: Catalog, connection: Connection, request: NeighboursRequest) -> _Pictures:
    """Read everything that the answer depends on, but for the paths, in one transaction."""
    for name in request.sources:
        if stored.find_source(connection, name) is None:
            raise UnknownSource(
                f"no source is called {name!r}", hint="see: image-similarity db status"
            )
    picture_list = None if request.only is None else listed.read_list(request.only)
    chosen = choice.choose([catalog], [connection], request.model)
    model_id, dim = chosen.ids[0], chosen.info.dim
    assert model_id is not None and dim is not None  # noqa: S101 - `choose` saw to both
    scene_model = choice.choose_scenes([connection]) if request.same_scene else None
    if request.same_scene and scene_model is None:
        raise UnknownModel(
            f"{catalog.path} holds no scenes", hint="index with a model that names scenes"
        )
    index = _index(catalog, connection, request, chosen)
    everything = packs.vectors_between(connection, model_id, dim, [(1, _BEYOND)])
    if index is not None and not np.isin(index.image_ids, everything.image_ids).all():
        raise IndexRefused(
            f"{index.info.path} was built of other vectors than this database holds",
            hint=f"build it again: image-similarity analyse ann -m {chosen.info.name} -dp DB",
        )
    counts = standing.standing(connection, request.places).mask(everything.image_ids)
    ids, vectors = everything.image_ids, everything.vectors
    named: listed.Listed | None = None
    if picture_list is not None:
        here = set(ids[counts].tolist())
        named = listed.find(connection, picture_list, request.places, here)
        counts &= np.isin(ids, np.fromiter(named.ids, np.int64, len(named.ids)))
    if not counts.all():
        ids, vectors = ids[counts], vectors[counts]
    hashes = gallery.hashes_of(connection, ids.tolist())
    groups, without_scene = _groups(connection, scene_model, ids)
    finite = np.isfinite(vectors).all(axis=1)
    groups[~finite] = -1
    order = sorted(range(len(ids)), key=hashes.__getitem__)
    ids = ids[order]
    shown, foreign = np.arange(len(ids)), None
    if named is not None:
        row = {image_id: number for number, image_id in enumerate(ids.tolist())}
        shown = np.array([row[image_id] for image_id in named.ids], dtype=np.int64)
        foreign = tuple(named.ids.values())
    return _Pictures(
        model=chosen,
        scene_model=scene_model,
        last_run=as_of.now(connection).run_id,
        image_ids=ids,
        sha256=[hashes[number] for number in order],
        vectors=vectors[order],
        groups=groups[order],
        shown=shown,
        foreign=foreign,
        missing=() if named is None else named.missing,
        list_sha256=None if picture_list is None else picture_list.sha256,
        index=index,
        without_scene=without_scene,
        not_finite=int(np.count_nonzero(~finite)),
    )


def _index(
    catalog: Catalog, connection: Connection, request: NeighboursRequest, chosen: Chosen
) -> AnnIndex | None:
    if not request.approximate and request.index is None:
        return None
    from image_similarity.search import ann_file

    model_id = chosen.ids[0]
    assert model_id is not None  # noqa: S101 - `choose` saw to it
    path = request.index or ann_file.default_path(catalog.path, chosen.info.name)
    return ann_file.load(path, chosen.info, standing.extent(connection, model_id))


def _groups(connection: Connection, scene_model: Chosen | None, image_ids: Ids) -> tuple[Ids, int]:
    """The most probable scene of each picture, -1 where it has none; without a scene model 0. How many have none."""
    if scene_model is None:
        return np.zeros(len(image_ids), dtype=np.int64), 0
    scene_model_id = scene_model.ids[0]
    assert scene_model_id is not None  # noqa: S101 - it was found in this database
    labels, none = labels_of(connection, scene_model_id, image_ids)
    groups = labels[0].astype(np.int64)
    groups[groups == none] = -1
    return groups, int(np.count_nonzero(groups < 0))


def _head(pictures: _Pictures, request: NeighboursRequest) -> dict[str, Any]:
    """What the answer depends on: by this another examiner repeats it, and an interrupted call goes on."""
    index, scene_model = pictures.index, pictures.scene_model
    return {
        "version": __version__,
        "model": pictures.info.name,
        "fingerprint": pictures.info.fingerprint,
        "dim": pictures.info.dim,
        "normalisation": pictures.info.normalisation,
        "metric": pictures.info.metric,
        "state": _digest(pictures),
        "pictures": len(pictures.image_ids),
        "k": request.k,
        # Exact is what is found by proven bounds, as for a query.
        "search": "bounded" if index is None else "approximate",
        "options": {
            "same_scene": request.same_scene,
            "scene_model": None if scene_model is None else scene_model.info.fingerprint,
            "only_sha256": pictures.list_sha256,
            "sources": sorted(request.sources),
            "under": request.places.below,
            "include_gone": request.include_gone,
            "include_partial": request.include_partial,
            "index": None
            if index is None
            else {
                "made_at": index.info.made_at,
                "seed": index.info.seed,
                "effort": index.info.effort,
                "version": index.info.version,
            },
        },
    }


def _digest(pictures: _Pictures) -> str:
    """The SHA-256 of all SHA-256 in order, their vectors, and their scenes where these count."""
    digest = hashlib.sha256("".join(pictures.sha256).encode("ascii"))
    digest.update(np.ascontiguousarray(pictures.vectors, dtype="<f2").data.cast("B"))
    digest.update(np.ascontiguousarray(pictures.groups, dtype="<i8").data.cast("B"))
    return digest.hexdigest()


# -- computing --------------------------------------------------------------------------------------------------------


def _say_what_is_there(work: Work, on_event: Listener) -> None:
    if work.replaced:
        on_event(
            Notice(
                f"{work.path} was of other input ({', '.join(work.replaced)}); all is computed anew"
            )
        )
    elif work.resumed:
        on_event(Notice(f"{work.resumed} pictures were answered before; going on from there"))


def _compute(
    work: Work,
    search: Neighbourhood,
    pictures: _Pictures,
    k: int,
    on_event: Listener,
    stop: Stop,
) -> bool:
    """Answer what is not answered yet; says whether all is."""
    offer = None if pictures.index is None else _offering(pictures.index, pictures.image_ids, k)
    total = len(search)
    on_event(Started("neighbours", "", total, "pictures"))
    on_event(Progress(work.done, total, 0, 0))
    while work.done < total:
        if stop():
            return False
        block = np.arange(work.done, min(total, work.done + work.block))
        work.append(*search.nearest(block, offer))
        on_event(Progress(work.done, total, 0, 0))
    return True


def _offering(index: AnnIndex, image_ids: Ids, k: int) -> Callable[[Half], Ids]:
    """A function from vectors to the candidates of an index, by their numbers among the pictures."""
    from image_similarity.search import ann

    by_id = np.argsort(image_ids)
    ids = image_ids[by_id]
    wanted = max(ann.CANDIDATES, 4 * (k + 1))

    def offer(vectors: Half) -> Ids:
        found = ann.nearest(index, vectors, wanted)
        at = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
        # The index also holds pictures that are left out here.
        return np.where(ids[at] == found, by_id[at], np.int64(-1))

    return offer


def _recall(work: Work, search: Neighbourhood, k: int) -> MeasuredRecall:
    """Compare the answers of some pictures, drawn with a fixed seed, with the exact ones.

    What is as near as the last of the true neighbours counts as found, so ties are no miss.
    """
    count = min(RECALL_PICTURES, len(search))
    drawn = np.sort(np.random.default_rng(0).choice(len(search), count, replace=False))
    exact = search.nearest(drawn)[1]
    tried = work.rows(drawn)[1]
    furthest = np.nanmax(np.where(np.isnan(exact), -1.0, exact), axis=1, keepdims=True)
    total = np.count_nonzero(~np.isnan(exact), axis=1)
    found = np.minimum(np.count_nonzero(tried <= furthest, axis=1), total)
    return MeasuredRecall(int(found.sum()), int(total.sum()), count, k)


# -- writing ----------------------------------------------------------------------------------------------------------


def _write(
    catalog: Catalog,
    target: Path,
    work: Work,
    search: Neighbourhood,
    pictures: _Pictures,
    request: NeighboursRequest,
    head: Mapping[str, Any],
    on_event: Listener,
) -> int:
    """Write the file; gives how many pictures have fewer than k neighbours."""
    shown = pictures.shown
    number = np.empty(len(shown) + 1, dtype=np.int64)
    number[shown], number[-1] = np.arange(len(shown)), -1

    def rows(start: int, stop: int) -> neighbours_files.Rows:
        near, far = work.rows(search.place[shown[start:stop]])
        # A number of -1, no picture, stands for the last entry, which is -1.
        return number[near], far

    table = Table(
        head=head,
        k=request.k,
        ids=pictures.foreign,
        paths=_paths(catalog, pictures.image_ids[shown], request.places),
        sha256=[pictures.sha256[row] for row in shown.tolist()],
        missing=pictures.missing,
        rows=rows,
    )
    fewer = sum(
        int(np.count_nonzero(rows(*portion)[0][:, -1] < 0))
        for portion in neighbours_files.portions(table)
    )
    on_event(Started(target.name, "", len(shown), "pictures"))
    neighbours_files.write(target, table, lambda done: on_event(Progress(done, len(shown), 0, 0)))
    return fewer


def _paths(catalog: Catalog, image_ids: Ids, places: PlaceFilter) -> list[str]:
    """Where each picture lies: its first place that counts, live ones first, then by source and path.

    Looked up in portions, that no writer waits for long; of a picture that went away meanwhile it is where it was.
    """
    paths = []
    for start in range(0, len(image_ids), _PORTION):
        portion = image_ids[start : start + _PORTION].tolist()
        with catalog.reading() as connection:
            found = gallery.places_of(connection, portion, places)
            gone = gallery.places_of(connection, [each for each in portion if each not in found])
        paths += [(found.get(each) or gone[each])[0].full_path for each in portion]
    return paths


def _report(
    status: str,
    paths: tuple[str, ...],
    work: Work,
    pictures: _Pictures,
    request: NeighboursRequest,
    state: str,
    recall: MeasuredRecall | None = None,
    fewer: int = 0,
) -> NeighboursReport:
    return NeighboursReport(
        status=status,
        paths=paths,
        pictures=len(pictures.image_ids),
        done=work.done,
        resumed=work.resumed,
        k=request.k,
        model=pictures.info.name,
        fingerprint=pictures.info.fingerprint,
        state=state,
        search="bounded" if pictures.index is None else "approximate",
        recall=recall,
        fewer=fewer,
        without_scene=pictures.without_scene,
        not_finite=pictures.not_finite,
        missing=pictures.missing,
    )
