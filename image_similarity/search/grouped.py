"""From a user's list of groups to the stored vectors of its pictures."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from image_similarity.calibration.calibrate import Grouped
from image_similarity.calibration.groups import GroupList, GroupRow
from image_similarity.errors import (
    CalibrationRefused,
    DatabaseDamaged,
    ExtraMissing,
    ModelError,
)
from image_similarity.evaluation.training_pictures import check_unseen
from image_similarity.pictures.names import to_text
from image_similarity.search import choice
from image_similarity.store import gallery
from image_similarity.store.catalog import Catalog
from image_similarity.values import ModelInfo


def gather(catalog: Catalog, listed: GroupList, model: str | None) -> tuple[Grouped, ModelInfo]:
    """Return the stored vectors and likeliest scenes of the pictures in a list of groups, and whose vectors they are.

    A picture is named as hits print it (path below its source, "source:path" or path on disk), or by its SHA-256. Only
    places where it still is count. Copies of one content in one group are one picture.

    Raises:
        CalibrationRefused: A picture is not known, not plain, or stands in two groups; the line is said.
        DatabaseDamaged: A stored vector is not of numbers.
        TrainingPicturesMet: The model was trained on one of the pictures; it would lie nearer to its group than others.
        AmbiguousModel, UnknownModel: As for a search.
    """
    with catalog.reading() as connection:
        chosen = choice.choose([catalog], [connection], model)
        scene_model = choice.choose_scenes([connection])
        model_id, dim = chosen.ids[0], chosen.info.dim
        assert model_id is not None and dim is not None  # noqa: S101 - `choose` saw to both
        shelf = gallery.load(connection, model_id, dim, gallery.PlaceFilter(include_gone=True))
        position = {image_id: row for row, image_id in enumerate(shelf.image_ids.tolist())}
        places = gallery.addresses(connection)
        found = _find(listed, _addresses(places), set(position))
        labels = gallery.scenes_of(
            connection, list(found), scene_model.ids[0] if scene_model else None
        )
    vectors = shelf.vectors[[position[image_id] for image_id in found]]
    if not np.isfinite(vectors).all():
        raise DatabaseDamaged(
            f"{catalog.path} holds vectors that are not numbers",
            hint="see which: image-similarity db verify",
        )
    names = {sha256: path for image_id, sha256, _, _, path in places if image_id in found}
    check_unseen(chosen.info.name, _weights(chosen), names)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(found.values()))}
    return Grouped(
        vectors=vectors,
        groups=np.array([numbers[group] for group in found.values()], dtype=np.int64),
        scenes=[labels[image_id][0].name if labels.get(image_id) else None for image_id in found],
    ), chosen.info


def _weights(model: choice.Chosen) -> Path | None:
    """The model's file, if it is on this machine: it may list its training pictures."""
    try:
        return choice.find_spec(model).weights
    except (ModelError, ExtraMissing):
        return None


def _addresses(places: list[tuple[int, str, str, str, str]]) -> dict[str, set[int]]:
    """Return the contents that each way to name a picture may mean."""
    known: dict[str, set[int]] = {}
    for image_id, *address in places:
        for name in names_of(*address):
            known.setdefault(name, set()).add(image_id)
    return known


def names_of(sha256: str, source: str, root: str, path: str) -> tuple[str, ...]:
    """Return the ways to name the picture at a place: as hits print it, or by its SHA-256."""
    return sha256, path, f"{source}:{path}", f"{root.rstrip('/')}/{path}"


def _find(listed: GroupList, known: dict[str, set[int]], embedded: set[int]) -> dict[int, str]:
    """Return the group of each content that the list names, in the order of the list."""
    found: dict[int, GroupRow] = {}
    for row in listed.rows:
        meant = _meant(row.picture, known)
        if len(meant) != 1 or not meant <= embedded:
            several = len(meant) > 1
            what = "several pictures" if several else "no picture with a vector of this model"
            raise CalibrationRefused(
                f"{listed.name}, line {row.line}: the database holds {what} at {row.picture}",
                hint="write SOURCE:PATH or the SHA-256" if several else "paths as hits print them",
            )
        (image_id,) = meant
        other = found.setdefault(image_id, row)
        if other.group != row.group:
            raise CalibrationRefused(
                f"{listed.name}: lines {other.line} and {row.line} put one content in two groups",
                hint="a picture belongs to one group; remove one of the lines",
            )
    return {image_id: row.group for image_id, row in found.items()}


def readings(picture: str) -> tuple[str, ...]:
    """Return what a name in a list may be on record as; the first of these that is known is meant."""
    if re.fullmatch("[0-9A-Fa-f]{64}", picture):
        return (picture.lower(),)
    if "\0" in picture:
        return (picture,)
    folder, name = os.path.split(picture)
    return picture, to_text(picture), to_text(str(Path(os.path.realpath(folder)) / name))


def _meant(picture: str, known: dict[str, set[int]]) -> set[int]:
    """Return the contents that a name may mean: as it stands, else as a path on this disk."""
    return next((known[name] for name in readings(picture) if name in known), set())
