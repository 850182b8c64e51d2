"""The messages that docs/troubleshooting.md explains are those that are given."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from provoked_messages import PROVOKED

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each of them says, an error or else a warning, on one line."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("messages"))
        for provoke in PROVOKED:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                try:
                    provoke()
                except Exception as error:
                    said = str(error)
                else:
                    assert warned, f"line {provoke.__code__.co_firstlineno} says nothing"
                    said = str(warned[-1].message)
            found.append(" ".join(said.split()))
    return found


def headings() -> list[str]:
    return re.findall(r"^### (.*)$", PAGE.read_text(), re.M)


def says(message: str, heading: str) -> bool:
    """Whether a message has the words of a heading, in which … stands for anything."""
    return re.match(".*".join(map(re.escape, heading.strip("`").split("…"))), message) is not None


@pytest.mark.parametrize("heading", headings())
def test_a_message_that_is_explained_is_one_that_is_given(messages: list[str], heading: str) -> None:
    assert any(says(message, heading) for message in messages)


def test_every_message_that_was_provoked_is_explained(messages: list[str]) -> None:
    assert len(messages) == len(PROVOKED)
    assert [message for message in messages if not any(says(message, heading) for heading in headings())] == []
