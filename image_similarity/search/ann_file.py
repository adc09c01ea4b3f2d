"""Approximate indexes as files: made of a database, written whole, and refused where they no longer fit it.

A file is numpy's archive of plain arrays (a zip without compression, with a checksum for each member), so that reading
one that was damaged, or was made to do harm, runs no code and fills no C++ object with bytes that nobody looked at.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity import __version__
from image_similarity.errors import IndexRefused, InvalidSetting, UsageError
from image_similarity.events import Listener, ignore
from image_similarity.search import ann, choice
from image_similarity.search.ann import AnnIndex
from image_similarity.store import clock, gallery, standing
from image_similarity.store.catalog import Catalog
from image_similarity.values import AnnInfo, Location, ModelInfo, ServerUrl
from image_similarity.whole_file import writing

KIND = "image_similarity approximate index"
FORMAT = 1
TARGET = 0.999
_MOST_HEADER = 65_536
# Where the file lies and how large it is are not what it says of itself.
_OUTSIDE = {"path", "size_bytes"}
_ARRAYS = ("image_ids", "codes", "scale", "levels", "links", "entry")
# A vector stands on one more level with a chance of 1 in 16; faiss prepares for no more than this.
_MOST_LEVELS = 8


def default_path(database: Location, model: str) -> Path:
    """Give where the index of a model lies unless another place is named: beside the database, DB.MODEL.ann.

    Raises:
        InvalidSetting: The database is on a server: nothing lies beside it.
    """
    if isinstance(database, ServerUrl):
        raise InvalidSetting(
            "an index file of a database on a server needs a name",
            hint=f"name one, or let the server keep an index: image-similarity db index-vectors -m {model} -dp URL",
        )
    return database.with_name(f"{database.name}.{re.sub(r'[^A-Za-z0-9._-]', '_', model)}.ann")


def make(
    catalog: Catalog,
    path: Path | None,
    *,
    model: str | None = None,
    target: float = TARGET,
    seed: int = 1,
    on_event: Listener = ignore,
) -> AnnInfo:
    """Build the index of a model's vectors, measure its recall and write it, in place of an earlier index there.

    All vectors are read in one short transaction and held in memory, 2 bytes a number; a run may write meanwhile, and
    the index is then stale when it is done. See `ann.build` for what is measured.

    Raises:
        UsageError: Another file lies there.
        InvalidSetting: The target is no share.
        IndexRefused, ExtraMissing, AmbiguousModel, UnknownModel, DatabaseDamaged, OSError.
    """
    if not 0 < target <= 1:
        raise InvalidSetting(f"a recall of {target}", hint="recalls lie above 0, up to 1")
    ann.load_faiss()
    with catalog.reading() as connection:
        chosen = choice.choose([catalog], [connection], model)
        model_id, dim = chosen.ids[0], chosen.info.dim
        assert model_id is not None and dim is not None  # noqa: S101 - `choose` saw to both
        target_path = path or default_path(catalog.path, chosen.info.name)
        _refuse_to_replace(target_path)
        extent = standing.extent(connection, model_id)
        vectors = gallery.load(connection, model_id, dim, gallery.PlaceFilter(include_gone=True))
    known = AnnInfo(
        path=str(target_path),
        model=chosen.info.name,
        fingerprint=chosen.info.fingerprint,
        newest=extent.newest,
        dim=dim,
        seed=seed,
        made_at=clock.now(),
        version=__version__,
    )
    index = ann.build(vectors, known, target=target, on_event=on_event)
    write(target_path, index)
    return replace(index.info, size_bytes=target_path.stat().st_size)


def _refuse_to_replace(path: Path) -> None:
    try:
        if path.exists():
            _read(path)
    except (IndexRefused, OSError) as error:
        raise UsageError(
            f"{path} exists and is no approximate index", hint="name another file"
        ) from error


def write(path: Path, index: AnnIndex) -> None:
    """Write an index, replacing an earlier file in one move."""
    faiss = ann.load_faiss()
    info = {key: value for key, value in asdict(index.info).items() if key not in _OUTSIDE}
    header = json.dumps({"kind": KIND, "format": FORMAT, **info}, allow_nan=False)
    graph, codes = index.engine.hnsw, faiss.downcast_index(index.engine.storage)
    arrays: dict[str, npt.NDArray[Any]] = {
        "header": np.frombuffer(header.encode("ascii"), dtype=np.uint8),
        "image_ids": index.image_ids,
        "codes": faiss.vector_to_array(codes.codes).reshape(-1, index.info.dim),
        "scale": faiss.vector_to_array(codes.sq.trained),
        "levels": faiss.vector_to_array(graph.levels),
        "links": faiss.vector_to_array(graph.neighbors),
        "entry": np.array([graph.entry_point], dtype=np.int32),
    }
    with writing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: Path, model: ModelInfo, extent: standing.Extent) -> AnnIndex:
    """Read an index for a search among the vectors of a model that a database holds now.

    Args:
        path: The file.
        model: Whose vectors are searched.
        extent: Which vectors of it the database holds.

    Raises:
        IndexRefused: It is missing, damaged, of another model, or of an earlier state of the database.
        ExtraMissing: faiss is not installed.
    """
    info, arrays = _read(path)
    if info.fingerprint != model.fingerprint:
        raise IndexRefused(
            f"{path} is an index of the model {info.model} ({info.fingerprint[:12]}), the search is with {model.name}"
            f" ({model.fingerprint[:12]})",
            hint=_again(model),
        )
    if (info.vectors, info.newest) != (extent.vectors, extent.newest):
        raise IndexRefused(
            f"{path} is stale: it was built of {info.vectors} vectors, the database holds {extent.vectors} now"
            if info.vectors != extent.vectors
            else f"{path} was built of other vectors than this database holds",
            hint=_again(model),
        )
    return AnnIndex(info, arrays["image_ids"], _engine(info, arrays))


def _engine(info: AnnInfo, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    """An index of faiss, filled with arrays that were checked."""
    faiss, engine = ann.load_faiss(), ann.new_engine(info.dim)
    codes, graph = faiss.downcast_index(engine.storage), engine.hnsw
    faiss.copy_array_to_vector(arrays["scale"], codes.sq.trained)
    faiss.copy_array_to_vector(arrays["codes"].ravel(), codes.codes)
    faiss.copy_array_to_vector(arrays["levels"], graph.levels)
    faiss.copy_array_to_vector(_offsets(arrays["levels"]), graph.offsets)
    graph.neighbors.resize(len(arrays["links"]))
    faiss.rev_swig_ptr(graph.neighbors.data(), len(arrays["links"]))[:] = arrays["links"]
    graph.entry_point = int(arrays["entry"][0])
    graph.max_level = int(arrays["levels"].max()) - 1
    codes.ntotal = engine.ntotal = info.vectors
    codes.is_trained = engine.is_trained = True
    return engine


def _room(levels: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """How many links a vector on so many levels has room for: faiss gives the lowest level twice as many."""
    return (levels.astype(np.int64) + 1) * ann.LINKS


def _offsets(levels: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    """Where the links of each vector begin, and where the last ones end."""
    return np.concatenate([[0], np.cumsum(_room(levels))]).astype(np.uint64)


def _again(model: ModelInfo) -> str:
    return f"build it again: image-similarity analyse ann -m {model.name} -dp DB"


def _read(path: Path) -> tuple[AnnInfo, dict[str, npt.NDArray[Any]]]:
    """What a file says of itself and its arrays, all of the types and shapes that belong together.

    Raises:
        IndexRefused.
    """
    hint = "build one: image-similarity analyse ann -dp DB"
    if not path.is_file():
        raise IndexRefused(f"there is no approximate index at {path}", hint=hint)
    try:
        # Opened here: what numpy opens it leaves open where it raises.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            # Checksums are compared at a member's end, where numpy never comes if an array's own header is damaged.
            if damaged := archive.zip.testzip():
                raise ValueError(f"the checksum of its {damaged} is wrong")
            arrays = {name: archive[name] for name in ("header", *_ARRAYS)}
        info = _info(arrays.pop("header"))
        _check(info, arrays)
    except (
        # What numpy and zipfile raise for bytes that are not what they should be.
        AttributeError, EOFError, KeyError, MemoryError, NotImplementedError, OverflowError, RuntimeError,
        SyntaxError, TypeError, ValueError, zipfile.BadZipFile, zipfile.LargeZipFile,
    ) as error:  # fmt: skip
        raise IndexRefused(f"{path} is no sound approximate index: {error}", hint=hint) from error
    return replace(info, path=str(path), size_bytes=path.stat().st_size), arrays


def _info(header: npt.NDArray[Any]) -> AnnInfo:
    if header.dtype != np.uint8 or header.ndim != 1 or len(header) > _MOST_HEADER:
        raise ValueError("its header is damaged")
    values: dict[str, Any] = json.loads(header.tobytes().decode("ascii"))
    if (values.pop("kind"), values.pop("format")) != (KIND, FORMAT):
        raise ValueError(f"this program reads format {FORMAT} of {KIND!r}")
    info = AnnInfo(path="", **values)
    texts = (info.model, info.made_at, info.version)
    numbers = (info.dim, info.vectors, info.effort, info.queries)
    sound = (
        all(type(text) is str and text.isprintable() for text in texts)
        and all(re.fullmatch("[0-9a-f]{64}", text) for text in (info.fingerprint, info.newest))
        and all(type(number) is int and number > 0 for number in numbers)
        and type(info.seed) is int
        and type(info.recall) in (int, float)
        and 0 <= info.recall <= 1
        and info.effort <= max(ann.EFFORTS)
    )
    if not sound:
        raise ValueError("its header is damaged")
    return info


def _check(info: AnnInfo, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    expected = {
        "image_ids": (np.int64, (info.vectors,)),
        "codes": (np.uint8, (info.vectors, info.dim)),
        "scale": (np.float32, (2 * info.dim,)),
        "levels": (np.int32, (info.vectors,)),
        "links": (np.int32, (len(arrays["links"]),)),
        "entry": (np.int32, (1,)),
    }
    for name, (dtype, shape) in expected.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
            raise ValueError(f"its {name} have not the shape that its header says")
    if not np.isfinite(arrays["scale"]).all():
        raise ValueError("its scale is not of numbers")
    _check_graph(info.vectors, arrays["levels"], arrays["links"], int(arrays["entry"][0]))


def _check_graph(
    count: int, levels: npt.NDArray[np.int32], links: npt.NDArray[np.int32], entry: int
) -> None:
    """Refuse links that would lead the library out of its arrays."""
    if levels.min() < 1 or levels.max() > _MOST_LEVELS or len(links) != _room(levels).sum():
        raise ValueError("its levels do not fit its links")
    if links.min() < -1 or links.max() >= count or not 0 <= entry < count:
        raise ValueError("its links lead nowhere")
    if levels[entry] != levels.max():
        raise ValueError("its entry is not on the highest level")
    offsets = _offsets(levels).astype(np.int64)
    for level in range(1, int(levels.max())):
        begins = offsets[np.flatnonzero(levels > level)] + (level + 1) * ann.LINKS
        linked = links[begins[:, None] + np.arange(ann.LINKS)]
        if (levels[linked[linked >= 0]] <= level).any():
            raise ValueError("its links lead to vectors that are not on their level")
