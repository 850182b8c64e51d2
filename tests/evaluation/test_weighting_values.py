"""Weightings of the tasks' losses, each against values worked out apart from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from mtlue.evaluation._weighting import RLW, UW, AlignedMTL, FairGrad, Uniform
from optional import needs
from weighted_tasks import CPU, TwoTasks, gradients, step, weigh

needs("torchjd", extra="evaluation")


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
