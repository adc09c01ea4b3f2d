"""Which groups are trained on and which validate: never a group in both, and all of it written down."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from image_similarity.errors import TrainingRefused
from image_similarity.whole_file import writing

Part = Literal[
    "training",
    "validation",
    "exact copy",
    "near-duplicate",
    "known to the start model",
    "held aside for the classes",
]

# Two groups to tell apart on each side; unlabelled, of every picture copies are made to find again.
LEAST_GROUPS = 2


def split_groups(
    groups: Sequence[str], *, share: float, seed: int, singles: bool = False
) -> NDArray[np.bool_]:
    """Return which pictures validate, bool (N,): all those of about `share` of the groups, two groups at least.

    Only groups of two or more pictures are drawn, as the others have nothing to find; these are trained on. With
    `singles` every group is drawn from: each is one picture of which copies are made.

    Raises:
        TrainingRefused: fewer than two such groups would be left on a side.
    """
    names, counts = np.unique(np.array(groups, dtype=object), return_counts=True)
    usable = names if singles else names[counts >= 2]
    wanted = max(LEAST_GROUPS, round(share * len(usable)))
    if len(usable) - wanted < LEAST_GROUPS:
        what = "pictures" if singles else "groups of two or more pictures"
        raise TrainingRefused(
            f"{len(usable)} {what} are too few to train on: {LEAST_GROUPS} are needed to learn "
            f"from and {wanted} to validate on.",
            hint="Give more groups, or a smaller --validation-share."
            if singles
            else "Give more groups, a smaller --validation-share, or train --unlabelled.",
        )
    drawn = np.random.default_rng(seed).permutation(len(usable))[:wanted]
    chosen = set(usable[drawn])
    return np.array([group in chosen for group in groups], dtype=np.bool_)


def write_split(
    path: Path, paths: Sequence[str], groups: Sequence[str], parts: Sequence[Part]
) -> None:
    """Write which picture was in which part as CSV, replacing an older file in one move.

    A part that is neither training nor validation says why the picture was left out of the validation.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["path", "group", "part"])
    writer.writerows(zip(paths, groups, parts, strict=True))
    with writing(path) as file:
        file.write(text.getvalue().encode())
