"""The figures of hostile runs as Markdown."""

from __future__ import annotations

from typing import Any

#: What is done to a call, and the heading of its column.
TRIALS = {
    "operations": "operations on files",
    "killed": "killed at each",
    "failed": "an error at each",
    "killed at random": "killed at any time",
    "two at once": "two at once",
    "full disk": "full disks",
}


def tables(figures: dict[str, Any]) -> str:
    """All of them."""
    parts = [calls_table(figures), calls_table(figures, "ranks"), tampered_table(figures)]
    return "\n\n".join([*parts, fuzzed_table(figures)] if "fuzzed" in figures else parts)


def calls_table(figures: dict[str, Any], part: str = "calls") -> str:
    """How often each call was broken off in each way, and what went wrong; the part is "calls" or "ranks"."""
    heads = ["call", *TRIALS.values(), "failures"]
    rows = [[name, *(found[each] for each in TRIALS), len(found["faults"])] for name, found in figures.get(part, {}).items()]
    return _table(heads, rows)


def tampered_table(figures: dict[str, Any]) -> str:
    """How many files of each kind were refused."""
    heads = ["tampered with", "times", "refused", "the same content", "failures"]
    rows = [
        [name, *(found[each] for each in ("files", "refused", "equal")), len(found["faults"])]
        for name, found in figures.get("files", {}).items()
    ]
    return _table(heads, rows)


def fuzzed_table(figures: dict[str, Any]) -> str:
    """What came of calls with any arguments."""
    fuzzed = figures["fuzzed"]
    names = ("a right result", "an error that names the argument", "anything else")
    return _table(["what came of it", "calls"], [[name, fuzzed[name]] for name in names])


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    """Rows of a name and numbers, with their sums."""
    sums = [sum(numbers) for numbers in list(zip(*rows, strict=True))[1:]]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    return "\n".join([
        *lines,
        *(f"| {name} | {' | '.join(f'{n:,}' for n in numbers)} |" for name, *numbers in [*rows, ["**all**", *sums]]),
    ])
