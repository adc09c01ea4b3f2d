"""Weights files: where they lie, their hash, and their arrays, read without running any code."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from image_similarity.encoding.training_hashes import PREFIX
from image_similarity.errors import WeightsChanged, WeightsRefused

KERAS_SUFFIXES = (".h5", ".hdf5")
SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", *KERAS_SUFFIXES)

# The largest networks that are supported have 0.6 GB; beyond this something else was named.
MAX_BYTES = 8 * 2**30


def weights_folder() -> Path:
    """Return the folder of fetched weights, which need not exist.

    It is IMAGE_SIMILARITY_WEIGHTS if that is set, else image_similarity/weights in the user's data
    folder.
    """
    if chosen := os.environ.get("IMAGE_SIMILARITY_WEIGHTS"):
        return Path(chosen)
    if sys.platform == "win32":
        data = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "image_similarity" / "weights"


def sha256_of(path: Path, *, expected: str | None = None) -> str:
    """Return the SHA-256 of a file's bytes in lower-case hexadecimal.

    Raises:
        WeightsChanged: `expected` is given and is another hash.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and digest != expected.lower():
        raise WeightsChanged(
            f"{path} is not the file that was recorded: SHA-256 {digest}, recorded {expected}",
            hint="Restore the file, or give the model with the new weights another name.",
        )
    return digest


def load_state(path: Path, *, expected: str | None = None) -> dict[str, Any]:
    """Return the tensors of a weights file by name, on the CPU.

    A `state_dict` inside a checkpoint is taken out, and a prefix `module.` that all names share is
    dropped, as are notes on the training (`training.*`), which are no part of the network. A pickle
    is read by torch's restricted reader only, so nothing in it can run.

    Raises:
        WeightsChanged: `expected` is given and the file has another SHA-256.
        WeightsRefused: the file is corrupt, of another kind, absurdly large, or needs code.
        ExtraMissing: it is one of Keras, and h5py is not installed.
        OSError: the file cannot be read.
    """
    suffix = _suffix_of(path)
    if expected is not None:
        sha256_of(path, expected=expected)
    if suffix in KERAS_SUFFIXES:
        from image_similarity.encoding.keras_h5 import read_state

        return read_state(path)
    read = _read_safetensors if suffix == ".safetensors" else _read_pickle
    return _without_notes(_state_of(read(path), path))


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a .safetensors file by name as numpy arrays; no torch is loaded.

    Notes on the training (`training.*`), which are no part of the network, are left out.

    Raises:
        WeightsRefused: the file is corrupt, of another kind, absurdly large, or holds numbers of a
            type that numpy does not have.
        OSError: the file cannot be read.
    """
    from safetensors.numpy import load_file

    _suffix_of(path)
    return _without_notes(_read_with(load_file, path))


def fit_state(network: Any, state: Mapping[str, Any], path: Path, *, assign: bool = False) -> None:
    """Put the tensors into the network, or say which names or shapes do not fit.

    With `assign` the network takes over the tensors themselves, with their types, in place of its own.

    Raises:
        WeightsRefused: see `refuse_misfit`.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    refuse_misfit(wanted, state, path)
    network.load_state_dict(dict(state), strict=False, assign=assign)


def refuse_misfit(
    wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Any], path: Path
) -> None:
    """Refuse tensors, of torch or of numpy, that are not those of the wanted names and shapes.

    Counters of batches (num_batches_tracked) may be missing or too many: they do not act on the
    output, old checkpoints lack them, and graphs have none.

    Raises:
        WeightsRefused: names are missing, unknown, of another shape or hold NaN; the first few are
            named.
    """
    missing = [key for key in wanted if key not in state and not _is_counter(key)]
    unknown = [key for key in state if key not in wanted and not _is_counter(key)]
    common = [key for key in wanted if key in state]
    other = [
        f"{key} {tuple(state[key].shape)} instead of {wanted[key]}"
        for key in common
        if tuple(state[key].shape) != wanted[key]
    ]
    # Only where all shapes are right: a hostile file may claim one that no memory holds.
    # Only what is no number differs from itself.
    flawed = [key for key in common if not other and bool((state[key] != state[key]).any())]
    found = [
        ("missing", missing),
        ("unknown", unknown),
        ("of another shape", other),
        ("not a number", flawed),
    ]
    if wrong := "; ".join(f"{what}: {_first(keys)}" for what, keys in found if keys):
        raise WeightsRefused(
            f"{path} does not hold the weights of this network: {wrong}",
            hint="Check that the file belongs to the model that was named.",
        )


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _suffix_of(path: Path) -> str:
    """Return a weights file's suffix in lower case.

    Raises:
        WeightsRefused: it is none that can be read, or the file's size is absurd.
    """
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise WeightsRefused(f"{path}: {size} bytes cannot be the weights of a network.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WeightsRefused(
            f"{path}: weights of type {suffix or 'without a suffix'!r} cannot be read.",
            hint=f"Read are files ending in {', '.join(SUFFIXES)}.",
        )
    return suffix


def _without_notes(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of the network alone."""
    # No network loses weights by this: torch allows no part of that name, as `training` is taken.
    return {key: value for key, value in state.items() if not key.startswith(PREFIX)}


def _first(keys: list[str]) -> str:
    """Return the first three of the keys and how many there are."""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more


def _read_safetensors(path: Path) -> Any:
    """Read a .safetensors file, which cannot hold code."""
    from safetensors.torch import load_file

    return _read_with(load_file, path)


def _read_with(load_file: Callable[[Path], Any], path: Path) -> Any:
    """Read a .safetensors file by the reader for torch or for numpy."""
    from safetensors import SafetensorError

    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsRefused(f"{path} is no sound safetensors file: {error}") from error


def _read_pickle(path: Path) -> Any:
    """Read a checkpoint of torch with the reader that executes nothing."""
    import torch

    _refuse_inflated_zip(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    # Everything else, since a corrupt pickle may raise anything. No code of ours runs inside this
    # `try` whose faults it could hide.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsRefused(
            f"{path} was refused: it is corrupt, or asks for code to be run ({reason[0][:200]})",
            hint="Take the file from its publisher; never load it with another program.",
        ) from error


def _refuse_inflated_zip(path: Path) -> None:
    """Refuse a zip that unpacks to more than it is; torch stores its tensors uncompressed."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise WeightsRefused(f"{path} is no sound checkpoint: {error}") from error
    if unpacked > path.stat().st_size:
        raise WeightsRefused(f"{path} would unpack to {unpacked} bytes, more than the file has.")


def _state_of(content: Any, path: Path) -> dict[str, Any]:
    """Return the mapping of names to tensors inside a checkpoint."""
    import torch

    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise WeightsRefused(f"{path} holds no mapping of names to tensors.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise WeightsRefused(f"{path}: entry {str(key)[:100]!r} is no named tensor.")
        # Sparse, quantised and complex tensors, and such without data, which the reader also makes.
        if (
            value.layout != torch.strided
            or value.is_meta
            or value.is_quantized
            or value.is_complex()
        ):
            raise WeightsRefused(f"{path}: entry {key[:100]!r} is no tensor of plain numbers.")
    if all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)
