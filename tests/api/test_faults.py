"""Calls that write, with an error or a kill at some of their operations on files; `benchmarks/robustness.py` takes all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import fault_runs
from fault_runs import Whole, undisturbed
from faults import Faults, in_child
from verb import Verb
from writing_verbs import VERBS

#: Of these every operation is taken, of others so many. The check of several attempts takes seconds.
CHEAP = {"UEGenerator.save over another", "a report"}
TAKEN = {"baselines.random_noise(path=)": 6, "export, WebDataset": 6, "export, PNG, append=True": 6}
TESTED = [verb for verb in VERBS if verb.name not in {"protect(path=, attempts=2)", "export, Parquet", "UEGenerator.save"}]


@pytest.fixture(scope="module", params=TESTED, ids=lambda verb: verb.name)
def case(request: pytest.FixtureRequest) -> tuple[Verb, Whole]:
    return request.param, undisturbed(request.param)


def taken(verb: Verb, whole: Whole, first: int) -> range:
    """Some of the operations of a call."""
    count = len(whole.operations)
    return range(count) if verb.name in CHEAP else range(first, count, -(-count // TAKEN.get(verb.name, 2)))


def test_a_call_that_is_killed_is_made_whole_by_another(case: tuple[Verb, Whole]) -> None:
    verb, whole = case
    for at in taken(verb, whole, 1):
        assert fault_runs.after_kill(verb, whole, at) == [], whole.operations[at]


def test_a_disk_that_fails_is_told_of_and_costs_nothing(case: tuple[Verb, Whole]) -> None:
    verb, whole = case
    for at in taken(verb, whole, 2):
        assert fault_runs.after_error(verb, whole, at) == [], whole.operations[at]


def test_a_full_disk_is_told_of_and_costs_nothing(case: tuple[Verb, Whole]) -> None:
    verb, whole = case
    size = sum(map(len, whole.files.values()))
    assert fault_runs.after_full_disk(verb, whole, size // 2) == []


@pytest.mark.parametrize(
    ("name", "operation", "of"),
    [
        # A draft of the manifest of an export, of which the repeated call knew nothing, was published.
        ("export, WebDataset", "write", "mtlue.json"),
        # One of a key stayed for ever.
        ("UEGenerator.save", "sync", "result"),
        # The key was lost, and the folder to publish was in the way of the command that had written it.
        ("mtlue protect", "unlink", "settings.json"),
        ("mtlue protect", "unlink", "protected.json"),
        # Beside the key an empty file stayed.
        ("mtlue protect", "unlink", "key.pt.lock"),
    ],
)
def test_a_call_that_is_killed_at_an_operation_is_made_whole(name: str, operation: str, of: str) -> None:
    verb = next(verb for verb in VERBS if verb.name == name)
    whole = undisturbed(verb)
    for at, each in enumerate(whole.operations):
        if each.name == operation and Path(each.path).name.startswith(of):
            assert fault_runs.after_kill(verb, whole, at) == [], each


def test_operations_are_counted_fail_and_kill(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "a").write_text("12345678")
        assert (tmp_path / "a").read_text() == "12345678"
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "b").unlink()

    with Faults(tmp_path) as counted:
        work()
        Path(__file__).read_bytes()
    names = [operation.name for operation in counted.operations]
    assert Counter(names) == {"create": 1, "write": 1, "open": 1, "read": names.count("read"), "rename": 1, "unlink": 1}
    with Faults(tmp_path, at=1), pytest.raises(OSError, match="No space left"):
        work()
    with Faults(tmp_path, room=4), pytest.raises(OSError, match="No space left"):
        work()
    assert (tmp_path / "a").read_text() == "1234"

    def die() -> None:
        with Faults(tmp_path, at=1, kill=True):
            work()

    assert in_child(die).signal == 9
    assert (tmp_path / "a").read_text() == "1234"
    assert in_child(lambda: 1 / 0).error == "ZeroDivisionError: division by zero"
