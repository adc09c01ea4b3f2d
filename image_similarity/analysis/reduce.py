"""Learn a reduction on a database's vectors, measure what it loses, and write it as a derived model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.analysis import reduction_learning as learning
from image_similarity.analysis import sklearn_import
from image_similarity.analysis.model_target import check_target
from image_similarity.analysis.reduction_learning import StoppedError
from image_similarity.encoding import derived, registry
from image_similarity.encoding.card import spec_from_card
from image_similarity.encoding.derived import FAMILY, DerivedNetwork, as_stored, is_derived
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.reductions import ARCHITECTURES, Kind, Reduction, reduced
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.training_hashes import TENSOR
from image_similarity.errors import DatabaseDamaged, InvalidSetting
from image_similarity.events import Listener, Progress, Started
from image_similarity.search import choice
from image_similarity.store import derivation, gallery, packs
from image_similarity.store.catalog import Catalog
from image_similarity.values import ReductionInfo
from image_similarity.whole_file import writing

Half = npt.NDArray[np.float16]
Stop = Callable[[], bool]

# Vectors that are learned on, as float16: of more pictures a sample is drawn, which tells the axes as well.
SAMPLE_BYTES = 512 * 2**20
READ_AT_ONCE = 8_192
# One of so many is held aside, and at most so many of them.
ASIDE = 10
MOST_ASIDE = 10_000
# Of the recall: queries, numbers in the gallery, nearest.
QUERIES = 1_000
GALLERY_NUMBERS = 2**25
NEAREST = 10


def reduce(
    catalog: Catalog,
    kind: Kind,
    path: Path,
    *,
    model: str | None,
    dim: int,
    seed: int,
    whiten: bool,
    epochs: int,
    name: str | None,
    force: bool,
    on_event: Listener,
    stop: Stop,
) -> ReductionInfo | None:
    """Learn a reduction and write it; see `Case.reduce`. None means stopped: nothing was written."""
    _check(kind, dim=dim, whiten=whiten, epochs=epochs)
    check_target(catalog, path, ARCHITECTURES, replace=force)
    sklearn_import.require("a reduction")
    try:
        sample = _sample(catalog, model, dim, seed, on_event=on_event, stop=stop)
        epoch = 0
        if kind == "pca":
            reduction: Reduction = learning.learn_pca(
                sample.learned, dim, whiten=whiten, seed=seed, on_event=on_event, stop=stop
            )
        else:
            reduction, epoch = learning.learn_autoencoder(
                sample.learned,
                sample.held,
                dim,
                unit=sample.base.normalisation == "l2",
                epochs=epochs,
                seed=seed,
                on_event=on_event,
                stop=stop,
            )
    except StoppedError:
        return None
    known = ReductionInfo(
        path=str(path),
        model=name or path.stem,
        fingerprint="",
        kind=kind,
        base=sample.base.name,
        base_fingerprint=sample.base_fingerprint,
        base_dim=sample.learned.shape[1],
        dim=dim,
        whitened=whiten,
        seed=seed,
        pictures=sample.pictures,
        learned_on=len(sample.learned),
        held_aside=len(sample.held),
        epochs=epoch,
    )
    return _write(path, reduction, _measured(known, reduction, sample), sample)


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Vectors that were drawn, float16: those learned on and those held aside; of how many, and of which contents."""

    base: ModelSpec
    base_fingerprint: str
    pictures: int
    held: Half
    learned: Half
    sha256: list[str]


def _sample(
    catalog: Catalog, model: str | None, dim: int, seed: int, *, on_event: Listener, stop: Stop
) -> _Sample:
    with catalog.reading() as connection:
        chosen = choice.choose([catalog], [connection], model)
        model_id, base_dim = chosen.ids[0], chosen.info.dim
        assert model_id is not None and base_dim is not None  # noqa: S101 - `choose` saw to both
        base = choice.find_spec(chosen)
        if is_derived(base):
            raise InvalidSetting(
                f"{base.name} is itself derived", hint=f"reduce {base.config.get('base')} instead"
            )
        every = derivation.holding(connection, model_id)
        aside = min(max(1, len(every) // ASIDE), MOST_ASIDE)
        _check_dim(dim, base_dim, len(every), aside)
        drawn = np.random.default_rng(seed).permutation(every)
        drawn = drawn[: max(SAMPLE_BYTES // (2 * base_dim), aside + 2 * dim)]
        vectors = np.empty((len(drawn), base_dim), np.float16)
        on_event(Started("reading", "", len(drawn), "vectors"))
        for start in range(0, len(drawn), READ_AT_ONCE):
            if stop():
                raise StoppedError
            rows = slice(start, start + READ_AT_ONCE)
            vectors[rows] = packs.vectors_at(connection, model_id, base_dim, drawn[rows])
            if not np.isfinite(vectors[rows]).all():
                raise DatabaseDamaged(
                    "some stored vectors are not numbers",
                    hint="see which: image-similarity db verify",
                )
            on_event(Progress(min(rows.stop, len(drawn)), len(drawn), 0, 0))
        sha256 = gallery.hashes_of(connection, drawn.tolist())
    fingerprint = chosen.info.fingerprint
    return _Sample(base, fingerprint, len(every), vectors[:aside], vectors[aside:], sha256)


def restoring_error(reduction: Reduction, vectors: Half, mean: npt.ArrayLike) -> float:
    """Return the reconstruction error of vectors (N, D): the share of their variance about a mean (D,) that is lost.

    0 is no loss; 1 is as much as if every vector were restored as the mean.
    """
    lost = varied = 0.0
    for start in range(0, len(vectors), READ_AT_ONCE):
        part = vectors[start : start + READ_AT_ONCE].astype(np.float32)
        restored = reduction.restore(reduction.reduce(part))
        lost += float(((part - restored) ** 2).sum(dtype=np.float64))
        varied += float(((part - np.asarray(mean, np.float32)) ** 2).sum(dtype=np.float64))
    return lost / varied if varied else 0.0


def recall(full: Half, small: Half, queries: int) -> float:
    """Return which share of the nearest of the first `queries` vectors (N, D) stays among the nearest of (N, dim).

    Nearest are the ten others, or as many as there are.
    """
    from sklearn.neighbors import NearestNeighbors

    count = min(NEAREST, len(full) - 1)
    lists = []
    for vectors in (full, small):
        gallery = np.nan_to_num(vectors.astype(np.float32))
        search = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(gallery)
        lists.append(search.kneighbors(gallery[:queries], return_distance=False))
    kept = 0
    for query, (true, found) in enumerate(zip(*lists, strict=True)):
        kept += len(set(_others(true, query, count)) & set(_others(found, query, count)))
    return kept / (count * queries)


def _others(nearest: npt.NDArray[np.int64], query: int, count: int) -> list[int]:
    return [int(each) for each in nearest if each != query][:count]


def _measured(known: ReductionInfo, reduction: Reduction, sample: _Sample) -> ReductionInfo:
    """Add what it loses: the error on both parts, and how many of the nearest stay of those held aside."""
    room = max(1_000, GALLERY_NUMBERS // known.base_dim)
    queries = sample.held[:QUERIES]
    full = np.concatenate([sample.held, sample.learned[:room]])[:room]
    spec = replace(sample.base, dim=known.dim)
    small = as_stored(spec, lambda rows: reduced(reduction, rows, Path(known.path)), full)
    mean = reduction.arrays["mean"]
    return replace(
        known,
        error_learned=restoring_error(reduction, sample.learned, mean),
        error_held_aside=restoring_error(reduction, sample.held, mean),
        recall=recall(full, small, len(queries)),
        queries=len(queries),
        gallery=len(full),
    )


def _write(
    path: Path, reduction: Reduction, known: ReductionInfo, sample: _Sample
) -> ReductionInfo:
    """Write the model, with its golden record and the pictures that taught it, and return what it is."""
    from safetensors.numpy import save

    base = sample.base
    card = _card(known, reduction, base)
    spec = spec_from_card(card, path)
    if spec.normalisation == "l2":
        from image_similarity import golden

        below = Encoder.load(base, device="cpu")
        network = DerivedNetwork(below, lambda rows: reduced(reduction, rows, path))
        encoder = Encoder(spec, below.info, network, device="cpu")
        card["golden"] = [asdict(picture) for picture in golden.record(encoder)]
    text = json.dumps(card, sort_keys=True, allow_nan=False)
    arrays: dict[str, npt.NDArray[Any]] = {
        **reduction.arrays,
        TENSOR: derived.taught(base, sample.sha256),
    }
    with writing(path) as file:
        file.write(save(arrays, metadata={"card": text}))
    fingerprint = registry.info(registry.get(str(path))).fingerprint
    return replace(known, fingerprint=fingerprint, size_bytes=path.stat().st_size)


def _card(known: ReductionInfo, reduction: Reduction, base: ModelSpec) -> dict[str, Any]:
    # No time of making: the same database, settings and seed give the same file and the same fingerprint.
    outside = {"path", "model", "fingerprint", "size_bytes"}
    figures = {key: value for key, value in asdict(known).items() if key not in outside}
    config: dict[str, Any] = {
        **derived.named_below(base),
        "base_fingerprint": known.base_fingerprint,
        "base_dim": known.base_dim,
    }
    if known.kind == "pca":
        config["whiten"] = known.whitened
    else:
        config["hidden"] = int(reduction.arrays["encoder.hidden"].shape[0])
    what = "principal axes" if known.kind == "pca" else "an autoencoder"
    return {
        "format": 1,
        "name": known.model,
        "architecture": f"{FAMILY}/{known.kind}",
        "config": config,
        "layer": f"{known.dim} numbers of {what} on the vectors of {base.name}"[:200],
        "dim": known.dim,
        "normalisation": base.normalisation,
        "metric": "euclidean",
        "preprocess": {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(base.preprocess).items()
        },
        "licence": f"Learned from vectors of {base.name}: {base.licence}"[:4_000],
        "origin": f"Learned by image-similarity analyse reduce: {known.learned_on} vectors of {base.name}.",
        "reduction": figures,
    }


def _check_dim(dim: int, base_dim: int, pictures: int, aside: int) -> None:
    """Refuse more dimensions than there are, or than so many pictures can tell apart."""
    if dim > base_dim:
        raise InvalidSetting(
            f"{dim} dimensions of vectors that have {base_dim}", hint=f"--dim {base_dim} at most"
        )
    # About their mean n vectors span n - 1 directions.
    if dim >= pictures - aside:
        raise InvalidSetting(
            f"{dim} dimensions cannot be learned from {pictures} pictures, of which {aside} are held aside",
            hint=f"--dim {max(1, pictures - aside - 1)} at most, or index more pictures",
        )


def _check(kind: str, *, dim: int, whiten: bool, epochs: int) -> None:
    """Refuse, before any work, settings without sense."""
    if kind not in ("pca", "autoencoder"):
        raise InvalidSetting(f"no reduction is called {kind!r}", hint="pca or autoencoder")
    if dim < 1 or epochs < 1:
        raise InvalidSetting(f"{dim} dimensions, {epochs} epochs", hint="both are 1 or more")
    if whiten and kind != "pca":
        raise InvalidSetting("only principal axes are whitened", hint="pca --whiten")
