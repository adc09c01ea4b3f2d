"""A model's specification, and the fingerprint that says which vectors are comparable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from image_similarity.encoding.golden_picture import GoldenPicture
from image_similarity.values import ModelInfo, Preprocess

# Goes into every fingerprint: raised when the meaning of a vector changes although its spec does
# not, for instance when the order of centring and normalisation does.
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model before it is loaded: all that decides its output, and where its weights lie.

    Attributes:
        name: as it is listed and stored, at most 100 characters.
        architecture: key of `architectures.build`, such as "torchvision/resnet50".
        preprocess: how a picture becomes the network's input.
        config: keyword arguments of the network; JSON values only.
        layer: which layer's output is the embedding, in words.
        dim: length of a vector; None for a model that only classifies scenes.
        normalisation: "l2", vectors are brought to length 1; "none", they stay as the network gives them, so that raw
            features rank as in the systems that use them.
        metric: "euclidean"; or "cosine", for which vectors must be of length 1: the Euclidean distance between those is
            sqrt(2 - 2 cos), so they rank alike, and it is what is shown.
        centre: mean that is subtracted from the unit vector before it is made a unit vector again.
        scenes: labels in the order of the scene head; empty for a model that only embeds.
        scene_top_k, scene_mass: how many scenes are stored, and the mass of the `auto` filter.
        weights: the file; None in a spec that only describes.
        weights_sha256: the hash the card recorded; None if it recorded none.
        golden: what the exporter saw and answered on the golden pictures; empty if it recorded none.
        build: makes the network from `config`; only for specs that come from an entry point.
    """

    name: str
    architecture: str
    preprocess: Preprocess
    config: Mapping[str, Any] = field(default_factory=dict)
    layer: str = "embedding"
    dim: int | None = None
    centre: tuple[float, ...] | None = None
    normalisation: str = "l2"
    metric: str = "euclidean"
    numeric_class: str = "f32"
    scenes: tuple[str, ...] = ()
    scene_top_k: int = 5
    scene_mass: float = 0.95
    licence: str = ""
    origin: str = ""
    weights: Path | None = None
    weights_sha256: str | None = None
    golden: tuple[GoldenPicture, ...] = ()
    build: Callable[[Mapping[str, Any]], Any] | None = field(default=None, compare=False)


def fingerprint(spec: ModelSpec, weights_sha256: str) -> str:
    """Return the SHA-256, in lower-case hexadecimal, of all that decides a model's output.

    Name, licence, origin, golden record and the constants of the scene filter are left out: they can be
    corrected without making stored vectors incomparable. The labels of the scenes are in, since
    two lists of labels give two different statements about one picture.
    """
    parts = {
        "format": FORMAT_VERSION,
        "architecture": spec.architecture,
        "config": dict(spec.config),
        "layer": spec.layer,
        "dim": spec.dim,
        "weights": weights_sha256.lower(),
        "preprocess": asdict(spec.preprocess),
        "centre": spec.centre,
        "normalisation": spec.normalisation,
        "metric": spec.metric,
        "numeric_class": spec.numeric_class,
        "scenes": spec.scenes,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def to_info(spec: ModelSpec, weights_sha256: str) -> ModelInfo:
    """Return what is recorded of the model with every vector."""
    return ModelInfo(
        name=spec.name,
        fingerprint=fingerprint(spec, weights_sha256),
        architecture=spec.architecture,
        weights_sha256=weights_sha256.lower(),
        preprocess=spec.preprocess,
        dim=spec.dim,
        metric=spec.metric,
        normalisation=spec.normalisation,
        numeric_class=spec.numeric_class,
        scenes=spec.scenes,
        scene_top_k=spec.scene_top_k,
        scene_mass=spec.scene_mass,
        licence=spec.licence,
        origin=spec.origin,
    )
