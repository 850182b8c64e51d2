"""Batch sizes, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mtlue._runtime import memory
from mtlue._runtime.memory import BatchSize, fitting_batch_size, out_of_memory, saved_bytes, training_batch_size

CPU = torch.device("cpu")


def step_of_bytes(per_sample: int, fixed: int = 0) -> Callable[[int], Callable[[], object]]:
    """Steps for which autograd keeps so many bytes a sample, and some whatever the batch."""
    weight = torch.ones(max(fixed // 4, 1), requires_grad=True)

    def step_of(count: int) -> Callable[[], object]:
        values = torch.ones(count * per_sample // 4, requires_grad=True)
        return lambda: (values.exp().sum(), weight.exp().sum())

    return step_of


def test_saved_bytes_count_each_storage_once() -> None:
    values = torch.ones(100, requires_grad=True)
    # exp keeps its result; the square keeps that same storage.
    assert saved_bytes(values.exp) == 400
    assert saved_bytes(lambda: values.exp().square()) == 400
    with torch.no_grad():
        assert saved_bytes(values.exp) == 0


@pytest.mark.parametrize(
    ("length", "wanted"),
    [(1, 1), (3, 3), (8, 8), (100, 8), (511, 8), (512, 16), (1000, 16), (1024, 32), (16384, 512), (10**6, 512)],
)
def test_an_epoch_has_32_steps_and_a_step_512_samples_at_most(length: int, wanted: int) -> None:
    assert training_batch_size(step_of_bytes(4), CPU, length=length) == wanted


def test_a_batch_fits_half_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda device: 64000)
    assert fitting_batch_size(1000.0, CPU) == 32
    assert fitting_batch_size(1001.0, CPU) == 16
    assert fitting_batch_size(10**9, CPU) == 1
    # What does not grow with the batch does not count.
    assert training_batch_size(step_of_bytes(1000, fixed=10**6), CPU, length=10**6) == 32
    assert training_batch_size(step_of_bytes(100000), CPU, length=10**6) == 1


def test_total_memory_is_that_of_the_machine() -> None:
    assert 2**28 < memory.total_memory(CPU) < 2**50


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: BaseException, wanted: bool) -> None:
    assert out_of_memory(error) is wanted


def test_batches_cover_the_samples() -> None:
    seen: list[range] = []
    assert [part for part, _ in BatchSize(4).run(seen.append, range(10))] == seen
    assert seen == [range(4), range(4, 8), range(8, 10)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), MemoryError("full"), RuntimeError("out of memory")])
def test_running_out_of_memory_halves_until_it_fits(error: Exception) -> None:
    done: list[int] = []
    tried: list[int] = []

    def step(part: range) -> None:
        tried.append(len(part))
        if len(part) > 3:
            raise error
        done.extend(part)

    size = BatchSize(16)
    with pytest.warns(UserWarning, match="out of memory with") as caught:
        list(size.run(step, range(13)))
    assert [str(warning.message) for warning in caught] == [
        "out of memory with batches of 13 samples; going on with 6",
        "out of memory with batches of 6 samples; going on with 3",
    ]
    assert done == list(range(13))
    assert tried == [13, 6, 3, 3, 3, 3, 1]
    assert size.value == 3


def test_memory_that_runs_out_half_way_repeats_only_what_failed() -> None:
    done: list[int] = []

    def step(part: range) -> None:
        if part == range(4, 8):
            raise torch.OutOfMemoryError("full")
        done.extend(part)

    size = BatchSize(4)
    with pytest.warns(UserWarning, match="out of memory with batches of 4 samples; going on with 2"):
        list(size.run(step, range(9)))
    assert done == list(range(9))


def test_what_a_step_returned_is_counted_once() -> None:
    def step(part: range) -> int:
        if len(part) > 2:
            raise torch.OutOfMemoryError("full")
        return part.start

    with pytest.warns(UserWarning, match="out of memory"):
        counted = list(BatchSize(4).run(step, range(5)))
    assert counted == [(range(2), 0), (range(2, 4), 2), (range(4, 5), 4)]


def test_counting_that_runs_out_of_memory_is_an_error() -> None:
    steps: list[range] = []

    def full(counted: object) -> None:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        list(map(full, BatchSize(4).run(steps.append, range(8))))
    assert steps == [range(4)]


def test_one_sample_that_does_not_fit_is_an_error() -> None:
    def step(part: range) -> None:
        raise torch.OutOfMemoryError("full")

    with pytest.warns(UserWarning, match="going on with 1"), pytest.raises(torch.OutOfMemoryError, match="full"):
        list(BatchSize(2).run(step, range(2)))


def test_other_errors_pass_through() -> None:
    def step(part: range) -> None:
        raise RuntimeError("shapes do not fit")

    size = BatchSize(8)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(size.run(step, range(8)))
    assert size.value == 8
