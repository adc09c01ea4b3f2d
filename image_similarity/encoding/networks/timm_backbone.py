"""Networks of the library timm by name, with weights that lie on this machine.

timm can fetch weights by itself, over a network. Here it is never asked to: networks are made with random weights, and
its client of the hub is told that there is no network.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn

from image_similarity.encoding.networks.layers import LayerNet, under_whole
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.errors import ExtraMissing, ModelError, UnknownModel
from image_similarity.values import Preprocess

LAYER = "timm's own embedding: the output before the classifier"


@cache
def import_timm() -> ModuleType:
    """Return the module timm.

    Raises:
        ExtraMissing: it is not installed.
    """
    # Read when timm's client of the hub is imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import_torchvision()
        import timm
    except ImportError as error:
        raise ExtraMissing(
            "a model timm/... needs the package timm, which is not installed",
            hint='pip install "image_similarity[timm]"',
        ) from error
    module: ModuleType = timm
    return module


def timm_backbone(name: str, *, layer: str | None = None, pool: str | None = None) -> nn.Module:
    """Return a network by timm's name, without its classifier, with random weights.

    Its forward takes float32 (N, 3, H, W), normalised, and gives the embedding (N, D), not normalised: timm's own; or
    that of the layer, pooled by "gap" unless told otherwise; or, with a pooling alone, its last map so pooled.

    Raises:
        ExtraMissing: timm is not installed.
        UnknownModel: it has no network of that name.
        WeightsRefused: the network has no such layer, or there is no such pooling.
    """
    timm = import_timm()
    refuse_unknown(name)
    if layer is None and pool is None:
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
        return network
    given = {"global_pool": ""} if layer is None else {}
    network = timm.create_model(name, pretrained=False, num_classes=0, **given)
    return LayerNet(
        network,
        layer or "",
        "gap" if pool is None else pool,
        of=f"timm/{name}",
        channels_last=getattr(network, "output_fmt", "") == "NHWC",
    )


def adapt_state(
    name: str, state: Mapping[str, Any], *, layer: str | None = None, pool: str | None = None
) -> dict[str, Any]:
    """Return the tensors of a file of timm's that the network without its classifier has."""
    names = _settings(name).get("classifier") or ()
    heads = tuple(f"{each}." for each in ([names] if isinstance(names, str) else names))
    kept = {key: value for key, value in state.items() if not key.startswith(heads)}
    return kept if layer is None and pool is None else under_whole(kept)


def timm_spec(name: str) -> ModelSpec:
    """Return the spec of a network by timm's name, with the preprocessing that timm documents for its weights.

    Raises:
        ExtraMissing: timm is not installed.
        UnknownModel: it has no network of that name.
        ModelError: it wants its pictures prepared in a way that is not ours, or its length cannot be told.
    """
    refuse_unknown(name)
    settings = _settings(name)
    return ModelSpec(
        name=f"timm/{name}",
        architecture=f"timm/{name}",
        preprocess=_preprocess(name, settings),
        layer=LAYER,
        dim=_dim(name, settings),
        licence=f"{settings.get('license') or 'unknown'}, as timm records it for its own weights",
        origin="timm; weights from a local file",
    )


def refuse_unknown(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        UnknownModel: it has no network of that name; near ones are named.
        ExtraMissing: timm is not installed.
    """
    timm = import_timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise UnknownModel(
            f"timm {timm.__version__} has no network {name!r}"
            + (f"; near it are {', '.join(near)}" if near else "")
        )


def _settings(name: str) -> dict[str, Any]:
    """Return what timm documents for the weights of a network.

    Raises:
        UnknownModel: it knows the network, but no weights of that name, the part after the point.
    """
    timm = import_timm()
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        network, _, weights = name.partition(".")
        known = [each.partition(".")[2] for each in timm.list_pretrained(f"{network}.*")]
        raise UnknownModel(
            f"timm {timm.__version__} has no weights {weights!r} of {network}; it has {', '.join(known[:8]) or 'none'}"
        ) from error
    settings: dict[str, Any] = found.to_dict() if found is not None else {}
    return settings


def _preprocess(name: str, settings: Mapping[str, Any]) -> Preprocess:
    if not settings:
        raise _not_ours(name, "it documents nothing")
    channels, height, width = settings["input_size"]
    mode, interpolation = settings["crop_mode"], settings["interpolation"]
    if channels != 3 or height != width or mode not in ("center", "squash"):
        raise _not_ours(name, f"{channels} x {height} x {width}, {mode}")
    if interpolation not in ("bicubic", "bilinear"):
        raise _not_ours(name, interpolation)
    mean, std = settings["mean"], settings["std"]
    crops = mode == "center"
    return Preprocess(
        size=height,
        fit="crop" if crops else "squash",
        # As timm's own transform rounds it.
        resize=math.floor(height / settings["crop_pct"]) if crops else None,
        interpolation="bicubic" if interpolation == "bicubic" else "bilinear",
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
    )


def _not_ours(name: str, what: str) -> ModelError:
    return ModelError(
        f"timm/{name}: timm prepares its pictures in a way that there is not here ({what})",
        hint="Say how: image-similarity models add FILE --architecture timm/NAME --size N --fit squash",
    )


def _dim(name: str, settings: Mapping[str, Any]) -> int:
    """Return the length of the embedding, by a run on the meta device, which calculates shapes alone."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.inference_mode():
        network = import_timm().create_model(name, pretrained=False, num_classes=0).eval()
        shape = network(torch.empty(1, *settings.get("input_size", (3, 224, 224)))).shape
    if len(shape) != 2:
        raise ModelError(f"timm/{name} gives no vector, but numbers of shape {tuple(shape)}")
    return int(shape[1])
