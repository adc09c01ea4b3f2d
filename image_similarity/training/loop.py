"""The training loop: one step at a time, resumable so that a restart changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.training import losses
from image_similarity.training.augment import augment, normalise
from image_similarity.training.batches import epoch_batches
from image_similarity.training.mining import mine_triplets, squared_distances
from image_similarity.training.plan import Plan, epochs_of, rate_at, stage_at


class Teacher(Protocol):
    """Networks that look at the views that are trained on, and say what they see.

    Attributes:
        width: length T of their joint feature.
    """

    width: int

    def __call__(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit vectors (N, T) and scene probabilities (N, C) of views (N, 3, S, S) in [0, 1]."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Pictures to learn from; row i of every table belongs to the same picture.

    Attributes:
        pictures: uint8 (N, S, S, 3), on any device.
        labels: scene numbers, int64 (N,), kept on the CPU.
        rows: the row numbers that may be trained on.
        features: unit vectors of the teacher (N, T), or None to train without.
        soft_labels: scene probabilities of the teacher (N, C), or None.
        teacher: takes the place of both tables: it is asked about each view as it is trained on.
    """

    pictures: Tensor
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    features: Tensor | None = None
    soft_labels: Tensor | None = None
    teacher: Teacher | None = None

    @property
    def teacher_width(self) -> int:
        """Length of the teacher's feature; 0 without a teacher."""
        if self.teacher is not None:
            return self.teacher.width
        return 0 if self.features is None else self.features.shape[1]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did: its number, of how many, its epoch and the loss by name."""

    step: int
    steps: int
    epoch: int
    size: int
    parts: dict[str, Tensor]

    @property
    def losses(self) -> dict[str, float]:
        """The losses as numbers. Fetching them makes the host wait for its device, so not every step should."""
        return {name: float(value) for name, value in self.parts.items()}


class Trainer:
    """Trains a network by a plan. Everything random is drawn from the seed and the step number.

    So a checkpoint needs no state of random generators, and a resumed training equals an
    undisturbed one bit for bit on the same machine.
    """

    def __init__(
        self,
        network: MultiscaleNet,
        training_set: TrainingSet,
        plan: Plan,
        *,
        device: str = "cpu",
        amp: bool = True,
    ) -> None:
        self.plan = plan
        self.device = torch.device(device)
        self.amp = amp
        self.data = training_set
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        targets = training_set.teacher_width
        torch.manual_seed(plan.seed)
        # Maps our features to the teacher's; of use while training only.
        self.projector = nn.Linear(network.width, targets).to(self.device) if targets else None
        # One direction in the embedding for each scene; likewise.
        scenes, dim = int(network.config["scenes"]), int(network.config["dim"])
        self.proxies = nn.Parameter(torch.randn(scenes, dim).to(self.device))
        self.optimizer = torch.optim.AdamW(
            self._parameter_groups(), lr=plan.learning_rate, fused=True
        )
        self.step_number = 0
        self._epoch = -1
        self._batches: list[NDArray[np.int64]] = []
        self.steps_per_epoch = len(self._batches_of(0))
        self.steps = self.steps_per_epoch * epochs_of(plan)

    def run(
        self,
        *,
        until: int | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train up to step `until`, or to the plan's end, calling `on_step` after each.

        `stop` is asked before each step; once it says True the training ends there.
        """
        last = self.steps if until is None else min(until, self.steps)
        while self.step_number < last and not stop():
            report = self._step()
            if on_step is not None:
                on_step(report)

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on, as tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "projector": None if self.projector is None else self.projector.state_dict(),
            "proxies": self.proxies.detach(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_number,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a state given by `state()` of a trainer of the same plan and data."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        if self.projector is not None:
            self.projector.load_state_dict(state["projector"])
        with torch.no_grad():
            self.proxies.copy_(state["proxies"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_number = state["step"]

    def _step(self) -> StepReport:
        epoch, place = divmod(self.step_number, self.steps_per_epoch)
        size = stage_at(self.plan, epoch).size
        rows = torch.from_numpy(self._batches_of(epoch)[place])
        # One generator for each step, seeded with its number, is what makes resuming exact.
        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + self.step_number)
        pictures = self.data.pictures[rows.to(self.data.pictures.device)].to(self.device)
        # The views at the end of a batch are second ones: they learn to be found in disguise.
        disguised = torch.arange(len(rows)) >= len(rows) - self.plan.second_views
        views = augment(pictures, size, generator, self.plan.augmentation, disguised=disguised)
        lesson = self._lesson(views, rows)
        images = normalise(views, self.plan.mean, self.plan.std)
        images = images.contiguous(memory_format=torch.channels_last)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.plan, self.step_number, self.steps)
        self.network.train()
        parts = self._losses(images, rows, *lesson)
        total = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip_norm)
        self.optimizer.step()
        self.step_number += 1
        self._update_average()
        values = {name: value.detach() for name, value in parts.items()}
        return StepReport(self.step_number, self.steps, epoch, size, values)

    def _lesson(self, views: Tensor, rows: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return what the teacher says of a batch: features (N, T) and scene probabilities (N, C)."""
        if self.data.teacher is not None:
            return self.data.teacher(views)
        tables = (self.data.features, self.data.soft_labels)
        features, soft_labels = (
            None if table is None else _rows_of(table, rows, self.device) for table in tables
        )
        return features, soft_labels

    def _losses(
        self, images: Tensor, rows: Tensor, targets: Tensor | None, soft_labels: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the weighted losses of a batch by name."""
        plan = self.plan
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp):
            features = self.network.describe(images)
            embedding = self.network.embed(images, features)
            logits = self.network.scene_head(features).float()
            projected = None if self.projector is None else self.projector(features).float()
        labels = torch.from_numpy(self.data.labels)[rows].to(self.device)
        parts = {
            "scene": plan.scene_weight * losses.scene_loss(logits, labels, smoothing=plan.smoothing)
        }
        if soft_labels is not None:
            parts["soft labels"] = plan.soft_label_weight * losses.soft_label_loss(
                logits, soft_labels
            )
        if targets is not None and projected is not None:
            parts["feature"] = plan.feature_weight * losses.feature_loss(projected, targets)
        parts |= self._ranking_losses(embedding, labels, rows.to(self.device), targets)
        return parts

    def _ranking_losses(
        self, embedding: Tensor, labels: Tensor, pictures: Tensor, targets: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the losses of the embedding, the mean over its nested prefixes."""
        plan = self.plan
        whole = embedding.shape[1]
        prefixes = [length for length in plan.prefixes if length < whole] + [whole]
        triplet, relation, proxy, copies = [], [], [], []
        for length in prefixes:
            vectors = nn.functional.normalize(embedding[:, :length], dim=1)
            distances = squared_distances(vectors)
            triplets = mine_triplets(distances.detach(), labels, pictures)
            triplet.append(losses.triplet_loss(distances, triplets, margin=plan.margin))
            proxy.append(
                losses.proxy_loss(
                    vectors,
                    self.proxies[:, :length],
                    labels,
                    scale=plan.proxy_scale,
                    smoothing=plan.smoothing,
                )
            )
            copies.append(losses.copy_loss(vectors, pictures, temperature=plan.copy_temperature))
            if targets is not None:
                relation.append(
                    losses.relation_loss(
                        vectors,
                        targets,
                        temperature=plan.temperature,
                        target_temperature=plan.teacher_temperature,
                    )
                )
        parts = {
            "triplet": plan.triplet_weight * torch.stack(triplet).mean(),
            "proxy": plan.proxy_weight * torch.stack(proxy).mean(),
            "copies": plan.copy_weight * torch.stack(copies).mean(),
        }
        if relation:
            parts["relation"] = plan.relation_weight * torch.stack(relation).mean()
        return parts

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the averaged weights, which are the ones to keep, towards the current ones."""
        # Early on the average would be dominated by the random start, so it follows faster.
        decay = min(self.plan.ema_decay, (1 + self.step_number) / (10 + self.step_number))
        pairs = list(
            zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        )
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        # All of them in a few kernels: one for each tensor keeps a graphics card waiting.
        torch._foreach_lerp_([kept for kept, _ in moving], [now for _, now in moving], 1 - decay)
        for kept, current in pairs:
            if not kept.is_floating_point():
                kept.copy_(current)

    def _batches_of(self, epoch: int) -> list[NDArray[np.int64]]:
        if epoch != self._epoch:
            plan = self.plan
            self._batches = epoch_batches(
                self.data.labels,
                self.data.rows,
                scenes_per_batch=plan.scenes_per_batch,
                pictures_per_scene=plan.pictures_per_scene,
                second_views=plan.second_views,
                seed=plan.seed * 1_000_003 + epoch,
            )
            self._epoch = epoch
        return self._batches

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameters in two groups: biases and normalisation must not decay."""
        named = list(self.network.named_parameters())
        named += [] if self.projector is None else list(self.projector.named_parameters())
        return [
            {
                "params": [weight for _, weight in named if weight.ndim > 1],
                "weight_decay": self.plan.weight_decay,
            },
            {"params": [weight for _, weight in named if weight.ndim <= 1], "weight_decay": 0.0},
            {"params": [self.proxies], "weight_decay": 0.0},
        ]


def _rows_of(table: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    return table[rows.to(table.device)].to(device).float()
