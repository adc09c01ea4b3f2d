"""A database as a test set: its stored vectors and scenes, with classes from the folders that its pictures lie in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image_similarity.encoding import registry
from image_similarity.errors import DatabaseDamaged, ExtraMissing, ModelError, UnknownModel
from image_similarity.evaluation.embedders import Facts
from image_similarity.evaluation.measures import Ints
from image_similarity.evaluation.reading import Embedded
from image_similarity.pictures.names import on_disk
from image_similarity.store import gallery, models, runs
from image_similarity.store.catalog import Catalog
from image_similarity.values import ModelInfo, Place, SceneScore


@dataclass(frozen=True, slots=True)
class StoredPictures:
    """The contents that every chosen model has a vector of.

    Attributes:
        names: where each was found, as source and path.
        paths: every way to name each: below its source, with its source, and on disk.
        labels: the first folder below the source, None for pictures without one or with several.
        left_out: how many further contents lack the vector of one of the models.
        sha256: of each.
        models: what is known of each model, and what it stored.
    """

    names: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    labels: tuple[str | None, ...]
    left_out: int
    sha256: tuple[str, ...]
    models: tuple[tuple[Facts, Embedded], ...]


def read_stored(database: Path, wanted: tuple[str, ...]) -> StoredPictures:
    """Return what a database holds; nothing is embedded and the database is only read.

    A model's scenes are its stored labels: the probabilities of all others are 0.

    Args:
        database: the file.
        wanted: names of stored models; all that embed if empty.

    Raises:
        UnknownModel: no vectors of a model are stored.
        DatabaseMissing, NotOurDatabase, DatabaseDamaged, SchemaTooOld, SchemaTooNew.
    """
    catalog = Catalog.open(database, read_only=True)
    try:
        with catalog.reading() as connection:
            chosen = _choose(database, models.stored(connection), wanted)
            loaded = {
                id_: gallery.load(connection, id_, info.dim or 0, gallery.PlaceFilter())
                for id_, info in chosen.items()
            }
            common = _common([each.image_ids for each in loaded.values()])
            every = set().union(*(each.image_ids.tolist() for each in loaded.values()))
            origins = runs.model_origins(connection)
            records = gallery.records(connection, common.tolist(), places=gallery.PlaceFilter())
            labels = {
                id_: gallery.scenes_of(connection, common.tolist(), id_) if info.scenes else {}
                for id_, info in chosen.items()
            }
    finally:
        catalog.close()
    found = []
    names = _names(chosen)
    for id_, info in chosen.items():
        facts = _facts(info, names[id_], origins)
        rows = np.searchsorted(loaded[id_].image_ids, common)
        vectors = loaded[id_].vectors[rows].astype(np.float32)
        if not np.isfinite(vectors).all():
            raise DatabaseDamaged(
                f"{database} holds vectors of {names[id_]} that are not numbers",
                hint="see which: image-similarity db verify",
            )
        scenes = _probabilities(facts, common, labels[id_]) if labels[id_] else None
        found.append((facts, Embedded(vectors, scenes)))
    places = [records[int(id_)].places for id_ in common]
    return StoredPictures(
        tuple(f"{each[0].source}:{each[0].path}" for each in places),
        tuple(tuple(_ways(each)) for each in places),
        tuple(_label(each) for each in places),
        len(every) - len(common),
        tuple(records[int(id_)].sha256 for id_ in common),
        tuple(found),
    )


def _choose(
    database: Path, stored: dict[int, ModelInfo], wanted: tuple[str, ...]
) -> dict[int, ModelInfo]:
    embedding = {id_: info for id_, info in stored.items() if info.dim is not None}
    for name in wanted:
        if not any(_is_named(info, name) for info in embedding.values()):
            names = ", ".join(f"{each.name}@{each.fingerprint[:12]}" for each in embedding.values())
            raise UnknownModel(
                f"{database} holds no vectors of {name!r}",
                hint=f"it holds those of {names or 'no model'}",
            )
    if not embedding:
        raise UnknownModel(f"{database} holds no vectors", hint="index a folder first")
    return {
        id_: info
        for id_, info in embedding.items()
        if not wanted or any(_is_named(info, name) for name in wanted)
    }


def _is_named(info: ModelInfo, name: str) -> bool:
    plain, at, fingerprint = name.rpartition("@")
    if at and len(fingerprint) >= 6:
        return info.name == plain and info.fingerprint.startswith(fingerprint.lower())
    return info.name == name


def _names(chosen: dict[int, ModelInfo]) -> dict[int, str]:
    counts = Counter(info.name for info in chosen.values())
    return {
        id_: info.name if counts[info.name] == 1 else f"{info.name}@{info.fingerprint[:12]}"
        for id_, info in chosen.items()
    }


def _common(ids: list[Ints]) -> Ints:
    common = ids[0]
    for each in ids[1:]:
        common = np.intersect1d(common, each)
    return common


def _facts(info: ModelInfo, name: str, origins: Sequence[str]) -> Facts:
    return Facts(
        name,
        "stored",
        dim=info.dim,
        fingerprint=info.fingerprint,
        scenes=info.scenes,
        scene_top_k=info.scene_top_k,
        scene_mass=info.scene_mass,
        weights=_weights(info, origins),
    )


def _weights(info: ModelInfo, origins: Sequence[str]) -> Path | None:
    """The weights file that made the vectors, if it is on this machine: it may list its training pictures.

    It is looked for by the model's name, then where earlier runs loaded their models from.
    """
    for origin in (info.name, *origins):
        try:
            spec = registry.get(origin)
            if registry.info(spec).fingerprint == info.fingerprint:
                return spec.weights
        except (ModelError, ExtraMissing):
            continue
    return None


def _probabilities(
    facts: Facts, ids: Ints, labels: Mapping[int, tuple[SceneScore, ...]]
) -> NDArray[np.float32]:
    number_of = {scene: number for number, scene in enumerate(facts.scenes)}
    result = np.zeros((len(ids), len(facts.scenes)), dtype=np.float32)
    for row, id_ in enumerate(ids):
        for score in labels.get(int(id_), ()):
            result[row, number_of[score.name]] = score.probability
    return result


def _ways(places: tuple[Place, ...]) -> list[str]:
    ways = []
    for place in places:
        ways += [place.path, f"{place.source}:{place.path}"]
        ways.append(on_disk(place))
    return ways


def _label(places: tuple[Place, ...]) -> str | None:
    folders = {place.path.partition("/")[0] if "/" in place.path else None for place in places}
    return folders.pop() if len(folders) == 1 else None
