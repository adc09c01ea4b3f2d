"""Checkpoints of a training: written whole or not at all, refused when foreign."""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from image_similarity.errors import WeightsRefused
from image_similarity.training.loop import Trainer
from image_similarity.whole_file import writing

_KIND = "image-similarity training checkpoint"
_FORMAT = 1

# What zipfile and torch.load raise on damaged and on foreign files.
_UNREADABLE = (
    OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError,
    OverflowError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


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
    with writing(path) as file:
        torch.save(content, file)


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


def read_content(path: Path) -> Any:
    """Return what torch saved in a file, on the CPU; nothing in it can run code.

    Raises:
        WeightsRefused: the file cannot be read, or is not as it was written.
    """
    try:
        # torch does not compare the checksums, and would go on with numbers that are not those it wrote.
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{damaged} is damaged")
        # weights_only: a checkpoint may come from anywhere, and must not be able to run code.
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsRefused(
            f"{path} cannot be read as a checkpoint: {reason[:200]}",
            hint="Delete it, or name another --work folder, to begin anew.",
        ) from error


def _read(path: Path) -> dict[str, Any]:
    content = read_content(path)
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise WeightsRefused(f"{path.name} is not a checkpoint of this program")
    if content.get("format") != _FORMAT:
        raise WeightsRefused(f"{path.name} has format {content.get('format')}, not {_FORMAT}")
    return content
