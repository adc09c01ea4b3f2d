"""Fitting a trained network to the size at which it is used, without touching its kernels.

Touvron et al., "Fixing the train-test resolution discrepancy" (2019): at another picture size the
statistics inside the network differ, and adapting normalisation and classifier makes up for most
of it, at a fraction of the cost of training at that size.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.training.augment import normalise
from image_similarity.training.plan import Plan

_BATCH = 128


def resized_batch(pictures: Tensor, rows: Tensor, size: int, plan: Plan) -> Tensor:
    """Return the pictures of some rows as the network takes them at `size`, not augmented.

    They are made on the device where `pictures`, uint8 (N, S, S, 3), lie.
    """
    images = pictures[rows.to(pictures.device)].permute(0, 3, 1, 2).float() / 255
    if images.shape[-1] != size:
        images = nn.functional.interpolate(images, size=size, mode="bicubic", antialias=True).clamp(
            0, 1
        )
    return normalise(images, plan.mean, plan.std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def adapt_normalisation(
    network: MultiscaleNet,
    pictures: Tensor,
    rows: NDArray[np.int64],
    *,
    size: int,
    plan: Plan,
    batches: int = 40,
) -> None:
    """Replace the statistics of all normalisation layers by those of plain pictures at `size`.

    They become plain means over `batches` batches of 128 pictures drawn from `rows`. The network must
    be on the device where the pictures lie; likewise in the functions below.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # None means: the mean of all batches, weighted alike
    network.train()
    for chosen in _drawn(rows, batches, plan):
        if len(chosen) > 1:
            with torch.autocast(pictures.device.type, dtype=torch.bfloat16):
                network.describe(resized_batch(pictures, chosen, size, plan))
    network.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


@torch.no_grad()
def centre_embedding(
    network: MultiscaleNet,
    pictures: Tensor,
    rows: NDArray[np.int64],
    *,
    size: int,
    plan: Plan,
    batches: int = 40,
) -> None:
    """Shift the embedding so that its mean over plain pictures at `size`, before normalisation, is zero.

    The mean of `batches` batches of 128 pictures drawn from `rows` is taken off the bias of the
    embedding layer, so nothing is added to the network. What all pictures have in common tells none
    from another, but makes all cosines large.
    """
    found: list[Tensor] = []
    hook = network.embedding.register_forward_hook(lambda _, __, output: found.append(output))
    network.eval()
    # In float32, as the finished model runs: bfloat16 would leave a remainder of its own.
    for chosen in _drawn(rows, batches, plan):
        network(resized_batch(pictures, chosen, size, plan))
    hook.remove()
    network.embedding.bias.sub_(torch.cat(found).double().mean(dim=0).float())


def _drawn(rows: NDArray[np.int64], batches: int, plan: Plan) -> tuple[Tensor, ...]:
    """Return at most `batches` batches of 128 rows, drawn with the plan's seed."""
    drawn = np.random.default_rng(plan.seed).permutation(rows)[: batches * _BATCH]
    parts: tuple[Tensor, ...] = torch.from_numpy(drawn).split(_BATCH)
    return parts


@torch.no_grad()
def trunk_features(
    network: MultiscaleNet, pictures: Tensor, rows: NDArray[np.int64], *, size: int, plan: Plan
) -> Tensor:
    """Return the pooled trunk features (len(rows), width) of plain pictures at `size`."""
    network.eval()
    parts = []
    for chosen in torch.from_numpy(rows).split(_BATCH):
        with torch.autocast(pictures.device.type, dtype=torch.bfloat16):
            parts.append(network.describe(resized_batch(pictures, chosen, size, plan)))
    return torch.cat(parts)


def refit_scene_head(
    network: MultiscaleNet,
    features: Tensor,
    labels: Tensor,
    *,
    epochs: int = 8,
    rate: float = 1e-3,
    weight_decay: float = 0.05,
    seed: int = 1,
) -> None:
    """Go on teaching the scene head alone, on trunk features (N, width) of plain pictures."""
    head = network.scene_head
    # The features differ widely in scale. Training on standardised ones and folding that back
    # into the weights converges in a few rounds.
    middle, spread = features.mean(dim=0), features.std(dim=0) + 1e-4
    weight = (head.weight.detach() * spread).requires_grad_()
    bias = (head.bias.detach() + head.weight.detach() @ middle).requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, epochs * (len(features) // _BATCH + 1)
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(features), generator=generator).to(features.device)
        for chosen in order.split(_BATCH):
            logits = ((features[chosen] - middle) / spread) @ weight.T + bias
            loss = nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - (weight / spread) @ middle)
