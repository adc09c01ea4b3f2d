"""Outputs of teacher networks, computed once per picture and kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image_similarity.training.data import Progress

_BATCH = 64


def open_teacher_cache(
    teacher: Path,
    pictures: NDArray[np.uint8],
    cache: Path,
    *,
    progress: Progress | None = None,
) -> NDArray[np.float16]:
    """Return a teacher's features of every picture as float16 (N, D), computing them once.

    `teacher` is a TorchScript file taking float32 RGB (N, 3, S, S) in [0, 1] and giving unit
    vectors. The picture is shown once, as it is: no augmentation. Interrupted work goes on
    where it stopped.
    """
    done_file = cache.with_suffix(".rows")
    if cache.exists() and not done_file.exists():
        finished: NDArray[np.float16] = np.load(cache, mmap_mode="r")
        return finished
    network = torch.jit.load(str(teacher)).float().eval()
    first = _run_teacher(network, pictures[:1])
    start = int(done_file.read_text()) if done_file.exists() else 0
    features = np.lib.format.open_memmap(
        cache,
        mode="r+" if start else "w+",
        dtype=np.float16,
        shape=None if start else (len(pictures), first.shape[1]),
    )
    done_file.write_text(str(start))
    for low in range(start, len(pictures), _BATCH):
        high = min(low + _BATCH, len(pictures))
        features[low:high] = _run_teacher(network, pictures[low:high])
        if (low // _BATCH) % 20 == 0:
            features.flush()
            done_file.write_text(str(high))
            if progress is not None:
                progress(f"{teacher.stem}: {high} of {len(pictures)} pictures")
    features.flush()
    done_file.unlink()
    result: NDArray[np.float16] = np.load(cache, mmap_mode="r")
    return result


@torch.inference_mode()
def _run_teacher(network: torch.nn.Module, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Return float16 unit vectors (N, D) of uint8 pictures (N, S, S, 3)."""
    batch = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255
    batch = batch.contiguous(memory_format=torch.channels_last)
    # bfloat16 doubles the speed and costs less than the float16 in which the vectors are kept.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors = network(batch)
    vectors = torch.nn.functional.normalize(vectors.float(), dim=1)
    result: NDArray[np.float16] = vectors.numpy().astype(np.float16)
    return result


def combine_teachers(
    features: Sequence[NDArray[np.float16]], training_rows: NDArray[np.int64]
) -> Tensor:
    """Return one float16 unit vector (N, sum of D) per picture from several teachers.

    Each teacher is centred on its mean over `training_rows` and normalised again, so that none
    outweighs another, then they are concatenated and normalised.
    """
    parts: list[Tensor] = []
    for teacher in features:
        vectors = torch.from_numpy(np.array(teacher)).float()
        vectors -= vectors[torch.from_numpy(training_rows)].mean(dim=0)
        parts.append(torch.nn.functional.normalize(vectors, dim=1))
    return torch.nn.functional.normalize(torch.cat(parts, dim=1), dim=1).half()
