"""Random edits of whole batches of pictures, with torch operations on any device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How strongly pictures are edited; every `chance` is the share of pictures edited."""

    min_area: float = 0.3
    max_aspect: float = 4 / 3
    rotation_chance: float = 0.15
    max_degrees: float = 12.0
    flip_chance: float = 0.5
    jitter: float = 0.4
    grey_chance: float = 0.05
    blur_chance: float = 0.15
    box_chance: float = 0.2
    quarter_turn_chance: float = 0.1


def augment(pictures: Tensor, size: int, generator: torch.Generator, how: Augmentation) -> Tensor:
    """Return edited float32 pictures (N, 3, size, size) in [0, 1] of uint8 (N, S, S, 3).

    Cropped, mirrored and slightly turned, recoloured, some greyed, softened, covered by a box or
    turned by 90 or 270 degrees. Only `generator`, which lives on the CPU, decides, so equal seeds give equal batches.
    """
    images = pictures.permute(0, 3, 1, 2).float() / 255
    images = crop(images, size, generator, how)
    images = recolour(images, generator, how)
    images = soften(images, generator, how)
    images = cover(images, generator, how)
    return turn(images, generator, how)


def crop(images: Tensor, size: int, generator: torch.Generator, how: Augmentation) -> Tensor:
    """Return a random crop of each picture, resampled to (N, C, size, size)."""
    count = len(images)
    area = _uniform(count, how.min_area, 1.0, generator)
    aspect = torch.exp(_uniform(count, -1.0, 1.0, generator) * math.log(how.max_aspect) / 2)
    wide = (area.sqrt() * aspect).clamp(max=1)
    high = (area.sqrt() / aspect).clamp(max=1)
    left = _uniform(count, -1.0, 1.0, generator) * (1 - wide)
    top = _uniform(count, -1.0, 1.0, generator) * (1 - high)
    angle = math.radians(how.max_degrees) * _uniform(count, -1.0, 1.0, generator)
    angle = angle * _chosen(count, how.rotation_chance, generator)
    mirror = 1 - 2 * _chosen(count, how.flip_chance, generator)
    turn = torch.stack(
        [
            torch.stack([wide * mirror * angle.cos(), -high * angle.sin(), left], dim=1),
            torch.stack([wide * mirror * angle.sin(), high * angle.cos(), top], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(turn, [count, 3, size, size], align_corners=False)
    return F.grid_sample(
        images, grid.to(images.device), padding_mode="reflection", align_corners=False
    )


def turn(images: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    """Return the square pictures, some of them lying on their left or right side."""
    chosen = _chosen(len(images), how.quarter_turn_chance, generator)
    side = torch.randint(2, (len(images),), generator=generator)
    for rotations in (1, 3):
        rows = torch.nonzero((chosen > 0) & (side == rotations // 2)).flatten().to(images.device)
        images[rows] = torch.rot90(images[rows], rotations, dims=(2, 3))
    return images


def recolour(images: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    """Return the pictures with other brightness, contrast and saturation, some of them grey."""
    count = len(images)
    brightness, contrast, saturation = (
        _uniform(count, 1 - how.jitter, 1 + how.jitter, generator).view(-1, 1, 1, 1).to(images)
        for _ in range(3)
    )
    grey_chosen = _chosen(count, how.grey_chance, generator).view(-1, 1, 1, 1).to(images)
    images = images * brightness
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1).to(images)
    luma = (images * weights).sum(dim=1, keepdim=True)
    mean = luma.mean(dim=(2, 3), keepdim=True)
    saturation = saturation * (1 - grey_chosen)
    images = luma + (images - luma) * saturation
    return (mean + (images - mean) * contrast).clamp(0, 1)


def soften(images: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    """Return the pictures, some of them shrunk by 1.3 to 3 and enlarged again."""
    rows = torch.nonzero(_chosen(len(images), how.blur_chance, generator)).flatten()
    if len(rows) == 0:
        return images
    size = images.shape[-1]
    # One factor for all the chosen ones: sizes within a batched resampling are equal.
    factor = float(_uniform(1, 1.3, 3.0, generator))
    small = F.interpolate(images[rows], size=round(size / factor), mode="bilinear", antialias=True)
    soft = F.interpolate(small, size=size, mode="bilinear")
    return images.index_copy(0, rows.to(images.device), soft)


def cover(images: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    """Return the pictures, some with a box of one colour over a twelfth of them or less."""
    count, size = len(images), images.shape[-1]
    chosen = _chosen(count, how.box_chance, generator).bool()
    width = (_uniform(count, 0.15, 0.5, generator) * size).round()
    height = (_uniform(count, 0.15, 0.3, generator) * size).round()
    left = (_uniform(count, 0.0, 1.0, generator) * (size - width)).round()
    top = (_uniform(count, 0.0, 1.0, generator) * (size - height)).round()
    colour = torch.rand(count, 3, 1, 1, generator=generator)
    across = torch.arange(size)
    columns = (across >= left[:, None]) & (across < (left + width)[:, None])
    lines = (across >= top[:, None]) & (across < (top + height)[:, None])
    box = (lines[:, :, None] & columns[:, None, :] & chosen[:, None, None]).unsqueeze(1)
    return torch.where(box.to(images.device), colour.to(images), images)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return pictures in [0, 1] as the network takes them: (value - mean) / std per channel."""
    middle = torch.tensor(mean).view(1, 3, 1, 1).to(images)
    spread = torch.tensor(std).view(1, 3, 1, 1).to(images)
    return (images - middle) / spread


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _chosen(count: int, chance: float, generator: torch.Generator) -> Tensor:
    """Return 1.0 for the chosen and 0.0 for the others, (N,)."""
    return (torch.rand(count, generator=generator) < chance).float()
