"""What is to be evaluated, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from image_similarity.errors import FolderMissing, InvalidSetting
from image_similarity.evaluation.edits import edit_sets
from image_similarity.settings import BUILTIN

MAX_RESAMPLES = 100_000
# The shorter side to which pictures are reduced before they are edited, unless another is given.
EDITED_SIDE = 512


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """One evaluation: pictures, pairs or a database, and the models to measure on them.

    Attributes:
        models: names as `embedders.load_embedders` takes them; for a database those stored, all if empty.
        pictures: a folder, whose first folders are the classes, or a list file with a path and a class on each line.
        pairs: CSV with the columns a,b,same or query,positive,negative.
        database: its stored vectors are measured, and no picture is read.
        edits: "easy", "hard" or names of edits: copies are made of `pictures` and looked for among them.
        gallery: folder or list of other pictures among which the copies' originals are hidden.
        unmatched: how many pictures are kept out of the gallery, so that their copies have no match; default a third.
        background: folder or list of pictures whose mean is subtracted from the vectors of TorchScript files.
        class_names: file with a name and a number on each line, for lists whose classes are numbers.
        root: where relative paths in lists and CSV files begin; the file's own folder unless given.
        reduce: pictures with a longer shorter side are first reduced to this; None: 512 with `edits`, else no.
        sample: only so many of `pictures`, drawn with the seed.
        seed: of everything that is drawn.
        resamples: of the bootstrap.
        device: "auto", "cpu" or "cuda[:N]".
    """

    models: tuple[str, ...] = (BUILTIN,)
    pictures: Path | None = None
    pairs: Path | None = None
    database: Path | None = None
    edits: tuple[str, ...] = ()
    gallery: Path | None = None
    unmatched: int | None = None
    background: Path | None = None
    class_names: Path | None = None
    root: Path | None = None
    reduce: int | None = None
    sample: int | None = None
    seed: int = 1
    resamples: int = 1000
    device: str = "auto"

    @property
    def side(self) -> int | None:
        """The shorter side to which pictures are reduced, or None."""
        return self.reduce or (EDITED_SIDE if self.edits else None)

    def check(self) -> None:
        """Refuse what does not fit together.

        Raises:
            InvalidSetting, FolderMissing.
        """
        if self.pictures is None and self.pairs is None and self.database is None:
            raise InvalidSetting(
                "nothing to evaluate on was named", hint="give PICTURES, --pairs FILE.csv or -dp DB"
            )
        of_files = (self.edits, self.background, self.class_names, self.root, self.reduce)
        if self.database is not None and (self.pictures or any(of_files)):
            raise InvalidSetting(
                "a database is measured by its stored vectors, without pictures and what is done to them",
                hint="leave out -dp, or PICTURES, --edits, --background, --class-names, --root and --reduce",
            )
        if (self.edits or self.sample) and self.pictures is None:
            raise InvalidSetting("--edits and --sample need PICTURES")
        if (self.gallery or self.unmatched is not None) and not self.edits:
            raise InvalidSetting("--gallery and --unmatched go with --edits")
        edit_sets(self.edits)
        self._check_numbers()
        for path in (self.pictures, self.gallery, self.background):
            if path is not None and not path.exists():
                raise FolderMissing(f"there is no folder or list {path}")

    def _check_numbers(self) -> None:
        ranges = {
            "--unmatched": (self.unmatched, 0, None),
            "--reduce": (self.reduce, 8, None),
            "--sample": (self.sample, 1, None),
            "--seed": (self.seed, 0, None),
            "--resamples": (self.resamples, 1, MAX_RESAMPLES),
        }
        for name, (value, least, most) in ranges.items():
            if value is not None and (value < least or (most is not None and value > most)):
                upper = f" to {most}" if most is not None else " or more"
                raise InvalidSetting(f"{name} is {value}, expected {least}{upper}")
