"""Does a run of the quickstart still show what the README says? Exits with an error if not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Residual learnability that the ten-class tasks may keep, by kind of victim, and that random noise must keep.
LIMITS = {"multi-task": 0.15, "single-task": 0.20}
CONTROL = 0.85


def main() -> None:
    """Check one figures.json."""
    failures = []
    for row in json.loads(Path(sys.argv[1]).read_text())["rows"]:
        name = f"{row['victim']} victim, task {row['task']}"
        if row["R of random noise"] < CONTROL:
            failures.append(f"{name}: R of random noise is {row['R of random noise']:.2f}, expected at least {CONTROL}")
        if row["R of protected"] > LIMITS[row["victim"]]:
            failures.append(f"{name}: R is {row['R of protected']:.2f}, expected at most {LIMITS[row['victim']]}")
    if failures:
        sys.exit("\n".join(failures))
    print("the quickstart's figures hold")


if __name__ == "__main__":
    main()
