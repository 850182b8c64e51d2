"""Furnishing a room: what stands, hangs and lies where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sets.rooms_mesh import Floats, turn
from sets.rooms_patterns import books, ceiling_pattern, floor_pattern, picture, pile, wall_pattern
from sets.rooms_things import Model, Room, Thing, level_below

# How many things of a kind each sort of room has: at least, at most.
_ROOMS: tuple[Mapping[str, tuple[int, int]], ...] = (
    {
        "bed side": (1, 2),
        "furniture side": (2, 4),
        "chair floor": (0, 2),
        "sofa side": (0, 1),
        "table side": (0, 1),
        "objects floor": (0, 1),
        "objects side": (0, 1),
    },
    {
        "sofa side": (1, 2),
        "table floor": (1, 1),
        "furniture side": (2, 3),
        "chair floor": (0, 2),
        "objects floor": (0, 2),
        "bed side": (0, 1),
    },
    {
        "table floor": (1, 2),
        "furniture side": (3, 5),
        "chair floor": (0, 1),
        "sofa side": (0, 1),
        "objects floor": (0, 1),
        "objects side": (0, 1),
    },
    {
        "table side": (1, 2),
        "furniture side": (2, 3),
        "table floor": (0, 1),
        "chair floor": (1, 2),
        "objects floor": (0, 2),
        "sofa side": (0, 1),
    },
)
_TINTED = {"bed", "chair", "furniture", "objects", "sofa", "table", "floor"}
_SMALL = ("objects top", "books top", "picture top")
_TRIES = 12


class _Furnisher:
    """Puts things into a room, no two in one place."""

    def __init__(self, models: Mapping[str, Sequence[Model]], random: np.random.Generator) -> None:
        self.models, self.random = models, random
        self.size = np.array([random.uniform(3.0, 5.5), random.uniform(2.4, 2.9), random.uniform(3.0, 5.5)])
        self.things: list[Thing] = []
        self.standing: list[tuple[Floats, Floats]] = []
        self.walls: list[list[tuple[float, float, float, float]]] = [[], [], [], []]  # taken: from, to, lowest, highest

    def choose(self, kind: str) -> Model | None:
        models = self.models.get(kind, ())
        return models[int(self.random.integers(len(models)))] if models else None

    def add(self, model: Model, position: Floats, yaw: float) -> Thing:
        tint = self.random.uniform(0.8, 1.15) * self.random.uniform(0.85, 1.15, 3) if model.label in _TINTED else np.ones(3)
        thing = Thing(model, np.asarray(position, dtype=float), yaw, tint)
        self.things.append(thing)
        return thing

    def free(self, low: Floats, high: Floats, *, gap: float = 0.03) -> bool:
        """Whether a rectangle of the floor is in the room and nothing stands there."""
        if (low < 0).any() or (high > self.size[[0, 2]]).any():
            return False
        return all((high + gap <= other[0]).any() or (low - gap >= other[1]).any() for other in self.standing)

    def stand(self, model: Model, x: float, z: float, yaw: float) -> Thing | None:
        """Puts something on the floor if there is room."""
        if model.size[1] > self.size[1]:
            return None
        low, high = Thing(model, np.array([x, 0, z]), yaw, np.ones(3)).floor
        if not self.free(low, high):
            return None
        self.standing.append((low, high))
        return self.add(model, np.array([x, 0.0, z]), yaw)

    def wall(self, number: int) -> tuple[Floats, float, float]:
        """Middle of a wall's foot, its yaw, and its length."""
        width, _, depth = self.size
        middles = ([width / 2, 0, 0], [0, 0, depth / 2], [width / 2, 0, depth], [width, 0, depth / 2])
        return np.array(middles[number]), number * np.pi / 2, (width, depth)[number % 2]

    def beside(self, number: int, t: float, elevation: float, size: Floats, *, gap: float = 0.04) -> bool:
        """Whether a rectangle of a wall is free: its middle along the wall, lower edge, and size."""
        _, _, length = self.wall(number)
        left, right, low, high = t - size[0] / 2, t + size[0] / 2, elevation, elevation + size[1]
        if left < -length / 2 or right > length / 2 or high > self.size[1]:
            return False
        taken = self.walls[number]
        return all(left >= b + gap or right <= a - gap or low >= d + gap or high <= c - gap for a, b, c, d in taken)

    def at_wall(self, model: Model, *, elevation: float, stands: bool, tries: int) -> Thing | None:
        """Puts something with its back to a wall: it stands, or hangs, which asks for the floor too if it is deep and low."""
        for _ in range(tries):
            number = int(self.random.integers(4))
            middle, yaw, length = self.wall(number)
            reach = max(0.0, (length - model.size[0]) / 2 - 0.01)
            t = self.random.uniform(-reach, reach)
            right, _, front = turn(yaw)
            position = middle + t * right + (model.size[2] / 2 + 0.01) * front + np.array([0, elevation, 0])
            low, high = Thing(model, position, yaw, np.ones(3)).floor
            deep = stands or (model.size[2] > 0.15 and elevation < 1.2)
            if not self.beside(number, t, elevation, model.size) or (deep and not self.free(low, high)):
                continue
            self.walls[number].append((t - model.size[0] / 2, t + model.size[0] / 2, elevation, elevation + model.size[1]))
            if deep:
                self.standing.append((low, high))
            return self.add(model, position, yaw)
        return None

    def anywhere(self, model: Model) -> Thing | None:
        """Puts something somewhere on the floor: a table in the middle, square to the walls, the rest as it comes."""
        table = model.label == "table"
        for _ in range(_TRIES):
            x, z = self.random.uniform(*((0.3, 0.7) if table else (0.1, 0.9)), 2) * self.size[[0, 2]]
            yaw = self.random.integers(4) * np.pi / 2 if table else self.random.uniform(0, 2 * np.pi)
            thing = self.stand(model, x, z, yaw)
            if thing is not None:
                return thing
        return None

    def seats(self, table: Thing, count: int) -> None:
        """Puts chairs of one model around a table, facing it."""
        chair = self.choose("chair floor")
        if chair is None or table.model.size[1] < 0.6:
            return
        for number in self.random.permutation(4)[:count]:
            yaw = table.yaw + number * np.pi / 2
            outwards = turn(yaw)[2]
            reach = table.model.size[2 if number % 2 == 0 else 0] / 2 + chair.size[2] / 2 + self.random.uniform(0.04, 0.2)
            position = table.position + reach * outwards
            self.stand(chair, position[0], position[2], yaw + np.pi)

    def furnish(self) -> None:
        """Fills the room."""
        random = self.random
        self.openings()
        for kind, (least, most) in _ROOMS[random.integers(len(_ROOMS))].items():
            for _ in range(random.integers(least, most + 1)):
                model = self.choose(kind)
                if model is None:
                    continue
                if kind.endswith("side"):
                    thing = self.at_wall(model, elevation=0.0, stands=True, tries=_TRIES)
                else:
                    thing = self.anywhere(model)
                if thing is not None and kind == "table side":
                    self.seats_at_desk(thing)
                elif thing is not None and kind == "table floor":
                    self.seats(thing, int(random.integers(1, 5)))
        self.hang()
        self.lie()

    def seats_at_desk(self, desk: Thing) -> None:
        chair = self.choose("chair floor")
        if chair is None:
            return
        position = (
            desk.position + (desk.model.size[2] / 2 + chair.size[2] / 2 + self.random.uniform(0.04, 0.25)) * turn(desk.yaw)[2]
        )
        self.stand(chair, position[0], position[2], desk.yaw + np.pi + self.random.uniform(-0.3, 0.3))

    def openings(self) -> None:
        """Doors and windows come before what would hide them."""
        for kind, most in (("wall door", 1), ("window door", 1), ("window wall", 2)):
            for _ in range(self.random.integers(most + 1)):
                model = self.choose(kind)
                if model is None:
                    continue
                thing = self.at_wall(model, elevation=model.elevation if kind == "window wall" else 0.0, stands=False, tries=1)
                if thing is not None and kind.endswith("door"):
                    # Nobody stands in the way of a door.
                    low, high = thing.floor
                    self.standing.append((low - 0.4, high + 0.4))

    def hang(self) -> None:
        """Pictures, and other things on walls and the ceiling."""
        random = self.random
        for _ in range(random.integers(1, 7)):
            framed = Model(picture(random), "picture wall")
            self.at_wall(framed, elevation=random.uniform(1.0, 1.6), stands=False, tries=1)
        for kind, most in (("tv wall", 1), ("furniture wall", 3), ("objects wall", 2)):
            for _ in range(random.integers(most + 1)):
                model = self.choose(kind)
                if model is not None:
                    self.at_wall(model, elevation=model.elevation, stands=False, tries=2)
        lamp = self.choose("objects ceiling")
        if lamp is not None and random.uniform() < 0.5:
            x, z = random.uniform(0.3, 0.7, 2) * self.size[[0, 2]]
            self.add(lamp, np.array([x, self.size[1] - lamp.size[1] - 0.002, z]), random.uniform(0, 2 * np.pi))
        rug = self.choose("floor rug")
        if rug is not None and random.uniform() < 0.4:
            x, z = random.uniform(0.3, 0.7, 2) * self.size[[0, 2]]
            self.add(rug, np.array([x, 0.002, z]), random.integers(4) * np.pi / 2)

    def lie(self) -> None:
        """Small things on tables and furniture, books on shelves."""
        random = self.random
        under = [thing for thing in self.things if thing.model.kind in {"table floor", "table side", "furniture side"}]
        for thing in under:
            shelf = any(word in thing.model.name.lower() for word in ("shel", "bookcase"))
            if random.uniform() < 0.5:
                model = self.choose("tv top")
                if model is not None:
                    self.put_on(thing, model, tries=3, top=True)
            for _ in range(random.integers(2, 9) if shelf else random.integers(0, 3)):
                if shelf:
                    width, height = random.uniform(0.12, 0.6), random.uniform(0.18, 0.3)
                    made = books(random, width=width, height=height, depth=random.uniform(0.14, 0.2))
                else:
                    made = pile(random, count=int(random.integers(1, 7)))
                self.put_on(thing, Model(made, "books top"), tries=4, top=not shelf)
            for _ in range(random.integers(1, 5)):
                model = self.choose(_SMALL[random.choice(len(_SMALL), p=[0.9, 0.06, 0.04])])
                if model is not None:
                    self.put_on(thing, model, tries=3, top=random.uniform() < 0.7)

    def put_on(self, thing: Thing, model: Model, *, tries: int, top: bool) -> None:
        """Puts something on another where a level place is found with room above it."""
        width, height, depth = model.size
        room = thing.model.size[[0, 2]] / 2 - np.array([width, depth]) / 2
        if (room < 0).any():
            return
        for _ in range(tries):
            x, z = self.random.uniform(-room, room)
            start = thing.model.size[1] + 0.1 if top else self.random.uniform(0.1, thing.model.size[1] + 0.1)
            level = level_below(thing.model.caster, x, z, start, model.size)
            if level is None or level < 0.15:
                continue
            position = np.array([x, level + 0.001, z]) @ turn(thing.yaw) + thing.position
            if position[1] + height > self.size[1] or not self.clear(position, max(width, depth) / 2, height):
                continue
            self.add(model, position, thing.yaw)
            return

    def clear(self, position: Floats, half: float, height: float) -> bool:
        """Whether nothing that was put on something is there."""
        for other in self.things:
            if not other.model.kind.endswith("top"):
                continue
            low, high = other.floor
            x, y, z = position
            beside = x + half < low[0] or x - half > high[0] or z + half < low[1] or z - half > high[1]
            above = y > other.position[1] + other.model.size[1] or y + height < other.position[1]
            if not (beside or above):
                return False
        return True


def furnish(models: Mapping[str, Sequence[Model]], random: np.random.Generator) -> Room:
    """A room with things of the models of each kind."""
    furnisher = _Furnisher(models, random)
    furnisher.furnish()
    wall = wall_pattern(random)
    accent = wall_pattern(random) if random.uniform() < 0.4 else wall
    patterns = [floor_pattern(random), ceiling_pattern(random), wall, accent, wall, wall]
    count = int(random.integers(1, 3))
    lamps = random.uniform([0.2, 0.85, 0.2], [0.8, 0.95, 0.8], (count, 3)) * furnisher.size
    lights = random.uniform(0.8, 1.0, (count, 3)) * random.uniform(0.6, 1.2, (count, 1))
    return Room(furnisher.size, patterns, furnisher.things, lamps, lights, random.uniform(0.38, 0.6))
