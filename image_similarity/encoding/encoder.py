"""A loaded network: batches of uint8 pictures to unit vectors and scene probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.encoding import architectures
from image_similarity.encoding.devices import (
    OutOfMemory,
    exact_float32,
    free_memory,
    memory_errors,
    resolve_device,
)
from image_similarity.encoding.spec import ModelSpec, to_info
from image_similarity.encoding.weights import fit_state, load_state, sha256_of
from image_similarity.errors import DeviceUnavailable, WeightsMissing, WeightsRefused
from image_similarity.values import ModelInfo, Preprocess

__all__ = ["Encoded", "Encoder", "OutOfMemory", "suggest_batch_size"]

Float32 = npt.NDArray[np.float32]

# Memory that one picture needs, in units of its float32 input (3 channels). VGG, the hungriest
# network by name, has two maps of 64 channels at full size alive at once: 43 units, by calculation.
ACTIVATION_FACTOR = 64

# The share of free memory that a batch may take: decoders, allocators and others need the rest.
MEMORY_SHARE = 0.25

MAX_BATCH = 256
BATCH_IF_UNKNOWN = 16


@dataclass(frozen=True, slots=True)
class Encoded:
    """What came out of one batch of N pictures, row by row in its order.

    Attributes:
        vectors: float32 (N, dim), each of length 1; None if the model does not embed.
        scenes: float32 (N, C), probabilities that add up to 1; None without a scene head.
        finite: bool (N,); False where a row holds NaN or infinity, or has no direction, and must
            not be stored.
    """

    vectors: Float32 | None
    scenes: Float32 | None
    finite: npt.NDArray[np.bool_]


class Encoder:
    """A network on a device, ready to encode; made by `Encoder.load`.

    Attributes:
        spec: what was loaded.
        info: what is recorded of it, with its fingerprint.
        device: "cpu" or "cuda:0", never "auto".
        runtime: library and version, such as "torch 2.13.0+cpu".
    """

    def __init__(self, spec: ModelSpec, info: ModelInfo, network: Any, *, device: str) -> None:
        """Take over a network that already has its weights and lies on the device."""
        import torch

        self.spec = spec
        self.info = info
        self.device = device
        self.runtime = f"torch {torch.__version__}"
        self._network = network
        self._scale, self._shift = _normalisation(spec.preprocess, device)
        self._centre = None
        if spec.centre is not None:
            self._centre = torch.tensor(spec.centre, dtype=torch.float32, device=device)

    @property
    def network(self) -> Any:
        """The torch module itself, for a training that goes on from it."""
        return self._network

    @classmethod
    def load(cls, spec: ModelSpec, *, device: str = "auto", threads: int | None = None) -> Encoder:
        """Return an encoder for the spec, tried out on one black picture.

        `threads` sets how many CPU threads torch uses in this whole process.

        Raises:
            DeviceUnavailable: the device is unknown, absent, or too small for the network.
            WeightsMissing: the weights file is not there.
            WeightsChanged: it is not the file that the card recorded.
            WeightsRefused: it is corrupt or does not belong to this network.
        """
        import torch

        if spec.weights is None or not spec.weights.is_file():
            raise WeightsMissing(f"The weights of {spec.name!r} are not there: {spec.weights}")
        if threads is not None:
            torch.set_num_threads(threads)
        place = resolve_device(device)
        info = to_info(spec, sha256_of(spec.weights, expected=spec.weights_sha256))
        try:
            with memory_errors():
                network = _load_network(spec, spec.weights)
                network.to(device=place, memory_format=torch.channels_last)
                encoder = cls(spec, info, network, device=place)
                encoder._try_out(spec.weights)
        except OutOfMemory as error:
            raise DeviceUnavailable(
                f"The memory of {place} does not hold the model {spec.name!r}: {error}",
                hint="Close what else runs there, or choose --device cpu.",
            ) from error
        return encoder

    def encode(self, batch: npt.NDArray[np.uint8]) -> Encoded:
        """Return vectors and scene probabilities of uint8 pictures (N, size, size, 3), RGB.

        A row does not depend on the others, but for float32 rounding below one float16 step.

        Raises:
            OutOfMemory: the batch is too large for the device.
            ValueError: the array has another type or shape.
        """
        import torch

        size = self.spec.preprocess.size
        if batch.dtype != np.uint8 or batch.shape[1:] != (size, size, 3):
            raise ValueError(
                f"uint8 (N, {size}, {size}, 3) expected, got {batch.dtype} {batch.shape}"
            )
        if len(batch) == 0:
            return self._nothing()
        with memory_errors(), torch.inference_mode(), exact_float32():
            embedding, logits = self._forward(batch)
            vectors = self._unit(embedding) if self.spec.dim is not None else None
            scenes = torch.softmax(logits.float(), dim=1) if self.spec.scenes else None
            return _to_host(vectors, scenes)

    def _forward(self, batch: npt.NDArray[np.uint8]) -> tuple[Any, Any]:
        """Normalise on the device and run the network once for both of its outputs."""
        import torch

        # torch takes no negative strides, and warns of read-only arrays although nothing here writes.
        pixels = torch.from_numpy(np.require(batch, requirements=("C", "W")))
        # (N, H, W, C) seen as (N, C, H, W) is channels_last in memory: nothing is moved.
        values = pixels.to(self.device).permute(0, 3, 1, 2).float()
        output = self._network(values.mul_(self._scale).sub_(self._shift))
        return output if isinstance(output, tuple) else (output, None)

    def _unit(self, embedding: Any) -> Any:
        """Return the rows at length 1, centred if the model is; a row of zeros becomes NaN."""
        vectors = embedding.float()
        vectors = vectors / _lengths(vectors)
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
        size = self.spec.preprocess.size
        wanted = (self.spec.dim, len(self.spec.scenes) or None)
        try:
            encoded = self.encode(np.zeros((1, size, size, 3), np.uint8))
        except (RuntimeError, ValueError, AttributeError, TypeError, AssertionError) as error:
            raise WeightsRefused(
                f"{weights}: the network does not run on {size} x {size} pixels ({error})"
            ) from error
        given = tuple(None if a is None else a.shape[1] for a in (encoded.vectors, encoded.scenes))
        if given != wanted:
            raise WeightsRefused(
                f"{weights}: vector and scenes have lengths {given}, its card says {wanted}"
            )


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


def _lengths(vectors: Any) -> Any:
    """Return the Euclidean length of each row as a column."""
    import torch

    return torch.linalg.vector_norm(vectors, dim=1, keepdim=True)


def _load_network(spec: ModelSpec, weights: Path) -> Any:
    """Build the network on the CPU, give it its weights, and set it to evaluation."""
    import torch

    state = load_state(weights)
    if spec.architecture.startswith("torchvision/") and spec.build is None:
        from image_similarity.encoding.networks.backbones import adapt_state

        state = adapt_state(spec.architecture.partition("/")[2], state)
    # Construction draws random numbers that the weights replace; the caller's sequence of random
    # numbers must not depend on whether a model was loaded.
    with torch.random.fork_rng(devices=[]):
        if spec.build is None:
            _check_size(spec, state, weights)
        network = architectures.build(spec)
    fit_state(network, state, weights)
    return network.float().eval().requires_grad_(False)


def _check_size(spec: ModelSpec, state: dict[str, Any], weights: Path) -> None:
    """Refuse a configuration whose network would be far larger than the weights in the file.

    It is built with weights on torch's meta device, which allocates nothing, so that a wrong card
    cannot fill the memory.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Weightless(TorchFunctionMode):
        # Layers make their weights with torch.empty. The meta device for everything, as
        # torch.device("meta") gives, would break networks that calculate their widths with torch.
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            if function is torch.empty:
                kwargs["device"] = "meta"
            return function(*args, **kwargs)

    with Weightless():
        wanted = sum(tensor.numel() for tensor in architectures.build(spec).state_dict().values())
    # Not an exact comparison: `fit_state` names the keys that differ, which helps more.
    if wanted > 2 * sum(tensor.numel() for tensor in state.values()) + 10_000_000:
        raise WeightsRefused(f"{weights}: its card describes a network of {wanted} numbers.")


def _normalisation(preprocess: Preprocess, device: str) -> tuple[Any, Any]:
    """Return scale and shift (1, 3, 1, 1) so that pixel * scale - shift is the network's input."""
    import torch

    mean = torch.tensor(preprocess.mean, dtype=torch.float64).reshape(1, 3, 1, 1)
    std = torch.tensor(preprocess.std, dtype=torch.float64).reshape(1, 3, 1, 1)
    return (1 / (255 * std)).float().to(device), (mean / std).float().to(device)


def _to_host(vectors: Any, scenes: Any) -> Encoded:
    """Copy the outputs into numpy arrays and note which rows are finite in both."""
    arrays = [None if each is None else each.cpu().numpy() for each in (vectors, scenes)]
    finite = [np.isfinite(each).all(axis=1) for each in arrays if each is not None]
    return Encoded(arrays[0], arrays[1], np.logical_and.reduce(finite))
