"""The first stage of a codebook: local features of a sample of pictures, read from where they lie."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch

from image_similarity.analysis.codebook_work import Arrays, Work
from image_similarity.encoding.feature_maps import Mapped
from image_similarity.encoding.torch_network import TorchNetwork
from image_similarity.encoding.visual_words import local_features
from image_similarity.errors import FolderMissing
from image_similarity.events import Failed, Listener, Progress, Started
from image_similarity.pictures.names import from_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Left, read_file
from image_similarity.settings import MAX_MEGAPIXELS
from image_similarity.store import gallery, selection
from image_similarity.store.catalog import Catalog
from image_similarity.values import Failure, Place, Preprocess, Selection

Pixels = npt.NDArray[np.uint8]

# Pictures in a piece: it is what a killed build does again. Of ResNet-50 a piece has 26 MB.
CHUNK = 128
# Pictures that go through the network at once.
BATCH = 32
# Of larger maps (VGG has 14 x 14 cells) so many are drawn: neighbours say nearly the same.
CELLS = 64
# A content may lie at very many places, none of which can be read any more.
_TRIED = 3
_MOST_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the first stage took.

    `chunks` are the names of the pieces that hold features, `pictures` and `features` their sums, `changed` how many
    contents lie nowhere any more as they were indexed, `failures` which pictures could not be read.
    """

    chunks: tuple[str, ...]
    pictures: int
    features: int
    changed: int
    failures: tuple[Failure, ...]


def draw(catalog: Catalog, pictures: int, seed: int) -> tuple[list[str], list[tuple[Place, ...]]]:
    """Draw contents of a database with the live places of each: (SHA-256s, places), in an order that the seed decides.

    The same contents are drawn in the same order from every database that holds the same ones.
    """
    with catalog.reading() as connection:
        ids = selection.image_ids(connection, Selection())
        known = sorted(zip(gallery.hashes_of(connection, ids), ids, strict=True))
        order = np.random.default_rng(seed).permutation(len(known))[:pictures]
        drawn = [known[number] for number in order.tolist()]
        wanted = [image_id for _, image_id in drawn]
        places = gallery.places_of(connection, wanted, gallery.PlaceFilter())
    return [sha256 for sha256, _ in drawn], [places[image_id] for image_id in wanted]


def count(catalog: Catalog) -> int:
    """Return how many contents of a database lie at a place that is not gone."""
    with catalog.reading() as connection:
        return len(selection.image_ids(connection, Selection()))


def sample(
    work: Work,
    mapped: Mapped,
    runner: TorchNetwork,
    preprocess: Preprocess,
    drawn: tuple[Sequence[str], Sequence[tuple[Place, ...]]],
    seed: int,
    *,
    on_event: Listener,
    stop: Callable[[], bool],
) -> Sampled | None:
    """Write the local features of the drawn pictures, piece by piece; None if it was stopped.

    A piece holds `features` float16 (M, C), of length 1, and `owner` int32 (M,), the picture's number in the piece.

    Raises:
        FolderMissing: a source is not there, or no longer; the pieces before stay.
    """
    hashes, places = drawn
    taker = _Taker(mapped, runner, preprocess, seed)
    names: list[str] = []
    pictures = features = changed = 0
    failures: list[Failure] = []
    on_event(Started("local features", "", len(hashes), "pictures"))
    # The picture at which an earlier process was may have killed it.
    careful = work.resumed
    for number, start in enumerate(range(0, len(hashes), CHUNK)):
        name, end = f"features-{number:05d}", min(start + CHUNK, len(hashes))
        piece = work.find(name)
        if piece is None:
            if stop():
                return None
            piece = taker.take(number, hashes[start:end], places[start:end], careful=careful)
            _refuse_lost_sources(_failures(piece), places[start:end])
            work.put(name, piece)
            careful = False
        failed = _failures(piece)
        for failure in failed:
            on_event(Failed(failure))
        failures += failed
        changed += int(piece["changed"])
        pictures += end - start - len(failed) - int(piece["changed"])
        features += len(piece["features"])
        names += [name] if len(piece["features"]) else []
        on_event(Progress(end, len(hashes), pictures, len(failures)))
    return Sampled(tuple(names), pictures, features, changed, tuple(failures))


def _failures(piece: Arrays) -> list[Failure]:
    return [Failure(**each) for each in json.loads(str(piece["failures"]))]


def _refuse_lost_sources(failures: Sequence[Failure], places: Sequence[tuple[Place, ...]]) -> None:
    """Refuse a piece that failed as a whole folder is not there: kept, it would stay without pictures once it is.

    Raises:
        FolderMissing.
    """
    roots = {place.source: place.root for each in places for place in each}
    for source in sorted({failure.source for failure in failures if failure.source in roots}):
        try:
            with os.scandir(from_text(roots[source])) as entries:
                there = next(entries, None) is not None
        except OSError:
            there = False
        if not there:
            raise FolderMissing(
                f"the pictures of source {source} are not there: {roots[source]}",
                hint="is the evidence mounted? The same command goes on from what was finished.",
            )


class _Taker:
    """Takes the features of some pictures at once: the next ones are decoded while the network works."""

    def __init__(
        self, mapped: Mapped, runner: TorchNetwork, preprocess: Preprocess, seed: int
    ) -> None:
        self._mapped, self._runner, self._preprocess = mapped, runner, preprocess
        self._seed = seed
        self._cells = mapped.cells[0] * mapped.cells[1]

    def take(
        self,
        number: int,
        hashes: Sequence[str],
        places: Sequence[tuple[Place, ...]],
        *,
        careful: bool,
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Give the arrays of one piece."""

        def load(which: int) -> Pixels | Failure | None:
            return _load(hashes[which], places[which], self._preprocess, careful=careful)

        failures: list[Failure] = []
        changed = 0
        kept: list[tuple[int, Pixels]] = []
        found: list[tuple[int, npt.NDArray[np.float16]]] = []
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers, thread_name_prefix="codebook") as pool:
            for which, outcome in enumerate(pool.map(load, range(len(hashes)))):
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                elif outcome is None:
                    changed += 1
                else:
                    kept.append((which, outcome))
                if len(kept) == BATCH or (kept and which == len(hashes) - 1):
                    found += self._encode(kept, number)
                    kept = []
        # The last pictures may all have failed.
        found += self._encode(kept, number) if kept else []
        for which in [which for which, features in found if not np.isfinite(features).all()]:
            place = places[which][0]
            text = "the network gave no finite numbers"
            failures.append(Failure(place.path, "embed", "NotFinite", text, source=place.source))
        found = [each for each in found if np.isfinite(each[1]).all()]
        features = [each for _, each in found]
        empty = np.empty((0, self._mapped.channels), np.float16)
        owners = [np.full(len(each), which, np.int32) for which, each in found]
        return {
            "features": np.concatenate([empty, *features]),
            "owner": np.concatenate([np.empty(0, np.int32), *owners]),
            "changed": np.array(changed),
            "failures": np.array(json.dumps([asdict(each) for each in failures])),
        }

    def _encode(
        self, kept: Sequence[tuple[int, Pixels]], number: int
    ) -> list[tuple[int, npt.NDArray[np.float16]]]:
        maps, _ = self._runner.run(np.stack([pixels for _, pixels in kept]))
        assert maps is not None  # noqa: S101 - a network of maps gives them
        features = local_features(torch.from_numpy(maps)).numpy().astype(np.float16)
        return [
            (which, rows[self._drawn(number, which)])
            for (which, _), rows in zip(kept, features, strict=True)
        ]

    def _drawn(self, number: int, which: int) -> npt.NDArray[np.int64]:
        """The cells that are taken of a picture, ascending: all, or a sample that does not depend on other pictures."""
        if self._cells <= CELLS:
            return np.arange(self._cells)
        random = np.random.default_rng([self._seed, number, which])
        return np.sort(random.choice(self._cells, CELLS, replace=False))


def _load(
    sha256: str, places: Sequence[Place], preprocess: Preprocess, *, careful: bool
) -> Pixels | Failure | None:
    """The pixels of a content from the first place that still holds it; None where files hold something else now."""
    failure: Failure | None = None
    changed = False
    for place in places[:_TRIED]:
        try:
            found = read_file(from_text(place.full_path))
            if isinstance(found, Left) or found.digests.sha256 != sha256:
                changed = True
                continue
            limit = int(MAX_MEGAPIXELS * 1e6)
            _, pixels = decode_for(found.data, {preprocess}, max_pixels=limit, careful=careful)
            return pixels[preprocess]
        except PictureError as error:
            failure = failure or Failure(
                place.path, error.stage, error.error, error.message, source=place.source
            )
        except MemoryError:
            text = "not enough memory for it"
            failure = failure or Failure(
                place.path, "decode", "MemoryError", text, source=place.source
            )
    return None if changed else failure
