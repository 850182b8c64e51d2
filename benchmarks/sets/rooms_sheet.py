"""Contact sheets: all models by class, and samples of rooms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sets.rooms_camera import Camera
from sets.rooms_cast import Caster
from sets.rooms_classes import CLASSES, IGNORED
from sets.rooms_mesh import Floats, Integers
from sets.rooms_models import Furniture
from sets.rooms_render import View
from sets.rooms_things import Model

# One colour a class, in their order; black where there is none.
_COLORS = np.array([
    [0.78, 0.24, 0.28],
    [0.98, 0.75, 0.15],
    [0.86, 0.93, 0.98],
    [0.20, 0.55, 0.24],
    [0.55, 0.43, 0.33],
    [0.88, 0.52, 0.18],
    [0.95, 0.36, 0.75],
    [0.46, 0.29, 0.72],
    [0.16, 0.36, 0.78],
    [0.62, 0.80, 0.25],
    [0.10, 0.10, 0.25],
    [0.70, 0.70, 0.72],
    [0.36, 0.85, 0.90],
])
_FARTHEST = 6.0  # metres: white


def model_picture(model: Model, size: int) -> Floats:
    """A model from its front, above and to the right, on white."""
    reach = float(np.linalg.norm(model.size)) / 2
    pitch, yaw, field = -0.4, 0.5, 0.5
    axes = Camera(np.zeros(3), yaw, pitch, field).axes
    camera = Camera(np.array([0, model.size[1] / 2, 0]) + axes[2] * reach / np.sin(field / 2), yaw, pitch, field)
    rays = camera.rays(2 * size).reshape(-1, 3)
    hits = Caster([model.mesh]).hits(camera.position, rays)
    found = hits.meshes >= 0
    image: Floats = np.ones((len(rays), 3))
    light = 0.45 + 0.55 * camera.normals(hits.normals, rays)[found] @ np.array([0.3, 0.6, 0.74])
    image[found] = model.mesh.colors(hits.faces[found], hits.weights[found]) * light[:, None].clip(0.3, 1)
    small: Floats = image.reshape(size, 2, size, 2, 3).mean((1, 3))
    return small


def models_sheet(furniture: Furniture, path: Path, *, size: int = 56, columns: int = 24) -> None:
    """Writes pictures of all models under the names of their kinds, those of test rooms framed."""
    rows = []
    for kind in sorted({*furniture.train, *furniture.test}):
        chosen = [(model, False) for model in furniture.train.get(kind, ())] + [
            (model, True) for model in furniture.test.get(kind, ())
        ]
        rows.append((kind, chosen))
    height = sum(14 + -(-len(chosen) // columns) * (size + 11) for _, chosen in rows)
    sheet = Image.new("RGB", (columns * size, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for kind, chosen in rows:
        draw.rectangle((0, top, columns * size, top + 12), fill=(225, 230, 240))
        draw.text((3, top), f"{kind}: {len(chosen)}, of them {sum(test for _, test in chosen)} in test rooms", fill="black")
        top += 14
        for number, (model, test) in enumerate(chosen):
            x, y = number % columns * size, top + number // columns * (size + 11)
            sheet.paste(_image(model_picture(model, size)), (x, y))
            if test:
                draw.rectangle((x, y, x + size - 2, y + size - 1), outline=(200, 30, 30))
            draw.text((x + 1, y + size - 1), model.name[:10], fill=(60, 60, 60), font_size=9)
        top += -(-len(chosen) // columns) * (size + 11)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def views_sheet(views: Sequence[tuple[str, View]], path: Path, *, scale: int = 2) -> None:
    """Writes views: image, classes, depth and normals side by side, two views a row, and the colours of the classes below."""
    size = views[0][1].image.shape[0] * scale
    rows = -(-len(views) // 2)
    sheet = Image.new("RGB", (8 * size + 24, rows * (size + 4) + 20), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (part, view) in enumerate(views):
        x, y = number % 2 * (4 * size + 24), number // 2 * (size + 4)
        for column, array in enumerate((view.image, colored(view.label), shaded(view.depth), (view.normal + 1) / 2)):
            sheet.paste(_image(array).resize((size, size), Image.Resampling.NEAREST), (x + column * size, y))
        draw.text((x + 2, y), part, fill="white", stroke_width=1, stroke_fill="black")
    width = sheet.width // len(CLASSES)
    for number, name in enumerate(CLASSES):
        top = rows * (size + 4) + 2
        color = tuple(int(255 * value) for value in _COLORS[number])
        draw.rectangle((number * width, top, number * width + 12, top + 12), fill=(color[0], color[1], color[2]))
        draw.text((number * width + 15, top), name, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def colored(label: Integers) -> Floats:
    """Classes (H, W) as colours (H, W, 3)."""
    return np.where((label == IGNORED)[..., None], 0.0, _COLORS[label])


def shaded(depth: Floats) -> Floats:
    """Depth (H, W, 1) as grey (H, W, 3), far is light, none is black."""
    return np.repeat((depth / _FARTHEST).clip(0, 1), 3, axis=-1)


def _image(values: Floats) -> Image.Image:
    return Image.fromarray(np.round(values.clip(0, 1) * 255).astype(np.uint8))
