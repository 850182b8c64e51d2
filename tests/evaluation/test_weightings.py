"""What holds for any weighting of the tasks' losses: what it reaches, what it leaves alone, and what it refuses."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mtlue._runtime.device import autocast
from mtlue.evaluation._weighting import RLW, UW, AlignedMTL, FairGrad, Uniform, Weighting
from optional import needs
from weighted_tasks import CPU, TwoTasks, grad_of, gradients, step, weigh

needs("torchjd", extra="evaluation")

ALL: list[Callable[[], Weighting]] = [Uniform, RLW, UW, AlignedMTL, FairGrad]
BY_GRADIENT: list[Callable[[], Weighting]] = [AlignedMTL, FairGrad]


@pytest.mark.parametrize("make", BY_GRADIENT)
def test_gradients_that_cancel_give_a_finite_step(make: Callable[[], Weighting]) -> None:
    assert all(map(math.isfinite, weigh(make(), [1.0, 2.0], [-1.0, -2.0])))


@pytest.mark.parametrize("make", BY_GRADIENT)
def test_a_gradient_that_is_not_finite_is_refused_and_named(make: Callable[[], Weighting]) -> None:
    for wrong in (math.nan, math.inf):
        with pytest.raises(FloatingPointError, match=r"the gradient of \['1'\] is not finite"):
            weigh(make(), [1.0, 2.0], [wrong, 1.0])


def test_weights_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairGrad, "weights", lambda self, gramian: gramian[0] * math.nan)
    with pytest.raises(FloatingPointError, match=r"FairGrad\(alpha=1\): no finite weights"):
        weigh(FairGrad(), [1.0, 2.0], [2.0, 1.0])


@pytest.mark.parametrize("make", BY_GRADIENT)
def test_what_one_task_alone_reaches_gets_its_plain_gradient(make: Callable[[], Weighting]) -> None:
    module = TwoTasks()
    _, heads = gradients(module)
    step(make(), module)
    torch.testing.assert_close([head.grad for head in module.heads], heads)
    assert module.unused.grad is None


@pytest.mark.parametrize("make", BY_GRADIENT)
def test_only_shared_parameters_decide_the_weights(make: Callable[[], Weighting]) -> None:
    """A head with a huge gradient changes nothing for the others."""
    plain, loud = TwoTasks(), TwoTasks()
    extra = nn.Parameter(torch.ones(()))
    loud.register_parameter("extra", extra)
    expected = step(make(), plain)
    weighting = make()
    weighting.prepare(2, CPU)
    losses = loud.losses()
    weighting.backward({"age": losses["age"] + 1000 * extra, "gender": losses["gender"]}, loud)
    np.testing.assert_allclose(grad_of(loud), expected, rtol=1e-5)
    assert extra.grad is not None
    assert extra.grad.item() == 1000


@pytest.mark.parametrize("make", BY_GRADIENT)
def test_a_parameter_shared_by_some_tasks_counts_as_zero_for_the_others(make: Callable[[], Weighting]) -> None:
    class ThreeTasks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.all, self.two = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

    module, weighting = ThreeTasks(), make()
    weighting.prepare(3, CPU)
    a, b = module.all, module.two
    weighting.backward({"x": a + 2 * b, "y": 3 * a - b, "z": 4 * a}, module)
    assert a.grad is not None
    assert b.grad is not None
    expected = weigh(make(), [1.0, 2.0], [3.0, -1.0], [4.0, 0.0])
    assert [a.grad.item(), b.grad.item()] == pytest.approx(expected, rel=1e-4)


def test_frozen_parameters_are_left_out() -> None:
    module = TwoTasks()
    module.shared[0].requires_grad_(False)
    step(AlignedMTL(), module)
    assert module.shared[0].grad is None
    assert module.shared[1].grad is not None


@pytest.mark.parametrize("make", ALL)
def test_gradients_are_added_to_those_that_are_there(make: Callable[[], Weighting]) -> None:
    once, twice = TwoTasks(), TwoTasks()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        step(make(), once)
        for parameter in twice.parameters():
            parameter.grad = torch.full_like(parameter, 10.0)
        torch.manual_seed(0)
        step(make(), twice)
    for one, two in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(two.grad, 10 + (torch.zeros_like(one) if one.grad is None else one.grad))


@pytest.mark.parametrize(("make", "share"), [(Uniform, 1.0), (RLW, 1.0), (UW, 0.5), (AlignedMTL, 1.0), (FairGrad, 1.0)])
def test_a_single_task_gets_its_plain_gradient(make: Callable[[], Weighting], share: float) -> None:
    """Kendall's loss has a factor of one half."""
    assert weigh(make(), [3.0, -4.0]) == pytest.approx([3 * share, -4 * share])


@pytest.mark.parametrize("make", BY_GRADIENT)
def test_the_loss_of_a_task_without_labels_may_be_a_constant(make: Callable[[], Weighting]) -> None:
    module, weighting = nn.Linear(2, 1, bias=False), make()
    weighting.prepare(2, CPU)
    weighting.backward({"age": module(torch.tensor([1.0, 2.0])).sum(), "gender": torch.zeros(())}, module)
    assert module.weight.grad is not None
    assert module.weight.grad.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("make", ALL)
def test_losses_in_bfloat16(make: Callable[[], Weighting]) -> None:
    module = nn.Conv1d(1, 1, 2, bias=False)
    with autocast(torch.device("cpu"), torch.bfloat16):
        answer = module(torch.eye(2).unsqueeze(1)).flatten()
        assert answer.dtype == torch.bfloat16
        weighting = make()
        weighting.prepare(2, CPU)
        weighting.backward({"age": answer[0], "gender": answer[1]}, module)
    assert module.weight.grad is not None
    assert module.weight.grad.dtype == torch.float32
    assert (module.weight.grad > 0).all()


@pytest.mark.parametrize("make", [RLW, UW, AlignedMTL, FairGrad])
def test_without_torchjd_the_install_line_is_told(make: Callable[[], Weighting], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torchjd.scalarization", "torchjd.aggregation"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "mtlue\[evaluation\]"'):
        make()


def test_without_scipy_fairgrad_tells_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r'scipy .* pip install "mtlue\[evaluation\]"'):
        FairGrad()


@pytest.mark.parametrize(
    ("alpha", "error", "words"),
    [
        (-1.0, ValueError, "alpha: expected a number >= 0, got -1.0"),
        (math.nan, ValueError, "alpha: .* got nan"),
        ("fair", TypeError, "alpha: expected a number, got 'fair'"),
    ],
)
def test_wrong_alpha(alpha: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        FairGrad(alpha=alpha)


def test_each_is_shown_as_the_call_that_makes_it() -> None:
    assert [repr(make()) for make in ALL] == ["Uniform()", "RLW()", "UW()", "AlignedMTL()", "FairGrad(alpha=1)"]
    assert repr(FairGrad(alpha=0.5)) == "FairGrad(alpha=0.5)"
