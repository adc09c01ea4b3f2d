"""Draws rooms that never were: boxes with textures, seen from any place inside; for scripts/evaluate_geometry.py.

Rooms come in houses: those of one house share wallpaper, floor and furniture and differ in size, in what stands where
and in what hangs on the walls, as the rooms of a hotel do. All follows from seeds.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIZE = (640, 480)
# Twice in each direction, then averaged: without it far textures would glitter.
_OVER = 2
_FIELD = np.radians(65.0)
# Pixels of a texture for a metre.
_DENSITY = 160


@dataclass(frozen=True)
class Face:
    """A rectangle in space: a corner, two sides as vectors, and its texture."""

    corner: np.ndarray
    across: np.ndarray
    down: np.ndarray
    texture: np.ndarray


@dataclass(frozen=True)
class Room:
    faces: list[Face]
    width: float
    depth: float
    height: float


def _noise(random: np.random.Generator, rows: int, columns: int, coarse: int) -> np.ndarray:
    """Smooth noise from 0 to 1."""
    grid = random.random((max(2, rows // coarse), max(2, columns // coarse))).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((columns, rows), Image.Resampling.BICUBIC))


def _colour(random: np.random.Generator, low: int = 60, high: int = 220) -> np.ndarray:
    return random.integers(low, high, 3).astype(np.float32)


def _surface(random: np.random.Generator, kind: str, width: float, height: float) -> np.ndarray:
    rows, columns = max(8, int(height * _DENSITY)), max(8, int(width * _DENSITY))
    base = np.broadcast_to(_colour(random), (rows, columns, 3)).copy()
    y, x = np.mgrid[0:rows, 0:columns]
    if kind == "stripes":
        every = int(random.integers(12, 40))
        base[(x // every) % 2 == 0] = _colour(random)
    elif kind == "dots":
        every = int(random.integers(20, 50))
        dots = ((x % every - every / 2) ** 2 + (y % every - every / 2) ** 2) < (every / 5) ** 2
        base[dots] = _colour(random)
    elif kind == "planks":
        high = int(random.integers(14, 26))
        shade = random.random(rows // high + 1)[y // high] * 40 - 20
        base += shade[..., None]
        base[y % high == 0] *= 0.5
        base += (_noise(random, rows, columns, 3)[..., None] - 0.5) * 24
    elif kind == "tiles":
        every = int(random.integers(30, 70))
        base[(x % every < 2) | (y % every < 2)] *= 0.5
    elif kind == "wood":
        grain = _noise(random, rows, columns // 13 + 1, 4)
        base += (np.repeat(grain, 13, axis=1)[:, :columns, None] - 0.5) * 70
        for at in np.linspace(0, rows, int(random.integers(2, 5)))[1:-1].astype(int):
            base[max(0, at - 2) : at + 2] *= 0.3
            base[at + 6 : at + 12, columns // 2 - 8 : columns // 2 + 8] = 30
    base += (_noise(random, rows, columns, 24)[..., None] - 0.5) * 20
    return np.clip(base, 0, 255).astype(np.uint8)


def _poster(random: np.random.Generator, width: float, height: float) -> np.ndarray:
    """A picture on the wall: patches, with a frame."""
    rows, columns = int(height * _DENSITY), int(width * _DENSITY)
    pixels = np.broadcast_to(_colour(random, 20, 240), (rows, columns, 3)).copy()
    for _ in range(int(random.integers(15, 45))):
        top, left = random.integers(0, rows), random.integers(0, columns)
        high, wide = random.integers(3, max(4, rows // 3)), random.integers(3, max(4, columns // 3))
        pixels[top : top + high, left : left + wide] = _colour(random, 0, 255)
    pixels += (_noise(random, rows, columns, 8)[..., None] - 0.5) * 40
    edge = 4
    pixels[:edge] = pixels[-edge:] = 20
    pixels[:, :edge] = pixels[:, -edge:] = 20
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _rectangle(
    corner: list[float], across: list[float], down: list[float]
) -> tuple[np.ndarray, ...]:
    return tuple(np.array(each, dtype=np.float64) for each in (corner, across, down))


def _box(
    x: float, y: float, wide: float, deep: float, high: float, front: np.ndarray, top: np.ndarray
) -> list[Face]:
    """The five faces of a box on the floor that can be seen."""
    sides = [
        ([x, y, high], [wide, 0, 0]),
        ([x + wide, y, high], [0, deep, 0]),
        ([x + wide, y + deep, high], [-wide, 0, 0]),
        ([x, y + deep, high], [0, -deep, 0]),
    ]
    faces = [Face(*_rectangle(corner, across, [0, 0, -high]), front) for corner, across in sides]
    return [*faces, Face(*_rectangle([x, y, high], [wide, 0, 0], [0, deep, 0]), top)]


def make_room(house: int, room: int) -> Room:
    """Give one of the rooms of a house."""
    style = np.random.default_rng([house, 0])
    wall_kind = style.choice(["plain", "stripes", "dots", "plain"])
    floor_kind = style.choice(["planks", "tiles", "plain"])
    wood_seed, wall_seed, floor_seed = style.integers(0, 2**31, 3)
    random = np.random.default_rng([house, 1, room])
    width, depth, height = random.uniform(3.2, 5.0), random.uniform(3.5, 6.0), 2.5

    def surface(seed: int, kind: str, wide: float, high: float) -> np.ndarray:
        return _surface(np.random.default_rng(seed), kind, wide, high)

    walls = [
        ([0, depth, height], [width, 0, 0]),
        ([0, 0, height], [0, depth, 0]),
        ([width, depth, height], [0, -depth, 0]),
        ([width, 0, height], [-width, 0, 0]),
    ]
    faces = [
        Face(*_rectangle([0, 0, 0], [width, 0, 0], [0, depth, 0]), surface(floor_seed, floor_kind, width, depth)),
        Face(*_rectangle([0, 0, height], [width, 0, 0], [0, depth, 0]), np.full((8, 8, 3), 215, np.uint8)),
    ]  # fmt: skip
    for corner, across in walls:
        long = float(np.abs(across).sum())
        faces.append(
            Face(*_rectangle(corner, across, [0, 0, -height]), surface(wall_seed, wall_kind, long, height))
        )  # fmt: skip
        direction = np.array(across) / long
        inward = np.array([direction[1], -direction[0], 0.0])
        for start in np.arange(0.3, long - 1.0, 1.3):
            if random.random() < 0.55:
                wide, high = random.uniform(0.4, 0.9), random.uniform(0.4, 0.8)
                at = np.array(corner) + direction * (start + random.uniform(0, 0.3)) + 0.01 * inward
                at[2] = random.uniform(1.5, 2.2)
                faces.append(
                    Face(at, direction * wide, np.array([0, 0, -high]), _poster(random, wide, high))
                )
    # Furniture of the house, along the far walls: a bed or table, a cupboard, a chest, a stand.
    pieces = [(1.5, 1.9, 0.5), (1.0, 0.5, 1.9), (1.2, 0.5, 0.8), (0.5, 0.4, 0.6)]
    for number, (wide, deep, high) in enumerate(pieces):
        if random.random() < 0.2:
            continue
        front = surface(int(wood_seed) + number, "wood", wide, high)
        top = surface(int(wood_seed) + 10 + number, "plain" if number else "dots", wide, deep)
        x = random.uniform(0, width - wide)
        y = depth - deep - 0.02 if number % 2 else random.uniform(depth * 0.45, depth - deep)
        faces += _box(x, y, wide, deep, high, front, top)
    return Room(faces, width, depth, height)


def view(room: Room, *, angle: float, seed: int) -> Image.Image:
    """Give a picture taken from the near part of a room towards the far one.

    Args:
        room: The room.
        angle: From where around the thing looked at, in degrees from the middle: to the left if negative.
        seed: Draws height, distance, exposure, noise.
    """
    random = np.random.default_rng([seed, 7])
    target = np.array([room.width / 2, room.depth * 0.8, 1.1])
    away = min(room.depth * 0.7, 3.6) * random.uniform(0.8, 1.0)
    turn = np.radians(angle)
    eye = target + away * np.array([np.sin(turn), -np.cos(turn), 0.0])
    eye[2] = random.uniform(1.35, 1.75)
    eye[:2] = np.clip(eye[:2], 0.15, [room.width - 0.15, room.depth - 0.15])
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    columns, rows = SIZE[0] * _OVER, SIZE[1] * _OVER
    reach = np.tan(_FIELD / 2)
    x = (np.arange(columns) + 0.5) / columns * 2 - 1
    y = ((np.arange(rows) + 0.5) / rows * 2 - 1) * SIZE[1] / SIZE[0]
    rays = forward + reach * (x[None, :, None] * right - y[:, None, None] * up)
    rays = rays.astype(np.float32)
    nearest = np.full((rows, columns), np.inf, dtype=np.float32)
    picture = np.zeros((rows, columns, 3), dtype=np.float32)
    for face in room.faces:
        corners = face.corner + np.array(
            [0 * face.across, face.across, face.down, face.across + face.down]
        )
        ahead = (corners - eye) @ np.stack([right, -up, forward], axis=1)
        area = np.s_[:, :]
        if (ahead[:, 2] > 0.05).all():
            # Only where it can be seen.
            flat = ahead[:, :2] / ahead[:, 2:] / reach
            left, top = (flat.min(axis=0) * columns + (columns, rows)) // 2 - 1
            last, low = (flat.max(axis=0) * columns + (columns, rows)) // 2 + 2
            area = np.s_[max(0, int(top)) : max(0, int(low)), max(0, int(left)) : max(0, int(last))]
        _paint(face, eye, rays[area], nearest[area], picture[area])
    picture *= random.uniform(0.75, 1.2)
    small = picture.reshape(SIZE[1], _OVER, SIZE[0], _OVER, 3).mean(axis=(1, 3))
    small += random.normal(0, 3.0, small.shape)
    return recompressed(Image.fromarray(np.clip(small, 0, 255).astype(np.uint8)), 80)


def _paint(
    face: Face, eye: np.ndarray, rays: np.ndarray, nearest: np.ndarray, picture: np.ndarray
) -> None:
    """Paint a face where it is nearer than what was painted before; all arrays are views of one part of the picture."""
    normal = np.cross(face.across, face.down).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.float32((face.corner - eye) @ normal) / (rays @ normal)
    seen = (far > 1e-6) & (far < nearest)
    offset = far[seen, None] * rays[seen] + (eye - face.corner).astype(np.float32)
    u = offset @ (face.across / (face.across @ face.across)).astype(np.float32)
    v = offset @ (face.down / (face.down @ face.down)).astype(np.float32)
    inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
    rows, columns = (axis[inside] for axis in np.nonzero(seen))
    high, wide = face.texture.shape[:2]
    colour = face.texture[(v[inside] * high).astype(int), (u[inside] * wide).astype(int)]
    light = 0.75 + 0.25 * abs(normal[1]) / np.linalg.norm(normal)
    depth = far[rows, columns]
    nearest[rows, columns] = depth
    picture[rows, columns] = colour * (light * (1.1 - 0.05 * depth))[:, None]


def recompressed(picture: Image.Image, quality: int) -> Image.Image:
    """Give the picture as a JPEG of a quality shows it."""
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=quality)
    return Image.open(io.BytesIO(held.getvalue())).convert("RGB")
