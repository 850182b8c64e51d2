"""What has been found in a data set: one error for all that is wrong, or what is to be known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtlue._data.looks import Look
from mtlue._data.problems import Problems, told_at_once
from mtlue._runtime import warn
from mtlue._tasks import Task


@dataclass(frozen=True)
class Inspection:
    """What is known of a data set that has no fault.

    Attributes:
        length: Number of samples.
        channels: Channels of the images.
        sizes: How many images there are of each (height, width).
        lone: Tasks of which every label is the same class.
    """

    length: int
    channels: int
    sizes: Counter[tuple[int, int]]
    lone: tuple[str, ...] = ()

    @property
    def uniform(self) -> bool:
        """Whether all images have one size."""
        return len(self.sizes) == 1

    @property
    def typical_size(self) -> tuple[int, int]:
        """The median height and the median width."""
        middle = self.length // 2
        heights = sorted(height for height, _ in self.sizes.elements())
        widths = sorted(width for _, width in self.sizes.elements())
        return heights[middle], widths[middle]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, and the typical height and width."""
        return (self.channels, *self.typical_size)

    def size_for(self, image_shape: tuple[int, int, int]) -> tuple[int, int] | None:
        """Height and width that batches for a model of this shape are brought to; None where images have one size anyway."""
        return None if self.uniform else image_shape[1:]


class Findings:
    """Puts together what is known of each batch."""

    def __init__(self) -> None:
        self._length = 0
        self._problems = Problems()
        self._channels: dict[int, int] = {}
        self._sizes: Counter[tuple[int, int]] = Counter()

    def add(self, look: Look) -> None:
        """Note what is known of the next batch, but for its labels."""
        self._length += look.length
        for index, problem in look.problems:
            self._problems.add(index, problem)
        for index, shape in look.shapes:
            self._channels.setdefault(shape[0], index)
            self._sizes[shape[1], shape[2]] += 1

    def state(self) -> list[Any]:
        """Return all of them as plain values, for another process."""
        return [self._length, self._problems.state(), self._channels, dict(self._sizes)]

    def take_over(self, state: Sequence[Any]) -> None:
        """Add what is known of the samples that follow, from the `state` of another process."""
        length, problems, channels, sizes = state
        self._length += length
        self._problems.take_over(problems)
        for each, index in channels.items():
            self._channels.setdefault(each, index)
        self._sizes.update(sizes)

    def conclude(self, tasks: Mapping[str, Task], classes: Mapping[str, set[int]]) -> Inspection:
        """What is known of the data set.

        Args:
            tasks: Its tasks.
            classes: Classes of each task that occur, -1 for a missing label.

        Raises:
            ValueError: it has samples that cannot be used.
        """
        lines = self._problems.lines()
        if len(self._channels) > 1:
            found = ", ".join(f"{channels} (first at sample {where})" for channels, where in self._channels.items())
            lines.append(
                f"images have different numbers of channels: {found}; convert them all to one mode "
                "(ImageTable: channels=3; command line: --channels 3)"
            )
        if not self._problems:
            lines += [f"task {name!r}: every label is missing" for name in tasks if classes[name] == {-1}]
        if lines:
            raise ValueError(told_at_once(lines))
        lone: list[str] = []
        for name, task in tasks.items():
            if task.num_embeddings == 2 and classes[name] == {-1, 1}:
                warn(
                    f"task {name!r}: the labels are only -1 and 1, and -1 means a missing label; "
                    "if -1 is your negative class, give 0 instead"
                )
            elif not task.is_map and len(classes[name] - {-1}) == 1:
                lone.append(name)
        return Inspection(self._length, next(iter(self._channels)), self._sizes, tuple(lone))
