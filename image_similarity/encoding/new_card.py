"""A card for weights that have none: a few words of a user, the rest from the network itself."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from image_similarity.encoding import onnx_model, registry
from image_similarity.encoding.architectures import is_known
from image_similarity.encoding.card import FORMAT, card_path, carries_card, spec_from_card
from image_similarity.encoding.pooling import POOLS
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.weights import KERAS_SUFFIXES, load_state, sha256_of
from image_similarity.errors import InvalidSetting, ModelError, WeightsMissing
from image_similarity.values import Preprocess
from image_similarity.whole_file import writing

# The families whose weights are published without a card; what this program makes has one.
FAMILIES = ("torchvision", "timm")
UNKNOWN_LICENCE = "unknown"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is said of a model; what is None is as published with the architecture.

    `layer` is that whose output is taken (of an .onnx file the output itself), `pool` one of gap, gem and flatten;
    `normalisation`, `metric` and the fields of the preprocessing as in a card.
    """

    architecture: str | None = None
    layer: str | None = None
    pool: str | None = None
    normalisation: str = "l2"
    metric: str = "euclidean"
    name: str | None = None
    size: int | None = None
    fit: Literal["squash", "crop"] | None = None
    resize: int | None = None
    interpolation: Literal["bicubic", "bilinear"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


def propose(given: str, wishes: Wishes) -> ModelSpec:
    """Return the specification of a weights file as wished, the length of its vectors measured.

    `given` is the file, or the registered name of a network whose weights lie in the weights folder. Nothing is
    written.

    Raises:
        InvalidSetting: the wishes contradict each other, or do not say enough.
        UnknownModel, WeightsMissing: there is no such file, or no such name.
        WeightsRefused: the file is not one of that network, or the network has no such layer.
        ModelError: it has another reason not to run.
    """
    from image_similarity.encoding.encoder import measure_dim

    weights, architecture = _file_of(given, wishes)
    _refuse_contradictions(wishes)
    base = _base(architecture, wishes)
    name = _name(wishes.name or weights.stem)
    sha256 = sha256_of(weights)
    published = base is not None and _is_published(base, sha256)
    spec = ModelSpec(
        name=name,
        architecture=architecture,
        preprocess=_preprocess(base.preprocess if base else None, weights, wishes),
        config=_config(architecture, wishes),
        layer=_layer(base, wishes),
        normalisation=wishes.normalisation,
        metric=wishes.metric,
        licence=base.licence if base and published else UNKNOWN_LICENCE,
        origin=base.origin if base and published else _given_by_user(weights),
        weights=weights,
        weights_sha256=sha256,
    )
    # Read as any card is, so that nothing is written that would be refused later.
    return spec_from_card(to_card(replace(spec, dim=measure_dim(spec, weights))), weights)


def to_card(spec: ModelSpec) -> dict[str, Any]:
    """Return the card of a model without scenes, as `card.spec_from_card` reads it."""
    preprocess = {key: each for key, each in asdict(spec.preprocess).items() if each is not None}
    return {
        "format": FORMAT,
        "name": spec.name,
        "architecture": spec.architecture,
        "config": dict(spec.config),
        "layer": spec.layer,
        "dim": spec.dim,
        "normalisation": spec.normalisation,
        "metric": spec.metric,
        "preprocess": preprocess | {key: list(preprocess[key]) for key in ("mean", "std")},
        "licence": spec.licence,
        "origin": spec.origin,
        "weights_sha256": spec.weights_sha256,
    }


def write_beside(spec: ModelSpec) -> Path:
    """Write the card beside the weights, in place of an earlier one, and return its path.

    Raises:
        OSError: it cannot be written.
    """
    if spec.weights is None:
        raise ValueError("a spec without weights has no card beside them")
    path = card_path(spec.weights)
    with writing(path) as file:
        file.write(json.dumps(to_card(spec), indent=1).encode("utf-8") + b"\n")
    return path


def refuse_read_only(weights: Path) -> None:
    """Refuse weights beside which no card can be written, as on a medium that is only to be read.

    Raises:
        InvalidSetting.
    """
    if not os.access(weights.absolute().parent, os.W_OK):
        by = "or let -o FILE.safetensors write a copy with the card inside"
        raise InvalidSetting(
            f"the card belongs beside {weights}, into a folder that cannot be written to",
            hint="copy the weights into another folder"
            + ("" if weights.suffix.lower() == onnx_model.SUFFIX else f", {by}"),
        )


def write_copy(spec: ModelSpec, target: Path) -> ModelSpec:
    """Write the weights with their card inside as a .safetensors file of its own, and return what that file is.

    Its fingerprint is its own: the bytes of the weights are others.

    Raises:
        InvalidSetting: the target is no .safetensors file, or the weights are no tensors, as in an .onnx file.
        WeightsRefused: the weights cannot be read.
        OSError: it cannot be written.
    """
    if spec.weights is None:
        raise ValueError("a spec without weights cannot be copied")
    refuse_copy(spec.weights, target)
    from safetensors.torch import save

    # clone: tensors that share their memory cannot be stored as they are.
    state = {
        key: each.detach().clone().contiguous() for key, each in load_state(spec.weights).items()
    }
    card = to_card(replace(spec, weights_sha256=None))
    with writing(target) as file:
        file.write(save(state, {"card": json.dumps(card)}))
    return registry.get(str(target))


def refuse_copy(weights: Path, target: Path) -> None:
    """Refuse what `write_copy` cannot write.

    Raises:
        InvalidSetting.
    """
    if target.suffix.lower() != ".safetensors" or weights.suffix.lower() == onnx_model.SUFFIX:
        raise InvalidSetting(
            f"{target}: only tensors are copied, into a .safetensors file",
            hint="without -o the card is written beside the weights",
        )


def _file_of(given: str, wishes: Wishes) -> tuple[Path, str]:
    """Return the weights file and its architecture."""
    if registry.is_registered(given):
        spec = registry.get(given)
        weights, architecture = spec.weights, spec.architecture
        if wishes.architecture not in (None, architecture):
            raise InvalidSetting(f"{given} is of the architecture {architecture}")
    else:
        weights = Path(given)
        architecture = wishes.architecture or _told_by(weights)
    if weights is None or not weights.is_file():
        raise WeightsMissing(
            f"no file {given}, and no model of that name",
            hint="give a weights file, or a name of `image-similarity models list`",
        )
    is_onnx = weights.suffix.lower() == onnx_model.SUFFIX
    if is_onnx != (architecture == onnx_model.ARCHITECTURE):
        raise InvalidSetting(f"{weights} cannot be of the architecture {architecture!r}")
    if not is_onnx and (
        architecture.partition("/")[0] not in FAMILIES or not is_known(architecture)
    ):
        raise InvalidSetting(
            f"no card is made for the architecture {architecture!r}",
            hint="one of torchvision (`models list` has its names) or timm, such as torchvision/vgg19, timm/resnet50",
        )
    if carries_card(weights):
        raise InvalidSetting(f"{weights} carries its card already: name it as the model")
    return weights, architecture


def _told_by(weights: Path) -> str:
    """Return the architecture that a file's name tells."""
    if weights.suffix.lower() == onnx_model.SUFFIX:
        return onnx_model.ARCHITECTURE
    if not weights.is_file():
        return ""
    if weights.suffix.lower() in KERAS_SUFFIXES:
        raise InvalidSetting(
            f"{weights} is a weights file of Keras, for which no card is made",
            hint="one of DeepRanking needs none: name it as the model",
        )
    raise InvalidSetting(
        f"{weights} does not say which network it belongs to",
        hint="say it with --architecture, such as torchvision/vgg19 or timm/resnet50",
    )


def _name(name: str) -> str:
    """Return the name of the new model, unless it is another's."""
    if registry.is_registered(name):
        raise InvalidSetting(
            f"{name} is the name of another model", hint="choose another with --name"
        )
    return name


def _is_published(base: ModelSpec, sha256: str) -> bool:
    """Whether a file is the one that was published: torchvision's names end in the first digits of the SHA-256."""
    found = re.search(r"-([0-9a-f]{8})\.pth$", base.origin)
    return found is not None and sha256.startswith(found[1])


def _given_by_user(weights: Path) -> str:
    """Return what is known of the origin of any other file: a name that a card can hold."""
    name = "".join(c if c.isprintable() else "?" for c in weights.name)
    return f"{name}, given by the user; on which pictures it was trained is not known"


def _refuse_contradictions(wishes: Wishes) -> None:
    if wishes.pool not in (None, *POOLS):
        raise InvalidSetting(f"no pooling is called {wishes.pool!r}; one of {', '.join(POOLS)}")
    if wishes.normalisation == "none" and wishes.metric == "cosine":
        raise InvalidSetting(
            "cosine ranks by direction, so its vectors are brought to length 1",
            hint="choose --normalisation l2 or --metric euclidean",
        )


def _base(architecture: str, wishes: Wishes) -> ModelSpec | None:
    """Return what is published of the architecture, if anything is that can be used."""
    if architecture == onnx_model.ARCHITECTURE:
        return None
    try:
        return registry.describe(architecture)
    except ModelError:
        # timm may want pictures prepared in a way that is not ours; then the user says how.
        if wishes.size is None or not architecture.startswith("timm/"):
            raise
        return None


def _config(architecture: str, wishes: Wishes) -> dict[str, Any]:
    layer = "output" if architecture == onnx_model.ARCHITECTURE else "layer"
    pool = wishes.pool
    if wishes.layer is not None and pool is None and layer == "layer":
        pool = "gap"
    return {key: each for key, each in ((layer, wishes.layer), ("pool", pool)) if each is not None}


def _layer(base: ModelSpec | None, wishes: Wishes) -> str:
    if wishes.layer is None and wishes.pool is None:
        return base.layer if base else "first output"
    taken = wishes.layer or ("last map" if base else "first output")
    return f"{taken}, {wishes.pool or 'gap'}" if wishes.pool or base else taken


def _preprocess(base: Preprocess | None, weights: Path, wishes: Wishes) -> Preprocess:
    """Return the published preprocessing with what is wished instead."""
    if base is None:
        base = Preprocess(size=wishes.size or _fixed_size(weights))
    size = wishes.size or base.size
    fit = wishes.fit or base.fit
    if fit == "squash" and wishes.resize is not None:
        raise InvalidSetting("--resize goes with --fit crop", hint="squash resizes the whole frame")
    resize = None
    if fit == "crop":
        resize = wishes.resize or max(size, round(size * (base.resize or base.size) / base.size))
    return replace(
        base,
        size=size,
        fit=fit,
        resize=resize,
        interpolation=wishes.interpolation or base.interpolation,
        mean=wishes.mean or base.mean,
        std=wishes.std or base.std,
    )


def _fixed_size(weights: Path) -> int:
    """Return the side of the pictures that an .onnx file fixes."""
    spec = ModelSpec(weights.stem, onnx_model.ARCHITECTURE, Preprocess(size=1), weights=weights)
    size = onnx_model.OnnxModel.load(spec, weights).size
    if size is None:
        raise InvalidSetting(
            f"{weights} takes pictures of any size", hint="say which with --size, such as 224"
        )
    return size
