"""What a request names, read and hashed: the pictures, the gallery, the pairs, and how a result describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from image_similarity.errors import NothingToEvaluate
from image_similarity.evaluation import reading
from image_similarity.evaluation.bootstrap import CONFIDENCE
from image_similarity.evaluation.edits import edit_sets
from image_similarity.evaluation.reading import Account, Hashed
from image_similarity.evaluation.request import EvaluationRequest
from image_similarity.evaluation.sources import (
    Pairs,
    PictureFile,
    pair_files,
    read_class_names,
    read_pairs,
    read_pictures,
)
from image_similarity.evaluation.tasks import Labelled


@dataclass(frozen=True, slots=True)
class Input:
    """What is evaluated: the pictures, those of the gallery, and those that a pairs file names."""

    pictures: list[Hashed]
    gallery: list[Hashed]
    paired: list[Hashed]
    pairs: Pairs
    notes: tuple[str, ...]


def read_input(request: EvaluationRequest, account: Account) -> Input:
    """Return what a request names; files that cannot be read go to the account.

    Raises:
        NothingToEvaluate: nothing is left.
        InvalidSetting: a list or a pairs file is none.
    """
    names = read_class_names(request.class_names) if request.class_names else {}
    notes: list[str] = []

    def hashed(files: Sequence[PictureFile], what: str) -> list[Hashed]:
        failed = len(account.failures)
        found = reading.hash_pictures(files, account)
        if others := len(files) - len(found) - (len(account.failures) - failed):
            notes.append(f"{others} files among {what} are no pictures and left out")
        once = list({each.sha256: each for each in reversed(found)}.values())[::-1]
        if len(once) < len(found):
            notes.append(f"{len(found) - len(once)} byte-for-byte duplicates among {what} left out")
        return once

    def listed(source: Path | None) -> list[PictureFile]:
        if source is None:
            return []
        files, failures = read_pictures(source, root=request.root, class_names=names)
        for failure in failures:
            account.fail(failure)
        return files

    pictures = hashed(_sampled(listed(request.pictures), request), "the pictures")
    if request.pictures is not None and not pictures:
        raise NothingToEvaluate(f"{request.pictures} holds no picture that can be read")
    own = {each.sha256 for each in pictures}
    others = hashed(listed(request.gallery), "the gallery")
    gallery = [each for each in others if each.sha256 not in own]
    if len(gallery) < len(others):
        notes.append(
            f"{len(others) - len(gallery)} pictures of the gallery are also asked for and left out of it"
        )
    pairs, paired = Pairs(), []
    if request.pairs is not None:
        pairs = read_pairs(request.pairs)
        files, failures = pair_files(pairs, request.pairs, root=request.root)
        for failure in failures:
            account.fail(failure)
        paired = reading.hash_pictures(files, account)
        if not paired:
            raise NothingToEvaluate(f"none of the pictures that {request.pairs} names can be read")
    return Input(pictures, gallery, paired, pairs, tuple(notes))


def _sampled(files: list[PictureFile], request: EvaluationRequest) -> list[PictureFile]:
    if request.sample is None or request.sample >= len(files):
        return files
    chosen = np.random.default_rng([request.seed, 5]).permutation(len(files))[: request.sample]
    return [files[row] for row in sorted(chosen)]


def labelled(files: Sequence[PictureFile]) -> Labelled:
    """Return those pictures that have a class."""
    found = [(file.name, file.label) for file in files if file.label is not None]
    return Labelled(tuple(name for name, _ in found), tuple(label for _, label in found))


def setting(request: EvaluationRequest, given: Input) -> dict[str, Any]:
    """Return what files were measured on, in JSON values."""
    labels = {each.file.label for each in given.pictures} - {None}
    sets = edit_sets(request.edits)
    return {
        "source": None if request.pictures is None else str(request.pictures),
        "pictures": len(given.pictures),
        "classes": len(labels),
        "edits": {name: list(edits) for name, edits in sets.items()},
        "unmatched": request.unmatched if request.unmatched is not None else _third(request, given),
        "gallery": len(given.gallery),
        "pairs": None if request.pairs is None else str(request.pairs),
        "background": None if request.background is None else str(request.background),
        "reduce": request.side,
        **numbers(request),
        "digest": digest(
            [
                *(
                    [each.sha256 for each in group]
                    for group in (given.pictures, given.gallery, given.paired)
                ),
                # With other classes or pairs the same files are another task.
                [each.file.label for each in given.pictures],
                given.pairs.pairs,
                given.pairs.triplets,
            ]
        ),
    }


def _third(request: EvaluationRequest, given: Input) -> int:
    return round(len(given.pictures) / 3) if request.edits else 0


def numbers(request: EvaluationRequest) -> dict[str, Any]:
    """Return what says how intervals were made."""
    return {"seed": request.seed, "resamples": request.resamples, "confidence": CONFIDENCE}


def digest(value: Iterable[Any]) -> str:
    """Return a hash of what was evaluated: two results with the same one are of the same files and tasks."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
