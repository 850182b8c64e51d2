"""Does a run of the quickstart still show what the README says? Exits with an error if not.

One seed on another processor gives other figures by some points: the limits leave room for that.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mtlue.evaluation import Report

# Residual learnability that a ten-class task may keep, by kind of victim, and what it must keep with random noise.
LIMITS = {"multi-task": 0.25, "single-task": 0.35}
CONTROL = 0.8


def main() -> None:
    """Check one report.json."""
    failures = []
    checked = [row for row in Report.from_json(Path(sys.argv[1]).read_text()).rows() if row.chance <= 0.1]
    for row in checked:
        name, noise, left = (
            f"{row.victim} victim, task {row.task}",
            *(row.residuals[data] for data in ("random noise", "protected")),
        )
        if noise < CONTROL:
            failures.append(f"{name}: R of random noise is {noise:.2f}, expected at least {CONTROL}")
        if left > LIMITS[row.victim]:
            failures.append(f"{name}: R is {left:.2f}, expected at most {LIMITS[row.victim]}")
    if len(checked) != 2 * len(LIMITS):
        failures.append(f"expected two tasks of {' and '.join(LIMITS)} victims, got {len(checked)} rows")
    if failures:
        sys.exit("\n".join(failures))
    print("the quickstart's figures hold")


if __name__ == "__main__":
    main()
