"""Measure the network alone: a decoded picture in, an embedding out, in every runtime, against ResNet50 at 224 pixels.

    python scripts/bench_embedding.py [-m builtin] [--threads 1 2] [--batches 1 16 64] [--rounds 7] [--quick]

All take uint8 pixels, normalise them and give a unit vector; ours gives the scenes as well. The model runs as
the program runs it, in ONNX Runtime and in torch (as it is, channels last); in torch with its batch normalisation
joined with the convolutions; and in OpenVINO, if that can be imported (`pip install --target DIR openvino`, then
PYTHONPATH=DIR), each in float32. MobileNetV2 and ResNet50 are torchvision's without their classifiers, with random
weights, on which their speed does not depend. All run in turns in one process, so that what else the machine does
meets all alike; ratios are taken round by round. The second table is a cold start: a fresh process that loads the
model and describes one picture, against one that only imports numpy. Needs the extra "export". Markdown on stdout.
"""

from __future__ import annotations

import argparse
import copy
import io
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import ROOT, machine, table

try:
    import onnx  # noqa: F401 - torch's exporter needs it
except ImportError as error:
    raise SystemExit(f'{error}: pip install "image_similarity[export]"') from error

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder, choose_runtime
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.values import Preprocess

ANCHOR = "ResNet50 at 224 px, ONNX Runtime"
ANCHOR_SIZE = 224
# The same answer in all runtimes, but for the order of additions.
MIN_COSINE = 0.99999

Run = Callable[[np.ndarray], np.ndarray]

COLD = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder
encoder = Encoder.load(registry.get({model!r}), device="cpu", runtime={runtime!r})
size = encoder.spec.preprocess.size
encoder.encode(np.zeros((1, size, size, 3), np.uint8))
"""


class PixelsToVector(nn.Module):
    """A network from uint8 (N, S, S, 3) to unit vectors (N, D), and scene logits if it has any."""

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        mean, std = (
            torch.tensor(each).view(1, 3, 1, 1) for each in (preprocess.mean, preprocess.std)
        )
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", mean / std)

    def forward(self, pixels: Tensor) -> Any:
        output = self.network(pixels.permute(0, 3, 1, 2).float() * self.scale - self.shift)
        embedding, *others = output if isinstance(output, tuple) else (output,)
        unit = embedding / torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        return (unit, *(each for each in others if each is not None))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--model", default="builtin")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=7, help="each measures every way once")
    parser.add_argument("--seconds", type=float, default=1.0, help="about so long each time")
    parser.add_argument("--quick", action="store_true", help="2 short rounds: a trial")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 2, 0.0
        arguments.threads, arguments.batches = arguments.threads[:1], [2]
    return arguments


def through(encoder: Encoder) -> Run:
    """Return a function that gives the vectors of a batch as the program makes them."""

    def run(pixels: np.ndarray) -> np.ndarray:
        vectors = encoder.encode(pixels).vectors
        if vectors is None:
            raise SystemExit("a model that only classifies has no vectors to compare")
        return vectors

    return run


def in_torch(network: nn.Module) -> Run:
    """Return a function that runs a batch in torch, channels last."""
    network = network.eval().to(memory_format=torch.channels_last)

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(pixels))[0].numpy()

    return run


def joined(network: nn.Module) -> nn.Module:
    """Return a copy in which each batch normalisation is part of the convolution before it."""
    network = copy.deepcopy(network).eval()
    for parent in list(network.modules()):
        if isinstance(parent, nn.Sequential):
            for place in range(len(parent) - 1):
                one, two = parent[place], parent[place + 1]
                if isinstance(one, nn.Conv2d) and isinstance(two, nn.BatchNorm2d):
                    parent[place] = fuse_conv_bn_eval(one, two)
                    parent[place + 1] = nn.Identity()
    return network


def exported(network: nn.Module, size: int) -> bytes:
    """Return a network as ONNX, for any number of pictures."""
    model = io.BytesIO()
    with warnings.catch_warnings():
        # This exporter is deprecated, but the new one needs one more package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, size, size, 3, dtype=torch.uint8),),
            model,
            input_names=["pixels"],
            output_names=["vectors"],
            dynamic_axes={"pixels": {0: "pictures"}, "vectors": {0: "pictures"}},
            dynamo=False,
        )
    return model.getvalue()


def in_onnx_runtime(model: bytes, threads: int) -> Run:
    """Return a function that runs a batch in ONNX Runtime, set as the program sets it."""
    from image_similarity.encoding.onnx_network import session_options

    session = onnxruntime.InferenceSession(
        model, session_options(threads), providers=["CPUExecutionProvider"]
    )
    return lambda pixels: session.run(["vectors"], {"pixels": pixels})[0]


def in_openvino(model: bytes, threads: int) -> Run:
    """Return a function that runs a batch in OpenVINO, float32."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", settings)
    return lambda pixels: compiled({"pixels": pixels})[0]


def ways_for(model: str, threads: int) -> dict[str, tuple[Run, int]]:
    """Return every way to run, by its name, with the side of its pictures; check that ours agree."""
    spec = registry.get(model)
    size = spec.preprocess.size
    encoder = Encoder.load(spec, device="cpu", runtime="torch", threads=threads)
    whole = PixelsToVector(encoder.network, spec.preprocess)
    ours = f"{model.rsplit('/', 1)[-1]} at {size} px"
    if choose_runtime(spec, device="cpu") == "onnx":
        in_onnx = through(Encoder.load(spec, device="cpu", runtime="onnx", threads=threads))
    else:
        in_onnx = in_onnx_runtime(exported(whole, size), threads)
    ways = {
        f"{ours}, ONNX Runtime": in_onnx,
        f"{ours}, torch": through(encoder),
        f"{ours}, torch, normalisation joined": in_torch(joined(whole)),
    }
    if find_spec("openvino"):
        ways[f"{ours}, OpenVINO"] = in_openvino(exported(whole, size), threads)
    pixels = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    wanted = ways[f"{ours}, torch"](pixels)
    for name, run in ways.items():
        cosine = float((run(pixels) * wanted).sum(axis=1).min())
        if not cosine >= MIN_COSINE:
            raise SystemExit(f"{name} disagrees: cosine {cosine:.6f}")
    found = {name: (run, size) for name, run in ways.items()}
    for name, network in anchors().items():
        content = exported(PixelsToVector(network, Preprocess(size=ANCHOR_SIZE)), ANCHOR_SIZE)
        found[f"{name} at {ANCHOR_SIZE} px, ONNX Runtime"] = (
            in_onnx_runtime(content, threads),
            ANCHOR_SIZE,
        )
    return found


def anchors() -> dict[str, nn.Module]:
    models = import_torchvision().models
    mobile, resnet = models.mobilenet_v2(weights=None), models.resnet50(weights=None)
    mobile.classifier, resnet.fc = nn.Identity(), nn.Identity()
    return {"MobileNetV2": mobile, "ResNet50": resnet}


def pictures_a_second(run: Run, pixels: np.ndarray, seconds: float) -> float:
    """Run batches until the time is over, at least one."""
    count, began = 0, time.perf_counter()
    while True:
        run(pixels)
        count += len(pixels)
        passed = time.perf_counter() - began
        if passed >= seconds:
            return count / passed


def measure(
    ways: dict[str, tuple[Run, int]], batch: int, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """Return the rates of each way, one a round."""
    generator = np.random.default_rng(1)
    pixels = {
        size: generator.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        for _, size in ways.values()
    }
    for run, size in ways.values():
        run(pixels[size])
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, (run, size) in ways.items():
            rates[name].append(pictures_a_second(run, pixels[size], arguments.seconds))
    return rates


def cold_starts(model: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of fresh processes, in turns: one that imports numpy, and the model in each runtime."""
    spec = registry.get(model)
    codes = {"import numpy": "import numpy"}
    for runtime in dict.fromkeys((choose_runtime(spec, device="cpu"), "torch")):
        name = {"onnx": "ONNX Runtime"}.get(runtime, runtime)
        codes[f"load, one picture, {name}"] = COLD.format(
            root=str(ROOT),
            model=model if spec.name == model else str(Path(model).resolve()),
            runtime=runtime,
        )
    found: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(rounds):
        for name, code in codes.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
            found[name].append(time.perf_counter() - began)
    return found


def ratios(values: list[float], anchor: list[float]) -> str:
    """Return the median, least and greatest of the ratios of each round."""
    found = [one / other for one, other in zip(values, anchor, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def main() -> None:
    arguments = parse_arguments()
    libraries = ["onnxruntime", *(["openvino"] if find_spec("openvino") else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    print(f"{machine()}, {versions}; {arguments.rounds} rounds\n")
    for threads in arguments.threads:
        ways = ways_for(arguments.model, threads)
        torch.set_num_threads(threads)
        for batch in arguments.batches:
            rates = measure(ways, batch, arguments)
            rows = [
                [name, f"{statistics.median(found):,.0f}", ratios(found, rates[ANCHOR])]
                for name, found in rates.items()
            ]
            head = f"{threads} threads, batches of {batch}"
            print(table([head, "pictures a second", "times ResNet50"], rows), flush=True)
            print(f"{head}: done", file=sys.stderr, flush=True)
    cold = cold_starts(arguments.model, arguments.rounds)
    rows = [
        [name, f"{statistics.median(found):.2f}", ratios(found, cold["import numpy"])]
        for name, found in cold.items()
    ]
    print(table(["cold start", "seconds", "times import numpy"], rows))


if __name__ == "__main__":
    main()
