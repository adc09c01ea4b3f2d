"""Measure the network alone: a decoded picture in, an embedding out, against ResNet50 at 224 pixels.

    python scripts/bench_embedding.py [-m builtin] [--threads 2] [--batch 16] [--rounds 15] [--quick]

Both take uint8 pixels, normalise them and give a unit vector; ours gives the scenes as well. ResNet50 is
torchvision's without its classifier, with random weights: its speed does not depend on them. Both run in
ONNX Runtime float32 and in torch, as it is without compiling, in turns, so that what else the machine
does meets both alike. Needs the extra "export". Markdown on stdout.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from benchmark import machine, table

try:
    import onnx  # noqa: F401 - torch's exporter needs it
    import onnxruntime
except ImportError as error:
    raise SystemExit(f'{error}: pip install "image_similarity[export]"') from error

import torch
from torch import Tensor, nn

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.values import Preprocess

RESNET = "ResNet50"
RESNET_SIZE = 224
# The same answer in both runtimes, but for the order of additions.
MIN_COSINE = 0.9999


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
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15, help="each measures every way once")
    parser.add_argument("--seconds", type=float, default=1.0, help="about so long each time")
    parser.add_argument("--quick", action="store_true", help="2 short rounds: a trial")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.batch, arguments.seconds = 2, 2, 0.0
    return arguments


def load_ours(model: str) -> tuple[nn.Module, Preprocess]:
    encoder = Encoder.load(registry.get(model), device="cpu")
    return encoder.network, encoder.spec.preprocess


def load_resnet() -> tuple[nn.Module, Preprocess]:
    network = import_torchvision().models.resnet50(weights=None)
    network.fc = nn.Identity()
    return network, Preprocess(size=RESNET_SIZE)


def in_torch(network: nn.Module, pixels: np.ndarray) -> Callable[[], np.ndarray]:
    """Return a function that runs a batch in torch and gives the vectors."""
    network = network.to(memory_format=torch.channels_last)
    batch = torch.from_numpy(pixels)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return network(batch)[0].numpy()

    return run


def in_onnx_runtime(
    network: nn.Module, pixels: np.ndarray, threads: int
) -> Callable[[], np.ndarray]:
    """Return a function that runs a batch in ONNX Runtime, float32, and gives the vectors."""
    model = io.BytesIO()
    with warnings.catch_warnings():
        # This exporter is deprecated, but the new one needs one more package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.from_numpy(pixels),), model, input_names=["pixels"], dynamo=False
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        model.getvalue(), options, providers=["CPUExecutionProvider"]
    )

    def run() -> np.ndarray:
        found: np.ndarray = session.run(None, {"pixels": pixels})[0]
        return found

    return run


def pictures_a_second(run: Callable[[], object], batch: int, seconds: float) -> float:
    """Run batches until the time is over, at least one."""
    count, began = 0, time.perf_counter()
    while True:
        run()
        count += batch
        passed = time.perf_counter() - began
        if passed >= seconds:
            return count / passed


def check_agreement(name: str, one: np.ndarray, other: np.ndarray) -> None:
    """End with an error if two runtimes give different vectors."""
    cosine = float((one * other).sum(axis=1).min())
    if not cosine >= MIN_COSINE:
        raise SystemExit(f"{name}: the runtimes disagree, cosine {cosine:.6f}")


def spread(values: list[float], form: str) -> list[str]:
    """Return median, least and greatest as text."""
    return [format(each, form) for each in (statistics.median(values), min(values), max(values))]


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    generator = np.random.default_rng(1)
    ways: dict[tuple[str, str], Callable[[], np.ndarray]] = {}
    sizes = {}
    for name, (network, preprocess) in {
        "ours": load_ours(arguments.model),
        RESNET: load_resnet(),
    }.items():
        size = sizes[name] = preprocess.size
        pixels = generator.integers(0, 256, (arguments.batch, size, size, 3), dtype=np.uint8)
        whole = PixelsToVector(network, preprocess).eval()
        ways["ONNX Runtime", name] = in_onnx_runtime(whole, pixels, arguments.threads)
        ways["torch", name] = in_torch(whole, pixels)
        # Both have now run once, as they must before they are measured.
        check_agreement(name, ways["torch", name](), ways["ONNX Runtime", name]())
    rates: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for number in range(arguments.rounds):
        for way, run in ways.items():
            rates[way].append(pictures_a_second(run, arguments.batch, arguments.seconds))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    report(arguments, rates, sizes)


def report(
    arguments: argparse.Namespace,
    rates: dict[tuple[str, str], list[float]],
    sizes: dict[str, int],
) -> None:
    """Print the rates, and the ratio of the two networks round by round."""
    print(
        f"{machine()}, onnxruntime {version('onnxruntime')}; {arguments.threads} threads, "
        f"batches of {arguments.batch}, {arguments.rounds} rounds\n"
    )
    label = {"ours": arguments.model.rsplit("/", 1)[-1], RESNET: RESNET}
    rows = [
        [f"{label[name]} at {sizes[name]} px, {runtime}", *spread(found, ",.1f")]
        for (runtime, name), found in rates.items()
    ]
    print(table(["pictures a second", "median", "least", "greatest"], rows))
    ratios = {
        runtime: [
            ours / theirs
            for ours, theirs in zip(rates[runtime, "ours"], rates[runtime, RESNET], strict=True)
        ]
        for runtime in ("ONNX Runtime", "torch")
    }
    rows = [[runtime, *spread(found, ".1f")] for runtime, found in ratios.items()]
    print(table([f"times {RESNET}", "median", "least", "greatest"], rows))


if __name__ == "__main__":
    main()
