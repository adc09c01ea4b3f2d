"""A network in torch, on the CPU or a GPU: built by its card, filled with the tensors of a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode

from image_similarity.encoding import architectures
from image_similarity.encoding.devices import exact_float32, memory_errors
from image_similarity.encoding.onnx_network import normalisation
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.weights import fit_state, load_state
from image_similarity.errors import WeightsRefused
from image_similarity.values import Preprocess

Float32 = npt.NDArray[np.float32]


class TorchNetwork:
    """A torch module that takes uint8 pictures and gives numpy arrays.

    Attributes:
        runtime: library and version, such as "torch 2.13.0+cpu".
    """

    def __init__(self, module: Any, preprocess: Preprocess, device: str) -> None:
        """Take over a module that has its weights and lies on the device."""
        self.runtime = f"torch {torch.__version__}"
        self._module = module
        self._device = device
        constants = normalisation(preprocess)
        self._scale = torch.from_numpy(constants["scale"]).to(device)
        self._shift = torch.from_numpy(constants["shift"]).to(device)

    def run(self, batch: npt.NDArray[np.uint8]) -> tuple[Float32 | None, Float32 | None]:
        """Return embeddings (N, dim) and scene logits (N, C) of uint8 pictures (N, S, S, 3).

        Either is None if the module does not give it.

        Raises:
            OutOfMemory: the batch is too large for the device.
        """
        with memory_errors(), torch.inference_mode(), exact_float32():
            # torch takes no negative strides, and warns of read-only arrays although nothing here writes.
            pixels = torch.from_numpy(np.require(batch, requirements=("C", "W")))
            if self._device != "cpu":
                pixels = pixels.pin_memory()  # read by the card itself, while this thread goes on
            # (N, H, W, C) seen as (N, C, H, W) is channels_last in memory: nothing is moved.
            values = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float()
            output = self._module(values.mul_(self._scale).sub_(self._shift))
            embedding, logits = output if isinstance(output, tuple) else (output, None)
            return _to_host(embedding), _to_host(logits)


def load_module(spec: ModelSpec, weights: Path, device: str) -> Any:
    """Return the spec's torch module with its weights, in evaluation, on the device.

    Raises:
        WeightsRefused: the weights do not belong to this network.
        OutOfMemory: the device does not hold it.
    """
    with memory_errors():
        state = load_state(weights)
        state = _adapted(spec, state)
        # Construction draws random numbers that the weights replace; the caller's sequence of random
        # numbers must not depend on whether a model was loaded.
        with torch.random.fork_rng(devices=[]):
            network = _filled(spec, state, weights)
        network = network.float().eval().requires_grad_(False)
        return network.to(device=device, memory_format=torch.channels_last)


def _adapted(spec: ModelSpec, state: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors of a file as published that the network has, under the names that they have there."""
    family, _, name = spec.architecture.partition("/")
    if spec.build is not None or family not in ("torchvision", "timm"):
        return state
    chosen = {key: spec.config.get(key) for key in ("layer", "pool")}
    if family == "timm":
        from image_similarity.encoding.networks import timm_backbone

        return timm_backbone.adapt_state(name, state, **chosen)
    from image_similarity.encoding.networks import backbones

    return backbones.adapt_state(name, state, **chosen)


def _filled(spec: ModelSpec, state: dict[str, Any], weights: Path) -> Any:
    """Build the network and give it its weights."""
    if spec.build is None:
        network = _weightless(spec, state, weights)
        fit_state(network, state, weights, assign=True)
        parts = [*network.parameters(), *network.buffers()]
        if not any(part.is_meta for part in parts):
            return network
        # Something that no weights file holds was made with torch.empty: make it really.
    network = architectures.build(spec)
    fit_state(network, state, weights)
    return network


def _weightless(spec: ModelSpec, state: dict[str, Any], weights: Path) -> Any:
    """Build the network with weights on torch's meta device, which allocates nothing.

    So a wrong card cannot fill the memory, and no time is lost on random numbers.

    Raises:
        WeightsRefused: it is far larger than the weights in the file.
    """
    with _Weightless():
        network = architectures.build(spec)
    wanted = sum(tensor.numel() for tensor in network.state_dict().values())
    # Not an exact comparison: `fit_state` names the keys that differ, which helps more.
    if wanted > 2 * sum(tensor.numel() for tensor in state.values()) + 10_000_000:
        raise WeightsRefused(f"{weights}: its card describes a network of {wanted} numbers.")
    return network


class _Weightless(TorchFunctionMode):
    """Layers make their weights with torch.empty.

    The meta device for everything, as torch.device("meta") gives, would break networks that
    calculate their widths with torch.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.empty:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def _to_host(tensor: Any) -> Float32 | None:
    """Copy an output into a float32 array."""
    if tensor is None:
        return None
    array: Float32 = tensor.float().cpu().numpy()
    return array
