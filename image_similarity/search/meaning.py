"""What the distances of one search mean: the reference table of its model, and the calibration that was given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from image_similarity.calibration.files import read_table, table_path
from image_similarity.calibration.ratio import ratio_at
from image_similarity.calibration.reference import as_close
from image_similarity.encoding import BUILTIN_WEIGHTS
from image_similarity.errors import CalibrationRefused, ModelError
from image_similarity.search.choice import Chosen
from image_similarity.settings import BUILTIN
from image_similarity.values import Calibration, DistanceTable, Hit


class Meaning:
    """Adds to hits what their distances mean.

    Raises:
        CalibrationRefused: The calibration is of another model, or the model's reference table is damaged.
    """

    def __init__(self, model: Chosen, calibration: Calibration | None) -> None:
        info = model.info
        if calibration is not None and calibration.fingerprint != info.fingerprint:
            raise CalibrationRefused(
                f"the calibration is of {calibration.model}@{calibration.fingerprint[:12]}, "
                f"the search uses {info.name}@{info.fingerprint[:12]}",
                hint="choose that model with -m, or make another: image-similarity calibrate",
            )
        self.table = find_table(model)
        self._calibration = calibration

    def explain(self, hit: Hit) -> Hit:
        """Return the hit with its meanings."""
        return replace(
            hit,
            as_close=as_close(self.table, hit.distance) if self.table else None,
            ratio=ratio_at(self._calibration, hit.distance) if self._calibration else None,
        )


def find_table(model: Chosen) -> DistanceTable | None:
    """Return the reference table of a recorded model, if one made for its fingerprint lies on this machine.

    There is none for vectors of any length: a table counts distances from 0 to 2.

    It lies beside the weights, which are looked for where `choice.find_spec` looks, and read only if it is damaged: one
    beside the weights of another model is no matter of this search.

    Raises:
        CalibrationRefused: It is damaged.
    """
    if model.info.normalisation != "l2":
        return None
    origins = (model.info.name, *model.origins)
    damaged: CalibrationRefused | None = None
    for weights in chain(_files(origins), _registered(origins)):
        try:
            table = read_table(table_path(weights))
        except CalibrationRefused as error:
            if damaged is None and _may_be(weights, model):
                damaged = error
            continue
        if table is not None and table.fingerprint == model.info.fingerprint:
            return table
    if damaged is not None:
        raise damaged
    return None


def _may_be(weights: Path, model: Chosen) -> bool:
    """Whether these weights are those of the model, as far as they can be read."""
    from image_similarity.encoding.weights import sha256_of

    with suppress(ModelError, OSError):
        return sha256_of(weights) == model.info.weights_sha256
    return True


def _files(origins: Iterable[str]) -> Iterator[Path]:
    """The weights that can be named without the registry, which takes longer to ask than a small database."""
    for origin in origins:
        yield BUILTIN_WEIGHTS if origin == BUILTIN else Path(origin)


def _registered(origins: Iterable[str]) -> Iterator[Path]:
    from image_similarity.encoding import registry

    for origin in dict.fromkeys(origins):
        # Files were among `_files`; to refuse an unknown name, with near ones in the hint, takes as long as a search.
        if origin == BUILTIN or not registry.is_registered(origin):
            continue
        with suppress(ModelError):
            weights = registry.get(origin).weights
            if weights is not None:
                yield weights
