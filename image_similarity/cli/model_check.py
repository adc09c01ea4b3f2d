"""Whether a model works as it is recorded: loaded, tried on generated pictures, its vectors looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_similarity.errors import ModelError, WeightsChanged
from image_similarity.values import ModelInfo

if TYPE_CHECKING:
    from image_similarity.encoding.spec import ModelSpec

# Vectors are stored as float16; a norm further from 1 than its step is no rounding.
NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Passed:
    """A model that passed: what is recorded of it, in what it ran, and how many golden pictures came out."""

    info: ModelInfo
    runtime: str
    device: str
    golden: int


def check(name: str, *, weights: Path | None, device: str, runtime: str) -> Passed:
    """Return what a model that passed is, in what it ran, and how many golden pictures came out as its card says.

    Raises:
        ModelError: It is unknown, its weights are missing or changed, or its vectors are not what they should be.
    """
    from image_similarity.encoding import registry

    return check_spec(registry.get(name, weights=weights), device=device, runtime=runtime)


def check_spec(spec: ModelSpec, *, device: str, runtime: str) -> Passed:
    """Return the same of a model that is at hand.

    Raises:
        ModelError: As `check`.
    """
    from image_similarity import golden
    from image_similarity.encoding.encoder import Encoder

    encoder = Encoder.load(spec, device=device, runtime=runtime)
    pictures = _pictures(encoder.info.preprocess.size)
    first, second = encoder.encode(pictures), encoder.encode(pictures)
    _compare_runs(spec.name, first, second, spec.normalisation)
    _compare_alone(spec.name, first, encoder.encode(pictures[:1]))
    return Passed(encoder.info, encoder.runtime, encoder.device, golden.check(encoder))


def compare(info: ModelInfo, stored: Sequence[ModelInfo]) -> None:
    """Refuse a model under whose name a database holds only vectors of other fingerprints.

    Raises:
        WeightsChanged.
    """
    same_name = {each.fingerprint for each in stored if each.name == info.name}
    if same_name and info.fingerprint not in same_name:
        raise WeightsChanged(
            f"The database holds vectors of {info.name} with fingerprint "
            f"{', '.join(sorted(each[:12] for each in same_name))}, this machine has {info.fingerprint[:12]}",
            hint="Their vectors cannot be compared; use the recorded weights, or index again.",
        )


def _compare_runs(name: str, first: Any, second: Any, normalisation: str) -> None:
    import numpy as np

    if not (first.finite.all() and second.finite.all()):
        raise ModelError(f"{name} gives values that are no numbers")
    for one, other in ((first.vectors, second.vectors), (first.scenes, second.scenes)):
        if one is not None and not np.allclose(one, other, atol=NORM_TOLERANCE):
            raise ModelError(f"{name} gives two answers for one picture")
    if first.vectors is not None and normalisation == "l2":
        norms = np.linalg.norm(first.vectors, axis=1)
        if not np.allclose(norms, 1.0, atol=NORM_TOLERANCE):
            raise ModelError(
                f"{name} gives vectors of length {norms.min():.4f} to {norms.max():.4f}, not 1"
            )


def _compare_alone(name: str, together: Any, alone: Any) -> None:
    """Refuse a network that looks at the other pictures of a batch, as one does that was exported in training."""
    import numpy as np

    for one, other in ((together.vectors, alone.vectors), (together.scenes, alone.scenes)):
        near = one is None or np.allclose(one[:1], other, rtol=NORM_TOLERANCE, atol=NORM_TOLERANCE)
        if not near:
            raise ModelError(
                f"{name} gives a picture other numbers beside others than alone",
                hint="Export the network for evaluation, not as in training.",
            )


def _pictures(size: int) -> Any:
    """Two generated pictures: a ramp and its negative."""
    import numpy as np

    ramp = np.linspace(0, 255, size * size * 3).reshape(size, size, 3).astype(np.uint8)
    return np.stack([ramp, 255 - ramp])
