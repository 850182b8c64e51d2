"""Where a module can be broken, and how."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAIRS: list[tuple[type[ast.AST], type[ast.AST]]] = [
    (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot), (ast.Add, ast.Sub),
    (ast.Mult, ast.Div), (ast.And, ast.Or), (ast.BitAnd, ast.BitOr), (ast.FloorDiv, ast.Mod),
]  # fmt: skip
_SWAPS = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
_Change = Callable[[Any], None]


@dataclass(frozen=True)
class Place:
    """One change of one module. ``name`` says which, and stays the same when other lines move."""

    file: Path
    name: str
    lines: range
    _node: int
    _change: int

    def broken(self) -> ast.Module:
        """The module with the change."""
        tree = ast.parse(self.file.read_text("utf-8"))
        node = list(ast.walk(tree))[self._node]
        list(_changes(node))[self._change](node)
        return ast.fix_missing_locations(tree)


def places(file: Path, within: Path) -> list[Place]:
    """Everything that can be broken in a file, named from a folder above it."""
    tree = ast.parse(file.read_text("utf-8"))
    skipped = {id(inner) for node in ast.walk(tree) for part in _no_behaviour(node) for inner in ast.walk(part)}
    scopes, lines = _scopes_and_lines(tree)
    seen: Counter[str] = Counter()
    found = []
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        for number, change in enumerate(_changes(node)):
            copied = copy.deepcopy(node)
            change(copied)
            before, after = (ast.unparse(getattr(each, "test", each)) for each in (node, copied))
            name = f"{file.relative_to(within)} {scopes[id(node)]}: `{before}` → `{after}`"
            seen[name] += 1
            name += f" ({seen[name]})" if seen[name] > 1 else ""
            found.append(Place(file, name, lines[id(node)], index, number))
    return found


def _no_behaviour(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations, messages, and guards against our own faults."""
    for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        if isinstance(part, ast.AST):
            yield part
    if isinstance(node, ast.Raise | ast.JoinedStr) or (
        isinstance(node, ast.AnnAssign) and "Alias" in ast.unparse(node.annotation)
    ):
        yield node
    elif isinstance(node, ast.Call):
        if "warn" in ast.unparse(node.func):
            yield node
        if ast.unparse(node.func) == "zip":
            yield from node.keywords


def _scopes_and_lines(tree: ast.Module) -> tuple[dict[int, str], dict[int, range]]:
    """The function or class about each node, and the lines of the smallest statement or clause that it belongs to."""
    scopes: dict[int, str] = {}
    lines: dict[int, range] = {}

    def visit(node: ast.AST, scope: str, span: range) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            scope = f"{scope}.{node.name}".lstrip(".")
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            span = range(node.lineno, max(end, node.lineno) + 1)
        scopes[id(node)], lines[id(node)] = scope or "module", span
        for child in ast.iter_child_nodes(node):
            visit(child, scope, span)

    visit(tree, "", range(0))
    return scopes, lines


def _changes(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.Compare):
        yield from (lambda node, at=at: _swap_comparison(node, at) for at, op in enumerate(node.ops) if type(op) in _SWAPS)
    elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _SWAPS:
        yield _swap
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield _drop
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield _count_on
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield _negate


def _swap_comparison(node: ast.Compare, at: int) -> None:
    node.ops[at] = _SWAPS[type(node.ops[at])]()  # type: ignore[call-overload]


def _swap(node: Any) -> None:
    node.op = _SWAPS[type(node.op)]()


def _drop(node: ast.UnaryOp) -> None:
    if isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    else:
        node.op = ast.UAdd()


def _count_on(node: ast.Constant) -> None:
    node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator]


def _negate(node: Any) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)
