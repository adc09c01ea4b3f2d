"""What is made of a case as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.case.record import Record
from image_similarity.events import Listener, ignore
from image_similarity.settings import BUILTIN, IndexOptions

if TYPE_CHECKING:
    from image_similarity.analysis.laid_out import LaidOut
    from image_similarity.analysis.map import MapWritten
    from image_similarity.analysis.neighbours import NeighboursReport
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
            force: Replace an existing file of this kind.
            on_event: Gets `Started` and `Progress`, counted in vectors or epochs.
            stop: Asked between blocks and batches.

        Raises:
            InvalidSetting: More dimensions than the vectors or than pictures to learn from.
            UsageError: The file exists, or lies in the evidence.
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
            force: Replace an existing file of this kind.
            on_event: Gets `Started`, `Progress` and `Failed`, counted in pictures and then in steps.
            stop: Asked between pieces of work.

        Raises:
            UsageError: The file exists or lies in the evidence, or its work folder is something else.
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

    def neighbours(
        self,
        path: str | Path,
        *,
        k: int = 5,
        model: str | None = None,
        same_scene: bool = False,
        only: str | Path | None = None,
        sources: Sequence[str] = (),
        under: str | None = None,
        include_gone: bool = False,
        include_partial: bool = True,
        approximate: bool = False,
        index: str | Path | None = None,
        overwrite: bool = False,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> NeighboursReport:
        """Write the k nearest pictures of every picture to a file, ties by SHA-256; exact unless `approximate`.

        A picture is a content; itself is none of its neighbours. What is finished lies in PATH.work, from which the
        same call goes on after it was stopped or killed; another state of the database or other options begin anew.

        Args:
            path: A name that ends in .h5, .json (an inverted index) or .csv.
            k: How many neighbours.
            model: Whose vectors; not needed where the database holds those of one.
            same_scene: Only neighbours of the same most probable scene.
            only: CSV with the columns path and id: only these pictures, under these identifiers.
            sources: Only pictures of these sources.
            under: Only pictures below this folder of their source.
            include_gone: Also pictures that are no longer there.
            include_partial: Also pictures that could be decoded only in part.
            approximate: By an index of `build_ann`; the recall is measured and told.
            index: Its file; DB.MODEL.ann beside the database unless given.
            overwrite: Replace an earlier file of this kind.
            on_event: Gets `Started` and `Progress`, counted in pictures, and `Notice`.
            stop: Asked between blocks of pictures.

        Raises:
            UsageError: The file exists, lies in the evidence or has another name; the list is none.
            InvalidSetting: There are not more than k pictures.
            UnknownImage, UnknownSource, AmbiguousModel, UnknownModel, ExtraMissing, IndexRefused, OSError.
        """
        from image_similarity.analysis.neighbours import NeighboursRequest, neighbours

        request = NeighboursRequest(
            k=k,
            model=model,
            same_scene=same_scene,
            only=None if only is None else Path(only),
            sources=tuple(sources),
            under=under,
            include_gone=include_gone,
            include_partial=include_partial,
            approximate=approximate or index is not None,
            index=None if index is None else Path(index),
        )
        return neighbours(
            self._catalog, Path(path), request, overwrite=overwrite, on_event=on_event, stop=stop
        )

    def map(
        self,
        path: str | Path,
        *,
        model: str | None = None,
        perplexity: float | None = None,
        seed: int | None = None,
        tile: int | None = None,
        layout: str | Path | None = None,
        sources: Sequence[str] = (),
        under: str | None = None,
        reveal: bool = False,
        overwrite: bool = False,
        on_event: Listener = ignore,
    ) -> MapWritten:
        """Lay pictures out so that similar ones lie together (t-SNE), and draw them; recorded in the audit chain.

        Positions are computed of the stored vectors of pictures that still lie somewhere: of up to 10,000 by t-SNE, of
        more by a sample of so many, and the others by their nearest in it. One seed gives one map on one machine.

        Args:
            path: A .png, every picture in a cell of its own; or an .html, a page to move about in and select from.
            model: Whose vectors; not needed where the database holds those of one.
            perplexity: About how many neighbours count as near, 1 or more; 30 by default, less of few pictures.
            seed: Of all that is drawn at random, 0 to 2**32 - 1; 1 by default.
            tile: The longest side of thumbnails in pixels; by default 64, on a page 96, or what fits.
            layout: A CSV file of positions: drawn from if it is there, else written.
            sources: Only pictures of these.
            under: Only pictures below this path, relative to their source.
            reveal: Show pictures as they are, not blurred and grey; a page has a button for it.
            overwrite: Replace an earlier map of this kind; any other file is never replaced.
            on_event: Gets `Started` and `Progress`, counted in iterations, then in pictures.

        Raises:
            UsageError: A file lies there, or its folder is evidence; fewer than 3 pictures; a layout that is none.
            ExtraMissing: scikit-learn is not installed.
            InvalidSetting, AmbiguousModel, UnknownModel, UnknownSource, DatabaseDamaged, OSError.
        """
        from image_similarity.analysis.map import MapRequest, draw
        from image_similarity.store.gallery import PlaceFilter

        request = MapRequest(
            path=Path(path),
            model=model,
            perplexity=perplexity,
            seed=seed,
            tile=tile,
            layout=None if layout is None else Path(layout),
            filter=PlaceFilter(sources=tuple(sources), under=under),
            reveal=reveal,
            overwrite=overwrite,
        )
        return draw(self._catalog, request, on_event=on_event)

    def lay_out(
        self,
        path: str | Path,
        *,
        model: str | None = None,
        perplexity: float | None = None,
        seed: int | None = None,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Compute the positions of a map and write them to a layout file, which `map` and `laid_out` read.

        Gives False where it was stopped, and then wrote nothing; an earlier layout there is replaced. Not recorded in
        the audit chain: it is a cache of what can be computed again.

        Args:
            path: The file, ending in .csv; the cells are written beside it.
            model: Whose vectors; not needed where the database holds those of one.
            perplexity: See `map`.
            seed: Likewise.
            on_event: Gets `Started` and `Progress`, counted in iterations.
            stop: Asked whenever t-SNE tells how far it is.

        Raises:
            UsageError: The path is in the evidence; fewer than 3 pictures.
            ExtraMissing: scikit-learn is not installed.
            InvalidSetting, AmbiguousModel, UnknownModel, DatabaseDamaged, OSError.
        """
        from image_similarity.analysis.laid_out import lay_out
        from image_similarity.analysis.map import MapRequest

        request = MapRequest(
            path=Path(path), model=model, perplexity=perplexity, seed=seed, layout=Path(path)
        )
        return lay_out(self._catalog, request, on_event=on_event, stop=stop)

    def laid_out(self, path: str | Path) -> LaidOut:
        """Give the pictures of a layout that are on record, each with a cell of its own, and what the layout lacks.

        Args:
            path: A layout file, of `lay_out` or of `map`.

        Raises:
            UsageError: It is none.
            OSError.
        """
        from image_similarity.analysis.laid_out import read

        return read(self._catalog, Path(path))
