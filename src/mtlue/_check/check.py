"""The result of a check."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

#: Below the first of these shares a task is protected, from the second on it is not.
_WEAK, _LEARNED = 0.3, 0.6
#: An unprotected task counts as spoilt if it loses this much more than noise costs.
_SPOILT = 0.2

#: What a check says of each task, as a number.
_SHARES = ("residual_learnability", "single_task", "noise", "clean", "luck")
PROTECTED, WEAKLY_PROTECTED, NOT_PROTECTED = "protected", "weakly protected", "not protected"
KEPT, SPOILT, UNTOLD = "left learnable", "spoilt", "cannot tell"


@dataclass(frozen=True)
class Check:
    """What a small network learns from protected images, compared with clean ones. `mtlue.protect` sets ``protected.check``.

    The networks are small and train briefly, so the check costs little. Near a limit it may call a task weakly protected that a
    full audit finds protected. If they differ, trust `mtlue.evaluation.audit`.

    Attributes:
        residual_learnability: R by task, for a network that learns all tasks: what protected images still teach above chance,
            as a share of what clean images teach. 0 is nothing, 1 is all of it. Tasks without a verdict are left out.
        single_task: R of a network that learns only this task, for the task that looked weakest.
        noise: R of images with random noise of the same budget, which is the control.
        clean: What clean images teach, from chance (0) to perfect (1): balanced accuracy for classes, `mtlue.Task.skill` for
            others.
        luck: How far R may be off by luck alone, as two standard deviations; 0 if labels are maps, for which it is unknown.
        untold: Tasks that the check cannot judge, with the reason.
        protected_tasks: Names of the tasks that should be unlearnable.
        images: How many images the networks learned from, and on how many others they were tested.

    Example:
        >>> import mtlue
        >>> check = mtlue.Check({"race": 0.83, "age": 0.1}, noise={"race": 0.98, "age": 1.0}, protected_tasks=["race", "age"])
        >>> check.verdict
        {'race': 'not protected', 'age': 'protected'}
        >>> check.sentences[0]
        'race: a small network still learns 83 % of what it learns from clean images'
    """

    residual_learnability: Mapping[str, float] = field(default_factory=dict)
    single_task: Mapping[str, float] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    clean: Mapping[str, float] = field(default_factory=dict)
    luck: Mapping[str, float] = field(default_factory=dict)
    untold: Mapping[str, str] = field(default_factory=dict)
    protected_tasks: Sequence[str] = ()
    images: tuple[int, int] = (0, 0)

    @property
    def verdict(self) -> dict[str, str]:
        """The verdict on each task.

        "protected" (R below 0.3), "weakly protected" (below 0.6), "not protected" or "cannot tell". For an unprotected task:
        "left learnable", or "spoilt" if it lost far more than noise costs.
        """
        return {name: self._verdict(name) for name in [*self.residual_learnability, *self.untold]}

    def strongest(self, name: str) -> float:
        """Return the largest R of a task, over the networks that learned it."""
        return max(self.residual_learnability[name], self.single_task.get(name, -1.0))

    @property
    def still_learned(self) -> list[str]:
        """Return the protected tasks that are still learned, the most learned first."""
        verdict = self.verdict
        return sorted(
            (name for name in verdict if verdict[name] in (WEAKLY_PROTECTED, NOT_PROTECTED)),
            key=lambda name: -self.strongest(name),
        )

    @property
    def sentences(self) -> list[str]:
        """Return a sentence for each task."""
        return [self._sentence(name, verdict) for name, verdict in self.verdict.items()]

    @property
    def protection(self) -> tuple[float, float]:
        """Return figures by which to compare protections, larger is better: minus the mean and minus the largest R."""
        shares = [
            min(max(self.strongest(name), 0.0), 1.0) for name in self.residual_learnability if name in self.protected_tasks
        ]
        return (-sum(shares) / len(shares), -max(shares)) if shares else (-1.0, -1.0)

    def to_json(self) -> str:
        """Return all results and verdicts as JSON."""
        return json.dumps({**asdict(self), "verdict": self.verdict}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Check:
        """Read the check that `to_json` wrote.

        Raises:
            ValueError: the text is not the JSON of `to_json`.
        """
        try:
            content = json.loads(text)
            del content["verdict"]
            shares = {name: {task: float(share) for task, share in content[name].items()} for name in _SHARES}
            untold = {task: str(reason) for task, reason in content["untold"].items()}
            learned_from, tested_on = map(int, content["images"])
            protected = [str(name) for name in content["protected_tasks"]]
            read = {**shares, "untold": untold, "protected_tasks": protected, "images": (learned_from, tested_on)}
            return cls(**{**content, **read})
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"text: expected what Check.to_json writes: {error!r}") from error

    def _verdict(self, name: str) -> str:
        if name in self.untold:
            return UNTOLD
        share = self.strongest(name)
        if name not in self.protected_tasks:
            return SPOILT if share < min(self.noise.get(name, 1.0), 1.0) - _SPOILT else KEPT
        return verdict_on(share)

    def _sentence(self, name: str, verdict: str) -> str:
        if verdict == UNTOLD:
            return f"{name}: {verdict}, {self.untold[name]}"
        share = f"{100 * max(self.strongest(name), 0.0):.0f} % of what it learns from clean images"
        by = "a small network of this task alone" if self.single_task.get(name) == self.strongest(name) else "a small network"
        if verdict in (KEPT, SPOILT):
            return f"{name}: {verdict}, {by} learns {share}"
        return f"{name}: {by} still learns {share}"

    def __str__(self) -> str:
        """Return a table of R and verdict for each task: for a network of all tasks, a network of one task, and noise."""
        rows = [("task", "R", "alone", "noise", "verdict")]
        for name, verdict in self.verdict.items():
            shares = [_share(values.get(name)) for values in (self.residual_learnability, self.single_task, self.noise)]
            luck = self.luck.get(name)
            shares[0] += f" ± {luck:.2f}" if luck else ""
            rows.append((name, *shares, verdict))  # type: ignore[arg-type]  # the length is that of the first row
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "learned from {} images, tested on {} others".format(*self.images)])


def verdict_on(share: float) -> str:
    """Return the verdict for a task from the share of it that is still learned."""
    # NaN compares as false, and so is not protected.
    return PROTECTED if share < _WEAK else WEAKLY_PROTECTED if share < _LEARNED else NOT_PROTECTED


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
