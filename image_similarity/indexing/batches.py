"""Batches that adapt: as large as the device bears, halved when memory runs out, nothing dropped or done twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from image_similarity.encoding.encoder import OutOfMemory
from image_similarity.encoding.scenes import top_scenes
from image_similarity.indexing.taskset import Task, TaskSet
from image_similarity.matching.pdq import PdqHash
from image_similarity.values import Preprocess

# After this many batches without trouble the size doubles again, up to the largest: memory that another program
# took may have come back.
CALM_BATCHES = 16


class BatchSize:
    """How many pictures go through the network at once."""

    def __init__(self, largest: int, on_change: Callable[[int], None] = lambda size: None) -> None:
        self.size = self.largest = largest
        self._calm = 0
        self._on_change = on_change

    def shrink(self) -> bool:
        """Halve after an out-of-memory; False if a single picture was too much already."""
        if self.size == 1:
            return False
        self.size = self.size // 2
        self._calm = 0
        self._on_change(self.size)
        return True

    def went_well(self) -> None:
        """Count a batch that fitted."""
        self._calm += 1
        if self._calm >= CALM_BATCHES and self.size < self.largest:
            self.size = min(self.largest, self.size * 2)
            self._calm = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A content that waits for the network: what it lacks, its pixels, PDQ hash and thumbnail."""

    sha256: str
    lacking: frozenset[int]
    pixels: Mapping[Preprocess, npt.NDArray[np.uint8]]
    pdq: PdqHash | None = None
    thumbnail: bytes | None = None


@dataclass(slots=True)
class Results:
    """What the networks said, ready to be stored; `refused` maps a content to why it could not be encoded."""

    vectors: list[tuple[int, str, bytes]] = field(default_factory=list)
    scenes: list[tuple[int, str, Sequence[tuple[int, float]]]] = field(default_factory=list)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)


def encode(waiting: Sequence[Waiting], tasks: TaskSet, size: BatchSize) -> Results:
    """Run every network over the contents that lack its output.

    A batch that does not fit into memory is halved and the same pictures are tried again; a single picture that does
    not fit is refused. Nothing of a refused content is in the results.
    """
    results = Results()
    for task in tasks.tasks:
        group = [content for content in waiting if not task.keys.isdisjoint(content.lacking)]
        position = 0
        while position < len(group):
            chunk = group[position : position + size.size]
            pixels = np.stack([content.pixels[task.info.preprocess] for content in chunk])
            try:
                encoded = task.encoder.encode(pixels)
            except OutOfMemory as error:
                if not size.shrink():
                    results.refused[chunk[0].sha256] = (
                        "OutOfMemory",
                        str(error) or "not enough memory for one picture",
                    )
                    position += 1
                continue
            size.went_well()
            position += len(chunk)
            for row, content in enumerate(chunk):
                if not encoded.finite[row]:
                    results.refused[content.sha256] = (
                        "NotFinite",
                        "the network gave no finite vector",
                    )
                    continue
                _keep(results, task, content, encoded.vectors, encoded.scenes, row)
    results.vectors = [row for row in results.vectors if row[1] not in results.refused]
    results.scenes = [row for row in results.scenes if row[1] not in results.refused]
    return results


def _keep(
    results: Results,
    task: Task,
    content: Waiting,
    vectors: npt.NDArray[np.float32] | None,
    scenes: npt.NDArray[np.float32] | None,
    row: int,
) -> None:
    if task.vectors is not None and task.vectors in content.lacking and vectors is not None:
        results.vectors.append((task.vectors, content.sha256, vectors[row].astype("<f2").tobytes()))
    if task.scenes is not None and -task.scenes in content.lacking and scenes is not None:
        top = top_scenes(scenes[row], task.info.scene_top_k)
        labels = [(task.scene_ids[position], probability) for position, probability in top]
        results.scenes.append((task.scenes, content.sha256, labels))
