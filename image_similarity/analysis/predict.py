"""Which classes a model sees in pictures, most probable first; no database need hold them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder, OutOfMemory, suggest_batch_size
from image_similarity.encoding.scenes import top_scenes
from image_similarity.errors import FolderMissing, InvalidSetting
from image_similarity.events import Failed, Listener, Progress, Started, ignore
from image_similarity.indexing import loader
from image_similarity.indexing.loader import Loaded, Outcome, Refused
from image_similarity.pictures.decode import MAX_PIXELS
from image_similarity.pictures.names import to_text
from image_similarity.pictures.walk import FileEntry, walk
from image_similarity.settings import BUILTIN
from image_similarity.values import Failure, ModelInfo, Prediction, SceneScore, Skipped

# Threads that read; batches that they may be ahead.
MOST_WORKERS = 8
BATCHES_AHEAD = 2
MOST_AT_ONCE = 32


class Predictor:
    """A model with classes, ready to say which of them pictures show.

    Attributes:
        info: what is recorded of the model; `info.scenes` are its classes.

    Example:
        ```
        for said in Predictor("rooms.safetensors").predict(["new-pictures/"], k=3):
            print(said.path, said.labels if isinstance(said, Prediction) else said.message)
        ```
    """

    def __init__(
        self, model: str = BUILTIN, *, device: str = "auto", runtime: str = "auto"
    ) -> None:
        """Load the model: a name, a weights file, or a Places365 checkpoint.

        Raises:
            UnknownModel: There is none, or it knows no classes.
            ModelError: It cannot be loaded.
        """
        spec = registry.get_scene_model(model)
        self._encoder = Encoder.load(spec, device=device, runtime=runtime)
        self.info: ModelInfo = self._encoder.info

    def predict(
        self,
        pictures: Sequence[str | Path],
        *,
        k: int = 5,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Prediction | Failure | Skipped]:
        """Give, for each file in order, the `k` most probable classes; or why there are none.

        Folders are walked as `index` walks them; files are only read, and decoded as apart as there.

        Args:
            pictures: Pictures and folders.
            k: How many classes; all if there are fewer.
            on_event: Gets `Started`, `Progress` and `Failed`, counted in files.
            stop: Asked between batches; once it says True, what was read is given and the rest left.

        Raises:
            FolderMissing: There is nothing at one of the paths.
            InvalidSetting: A `k` below 1.
        """
        if k < 1:
            raise InvalidSetting(f"{k} classes", hint="-k takes 1 or more")
        for path in map(Path, pictures):
            if not path.exists():
                raise FolderMissing(f"no such folder or picture: {path}")
        return self._all(pictures, k, on_event, stop)

    def _all(
        self, pictures: Sequence[str | Path], k: int, on_event: Listener, stop: Callable[[], bool]
    ) -> Iterator[Prediction | Failure | Skipped]:
        entries = [entry for path in pictures for entry in _named(Path(path))]
        on_event(Started("predict", "", len(entries)))
        size = min(MOST_AT_ONCE, suggest_batch_size(self._encoder))
        preprocess = self._encoder.spec.preprocess

        def load(entry: FileEntry) -> Outcome:
            return loader.load(entry, lambda _: (preprocess,), max_pixels=MAX_PIXELS)

        workers = min(MOST_WORKERS, os.cpu_count() or 1)
        files = (entry for entry in entries if isinstance(entry, FileEntry))
        done = failed = 0
        with closing(
            loader.read_ahead(files, load, workers=workers, depth=BATCHES_AHEAD * size)
        ) as outcomes:
            waiting = iter(entries)
            while not stop() and (some := list(islice(waiting, size))):
                found = [next(outcomes) if isinstance(e, FileEntry) else e for e in some]
                for said in self._said(found, k):
                    if isinstance(said, Failure):
                        failed += 1
                        on_event(Failed(said))
                    yield said
                done += len(some)
                on_event(Progress(done, len(entries), done - failed, failed))

    def _said(self, found: Sequence[Outcome], k: int) -> Iterator[Prediction | Failure | Skipped]:
        """Give what there is to say of some files, in their order."""
        preprocess, scenes = self._encoder.spec.preprocess, self.info.scenes
        taken = [each for each in found if isinstance(each, Loaded)]
        rows: Iterator[npt.NDArray[np.float32]] = iter(())
        if taken:
            rows = iter(self._probabilities(np.stack([e.pixels[preprocess] for e in taken])))
        for each in found:
            if isinstance(each, Refused):
                yield each.failure
            elif not isinstance(each, Loaded):
                yield each
            elif not np.isfinite(row := next(rows)).all():
                yield Failure(each.file.path, "embed", "NotFinite", "the network gave no numbers")
            else:
                yield Prediction(
                    path=each.file.path,
                    sha256=each.file.sha256,
                    partial=each.content is not None and each.content.facts.partial,
                    labels=tuple(SceneScore(scenes[at], share) for at, share in top_scenes(row, k)),
                )

    def _probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the probabilities (N, classes) of prepared pictures, in halves where memory is short."""
        try:
            found = self._encoder.encode(pixels).scenes
        except OutOfMemory:
            if len(pixels) == 1:
                raise
            half = len(pixels) // 2
            return np.concatenate(
                [self._probabilities(pixels[:half]), self._probabilities(pixels[half:])]
            )
        assert found is not None  # noqa: S101 - `get_scene_model` saw to it
        return found


def _named(path: Path) -> Iterator[FileEntry | Failure | Skipped]:
    """Give the entries at a path, each under the path that opens it, as text."""
    for entry in walk(path):
        if isinstance(entry, FileEntry):
            yield entry._replace(path=to_text(entry.os_path))
            continue
        above = to_text(os.fspath(path))
        whole = above.rstrip("/") + "/" + entry.path if path.is_dir() and entry.path else above
        if isinstance(entry, Failure):
            yield Failure(whole, entry.stage, entry.error, entry.message)
        else:
            yield Skipped(whole, entry.rule, entry.kind)
