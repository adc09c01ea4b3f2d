"""A network in ONNX Runtime on the CPU: a shipped graph, filled with the tensors of a weights file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.encoding.devices import OutOfMemory
from image_similarity.encoding.graph import Graph
from image_similarity.encoding.weights import load_arrays, refuse_misfit
from image_similarity.errors import ModelError, WeightsRefused
from image_similarity.values import Preprocess

Float32 = npt.NDArray[np.float32]


class OnnxNetwork:
    """A session of ONNX Runtime, made by `OnnxNetwork.load`; several threads may run it at once.

    Attributes:
        runtime: library and version.
    """

    def __init__(self, session: Any, fed: dict[str, Float32], runtime: str) -> None:
        self.runtime = runtime
        self._session = session
        self._fed = fed

    @classmethod
    def load(
        cls, graph: Graph, weights: Path, preprocess: Preprocess, *, threads: int | None = None
    ) -> OnnxNetwork:
        """Return a session of the graph with the weights of the file; no torch is loaded.

        `threads` is the number of threads for one batch; by default a core each, or as
        OMP_NUM_THREADS says, which is torch's way, too.

        Raises:
            WeightsRefused: the file is corrupt or its tensors are not those of the graph.
            OutOfMemory: the network does not fit into memory.
            ModelError: ONNX Runtime is installed, but does not load here.
        """
        onnxruntime = import_onnxruntime()
        state = load_arrays(weights)
        refuse_misfit(graph.tensors, state, weights)
        taken = {name: _as_float32(state[name]) for name in graph.tensors}
        fed = {name: taken.pop(name) for name in graph.fed}
        # The session refers to these arrays only until it is made.
        values = taken | normalisation(preprocess)
        options = session_options(threads or default_threads())
        options.add_external_initializers(
            list(values),
            [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in values.values()],
        )
        content = graph.read()
        with errors_named(weights):
            session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        return cls(session, fed, f"onnxruntime {onnxruntime.__version__}")

    def run(self, batch: npt.NDArray[np.uint8]) -> tuple[Float32, Float32]:
        """Return embeddings (N, dim) and scene logits (N, C) of uint8 pictures (N, S, S, 3).

        Raises:
            OutOfMemory: the batch is too large.
            RuntimeError: the network does not run on it, which no shipped graph should cause.
        """
        with errors_named(None):
            embedding, scenes = self._session.run(
                ("embedding", "scenes"), {"pixels": np.ascontiguousarray(batch), **self._fed}
            )
        return embedding, scenes


def import_onnxruntime() -> Any:
    """Return the module of ONNX Runtime, which reports nothing to anyone.

    Raises:
        ModelError: it is not installed, or does not load here.
    """
    try:
        import onnxruntime
    except ImportError as error:
        # On Windows it needs a library of Microsoft's that not every machine has.
        raise ModelError(
            f"ONNX Runtime is not installed, or does not load: {error}",
            hint="Install it again, or use --runtime torch.",
        ) from error
    # Only the builds for Windows report anything to anyone; ours never does.
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def normalisation(preprocess: Preprocess) -> dict[str, Float32]:
    """Return "scale" and "shift" (1, 3, 1, 1): pixel * scale - shift is the network's input."""
    mean = np.array(preprocess.mean, np.float64).reshape(1, 3, 1, 1)
    std = np.array(preprocess.std, np.float64).reshape(1, 3, 1, 1)
    return {
        "scale": (1 / (255 * std)).astype(np.float32),
        "shift": (mean / std).astype(np.float32),
    }


def default_threads() -> int:
    """Return how many threads a batch gets unless told otherwise: OMP_NUM_THREADS, or a core each."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if wanted.isascii() and wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def session_options(threads: int) -> Any:
    """Return the settings of a session of ONNX Runtime that shares the machine with decoding threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that wait for work in a loop take the cores from those that decode: with both cores busy
    # the same pictures took 1.6 times the processor's time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A plan of memory for each size of batch that ever came would be kept: after 29 batches of
    # 1 to 64 pictures 331 MB instead of 238 MB, and still growing, for no speed.
    options.enable_mem_pattern = False
    # Fatal and errors only: warnings would reach stderr past the caller. Errors come as exceptions, too.
    options.log_severity_level = 4
    return options


def _as_float32(array: npt.NDArray[Any]) -> Float32:
    return np.ascontiguousarray(array, dtype=np.float32)


@contextmanager
def errors_named(weights: Path | None) -> Iterator[None]:
    """Turn running out of memory into `OutOfMemory`, the rest into a refusal of the weights, if given."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(str(error) or "out of memory") from error
    # Its errors have no base of their own but Exception; nothing of ours runs inside the `try`.
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        if any(each in first for each in ("bad_alloc", "bad allocation", "allocate memory")):
            raise OutOfMemory(first) from error
        if weights is not None:
            raise WeightsRefused(
                f"{weights}: ONNX Runtime refused the network ({first})"
            ) from error
        raise RuntimeError(f"ONNX Runtime: {first}") from error
