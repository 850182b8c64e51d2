"""The reference has every public name once, and each name has an example that stands for itself."""

from __future__ import annotations

import ast
import builtins
import doctest
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import mtlue

DOCS = Path(__file__).parents[2] / "docs"
PACKAGES = ["mtlue", *(f"mtlue.{module.name}" for module in pkgutil.iter_modules(mtlue.__path__) if module.name[0] != "_")]
PUBLIC = [f"{package}.{name}" for package in PACKAGES for name in pkgutil.resolve_name(package).__all__]


def listed() -> list[str]:
    """The names in the tables of docs/api.md, each with its package."""
    names: list[str] = []
    for block in re.findall(r"```{eval-rst}\n(.*?)```", (DOCS / "api.md").read_text(), re.S):
        package = re.fullmatch(
            r"\.\. (?:currentmodule|automodule):: (\S+)\n\n\.\. autosummary::\n(?:   :\w+:.*\n)+\n((?:   \w+\n)+)", block
        )
        assert package is not None, block
        names += [f"{package[1]}.{name}" for name in package[2].split()]
    return names


def shown_members() -> dict[str, str]:
    """What docs/conf.py has the pages of classes show beside the class, by class."""
    for statement in ast.parse((DOCS / "conf.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "autosummary_context":
            members: Any = ast.literal_eval(statement.value)["shown_members"]
            return dict(members)
    raise AssertionError("docs/conf.py has no autosummary_context")


def examples(name: str) -> list[doctest.Example]:
    """The lines of a name's docstring that are run."""
    found = doctest.DocTestParser().get_examples(pkgutil.resolve_name(name).__doc__ or "")
    return [example for example in found if not example.options.get(doctest.SKIP)]


def unknown_names(code: str) -> set[str]:
    """The names that code uses and neither binds nor imports."""
    used, bound = set(), set(dir(builtins))
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return used - bound


def test_the_reference_lists_every_public_name_once_and_nothing_else() -> None:
    assert sorted(listed()) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example_that_can_be_copied(name: str) -> None:
    found = examples(name)
    assert found
    assert unknown_names("".join(example.source for example in found)) == set()


def test_a_name_that_an_example_does_not_bind_is_found() -> None:
    assert unknown_names("import a.b as c, d.e\ndef f(g):\n    return c + d + f + g + len(h)\n[i for i in j]") == {"h", "j"}


def test_what_the_page_of_a_class_shows_is_there_and_documented() -> None:
    for name, members in shown_members().items():
        assert name in PUBLIC
        for member in filter(None, members.split(", ")):
            assert inspect.getattr_static(pkgutil.resolve_name(name), member).__doc__, f"{name}.{member}"
