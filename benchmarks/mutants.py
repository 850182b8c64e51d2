"""Do the tests notice wrong code? Breaks one operator, number or condition at a time, and runs the tests of its module.

Each mutant runs in a fork of one process that has imported torch, so that it takes seconds. A sample is drawn by a seed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.machinery
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision  # noqa: F401  # what each fork would import again

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mtlue"
#: The tests that are to notice, by the modules that they are about.
TESTS = {
    "_tasks/labels.py": "tests/tasks/test_labels.py tests/tasks/test_tasks.py tests/losses/test_targets_and_outputs.py",
    "_tasks/infer.py": "tests/tasks/test_infer_tasks.py",
    "_tasks/*.py": "tests/tasks",
    "_generator/bound.py": "tests/generator/test_generator.py",
    "_generator/*embed*.py": "tests/generator/test_embeddings.py tests/generator/test_dense_mean_embedding.py",
    "_regularizers.py": "tests/generator/test_regularizers.py",
    "_generator/rounding.py": "tests/protect/test_protect.py",
    "_losses/[bet]*.py": "tests/losses/test_losses.py tests/losses/test_own_loss.py tests/api/test_wrong_losses.py",
    "_losses/sep.py": "tests/losses/test_losses.py tests/losses/test_ecosystem_surrogates.py",
    "_losses/surrogate.py": "tests/losses/test_surrogate.py tests/api/test_wrong_models.py",
    "_formats/store.py": "tests/formats/test_store.py tests/formats/test_store_shards.py",
    "_formats/shard_writer.py": "tests/formats/test_store_shards.py",
    "_formats/stored_images.py": "tests/formats/test_store.py tests/formats/test_store_shards.py",
    "_formats/manifest.py": "tests/formats/test_store.py tests/formats/test_export_verify.py",
    "_formats/verify.py": "tests/formats/test_export_verify.py",
}
_PAIRS: list[tuple[type[ast.AST], type[ast.AST]]] = [
    (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot), (ast.Add, ast.Sub),
    (ast.Mult, ast.Div), (ast.And, ast.Or), (ast.BitAnd, ast.BitOr), (ast.FloorDiv, ast.Mod),
]  # fmt: skip
_SWAPS = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Line, what was done there, and the whole module, once for each place that can be broken."""
    # Annotations and messages are no behaviour.
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None), node if _is_text(node) else None)
        if isinstance(part, ast.AST)
        for inner in ast.walk(part)
    }
    nodes = list(ast.walk(tree))
    for index, node in enumerate(nodes):
        if id(node) in skipped:
            continue
        for change in _changes(node):
            broken = copy.deepcopy(tree)
            told = change(list(ast.walk(broken))[index])
            yield getattr(node, "lineno", 0), told, ast.fix_missing_locations(broken)


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.AnnAssign):
        return "TypeAlias" in ast.unparse(node.annotation)
    return isinstance(node, ast.Raise | ast.JoinedStr) or (isinstance(node, ast.Call) and "warn" in ast.unparse(node.func))


def _changes(node: ast.AST) -> Iterator[Any]:
    if isinstance(node, ast.Compare):
        yield from (lambda copied, at=at: _swap(copied, at) for at, op in enumerate(node.ops) if type(op) in _SWAPS)
    elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _SWAPS:
        yield _swap
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield _drop
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield _other
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield _negate


def _swap(node: Any, at: int | None = None) -> str:
    before = ast.unparse(node)
    if at is None:
        node.op = _SWAPS[type(node.op)]()
    else:
        node.ops[at] = _SWAPS[type(node.ops[at])]()
    return f"`{before}` → `{ast.unparse(node)}`"


def _drop(node: Any) -> str:
    before = ast.unparse(node)
    if isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    else:
        node.op = ast.UAdd()
    return f"`{before}` → `{ast.unparse(node)}`"


def _other(node: Any) -> str:
    before, node.value = node.value, (not node.value) if isinstance(node.value, bool) else node.value + 1
    return f"`{before}` → `{node.value}`"


def _negate(node: Any) -> str:
    before, node.test = ast.unparse(node.test), ast.UnaryOp(ast.Not(), node.test)
    return f"if `{before}` → if not"


def survives(path: Path, tree: ast.Module | None, tests: str, limit: float) -> bool:
    """Whether the tests pass with a broken module in the place of the one in a file."""
    child = os.fork()
    if not child:
        signal.alarm(int(limit))
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        real = importlib.machinery.SourceFileLoader.get_code

        def get_code(self: Any, name: str) -> Any:
            return compile(tree, str(path), "exec") if tree and Path(self.path) == path else real(self, name)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]
        os._exit(int(pytest.main(["-xq", "-p", "no:cacheprovider", *tests.split()])))
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    """Break the modules and report what no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=250, help="how many mutants to draw (default: 250)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="modules whose path has these letters")
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    chosen: dict[Path, str] = {}
    for pattern, tests in TESTS.items():
        for file in sorted(SOURCE.glob(pattern)):
            chosen.setdefault(file, tests)
    every = [(file, tests, *mutant) for file, tests in chosen.items() for mutant in mutants(ast.parse(file.read_text("utf-8")))]
    places = len(every)
    random.Random(options.seed).shuffle(every)
    drawn = [each for each in every[: options.count] if options.only in str(each[0])]
    limits: dict[str, float] = {}
    for tests in sorted({each[1] for each in drawn}):
        began = time.monotonic()
        if not survives(ROOT, None, tests, 600):
            sys.exit(f"the tests fail as they are: {tests}")
        limits[tests] = 4 * (time.monotonic() - began) + 20
    found: dict[str, Any] = {"seed": options.seed, "places": places, "mutants": 0, "killed": 0, "survivors": []}
    for file, tests, line, told, tree in drawn:
        alive = survives(file, tree, tests, limits[tests])
        where = file.relative_to(SOURCE)
        found["mutants"] += 1
        found["killed"] += not alive
        if alive:
            found["survivors"].append(f"{where}:{line}: {told}")
        print(f"{found['mutants']}/{len(drawn)} {'SURVIVED' if alive else 'killed'} {where}:{line} {told}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
