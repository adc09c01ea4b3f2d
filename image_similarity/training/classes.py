"""A softmax over the groups, on the finished embedding: which pictures teach it, which measure it, how it is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from image_similarity.encoding.card import MAX_SCENES
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.networks.classified import ClassifiedNet
from image_similarity.encoding.networks.headed import PREFIX
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import InvalidSetting
from image_similarity.training.learners import Advanced, encode
from image_similarity.training.near_duplicates import parts_of
from image_similarity.training.recipe import ClassFigures, Recipe
from image_similarity.training.split import Part
from image_similarity.training.tuned_model import taught_before

FAMILY = "classified"
# Of the squared weights, beside the mean cross-entropy. Tried on 3,600 photographs of 100 scenes, a fifth held aside:
# of 1e-2 to 1e-6 this had the highest top-1 and the lowest cross-entropy, with 256 numbers as with 32.
DECAY = 1e-4
TEMPERATURES = np.geomspace(0.1, 10, 201)
# Of fewer pictures than this none is held aside: the class needs them.
LEAST_PICTURES = 3


def check_names(groups: Sequence[str]) -> tuple[str, ...]:
    """Return the classes, in order: the names of the groups.

    Raises:
        InvalidSetting: a name cannot be that of a class in a card, or there are too many.
    """
    names = tuple(sorted(set(groups)))
    for name in names:
        if not name.isprintable() or len(name) > 100:
            raise InvalidSetting(
                f"a class cannot be called {name!r}", hint="give that folder a plain, short name"
            )
    if len(names) > MAX_SCENES:
        raise InvalidSetting(f"{len(names)} classes; there may be {MAX_SCENES}")
    return names


def hold_aside(groups: Sequence[str], parts: Sequence[Part], recipe: Recipe) -> NDArray[np.bool_]:
    """Return which pictures measure the classes, bool (N,): of each group the share that validates, drawn by the seed.

    Groups that validate the embedding are classes too, so they are divided like the others.
    """
    held = np.zeros(len(parts), np.bool_)
    used = [part in ("training", "validation") for part in parts]
    random = np.random.default_rng(recipe.seed)
    by_group = np.array(groups, dtype=object)
    for name in sorted(set(groups)):
        rows = np.flatnonzero((by_group == name) & used)
        if len(rows) >= LEAST_PICTURES:
            count = max(1, round(recipe.validation_share * len(rows)))
            held[random.permutation(rows)[: min(count, len(rows) - 2)]] = True
    return held


def divide(
    held: NDArray[np.bool_],
    parts: Sequence[Part],
    sha256: Sequence[str],
    vectors: NDArray[np.float32],
    recipe: Recipe,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that teach the classes and those that measure them, int64.

    Of those held aside the copies and near-duplicates of others, by the start model's `vectors`, and what the start
    model was trained on do neither.
    """
    used = np.array([part in ("training", "validation") for part in parts])
    scanned = parts_of(
        held, sha256, vectors, threshold=recipe.near_duplicate, known=taught_before(recipe)
    )
    measures = np.array([part == "validation" for part in scanned])
    return np.flatnonzero(used & ~held), np.flatnonzero(measures)


def add_classes(
    network: nn.Module,
    spec: ModelSpec,
    encoder: Encoder,
    pixels: NDArray[np.uint8],
    groups: Sequence[str],
    *,
    teach: NDArray[np.int64],
    measure: NDArray[np.int64],
    advanced: Advanced,
) -> tuple[ClassifiedNet, ModelSpec, ClassFigures]:
    """Return the network with classes, what its card says of it, and how good they are.

    Args:
        network: the finished one, as `Learner.result` gives it.
        spec: what its card says.
        encoder: the start model, for its device.
        pixels: uint8 (N, S, S, 3).
        groups: of each picture.
        teach: the rows to learn from.
        measure: the rows to measure with; they also choose the temperature, which changes no order.
        advanced: told of progress in pictures.
    """
    names = check_names(groups)
    labels = torch.tensor([names.index(group) for group in groups])
    plain = replace(spec, centre=None, scenes=())
    reader = Encoder(plain, encoder.info, network, device=encoder.device)
    rows = np.concatenate([teach, measure])
    units = torch.from_numpy(encode(reader, pixels[rows], advanced=advanced))
    width, taught = units.shape[1], len(teach)
    weight, bias = fit(units[:taught], labels[teach], len(names))
    logits, truth = units[taught:] @ weight.T + bias, labels[measure]
    temperature = best_temperature(logits, truth)
    classified = ClassifiedNet(network, width=width, classes=len(names)).to(encoder.device)
    with torch.no_grad():
        classified.classes.weight.copy_(weight / temperature)
        classified.classes.bias.copy_(bias / temperature)
    figures = ClassFigures(
        classes=len(names),
        taught=taught,
        measured=len(measure),
        top_1=_share(logits, truth, 1),
        top_5=_share(logits, truth, 5),
        temperature=temperature,
    )
    inner = {PREFIX + key: value for key, value in spec.config.items()}
    return (
        classified.eval(),
        replace(
            spec,
            architecture=f"{FAMILY}/{spec.architecture}",
            config={"width": width, "classes": len(names), **inner},
            scenes=names,
            scene_top_k=5,
            scene_mass=0.95,
        ),
        figures,
    )


def fit(
    units: torch.Tensor, labels: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (C, D) and bias (C,) of a multinomial logistic regression on unit vectors (N, D), by L-BFGS."""
    weight = torch.zeros(classes, units.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        wrong = functional.cross_entropy(units @ weight.T + bias, labels)
        wrong = wrong + DECAY * (weight**2).sum()
        wrong.backward()
        return wrong

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def best_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature by which logits (N, C) give the lowest cross-entropy; 1 if there are none.

    Guo et al., "On calibration of modern neural networks" (2017).
    """
    if len(labels) == 0:
        return 1.0
    losses = [float(functional.cross_entropy(logits / each, labels)) for each in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _share(logits: torch.Tensor, labels: torch.Tensor, k: int) -> float | None:
    if len(labels) == 0:
        return None
    top = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return float((top == labels[:, None]).any(dim=1).double().mean())
