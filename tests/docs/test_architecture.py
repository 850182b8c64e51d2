"""What the source may import and call, and what importing it loads."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mtlue

ROOT = Path(mtlue.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
PUBLIC = {"analysis", "baselines", "datasets", "defenses", "evaluation"}
# Data flows from one layer to the next; packages of one layer do not know each other.
LAYERS = [
    {"_checks"},
    {"_runtime"},
    {"_tasks"},
    {"_data"},
    {"_generator"},
    {"_regularizers", "_losses"},
    {"_models"},
    {"_fit", "_formats"},
    {"_check"},
    {"_protect"},
]
# Above everything: it uses what the others offer, and nobody imports it.
TOP = {"_cli", "__main__"}
LAYER_OF = {package: level for level, layer in enumerate(LAYERS) for package in layer}
OPTIONAL = {
    "captum", "cvxpy", "datasets", "huggingface_hub", "matplotlib", "pandas", "pyarrow", "scipy", "sklearn", "torchjd",
    "torchmetrics", "tqdm", "webdataset",
}  # fmt: skip
# Which public subpackages another one may know.
KNOWN = {"analysis": set(), "baselines": set(), "datasets": set(), "defenses": set(), "evaluation": {"baselines", "defenses"}}


def package_of(path: Path) -> str:
    """The first part of a module's path under mtlue; empty for mtlue itself."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py").replace("__init__", "")


def is_core(path: Path) -> bool:
    return package_of(path) not in PUBLIC | TOP


def imported(path: Path) -> Iterator[str]:
    """Absolute names of all modules, or of names in them, that a file imports at any place."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_packages(path: Path) -> set[str]:
    """Which packages of mtlue a file imports."""
    names = (name.split(".") for name in imported(path))
    return {parts[1] if len(parts) > 1 else "" for parts in names if parts[0] == "mtlue"} - {package_of(path)}


def test_every_core_package_has_a_layer() -> None:
    assert {package_of(path) for path in MODULES if is_core(path)} - {""} == set(LAYER_OF)


@pytest.mark.parametrize("path", [path for path in MODULES if is_core(path)], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_only_what_lies_below(path: Path) -> None:
    """No public subpackage, nothing to its right, nothing of mtlue's own namespace; and _checks nothing of mtlue."""
    level = LAYER_OF.get(package_of(path), len(LAYERS))
    below = {package for package, other in LAYER_OF.items() if other < level}
    assert imported_packages(path) <= below


def test_nobody_imports_the_command_line() -> None:
    for path in MODULES:
        if package_of(path) != "__main__":
            assert not imported_packages(path) & TOP, path


def test_a_package_is_imported_by_what_it_offers() -> None:
    """Not from its modules: they are its own business."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    deep = [
        f"{path.relative_to(ROOT)}: {node.module}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and len(parts := (node.module or "").split(".")) > 2
        and parts[1] in packages - {package_of(path)}
    ]
    assert deep == []


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_a_subpackage_knows_only_the_core_and_what_is_listed(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert imported_packages(path) & PUBLIC <= KNOWN[package], path


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_importing_a_subpackage_loads_no_optional_library(package: str) -> None:
    code = f"""
import sys, torch, torchvision
before = set(sys.modules)
import mtlue.{package}
print(sorted({{name.split(".")[0] for name in set(sys.modules) - before}} & {OPTIONAL}))
"""
    assert run_fresh(code) == "[]"


@pytest.mark.parametrize(("package", "known"), [("_runtime", {"_checks"}), ("_tasks", set())])
def test_the_lowest_packages_know_nothing_else_of_mtlue(package: str, known: set[str]) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert imported_packages(path) <= known, path


def test_nothing_asserts_seeds_globally_or_names_cuda() -> None:
    faults = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Assert) or called.endswith((
                ".cuda",
                "torch.manual_seed",
                "manual_seed_all",
                "random.seed",
            )):
                faults.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    # The one place that puts the caller's state back afterwards.
    assert [fault for fault in faults if not fault.startswith("_runtime/seeds.py") or ": random.seed(" not in fault] == []


def run_fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_mtlue_loads_no_optional_library_and_changes_no_setting() -> None:
    """Beyond what torch and torchvision do by themselves."""
    unwanted = OPTIONAL | {f"mtlue.{name}" for name in PUBLIC}
    code = f"""
import random, sys, warnings, torch, torchvision
def state():
    return (torch.get_rng_state().tolist(), random.getstate(), torch.get_num_threads(), torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(), warnings.filters[:])
modules, before = set(sys.modules), state()
import mtlue
loaded = set(sys.modules) - modules
print(sorted(name for name in loaded if name in {unwanted} or name.split(".")[0] in {unwanted}), state() == before)
"""
    assert run_fresh(code) == "[] True"


def test_mtlue_works_where_no_optional_library_is_installed() -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({OPTIONAL}))
import torch, mtlue
generator = mtlue.UEGenerator({{"age": 2}}, (3, 4, 4), width=2)
data = [(torch.rand(3, 4, 4), 0), (torch.rand(3, 4, 4), 1)]
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
mtlue.fit(generator, data, net, loss=mtlue.EM(), epochs=1, batch_size=2, progress=True)
print(len(mtlue.protect(data, generator=generator, progress=True)))
"""
    assert run_fresh(code) == "2"


def test_every_public_name_is_there_and_documented() -> None:
    assert len(set(mtlue.__all__)) == len(mtlue.__all__)
    for name in mtlue.__all__:
        text = getattr(mtlue, name).__doc__
        assert text, name
        # A dataclass and a protocol without a docstring get one that is made up.
        assert not text.startswith(f"{name}("), name


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_every_public_name_of_a_subpackage_is_there_and_documented(package: str) -> None:
    module = importlib.import_module(f"mtlue.{package}")
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        text = getattr(module, name).__doc__
        assert text, name
        assert not text.startswith(f"{name}("), name


def test_every_module_says_what_it_is_for() -> None:
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_the_package_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()
