"""What is said of what a check found."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest

import mtlue


def check(**changes: object) -> mtlue.Check:
    found = {
        "residual_learnability": {"race": 0.83, "age": 0.1, "gender": 0.45, "hat": 0.9, "smile": 0.4},
        "single_task": {"race": 0.5, "age": 0.35},
        "noise": {"race": 0.98, "age": 1.0, "gender": 0.9, "hat": 0.95, "smile": 0.95},
        "clean": {"race": 0.5, "age": 0.4, "gender": 0.8, "hat": 0.7, "smile": 0.6, "young": 0.02},
        "luck": {"race": 0.08},
        "untold": {"young": "a small network learns too little of it from clean images"},
        "protected_tasks": ["race", "age", "gender", "young"],
        "images": (1500, 1000),
    }
    return mtlue.Check(**{**found, **changes})  # type: ignore[arg-type]


def test_each_verdict() -> None:
    assert check().verdict == {
        "race": "not protected",
        "age": "weakly protected",  # by the network that learns it alone
        "gender": "weakly protected",
        "hat": "left learnable",
        "smile": "spoilt",
        "young": "cannot tell",
    }
    assert check().still_learned == ["race", "gender", "age"]


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (-0.4, "protected"),
        (0.29, "protected"),
        (0.3, "weakly protected"),
        (0.59, "weakly protected"),
        (0.6, "not protected"),
        (math.nan, "not protected"),
    ],
)
def test_the_borders(share: float, verdict: str) -> None:
    assert mtlue.Check({"a": share}, protected_tasks=["a"]).verdict == {"a": verdict}


def test_an_unprotected_task_may_lose_what_noise_costs() -> None:
    one = mtlue.Check({"a": 0.5}, noise={"a": 0.6})
    assert one.verdict == {"a": "left learnable"}
    assert mtlue.Check({"a": 0.5}, noise={"a": 0.9}).verdict == {"a": "spoilt"}


def test_sentences_that_a_person_understands() -> None:
    assert check().sentences == [
        "race: a small network still learns 83 % of what it learns from clean images",
        "age: a small network of this task alone still learns 35 % of what it learns from clean images",
        "gender: a small network still learns 45 % of what it learns from clean images",
        "hat: left learnable, a small network learns 90 % of what it learns from clean images",
        "smile: spoilt, a small network learns 40 % of what it learns from clean images",
        "young: cannot tell, a small network learns too little of it from clean images",
    ]


def test_the_table() -> None:
    lines = str(check()).splitlines()
    assert lines[0].split() == ["task", "R", "alone", "noise", "verdict"]
    assert lines[1].split() == ["race", "0.83", "±", "0.08", "0.50", "0.98", "not", "protected"]
    assert lines[6].split() == ["young", "–", "–", "–", "cannot", "tell"]
    assert lines[7] == "learned from 1500 images, tested on 1000 others"


def test_json_gives_an_equal_check() -> None:
    assert mtlue.Check.from_json(check().to_json()) == check()
    for text in ("{", "[]", "[" * 100_000, '{"verdict": {}}', '{"verdict": {}, "images": [1, 2], "other": 3}'):
        with pytest.raises(ValueError, match=r"text: expected what Check\.to_json writes"):
            mtlue.Check.from_json(text)


@pytest.mark.parametrize("bad", [None, "x", 5, [1], {"race": None}, {"race": "x"}, {"race": 10**400}])
def test_json_of_a_check_that_was_edited_is_refused_or_can_be_shown(bad: Any) -> None:
    whole = json.loads(check().to_json())
    for name in set(whole) - {"verdict"}:
        edited = check()
        with suppress(ValueError):
            edited = mtlue.Check.from_json(json.dumps({**whole, name: bad}))
        assert str(edited)
        assert len(edited.sentences) == len(edited.verdict)
        assert len(edited.protection) == 2


def test_the_stronger_protection() -> None:
    """By the mean over the protected tasks, then by the worst; what cannot be told is no protection."""

    def of(**shares: float) -> tuple[float, float]:
        return mtlue.Check(shares, protected_tasks=["a", "b"]).protection

    order = [of(), of(a=0.9, b=0.9), of(a=0.6, b=0.2), of(a=0.4, b=0.4), of(a=-2.0, b=0.7), of(a=0.0, b=0.0, c=1.0)]
    assert order == sorted(order)
    assert of(a=-5.0, b=0.0) == of(a=0.0, b=0.0)
