"""Where a model that was learned on a database is written: never into the evidence, nor in another file's place."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from image_similarity.encoding.card import read_card
from image_similarity.errors import InvalidSetting, UsageError, WeightsRefused
from image_similarity.records import exports
from image_similarity.reports import target
from image_similarity.store.catalog import Catalog


def check_target(
    catalog: Catalog, path: Path, architectures: Collection[str], *, replace: bool
) -> None:
    """Refuse, before any work, a file that could not be written at the end, or should not be.

    What is replaced was written by the same command: the network below would be lost with its weights, and with it
    every vector that the database holds of it.

    Args:
        catalog: Whose sources are evidence.
        path: The file.
        architectures: Of the models that may be replaced.
        replace: Whether they may.

    Raises:
        UsageError: It lies in the evidence, its folder is not there, or it exists and may not be replaced.
        InvalidSetting: It has another ending.
    """
    if path.suffix != ".safetensors":
        raise InvalidSetting(f"the model's file must end in .safetensors: {path}")
    exports.refuse_inside(path, catalog.sources())
    # Without a mark of text: what it is stands in its card.
    target.refuse_existing(path, mark="", overwrite=replace)
    if path.exists() and _architecture_of(path) not in architectures:
        raise UsageError(
            f"{path} was not written by this command, and is not replaced",
            hint="name another file",
        )


def _architecture_of(path: Path) -> object:
    try:
        card = read_card(path)
    except WeightsRefused:
        return None
    return card and card.get("architecture")
