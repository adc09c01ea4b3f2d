"""Reductions of vectors to fewer numbers, as they were learned: principal axes, or the encoder of an autoencoder.

A reduction is the arrays of a derived model's file (see `derived`). It is calculated by numpy alone, so that neither
scikit-learn nor torch, which learned it, is needed to use it. What gives the vectors back (the means, the decoder) is
kept in the file too: with it the reconstruction error that the card states can be measured again, on any vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from image_similarity.encoding.card import MAX_DIM, read_card
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.weights import load_arrays, refuse_misfit
from image_similarity.errors import WeightsRefused

Float32 = npt.NDArray[np.float32]
Kind = Literal["pca", "autoencoder"]
# By the architectures that their cards name.
ARCHITECTURES: Mapping[str, Kind] = {"derived/pca": "pca", "derived/autoencoder": "autoencoder"}

# Rows at a time: the hidden layer of 4,096 rows takes 16 MB at a width of 1,024.
BLOCK = 4_096


class Reduction(Protocol):
    """What was learned of vectors of `base_dim` numbers; `arrays` are those of the file, float32."""

    @property
    def arrays(self) -> Mapping[str, Float32]:
        """The arrays by name."""

    @property
    def base_dim(self) -> int:
        """Length of the vectors that go in."""

    def reduce(self, vectors: Float32) -> Float32:
        """Give codes (N, dim) of vectors (N, base_dim), before any normalisation."""

    def restore(self, codes: Float32) -> Float32:
        """Give vectors (N, base_dim) of codes (N, dim), as well as they can be told from them."""


@dataclass(frozen=True, slots=True, eq=False)
class Pca:
    """Principal component analysis (Pearson 1901): coordinates along the axes of the largest variance.

    Arrays: `mean` (D,), `components` (dim, D), orthonormal rows; with whitening also `scale` (dim,), the standard
    deviation along each axis, by which the coordinates are divided.
    """

    arrays: Mapping[str, Float32]

    @property
    def base_dim(self) -> int:
        """Length of the vectors that go in."""
        return int(self.arrays["mean"].shape[0])

    def reduce(self, vectors: Float32) -> Float32:
        """Give codes (N, dim) of vectors (N, D)."""
        codes: Float32 = np.matmul(vectors - self.arrays["mean"], self.arrays["components"].T)
        return codes / self.arrays["scale"] if "scale" in self.arrays else codes

    def restore(self, codes: Float32) -> Float32:
        """Give vectors (N, D) of codes (N, dim)."""
        plain = codes * self.arrays["scale"] if "scale" in self.arrays else codes
        restored: Float32 = np.matmul(plain, self.arrays["components"])
        return restored + self.arrays["mean"]


@dataclass(frozen=True, slots=True, eq=False)
class Autoencoder:
    """A small encoder, linear-ReLU-linear beside a linear path, and a decoder of the same form.

    The linear paths begin as principal axes, so that learning goes on from there. Arrays: `mean` (D,) and `scale` (1,),
    which bring vectors to a mean of 0 and a mean variance of 1; for each of `encoder` and `decoder`: `.hidden` (H, in),
    `.hidden_bias` (H,), `.out` (out, H), `.linear` (out, in), `.bias` (out,). With `unit` the decoder takes codes of
    length 1, as those of a model normalised by l2 are stored.
    """

    arrays: Mapping[str, Float32]
    unit: bool

    @property
    def base_dim(self) -> int:
        """Length of the vectors that go in."""
        return int(self.arrays["mean"].shape[0])

    def reduce(self, vectors: Float32) -> Float32:
        """Give codes (N, dim) of vectors (N, D), before any normalisation."""
        return self._half("encoder", (vectors - self.arrays["mean"]) / self.arrays["scale"])

    def restore(self, codes: Float32) -> Float32:
        """Give vectors (N, D) of codes (N, dim)."""
        if self.unit:
            codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
        return self._half("decoder", codes) * self.arrays["scale"] + self.arrays["mean"]

    def _half(self, name: str, rows: Float32) -> Float32:
        a = {key: self.arrays[f"{name}.{key}"] for key in _HALF}
        hidden = np.maximum(rows @ a["hidden"].T + a["hidden_bias"], 0)
        out: Float32 = hidden @ a["out"].T + rows @ a["linear"].T + a["bias"]
        return out


_HALF = ("hidden", "hidden_bias", "out", "linear", "bias")


def kind_of(spec: ModelSpec) -> Kind | None:
    """Return which reduction a derived model is, or None if it is something else."""
    return ARCHITECTURES.get(spec.architecture)


def described(path: Path) -> dict[str, Any]:
    """Return what a weights file says of how it was reduced: plain numbers and words; empty if it says nothing.

    Raises:
        WeightsRefused: its card cannot be read.
    """
    card = read_card(path) or {}
    said = card.get("reduction")
    if not isinstance(said, dict) or len(said) > 100:
        return {}
    return {
        key: value
        for key, value in said.items()
        if isinstance(value, int | float | str) and len(str(value)) <= 200 and len(key) <= 50
    }


def load(spec: ModelSpec, weights: Path) -> Reduction:
    """Return a reduction from its file.

    Raises:
        WeightsRefused: the file's arrays are not those that its card asks for, or not all finite.
        OSError: it cannot be read.
    """
    kind, config = kind_of(spec), spec.config
    if kind is None or spec.dim is None:
        raise WeightsRefused(f"{weights}: {spec.architecture!r} is no reduction of vectors")
    base_dim = _length(config, "base_dim", weights)
    if kind == "pca":
        wanted = _pca_shapes(base_dim, spec.dim, whiten=config.get("whiten") is True)
    else:
        wanted = autoencoder_shapes(base_dim, spec.dim, _length(config, "hidden", weights))
    found = load_arrays(weights)
    refuse_misfit(wanted, found, weights)
    wrong = [
        name
        for name in wanted
        if found[name].dtype != np.float32
        or not np.isfinite(found[name]).all()
        or (name == "scale" and not (found[name] > 0).all())
    ]
    if wrong:
        raise WeightsRefused(
            f"{weights}: {', '.join(wrong[:3])}: finite float32 numbers are expected, scales above 0",
            hint="The file is damaged; make it anew: image-similarity analyse reduce",
        )
    return Pca(found) if kind == "pca" else Autoencoder(found, unit=spec.normalisation == "l2")


def reduced(reduction: Reduction, vectors: Float32, weights: Path) -> Float32:
    """Return codes (N, dim) of vectors (N, base dim), some rows at a time.

    Raises:
        WeightsRefused: the vectors are of another length than those that it was learned on.
    """
    if vectors.shape[1] != reduction.base_dim:
        raise WeightsRefused(
            f"{weights} reduces vectors of {reduction.base_dim} numbers; those of the model below it"
            f" have {vectors.shape[1]}"
        )
    # At least one block, so that no pictures give an empty array of the right width.
    starts = range(0, max(1, len(vectors)), BLOCK)
    return np.concatenate([reduction.reduce(vectors[start : start + BLOCK]) for start in starts])


def autoencoder_shapes(base_dim: int, dim: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an autoencoder's arrays by name."""
    shapes: dict[str, tuple[int, ...]] = {"mean": (base_dim,), "scale": (1,)}
    for name, given, out in (("encoder", base_dim, dim), ("decoder", dim, base_dim)):
        shapes |= {
            f"{name}.hidden": (hidden, given),
            f"{name}.hidden_bias": (hidden,),
            f"{name}.out": (out, hidden),
            f"{name}.linear": (out, given),
            f"{name}.bias": (out,),
        }
    return shapes


def _pca_shapes(base_dim: int, dim: int, *, whiten: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"mean": (base_dim,), "components": (dim, base_dim)}
    return shapes | {"scale": (dim,)} if whiten else shapes


def _length(config: Mapping[str, Any], key: str, weights: Path) -> int:
    value = config.get(key)
    if type(value) is not int or not 0 < value <= MAX_DIM:
        raise WeightsRefused(
            f"{weights}: card entry config.{key}: a whole number from 1 to {MAX_DIM} is expected"
        )
    return value
