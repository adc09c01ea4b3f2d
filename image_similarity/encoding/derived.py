"""Models that go on from another model: what was learned on its vectors, kept in a small file of its own.

The weights file of a derived model holds only what was learned. Its card's configuration names the model below, as
`base` (a registered name, or a weights file, which may lie beside this one; with `base_weights` the name and the file)
and `base_fingerprint`, which is checked whenever the model is loaded: the same numbers above another network would mean
nothing.

What is learned from vectors works on vectors as they are stored, rounded to float16. So a new picture, which goes
through both networks, and a stored one, of which only the vector is taken, come to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from image_similarity.encoding import reductions, registry
from image_similarity.encoding.card import read_card
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.training_hashes import HASH_BYTES, read_training_hashes
from image_similarity.errors import (
    InvalidSetting,
    ModelError,
    WeightsChanged,
    WeightsMissing,
    WeightsRefused,
)

if TYPE_CHECKING:
    from image_similarity.encoding.encoder import Encoder

Float32 = npt.NDArray[np.float32]
# From stored vectors (N, base dim) to new ones (N, dim), before normalisation.
Transform = Callable[[Float32], Float32]

FAMILY = "derived"
# Goes on from the map inside the network below, not from its vectors: `visual_words` has its network.
WORDS = "derived/words"


def is_derived(spec: ModelSpec) -> bool:
    """Whether a model goes on from another."""
    return spec.architecture.partition("/")[0] == FAMILY


def find_base(spec: ModelSpec) -> ModelSpec:
    """Return the specification of the model below.

    Raises:
        WeightsMissing: it is not on this machine.
        WeightsChanged: what has its name here is another model.
        WeightsRefused: the card does not say which it is, or it is itself a derived one.
    """
    name, wanted = _below(spec)
    assert spec.weights is not None  # noqa: S101 - `_below` saw to it
    file = spec.config.get("base_weights")
    if isinstance(file, str):
        base = registry.get(name, weights=_file_of(file, spec.weights))
    elif registry.is_registered(name):
        base = registry.get(name)
    else:
        base = registry.get(str(_file_of(name, spec.weights)))
    if is_derived(base):
        raise WeightsRefused(f"{spec.weights}: the model below it, {name}, is itself derived")
    found = registry.info(base).fingerprint
    if found != wanted:
        raise WeightsChanged(
            f"{spec.name!r} was made with {name}@{wanted[:12]}, here {name} is {found[:12]}",
            hint="restore that model, or make this one anew with the one that is here",
        )
    return base


def _below(spec: ModelSpec) -> tuple[str, str]:
    """Return the name of the model below, and its fingerprint.

    Raises:
        WeightsRefused: the card does not say them.
    """
    name, wanted = spec.config.get("base"), spec.config.get("base_fingerprint")
    if not isinstance(name, str) or not isinstance(wanted, str) or spec.weights is None:
        raise WeightsRefused(f"{spec.weights}: its card names no model below it (base)")
    return name, wanted


def _file_of(name: str, weights: Path) -> Path:
    """Return where the file of the model below lies: as the card says, or beside the derived one."""
    # Of either system's paths, so that both files can be carried to the other.
    said, beside = Path(name), weights.parent / PureWindowsPath(name).name
    # A relative path would mean another file in each folder that a command is run in.
    places = [said, beside] if said.is_absolute() else [beside, said]
    share = PureWindowsPath(name).drive
    if share.startswith("\\\\") and share != PureWindowsPath(weights.absolute()).drive:
        # To look at another machine's share is to open a connection, which no card may cause.
        places.remove(said)
    for place in places:
        # A card may say anything, also what no system takes for a name.
        with suppress(OSError, ValueError):
            if place.is_file():
                return place
    raise WeightsMissing(
        f"{weights} goes on from the model {name[:200]}, which is not on this machine",
        hint=f"put its weights file beside {weights.name}",
    )


def address_of(base: ModelSpec) -> str:
    """By what the model below is found again: its registered name, or where its file lies.

    Raises:
        InvalidSetting: that cannot stand in a card.
    """
    if registry.is_registered(base.name):
        # A file may call itself by a registered name whose own weights are not here.
        with suppress(ModelError):
            if registry.get(base.name).weights == base.weights:
                return base.name
    address = str(base.weights and base.weights.absolute())
    if not address.isprintable() or len(address) > 1_000:
        raise InvalidSetting(
            f"the name of the model's file cannot stand in a card: {address!r}",
            hint="give it, and its folder, a plain name, and index with it",
        )
    return address


def named_below(base: ModelSpec) -> dict[str, str]:
    """Return the entries of a card by which `find_base` finds the model below again.

    Raises:
        InvalidSetting: see `address_of`.
    """
    address = address_of(base)
    # Given as the weights of a name, by a file that does not say itself what it is.
    if address != base.name and registry.is_registered(base.name) and base.weights:
        with suppress(ModelError):
            if read_card(base.weights) is None:
                return {"base": base.name, "base_weights": address}
    return {"base": address}


def taught(base: ModelSpec, sha256: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return the hashes of what the model below and this one learned from, uint8 (N, 8), ascending.

    A weights file carries them as `training_hashes.TENSOR`; `sha256` are those of this model's own pictures.
    """
    hashes = {bytes.fromhex(each)[:HASH_BYTES] for each in sha256}
    before = read_training_hashes(base.weights) if base.weights else None
    hashes |= {row.tobytes() for row in before} if before is not None else set()
    return np.frombuffer(b"".join(sorted(hashes)), np.uint8).reshape(-1, HASH_BYTES)


class DerivedNetwork:
    """A network, then what was learned on its vectors.

    Attributes:
        runtime: in what the network below runs.
    """

    def __init__(self, base: Encoder, transform: Transform) -> None:
        self.runtime = base.runtime
        self._base = base
        self._transform = transform

    def run(self, batch: npt.NDArray[np.uint8]) -> tuple[Float32, None]:
        """Return embeddings (N, dim) of uint8 pictures (N, S, S, 3); NaN where the network below gave none.

        Raises:
            OutOfMemory: the batch is too large for the device.
        """
        encoded = self._base.encode(batch)
        assert encoded.vectors is not None  # noqa: S101 - `load` saw to it
        with np.errstate(all="ignore"):
            stored = encoded.vectors.astype(np.float16).astype(np.float32)
            vectors = self._transform(stored)
        vectors[~encoded.finite] = np.nan
        return vectors, None


def load(spec: ModelSpec, weights: Path, *, device: str, runtime: str, threads: int | None) -> Any:
    """Return the network of a derived model, with the one below loaded on the device.

    Raises:
        WeightsMissing, WeightsChanged, WeightsRefused: see `find_base`; or the file's arrays are not those of its kind.
        DeviceUnavailable, ModelError: as for the model below.
    """
    from image_similarity.encoding.encoder import Encoder

    if spec.architecture == WORDS:
        from image_similarity.encoding import visual_words

        return visual_words.load(spec, weights, device=device, threads=threads)
    transform = transform_of(spec, weights)
    base = Encoder.load(find_base(spec), device=device, runtime=runtime, threads=threads)
    if base.spec.dim is None:
        raise WeightsRefused(f"{weights}: the model below it, {base.spec.name}, has no vectors")
    if base.spec.preprocess != spec.preprocess:
        raise WeightsRefused(
            f"{weights}: its card prepares pictures otherwise than {base.spec.name}"
        )
    return DerivedNetwork(base, transform)


def transform_of(spec: ModelSpec, weights: Path) -> Transform:
    """Return what a derived model does to the vectors of the model below.

    Raises:
        WeightsRefused: the card names no model below, or asks for what stored vectors do not get; or the file's arrays
            are not those of its kind.
    """
    _below(spec)
    # Only a network's own vectors are centred: a new picture would get another vector than a stored one.
    if spec.centre is not None or spec.scenes:
        what = "scenes" if spec.scenes else "centre"
        raise WeightsRefused(f"{weights}: card entry {what}: a derived model has none")
    if reductions.kind_of(spec) is None:
        raise WeightsRefused(f"{weights}: {spec.architecture!r} does not go on from vectors")
    reduction = reductions.load(spec, weights)
    return lambda vectors: reductions.reduced(reduction, vectors, weights)


def as_stored(
    spec: ModelSpec, transform: Transform, vectors: npt.NDArray[np.float16]
) -> npt.NDArray[np.float16]:
    """Return the vectors (N, dim) of a derived model as they are stored, of stored ones (N, base dim) of that below.

    A row that holds no numbers, or no direction where it should have length 1, is NaN or infinite.
    """
    with np.errstate(all="ignore"):
        made = transform(vectors.astype(np.float32))
        if spec.normalisation == "l2":
            made = made / np.linalg.norm(made, axis=1, keepdims=True)
        return made.astype(np.float16)
