"""What is made of a case as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.case.record import Record
from image_similarity.events import Listener, ignore
from image_similarity.settings import BUILTIN, IndexOptions

if TYPE_CHECKING:
    from image_similarity.encoding.reductions import Kind
    from image_similarity.values import CodebookInfo, ReductionInfo, RunReport


class Analysing(Record):
    """Neighbours of everything, codebooks, reductions, maps."""

    def reduce(
        self,
        kind: Kind,
        path: str | Path,
        *,
        model: str | None = None,
        dim: int = 64,
        seed: int = 1,
        whiten: bool = False,
        epochs: int = 40,
        name: str | None = None,
        force: bool = False,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> ReductionInfo | None:
        """Learn to say a model's vectors in fewer numbers, and write that as a model of its own.

        Learned on the stored vectors of pictures that still lie somewhere, at most 512 MB of them, less a tenth that is
        held aside to measure what is lost. No vector is stored: `derive` does that. Gives None where it was stopped,
        and then wrote nothing. The same database, settings and seed give the same file on one machine.

        Args:
            kind: "pca", principal axes; or "autoencoder", a small network.
            path: The file, ending in .safetensors, which every `-m` takes.
            model: Whose vectors; not needed where the database holds those of one.
            dim: How many numbers a vector has then.
            seed: Draws what is held aside, and the autoencoder's beginning and order.
            whiten: Divide each principal coordinate by its deviation.
            epochs: Rounds of the autoencoder over the vectors, at most.
            name: Of the new model; the file's stem by default.
            force: Replace an existing file.
            on_event: Gets `Started` and `Progress`, counted in vectors or epochs.
            stop: Asked between blocks and batches.

        Raises:
            InvalidSetting: More dimensions than the vectors or than pictures to learn from; a file that exists.
            ExtraMissing, AmbiguousModel, UnknownModel, ModelError, DatabaseDamaged, OSError.
        """
        from image_similarity.analysis.reduce import reduce

        info = reduce(
            self._catalog,
            kind,
            Path(path),
            model=model,
            dim=dim,
            seed=seed,
            whiten=whiten,
            epochs=epochs,
            name=name,
            force=force,
            on_event=on_event,
            stop=stop,
        )
        if info is not None:
            self.record_export("model", path, model=info.model, fingerprint=info.fingerprint)
        return info

    def derive(
        self,
        model: str | Path,
        *,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> list[RunReport]:
        """Store the vector of a derived model for every picture that has one of the model below it; no file is read.

        Pictures that have it already are left alone, so it also completes what was stopped, and takes in pictures that
        were indexed since. A run for each source that lacked any.

        Args:
            model: The file that `reduce` wrote.
            on_event: Gets `Started`, `Progress`, `Finished`, counted in vectors.
            stop: Asked between transactions.

        Raises:
            InvalidSetting: It does not go on from the vectors of another model.
            UnknownModel: The database holds no vectors of the model below.
            WeightsRefused, WeightsMissing, DatabaseLocked, DatabaseNotWritable.
        """
        from image_similarity.analysis.derive import derive_named

        return derive_named(self._catalog, str(model), on_event=on_event, stop=stop)

    def build_codebook(
        self,
        path: str | Path,
        *,
        model: str = BUILTIN,
        words: int = 8_500,
        sample: int = 500_000,
        dims: int = 64,
        layer: str | None = None,
        norm: str = "l2",
        seed: int = 1,
        device: str = "auto",
        force: bool = False,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> CodebookInfo | None:
        """Learn visual words from this database's pictures, and write them as a model of its own.

        The pictures are read where they lie; one that no longer is what was indexed is left out and counted. What is
        finished lies in a folder beside the file, from which the next call goes on, also after a kill; None where it
        was stopped. The same pictures and settings give the same file on one machine.

        Args:
            path: The file, which every `-m` takes.
            model: The network that gives the local features: a name, or a weights file.
            words: How many words, which is the length of a vector.
            sample: How many local features to learn from, about.
            dims: Principal components of a feature that are kept.
            layer: Where in the network; its last convolutional map by default.
            norm: "l2" or "hellinger".
            seed: Draws pictures, features and the first words.
            device: "auto", "cpu" or "cuda[:N]".
            force: Replace an existing file.
            on_event: Gets `Started`, `Progress` and `Failed`, counted in pictures and then in steps.
            stop: Asked between pieces of work.

        Raises:
            UsageError: The file exists, or its work folder is something else.
            InvalidSetting: A number is out of its range, or the model has no such layer, or no map at it.
            TrainingRefused: Fewer local features than words.
            ExtraMissing, ModelError, DeviceUnavailable, OSError.
        """
        from image_similarity.analysis.codebook import Recipe, build

        recipe = Recipe(model, words, sample, dims, layer, norm, seed, device)
        info = build(self._catalog, Path(path), recipe, replace=force, on_event=on_event, stop=stop)
        if info is not None:
            self.record_export("codebook", path, model=info.model, fingerprint=info.fingerprint)
        return info

    def encode_codebook(
        self,
        path: str | Path,
        sources: Sequence[str] = (),
        *,
        options: IndexOptions | None = None,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> list[RunReport]:
        """Store the histogram of visual words of every picture: each source is refreshed with the codebook added.

        Pictures that have theirs are not read again, so it also goes on from where it was stopped. From then on
        `refresh` gives new pictures their histograms, too.

        Args:
            path: The file that `build_codebook` wrote.
            sources: Only these.
            options: Batch size, workers, device and the like.
            on_event: Gets what `refresh` sends.
            stop: Asked between pictures.

        Raises:
            UsageError, WeightsRefused: There is no such file, or it is no codebook.
            UnknownSource, and whatever `index` raises.
        """
        from image_similarity.analysis.codebook import require_codebook
        from image_similarity.indexing import refresh_sources

        require_codebook(Path(path))
        return refresh_sources(
            self._catalog,
            sources,
            options or IndexOptions(),
            also=str(path),
            on_event=on_event,
            stop=stop,
        )
