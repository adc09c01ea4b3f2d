"""Checkpoints of a training: written whole or not at all, refused when foreign."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import torch

from image_similarity.errors import WeightsRefused
from image_similarity.training.loop import Trainer

_KIND = "image-similarity training checkpoint"
_FORMAT = 1


def save_checkpoint(path: Path, trainer: Trainer) -> None:
    """Write the state of a training, replacing an older checkpoint in one move."""
    content = {
        "kind": _KIND,
        "format": _FORMAT,
        "config": dict(trainer.network.config),
        "plan": repr(dataclasses.asdict(trainer.plan)),
        "state": trainer.state(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def load_checkpoint(path: Path, trainer: Trainer, *, other_plan: bool = False) -> None:
    """Let a training go on from a checkpoint of the same network and plan.

    With `other_plan` the trainer's plan takes over at the step that was reached: a training is
    lengthened, or shortened when its time runs out. Its card must say so.

    Raises:
        WeightsRefused: the file is damaged, is no checkpoint of ours, or belongs to another
            network or plan; the trainer is left as it was.
    """
    content = _read(path)
    if content.get("config") != trainer.network.config:
        raise WeightsRefused(f"{path.name} belongs to another network: {content.get('config')}")
    if not other_plan and content.get("plan") != repr(dataclasses.asdict(trainer.plan)):
        raise WeightsRefused(
            f"{path.name} belongs to a training with other settings",
            hint="Give the settings of the first start, or another checkpoint folder.",
        )
    trainer.load_state(content["state"])


def _read(path: Path) -> dict[str, Any]:
    try:
        # weights_only: a checkpoint may come from anywhere, and must not be able to run code.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise WeightsRefused(f"{path.name} cannot be read as a checkpoint: {error}") from error
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise WeightsRefused(f"{path.name} is not a checkpoint of this program")
    if content.get("format") != _FORMAT:
        raise WeightsRefused(f"{path.name} has format {content.get('format')}, not {_FORMAT}")
    return content
