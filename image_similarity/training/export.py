"""The finished model as one safetensors file: half-precision weights and their card."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from image_similarity import golden
from image_similarity.encoding.card import read_card, read_header, spec_from_card
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.golden_picture import GoldenPicture
from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.encoding.training_hashes import HASH_BYTES, TENSOR
from image_similarity.encoding.weights import fit_state, load_state
from image_similarity.errors import WeightsRefused
from image_similarity.whole_file import writing

Card = dict[str, Any]


def fold_temperature(network: MultiscaleNet, temperature: float) -> None:
    """Divide the scene logits by a temperature, inside the weights of the scene head."""
    with torch.no_grad():
        network.scene_head.weight.div_(temperature)
        network.scene_head.bias.div_(temperature)


def write_model(
    path: Path,
    network: MultiscaleNet,
    card: Card,
    *,
    training_sha256: NDArray[np.uint8] | None = None,
) -> None:
    """Write weights and card, replacing an older file in one move.

    Matrices and kernels are stored as float16, which changes embeddings by less than 0.001;
    vectors and the statistics of normalisation layers, small but delicate, stay float32.
    `training_sha256`, uint8 (N, 8), are the first 8 bytes of each training file's SHA-256, ascending:
    with them an evaluation can leave out what the model was taught.
    """
    tensors = {name: _stored(tensor) for name, tensor in network.state_dict().items()}
    if training_sha256 is not None:
        if training_sha256.dtype != np.uint8 or training_sha256.shape[1:] != (HASH_BYTES,):
            raise ValueError(f"hashes of {HASH_BYTES} bytes each are expected")
        tensors[TENSOR] = torch.from_numpy(np.array(training_sha256))
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as file:
        file.write(save(tensors, metadata={"card": _text_of(card)}))


def rewrite_card(path: Path, card: Card) -> None:
    """Give a model file another card, in one move; every tensor stays as it is, byte for byte.

    For scripts that measure a model and put the figures into its card: `write_model` after
    `read_model` would store the weights anew and lose the hashes of the training pictures.

    Raises:
        WeightsRefused: the file is no safetensors file.
    """
    header, start = read_header(path)
    header["__metadata__"] = {"card": _text_of(card)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    # The format aligns the tensors to 8 bytes by blanks at the end of the header.
    text += b" " * (-len(text) % 8)
    with path.open("rb") as old, writing(path) as new:
        old.seek(start)
        new.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(old, new)


def record_golden(path: Path, *, device: str = "cpu") -> None:
    """Put into a model file's card what the model sees and answers on the golden pictures.

    The file is loaded as any user's program loads it, so the record holds for the stored weights.

    Raises:
        WeightsRefused: the file is no sound model with a card.
    """
    card = read_card(path)
    if card is None:
        raise WeightsRefused(f"{path.name} has no card")
    encoder = Encoder.load(spec_from_card(card, path), device=device)
    rewrite_card(path, card | {"golden": plain_golden(golden.record(encoder))})


def plain_golden(pictures: Iterable[GoldenPicture]) -> list[dict[str, Any]]:
    """Return a golden record as a card holds it."""
    return [dataclasses.asdict(picture) for picture in pictures]


def sorted_hashes(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    """Return digests of at least 8 bytes as `write_model` takes them: uint8 (N, 8), ascending."""
    joined = b"".join(sorted(digest[:HASH_BYTES] for digest in digests))
    return np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)


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


def _text_of(card: Card) -> str:
    return json.dumps(card, sort_keys=True, ensure_ascii=False)


def _stored(tensor: Tensor) -> Tensor:
    if tensor.is_floating_point() and tensor.ndim > 1:
        return tensor.half().contiguous()
    return tensor.contiguous()
