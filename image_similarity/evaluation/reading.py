"""From files to vectors of several models at once: each picture is decoded once, edited, and embedded by all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image_similarity.evaluation.edits import edited
from image_similarity.evaluation.embedders import Embedder
from image_similarity.evaluation.measures import Ints
from image_similarity.evaluation.sources import PictureFile
from image_similarity.events import Failed, Listener, Progress, Started
from image_similarity.pictures.decode import MAX_PIXELS, decode
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import Left, read_file
from image_similarity.values import Failure

BATCH = 32
# Pictures that collages draw on; more would only take memory.
_MOST_OTHERS = 24

# A picture decoded for several models: by the side below which a reduced decoder did not go.
Frames = Mapping[int, Image.Image]


@dataclass(frozen=True, slots=True)
class Hashed:
    """A picture file with the SHA-256 of its bytes."""

    file: PictureFile
    sha256: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """What one model says of N pictures: vectors, float32 (N, D), and scene probabilities (N, C) or None."""

    vectors: NDArray[np.float32]
    scenes: NDArray[np.float32] | None

    def rows(self, chosen: Ints | NDArray[np.bool_]) -> Embedded:
        """Return some of the pictures."""
        return Embedded(self.vectors[chosen], None if self.scenes is None else self.scenes[chosen])


@dataclass(frozen=True, slots=True)
class EmbeddedCopies:
    """Pictures and their edited versions.

    Attributes:
        rows: int64 (N,), which of the files asked for the N originals are; the others failed.
        originals: by model, N rows.
        sources: int64 (M,), the file that each edited version was made of.
        edits: M names.
        copies: by model, M rows.
    """

    rows: Ints
    originals: list[Embedded]
    sources: Ints
    edits: tuple[str, ...]
    copies: list[Embedded]


class Account:
    """Where an evaluation is, told to a listener, and the failures that it met."""

    def __init__(self, listener: Listener) -> None:
        self.failures: list[Failure] = []
        self._listener = listener
        self._done = self._total = 0

    def start(self, what: str, total: int) -> None:
        """Begin a part of `total` pictures."""
        self._done, self._total = 0, total
        self._listener(Started(what, "", total))

    def advance(self, count: int) -> None:
        """Count pictures that are done."""
        self._done += count
        self._listener(Progress(self._done, self._total, self._done, len(self.failures)))

    def fail(self, failure: Failure) -> None:
        """Keep a failure; the evaluation goes on."""
        self.failures.append(failure)
        self._listener(Failed(failure))


def hash_pictures(files: Sequence[PictureFile], account: Account) -> list[Hashed]:
    """Return the pictures among the files with their hashes; other kinds of files are passed over."""
    found = []
    for file in files:
        try:
            contents = read_file(file.os_path)
        except PictureError as error:
            account.fail(_failure(file, error))
            continue
        if not isinstance(contents, Left):
            found.append(Hashed(file, contents.digests.sha256))
    return found


def embed_files(
    files: Sequence[PictureFile],
    embedders: Sequence[Embedder],
    account: Account,
    *,
    what: str,
    side: int | None,
) -> tuple[Ints, list[Embedded]]:
    """Return which files could be embedded, ascending, and what each model says of those.

    Args:
        files: in any order.
        embedders: the models.
        account: gets the failures.
        what: the name of the part, for progress.
        side: the shorter side to which larger pictures are reduced first, or None.
    """
    found = embed_copies(files, (), embedders, account, what=what, side=side)
    return found.rows, found.originals


def embed_copies(
    files: Sequence[PictureFile],
    edits: Sequence[str],
    embedders: Sequence[Embedder],
    account: Account,
    *,
    what: str,
    side: int | None,
    seed: int = 1,
    others: Sequence[PictureFile] = (),
) -> EmbeddedCopies:
    """Return pictures and every edit of each, embedded by all models.

    Args:
        files: the originals; the number of each decides with `seed` over its edits.
        edits: names of `edits.EDITS`.
        embedders: the models.
        account: gets the failures.
        what: the name of the part, for progress.
        side: the shorter side to which larger pictures are reduced first, or None.
        seed: of what the edits draw.
        others: pictures for collages; a picture never stands beside itself.
    """
    sides = {each.facts.decode_side for each in embedders}
    account.start(what, len(files) * (1 + len(edits)))
    made: list[tuple[int, str]] = []

    def pictures() -> Iterator[Frames]:
        pool = _pool(others, side) if edits else {}
        for row, file in enumerate(files):
            try:
                frames = read_frames(file, sides, side)
            except PictureError as error:
                account.fail(_failure(file, error))
                account.advance(1 + len(edits))
                continue
            made.append((row, ""))
            yield frames
            beside = [picture for path, picture in pool.items() if path != file.os_path]
            for name in edits:
                made.append((row, name))
                copy = edited(frames[max(frames)], name, seed=seed, row=row, others=beside)
                yield dict.fromkeys(sides, copy)

    every = embed_frames(pictures(), embedders, account)
    usable = np.logical_and.reduce([np.isfinite(each.vectors).all(axis=1) for each in every])
    numbers = np.array([row for row, _ in made], dtype=np.int64)
    is_original = np.array([name == "" for _, name in made], dtype=bool)
    for row in np.flatnonzero(~usable & is_original):
        message = "a model gives this picture no vector"
        account.fail(Failure(files[numbers[row]].name, "embed", "NotFinite", message))
    # An original without a vector takes its copies with it.
    usable &= np.isin(numbers, numbers[usable & is_original])
    originals, copies = usable & is_original, usable & ~is_original
    return EmbeddedCopies(
        numbers[originals],
        [each.rows(originals) for each in every],
        numbers[copies],
        tuple(made[at][1] for at in np.flatnonzero(copies)),
        [each.rows(copies) for each in every],
    )


def embed_frames(
    pictures: Iterable[Frames], embedders: Sequence[Embedder], account: Account
) -> list[Embedded]:
    """Return what each model says of pictures, in their order; only a batch of them is held at a time."""
    vectors: list[list[NDArray[np.float32]]] = [[] for _ in embedders]
    scenes: list[list[NDArray[np.float32]]] = [[] for _ in embedders]
    for batch in _batches(pictures):
        for number, embedder in enumerate(embedders):
            frames = [each[embedder.facts.decode_side] for each in batch]
            embedded, probabilities = embedder.embed(frames)
            vectors[number].append(embedded)
            if probabilities is not None:
                scenes[number].append(probabilities)
        account.advance(len(batch))
    return [
        Embedded(
            np.concatenate(mine) if mine else np.empty((0, 1), np.float32),
            np.concatenate(its_scenes) if its_scenes else None,
        )
        for mine, its_scenes in zip(vectors, scenes, strict=True)
    ]


def read_frames(file: PictureFile, sides: set[int], side: int | None) -> Frames:
    """Return a picture decoded for every side asked for; reduced to a shorter side of `side` if that is given.

    Raises:
        PictureError: it cannot be read or decoded.
    """
    contents = read_file(file.os_path)
    if isinstance(contents, Left):
        raise PictureError("decode", "NotAPicture", f"this is {contents.kind.mime}, no picture")
    # What is reduced is the same picture for all models, and each prepares it as its own.
    wanted = sides if side is None else {2 * side}
    frames = decode(contents.data, wanted, max_pixels=MAX_PIXELS).frames
    if side is None:
        return frames
    return dict.fromkeys(sides, _reduced(frames[2 * side], side))


def _reduced(picture: Image.Image, side: int) -> Image.Image:
    shorter = min(picture.size)
    if shorter <= side:
        return picture
    size = tuple(max(1, round(length * side / shorter)) for length in picture.size)
    return picture.resize(size, Image.Resampling.BICUBIC)  # type: ignore[arg-type]


def _pool(files: Sequence[PictureFile], side: int | None) -> dict[str, Image.Image]:
    """Pictures by path; those that cannot be read are met again, and recorded, as files of their own."""
    pool = {}
    for file in files[:_MOST_OTHERS]:
        try:
            pool[file.os_path] = read_frames(file, {0}, side)[0]
        except PictureError:
            continue
    return pool


def _batches(pictures: Iterable[Frames]) -> Iterator[list[Frames]]:
    batch: list[Frames] = []
    for each in pictures:
        batch.append(each)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _failure(file: PictureFile, error: PictureError) -> Failure:
    return Failure(file.name, error.stage, error.error, error.message)
