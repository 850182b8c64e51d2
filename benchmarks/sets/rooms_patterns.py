"""Colours of walls and floors, pictures and books: what is made up and not modelled."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np

from sets.rooms_mesh import Floats, Mesh, boxes, plain

Pattern = Callable[[Floats], Floats]  # colours (N, 3) of points (N, 2), in metres along a surface
_FRAME = 0.025  # depth of a picture, in metres


def color(random: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]) -> Floats:
    """A colour of any hue."""
    return np.array(colorsys.hsv_to_rgb(random.uniform(), random.uniform(*saturation), random.uniform(*value)))


def wood(random: np.random.Generator) -> Floats:
    """A colour of wood."""
    return np.array(colorsys.hsv_to_rgb(random.uniform(0.04, 0.11), random.uniform(0.3, 0.65), random.uniform(0.3, 0.85)))


def wall_pattern(random: np.random.Generator) -> Pattern:
    """Paint, stripes, dots or bricks."""
    ground = color(random, saturation=(0.0, 0.35), value=(0.6, 0.97))
    other = np.clip(ground * random.uniform(0.75, 1.1) + random.uniform(-0.06, 0.06, 3), 0, 1)
    kind = random.choice(["paint", "stripes", "dots", "bricks"], p=[0.5, 0.2, 0.15, 0.15])
    period = random.uniform(0.12, 0.5)
    skirting, skirting_color = random.uniform(0.05, 0.14), color(random, saturation=(0.0, 0.2), value=(0.4, 1.0))
    grain = _grain(random)

    def pattern(points: Floats) -> Floats:
        s, t = points.T
        if kind == "stripes":
            chosen = s / period % 1 < 0.5
        elif kind == "dots":
            chosen = (s / period % 1 - 0.5) ** 2 + (t / period % 1 - 0.5) ** 2 < 0.08
        elif kind == "bricks":
            row = np.floor(t / (period / 3))
            chosen = (t / (period / 3) % 1 < 0.12) | ((s / period + row % 2 / 2) % 1 < 0.05)
        else:
            chosen = np.zeros(len(points), dtype=bool)
        colors = np.where(chosen[:, None], other, ground) * grain(points)[:, None]
        return np.where((t < skirting)[:, None], skirting_color, colors)

    return pattern


def floor_pattern(random: np.random.Generator) -> Pattern:
    """Planks, tiles or carpet."""
    kind = random.choice(["planks", "tiles", "carpet"], p=[0.5, 0.25, 0.25])
    ground = wood(random) if kind == "planks" else color(random, saturation=(0.0, 0.4), value=(0.3, 0.9))
    other = np.clip(ground * random.uniform(0.5, 0.9), 0, 1) if random.uniform() < 0.6 else ground
    width = random.uniform(0.1, 0.2) if kind == "planks" else random.uniform(0.25, 0.6)
    length = random.uniform(0.8, 1.6)
    tones = random.uniform(0.8, 1.1, 97)
    turned = random.uniform() < 0.5
    grain = _grain(random)

    def pattern(points: Floats) -> Floats:
        s, t = points.T[::-1] if turned else points.T
        if kind == "planks":
            row = np.floor(s / width)
            along = t / length + row * 0.37
            tone = tones[((row * 31 + np.floor(along) * 17) % 97).astype(int)]
            joint = s / width % 1 < 0.06
            return np.where(joint[:, None], ground * 0.6, ground * tone[:, None]) * grain(points)[:, None]
        if kind == "tiles":
            odd = (np.floor(s / width) + np.floor(t / width)) % 2 > 0
            joint = (s / width % 1 < 0.05) | (t / width % 1 < 0.05)
            tiles = np.where(odd[:, None], ground, other)
            return np.where(joint[:, None], ground * 0.55, tiles)
        return ground * (grain(points) * grain(points[:, ::-1] * 9.0))[:, None]

    return pattern


def ceiling_pattern(random: np.random.Generator) -> Pattern:
    """Nearly white."""
    ground = color(random, saturation=(0.0, 0.06), value=(0.85, 1.0))
    return lambda points: np.broadcast_to(ground, (len(points), 3))


def _grain(random: np.random.Generator) -> Callable[[Floats], Floats]:
    """Soft spots around 1: a few waves in random directions."""
    waves = random.normal(0, 6, (6, 2))
    phases = random.uniform(0, 2 * np.pi, 6)
    strength = random.uniform(0.005, 0.03)
    return lambda points: 1 + strength * np.sin(points @ waves.T + phases).sum(1)


def picture(random: np.random.Generator) -> Mesh:
    """A framed picture to hang: a landscape, or coloured shapes."""
    width, height = random.uniform(0.3, 1.1), random.uniform(0.3, 0.9)
    frame = min(width, height) * random.uniform(0.04, 0.1)
    border = plain(random.choice([0.08, 0.9]) * np.ones(3) if random.uniform() < 0.5 else wood(random))
    lows = [[-width / 2, 0, 0], [-width / 2 + frame, frame, _FRAME - 0.004]]
    highs = [[width / 2, height, _FRAME], [width / 2 - frame, height - frame, _FRAME + 0.004]]
    paint = _landscape if random.uniform() < 0.5 else _shapes
    return boxes(np.array(lows), np.array(highs), [border, paint(random)])


def _landscape(random: np.random.Generator, size: int = 24) -> Floats:
    rows, columns = np.mgrid[:size, :size] / size
    image = np.empty((size, size, 3))
    image[:] = color(random, saturation=(0.1, 0.6), value=(0.6, 1.0))
    image *= (0.7 + 0.3 * rows)[..., None]
    for horizon in np.sort(random.uniform(0.3, 0.9, random.integers(1, 4))):
        waves, phase, height = random.uniform(2, 9), random.uniform(0, 6), random.uniform(0.02, 0.15)
        ground = rows > horizon + height * np.sin(waves * columns + phase)
        image[ground] = color(random, saturation=(0.2, 0.9), value=(0.1, 0.8))
    return image


def _shapes(random: np.random.Generator, size: int = 24) -> Floats:
    rows, columns = np.mgrid[:size, :size] / size
    image = np.empty((size, size, 3))
    image[:] = color(random, saturation=(0.0, 0.8), value=(0.1, 1.0))
    for _ in range(random.integers(2, 7)):
        y, x, height, width = random.uniform(0, 1, 2).tolist() + random.uniform(0.05, 0.4, 2).tolist()
        if random.uniform() < 0.5:
            inside = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
        else:
            inside = (abs(rows - y) < height) & (abs(columns - x) < width)
        image[inside] = color(random, saturation=(0.2, 1.0), value=(0.1, 1.0))
    return image


def books(random: np.random.Generator, *, width: float, height: float, depth: float) -> Mesh:
    """A row of standing books, up to the width and height given, their spines to the front."""
    lows: list[list[float]] = []
    highs: list[list[float]] = []
    textures: list[Floats] = []
    at = -width / 2
    lean = random.uniform(0.7, 1.0)
    while len(lows) < 40:
        thickness = random.uniform(0.015, 0.05)
        if at + thickness > width / 2:
            break
        tall, deep = height * random.uniform(0.75, 1.0), depth * random.uniform(0.75, 1.0) * lean
        lows.append([at, 0.0, depth / 2 - deep])
        highs.append([at + thickness * 0.96, tall, depth / 2])
        textures.append(_cover(random))
        at += thickness
    return boxes(np.array(lows), np.array(highs), textures)


def pile(random: np.random.Generator, *, count: int) -> Mesh:
    """Lying books, one on another."""
    lows, highs, textures, at = [], [], [], 0.0
    for _ in range(count):
        thickness, width, depth = random.uniform(0.015, 0.05), random.uniform(0.2, 0.32), random.uniform(0.15, 0.24)
        x, z = random.uniform(-0.015, 0.015, 2)
        lows.append([x - width / 2, at, z - depth / 2])
        highs.append([x + width / 2, at + thickness, z + depth / 2])
        textures.append(_cover(random))
        at += thickness
    return boxes(np.array(lows), np.array(highs), textures)


def _cover(random: np.random.Generator) -> Floats:
    """Colour of a book with the band of its title."""
    ground = color(random, saturation=(0.1, 0.95), value=(0.15, 0.95))
    cover = np.tile(ground, (8, 1, 1))
    cover[random.integers(1, 4)] = color(random, saturation=(0.0, 0.5), value=(0.3, 1.0))
    return cover
