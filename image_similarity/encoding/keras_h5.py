"""DeepRanking weights as Keras wrote them (.h5): recognised, described and read, without TensorFlow.

The names in such a file depend on the version of Keras and on what the session had made before, so the arrays are
taken by their order and shape. The file itself is read in a process of its own (`keras_h5_reader`): of 6,000 damaged
files 19 held HDF5's C library for longer than 5 seconds.

The network is that of https://github.com/akarshzingade/image-similarity-deep-ranking; see
`networks/keras_deepranking.py`.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.weights import KERAS_SUFFIXES, MAX_BYTES, sha256_of
from image_similarity.errors import ExtraMissing, WeightsRefused
from image_similarity.values import Preprocess

if TYPE_CHECKING:
    import torch

Float32 = npt.NDArray[np.float32]
Shape = tuple[int, ...]

MAGIC = b"\x89HDF\r\n\x1a\n"
# What a repository holds in the place of a large file that was not fetched.
POINTER = b"version https://git-lfs"

ARCHITECTURE = "keras/deepranking"
PREPROCESS = Preprocess(
    224, "squash", None, "deepranking-skimage-v1", 0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)

# The weights that the authors' users hold: a pointer file in a public repository tells hash and size.
KNOWN_SHA256 = "c3fb0ccae38218b14f38ccd98c3fc947f7d245b0d0facec12a9a036c9265d928"
KNOWN_BYTES = 252_072_528
KNOWN_NAME = "deepranking-v2-150000"
KNOWN_ORIGIN = (
    "DeepRanking, 150,000 steps, for the network of akarshzingade/image-similarity-deep-ranking (Keras); recognised by "
    "its SHA-256; on which pictures it was trained is not documented"
)
KNOWN_LICENCE = "none stated by its publisher"
UNKNOWN_ORIGIN = "DeepRanking weights of Keras that are not known here; unknown training pictures"
UNKNOWN_LICENCE = "unknown"

CONVOLUTIONS, SHALLOW, DENSE = 13, 2, 3
# The shallow paths end in 4 x 4 cells.
CELLS = 16
# The full network has 7,168 at most.
MAX_WIDTH = 65_536

# A process that reads starts in less than a second, and 20 MB a second is slow; longer is a hang.
SECONDS = 30.0
BYTES_PER_SECOND = 20e6
MAX_REPLY_BYTES = 2**20

# -P and a path handed over: neither the folder of a script nor the current one may be searched for modules.
_COMMAND = [
    sys.executable,
    "-P",
    "-c",
    "import sys; sys.path.append(sys.argv[1]); "
    "from image_similarity.encoding import keras_h5_reader; keras_h5_reader.main()",
    str(Path(__file__).resolve().parents[2]),
]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that has weights, as the file lists it: its name, and the shapes of its kernel and its bias.

    `place` is where its two arrays stand among all, kernel first.
    """

    name: str
    kernel: Shape
    bias: Shape
    place: tuple[int, int]


def is_keras(path: Path) -> bool:
    """Whether a file has the suffix and the first bytes of HDF5.

    Raises:
        OSError: it cannot be read.
    """
    if path.suffix.lower() not in KERAS_SUFFIXES:
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def keras_spec(path: Path) -> ModelSpec:
    """Return the specification of a DeepRanking weights file, its widths taken from the shapes of its arrays.

    The file known by its SHA-256 has its name and origin; any other is named for the file, and its origin is unknown.

    Raises:
        ExtraMissing: h5py is not installed.
        WeightsRefused: the file is damaged or holds other weights.
        OSError: it cannot be read.
    """
    if not is_keras(path):
        with path.open("rb") as file:
            pointer = file.read(len(POINTER)) == POINTER
        what = "only a pointer of Git LFS to it: fetch the file itself" if pointer else "no HDF5"
        _refuse(path, f"a weights file of Keras is expected, this is {what}")
    with _reading(path, "layout") as (arrays, _):
        layers = arrange(arrays, path)
    trunk, shallow, dense = layers[:13], layers[13:15], layers[15:]
    known = path.stat().st_size == KNOWN_BYTES and sha256_of(path) == KNOWN_SHA256
    # A name is shown in one line of at most 100 characters.
    stem = "".join(c if c.isprintable() else "?" for c in path.stem)[:100]
    return ModelSpec(
        name=KNOWN_NAME if known else stem,
        architecture=ARCHITECTURE,
        preprocess=PREPROCESS,
        config={
            "trunk": [layer.kernel[-1] for layer in trunk],
            "shallow": [layer.kernel[-1] for layer in shallow],
            "hidden": [layer.kernel[-1] for layer in dense[:2]],
            "dim": dense[2].kernel[-1],
        },
        layer="last dense layer",
        dim=dense[2].kernel[-1],
        licence=KNOWN_LICENCE if known else UNKNOWN_LICENCE,
        origin=KNOWN_ORIGIN if known else UNKNOWN_ORIGIN,
        weights=path,
        weights_sha256=KNOWN_SHA256 if known else None,
    )


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the float32 tensors of a DeepRanking weights file under the names of `KerasDeepRanking`.

    Kernels go from Keras's order (height, width, in, out) to torch's (out, in, height, width), those of dense layers
    from (in, out) to (out, in).

    Raises:
        ExtraMissing, WeightsRefused, OSError: as `keras_spec`.
    """
    import torch

    from image_similarity.encoding.networks.keras_deepranking import LAYER_NAMES

    with _reading(path, "arrays") as (arrays, source):
        layers = arrange(arrays, path)
        targets: dict[int, str] = {}
        for name, layer in zip(LAYER_NAMES, layers, strict=True):
            targets |= {layer.place[0]: f"{name}.weight", layer.place[1]: f"{name}.bias"}
        state = {}
        for number, (_, shape) in enumerate(arrays):
            values = torch.from_numpy(_next_array(source, shape, path))
            order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[len(shape)]
            state[targets[number]] = values.permute(order).contiguous()
    return state


def arrange(arrays: Sequence[tuple[str, Shape]], path: Path) -> list[Layer]:
    """Return the 18 layers of DeepRanking in the order of the network: trunk, shallow paths, dense layers.

    `arrays` are (layer, shape) in the order of the file. The shape of its kernel tells of what kind a layer is. The two
    shallow paths have the same shape: the one with the lower number at the end of its name has the stride of 16;
    without such numbers the one that comes first.

    Raises:
        WeightsRefused: layers or arrays are missing, too many, or do not fit together.
    """
    layers = _layers(arrays, path)
    kinds = (
        ("convolutions of 3 x 3", CONVOLUTIONS, lambda k: len(k) == 4 and k[:2] == (3, 3)),
        ("convolutions of 8 x 8", SHALLOW, lambda k: len(k) == 4 and k[:2] == (8, 8)),
        ("dense layers", DENSE, lambda k: len(k) == 2),
    )
    found = [[layer for layer in layers if test(layer.kernel)] for _, _, test in kinds]
    counts = [f"{len(each)} of {n} {what}" for each, (what, n, _) in zip(found, kinds, strict=True)]
    other = len(layers) - sum(map(len, found))
    if other or any(len(each) != n for each, (_, n, _) in zip(found, kinds, strict=True)):
        more = f" and {other} of another kind" if other else ""
        _refuse(path, f"DeepRanking has 18 layers with weights; here are {', '.join(counts)}{more}")
    trunk, shallow, dense = found[0], _by_number(found[1]), found[2]
    _check_widths(trunk, shallow, dense, path)
    return [*trunk, *shallow, *dense]


def _layers(arrays: Sequence[tuple[str, Shape]], path: Path) -> list[Layer]:
    """Return the layers that have weights, each with a kernel and a bias that belong together."""
    places: dict[str, list[int]] = {}
    for number, (name, _) in enumerate(arrays):
        places.setdefault(name, []).append(number)
    layers = []
    for name, both in places.items():
        # Whichever comes first, the bias is the one with one dimension.
        both = sorted(both, key=lambda number: -len(arrays[number][1]))
        shapes = [arrays[number][1] for number in both]
        if len(both) != 2 or len(shapes[0]) < 2 or shapes[1] != shapes[0][-1:]:
            said = ", ".join(" x ".join(map(str, shape)) for shape in shapes)
            _refuse(path, f"layer {name[:100]!r} has arrays of {said}, not a kernel and its bias")
        layers.append(Layer(name, shapes[0], shapes[1], (both[0], both[1])))
    return layers


def _by_number(layers: list[Layer]) -> list[Layer]:
    """Return two layers by the number at the end of their names, where both have one name; else as they come."""
    parts = [re.fullmatch(r"(.*?)(?:_(\d{1,9}))?", layer.name, re.DOTALL) for layer in layers]
    if len({part[1] if part else "" for part in parts}) > 1:
        return layers
    numbers = [int(part[2] or 0) if part else 0 for part in parts]
    return [layers[place] for place in sorted(range(len(layers)), key=lambda place: numbers[place])]


def _check_widths(trunk: list[Layer], shallow: list[Layer], dense: list[Layer], path: Path) -> None:
    """Refuse layers of which one does not take what those before it give."""
    joined = CELLS * sum(layer.kernel[-1] for layer in shallow) + dense[1].kernel[-1]
    given = [
        *(3, *(layer.kernel[-1] for layer in trunk)),
        *(dense[0].kernel[-1], joined),
        *(3, 3),
    ]
    for layer, width in zip([*trunk, *dense, *shallow], given, strict=True):
        if layer.kernel[-2] != width:
            _refuse(
                path,
                f"layer {layer.name[:100]!r} takes {layer.kernel[-2]} numbers, "
                f"in DeepRanking it would get {width}",
            )
        if layer.kernel[-1] > MAX_WIDTH:
            _refuse(path, f"layer {layer.name[:100]!r} is wider than {MAX_WIDTH}")


@contextmanager
def _reading(path: Path, what: str) -> Iterator[tuple[list[tuple[str, Shape]], IO[bytes]]]:
    """Give (layer, shape) of each array, and from what their bytes can be read if `what` is "arrays"."""
    if find_spec("h5py") is None:
        raise ExtraMissing(
            f"{path} is a weights file of Keras; reading it needs h5py, which is not installed",
            hint='pip install "image_similarity[analysis]"',
        )
    size = path.stat().st_size
    if size > MAX_BYTES:
        _refuse(path, f"{size} bytes cannot be the weights of a network")
    with subprocess.Popen(
        [*_COMMAND, str(path.absolute()), what],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    ) as process:
        clock = threading.Timer(SECONDS + size / BYTES_PER_SECOND, process.kill)
        clock.start()
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            yield _arrays_of(_reply(process.stdout, path), path), process.stdout
        finally:
            clock.cancel()
            process.kill()


def _reply(source: IO[bytes], path: Path) -> dict[str, Any]:
    """Return what the process said of the file."""
    try:
        (size,) = struct.unpack("<I", source.read(4))
        reply = json.loads(source.read(min(size, MAX_REPLY_BYTES)))
    except (struct.error, ValueError):
        _refuse(path, "HDF5's library crashed or hung on it: it is damaged")
    if not isinstance(reply, dict):
        _refuse(path, "it is damaged")
    if "error" in reply:
        _refuse(path, str(reply["error"]))
    return reply


def _arrays_of(reply: dict[str, Any], path: Path) -> list[tuple[str, Shape]]:
    """Return the list of arrays; what read a hostile file may say anything."""
    try:
        arrays = [(str(name), tuple(map(int, shape))) for name, shape in reply["arrays"]]
    except (KeyError, TypeError, ValueError):
        _refuse(path, "it is damaged")
    # The reader has held each against the size of the file, which may be sparse.
    if any(min(shape, default=0) < 1 for _, shape in arrays):
        _refuse(path, "it holds an empty array")
    if 4 * sum(prod(shape) for _, shape in arrays) > MAX_BYTES:
        _refuse(path, "its arrays are larger than any network's")
    return arrays


def _next_array(source: IO[bytes], shape: Shape, path: Path) -> Float32:
    """Return the next array of the pipe."""
    values = np.empty(shape, "<f4")
    buffered: Any = source  # whose `readinto` the type of Popen does not tell
    if buffered.readinto(values.data.cast("B")) != values.nbytes:
        _refuse(path, "its arrays cannot be read: it is damaged or cut off")
    return values.astype(np.float32, copy=False)


def _refuse(path: Path, reason: str) -> NoReturn:
    raise WeightsRefused(
        f"{path}: {reason}",
        hint="Expected are the weights of a DeepRanking network as Keras's save_weights writes them.",
    )
