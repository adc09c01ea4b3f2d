"""Bags of visual words: a picture as the histogram of what its places look like.

Sivic and Zisserman ("Video Google", ICCV 2003) count in a picture how often each word of a codebook occurs and weigh
each count by how seldom the word is (tf-idf), as is done with texts. The local features are here the cells of a map of
a network (see `feature_maps`), as in Mohedano et al., "Bags of local convolutional features for scalable instance
search" (ICMR 2016): each is brought to length 1, and its principal components are compared with the words.

Sivic and Zisserman's idf is ln(N / df) for a word that occurs in df of N pictures. Here it is scikit-learn's smoothed
one, ln((1 + N) / (1 + df)) + 1: never 0, so that a picture that consists of words that all pictures have still gets a
vector, and finite for a word that none has.

The histogram is made a vector by L2 (divided by its length) or Hellinger (divided by its sum, then the square root of
each; Arandjelovic and Zisserman, CVPR 2012), which gives less weight to words that are repeated. Where no cell holds
a finite number there is no vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from image_similarity.encoding.derived import find_base
from image_similarity.encoding.feature_maps import FeatureMaps, load_maps
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.weights import load_arrays, refuse_misfit
from image_similarity.errors import InvalidSetting, WeightsRefused

Float32 = npt.NDArray[np.float32]
Norm = Literal["l2", "hellinger"]

NORMS: tuple[Norm, ...] = ("l2", "hellinger")
# Similarities of so many cells and words are held at once: 64 MB.
_AT_ONCE = 2**24


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """What was learned of local features, float32.

    `mean` (C,) and `components` (D, C) are the principal components of local features of length 1, `words` (W, D) the
    codebook, `idf` (W,) the weight of each word, above 0.
    """

    mean: Float32
    components: Float32
    words: Float32
    idf: Float32


def smoothed_idf(df: npt.NDArray[np.int64], pictures: int) -> Float32:
    """Return the weight of words, float32 (W,), at least 1, that occur in `df` (W,) of so many pictures."""
    return (np.log((1 + pictures) / (1 + df)) + 1).astype(np.float32)


def local_features(maps: Tensor) -> Tensor:
    """Return the cells of maps (N, C, H, W), each brought to length 1, as (N, H * W, C); one of zeros stays."""
    return functional.normalize(maps.flatten(2).transpose(1, 2), dim=2)


class Words(nn.Module):
    """The nearest words of local features, by exact comparison."""

    def __init__(self, mean: Float32, components: Float32, words: Float32) -> None:
        super().__init__()
        self.mean: Tensor
        self.components: Tensor
        self.words: Tensor
        self.half_squares: Tensor
        for name, array in (("mean", mean), ("components", components), ("words", words)):
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array, np.float32)))
        self.register_buffer("half_squares", (self.words**2).sum(dim=1) / 2)

    def forward(self, features: Tensor) -> Tensor:
        """Return the number of the nearest word, int64 (M,), of each local feature (M, C)."""
        reduced = (features - self.mean) @ self.components.T
        block = max(1, _AT_ONCE // len(self.words))
        # The nearest has the largest product less half its square; the feature's own square is the same for all.
        nearest = [
            torch.addmm(self.half_squares, some, self.words.T, beta=-1).argmax(dim=1)
            for some in reduced.split(block)
        ]
        return torch.cat(nearest)


class VisualWords(nn.Module):
    """A network up to its map, then words: normalised pictures (N, 3, S, S) to histograms (N, W), weighed, length 1."""

    def __init__(self, maps: FeatureMaps, codebook: Codebook, norm: Norm) -> None:
        super().__init__()
        self.maps = maps
        self.nearest = Words(codebook.mean, codebook.components, codebook.words)
        self.idf: Tensor
        self.register_buffer("idf", torch.from_numpy(np.array(codebook.idf)))
        self.norm = norm

    def forward(self, pictures: Tensor) -> Tensor:
        """Return vectors (N, W), of length 1; NaN where the map holds what is no number."""
        maps = self.maps(pictures)
        features = local_features(maps)
        words = self.nearest(features.flatten(0, 1)).reshape(features.shape[:2])
        counts = torch.zeros(len(maps), len(self.idf), device=maps.device)
        counts.scatter_add_(1, words, torch.ones_like(words, dtype=counts.dtype))
        weighed = counts * self.idf
        if self.norm == "hellinger":
            vectors = functional.normalize(weighed, p=1, dim=1).sqrt()
        else:
            vectors = functional.normalize(weighed, dim=1)
        vectors[~maps.flatten(1).isfinite().all(dim=1)] = torch.nan
        return vectors


def load(spec: ModelSpec, weights: Path, *, device: str, threads: int | None) -> VisualWords:
    """Return the network of a codebook's file, with the model below it, on the device.

    Raises:
        WeightsMissing, WeightsChanged: the model below is not here, or another one is.
        WeightsRefused: the file's arrays do not fit each other, its card or the model below.
        OutOfMemory: the device does not hold it.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    base = find_base(spec)
    codebook = read(spec, weights)
    norm, layer = spec.config.get("norm"), spec.config.get("layer")
    if norm not in NORMS or not isinstance(layer, str):
        raise WeightsRefused(
            f"{weights}: its card names no layer, or no norm of {', '.join(NORMS)}"
        )
    if base.preprocess != spec.preprocess:
        raise WeightsRefused(f"{weights}: its card prepares pictures otherwise than {base.name}")
    try:
        mapped = load_maps(base, layer, device=device)
    except InvalidSetting as error:
        raise WeightsRefused(f"{weights}: {error.message}") from error
    if mapped.channels != len(codebook.mean):
        raise WeightsRefused(
            f"{weights}: its words are of features of {len(codebook.mean)} numbers; layer {layer} of"
            f" {base.name} gives {mapped.channels}"
        )
    return VisualWords(mapped.network, codebook, norm).eval().to(device)


def read(spec: ModelSpec, weights: Path) -> Codebook:
    """Return the arrays of a codebook's file.

    Raises:
        WeightsRefused: they are not those that its card asks for, or not all finite.
    """
    found = load_arrays(weights)
    channels = found["mean"].size if "mean" in found else 0
    dims = len(found["components"]) if "components" in found and found["components"].ndim else 0
    shapes: dict[str, tuple[int, ...]] = {
        "mean": (channels,),
        "components": (dims, channels),
        "words": (spec.dim or 0, dims),
        "idf": (spec.dim or 0,),
    }
    refuse_misfit(shapes, found, weights)
    wrong = [
        name
        for name, array in found.items()
        if array.dtype != np.float32 or not array.size or not np.isfinite(array).all()
    ]
    if wrong or not (found["idf"] > 0).all():
        raise WeightsRefused(
            f"{weights}: {', '.join(wrong[:3]) or 'idf'}: finite float32 numbers are expected, idf above 0",
            hint="The file is damaged; make it anew: image-similarity analyse codebook build",
        )
    return Codebook(**found)
