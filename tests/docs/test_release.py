"""A release says the same of itself everywhere, and what is wrong with its files is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from distributions import NEEDED, dead_links, faults

ROOT = Path(__file__).parents[2]
#: A wheel and a source distribution with what they need, and no more.
WHOLE = {kind: {name.replace("*", "0.2.0"): 10 for name in names} for kind, names in NEEDED.items()}


def read(name: str, pattern: str) -> str:
    found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M)
    assert found is not None, (name, pattern)
    return found[1]


def test_version_and_date_are_the_same_everywhere() -> None:
    version = read("pyproject.toml", r'^version = "(.+)"$')
    newest = r"^## (?!Unreleased)(.+)$"
    assert read("CITATION.cff", r"^version: (.+)$") == version
    assert read("CHANGELOG.md", newest) == f"{version} – {read('CITATION.cff', r'^date-released: (.+)$')}"


@pytest.mark.parametrize("kind", ["wheel", "source"])
def test_what_has_no_place_in_a_distribution_is_named(kind: str) -> None:
    assert list(faults(kind, WHOLE[kind])) == []
    for name in WHOLE[kind]:
        rest = {each: size for each, size in WHOLE[kind].items() if each != name}
        (missing,) = faults(kind, rest)
        assert missing.endswith("is missing")
    folder = "mtlue" if kind == "wheel" else "docs"
    assert list(faults(kind, {**WHOLE[kind], f"{folder}/large.py": 5_000_000})) == [
        f"{folder}/large.py has 5000000 bytes, expected at most 4500000"
    ]
    for name in ("faces/1.jpg", "key.pt", f"{folder}/face.jpg"):
        assert f"{name} is not to be published" in list(faults(kind, {**WHOLE[kind], name: 1}))
    assert "tests2/x.py does not belong there" in list(faults(kind, {**WHOLE[kind], "tests2/x.py": 1}))


def test_a_source_distribution_has_what_its_pages_include() -> None:
    included = re.findall(r'"(.+?)"', read("pyproject.toml", r"(?s)sdist\]\ninclude = \[(.+?)^\]"))
    assert all((ROOT / name).exists() for name in included)
    pages = re.findall(r"{include} \.\./([A-Z]\S+)", "".join(page.read_text() for page in (ROOT / "docs").glob("*.md")))
    assert pages
    assert set(pages) <= set(included)


def test_a_package_index_gets_a_readme_without_dead_links() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = dead_links(text)
    assert "docs/_static/quickstart.png" in targets
    assert all((ROOT / target.partition("#")[0]).is_file() for target in targets)
    substitutions = re.findall(
        r"^pattern = '(.+)'\nreplacement = '(.+)'$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M
    )
    for pattern, replacement in substitutions:
        text = re.sub(pattern, replacement, text)
    assert dead_links(text) == []
    # It says where the files are instead.
    assert all(f"`{target}`" in text for target in targets)
