"""Do the tests notice wrong code? Breaks one operator, number or condition at a time, and runs the tests that reach it.

    python benchmarks/mutants.py --jobs 2

First it runs all tests once as they are, to see which reach which line; those that fail as they are count for nothing. Each
run is a fork of one process that has imported torch, so that it takes seconds. A sample of the places is drawn by a seed. What
stands in the folder of ``--work`` is not done again, except survivors with ``--again``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from mutation.forks import Work, answers, reached, tried
from mutation.places import Place, places

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mtlue"
RESULTS = ROOT / "benchmarks" / "results" / "mutants.json"
#: Why no test need notice a mutant: a heading, and a line for each mutant under it.
EXPLAINED = RESULTS.with_name("mutants-explained.md")
#: What is broken.
MODULES = (
    "_tasks/*.py", "_generator/*.py", "_losses/*.py", "_regularizers.py",
    "_formats/store.py", "_formats/stored_images.py", "_formats/manifest.py", "_formats/verify.py", "_formats/parts.py",
    "_runtime/tensor_file.py", "_runtime/files.py",
)  # fmt: skip
#: What was added after these were drawn from, and its figures: ``--modules`` with these names, and ``--json``.
LATER = (
    "_losses/class_balance.py", "_losses/restarted_em.py", "_formats/shard_writer.py", "_runtime/share.py",
    "_runtime/joint_step.py", "_runtime/joint_batch_norm.py", "_runtime/job.py", "_runtime/joint_call.py", "_runtime/ranks.py",
    "_protect/arguments.py", "_protect/collecting.py", "_protect/stages.py",
)  # fmt: skip
LATER_RESULTS = RESULTS.with_name("mutants-later.json")
#: What is to notice it: files, and folders of them. The first are run first.
TESTS = (
    "tests/tasks", "tests/losses", "tests/generator", "tests/protect", "tests/formats", "tests/fit", "tests/data", "tests/api",
    "tests/check", "tests/runtime/test_files.py", "tests/runtime/test_tensor_file.py", "tests/baselines/test_shortcut.py",
    "tests/defenses/test_defenses_heads.py", "tests/defenses/test_defenses_last_layer.py",
    "tests/defenses/test_defenses_simclr.py",
    "src/mtlue/_tasks", "src/mtlue/_generator", "src/mtlue/_losses", "src/mtlue/_formats",
)  # fmt: skip
_LIBRARIES = ("torchvision", "hypothesis", "numpy", "PIL.Image", "torchmetrics", "matplotlib.pyplot")


def drawn(count: int, seed: int, modules: Sequence[str] = MODULES) -> tuple[int, list[Place]]:
    """How many places there are, and some of them: the same ones while their code stays."""
    every = [place for pattern in modules for file in sorted(SOURCE.glob(pattern)) for place in places(file, SOURCE)]
    return len(every), sorted(every, key=lambda place: hashlib.sha256(f"{seed} {place.name}".encode()).digest())[:count]


def explanations() -> dict[str, str]:
    """Reasons by mutant."""
    reason, found = "", {}
    for line in EXPLAINED.read_text("utf-8").splitlines():
        if line.startswith("## "):
            reason = line.removeprefix("## ")
        elif line.startswith("- "):
            found[line.removeprefix("- ")] = reason
    return found


def test_files(only: list[str]) -> list[str]:
    """Files of tests; a folder of the package counts as one."""
    found = []
    for name in only or TESTS:
        inside = sorted(str(path) for path in Path(name).glob("test_*.py"))
        found += inside or [name]
    return found


def tests_by_name(tests: list[str], jobs: int, work: Path, modules: Sequence[str]) -> dict[str, Any]:
    """What each test reaches. Files of tests are not run again while neither they nor what is broken change."""
    file = work / "reached.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    sources = sorted(path for pattern in modules for path in SOURCE.glob(pattern))
    keys = {f"{test} {_digest([*sources, *(sorted(Path(test).rglob('*.py')) or [Path(test)])])}": test for test in tests}
    todo = [Work(key, reached(test, sources), 240) for key, test in keys.items() if key not in kept]
    for key, answer in answers(todo, jobs):
        kept[key] = answer or {"tests": {}, "failed": ["all, or the limit"]}
        print(f"{keys[key]}: {len(kept[key]['tests'])} tests of use", *kept[key]["failed"], sep="\n  failed: ", flush=True)
        file.write_text(json.dumps(kept))
    return {name: found for key in keys for name, found in kept[key]["tests"].items()} | {"": _imported(kept, keys)}


def _imported(kept: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    lines: dict[str, int] = {}
    for key in keys:
        for file, bits in kept[key]["tests"].get("", {"lines": {}})["lines"].items():
            lines[file] = lines.get(file, 0) | bits
    return {"seconds": 0, "lines": lines}


def _digest(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def tests_of(place: Place, tests: dict[str, Any], budget: float) -> list[str]:
    """The tests that reach a place, the quickest first, as many as so many seconds allow."""
    bits = sum(1 << line for line in place.lines)
    if tests[""]["lines"].get(str(place.file), 0) & bits:  # run at the import: every test of the module may notice
        bits = -1
    found = {name: test["seconds"] for name, test in tests.items() if name and test["lines"].get(str(place.file), 0) & bits}
    chosen, total = [], 0.0
    for name in sorted(found, key=found.__getitem__):
        total += found[name] + 0.02
        if total > budget:
            break
        chosen.append(name)
    return chosen


def tries(todo: list[Place], tests: dict[str, Any], budget: float) -> Iterator[Work]:
    """Work for each mutant."""
    for place in todo:
        chosen = tests_of(place, tests, budget)
        limit = 4 * sum(tests[name]["seconds"] for name in chosen) + 60
        yield Work(place.name, tried(place.file, place.broken(), chosen), limit)


def options_given() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=290, help="how many mutants to draw (default: 290)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only places whose name contains this")
    parser.add_argument("--modules", nargs="*", default=MODULES, help="what to break, below src/mtlue, if not all")
    parser.add_argument("--tests", nargs="*", default=[], help="files and folders of tests, if not all")
    parser.add_argument("--jobs", type=int, default=2, help="forks at a time (default: 2)")
    parser.add_argument("--budget", type=float, default=40, help="seconds of tests for one mutant (default: 40)")
    parser.add_argument("--again", action="store_true", help="also what survived")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "benchmarks" / "cache" / "mutants", help="folder of what is finished"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, help="file of the figures")
    return parser.parse_args()


def main() -> None:
    """Break the modules and report what no test noticed."""
    options = options_given()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    for library in _LIBRARIES:  # what each fork would import again
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    options.work.mkdir(parents=True, exist_ok=True)
    count, chosen = drawn(options.count, options.seed, options.modules)
    log = options.work / "mutants.jsonl"
    ended = {each["mutant"]: each for each in map(json.loads, log.read_text().splitlines())} if log.exists() else {}
    todo = [
        place
        for place in chosen
        if options.only in place.name and (place.name not in ended or (options.again and ended[place.name]["noticed"] == ""))
    ]
    tests = tests_by_name(test_files(options.tests), options.jobs, options.work, options.modules)
    began = time.monotonic()
    with log.open("a") as lines:
        for number, (name, noticed) in enumerate(answers(tries(todo, tests, options.budget), options.jobs), 1):
            record = {"mutant": name, "noticed": "the limit" if noticed is None else noticed}
            ended[name] = record
            print(json.dumps(record, ensure_ascii=False), file=lines, flush=True)
            print(f"{number}/{len(todo)} {time.monotonic() - began:.0f}s {name}: {record['noticed'] or 'SURVIVED'}", flush=True)
    found = [ended[place.name] for place in chosen if place.name in ended]
    figures = {
        "places": count,
        "drawn": len(found),
        "noticed": sum(bool(each["noticed"]) for each in found),
        "survivors": sorted(each["mutant"] for each in found if not each["noticed"]),
    }
    options.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
