"""The later stages of a codebook: principal components, words, and how many pictures have each word.

Each goes through the pieces of local features one after the other, so memory holds one piece at a time, and can be
taken up after any piece from a few arrays. The learning itself is scikit-learn's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from image_similarity.analysis.codebook_work import Arrays, Work
from image_similarity.encoding.visual_words import Words
from image_similarity.events import Listener, Progress, Started

Float32 = npt.NDArray[np.float32]

# Of each piece: the singular value decomposition of more would take minutes for each of a network's 2,048 channels,
# and 64 axes of some 100,000 features are known well.
PCA_ROWS = 1_024
# How often all features are gone through: 500,000 of them then move each of 8,500 words some 300 times.
PASSES = 5
# Features for each word from which the first words are drawn, as scikit-learn has it.
FIRST_DRAWN = 3


class Stage(ABC):
    """A stage that goes through the pieces; what it has learned so far is `state()`."""

    name: str
    label: str

    def __init__(self, work: Work, chunks: Sequence[str], seed: int) -> None:
        self.work = work
        self.chunks = chunks
        self.seed = seed

    @property
    def steps(self) -> int:
        """How many pieces it takes."""
        return len(self.chunks)

    def run(self, on_event: Listener, stop: Callable[[], bool]) -> Arrays | None:
        """Go on from where an earlier process was; give the state at the end, or None if it was stopped."""
        on_event(Started(self.label, "", self.steps, "steps"))
        known = self.work.find(self.name)
        done = 0 if known is None else int(known.pop("done"))
        self.begin(known)
        for step in range(done, self.steps):
            if stop():
                return None
            self.take(step)
            self.work.put(self.name, {**self.state(), "done": np.array(step + 1)})
            on_event(Progress(step + 1, self.steps, 0, 0))
        return self.state()

    def features(self, chunk: int) -> Float32:
        """Return the local features of a piece."""
        piece: Float32 = self.work.get(self.chunks[chunk])["features"].astype(np.float32)
        return piece

    @abstractmethod
    def begin(self, state: Arrays | None) -> None:
        """Take up a state, or begin."""

    @abstractmethod
    def take(self, step: int) -> None:
        """Learn from one piece."""

    @abstractmethod
    def state(self) -> Arrays:
        """Return all that the stage needs to go on."""


class Components(Stage):
    """Principal components of rows of each piece, by scikit-learn's IncrementalPCA (Ross et al., IJCV 2008)."""

    name, label = "components", "principal components"
    _KEPT = (
        "components_", "mean_", "var_", "singular_values_", "n_samples_seen_", "explained_variance_ratio_",
    )  # fmt: skip

    def __init__(self, work: Work, chunks: Sequence[str], seed: int, *, dims: int) -> None:
        super().__init__(work, chunks, seed)
        self._dims = dims

    def begin(self, state: Arrays | None) -> None:
        """Take up the attributes by which IncrementalPCA goes on, or begin."""
        from sklearn.decomposition import IncrementalPCA

        # The first piece must have as many rows as there are components.
        dims = min(self._dims, *self._rows(0).shape) if state is None else len(state["components_"])
        self._pca = IncrementalPCA(n_components=dims)
        for key, value in (state or {}).items():
            setattr(self._pca, key, value[()])
        if state is not None:
            self._pca.n_features_in_ = len(state["mean_"])

    def take(self, step: int) -> None:
        """Learn from one piece."""
        rows = self._rows(step)
        if len(rows):
            self._pca.partial_fit(rows)

    def state(self) -> Arrays:
        """Return what IncrementalPCA goes on from."""
        return {key: np.asarray(getattr(self._pca, key)) for key in self._KEPT}

    def _rows(self, step: int) -> Float32:
        features = self.features(step)
        return features[:: max(1, -(-len(features) // PCA_ROWS))]


class Codewords(Stage):
    """The words: scikit-learn's MiniBatchKMeans (Sculley 2010), begun by k-means++; several passes in seeded orders."""

    name, label = "words", "visual words"

    def __init__(
        self,
        work: Work,
        chunks: Sequence[str],
        seed: int,
        *,
        words: int,
        mean: Float32,
        components: Float32,
    ) -> None:
        super().__init__(work, chunks, seed)
        self._words, self._mean, self._components = words, mean, components

    @property
    def steps(self) -> int:
        """Each piece, several times."""
        return PASSES * len(self.chunks)

    def begin(self, state: Arrays | None) -> None:
        """Take up the words and how many features each was made of, or draw the first words."""
        from sklearn.cluster import MiniBatchKMeans

        if state is None:
            # Each first word is one feature; without a count the first piece would forget all of them.
            state = {"words": self._first(), "counts": np.ones(self._words, np.float32)}
        words = state["words"]
        self._kmeans = MiniBatchKMeans(
            self._words,
            init=words,
            n_init=1,
            compute_labels=False,
            # Words are never drawn anew, so what is left of chance lies in the first words and in the order.
            reassignment_ratio=0,
            random_state=0,
        )
        # It goes on from its attributes once it was fitted, so it is fitted to the words themselves and then corrected.
        self._kmeans.partial_fit(words)
        self._kmeans.cluster_centers_ = words.copy()
        self._kmeans._counts = state["counts"].copy()

    def take(self, step: int) -> None:
        """Move the words by one piece."""
        turn, place = divmod(step, len(self.chunks))
        random = np.random.default_rng([self.seed, turn])
        self._kmeans.partial_fit(self._reduced(int(random.permutation(len(self.chunks))[place])))

    def state(self) -> Arrays:
        """Return words float32 (W, D) and counts float32 (W,)."""
        return {"words": self._kmeans.cluster_centers_, "counts": self._kmeans._counts}

    def _reduced(self, chunk: int) -> Float32:
        centred = self.features(chunk) - self._mean
        reduced: Float32 = np.matmul(centred, self._components.T, dtype=np.float32)
        return reduced

    def _first(self) -> Float32:
        from sklearn.cluster import kmeans_plusplus

        random = np.random.default_rng(self.seed)
        sizes = [len(self.work.get(name)["owner"]) for name in self.chunks]
        wanted = min(sum(sizes), max(self._words * FIRST_DRAWN, 1))
        drawn = np.sort(random.choice(sum(sizes), wanted, replace=False))
        starts = np.cumsum([0, *sizes])
        parts = [
            self._reduced(chunk)[drawn[(drawn >= start) & (drawn < end)] - start]
            for chunk, (start, end) in enumerate(pairwise(starts))
        ]
        found, _ = kmeans_plusplus(
            np.concatenate(parts), self._words, random_state=self.seed % 2**32, n_local_trials=1
        )
        words: Float32 = found.astype(np.float32)
        return words


class Frequencies(Stage):
    """In how many of the sampled pictures each word occurs."""

    name, label = "frequencies", "document frequencies"

    def __init__(
        self, work: Work, chunks: Sequence[str], seed: int, *, nearest: Words, device: str
    ) -> None:
        super().__init__(work, chunks, seed)
        self._nearest = nearest.to(device)
        self._device = device

    def begin(self, state: Arrays | None) -> None:
        """Take up the counts, or begin."""
        empty = np.zeros(len(self._nearest.words), np.int64)
        self._df = empty if state is None else state["df"]
        self._pictures = 0 if state is None else int(state["pictures"])

    def take(self, step: int) -> None:
        """Count the words of one piece's pictures."""
        piece = self.work.get(self.chunks[step])
        features = torch.from_numpy(piece["features"].astype(np.float32)).to(self._device)
        with torch.inference_mode():
            words = self._nearest(features).cpu().numpy()
        pairs = np.unique(np.stack([piece["owner"].astype(np.int64), words]), axis=1)
        self._df = self._df + np.bincount(pairs[1], minlength=len(self._df))
        self._pictures += len(np.unique(piece["owner"]))

    def state(self) -> Arrays:
        """Return `df` int64 (W,) and the number of pictures."""
        counts: dict[str, npt.NDArray[Any]] = {"df": self._df, "pictures": np.array(self._pictures)}
        return counts
