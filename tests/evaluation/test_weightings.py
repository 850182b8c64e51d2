"""Weightings of the tasks' losses, against values worked out apart from them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtlue.evaluation._weighting import RLW, UW, AlignedMTL, FairGrad, Uniform, Weighting
from optional import needs
from processor import computes_in_bfloat16

needs("torchjd", extra="evaluation")

ALL: list[Callable[[], Weighting]] = [Uniform, RLW, UW, AlignedMTL, FairGrad]
BY_GRADIENT: list[Callable[[], Weighting]] = [AlignedMTL, FairGrad]
CPU = torch.device("cpu")


class TwoTasks(nn.Module):
    """Two shared parameters and a head for each task; the losses are smooth functions of all of them."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.shared = nn.ParameterList([torch.randn(3, 2, generator=random), torch.randn(4, generator=random)])
        self.heads = nn.ParameterList([torch.randn(3, generator=random), torch.randn(2, generator=random)])
        self.unused = nn.Parameter(torch.ones(2))

    def losses(self) -> dict[str, Tensor]:
        matrix, vector = self.shared
        return {
            "age": (self.heads[0] @ matrix).square().sum() + vector.cos().sum(),
            "gender": 3 * (matrix @ self.heads[1]).sin().sum() + vector[:3] @ matrix[:, 0],
        }


def gradients(module: TwoTasks) -> tuple[np.ndarray, list[Tensor]]:
    """The (2, 10) matrix of the shared parameters' gradients, and each task's gradient of its own head."""
    rows, heads = [], []
    for index, loss in enumerate(module.losses().values()):
        *shared, head = torch.autograd.grad(loss, [*module.shared, module.heads[index]], retain_graph=True)
        rows.append(torch.cat([gradient.flatten() for gradient in shared]).double().numpy())
        heads.append(head)
    return np.stack(rows), heads


def step(weighting: Weighting, module: TwoTasks) -> np.ndarray:
    """Gradient of the shared parameters that a weighting leaves, (10,)."""
    weighting.prepare(2, CPU)
    weighting.backward(module.losses(), module)
    return grad_of(module)


def grad_of(module: TwoTasks) -> np.ndarray:
    return np.concatenate([np.zeros(0) if p.grad is None else p.grad.flatten().double().numpy() for p in module.shared])


def aligned(jacobian: np.ndarray) -> np.ndarray:
    """Algorithm 1 of Senushkin et al. on the matrix itself: all its singular values become the smallest."""
    left, lengths, right = np.linalg.svd(jacobian, full_matrices=False)
    matrix: np.ndarray = lengths.min() * left @ right
    return matrix.sum(axis=0)


def fair(jacobian: np.ndarray, alpha: float) -> np.ndarray:
    """Equation 4 of Ban & Ji for two tasks, by bisection on the ratio of the weights.

    With w2 = r·w1, the quotient of the two equations is (a + b·r) / (b + c·r) = r^(1/alpha), and the first gives w1.
    """
    (a, b), (_, c) = jacobian @ jacobian.T
    low, high = -60.0, 60.0
    for _ in range(200):
        middle = (low + high) / 2
        r = math.exp(middle)
        # Where one inner product with the step is not positive, its task needs more weight.
        if b + c * r <= 0:
            low = middle
        elif a + b * r <= 0 or (a + b * r) / (b + c * r) < r ** (1 / alpha):
            high = middle
        else:
            low = middle
    r = math.exp(low)
    first = (a + b * r) ** (-alpha / (alpha + 1))
    step: np.ndarray = first * np.array([1, r]) @ jacobian
    return step


def test_uniform_is_the_mean_of_the_losses() -> None:
    module = TwoTasks()
    jacobian, heads = gradients(module)
    np.testing.assert_allclose(step(Uniform(), module), jacobian.mean(axis=0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close([head.grad for head in module.heads], [head / 2 for head in heads])


def test_aligned_mtl_is_the_sum_of_the_aligned_gradients() -> None:
    module = TwoTasks()
    jacobian, _ = gradients(module)
    np.testing.assert_allclose(step(AlignedMTL(), module), aligned(jacobian), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 1, 2.0, 5.0])
def test_fairgrad_solves_its_equation(alpha: float) -> None:
    module = TwoTasks()
    jacobian, _ = gradients(module)
    np.testing.assert_allclose(step(FairGrad(alpha=alpha), module), fair(jacobian, alpha), rtol=2e-4, atol=1e-5)


def test_fairgrad_with_alpha_zero_is_the_mean() -> None:
    module = TwoTasks()
    np.testing.assert_allclose(step(FairGrad(alpha=0), module), gradients(module)[0].mean(axis=0), rtol=1e-5, atol=1e-6)


def weigh(weighting: Weighting, *rows: list[float]) -> list[float]:
    """Gradient that a weighting makes of linear losses with these gradients."""
    module = nn.Linear(len(rows[0]), 1, bias=False)
    weighting.prepare(len(rows), CPU)
    weighting.backward({str(index): module(torch.tensor(row)).sum() for index, row in enumerate(rows)}, module)
    assert module.weight.grad is not None
    return [float(value) for value in module.weight.grad.flatten()]


def test_aligned_mtl_by_hand() -> None:
    """Orthogonal gradients are all cut to the shortest; of two along one line, the component of length zero is left out."""
    assert weigh(AlignedMTL(), [3.0, 0.0], [0.0, 4.0]) == pytest.approx([3.0, 3.0], rel=1e-5)
    # Singular value sqrt(3² + 4²) = 5, left vector (0.6, 0.8): rows 3 and 4 again.
    assert weigh(AlignedMTL(), [3.0, 0.0], [4.0, 0.0]) == pytest.approx([7.0, 0.0], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1.0, 1e3])
def test_fairgrad_by_hand(scale: float) -> None:
    """Of orthogonal gradients of length n each has the weight n^(-2·alpha/(alpha+1)), at any scale."""
    lengths = [3 * scale, 20 * scale]
    for alpha in (0.5, 1.0, 2.0):
        expected = [length ** (1 - 2 * alpha / (alpha + 1)) for length in lengths]
        assert weigh(FairGrad(alpha=alpha), [lengths[0], 0.0], [0.0, lengths[1]]) == pytest.approx(expected, rel=1e-3)


def test_fairgrad_leaves_out_a_task_without_a_gradient() -> None:
    assert weigh(FairGrad(), [2.0, 0.0], [0.0, 0.0]) == pytest.approx([1.0, 0.0], rel=1e-4)
    assert weigh(FairGrad(), [0.0, 0.0], [0.0, 0.0]) == [0.0, 0.0]


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


def test_rlw_draws_positive_weights_that_sum_to_one_from_the_global_random_numbers() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        drawn = [weigh(RLW(), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]) for _ in range(300)]
        torch.manual_seed(7)
        nn.Linear(3, 1, bias=False)
        expected = torch.randn(3).softmax(dim=0).tolist()
        torch.manual_seed(7)
        again = weigh(RLW(), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    assert drawn[0] == pytest.approx(expected)
    assert drawn[0] == again
    assert drawn[0] != drawn[1]
    weights = np.array(drawn)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.05)


def test_uw_by_hand() -> None:
    """With log-variances 0 and ln 4: the factors are 1/2 and 1/8, and ds = 1/2 - exp(-s)·loss/2."""
    weighting, module = UW(), nn.Linear(2, 1, bias=False)
    weighting.prepare(2, CPU)
    [log_variances] = weighting.parameters()
    assert log_variances.tolist() == [0.0, 0.0]
    with torch.no_grad():
        log_variances[1] = math.log(4)
        module.weight.copy_(torch.tensor([[3.0, 8.0]]))
    weighting.backward({"age": module.weight[0, 0] * 1.0, "gender": module.weight[0, 1] * 1.0}, module)
    assert module.weight.grad is not None
    assert module.weight.grad.tolist() == [[pytest.approx(1 / 2), pytest.approx(1 / 8)]]
    assert log_variances.grad is not None
    assert log_variances.grad.tolist() == pytest.approx([0.5 - 3 / 2, 0.5 - 8 / 8])


def test_uw_begins_each_training_afresh() -> None:
    weighting = UW()
    assert list(weighting.parameters()) == []
    with pytest.raises(RuntimeError, match="UW: call prepare"):
        weighting.backward({"age": torch.zeros((), requires_grad=True)}, nn.Linear(1, 1))
    weighting.prepare(2, CPU)
    [first] = weighting.parameters()
    with torch.no_grad():
        first.fill_(3.0)
    weighting.prepare(3, CPU)
    [second] = weighting.parameters()
    assert second.tolist() == [0.0, 0.0, 0.0]


@computes_in_bfloat16
@pytest.mark.parametrize("make", ALL)
def test_losses_in_bfloat16(make: Callable[[], Weighting]) -> None:
    module = nn.Linear(2, 1, bias=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = module(torch.eye(2)).flatten()
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
