"""The finished model as one safetensors file: half-precision weights and their card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from image_similarity.encoding.card import read_card
from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.encoding.weights import fit_state, load_state
from image_similarity.errors import WeightsRefused

Card = dict[str, Any]


def fold_temperature(network: MultiscaleNet, temperature: float) -> None:
    """Divide the scene logits by a temperature, inside the weights of the scene head."""
    with torch.no_grad():
        network.scene_head.weight.div_(temperature)
        network.scene_head.bias.div_(temperature)


def write_model(path: Path, network: MultiscaleNet, card: Card) -> None:
    """Write weights and card, replacing an older file in one move.

    Matrices and kernels are stored as float16, which changes embeddings by less than 0.001;
    vectors and the statistics of normalisation layers, small but delicate, stay float32.
    """
    tensors = {name: _stored(tensor) for name, tensor in network.state_dict().items()}
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card, sort_keys=True, ensure_ascii=False)
    save_file(tensors, partial, metadata={"card": text})
    partial.replace(path)


def read_model(path: Path) -> tuple[MultiscaleNet, Card]:
    """Return the network, ready to evaluate in float32, and its card.

    Raises:
        WeightsRefused: the file is no safetensors file, has no card or fits no network of ours.
    """
    card = read_card(path)
    family = str(card.get("architecture", "")) if card else ""
    if card is None or not family.startswith("multiscale/"):
        raise WeightsRefused(f"{path.name} holds no multiscale network, but {family!r}")
    try:
        network = MultiscaleNet(**card["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsRefused(f"the card of {path.name} describes no network: {error}") from error
    fit_state(network, load_state(path), path)
    return network.eval(), card


def _stored(tensor: Tensor) -> Tensor:
    if tensor.is_floating_point() and tensor.ndim > 1:
        return tensor.half().contiguous()
    return tensor.contiguous()
