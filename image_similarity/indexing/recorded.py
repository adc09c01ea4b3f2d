"""The settings of a run as they are recorded, and back, so that any later process can repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import choose_runtime
from image_similarity.encoding.spec import ModelSpec
from image_similarity.pictures.names import from_text, to_text
from image_similarity.settings import IndexOptions
from image_similarity.store import versions


def settings(options: IndexOptions) -> dict[str, Any]:
    """Give the settings as JSON values, files by their absolute path in text form."""
    return {
        **asdict(options),
        "models": [_absolute(name) for name in options.models],
        "scenes": None if options.scenes is None else _absolute(options.scenes),
        "weights": None if options.weights is None else _absolute(str(options.weights)),
        "exclude": list(options.exclude),
    }


def _absolute(name: str) -> str:
    """A model's registered name as it is, a weights file by its absolute path in text form."""
    # In the order of the registry: a file that happens to be called like a model was not the one used.
    is_file = name not in registry.model_names() and Path(name).is_file()
    return to_text(str(Path(name).absolute())) if is_file else name


def _from_recorded(name: str) -> str:
    path = from_text(name)
    return path if Path(path).is_absolute() else name


def repeat(options: IndexOptions, recorded: Mapping[str, Any]) -> IndexOptions:
    """Give the settings of an earlier run, with the machine's own (batch size, device and the like) of this one."""
    return replace(
        options,
        models=tuple(_from_recorded(name) for name in recorded["models"]),
        scenes=None if recorded["scenes"] is None else _from_recorded(recorded["scenes"]),
        weights=None if recorded["weights"] is None else Path(from_text(recorded["weights"])),
        exclude=tuple(recorded["exclude"]),
        max_megapixels=recorded["max_megapixels"],
        # Also asked for anew: what it adds is filled in, as for a model that is added.
        pdq=options.pdq or recorded.get("pdq", False),
        thumbnails=options.thumbnails or recorded.get("thumbnails", False),
    )


def environment(specs: Sequence[ModelSpec], *, device: str, runtime: str) -> dict[str, str]:
    """Give the versions that a result may depend on, and in which runtime each model runs.

    No runtime is imported for it, but torch where it has to be asked for a GPU.

    Raises:
        DeviceUnavailable, ModelError: a model cannot run so.
    """
    chosen = (
        f"{spec.name} in {choose_runtime(spec, device=device, runtime=runtime)}" for spec in specs
    )
    return {**versions.installed(), "runtime": ", ".join(chosen)}
