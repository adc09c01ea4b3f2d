"""Training on one's own pictures, from a folder to a model file: what `image-similarity train` runs."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from image_similarity.encoding import onnx_model, registry
from image_similarity.encoding.architectures import build, is_known
from image_similarity.encoding.derived import is_derived
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import InvalidSetting, ModelError, TrainingRefused
from image_similarity.events import Notice
from image_similarity.training import classes as named
from image_similarity.training import finetune
from image_similarity.training.learners import (
    Advanced,
    HeadLearner,
    Learner,
    WholeLearner,
    encode,
)
from image_similarity.training.near_duplicates import parts_of
from image_similarity.training.objectives import make_objective
from image_similarity.training.picture_set import PictureSet, read_pictures
from image_similarity.training.recipe import Advance, Listener, Recipe, Stage, TrainingReport
from image_similarity.training.split import LEAST_GROUPS, Part, split_groups, write_split
from image_similarity.training.tuned_model import split_path, taught_before, write_tuned_model
from image_similarity.training.validation import (
    ValidationSet,
    edited_validation,
    grouped_validation,
)

CHECKPOINT = "checkpoint.pt"


def train(
    folder: str | Path,
    output: str | Path,
    recipe: Recipe | None = None,
    *,
    work: str | Path | None = None,
    name: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    anyway: bool = False,
    force: bool = False,
    on_event: Listener = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingReport:
    """Train a model on the pictures below a folder and write it, with its card, to a .safetensors file.

    The groups are split first: those of the validation part are never trained on, and copies and near-duplicates of
    what is trained on are taken out of it. Each epoch is validated, the best one kept. Beside the model a file
    `<output>.split.csv` says which picture was in which part. If no epoch has better figures than the start model,
    no model is written, unless `anyway`. Stopped or broken off, the same call goes on from the checkpoint in `work` and
    ends with the same weights as an undisturbed one; when the model is written the checkpoint is removed.

    Args:
        folder: the pictures; only ever read.
        output: ends in .safetensors.
        recipe: all settings; the default if None.
        work: the folder of the checkpoint; `<output>.work` if None.
        name: the model's name in its card; the file's stem if None.
        device: as in `Encoder.load`.
        threads: as in `Encoder.load`; another number gives other rounding, so a training resumed with it differs.
        anyway: write the best trained epoch even if the start model was better.
        force: replace an existing file.
        on_event: told of progress, epochs, notices and files that could not be taken.
        stop: asked before each step.

    Raises:
        InvalidSetting, FolderMissing: the request is wrong.
        TrainingRefused: too few groups or pictures, or a loss that is no number.
        NothingToIndex: no picture could be taken.
        ModelError: the start model or the teacher cannot be used.
        WeightsRefused: the checkpoint is damaged or of another training.
        ExtraMissing: the loss needs pytorch-metric-learning.

    Example:
        ```
        report = train("hotel-rooms/", "rooms.safetensors", Recipe(head=64, epochs=20))
        print(report.start, report.epochs[report.best_epoch - 1].figures)
        ```
    """
    begun = time.monotonic()
    recipe = recipe or Recipe()
    recipe.check()
    target, source = Path(output), Path(folder)
    checkpoint = (Path(work) if work else target.with_suffix(".work")) / CHECKPOINT
    _check_target(target, checkpoint, source, recipe, force=force)
    encoder = _start_model(recipe, device=device, threads=threads)
    teacher = _teacher(recipe, encoder.device)
    pictures = read_pictures(
        source,
        encoder.spec.preprocess,
        groups=recipe.groups,
        unlabelled=recipe.unlabelled,
        on_event=on_event,
        stop=stop,
    )
    stopped = TrainingReport("interrupted", None, None, checkpoint, 0, 0, 0, 0, 0)
    if pictures is None:
        return stopped

    def advancing(stage: Stage) -> Advanced:
        def advanced(done: int, total: int) -> None:
            on_event(Advance(stage, done, total))
            if stop():
                raise _StoppedError

        return advanced

    if recipe.classes:
        named.check_names(pictures.groups)
    try:
        # By the start model even if the network begins from scratch: to random weights all are near-duplicates.
        vectors = encode(encoder, pictures.pixels, advanced=advancing("scanning"))
        parts = _parts(pictures, recipe, vectors)
        held = np.zeros(len(parts), np.bool_)
        if recipe.classes:
            held = named.hold_aside(pictures.groups, parts, recipe)
            parts = [
                "held aside for the classes" if apart and part == "training" else part
                for part, apart in zip(parts, held.tolist(), strict=True)
            ]
        if recipe.from_scratch:
            encoder = _from_scratch(encoder, recipe.seed)
        training = _rows(parts, "training")
        labels = _labels([pictures.groups[row] for row in training])
        validation = _validation(pictures, parts, recipe)
        start = validation.figures(
            encode(encoder, validation.pixels, advanced=advancing("validating"))
        )
        learner = _learner(pictures, training, recipe, encoder, teacher, advancing("describing"))
    except _StoppedError:
        return stopped
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        objective = make_objective(
            recipe.loss, margin=recipe.margin, dim=learner.dim, groups=int(labels.max()) + 1
        )
    tuner = finetune.Tuner(
        learner,
        objective,
        labels,
        recipe,
        device=encoder.device,
        start=start,
        figures=lambda: validation.figures(learner.vectors(validation.pixels)),
    )
    identity = _identity(recipe, pictures, parts, encoder, teacher)
    resumed_at = 0
    if checkpoint.is_file() and finetune.load_checkpoint(checkpoint, tuner, identity):
        resumed_at = tuner.epoch + 1
        on_event(Notice(f"going on from {checkpoint}, after {tuner.epoch} epochs"))
    finished = tuner.run(
        on_event=on_event,
        stop=stop,
        save=lambda: finetune.save_checkpoint(checkpoint, tuner, identity),
    )
    report = TrainingReport(
        status="interrupted",
        model=None,
        split=None,
        checkpoint=checkpoint,
        groups=len(set(pictures.groups)),
        training=len(training),
        validation=parts.count("validation"),
        left_out=len(parts)
        - len(training)
        - parts.count("validation")
        - parts.count("held aside for the classes"),
        copies=pictures.copies,
        failures=pictures.failures,
        skipped=pictures.skipped,
        start=start,
        epochs=tuple(tuner.history),
        best_epoch=tuner.best_epoch,
        resumed_at=resumed_at,
        seconds=time.monotonic() - begun,
    )
    if not finished:
        return report
    if tuner.restore_best(anyway=anyway):
        report = replace(report, status="done", model=target, split=split_path(target))
        network, spec = learner.result()
        taught = training
        if recipe.classes:
            taught, measure = named.divide(held, parts, pictures.sha256, vectors, recipe)
            network, spec, figures = named.add_classes(
                network,
                spec,
                encoder,
                pictures.pixels,
                pictures.groups,
                teach=taught,
                measure=measure,
                advanced=lambda done, total: on_event(Advance("describing", done, total)),
            )
            report = replace(report, classes=figures)
        write_split(split_path(target), pictures.paths, pictures.groups, parts)
        write_tuned_model(
            target,
            network,
            spec,
            name=name or target.stem,
            recipe=recipe,
            start=encoder.info,
            report=report,
            training_sha256=[pictures.sha256[row] for row in taught],
        )
        _remove(checkpoint)
        return report
    # The checkpoint stays: who wants the best epoch even so need not train again.
    return replace(report, status="no better")


class _StoppedError(Exception):
    """The user wants to stop, before there is anything to keep."""


def _check_target(
    target: Path, checkpoint: Path, folder: Path, recipe: Recipe, *, force: bool
) -> None:
    """Refuse, before any work, an output that could not be written at the end or should not be."""
    if target.suffix != ".safetensors":
        raise InvalidSetting(f"The model's file must end in .safetensors: {target}")
    if not target.parent.is_dir():
        raise InvalidSetting(f"No such folder for the model: {target.parent}")
    if target.is_dir():
        raise InvalidSetting(f"The model's file is a folder: {target}")
    if target.exists() and not force:
        raise InvalidSetting(f"{target} exists", hint="--force replaces it.")
    if recipe.groups is not None and recipe.groups.resolve() == split_path(target).resolve():
        raise InvalidSetting(
            f"The model's split would replace the list of groups: {recipe.groups}",
            hint="Give the model or the list another name.",
        )
    for what, path in (("model", target), ("checkpoint", checkpoint)):
        if folder.is_dir() and path.resolve().is_relative_to(folder.resolve()):
            raise InvalidSetting(
                f"The {what} must not be written into the pictures' folder: {path}"
            )
        _check_writable(path.parent)


def _check_writable(folder: Path) -> None:
    """Refuse a folder, or one to be made, in which no file can be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        # Tried, not asked for: of permissions alone a medium that is write-protected says nothing.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InvalidSetting(
            f"Nothing can be written to {folder}: {error.strerror or error}"
        ) from error


def _start_model(recipe: Recipe, *, device: str, threads: int | None) -> Encoder:
    """Return the model to begin with, at the size that is wanted."""
    spec = registry.get(recipe.model)
    if spec.dim is None or spec.build is not None or not is_known(spec.architecture):
        reason = "it has no embedding" if spec.dim is None else "it comes from a plug-in"
        raise InvalidSetting(
            f"{spec.name} cannot be trained: {reason}.", hint="image-similarity models list"
        )
    if is_derived(spec):
        raise InvalidSetting(
            f"{spec.name} was learned on the vectors of another model; begin with {spec.config.get('base')}."
        )
    if spec.architecture == onnx_model.ARCHITECTURE:
        raise InvalidSetting(
            f"{spec.name} is an .onnx file, which is run as it is and cannot be trained.",
            hint="begin with a network of torchvision or timm, or with builtin",
        )
    if spec.architecture.startswith(f"{named.FAMILY}/"):
        raise InvalidSetting(f"{spec.name} has classes already; begin with the model below it.")
    if recipe.head is not None and spec.architecture.startswith("headed/"):
        raise InvalidSetting(f"{spec.name} has a head already; begin with the model below it.")
    encoder = Encoder.load(spec, device=device, threads=threads, runtime="torch")
    if recipe.size is not None and recipe.size != spec.preprocess.size:
        spec = _resized(spec, recipe.size)
    # What is learned are angles: of raw vectors, too, and the new model's have length 1.
    spec = replace(spec, normalisation="l2")
    changed = Encoder(spec, encoder.info, encoder.network, device=encoder.device)
    try:
        changed.encode(np.zeros((2, *[spec.preprocess.size] * 2, 3), np.uint8))
    except (RuntimeError, AssertionError) as error:
        raise InvalidSetting(
            f"{spec.name} does not run on pictures of {spec.preprocess.size} x {spec.preprocess.size}: {error}"
        ) from error
    return changed


def _from_scratch(encoder: Encoder, seed: int) -> Encoder:
    """Return the same network with random weights, at the same size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(encoder.spec).float().eval().to(encoder.device)
    # A centre is that of the weights which are left behind.
    spec = replace(encoder.spec, centre=None)
    return Encoder(spec, encoder.info, network, device=encoder.device)


def _resized(spec: ModelSpec, size: int) -> ModelSpec:
    """Return the spec for pictures of another size."""
    old = spec.preprocess
    resize = old.resize and max(size, round(old.resize * size / old.size))
    return replace(spec, preprocess=replace(old, size=size, resize=resize))


def _teacher(recipe: Recipe, device: str) -> Encoder | None:
    """Return the model to learn from beside the groups, if one is named."""
    if recipe.teacher is None:
        return None
    spec = registry.get(recipe.teacher)
    if spec.dim is None:
        raise ModelError(f"{spec.name} has no embedding to learn from.")
    return Encoder.load(spec, device=device)


def _parts(pictures: PictureSet, recipe: Recipe, vectors: NDArray[np.float32]) -> list[Part]:
    """Return the part of each picture: split by group, then scanned for what was learned from elsewhere."""
    validates = split_groups(
        pictures.groups,
        share=recipe.validation_share,
        seed=recipe.seed,
        singles=recipe.unlabelled,
    )
    parts = parts_of(
        validates,
        pictures.sha256,
        vectors,
        threshold=recipe.near_duplicate,
        known=taught_before(recipe),
    )
    left = [pictures.groups[row] for row in _rows(parts, "validation")]
    names, counts = np.unique(np.array(left, dtype=object), return_counts=True)
    enough = names if recipe.unlabelled else names[counts >= 2]
    if len(enough) < LEAST_GROUPS:
        known = parts.count("known to the start model")
        copies = parts.count("exact copy") + parts.count("near-duplicate")
        raise TrainingRefused(
            f"Too little is left to validate on: {copies} validation pictures are copies or near-duplicates of "
            f"pictures that are trained on, {known} are known to the start model.",
            hint="Give the --seed of the start model's training, or begin with the model before it."
            if known > copies
            else "Give more groups, put copies into one group, or raise --near-duplicate.",
        )
    return parts


def _validation(pictures: PictureSet, parts: list[Part], recipe: Recipe) -> ValidationSet:
    rows = _rows(parts, "validation")
    if recipe.unlabelled:
        return edited_validation(pictures.pixels[rows], pictures.views[rows], seed=recipe.seed)
    return grouped_validation(pictures.pixels[rows], [pictures.groups[row] for row in rows])


def _learner(
    pictures: PictureSet,
    training: NDArray[np.int64],
    recipe: Recipe,
    encoder: Encoder,
    teacher: Encoder | None,
    advanced: Advanced,
) -> Learner:
    views = pictures.views[training]
    if recipe.head is None:
        return WholeLearner(
            encoder, views, teacher=teacher, frozen_statistics=not recipe.from_scratch
        )
    return HeadLearner(
        encoder,
        views,
        pictures.pixels[training],
        dim=recipe.head,
        seed=recipe.seed,
        teacher=teacher,
        advanced=advanced,
    )


def _identity(
    recipe: Recipe,
    pictures: PictureSet,
    parts: list[Part],
    encoder: Encoder,
    teacher: Encoder | None,
) -> str:
    """Return a hash of all that decides the result, so that no checkpoint goes on with something else."""
    settings = {
        # What classes change of the training stands in the parts.
        key: value
        for key, value in asdict(recipe).items()
        if key not in ("groups", "licence", "classes")
    }
    models = [encoder.info.fingerprint, teacher.info.fingerprint if teacher else None]
    rows = list(zip(pictures.paths, pictures.groups, pictures.sha256, parts, strict=True))
    return hashlib.sha256(
        repr((settings, models, rows)).encode("utf-8", "surrogateescape")
    ).hexdigest()


def _rows(parts: list[Part], part: Part) -> NDArray[np.int64]:
    return np.flatnonzero(np.array([each == part for each in parts]))


def _labels(groups: list[str]) -> NDArray[np.int64]:
    _, labels = np.unique(np.array(groups, dtype=object), return_inverse=True)
    return labels.astype(np.int64)


def _remove(checkpoint: Path) -> None:
    """Remove a finished training's checkpoint, and its folder if nothing else lies in it."""
    checkpoint.unlink(missing_ok=True)
    if checkpoint.parent.is_dir() and not any(checkpoint.parent.iterdir()):
        checkpoint.parent.rmdir()
