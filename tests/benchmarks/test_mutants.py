"""Code that is broken on purpose: where, whether it is noticed, and what the page says of it."""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from pathlib import Path

import pytest

import mutants
import render
from mutation.forks import Work, answers, reached, tried
from mutation.places import places

# What Python 3.12 says of a fork beside threads, such as those of pytest-xdist.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

CODE = '''"""A module."""

SIDES: tuple[int, ...] = (4, 5)


class Shape:
    def fits(self, side: int) -> bool:
        """Return whether it fits."""
        if not side > -SIDES[0] or side is None:
            raise ValueError(f"{side + 1} is too small")
        return all(one == other for one, other in zip([side], [side % 7], strict=True))
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    file = tmp_path / "shapes.py"
    file.write_text(CODE)
    return file


def test_what_can_be_broken(module: Path) -> None:
    found = places(module, module.parent)
    assert sorted(place.name for place in found) == sorted([
        "shapes.py module: `4` → `5`",
        "shapes.py module: `5` → `6`",
        "shapes.py Shape.fits: `not side > -SIDES[0] or side is None` → `not (not side > -SIDES[0] or side is None)`",
        "shapes.py Shape.fits: `not side > -SIDES[0] or side is None` → `not side > -SIDES[0] and side is None`",
        "shapes.py Shape.fits: `not side > -SIDES[0]` → `not not side > -SIDES[0]`",
        "shapes.py Shape.fits: `side > -SIDES[0]` → `side >= -SIDES[0]`",
        "shapes.py Shape.fits: `-SIDES[0]` → `+SIDES[0]`",
        "shapes.py Shape.fits: `0` → `1`",
        "shapes.py Shape.fits: `side is None` → `side is not None`",
        "shapes.py Shape.fits: `one == other` → `one != other`",
        "shapes.py Shape.fits: `7` → `8`",
        "shapes.py Shape.fits: `side % 7` → `side // 7`",
    ])
    for place in found:
        code = ast.unparse(place.broken())
        assert code != ast.unparse(ast.parse(CODE))
        assert place.name.partition("→ `")[2].rstrip("`") in code


def test_a_place_keeps_its_name_when_lines_move(module: Path) -> None:
    names = [place.name for place in places(module, module.parent)]
    lines = [place.lines for place in places(module, module.parent)]
    module.write_text(CODE.replace("\n\n\nclass", "\n\n\n\n\nclass"))
    assert [place.name for place in places(module, module.parent)] == names
    assert [place.lines for place in places(module, module.parent)] != lines
    module.write_text("def f(x):\n    return x + 1 + 1\n")
    assert [place.name for place in places(module, module.parent)][-2:] == [
        "shapes.py f: `1` → `2`",
        "shapes.py f: `1` → `2` (2)",
    ]


def test_forks_answer_some_at_a_time_and_none_outlives_its_limit() -> None:
    works = [
        Work("good", lambda folder: os.environ["TMPDIR"] == str(folder), 30),
        Work("hangs", lambda _: time.sleep(60), 0.2),
        Work("dies", lambda _: os._exit(3), 30),
    ]
    began = time.monotonic()
    assert dict(answers(works, 2)) == {"good": True, "hangs": None, "dies": None}
    assert time.monotonic() - began < 20


def test_the_tests_that_reach_a_place_notice_it_or_not(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = module.with_name("test_shapes.py")
    test.write_text(
        "import shapes\n"
        "def test_large(): assert shapes.Shape().fits(3)\n"
        "def test_small():\n"
        "    try: shapes.Shape().fits(-9)\n"
        "    except ValueError: return\n"
        "    assert False\n"
        "def test_wrong(): assert not shapes.Shape().fits(3)\n"
        "def test_elsewhere(): assert shapes.SIDES\n"
    )
    monkeypatch.chdir(module.parent)
    monkeypatch.syspath_prepend(str(module.parent))
    ((_, found),) = answers([Work("", reached("test_shapes.py", [module]), 60)], 1)
    assert [name.partition("::")[2] for name in found["failed"]] == ["test_wrong"]
    broken = {place.name.partition(": ")[2]: place for place in places(module, module.parent)}
    returned = broken["`one == other` → `one != other`"]
    assert mutants.tests_of(returned, found["tests"], 60) == ["test_shapes.py::test_large"]
    assert mutants.tests_of(returned, found["tests"], 0) == []
    at_import = broken["`5` → `6`"]
    assert len(mutants.tests_of(at_import, found["tests"], 60)) == 2
    noticed = {
        "`one == other` → `one != other`": "test_shapes.py::test_large",
        "`5` → `6`": "",
        "`side > -SIDES[0]` → `side >= -SIDES[0]`": "",
    }
    chosen = {name: mutants.tests_of(broken[name], found["tests"], 60) for name in noticed}
    works = [Work(name, tried(module, broken[name].broken(), tests), 60) for name, tests in chosen.items()]
    assert dict(answers(works, 3)) == noticed


def test_the_same_places_are_drawn_and_what_is_finished_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mutants.ROOT)
    monkeypatch.setattr(mutants, "_LIBRARIES", ())
    monkeypatch.setattr(mutants, "MODULES", ("_generator/bound.py",))
    monkeypatch.setattr(mutants, "tests_by_name", lambda *_: {"": {"seconds": 0, "lines": {}}})
    figures, file = [], tmp_path / "figures.json"
    for words in (["--count", "2"], ["--count", "3"]):
        monkeypatch.setattr(
            sys, "argv", ["mutants.py", *words, "--work", str(tmp_path), "--json", str(tmp_path / "figures.json")]
        )
        mutants.main()
        figures.append(json.loads(file.read_text()))
    assert [each["drawn"] for each in figures] == [2, 3]
    assert set(figures[0]["survivors"]) < set(figures[1]["survivors"])
    assert len((tmp_path / "mutants.jsonl").read_text().splitlines()) == 3


def test_the_page_and_the_explanations_say_what_was_found() -> None:
    parts = [json.loads(file.read_text()) for file in (mutants.RESULTS, mutants.LATER_RESULTS)]
    page = (Path(render.ROOT) / "docs" / "robustness.md").read_text()
    assert f"<!-- table: mutants -->\n{render.mutants_text()}\n<!-- end -->" in page
    explained = mutants.explanations()
    assert sorted(explained) == sorted(name for figures in parts for name in figures["survivors"])
    assert all(explained.values())
    for figures in parts:
        assert figures["drawn"] == figures["noticed"] + len(figures["survivors"])


def test_what_is_explained_is_there() -> None:
    modules = [*mutants.MODULES, *mutants.LATER]
    assert set(mutants.explanations()) <= {place.name for place in mutants.drawn(10**6, 0, modules)[1]}
