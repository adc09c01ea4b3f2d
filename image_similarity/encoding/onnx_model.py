"""A network in an .onnx file of its own, run in ONNX Runtime on the CPU as its card says.

The card lies beside it (`NAME.onnx.json`) and has the architecture "onnx". Its configuration may name the `output` to
take, the first unless named, and how a map is made a vector (`pool`). The network gets one input: float32
(N, 3, H, W), or (N, H, W, 3) if that is what its graph says, normalised with the card's mean and deviation.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.encoding.onnx_file import read_sound
from image_similarity.encoding.onnx_network import (
    default_threads,
    errors_named,
    import_onnxruntime,
    normalisation,
    session_options,
)
from image_similarity.encoding.pooling import POOLS, pool
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import WeightsRefused

Float32 = npt.NDArray[np.float32]

ARCHITECTURE = "onnx"
SUFFIX = ".onnx"
_CONFIG = ("output", "pool")


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a network takes, each with name, type and shape, and the names of what it gives."""

    inputs: list[tuple[str, str, list[Any]]]
    outputs: list[str]


class OnnxModel:
    """A session of ONNX Runtime for pictures, made by `OnnxModel.load`; several threads may run it at once.

    Attributes:
        runtime: library and version.
        size: the side of the pictures that the graph fixes, or None if it takes several.
    """

    def __init__(
        self, session: Any, ends: _Ends, spec: ModelSpec, weights: Path, runtime: str
    ) -> None:
        """Take over a session whose inputs and outputs fit the card.

        Raises:
            WeightsRefused: they do not.
        """
        self.runtime = runtime
        self._session = session
        self._pool = _pool_of(spec, weights)
        self._output = _output_of(ends, spec, weights)
        constants = normalisation(spec.preprocess)
        self._scale, self._shift = (
            constants[key].reshape(1, 1, 1, 3) for key in ("scale", "shift")
        )
        self._input, shape = _input_of(ends, weights)
        self._one_by_one = shape[0] == 1
        self._channels_last = shape[1] != 3
        height, width = shape[1:3] if self._channels_last else shape[2:]
        if isinstance(height, int) and height != width:
            raise WeightsRefused(f"{weights}: its pictures are {width} x {height}, not square")
        self.size: int | None = height if isinstance(height, int) else None

    @classmethod
    def load(cls, spec: ModelSpec, weights: Path, *, threads: int | None = None) -> OnnxModel:
        """Return a session of the network; `threads` as for `OnnxNetwork.load`.

        Raises:
            WeightsRefused: the file is no sound network, or not one that takes pictures; see `onnx_file`.
            OutOfMemory: it does not fit into memory.
            ModelError: ONNX Runtime is missing, or does not load here.
        """
        onnxruntime = import_onnxruntime()
        content = read_sound(weights)
        options = session_options(threads or default_threads())
        # Never the other format that ONNX Runtime knows, which `read_sound` does not.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        with errors_named(weights):
            # Its way of trying again prints to stdout, where only data belong.
            session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            ends = _ends_of(session)
        return cls(session, ends, spec, weights, f"onnxruntime {onnxruntime.__version__}")

    def run(self, batch: npt.NDArray[np.uint8]) -> tuple[Float32, None]:
        """Return embeddings (N, dim) of uint8 pictures (N, S, S, 3); there are no scenes.

        Raises:
            OutOfMemory: the batch is too large.
            RuntimeError: the network does not run on it, or does not give a row of numbers for each picture.
        """
        pixels = batch.astype(np.float32) * self._scale - self._shift
        if not self._channels_last:
            pixels = pixels.transpose(0, 3, 1, 2)
        parts = np.split(pixels, len(pixels)) if self._one_by_one else [pixels]
        return np.concatenate([self._run(np.ascontiguousarray(part)) for part in parts]), None

    def _run(self, pixels: Float32) -> Float32:
        with errors_named(None):
            (values,) = self._session.run((self._output,), {self._input: pixels})
        if values.dtype.kind != "f" or values.ndim < 2 or len(values) != len(pixels):
            raise RuntimeError(
                f"output {self._output!r} has shape {values.shape} for {len(pixels)} pictures"
            )
        if self._pool is None:
            if values.ndim > 2 and values[0].size != max(values.shape[1:]):
                raise RuntimeError(
                    f"output {self._output!r} is a map of shape {values.shape[1:]}: its card must say pool, "
                    f"one of {', '.join(POOLS)}"
                )
            values = values.reshape(len(values), -1)
        else:
            values = pool(values.astype(np.float32), self._pool, channels_last=self._channels_last)
        result: Float32 = values.astype(np.float32)
        return result


def _pool_of(spec: ModelSpec, weights: Path) -> str | None:
    """Return the pooling that the card names, if any, and refuse what is no part of such a card."""
    if unknown := [key for key in spec.config if key not in _CONFIG]:
        raise WeightsRefused(
            f"{weights}: card entry config.{unknown[0]}: a network in ONNX has only {' and '.join(_CONFIG)}"
        )
    how = spec.config.get("pool")
    if how is not None and how not in POOLS:
        raise WeightsRefused(
            f"{weights}: card entry config.pool: one of {', '.join(POOLS)} is expected"
        )
    return how


def _ends_of(session: Any) -> _Ends:
    """Return what a network takes and gives; names that are no text raise an error here, and nowhere later."""
    inputs = [(each.name, each.type, list(each.shape)) for each in session.get_inputs()]
    return _Ends(inputs, [each.name for each in session.get_outputs()])


def _output_of(ends: _Ends, spec: ModelSpec, weights: Path) -> str:
    """Return the name of the output that the card chooses."""
    names = ends.outputs
    chosen = spec.config.get("output", names[0])
    if chosen not in names:
        near = difflib.get_close_matches(str(chosen), names, n=3, cutoff=0.3) or names[:3]
        raise WeightsRefused(
            f"{weights} has no output {chosen!r}; near it are {', '.join(map(repr, near))}",
            hint=f"It has {len(names)} outputs; without a name the first is taken.",
        )
    return str(chosen)


def _input_of(ends: _Ends, weights: Path) -> tuple[str, list[Any]]:
    """Return name and shape of the one input; a side that is not fixed is no whole number."""
    if len(ends.inputs) != 1:
        raise WeightsRefused(f"{weights}: it has {len(ends.inputs)} inputs; a picture is one")
    ((name, kind, shape),) = ends.inputs
    channels = [at for at in (1, 3) if len(shape) == 4 and shape[at] == 3]
    if kind != "tensor(float)" or not channels:
        raise WeightsRefused(
            f"{weights}: its input is {kind} {shape}, not float32 (N, 3, H, W) or (N, H, W, 3)"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise WeightsRefused(
            f"{weights}: it takes {shape[0]} pictures at once, not one or as many as there are"
        )
    return name, shape
