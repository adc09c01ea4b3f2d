"""What a training on one's own pictures is told, and what it tells back; loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from image_similarity.errors import InvalidSetting
from image_similarity.events import Failed, Notice
from image_similarity.settings import BUILTIN
from image_similarity.values import Failure

# Our own losses first; those of pytorch-metric-learning need the extra "train".
OWN_LOSSES = ("semi-hard", "batch-hard", "easy-positive", "classification")
LIBRARY_LOSSES = ("multi-similarity", "proxy-anchor", "arcface", "nt-xent")
LOSSES = OWN_LOSSES + LIBRARY_LOSSES
# These learn a direction for each group, which is of no use where every picture is its own group.
CLASS_LOSSES = ("classification", "proxy-anchor", "arcface")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All settings of a training; with the pictures, the start model and the machine they decide its result.

    Attributes:
        model: the model to start from: a registered name or a weights file that carries its card.
        from_scratch: build the network of `model` with random weights instead.
        head: keep that network as it is and teach only a linear map to so many numbers.
        unlabelled: every picture is its own group, its positives are made by augmentation.
        groups: a CSV file with the columns path and group; None: the first folders below the root.
        loss: one of `LOSSES`.
        margin: of the triplet losses, between squared distances of unit vectors, from 0 to 4.
        epochs, batch_size, pictures_per_group: rounds over all pictures, pictures in a batch, and how
            many of them come from one group.
        learning_rate: the highest; None chooses by what is taught (see `rate`).
        size: side of the pictures, a multiple of 32; None: the start model's.
        teacher: another model whose likenesses between pictures are learned beside; None for none.
        teacher_weight: of that loss.
        validation_share: share of the groups that is kept apart to validate on.
        near_duplicate: pictures of the validation part this alike (cosine by the start model) to one that
            is trained on are left out.
        classes: also learn the groups' names as classes, whose probabilities the model then predicts.
        licence: text for the card.
    """

    model: str = BUILTIN
    from_scratch: bool = False
    head: int | None = None
    unlabelled: bool = False
    groups: Path | None = None
    loss: str = "semi-hard"
    margin: float = 0.1
    epochs: int = 10
    batch_size: int = 32
    pictures_per_group: int = 4
    learning_rate: float | None = None
    size: int | None = None
    seed: int = 1
    teacher: str | None = None
    teacher_weight: float = 1.0
    validation_share: float = 0.2
    near_duplicate: float = 0.95
    classes: bool = False
    licence: str = ""

    @property
    def rate(self) -> float:
        """The highest learning rate: small steps for weights that know something already."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-3 if self.head is not None or self.from_scratch else 1e-4

    def check(self) -> None:
        """Refuse settings that are out of range or exclude each other.

        Raises:
            InvalidSetting: with the setting and its range.
        """
        ranges: tuple[tuple[str, float | None, float, float], ...] = (
            ("head", self.head, 2, 4096),
            ("margin", self.margin, 0, 4),
            ("epochs", self.epochs, 1, 10_000),
            ("batch size", self.batch_size, 4, 4096),
            ("pictures per group", self.pictures_per_group, 2, self.batch_size // 2),
            ("learning rate", self.learning_rate, 1e-9, 10),
            ("size", self.size, 32, 1024),
            ("seed", self.seed, 0, 2**31),
            ("teacher's weight", self.teacher_weight, 0, 1000),
            ("validation share", self.validation_share, 0.01, 0.9),
            ("near-duplicate threshold", self.near_duplicate, 0, 1.01),
        )
        for name, value, low, high in ranges:
            if value is not None and not low <= value <= high:
                raise InvalidSetting(f"{name} must lie between {low:g} and {high:g}, not {value:g}")
        if self.size is not None and self.size % 32:
            raise InvalidSetting(f"size must be a multiple of 32, not {self.size}")
        if self.loss not in LOSSES:
            raise InvalidSetting(f"no loss is called {self.loss!r}; known: {', '.join(LOSSES)}")
        if self.unlabelled and self.groups is not None:
            raise InvalidSetting("pictures are either unlabelled or in groups, not both")
        if self.unlabelled and self.classes:
            raise InvalidSetting("classes are the names of groups; unlabelled pictures have none")
        if self.unlabelled and self.loss in CLASS_LOSSES:
            raise InvalidSetting(
                f"the loss {self.loss} needs groups; unlabelled pictures have none",
                hint="Take semi-hard, batch-hard, multi-similarity or nt-xent.",
            )
        if self.from_scratch and self.head is not None:
            raise InvalidSetting("a head belongs on a trained network, not on one from scratch")


Stage = Literal["reading", "scanning", "validating", "describing", "training"]


@dataclass(frozen=True, slots=True)
class Advance:
    """`done` of `total` pictures are through a stage; in the stage "training" also the batch's loss."""

    stage: Stage
    done: int
    total: int
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Leave-one-out retrieval among the validation pictures, as shares from 0 to 1."""

    recall_at_1: float
    map_at_r: float

    @property
    def rank(self) -> tuple[float, float]:
        """What epochs are compared by: MAP@R tells models apart that recall@1 holds for equal."""
        return (self.map_at_r, self.recall_at_1)


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How often the right class is the most probable one, or among five: shares of the `measured` pictures.

    These were held aside from all learning, `taught` others taught the classes; the shares are None if none could be
    held aside. The logits were divided by the `temperature`.
    """

    classes: int
    taught: int
    measured: int
    top_1: float | None
    top_5: float | None
    temperature: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """One round over the pictures: its number from 1, its mean loss, and the figures after it."""

    number: int
    loss: float
    figures: Figures


Event = Advance | Epoch | Failed | Notice
Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """The account of a training.

    `status` is "done" with a model written, "no better" if no epoch beat the start model and none was written, or
    "interrupted" with a checkpoint to go on from. `training`, `validation` and `left_out` count pictures; left out of
    the validation part are exact copies and near-duplicates of pictures that are trained on, and pictures that the
    start model was trained on. `copies` are files of the
    same content as another of their group, which are not counted elsewhere. `classes` says how good the classes are,
    if they were asked for and a model was written.
    """

    status: Literal["done", "no better", "interrupted"]
    model: Path | None
    split: Path | None
    checkpoint: Path
    groups: int
    training: int
    validation: int
    left_out: int
    copies: int
    failures: tuple[Failure, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    start: Figures | None = None
    epochs: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    resumed_at: int = 0
    seconds: float = 0.0
    classes: ClassFigures | None = None
