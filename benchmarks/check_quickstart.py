"""Does a run of the quickstart still show what the README says? Exits with an error if not.

One seed on another processor gives other figures by some points: the limits leave room for that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Residual learnability that a ten-class task may keep, by kind of victim, and what it must keep with random noise.
LIMITS = {"multi-task": 0.25, "single-task": 0.35}
CONTROL = 0.8


def main() -> None:
    """Check one figures.json."""
    failures = []
    for row in json.loads(Path(sys.argv[1]).read_text())["rows"]:
        if row["chance"] > 0.1:
            continue
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
