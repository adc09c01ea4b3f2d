"""The training of own models, one step at a time: validated, the best epoch kept, and resumed exactly."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from image_similarity.errors import TrainingRefused, WeightsRefused
from image_similarity.training.checkpoint import read_content
from image_similarity.training.learners import Learner
from image_similarity.training.objectives import relation_to
from image_similarity.training.recipe import Advance, Epoch, Figures, Listener, Recipe
from image_similarity.whole_file import writing

_KIND = "image-similarity own training"
_FORMAT = 1

_WARM_UP = 0.05  # share of the training in which the rate rises
_FINAL = 0.01  # share of the rate at the end
_CLIP_NORM = 2.0
_WEIGHT_DECAY = 0.01
# The directions that some losses learn begin at random, on weights that know something already
# (Kim et al., "Proxy Anchor Loss", 2020, use 100 times the rate for them).
_OBJECTIVE_RATE = 10.0


class Tuner:
    """Trains a learner by a recipe; everything random is drawn from the seed and the step.

    So a checkpoint needs no state of random generators, and a resumed training equals an undisturbed
    one bit for bit on the same machine with the same number of threads.

    Args:
        learner: what is taught.
        objective: takes unit vectors and labels, gives a scalar.
        labels: group of every picture of the training part, int64 (N,).
        figures: measures the learner as it is on the validation part.
        start: figures of the start model, which an epoch must beat.
    """

    def __init__(
        self,
        learner: Learner,
        objective: nn.Module,
        labels: NDArray[np.int64],
        recipe: Recipe,
        *,
        device: str,
        start: Figures,
        figures: Callable[[], Figures],
    ) -> None:
        self.learner = learner
        self.recipe = recipe
        self.device = torch.device(device)
        self.objective = objective.to(self.device)
        self.labels = torch.from_numpy(labels)
        self.figures = figures
        self.start = start
        self._learned = [each for each in learner.module.parameters() if each.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [each for each in self._learned if each.ndim > 1], "factor": 1.0},
            {
                "params": [each for each in self._learned if each.ndim <= 1],
                "factor": 1.0,
                "weight_decay": 0.0,
            },
            {
                "params": list(objective.parameters()),
                "factor": _OBJECTIVE_RATE,
                "weight_decay": 0.0,
            },
        ]
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=recipe.rate,
            weight_decay=_WEIGHT_DECAY,
        )
        self.epoch = 0
        self.place = 0
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] | None = None
        self.best_epoch = 0
        self._epoch_losses: list[float] = []
        self._drawn: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def run(
        self, *, on_event: Listener, stop: Callable[[], bool], save: Callable[[], None]
    ) -> bool:
        """Train to the end, or until `stop`; return whether the end was reached. Both times the state is saved."""
        while self.epoch < self.recipe.epochs:
            batches = self.batches_of(self.epoch)
            while self.place < len(batches):
                if stop():
                    save()
                    return False
                loss = self._step(batches[self.place])
                self._epoch_losses.append(loss)
                self.place += 1
                on_event(Advance("training", *self._progress(batches), loss))
            self._finish_epoch(on_event)
            save()
        return True

    def restore_best(self, *, anyway: bool = False) -> bool:
        """Give the learner the weights of the best epoch; return false if none beat the start model.

        With `anyway` the best of the trained epochs is taken even so.
        """
        if self.best is None or not (anyway or self.beaten):
            return False
        self.learner.module.load_state_dict(self.best)
        return True

    @property
    def beaten(self) -> bool:
        """Whether an epoch so far has better figures than the start model."""
        return (
            self.best_epoch > 0 and self.history[self.best_epoch - 1].figures.rank > self.start.rank
        )

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on, as tensors and plain values."""
        return {
            "module": self.learner.module.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "place": self.place,
            "losses": list(self._epoch_losses),
            "history": [
                [each.number, each.loss, each.figures.recall_at_1, each.figures.map_at_r]
                for each in self.history
            ],
            "best": self.best,
            "best_epoch": self.best_epoch,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a state given by `state()` of a tuner of the same recipe and data."""
        self.learner.module.load_state_dict(state["module"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [
            Epoch(number, loss, Figures(recall, average))
            for number, loss, recall, average in state["history"]
        ]
        self.epoch, self.place = state["epoch"], state["place"]
        self._epoch_losses = list(state["losses"])
        self.best, self.best_epoch = state["best"], state["best_epoch"]

    def batches_of(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the batches of an epoch, as rows of the training part."""
        if self._drawn[0] != epoch:
            batches = group_batches(
                self.labels.numpy(),
                batch_size=self.recipe.batch_size,
                per_group=self.recipe.pictures_per_group,
                seed=_seed(self.recipe.seed, "epoch", epoch),
            )
            self._drawn = (epoch, batches)
        return self._drawn[1]

    def _step(self, rows: NDArray[np.int64]) -> float:
        """Learn from one batch and return its loss."""
        seed = _seed(self.recipe.seed, "step", self.epoch, self.place)
        chosen = torch.from_numpy(rows)
        batch = self.learner.batch(chosen, torch.Generator().manual_seed(seed))
        self._set_rate()
        # Some networks drop features at random, by torch's own generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
                vectors = self.learner.embed(batch.inputs)
        loss = self.objective(vectors, self.labels[chosen].to(self.device))
        if batch.taught is not None:
            loss = loss + self.recipe.teacher_weight * relation_to(vectors, batch.taught)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingRefused(
                f"The loss is no number any more, in epoch {self.epoch + 1}.",
                hint="Take a lower --learning-rate, and another --work folder or none.",
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._learned, _CLIP_NORM)
        self.optimizer.step()
        return value

    def _set_rate(self) -> None:
        """Set the rate of this step: linear up, then half a cosine down."""
        done = (self.epoch + self.place / len(self.batches_of(self.epoch))) / self.recipe.epochs
        if done < _WARM_UP:
            share = max(_FINAL, done / _WARM_UP)
        else:
            way = (done - _WARM_UP) / (1 - _WARM_UP)
            share = _FINAL + (1 - _FINAL) * (1 + math.cos(math.pi * way)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * share * group["factor"]

    def _progress(self, batches: list[NDArray[np.int64]]) -> tuple[int, int]:
        """Return the pictures done and in all, as if every epoch had as many as this one."""
        each = sum(map(len, batches))
        done = self.epoch * each + sum(map(len, batches[: self.place]))
        return done, self.recipe.epochs * each

    def _finish_epoch(self, on_event: Listener) -> None:
        """Validate, keep the weights if they are the best so far, and go on to the next epoch."""
        loss = sum(self._epoch_losses) / len(self._epoch_losses)
        report = Epoch(self.epoch + 1, loss, self.figures())
        self.history.append(report)
        best = self.history[self.best_epoch - 1].figures.rank if self.best_epoch else (-1.0,)
        if report.figures.rank > best:
            self.best = copy.deepcopy(self.learner.module.state_dict())
            self.best_epoch = report.number
        self.epoch, self.place, self._epoch_losses = self.epoch + 1, 0, []
        on_event(report)


def group_batches(
    labels: NDArray[np.int64], *, batch_size: int, per_group: int, seed: int
) -> list[NDArray[np.int64]]:
    """Return the batches of one epoch as row numbers: several pictures of each group that is in a batch.

    Every row comes at least once. A picture left alone gets another one of its group beside it, and one that is alone
    in its group comes twice: as the augmentation differs, that is a positive for it. Every batch holds two groups, and
    no more pictures than `batch_size`: beside a group that is larger than all others together, theirs come again.
    """
    generator = np.random.default_rng(seed)
    chunks: list[tuple[float, NDArray[np.int64]]] = []
    for label in np.unique(labels):
        mine = generator.permutation(np.flatnonzero(labels == label))
        pieces = [mine[start : start + per_group] for start in range(0, len(mine), per_group)]
        if len(pieces[-1]) == 1:
            pieces[-1] = np.concatenate([pieces[-1], mine[:1]])
        # Spread evenly, so that the pieces of a large group do not meet in one batch.
        places = (np.arange(len(pieces)) + generator.random(len(pieces))) / len(pieces)
        chunks += [(float(place), piece) for place, piece in zip(places, pieces, strict=True)]
    chunks.sort(key=lambda chunk: chunk[0])
    batches: list[list[NDArray[np.int64]]] = []
    for _, chunk in chunks:
        if batches and _fits(chunk, batches[-1], labels, batch_size, per_group):
            batches[-1].append(chunk)
        else:
            batches.append([chunk])
    owners = labels[[chunk[0] for _, chunk in chunks]]
    for batch in batches:
        if len(_groups_of(batch, labels)) < 2:
            others = np.flatnonzero(owners != labels[batch[0][0]])
            batch.append(chunks[generator.choice(others)][1])
    return [np.concatenate(batch) for batch in batches]


def _fits(
    chunk: NDArray[np.int64],
    batch: list[NDArray[np.int64]],
    labels: NDArray[np.int64],
    batch_size: int,
    per_group: int,
) -> bool:
    """Return whether a batch can take a piece, and one of a second group after it if it has none yet."""
    alone = len(_groups_of([*batch, chunk], labels)) < 2
    return sum(map(len, [*batch, chunk])) <= batch_size - (per_group if alone else 0)


def save_checkpoint(path: Path, tuner: Tuner, identity: str) -> None:
    """Write the state of a training, replacing an older checkpoint in one move.

    Raises:
        OSError: it cannot be written; the older one is as it was.
    """
    content = {
        "kind": _KIND,
        "format": _FORMAT,
        "identity": identity,
        "finished": tuner.epoch >= tuner.recipe.epochs,
        "state": tuner.state(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as file:
        torch.save(content, file)


def load_checkpoint(path: Path, tuner: Tuner, identity: str) -> bool:
    """Let a training go on from a checkpoint of the same recipe, pictures and start model.

    Returns false, and changes nothing, for one of another training that came to its end without a better model: it was
    kept in case that model is wanted all the same, and its work is done.

    Raises:
        WeightsRefused: the file is damaged, no checkpoint of ours, or of another training.
    """
    content = read_content(path)
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise WeightsRefused(f"{path} is no checkpoint of such a training; it was not touched")
    if content.get("format") != _FORMAT:
        raise WeightsRefused(f"{path} was written by another version of this program")
    if content.get("identity") != identity:
        if content.get("finished") is True:
            return False
        raise WeightsRefused(
            f"{path} belongs to a training with other settings, pictures or another start model",
            hint="Give the settings of the first start, or another --work folder to begin anew.",
        )
    try:
        tuner.load_state(content["state"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsRefused(
            f"{path} does not fit this training: {error}",
            hint="Delete it, or name another --work folder, to begin anew.",
        ) from error
    return True


def _groups_of(batch: list[NDArray[np.int64]], labels: NDArray[np.int64]) -> set[int]:
    return {int(labels[chunk[0]]) for chunk in batch}


def _seed(*parts: object) -> int:
    """Return a seed that differs wherever the parts do."""
    digest = hashlib.sha256(repr(parts).encode("ascii")).digest()
    return int.from_bytes(digest[:7], "big")
