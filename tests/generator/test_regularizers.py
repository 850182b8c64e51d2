"""The two embedding regularisers against their definitions, equations 4 and 5."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mtlue
from literal import literal_inter_er, literal_intra_er
from mtlue._runtime.device import autocast

SHAPES = [[3, 5, 2], [2, 2], [1, 4], [1, 1], [6], [1], [9, 5, 2, 1]]


def random_tables(classes: list[int], *, seed: int = 0) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(number, 2, 3, 2, generator=random) + 0.2 for number in classes]


def degrees(*angles: float) -> Tensor:
    return torch.tensor([[math.cos(math.radians(angle)), math.sin(math.radians(angle))] for angle in angles])


@pytest.mark.parametrize("classes", SHAPES, ids=str)
def test_both_equal_the_double_loop_in_value_and_gradient(classes: list[int]) -> None:
    for fast, slow in ((mtlue.intra_er, literal_intra_er), (mtlue.inter_er, literal_inter_er)):
        tables = [table.requires_grad_() for table in random_tables(classes)]
        value, expected = fast(tables), slow(tables)
        assert value.shape == ()
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
        if expected.requires_grad:
            gradients = torch.autograd.grad(value, tables, allow_unused=True)
            for got, wanted in zip(gradients, torch.autograd.grad(expected, tables, allow_unused=True), strict=True):
                nothing = torch.zeros(()) if got is None else torch.zeros_like(got)
                torch.testing.assert_close(nothing if got is None else got, nothing if wanted is None else wanted)


def test_intra_is_pooled_over_tasks() -> None:
    """Three pairs of cosine 1/2, -1/2, 1/2 (60 and 120 degrees) and one of cosine -1: not the mean of the two means."""
    tables = [degrees(0, 60, 120), degrees(10, 190)]
    assert mtlue.intra_er(tables).item() == pytest.approx((0.5 - 0.5 + 0.5 - 1) / 4, abs=1e-6)
    assert mtlue.intra_er(tables).item() != pytest.approx((0.5 / 3 - 1) / 2, abs=1e-2)


def test_inter_is_the_mean_absolute_cosine_of_classes_of_different_tasks() -> None:
    tables = [degrees(0, 90), 3 * degrees(180), degrees(60)]
    pairs = [1.0, 0.0, 0.5, math.cos(math.radians(30)), 0.5]
    assert mtlue.inter_er(tables).item() == pytest.approx(sum(pairs) / 5, abs=1e-6)


def test_a_single_task_has_no_inter_and_single_classes_no_intra() -> None:
    assert mtlue.inter_er(random_tables([4])).item() == 0.0
    assert mtlue.intra_er(random_tables([1, 1, 1])).item() == 0.0
    assert mtlue.intra_er([]).item() == mtlue.inter_er([]).item() == 0.0
    two, one = random_tables([3, 1])
    assert mtlue.intra_er([two, one]).item() == pytest.approx(mtlue.intra_er([two]).item(), abs=1e-6)


def test_where_there_is_no_pair_the_gradient_is_zero() -> None:
    table = random_tables([1])[0].requires_grad_()
    (mtlue.intra_er([table]) + mtlue.inter_er([table])).backward()
    assert table.grad is not None
    assert not table.grad.any()


def test_a_bank_and_its_tables_agree_and_dense_tasks_take_no_part() -> None:
    torch.manual_seed(0)
    bank = mtlue.ClassEmbeddingBank({"age": 4, "depth": mtlue.Depth(), "gender": 2}, channels=3, size=(2, 2))
    tables = [bank["age"], bank["gender"]]
    for fast, slow in ((mtlue.intra_er, literal_intra_er), (mtlue.inter_er, literal_inter_er)):
        assert torch.equal(fast(bank), fast(tables))
        torch.testing.assert_close(fast(bank), slow(tables), atol=1e-6, rtol=1e-5)
        gradients = torch.autograd.grad(fast(bank), list(bank.parameters()))
        assert all(gradient.abs().max() > 1e-4 for gradient in gradients)


def test_cosines_are_not_rounded_under_autocast() -> None:
    tables = random_tables([5, 3])
    with autocast(torch.device("cpu"), torch.bfloat16):
        values = mtlue.intra_er(tables), mtlue.inter_er(tables)
    assert values == (mtlue.intra_er(tables), mtlue.inter_er(tables))


@settings(max_examples=40)
@given(classes=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 99), data=st.data())
def test_invariants(classes: list[int], seed: int, data: st.DataObject) -> None:
    """In range; no change by a positive scale of any embedding, the order of tasks or of classes; inter also by the sign."""
    tables = random_tables(classes, seed=seed)
    intra, inter = mtlue.intra_er(tables), mtlue.inter_er(tables)
    assert -1 - 1e-6 <= intra.item() <= 1 + 1e-6
    assert 0 <= inter.item() <= 1 + 1e-6
    numbers = st.floats(1e-3, 1e3)
    scales = [
        torch.tensor(data.draw(st.lists(numbers, min_size=number, max_size=number))).reshape(-1, 1, 1, 1) for number in classes
    ]
    scaled = [table * scale for table, scale in zip(tables, scales, strict=True)]
    shuffled = [scaled[position].flip(0) for position in data.draw(st.permutations(range(len(classes))))]
    torch.testing.assert_close(mtlue.intra_er(shuffled), intra, atol=1e-5, rtol=0)
    torch.testing.assert_close(mtlue.inter_er(shuffled), inter, atol=1e-5, rtol=0)
    torch.testing.assert_close(mtlue.inter_er([-tables[0], *tables[1:]]), inter, atol=1e-6, rtol=0)


def test_an_embedding_of_zeros_is_like_no_other() -> None:
    tables = [torch.zeros(2, 3).requires_grad_(), torch.ones(1, 3)]
    assert mtlue.intra_er(tables).item() == mtlue.inter_er(tables).item() == 0.0
    assert torch.autograd.grad(mtlue.inter_er(tables), tables[0])[0].isfinite().all()
