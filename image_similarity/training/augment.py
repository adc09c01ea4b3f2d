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
    disguised_min_area: float = 0.15
    disguise_chance: float = 0.4


def augment(
    pictures: Tensor,
    size: int,
    generator: torch.Generator,
    how: Augmentation,
    *,
    disguised: Tensor | None = None,
) -> Tensor:
    """Return edited float32 pictures (N, 3, size, size) in [0, 1] of uint8 (N, S, S, 3).

    Cropped, mirrored and slightly turned, recoloured, some greyed, softened, covered by a box or
    turned by 90 or 270 degrees. The rows that `disguised`, bool (N,), names are cropped more tightly
    and then edited as people disguise copies: put on another background, captioned, compressed.
    Only `generator`, which lives on the CPU, decides, so equal seeds give equal batches.
    """
    if disguised is None:
        disguised = torch.zeros(len(pictures), dtype=torch.bool)
    images = pictures.permute(0, 3, 1, 2).float() / 255
    min_area = torch.where(disguised, how.disguised_min_area, how.min_area)
    images = crop(images, size, generator, how, min_area=min_area)
    images = recolour(images, generator, how)
    images = soften(images, generator, how)
    images = cover(images, generator, how)
    images = turn(images, generator, how)
    return disguise(images, disguised, generator, how)


def crop(
    images: Tensor, size: int, generator: torch.Generator, how: Augmentation, *, min_area: Tensor
) -> Tensor:
    """Return a crop of each picture, of `min_area` (N,) or more, resampled to (N, C, size, size)."""
    count = len(images)
    area = min_area + (1 - min_area) * torch.rand(count, generator=generator)
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
    # The grid is made where the pictures lie: it is as large as they are.
    grid = F.affine_grid(turn.to(images.device), [count, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


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


def disguise(
    images: Tensor, disguised: Tensor, generator: torch.Generator, how: Augmentation
) -> Tensor:
    """Return the pictures; each of those named is reframed, captioned and compressed by chance."""
    for edit in (reframe, caption, compress):
        chosen = _chosen(len(images), how.disguise_chance, generator).bool() & disguised
        rows = torch.nonzero(chosen).flatten().to(images.device)
        if len(rows):
            images = images.index_copy(0, rows, edit(images, rows, generator))
    return images


def reframe(images: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return `rows` made smaller, in perspective, before a plain colour or another picture.

    So come screenshots, collages and pictures of pictures.
    """
    count, size = len(rows), images.shape[-1]
    shrink = _uniform(count, 1.1, 1.9, generator)
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    # Where the corners of the output lie in the input: beyond its edges, each at another distance.
    spread = _uniform(count * 8, -0.25, 0.25, generator).view(count, 4, 2)
    shift = _uniform(count * 2, -1.0, 1.0, generator).view(count, 1, 2) * (shrink - 1).view(
        -1, 1, 1
    )
    wanted = corners * shrink.view(-1, 1, 1) + spread + shift
    grid = perspective_grid(wanted, size).to(images)
    inside = (grid.abs() <= 1).all(dim=3).unsqueeze(1)
    smaller = F.grid_sample(images[rows], grid, padding_mode="border", align_corners=False)
    colour = torch.rand(count, 3, 1, 1, generator=generator).to(images)
    plain = _chosen(count, 0.5, generator).bool().view(-1, 1, 1, 1).to(images.device)
    other = images[(rows + len(images) // 2) % len(images)]
    return torch.where(inside, smaller, torch.where(plain, colour, other))


def perspective_grid(wanted: Tensor, size: int) -> Tensor:
    """Return the sampling grid (N, size, size, 2) that sends a square's corners to `wanted` (N, 4, 2)."""
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    x, y = corners[:, 0].expand(len(wanted), 4), corners[:, 1].expand(len(wanted), 4)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    u, v = wanted[..., 0], wanted[..., 1]
    across = torch.stack([x, y, one, zero, zero, zero, -x * u, -y * u], dim=2)
    down = torch.stack([zero, zero, zero, x, y, one, -x * v, -y * v], dim=2)
    eight = torch.linalg.solve(torch.cat([across, down], dim=1), torch.cat([u, v], dim=1))
    matrix = torch.cat([eight, torch.ones(len(wanted), 1)], dim=1).view(-1, 3, 3)
    middle = (torch.arange(size) * 2 + 1) / size - 1
    place = torch.stack(
        [middle.expand(size, size), middle[:, None].expand(size, size), torch.ones(size, size)],
        dim=2,
    )
    mapped = place.view(1, -1, 3) @ matrix.transpose(1, 2)
    return (mapped[..., :2] / mapped[..., 2:]).view(-1, size, size, 2)


def caption(images: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return `rows` with a bar across that carries strokes like those of letters."""
    count, size = len(rows), images.shape[-1]
    height = _uniform(count, 0.08, 0.3, generator) * size
    top = torch.rand(count, generator=generator) * (size - height)
    lines = torch.arange(size)
    bar = (lines >= top[:, None]) & (lines < (top + height)[:, None])
    middle = (lines >= (top + height * 0.25)[:, None]) & (lines < (top + height * 0.75)[:, None])
    strokes = torch.rand(count, 1, size, size, generator=generator) < 0.5
    strokes = strokes & middle[:, None, :, None]
    paper, ink = torch.rand(2, count, 3, 1, 1, generator=generator).to(images)
    covered = torch.where(strokes.to(images.device), ink, paper)
    return torch.where(bar[:, None, :, None].to(images.device), covered, images[rows])


def compress(images: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return `rows` as a JPEG of low quality leaves them: 8 x 8 cosine coefficients, rounded coarsely."""
    count, channels, size = len(rows), images.shape[1], images.shape[-1]
    step = _uniform(count, 0.05, 0.35, generator).view(-1, 1, 1, 1, 1, 1).to(images)
    place = torch.arange(8.0)
    basis = torch.cos(math.pi * (2 * place[None, :] + 1) * place[:, None] / 16) / 2
    basis[0] /= math.sqrt(2)
    basis = basis.to(images)
    cells = size // 8
    blocks = images[rows].reshape(count, channels, cells, 8, cells, 8).permute(0, 1, 2, 4, 3, 5)
    spectrum = basis @ blocks @ basis.T
    # JPEG's tables grow about so with frequency (ITU-T T.81, table K.1).
    coarse = step * (1 + (place[:, None] + place[None, :]) / 2).to(images)
    restored = basis.T @ ((spectrum / coarse).round() * coarse) @ basis
    return restored.permute(0, 1, 2, 4, 3, 5).reshape(count, channels, size, size).clamp(0, 1)


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
