"""Which of the recorded models answers a query, and its network for a picture that is not stored."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from image_similarity.errors import (
    AmbiguousModel,
    ExtraMissing,
    ImageSimilarityError,
    UnknownModel,
    WeightsChanged,
    WeightsMissing,
)
from image_similarity.settings import BUILTIN
from image_similarity.store import models, runs
from image_similarity.store.catalog import Catalog
from image_similarity.values import IMPORTED, ModelInfo, SceneScore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from image_similarity.encoding.encoder import Encoded, Encoder
    from image_similarity.encoding.spec import ModelSpec


# Two for each of two searches at once: that of the vectors and that of the scenes.
_MOST_LOADED = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model that several databases may hold.

    `ids` has one for each database, None where it is not held; `origins` say where its network may be loaded from.
    """

    info: ModelInfo
    ids: tuple[int | None, ...]
    origins: tuple[str, ...]


def choose(
    catalogs: Sequence[Catalog], connections: Sequence[Connection], name: str | None
) -> Chosen:
    """Give the model whose vectors answer, the same in every database.

    Args:
        catalogs: The databases, for messages.
        connections: Their connections, in the same order.
        name: A recorded name, the beginning of a fingerprint, a registered name or a weights file; None if the
            databases hold one model only.

    Raises:
        AmbiguousModel: Several fit.
        UnknownModel: None fits, or a database holds no vectors of it.
    """
    held = [_with_vectors(connection) for connection in connections]
    every = {info.fingerprint: info for models_here in held for info in models_here.values()}
    fitting = list(every.values()) if name is None else _fitting(name, every)
    if len(fitting) != 1:
        raise _unclear(catalogs, name, fitting, list(every.values()))
    chosen = _chosen(fitting[0], held, connections)
    if name is not None and Path(name).is_file():
        # First where the caller says that it lies, which may be another place than when it was indexed.
        chosen = replace(chosen, origins=(name, *chosen.origins))
    for catalog, model_id in zip(catalogs, chosen.ids, strict=True):
        if model_id is None:
            raise UnknownModel(
                f"{catalog.path} holds no vectors of {_full_name(chosen.info)}",
                hint="index it with that model first",
            )
    return chosen


def choose_scenes(connections: Sequence[Connection]) -> Chosen | None:
    """Give the scene model whose labels filter: the built-in one if its labels are stored, else the newest."""
    held = [_with_labels(connection) for connection in connections]
    found = {info.fingerprint: info for models_here in held for info in models_here.values()}
    if not found:
        return None
    ranked = sorted(enumerate(found.values()), key=lambda item: (item[1].name == BUILTIN, item[0]))
    return _chosen(ranked[-1][1], held, connections)


def _chosen(
    info: ModelInfo, held: Sequence[Mapping[int, ModelInfo]], connections: Sequence[Connection]
) -> Chosen:
    ids = tuple(
        next((id_ for id_, other in here.items() if other.fingerprint == info.fingerprint), None)
        for here in held
    )
    return Chosen(info, ids, _origins(connections))


def _with_vectors(connection: Connection) -> dict[int, ModelInfo]:
    embedded = models.embedded_models(connection)
    return {id_: info for id_, info in models.stored(connection).items() if id_ in embedded}


def _with_labels(connection: Connection) -> dict[int, ModelInfo]:
    labelled = models.labelled_models(connection)
    return {id_: info for id_, info in models.stored(connection).items() if id_ in labelled}


def _fitting(name: str, every: Mapping[str, ModelInfo]) -> list[ModelInfo]:
    fingerprint = name.partition("@")[2] or name
    by_fingerprint = [info for info in every.values() if info.fingerprint.startswith(fingerprint)]
    if len(fingerprint) >= 6 and by_fingerprint:
        return by_fingerprint
    by_name = [info for info in every.values() if info.name == name]
    if len(by_name) == 1:
        return by_name
    try:
        registered = _registered(name)
    except ImageSimilarityError:
        return by_name
    return [every[registered]] if registered in every else by_name


def _registered(name: str) -> str:
    """The fingerprint that a registered name or a weights file has on this machine."""
    from image_similarity.encoding import registry

    return registry.info(registry.get(name)).fingerprint


def _unclear(
    catalogs: Sequence[Catalog],
    name: str | None,
    fitting: Sequence[ModelInfo],
    every: Sequence[ModelInfo],
) -> ImageSimilarityError:
    where = ", ".join(str(catalog.path) for catalog in catalogs)
    held = ", ".join(_full_name(info) for info in every)
    if not every:
        return UnknownModel(
            f"{where} holds no vectors", hint="index a folder first: generate_embeddings -m builtin"
        )
    if not fitting:
        return UnknownModel(f"{where} holds no vectors of {name}", hint=f"it holds {held}")
    return AmbiguousModel(f"{where} holds several models", hint=f"choose with -m: {held}")


def _full_name(info: ModelInfo) -> str:
    return f"{info.name}@{info.fingerprint[:12]}"


def _origins(connections: Sequence[Connection]) -> tuple[str, ...]:
    """The names and files that earlier runs gave for their models, newest first: where a network may be loaded from."""
    return tuple(
        dict.fromkeys(name for connection in connections for name in runs.model_origins(connection))
    )


def find_spec(model: Chosen) -> ModelSpec:
    """Find the network of a recorded model on this machine: by its name, then where earlier runs loaded it from.

    Raises:
        WeightsChanged: What stands there now has another fingerprint.
        WeightsMissing, ModelError, ExtraMissing: Nothing is found, or it cannot be read.
    """
    if model.info.architecture == IMPORTED:
        raise UnknownModel(
            f"the vectors of {_full_name(model.info)} were imported; the network that made them is not here",
            hint="the query must be one of the imported pictures; or index the folder with another model",
        )
    from image_similarity.encoding import registry

    missed: list[tuple[str, ImageSimilarityError | None]] = []
    for origin, weights in _places(model):
        try:
            classifies = model.info.dim is None
            spec = (
                registry.get_scene_model(origin)
                if classifies
                else registry.get(origin, weights=weights)
            )
            if registry.info(spec).fingerprint == model.info.fingerprint:
                return spec
            missed.append((origin, None))
        # Of whatever is wrong with one place, another may hold the model.
        except ImageSimilarityError as reason:
            missed.append((origin, reason))
    raise _not_found(model, missed)


def _places(model: Chosen) -> list[tuple[str, Path | None]]:
    """Where a model may be found: names and files, and files whose network only the model's name tells."""
    from image_similarity.encoding import registry

    name = model.info.name
    places: list[tuple[str, Path | None]] = [(name, None)]
    for origin in model.origins:
        places.append((origin, None))
        if registry.is_registered(name) and not registry.is_registered(origin):
            places.append((name, Path(origin)))
    return list(dict.fromkeys(places))


def _not_found(
    model: Chosen, missed: Sequence[tuple[str, ImageSimilarityError | None]]
) -> ImageSimilarityError:
    """What to say of a model that is in none of the places."""
    from image_similarity.encoding import registry

    info = model.info
    lacking = next((reason for _, reason in missed if isinstance(reason, ExtraMissing)), None)
    if lacking is not None:
        return lacking
    if registry.is_registered(info.name):
        return missed[0][1] or WeightsChanged(
            f"the model {_full_name(info)} of this database is not the {info.name} of this installation",
            hint=f"index again with -m {info.name}, or install the version that wrote the database",
        )
    files = [origin for origin in model.origins if not registry.is_registered(origin)]
    places = f"; looked for in {', '.join(files[:3])}" if files else ""
    return WeightsMissing(
        f"the file of the model {_full_name(info)}, which made these vectors, is not found as it was{places}",
        hint="put it back with its card, or say where it lies now: -m FILE",
    )


class Networks:
    """The networks for queries that are not stored; each is loaded at its first use, and runs for one thread at a time.

    Those used last are kept: a program that answers for long may meet several models, each of hundreds of megabytes.
    """

    def __init__(self, device: str, runtime: str = "auto") -> None:
        self._device = device
        self._runtime = runtime
        self._loaded: dict[str, Encoder] = {}
        self._lock = threading.RLock()

    def encode(self, model: Chosen, pixels: npt.NDArray[np.uint8]) -> Encoded:
        """What the network says of one picture (size, size, 3)."""
        with self._lock:
            return self.of(model).encode(pixels[None])

    def of(self, model: Chosen) -> Encoder:
        """The network of a model."""
        fingerprint = model.info.fingerprint
        with self._lock:
            encoder = self._loaded.pop(fingerprint, None)
            if encoder is None:
                from image_similarity.encoding.encoder import Encoder

                spec = find_spec(model)
                while len(self._loaded) >= _MOST_LOADED:
                    self._loaded.pop(next(iter(self._loaded)))
                encoder = Encoder.load(spec, device=self._device, runtime=self._runtime)
            self._loaded[fingerprint] = encoder
            return encoder


@dataclass(frozen=True, slots=True)
class Shared:
    """What the searches of several threads share: networks that stay loaded, and whose turn it is to rank.

    What is kept of a database for ranking is for one thread at a time; to encode a picture, which takes longest, is not
    to hold up those that are ranked from the database alone.
    """

    networks: Networks
    ranking: AbstractContextManager[object]


def labels_of(model: Chosen, encoded: Encoded) -> tuple[SceneScore, ...]:
    """The labels of a single encoded picture as they would be stored, most probable first."""
    from image_similarity.encoding.scenes import top_scenes

    if encoded.scenes is None:
        return ()
    top = top_scenes(encoded.scenes[0], model.info.scene_top_k)
    return tuple(
        SceneScore(model.info.scenes[position], probability) for position, probability in top
    )
