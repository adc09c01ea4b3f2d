"""What the distances of one search mean: the reference table of its model, and the calibration that was given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from image_similarity.calibration.files import read_table, table_path
from image_similarity.calibration.ratio import ratio_at
from image_similarity.calibration.reference import as_close
from image_similarity.errors import CalibrationRefused, ModelError
from image_similarity.search.choice import Chosen
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

    It lies beside the weights, which are looked for where `choice.find_spec` looks, but not read.
    """
    from image_similarity.encoding import registry

    for origin in (model.info.name, *model.origins):
        try:
            weights = registry.get(origin).weights
        except ModelError:
            # No name, and no file with a card; but it may be the file that a name was given with --weights.
            weights = Path(origin)
        table = read_table(table_path(weights)) if weights else None
        if table is not None and table.fingerprint == model.info.fingerprint:
            return table
    return None
