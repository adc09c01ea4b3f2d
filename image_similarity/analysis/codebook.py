"""Build a codebook of visual words from the pictures of a database, as a derived model in a file of its own.

Stages: local features of a sample of pictures; their principal components; the words; in how many pictures each word
occurs. What is finished lies in a folder beside the file, so a build that was killed goes on from there and comes to
the same file, byte for byte; the folder is gone once the file is there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.analysis import codebook_features, sklearn_import
from image_similarity.analysis.codebook_features import Sampled
from image_similarity.analysis.codebook_learning import Codewords, Components, Frequencies
from image_similarity.analysis.codebook_work import Arrays, Work, is_begun
from image_similarity.analysis.model_target import check_target
from image_similarity.encoding import registry
from image_similarity.encoding.card import MAX_DIM, read_card
from image_similarity.encoding.derived import WORDS, address_of, taught
from image_similarity.encoding.devices import (
    OutOfMemory,
    exact_float32,
    memory_errors,
    resolve_device,
)
from image_similarity.encoding.feature_maps import Mapped, load_maps
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.torch_network import TorchNetwork
from image_similarity.encoding.training_hashes import TENSOR
from image_similarity.encoding.visual_words import NORMS, Codebook, Words, smoothed_idf
from image_similarity.errors import (
    DeviceUnavailable,
    InvalidSetting,
    TrainingRefused,
    UsageError,
    WeightsRefused,
)
from image_similarity.events import Listener
from image_similarity.store.catalog import Catalog
from image_similarity.values import CodebookInfo
from image_similarity.whole_file import writing

# Raised when the same plan would give another file, so that no build goes on from pieces of another program.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a codebook is made.

    Attributes:
        base: the model whose network gives the features: a registered name or a weights file.
        words: length of the codebook, and of the vectors.
        sample: how many local features are taken, about.
        dims: principal components that are kept.
        layer: where the map is taken; by default the network's last convolutional one.
        norm: "l2" or "hellinger".
        seed: draws pictures, cells and the first words.
        device: "auto", "cpu" or "cuda[:N]".
    """

    base: str = registry.BUILTIN
    words: int = 8_500
    sample: int = 500_000
    dims: int = 64
    layer: str | None = None
    norm: str = "l2"
    seed: int = 1
    device: str = "auto"


def work_folder(target: Path) -> Path:
    """Return the folder in which a codebook is built."""
    return target.with_name(target.name + ".work")


def build(
    catalog: Catalog,
    target: Path,
    recipe: Recipe,
    *,
    replace: bool,
    on_event: Listener,
    stop: Callable[[], bool],
) -> CodebookInfo | None:
    """Build a codebook and write it; None if it was stopped, and the next call goes on.

    The evidence is opened for reading only. A file that no longer holds the content that was indexed is not used.

    Raises:
        UsageError: the target lies in the evidence, or exists and is not to be replaced or is no codebook, or its work
            folder is somebody else's.
        FolderMissing: a source is not mounted; what was finished stays.
        InvalidSetting: a number is out of its range, or the model has no map at the layer.
        TrainingRefused: the pictures give fewer local features than there shall be words.
        ExtraMissing: scikit-learn is not installed.
        ModelError, DeviceUnavailable, OSError.
    """
    _check(recipe)
    # A build may have been killed when the file was there and the folder still was; `_build` looks whether it was.
    begun = work_folder(target).is_dir()
    check_target(catalog, target, (WORDS,), replace=replace or begun)
    sklearn_import.require("a codebook")
    try:
        return _build(catalog, target, recipe, replace=replace, on_event=on_event, stop=stop)
    except OutOfMemory as error:
        raise DeviceUnavailable(
            f"The memory of {recipe.device} does not hold the network of {recipe.base!r}: {error}",
            hint="Close what else runs there, or choose --device cpu.",
        ) from error


def _build(
    catalog: Catalog,
    target: Path,
    recipe: Recipe,
    *,
    replace: bool,
    on_event: Listener,
    stop: Callable[[], bool],
) -> CodebookInfo | None:
    """Go through the stages; see `build`."""
    base = registry.get(recipe.base)
    info = registry.info(base)
    device = resolve_device(recipe.device)
    mapped = load_maps(base, recipe.layer, device=device)
    cells = min(math.prod(mapped.cells), codebook_features.CELLS)
    there = codebook_features.count(catalog)
    most = min(there, -(-recipe.sample // cells))
    if most * cells < recipe.words:
        raise _too_few(most * cells, most, recipe.words)
    drawn = codebook_features.draw(catalog, most, recipe.seed)
    plan = {
        **asdict(recipe),
        "format": _FORMAT,
        "base": info.fingerprint,
        "layer": mapped.layer,
        "device": device,
        "chunk": codebook_features.CHUNK,
        "pictures": sha256("".join(drawn[0]).encode("ascii")).hexdigest(),
    }
    if target.exists() and not replace and not is_begun(work_folder(target), plan):
        raise UsageError(
            f"{target} exists already",
            hint="Choose another name; --force replaces an earlier file of the same kind.",
        )
    work = Work.open(work_folder(target), plan, on_event)
    runner = TorchNetwork(mapped.network, base.preprocess, device)
    taken = codebook_features.sample(
        work, mapped, runner, base.preprocess, drawn, recipe.seed, on_event=on_event, stop=stop
    )
    if taken is None:
        return None
    if taken.features < recipe.words:
        raise _too_few(taken.features, taken.pictures, recipe.words)
    learned = _learn(work, taken, recipe, device, on_event, stop)
    if learned is None:
        return None
    codebook, explained = learned
    card = _card(target, base, info.fingerprint, mapped, recipe, codebook, taken, explained)
    _write(target, codebook, card, taught(base, drawn[0]))
    work.remove()
    return CodebookInfo(
        path=str(target),
        model=target.stem,
        fingerprint=registry.info(registry.get(str(target))).fingerprint,
        base=base.name,
        layer=mapped.layer,
        cells=mapped.cells,
        words=recipe.words,
        dims=len(codebook.components),
        explained=explained,
        norm=recipe.norm,
        pictures=taken.pictures,
        features=taken.features,
        changed=taken.changed,
        failures=taken.failures,
        size_bytes=target.stat().st_size,
    )


def _check(recipe: Recipe) -> None:
    if not 2 <= recipe.words <= MAX_DIM:
        raise InvalidSetting(
            f"a codebook of {recipe.words} words", hint=f"--words takes 2 to {MAX_DIM}"
        )
    if recipe.dims < 1:
        raise InvalidSetting(f"{recipe.dims} principal components", hint="--dims takes 1 or more")
    if recipe.sample < recipe.words:
        raise InvalidSetting(
            f"a sample of {recipe.sample} local features for {recipe.words} words",
            hint="--sample takes at least as many as --words; 50 for each word are better",
        )
    if recipe.norm not in NORMS:
        raise InvalidSetting(
            f"no norm is called {recipe.norm!r}", hint=f"one of {', '.join(NORMS)}"
        )
    if recipe.seed < 0:
        raise InvalidSetting(f"a seed of {recipe.seed}", hint="--seed takes 0 or more")


def _too_few(features: int, pictures: int, words: int) -> TrainingRefused:
    return TrainingRefused(
        f"{pictures} pictures give {features} local features, fewer than the {words} words asked for",
        hint="ask for fewer --words; 50 features for each word are better",
    )


def _learn(
    work: Work,
    taken: Sampled,
    recipe: Recipe,
    device: str,
    on_event: Listener,
    stop: Callable[[], bool],
) -> tuple[Codebook, float] | None:
    """The stages after the first: the codebook and the share of the variance that its components keep."""
    chunks, seed = taken.chunks, recipe.seed
    found = Components(work, chunks, seed, dims=recipe.dims).run(on_event, stop)
    if found is None:
        return None
    mean, components = (found[key].astype(np.float32) for key in ("mean_", "components_"))
    explained = float(found["explained_variance_ratio_"].sum())
    stage = Codewords(work, chunks, seed, words=recipe.words, mean=mean, components=components)
    moved = stage.run(on_event, stop)
    if moved is None:
        return None
    words = moved["words"].astype(np.float32)
    with memory_errors(), exact_float32():
        nearest = Words(mean, components, words)
        counted = Frequencies(work, chunks, seed, nearest=nearest, device=device).run(
            on_event, stop
        )
    if counted is None:
        return None
    idf = smoothed_idf(counted["df"], int(counted["pictures"]))
    return Codebook(mean, components, words, idf), explained


def _card(
    target: Path,
    base: ModelSpec,
    fingerprint: str,
    mapped: Mapped,
    recipe: Recipe,
    codebook: Codebook,
    taken: Sampled,
    explained: float,
) -> dict[str, Any]:
    """What the file says of itself; no time and no place of the pictures, so that the same ones give the same file.

    No golden record: where two words are about as near, another machine's rounding may choose the other.
    """
    return {
        "format": 1,
        "name": target.stem,
        "architecture": WORDS,
        "config": {
            "base": _base_name(base, target),
            "base_fingerprint": fingerprint,
            "layer": mapped.layer,
            "norm": recipe.norm,
        },
        "layer": "tf-idf histogram of visual words",
        "dim": recipe.words,
        "preprocess": {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(base.preprocess).items()
        },
        "licence": base.licence,
        "origin": f"Made by image-similarity analyse codebook above {base.name} ({fingerprint}).",
        "codebook": {
            "pictures": taken.pictures,
            "features": taken.features,
            "dims": len(codebook.components),
            "explained_variance": round(explained, 6),
            "sample": recipe.sample,
            "seed": recipe.seed,
        },
    }


def _base_name(base: ModelSpec, target: Path) -> str:
    """How the card names the model below: by its registered name, its file's name if that lies beside, or its path."""
    address = Path(address_of(base))
    return address.name if address.parent == target.absolute().parent else str(address)


def _write(
    target: Path, codebook: Codebook, card: Mapping[str, Any], hashes: npt.NDArray[np.uint8]
) -> None:
    from safetensors.numpy import save

    arrays: Arrays = {
        TENSOR: hashes,
        **{
            name: np.ascontiguousarray(getattr(codebook, name))
            for name in ("mean", "components", "words", "idf")
        },
    }
    metadata = {"card": json.dumps(card, sort_keys=True, ensure_ascii=False)}
    with writing(target) as file:
        file.write(save(dict(arrays), metadata=metadata))


def require_codebook(path: Path) -> None:
    """Refuse a file that is no codebook.

    Raises:
        UsageError: there is none, or it is something else.
        WeightsRefused: its card is damaged.
    """
    if not path.is_file():
        raise UsageError(
            f"there is no codebook at {path}", hint="`analyse codebook build` makes one"
        )
    card = read_card(path)
    if card is None or card.get("architecture") != WORDS:
        raise WeightsRefused(f"{path} is no codebook", hint="`analyse codebook build` makes one")
