"""What a run can be told, with its defaults; environment variables fill in where a flag is not given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DATABASE_VARIABLE = "IMAGE_SIMILARITY_DB"
MODEL_VARIABLE = "IMAGE_SIMILARITY_MODEL"
WEIGHTS_VARIABLE = "IMAGE_SIMILARITY_WEIGHTS"

BUILTIN = "builtin"

# In which library a network runs. None changes the numeric class, so none belongs to a model's fingerprint.
RUNTIMES = ("auto", "torch", "onnx")

# The longest vector: the fifth block of VGG19 before its pooling, laid flat, has 14 x 14 x 512 = 100,352 numbers, and
# the kernels of the search add 8-bit products in 32 bits up to this length.
MAX_DIM = 131_071

# A 250-megapixel RGB picture takes 0.75 GB once decoded; larger than any camera's single frame, smaller than memory.
MAX_MEGAPIXELS = 250.0


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """The settings of an index run.

    `weights` is a local file for the one model named; `scenes` a scene model's name or file, or None to store no
    scenes. `runtime` is one of RUNTIMES: auto is ONNX Runtime for a model that has a graph and runs on the CPU, else
    torch. `batch_size` None adapts to the device's memory. `workers` None takes one reader per core, at most 8. `pdq`
    stores the PDQ hash of each picture, too; a later run without it keeps those that there are. `thumbnails`
    stores a small JPEG of each likewise.
    """

    models: tuple[str, ...] = (BUILTIN,)
    scenes: str | None = BUILTIN
    weights: Path | None = None
    batch_size: int | None = None
    workers: int | None = None
    device: str = "auto"
    runtime: str = "auto"
    exclude: tuple[str, ...] = ()
    max_megapixels: float = MAX_MEGAPIXELS
    rehash: bool = False
    retry_failed: bool = False
    pdq: bool = False
    thumbnails: bool = False


# Without a finished batch for so long, a run on many machines is ended: longer than any batch takes.
STALL_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The settings of a run on many machines.

    `address` is that of a Ray cluster: "auto" for the one that this machine is part of, "host:port" or
    "ray://host:port"; None starts one on this machine alone, for this run. `actors` is how many hold the networks, each
    on a processor; None takes one for each GPU, or all processors but one. `gpus_per_actor` None is 1 where the
    cluster has GPUs. A run in which no batch is finished for `stall_seconds` is ended. `logs` lets Ray talk.
    """

    address: str | None = None
    actors: int | None = None
    gpus_per_actor: float | None = None
    stall_seconds: float = STALL_SECONDS
    logs: bool = False
