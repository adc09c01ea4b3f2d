"""Whatever gives a picture a vector, behind one face: models, TorchScript files, descriptors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image_similarity.encoding import registry
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import UnknownModel, WeightsMissing, WeightsRefused
from image_similarity.evaluation import descriptors

Float32 = NDArray[np.float32]

DESCRIPTORS = ("histogram", "pdq")
# The side at which ImageNet networks were trained.
_TORCHSCRIPT_SIDE = 224
# A batch of larger pictures takes gigabytes.
_LARGEST_SIDE = 2048


@dataclass(frozen=True, slots=True)
class Facts:
    """What is said of a model beside its figures.

    `decode_side` is the side in pixels below which a reduced JPEG must not go, 0 for none. `weights` is the file in
    which its training pictures may be listed.
    """

    name: str
    kind: str
    decode_side: int = 0
    dim: int | None = None
    fingerprint: str = ""
    scenes: tuple[str, ...] = ()
    scene_top_k: int = 5
    scene_mass: float = 0.95
    weights: Path | None = None
    centred: bool = False


class Embedder(Protocol):
    """Gives RGB pictures of any size vectors, and scene probabilities if it knows scenes."""

    facts: Facts

    def embed(self, pictures: Sequence[Image.Image]) -> tuple[Float32, Float32 | None]:
        """Return float32 (N, D) and float32 (N, C) or None; NaN in rows that could not be embedded."""


def load_embedders(names: Sequence[str], *, device: str) -> list[Embedder]:
    """Return an embedder for each name; those with the same short name are told apart by the name given.

    A name is "histogram", "pdq", a registered model, a weights file with a card, or a TorchScript file (*.ts), which
    may be followed by "@SIDE" (the square it gets, 224 pixels unless given). Several joined by "+" are concatenated.

    Raises:
        UnknownModel, WeightsMissing, WeightsRefused, DeviceUnavailable.
    """
    scripts: dict[tuple[Path, int], TorchScript] = {}
    found = [_load(name, device, scripts) for name in dict.fromkeys(names)]
    short = [each.facts.name for each in found]
    for embedder, given in zip(found, dict.fromkeys(names), strict=True):
        if short.count(embedder.facts.name) > 1:
            embedder.facts = replace(embedder.facts, name=given)
    return found


def _load(name: str, device: str, scripts: dict[tuple[Path, int], TorchScript]) -> Embedder:
    def script(part: str) -> TorchScript:
        # One that is asked for alone and in a concatenation is loaded, and run, once.
        key = _script_of(part)
        scripts[key] = scripts.get(key) or TorchScript(*key, device)
        return scripts[key]

    if name in DESCRIPTORS:
        return Descriptor(name)
    if "+" in name and all(_script_of(part)[0].suffix == ".ts" for part in name.split("+")):
        return Concatenation([script(part) for part in name.split("+")])
    if _script_of(name)[0].suffix == ".ts":
        return script(name)
    return Network(registry.get(name), device, name)


def _script_of(name: str) -> tuple[Path, int]:
    path, at, side = name.rpartition("@")
    if at and side.isdecimal() and not 1 <= int(side) <= _LARGEST_SIDE:
        raise UnknownModel(f"{name!r}: the side is {side}, expected 1 to {_LARGEST_SIDE}")
    return (Path(path), int(side)) if at and side.isdecimal() else (Path(name), _TORCHSCRIPT_SIDE)


class Descriptor:
    """A colour histogram or a PDQ hash."""

    def __init__(self, name: str) -> None:
        self.facts = Facts(name, "descriptor", decode_side=512)

    def embed(self, pictures: Sequence[Image.Image]) -> tuple[Float32, None]:
        """See `Embedder`."""
        is_pdq = self.facts.kind == "descriptor" and self.facts.name.startswith("pdq")
        of = descriptors.pdq_hashes if is_pdq else descriptors.colour_histograms
        return of(pictures), None


class Network:
    """A registered model or a weights file, prepared for and run as an index run does it."""

    def __init__(self, spec: ModelSpec, device: str, given: str) -> None:
        from image_similarity.encoding.encoder import Encoder

        if spec.dim is None:
            raise UnknownModel(f"{given!r} only classifies scenes: it has no vectors to evaluate")
        self._encoder = Encoder.load(spec, device=device)
        is_file = given not in registry.model_names()
        self.facts = Facts(
            Path(given).stem if is_file else given,
            "model",
            decode_side=spec.preprocess.decode_side,
            dim=spec.dim,
            fingerprint=self._encoder.info.fingerprint,
            scenes=spec.scenes,
            scene_top_k=spec.scene_top_k,
            scene_mass=spec.scene_mass,
            weights=spec.weights,
            centred=spec.centre is not None,
        )

    def embed(self, pictures: Sequence[Image.Image]) -> tuple[Float32, Float32 | None]:
        """See `Embedder`."""
        from image_similarity.pictures.pixels import prepare

        preprocess = self._encoder.spec.preprocess
        encoded = self._encoder.encode(np.stack([prepare(each, preprocess) for each in pictures]))
        vectors = encoded.vectors
        assert vectors is not None  # noqa: S101 - checked when it was loaded
        return np.where(encoded.finite[:, None], vectors, np.float32(np.nan)), encoded.scenes


class TorchScript:
    """A TorchScript file: RGB float NCHW in [0, 1] in, vectors out, which are brought to length 1.

    Such a file is a program: only one that is trusted may be loaded.
    """

    def __init__(self, path: Path, side: int, device: str) -> None:
        import torch

        from image_similarity.encoding.devices import resolve_device

        if not path.is_file():
            raise WeightsMissing(f"there is no file {path}", hint="check the path after -m")
        self._device = resolve_device(device)
        try:
            # torch would have files exported anew; those that exist are still to be compared with.
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                network: Any = torch.jit.load(str(path), map_location=self._device)
        except RuntimeError as error:
            raise WeightsRefused(f"{path} is no TorchScript file") from error
        self._network = network.float().eval()
        self._side = side
        self._mean: Float32 | None = None
        self._last: tuple[list[Image.Image], Float32] = [], np.empty((0, 1), np.float32)
        self.facts = Facts(path.stem, "torchscript", decode_side=2 * side)

    def centre(self, mean: Float32) -> None:
        """Subtract this mean (D,) from the unit vectors from now on, and bring them to length 1 again."""
        self._mean = mean
        self.facts = replace(self.facts, centred=True)

    def embed(self, pictures: Sequence[Image.Image]) -> tuple[Float32, None]:
        """See `Embedder`."""
        last, vectors = self._last
        if len(last) != len(pictures) or any(
            a is not b for a, b in zip(last, pictures, strict=True)
        ):
            vectors = self._run(pictures)
            self._last = list(pictures), vectors
        return (vectors if self._mean is None else _unit(vectors - self._mean)), None

    def _run(self, pictures: Sequence[Image.Image]) -> Float32:
        import torch

        size = (self._side, self._side)
        arrays = [np.asarray(each.resize(size, Image.Resampling.BICUBIC)) for each in pictures]
        batch = (
            torch.from_numpy(np.stack(arrays)).to(self._device).permute(0, 3, 1, 2).float() / 255
        )
        with torch.inference_mode():
            output = self._network(batch).float().cpu().numpy()
        return _unit(output.reshape(len(pictures), -1))


class Concatenation:
    """Several TorchScript files, their unit vectors side by side, each of the same weight."""

    def __init__(self, parts: Sequence[TorchScript]) -> None:
        self.parts = list(parts)
        self._name = "+".join(part.facts.name for part in parts)

    @property
    def facts(self) -> Facts:
        """What is said of it; it is centred if all its parts are."""
        return Facts(
            self._name,
            "torchscript",
            decode_side=max(part.facts.decode_side for part in self.parts),
            centred=all(part.facts.centred for part in self.parts),
        )

    @facts.setter
    def facts(self, facts: Facts) -> None:
        self._name = facts.name

    def embed(self, pictures: Sequence[Image.Image]) -> tuple[Float32, None]:
        """See `Embedder`."""
        return _unit(np.concatenate([part.embed(pictures)[0] for part in self.parts], axis=1)), None


def scripts_of(embedders: Sequence[Embedder]) -> list[TorchScript]:
    """Return the TorchScript files among them, each once, with the parts of concatenations: they want centring."""
    found: list[TorchScript] = []
    for each in embedders:
        found += each.parts if isinstance(each, Concatenation) else []
        found += [each] if isinstance(each, TorchScript) else []
    return list(dict.fromkeys(found))


def _unit(vectors: Float32) -> Float32:
    """Rows of length 1; a row of zeros becomes NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Float32 = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
            np.float32
        )
    return result
