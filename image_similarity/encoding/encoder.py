"""A loaded network: batches of uint8 pictures to unit vectors and scene probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.encoding import derived, onnx_model
from image_similarity.encoding.derived import DerivedNetwork, find_base, is_derived
from image_similarity.encoding.devices import OutOfMemory, free_memory, resolve_device
from image_similarity.encoding.graph import Graph, find_graph
from image_similarity.encoding.onnx_model import OnnxModel
from image_similarity.encoding.onnx_network import OnnxNetwork
from image_similarity.encoding.spec import ModelSpec, to_info
from image_similarity.encoding.weights import sha256_of
from image_similarity.errors import (
    DeviceUnavailable,
    InvalidSetting,
    ModelError,
    WeightsMissing,
    WeightsRefused,
)
from image_similarity.settings import RUNTIMES
from image_similarity.values import ModelInfo

__all__ = ["Encoded", "Encoder", "OutOfMemory", "choose_runtime", "suggest_batch_size"]

Float32 = npt.NDArray[np.float32]

# Memory that one picture needs, in units of its float32 input (3 channels). VGG, the hungriest
# network by name, has two maps of 64 channels at full size alive at once: 43 units, by calculation.
ACTIVATION_FACTOR = 64

# The share of free memory that a batch may take: decoders, allocators and others need the rest.
MEMORY_SHARE = 0.25

MAX_BATCH = 256
# Vectors are stored as float16.
LARGEST_HALF = float(np.finfo(np.float16).max)
BATCH_IF_UNKNOWN = 16

_RUN_BY_THEMSELVES = (OnnxNetwork, OnnxModel, DerivedNetwork)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What came out of one batch of N pictures, row by row in its order.

    Attributes:
        vectors: float32 (N, dim), each of length 1 unless the model's normalisation is "none"; None if the model
            does not embed.
        scenes: float32 (N, C), probabilities that add up to 1; None without a scene head.
        finite: bool (N,); False where a row holds NaN, infinity or what float16 cannot hold, or has no direction, and
            must not be stored.
    """

    vectors: Float32 | None
    scenes: Float32 | None
    finite: npt.NDArray[np.bool_]


class Encoder:
    """A network on a device, ready to encode; made by `Encoder.load`.

    Attributes:
        spec: what was loaded.
        info: what is recorded of it, with its fingerprint, to which runtime and device do not belong.
        device: "cpu" or "cuda:0", never "auto".
        runtime: library and version, such as "onnxruntime 1.31.1" or "torch 2.13.0+cpu".
    """

    def __init__(self, spec: ModelSpec, info: ModelInfo, network: Any, *, device: str) -> None:
        """Take over what runs by itself, or a torch module that has its weights and lies on the device."""
        self.spec = spec
        self.info = info
        self.device = device
        self._network = network
        if isinstance(network, _RUN_BY_THEMSELVES):
            self._runner: Any = network
        else:
            from image_similarity.encoding.torch_network import TorchNetwork

            self._runner = TorchNetwork(network, spec.preprocess, device)
        self.runtime: str = self._runner.runtime
        self._centre = None if spec.centre is None else np.array(spec.centre, np.float32)

    @property
    def network(self) -> Any:
        """The torch module itself, for a training that goes on from it; load with `runtime="torch"`."""
        if isinstance(self._network, _RUN_BY_THEMSELVES):
            raise TypeError(f"{self.spec.name} was loaded in {self.runtime}, not in torch")
        return self._network

    @classmethod
    def load(
        cls,
        spec: ModelSpec,
        *,
        device: str = "auto",
        threads: int | None = None,
        runtime: str = "auto",
    ) -> Encoder:
        """Return an encoder for the spec, tried out on one black picture.

        `threads` is the number of CPU threads for one batch; torch keeps it for the whole process. By
        default it is the machine's cores, or what OMP_NUM_THREADS says. For `runtime` see
        `choose_runtime`.

        Raises:
            DeviceUnavailable: the device is unknown, absent, or too small for the network.
            InvalidSetting: the runtime is unknown.
            ModelError: the runtime does not run this model, or does not load.
            WeightsMissing: the weights file is not there.
            WeightsChanged: it is not the file that the card recorded.
            WeightsRefused: it is corrupt or does not belong to this network.
        """
        if spec.weights is None or not spec.weights.is_file():
            raise WeightsMissing(f"The weights of {spec.name!r} are not there: {spec.weights}")
        place, graph = _place(spec, device, runtime)
        info = to_info(spec, sha256_of(spec.weights, expected=spec.weights_sha256))
        with _memory_named(spec, place):
            network = _load(spec, spec.weights, graph, place, threads, runtime)
            encoder = cls(spec, info, network, device=place)
            encoder._try_out(spec.weights)
        return encoder

    def encode(self, batch: npt.NDArray[np.uint8]) -> Encoded:
        """Return vectors and scene probabilities of uint8 pictures (N, size, size, 3), RGB.

        A row does not depend on the others, but for float32 rounding below one float16 step.

        Raises:
            OutOfMemory: the batch is too large for the device.
            ValueError: the array has another type or shape.
        """
        size = self.spec.preprocess.size
        if batch.dtype != np.uint8 or batch.shape[1:] != (size, size, 3):
            raise ValueError(
                f"uint8 (N, {size}, {size}, 3) expected, got {batch.dtype} {batch.shape}"
            )
        if len(batch) == 0:
            return self._nothing()
        embedding, logits = self._runner.run(batch)
        # What is no number is told row by row, not by warnings.
        with np.errstate(all="ignore"):
            vectors = self._unit(embedding) if self.spec.dim is not None else None
            scenes = _probabilities(logits) if self.spec.scenes else None
        finite = [
            (np.abs(each) <= LARGEST_HALF).all(axis=1)
            for each in (vectors, scenes)
            if each is not None
        ]
        return Encoded(vectors, scenes, np.logical_and.reduce(finite))

    def _unit(self, embedding: Float32) -> Float32:
        """Return the rows at length 1, centred if the model is; a row of zeros becomes NaN.

        Those of a model without normalisation stay as they are.
        """
        if self.spec.normalisation == "none":
            return embedding
        vectors = embedding / _lengths(embedding)
        if self._centre is not None:
            vectors = vectors - self._centre
            vectors = vectors / _lengths(vectors)
        return vectors

    def _nothing(self) -> Encoded:
        """Return the answer to a batch of no pictures."""
        dim, scenes = self.spec.dim, len(self.spec.scenes)
        return Encoded(
            vectors=None if dim is None else np.empty((0, dim), np.float32),
            scenes=np.empty((0, scenes), np.float32) if scenes else None,
            finite=np.empty(0, np.bool_),
        )

    def _try_out(self, weights: Path) -> None:
        """Encode one black picture, so that a card that misstates its network is refused here."""
        wanted = (self.spec.dim, len(self.spec.scenes) or None)
        with _misfit_named(weights, self.spec.preprocess.size):
            encoded = self.encode(_black(self.spec))
        given = tuple(None if a is None else a.shape[1] for a in (encoded.vectors, encoded.scenes))
        if given != wanted:
            raise WeightsRefused(
                f"{weights}: vector and scenes have lengths {given}, its card says {wanted}"
            )


def measure_dim(spec: ModelSpec, weights: Path) -> int:
    """Return the length of the embedding that a network gives, of which its spec says nothing yet; on the CPU.

    Raises:
        DeviceUnavailable, ModelError, WeightsRefused: as `Encoder.load`.
    """
    place, graph = _place(spec, "cpu", "auto")
    with _memory_named(spec, place):
        network = _load(spec, weights, graph, place, None, "auto")
        encoder = Encoder(spec, to_info(spec, ""), network, device=place)
        with _misfit_named(weights, spec.preprocess.size):
            embedding, _ = encoder._runner.run(_black(spec))
    if embedding is None or embedding.ndim != 2:
        raise WeightsRefused(f"{weights}: the network gives no embedding, a row of numbers each")
    return int(embedding.shape[1])


def _black(spec: ModelSpec) -> npt.NDArray[np.uint8]:
    size = spec.preprocess.size
    return np.zeros((1, size, size, 3), np.uint8)


@contextmanager
def _memory_named(spec: ModelSpec, place: str) -> Iterator[None]:
    try:
        yield
    except OutOfMemory as error:
        raise DeviceUnavailable(
            f"The memory of {place} does not hold the model {spec.name!r}: {error}",
            hint="Close what else runs there, or choose --device cpu.",
        ) from error


@contextmanager
def _misfit_named(weights: Path, size: int) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, AttributeError, TypeError, AssertionError) as error:
        raise WeightsRefused(
            f"{weights}: the network does not run on {size} x {size} pixels ({error})"
        ) from error


def suggest_batch_size(encoder: Encoder) -> int:
    """Return how many pictures to encode at once, from 1 to 256.

    A quarter of the free memory, divided by 64 times the float32 input of one picture (12 size²
    bytes); 16 where the free memory is unknown. A guess on the safe side: the caller still halves
    the batch on `OutOfMemory`.
    """
    free = free_memory(encoder.device)
    if free is None:
        return BATCH_IF_UNKNOWN
    picture_bytes = 3 * 4 * encoder.spec.preprocess.size**2 * ACTIVATION_FACTOR
    return max(1, min(MAX_BATCH, int(free * MEMORY_SHARE) // picture_bytes))


def choose_runtime(spec: ModelSpec, *, device: str = "auto", runtime: str = "auto") -> str:
    """Return the runtime in which `Encoder.load` would load a model: "onnx" or "torch".

    "auto" is ONNX Runtime on the CPU for a model whose network is shipped as a graph, or is an .onnx file, else torch.
    Both calculate in float32 and agree within a cosine of 0.999999, so a runtime belongs to no fingerprint.

    Raises:
        DeviceUnavailable, InvalidSetting, ModelError, WeightsRefused: as `Encoder.load`.
    """
    _, graph = _place(spec, device, runtime)
    lowest = find_base(spec) if is_derived(spec) else spec
    return "onnx" if graph or lowest.architecture == onnx_model.ARCHITECTURE else "torch"


def _place(spec: ModelSpec, device: str, runtime: str) -> tuple[str, Graph | None]:
    """Return the device, and the graph if ONNX Runtime is to run it."""
    if runtime not in RUNTIMES:
        raise InvalidSetting(
            f"no runtime is called {runtime!r}", hint=f"one of {', '.join(RUNTIMES)}"
        )
    if spec.architecture == derived.WORDS:
        if runtime == "onnx":
            raise ModelError(
                f"{spec.name!r} reads a layer inside its network, which only torch gives.",
                hint="Choose --runtime auto or torch.",
            )
        find_base(spec)
        return resolve_device(device), None
    if is_derived(spec):
        return _place(find_base(spec), device, runtime)
    is_onnx_file = spec.architecture == onnx_model.ARCHITECTURE
    if is_onnx_file and runtime == "torch":
        raise ModelError(
            f"{spec.name!r} is a file for ONNX Runtime, which torch cannot run.",
            hint="Choose --runtime auto or onnx.",
        )
    if is_onnx_file and device in ("auto", "cpu"):
        return "cpu", None
    if runtime != "onnx" and not is_onnx_file:
        place = resolve_device(device)
        wants_graph = runtime == "auto" and place == "cpu" and find_spec("onnxruntime") is not None
        return place, find_graph(spec) if wants_graph else None
    if device not in ("auto", "cpu"):
        raise DeviceUnavailable(
            f"ONNX Runtime runs on the CPU here, not on {device}.",
            hint="Choose --device cpu, or --runtime torch.",
        )
    if find_spec("onnxruntime") is None:
        raise ModelError("ONNX Runtime is not installed.", hint="pip install onnxruntime")
    graph = find_graph(spec)
    if graph is None:
        size = spec.preprocess.size
        raise ModelError(
            f"No graph for ONNX Runtime is shipped for {spec.name!r} "
            f"({spec.architecture} at {size} x {size} pixels).",
            hint="Choose --runtime auto or torch, which runs every model.",
        )
    return "cpu", graph


def _load(
    spec: ModelSpec,
    weights: Path,
    graph: Graph | None,
    device: str,
    threads: int | None,
    runtime: str,
) -> Any:
    """Return the network, filled with its weights."""
    if is_derived(spec):
        return derived.load(spec, weights, device=device, runtime=runtime, threads=threads)
    if spec.architecture == onnx_model.ARCHITECTURE:
        return OnnxModel.load(spec, weights, threads=threads)
    if graph is not None:
        return OnnxNetwork.load(graph, weights, spec.preprocess, threads=threads)
    import torch

    from image_similarity.encoding.torch_network import load_module

    if threads is not None:
        torch.set_num_threads(threads)
    return load_module(spec, weights, device)


def _lengths(vectors: Float32) -> Float32:
    """Return the Euclidean length of each row as a column."""
    lengths: Float32 = np.linalg.norm(vectors, axis=1, keepdims=True)
    return lengths


def _probabilities(logits: Float32) -> Float32:
    """Return the softmax of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Float32 = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
