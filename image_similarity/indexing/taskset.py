"""Which networks a run needs: one task per distinct model, loaded only when a picture has to go through it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder, suggest_batch_size
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import InvalidSetting
from image_similarity.matching import pdq
from image_similarity.settings import IndexOptions
from image_similarity.store import models
from image_similarity.store.batch import PDQ, THUMBNAIL
from image_similarity.values import ModelInfo, Preprocess

if TYPE_CHECKING:
    from sqlalchemy import Connection


# A thumbnail that is stored: large enough to recognise what a picture shows, a hundredth of what a camera's takes.
THUMBNAIL_PREPROCESS = Preprocess(256, "within", decode_scale=1)


@dataclass(slots=True)
class Task:
    """One network and what is kept of its output. The ids are those of the database, None for what is not kept."""

    spec: ModelSpec
    info: ModelInfo
    device: str
    runtime: str
    vectors: int | None = None
    scenes: int | None = None
    scene_ids: tuple[int, ...] = ()
    _encoder: Encoder | None = field(default=None, repr=False)

    @property
    def keys(self) -> set[int]:
        """The keys under which `Knowledge.present` counts what this task gives."""
        return {
            key for key in (self.vectors, -self.scenes if self.scenes else None) if key is not None
        }

    @property
    def encoder(self) -> Encoder:
        """The network on its device; the first use loads it."""
        if self._encoder is None:
            self._encoder = Encoder.load(self.spec, device=self.device, runtime=self.runtime)
        return self._encoder


class TaskSet:
    """The tasks of a run, by model; a model that embeds and classifies runs once for both."""

    def __init__(
        self, tasks: Collection[Task], *, pdq: bool = False, thumbnails: bool = False
    ) -> None:
        self.tasks = tuple(tasks)
        self.pdq = pdq
        self.thumbnails = thumbnails

    @property
    def vector_models(self) -> list[int]:
        """The ids of the models whose vectors are kept."""
        return [task.vectors for task in self.tasks if task.vectors is not None]

    @property
    def scene_models(self) -> list[int]:
        """The ids of the models whose scene labels are kept."""
        return [task.scenes for task in self.tasks if task.scenes is not None]

    def wanting(self, lacking: Collection[int]) -> list[Task]:
        """The tasks that give something of what a content lacks."""
        return [task for task in self.tasks if not task.keys.isdisjoint(lacking)]

    def preprocessings(self, lacking: Collection[int]) -> set[Preprocess]:
        """The distinct preprocessings that those tasks, the PDQ hash and the thumbnail need."""
        found = {task.info.preprocess for task in self.wanting(lacking)}
        beside = {PDQ: pdq.PREPROCESS, THUMBNAIL: THUMBNAIL_PREPROCESS}
        return found | {wanted for key, wanted in beside.items() if key in lacking}

    def all_keys(self) -> set[int]:
        """What a content that is new lacks: everything."""
        models = set[int]().union(*(task.keys for task in self.tasks))
        beside = {PDQ: self.pdq, THUMBNAIL: self.thumbnails}
        return models | {key for key, wanted in beside.items() if wanted}

    def largest_batch(self) -> int:
        """How many pictures the most demanding network takes at once; loads the networks."""
        return min(suggest_batch_size(task.encoder) for task in self.tasks)


def resolve(options: IndexOptions) -> list[tuple[ModelSpec, ModelInfo, bool, bool]]:
    """Find the models asked for without loading them: (spec, info, keep vectors, keep scenes) each.

    Raises:
        InvalidSetting: No model, or `weights` given for several.
        ModelError: A model is unknown, or its weights are missing, changed or refused.
    """
    if not options.models:
        raise InvalidSetting("no model was named", hint="-m builtin")
    if options.weights is not None and len(set(options.models)) > 1:
        raise InvalidSetting(
            "--weights belongs to one model, several were named", hint="index once for each"
        )
    found: dict[str, tuple[ModelSpec, ModelInfo, bool, bool]] = {}
    for name in options.models:
        spec = registry.get(name, weights=options.weights)
        info = registry.info(spec)
        if info.dim is None:
            raise InvalidSetting(
                f"model {name} only classifies scenes", hint="give it with --scenes"
            )
        found[info.fingerprint] = (spec, info, True, False)
    if options.scenes is not None:
        spec = registry.get_scene_model(options.scenes)
        info = registry.info(spec)
        keeps_vectors = info.fingerprint in found
        found[info.fingerprint] = (spec, info, keeps_vectors, True)
    return list(found.values())


def register(
    connection: Connection,
    resolved: Collection[tuple[ModelSpec, ModelInfo, bool, bool]],
    options: IndexOptions,
) -> TaskSet:
    """Record the models and give the tasks with their ids."""
    tasks = []
    for spec, info, vectors, scenes in resolved:
        model_id = models.register(connection, info)
        ids: Mapping[str, int] = models.scene_ids(connection, model_id) if scenes else {}
        tasks.append(
            Task(
                spec,
                info,
                options.device,
                options.runtime,
                vectors=model_id if vectors else None,
                scenes=model_id if scenes else None,
                scene_ids=tuple(ids[name] for name in info.scenes) if scenes else (),
            )
        )
    return TaskSet(tasks, pdq=options.pdq, thumbnails=options.thumbnails)
