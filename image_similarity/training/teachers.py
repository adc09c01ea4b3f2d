"""Teacher networks: their outputs computed once per picture and kept, or asked online about each view.

Online, teacher and learner see the very same augmented view, which teaches better than one opinion on
the plain picture (Beyer et al., "Knowledge distillation: a good teacher is patient and consistent",
2022), but costs the teachers' forward pass in every step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from image_similarity.encoding.weights import sha256_of
from image_similarity.training.data import Progress
from image_similarity.training.probe import Probe, teach_probe

_BATCH = 64
# Softens the teachers' opinion of scenes: their probe has seen the pictures that it judges.
PROBE_TEMPERATURE = 1.5


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
    result: NDArray[np.float16] = _unit_vectors(network, batch).numpy().astype(np.float16)
    return result


def _unit_vectors(network: nn.Module, images: Tensor) -> Tensor:
    """Return float32 unit vectors (N, D) of pictures (N, 3, S, S) in [0, 1]."""
    images = images.contiguous(memory_format=torch.channels_last)
    # bfloat16 doubles the speed and costs less than the float16 in which vectors are kept.
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        vectors = network(images)
    return nn.functional.normalize(vectors.float(), dim=1)


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


class OnlineTeachers:
    """Teachers that are asked about each view; made by `open_online_teachers`.

    Attributes:
        width: length T of the joint feature.
    """

    def __init__(
        self, networks: Sequence[nn.Module], means: Sequence[Tensor], probe: Probe, *, side: int
    ) -> None:
        """Take over networks on their device, the mean unit vector of each, and the probe of scenes."""
        self.width = sum(len(mean) for mean in means)
        self._networks = networks
        self._means = means
        self._probe = probe
        self._side = side

    @torch.no_grad()
    def __call__(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit vectors (N, T) and scene probabilities (N, C) of views (N, 3, S, S) in [0, 1]."""
        parts = _look(self._networks, views, self._side)
        features = _join(parts, self._means)
        return features, (self._probe(features) / PROBE_TEMPERATURE).softmax(dim=1)


def open_online_teachers(
    paths: Sequence[Path],
    pictures: Tensor,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    cache: Path,
    *,
    side: int,
    progress: Progress | None = None,
) -> OnlineTeachers:
    """Return the teachers, on the device where the pictures, uint8 (N, S, S, 3), lie.

    Their means, and the probe that turns their features into scene probabilities, come from the
    plain pictures of `rows`, once; they are kept in `cache` and used again with the same teachers
    and rows, so that a resumed training has the very same teacher. Views whose side is below `side` are
    enlarged to it for the teachers, who were taught with larger pictures.
    """
    device = pictures.device
    networks = [torch.jit.load(str(path), map_location=device).float().eval() for path in paths]
    # A file of another origin is told by this mark, and made anew.
    mark = hashlib.sha256(rows.tobytes() + labels.tobytes() + str(side).encode())
    mark.update("".join(sha256_of(path) for path in paths).encode())
    kept = _read_kept(cache, mark.hexdigest(), device)
    if kept is None:
        kept = _prepare(networks, pictures, labels, rows, side, progress)
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial")
        save_file({k: v.cpu() for k, v in kept.items()}, partial, {"mark": mark.hexdigest()})
        partial.replace(cache)
    probe = Probe(kept["probe.weight"], kept["probe.bias"], float(kept["probe.scale"]))
    means = [kept[f"mean.{number}"] for number in range(len(networks))]
    return OnlineTeachers(networks, means, probe, side=side)


def _read_kept(cache: Path, mark: str, device: torch.device) -> dict[str, Tensor] | None:
    """Return what an earlier start prepared, if it was for the same teachers and rows."""
    if not cache.exists():
        return None
    with safe_open(cache, framework="pt") as file:
        if (file.metadata() or {}).get("mark") != mark:
            return None
        return {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118


@torch.no_grad()
def _prepare(
    networks: Sequence[nn.Module],
    pictures: Tensor,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    side: int,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """Return the mean of each teacher over the plain pictures of `rows`, and the probe taught on them."""
    blocks: list[list[Tensor]] = [[] for _ in networks]
    chosen = torch.from_numpy(rows)
    for number, block in enumerate(chosen.split(_BATCH)):
        images = pictures[block.to(pictures.device)].permute(0, 3, 1, 2).float() / 255
        for found, vectors in zip(blocks, _look(networks, images, side), strict=True):
            # Half precision: 57,000 pictures of 3,840 numbers would take 0.9 GB as float32.
            found.append(vectors.half())
        if progress is not None and number % 50 == 0:
            progress(f"teachers: {min((number + 1) * _BATCH, len(rows))} of {len(rows)} pictures")
    means = [torch.cat(found).float().mean(dim=0) for found in blocks]
    features = torch.cat(
        [
            _join([part.float() for part in parts], means).half()
            for parts in zip(*blocks, strict=True)
        ]
    )
    everyone = np.arange(len(rows), dtype=np.int64)
    with torch.enable_grad():
        probe = teach_probe(features, labels[rows], everyone)
    if progress is not None:
        right = probe(features).argmax(dim=1).cpu().numpy() == labels[rows]
        progress(f"probe: {right.mean():.3f} of what it was taught")
    kept = {f"mean.{number}": mean for number, mean in enumerate(means)}
    scale = torch.tensor(probe.scale)
    return kept | {"probe.weight": probe.weight, "probe.bias": probe.bias, "probe.scale": scale}


def _look(networks: Sequence[nn.Module], images: Tensor, side: int) -> list[Tensor]:
    """Return each teacher's unit vectors (N, D) of pictures (N, 3, S, S) in [0, 1]."""
    if images.shape[-1] < side:
        images = nn.functional.interpolate(images, size=side, mode="bilinear", antialias=True)
    return [_unit_vectors(network, images) for network in networks]


def _join(parts: Sequence[Tensor], means: Sequence[Tensor]) -> Tensor:
    """Return one unit vector (N, sum of D) of several, each first centred, so that none outweighs another."""
    centred = [
        nn.functional.normalize(part - mean, dim=1) for part, mean in zip(parts, means, strict=True)
    ]
    return nn.functional.normalize(torch.cat(centred, dim=1), dim=1)
