"""Thousands of calls of every public function, right and wrong: a right result, or an error that names the argument.

``python benchmarks/fuzz.py --cases 20000`` makes them in parts of 2000, each with a seed of its own, and prints what came of
them. `tests/fuzzing_cases.py` says what a call is made of, and `tests/fuzzing.py` what must hold of it; the tests make 200.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_PART = 2000


def run_part(cases: int, seed: int, report: Path) -> tuple[Counter[str], str]:
    """What came of some calls by kind, and what is told of one that is wrong; nothing if there is none."""
    settings = {"MTLUE_FUZZ": str(cases), "MTLUE_FUZZ_SEED": str(seed), "MTLUE_FUZZ_REPORT": str(report)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "tests/api/test_fuzz.py"],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = json.loads(report.read_text()) if report.exists() else {}
    # One that was killed, or crashed, says nothing itself.
    failure = f"exit status {done.returncode}\n{done.stdout}{done.stderr}" if done.returncode else ""
    return Counter(verdicts), failure


def table(verdicts: Counter[str], seconds: float) -> str:
    """The verdicts as Markdown."""
    refused = sum(verdicts.values()) - verdicts["right"]
    rows = [("a right result", verdicts["right"]), ("an error that names the argument", refused)]
    lines = ["| what came of a call | calls |", "|---|---|", *(f"| {name} | {count:,} |" for name, count in rows)]
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(verdicts.items()) if kind != "right")
    return "\n".join([*lines, "", f"Refusals: {kinds}. {seconds:.0f} s."])


def figures(verdicts: Counter[str], seeds: list[int], cases: int) -> dict[str, Any]:
    """The verdicts as `benchmarks/robustness.py` shows them."""
    told = sum(verdicts.values())
    return {
        "seeds": seeds,
        "calls": cases,
        "a right result": verdicts["right"],
        "an error that names the argument": told - verdicts["right"],
        # A part ends at its first failure.
        "anything else": cases - told,
    }


def main() -> None:
    """Make the calls."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first part; the next one has the next")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    verdicts: Counter[str] = Counter()
    started, failures = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for part, first in enumerate(range(0, options.cases, _PART)):
            seed = options.seed + part
            found, failure = run_part(min(_PART, options.cases - first), seed, Path(folder, f"{seed}.json"))
            verdicts += found
            failures += [f"seed {seed}:\n{failure}"] if failure else []
            print(f"seed {seed}: {sum(found.values())} calls{', FAILED' if failure else ''}", flush=True)
    if options.json is not None:
        seeds = list(range(options.seed, options.seed + -(-options.cases // _PART)))
        options.json.write_text(json.dumps(figures(verdicts, seeds, options.cases), indent=1) + "\n")
    print(table(verdicts, time.monotonic() - started), *failures, sep="\n\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
