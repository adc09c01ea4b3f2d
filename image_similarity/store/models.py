"""Models as recorded beside their vectors, and the scene classes of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from image_similarity.store import audit
from image_similarity.store.clock import now
from image_similarity.store.schema import (
    embedding_table,
    image_scene_table,
    model_table,
    scene_pack_table,
    scene_table,
)
from image_similarity.values import ModelInfo, Preprocess

VECTOR_DTYPE = "f2"


def register(connection: Connection, info: ModelInfo) -> int:
    """Give the id of a model, recording it (and its scene classes) at first sight."""
    # Only what writes needs it.
    from image_similarity.store import sealing

    known: int | None = connection.execute(
        select(model_table.c.id).where(model_table.c.fingerprint == info.fingerprint)
    ).scalar()
    if known is not None:
        return known
    values = {
        "name": info.name,
        "fingerprint": info.fingerprint,
        "architecture": info.architecture,
        "weights_sha256": info.weights_sha256,
        "preprocess": asdict(info.preprocess),
        "dim": info.dim,
        "dtype": VECTOR_DTYPE,
        "metric": info.metric,
        "normalisation": info.normalisation,
        "numeric_class": info.numeric_class,
        "scene_top_k": info.scene_top_k,
        "scene_mass": info.scene_mass,
        "licence": info.licence,
        "origin": info.origin,
        "created_at": now(),
    }
    model_id: int = connection.execute(
        insert(model_table).values(values).returning(model_table.c.id)
    ).scalar_one()
    if info.scenes:
        connection.execute(
            insert(scene_table),
            [
                {"model_id": model_id, "position": position, "name": name}
                for position, name in enumerate(info.scenes)
            ],
        )
    sealed = sealing.seal_rows(connection, ["model"], model_id)
    audit.append(
        connection,
        "model",
        {"name": info.name, "fingerprint": info.fingerprint, "rows": sealed},
    )
    return model_id


def stored(connection: Connection) -> dict[int, ModelInfo]:
    """All recorded models by id, oldest first."""
    scenes: dict[int, list[str]] = {}
    for model_id, name in connection.execute(
        select(scene_table.c.model_id, scene_table.c.name).order_by(
            scene_table.c.model_id, scene_table.c.position
        )
    ):
        scenes.setdefault(model_id, []).append(name)
    rows = connection.execute(select(model_table).order_by(model_table.c.id))
    return {row.id: _info(row, tuple(scenes.get(row.id, ()))) for row in rows}


def _info(row: Row[Any], scenes: tuple[str, ...]) -> ModelInfo:
    return ModelInfo(
        name=row.name,
        fingerprint=row.fingerprint,
        architecture=row.architecture,
        weights_sha256=row.weights_sha256,
        preprocess=_preprocess(row.preprocess),
        dim=row.dim,
        metric=row.metric,
        normalisation=row.normalisation,
        numeric_class=row.numeric_class,
        scenes=scenes,
        scene_top_k=row.scene_top_k,
        scene_mass=row.scene_mass,
        licence=row.licence,
        origin=row.origin,
    )


def _preprocess(values: Mapping[str, Any]) -> Preprocess:
    return Preprocess(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def scene_ids(connection: Connection, model_id: int) -> dict[str, int]:
    """The scene classes of a model: name to id, in the order of the classifier's output."""
    statement = (
        select(scene_table.c.name, scene_table.c.id)
        .where(scene_table.c.model_id == model_id)
        .order_by(scene_table.c.position)
    )
    return {key: value for key, value in connection.execute(statement)}


def embedding_counts(connection: Connection) -> dict[int, int]:
    """How many vectors each model has, by model id; a model without any is absent."""
    statement = select(embedding_table.c.model_id, func.count()).group_by(
        embedding_table.c.model_id
    )
    return {key: value for key, value in connection.execute(statement)}


def embedded_models(connection: Connection) -> set[int]:
    """The models that have a vector of at least one content; to count all of them would read a whole index."""
    statement = select(model_table.c.id).where(
        select(embedding_table.c.id).where(embedding_table.c.model_id == model_table.c.id).exists()
    )
    return set(connection.execute(statement).scalars())


def labelled_models(connection: Connection) -> set[int]:
    """The models whose scene labels are stored for at least one content.

    Packs answer at once. Without one the labels are looked through, up to the first of the model: an index for this
    question alone took 121 bytes a picture at 12 labels each, a thirteenth of the file.
    """
    return {
        model_id
        for model_id in connection.execute(select(scene_table.c.model_id).distinct()).scalars()
        if _is_labelled(connection, model_id)
    }


def _is_labelled(connection: Connection, model_id: int) -> bool:
    packed = select(scene_pack_table.c.id).where(scene_pack_table.c.model_id == model_id)
    labelled = select(image_scene_table.c.image_id).where(
        image_scene_table.c.scene_id.in_(
            select(scene_table.c.id).where(scene_table.c.model_id == model_id)
        )
    )
    return any(
        connection.execute(statement.limit(1)).first() is not None
        for statement in (packed, labelled)
    )
