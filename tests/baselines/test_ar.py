"""Autoregressive processes: what they generate, and which are accepted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue.baselines import _ar
from mtlue.baselines._ar import AR, draw_coefficients, find_processes, matching_filters, responses, run, start_noise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run_pixel_by_pixel(coefficients: Tensor, start: Tensor) -> Tensor:
    """The definition: in raster order each pixel becomes the dot product with its window, then four rows and columns go."""
    signals = start.clone()
    for signal, weights in zip(signals, coefficients, strict=True):
        for row in range(2, signal.shape[0]):
            for column in range(2, signal.shape[1]):
                signal[row, column] = (weights * signal[row - 2 : row + 1, column - 2 : column + 1]).sum()
    return signals[:, 4:, 4:]


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (6, 2), (8, 8), (9, 13)])
def test_signals_are_those_of_a_loop_over_pixels(size: tuple[int, int]) -> None:
    random = seeded()
    # In double precision, as most random processes explode.
    coefficients = draw_coefficients(5, random).double()
    start = start_noise(5, size, random).double()
    before = start.clone()
    signals = run(coefficients, start)
    assert signals.shape == (5, *size)
    assert torch.equal(start, before)
    torch.testing.assert_close(signals, run_pixel_by_pixel(coefficients, start), rtol=1e-9, atol=1e-9)


def test_a_signal_worked_out_by_hand() -> None:
    # Each pixel is twice its left neighbour minus the one above: Pascal's rule on ones gives ones.
    coefficients = torch.tensor([[[0.0, 0, 0], [0, 0, -1], [0, 2, 0]]])
    assert torch.equal(run(coefficients, torch.ones(1, 7, 7)), torch.ones(1, 3, 3))
    start = torch.zeros(1, 6, 6)
    start[0, 2, 1] = 1
    # Row 2: 2, 4, 8, 16 from column 2 on. Row 3: -2, -8, -24, -64. Row 4: 2, 12, 48, 160. Row 5: -2, -16, -80, -320.
    assert run(coefficients, start)[0].tolist() == [[48, 160], [-80, -320]]


def test_coefficients_sum_to_one_and_leave_the_pixel_itself_out() -> None:
    coefficients = draw_coefficients(100, seeded())
    assert coefficients.shape == (100, 3, 3)
    assert torch.equal(coefficients[:, 2, 2], torch.zeros(100))
    torch.testing.assert_close(coefficients.double().sum(dim=(1, 2)), torch.ones(100, dtype=torch.float64), rtol=0, atol=1e-3)
    assert (coefficients != 0).sum() == 800


def test_responses_by_hand() -> None:
    signal = torch.tensor([[[1.0, 2, 0], [0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 3, 0], [0, 0, 0]]]).unsqueeze(0)
    first = torch.zeros(2, 3, 3)
    first[0, 0, 1], first[1, 1, 1], first[0, 2, 2] = 2, -1, 5
    # 2 * 2 - 3 + 5; with every sign turned it is below 0, and does not count.
    assert responses(signal, torch.stack([first, -first])).tolist() == [[6.0, 0.0]]


@pytest.fixture(scope="module")
def found() -> tuple[Tensor, Tensor]:
    """Three processes of three channels, with a signal of 32x32 of each."""
    return find_processes(3, (3, 32, 32), seeded(3))


def test_a_filter_answers_nothing_to_its_own_pattern_and_much_to_the_others(found: tuple[Tensor, Tensor]) -> None:
    coefficients, signals = found
    filters = matching_filters(coefficients)
    assert torch.equal(filters[..., 2, 2], -torch.ones(3, 3))
    for own, (process, signal) in enumerate(zip(filters, signals, strict=True)):
        # Channel by channel and everywhere, not only in the sum.
        answer = F.conv2d(signal.unsqueeze(0), process.unsqueeze(1), groups=3)
        assert answer.abs().max() < 1e-4 * process.abs().max() * signal.abs().max()
        for other in range(3):
            if other != own:
                assert responses(signals[other].unsqueeze(0), process.unsqueeze(0)) >= 10


def test_accepted_processes_are_stable(found: tuple[Tensor, Tensor]) -> None:
    assert (found[1].flatten(1).norm(dim=1) <= 50).all()
    random = seeded(9)
    for process in found[0]:
        # Three passed trials are no proof: most signals of an accepted process keep to the norm, and none explodes.
        norms = torch.stack([run(process, start_noise(3, (32, 32), random)).norm() for _ in range(20)])
        assert (norms <= 50).float().mean() >= 0.8
        assert norms.max() < 100


@pytest.mark.parametrize("seed", range(8))
def test_candidates_have_passed_every_trial(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    trials: list[tuple[Tensor, Tensor]] = []

    def record(coefficients: Tensor, start: Tensor) -> Tensor:
        signals = run(coefficients, start)
        trials.append((coefficients, signals))
        return signals

    monkeypatch.setattr(_ar, "run", record)
    stable, unit = _ar._stable_processes(3, seeded(seed))
    (drawn, signals), *others = trials
    assert not others
    assert len(drawn) == 3 * 64 * 3
    assert signals.shape[1:] == (32, 32)
    assert 5 <= len(stable) <= 40
    taken: list[int] = []
    for process, trial in zip(stable, unit, strict=True):
        positions = [int((drawn[:192] == channel).all(dim=(1, 2)).nonzero()) for channel in process]
        taken += positions
        three = torch.stack([signals[torch.tensor(positions) + 192 * number] for number in range(3)])
        assert (three.flatten(1).norm(dim=1) <= 50).all()
        torch.testing.assert_close(trial, three[2] / three[2].norm())
    # No channel is used twice.
    assert len(set(taken)) == len(taken)


def test_a_process_must_be_distinguishable(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = _ar._stable_processes(1, seeded(1))
    other = _ar._stable_processes(1, seeded(2))
    # Twice in one batch, and once more in the next.
    twice = (twin[0][[0, 0]], twin[1][[0, 0]])
    batches = iter([twice, twice, other])
    monkeypatch.setattr(_ar, "_stable_processes", lambda channels, generator: next(batches))
    monkeypatch.setattr(_ar, "_RESPONSE", 1.0)
    coefficients, _ = find_processes(2, (1, 8, 8), seeded())
    # The same process once more answers 0 to itself; the first of the others does not.
    assert torch.equal(coefficients[0], twin[0][0])
    strong = (responses(other[1], matching_filters(twin[0][:1]))[:, 0] >= 1).nonzero().flatten()
    assert torch.equal(coefficients[1], other[0][strong[0]])


def test_less_is_asked_for_when_too_many_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ar, "_RESPONSE", 1e6)
    monkeypatch.setattr(_ar, "_PATIENCE", 1)
    coefficients, _ = find_processes(3, (1, 8, 8), seeded())
    assert len(coefficients) == 3


def test_a_process_that_diverges_in_a_larger_image_is_not_accepted() -> None:
    shape = (3, 160, 150)
    signals = find_processes(3, shape, seeded(5))[1]
    # The mean square that a norm of 50 at 3x32x32 stands for.
    assert (signals.square().mean(dim=(1, 2, 3)) <= 2500 / 3072).all()
    random, diverged = seeded(5), 0
    for process in _ar._stable_processes(3, random)[0]:
        diverged += bool(run(process, start_noise(3, shape[1:], random)).square().mean() > 2500 / 3072)
    assert diverged


@pytest.mark.parametrize(("num_classes", "shape"), [(1, (3, 32, 32)), (3, (1, 8, 11)), (2, (6, 20, 33))])
def test_patterns_have_the_shape_asked_for_and_norm_one(num_classes: int, shape: tuple[int, int, int]) -> None:
    patterns = AR()(num_classes, shape, seeded())
    assert patterns.shape == (num_classes, *shape)
    assert patterns.dtype == torch.float32
    torch.testing.assert_close(patterns.flatten(1).norm(dim=1), torch.ones(num_classes))


def test_the_generator_alone_decides() -> None:
    state = torch.get_rng_state()
    first, again, other = (AR()(2, (1, 10, 10), seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("message", "num_classes", "shape"),
    [
        ("num_classes: expected at least 1, got 0", 0, (3, 8, 8)),
        (r"shape: expected \(channels, height, width\), got \(3, 8\)", 2, (3, 8)),
    ],
)
def test_wrong_input(message: str, num_classes: Any, shape: Any) -> None:
    with pytest.raises(ValueError, match=message):
        AR()(num_classes, shape, seeded())
