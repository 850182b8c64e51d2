"""Equal seeds give equal results, and nobody's random numbers are used up."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue

QUIET: dict[str, Any] = {"batch_size": 16, "progress": False, "epochs": 2}


def noisy(images: Tensor) -> Tensor:
    return images + 0.05 * torch.randn_like(images) * random.random()


def fitted(canvases: Any, net: Any, make_generator: Any, **arguments: Any) -> list[Tensor]:
    generator = make_generator()
    with_dropout = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), *net[1:])
    mtlue.fit(generator, canvases, with_dropout, loss=mtlue.EM(), augment=noisy, stop_accuracy=1.1, **QUIET, **arguments)
    return [*generator.state_dict().values(), *net.state_dict().values()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_fit_depends_on_the_seed_alone(canvases: Any, make_net: Any, make_generator: Any) -> None:
    first = fitted(canvases, make_net(), make_generator, seed=3)
    torch.manual_seed(99)
    random.seed(99)
    assert same(fitted(canvases, make_net(), make_generator, seed=3), first)
    assert same(fitted(canvases, make_net(), make_generator, seed=3, num_workers=2), first)
    assert not same(fitted(canvases, make_net(), make_generator, seed=4), first)


def protected(canvases: Any, net: nn.Module, **arguments: Any) -> Tensor:
    safe = mtlue.protect(canvases, surrogate=net, **QUIET, **arguments)
    return torch.stack([(image * 255).round().byte() for image, _ in safe])


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_protect_depends_on_the_seed_alone(canvases: Any, net: nn.Module, fraction: float) -> None:
    small = [(image[:, ::2, ::2], target) for image, target in canvases[:16]]
    model = nn.Sequential(nn.Upsample(16), *net)
    first = protected(small, model, seed=5, fraction=fraction)
    random.seed(98)
    torch.manual_seed(98)
    assert torch.equal(protected(small, model, seed=5, fraction=fraction), first)
    assert torch.equal(protected(small, model, seed=5, fraction=fraction, num_workers=2), first)
    assert not torch.equal(protected(small, model, seed=6, fraction=fraction), first)


def test_the_seed_decides_which_samples_are_left_clean(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(trained=True, gain=100.0)
    clean = torch.stack([image for image, _ in canvases])

    def changed(seed: int) -> list[bool]:
        safe = mtlue.protect(canvases, generator=generator, fraction=0.5, seed=seed, progress=False)
        return [not torch.equal((image * 255).round().byte(), old) for (image, _), old in zip(safe, clean, strict=True)]

    assert changed(1) == changed(1)
    assert changed(1) != changed(2)
    # Not simply the first half.
    assert changed(1) != [True] * 24 + [False] * 24


@pytest.fixture
def states() -> Any:
    """Gives the state of the caller's random numbers."""
    torch.manual_seed(1234)
    random.seed(1234)
    return lambda: (torch.get_rng_state().tolist(), random.getstate())


@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_random_numbers_stay_after_fit(
    canvases: Any, net: nn.Module, make_generator: Any, states: Any, workers: int
) -> None:
    generator = make_generator()
    before = states()
    settings = {**QUIET, "epochs": 1, "num_workers": workers, "stop_accuracy": 1.1}
    mtlue.fit(generator, canvases, net, loss=mtlue.EM(), augment=noisy, **settings)
    assert states() == before
    settings = {"epochs": 1, "progress": False, "num_workers": workers}
    mtlue.fit(generator, canvases, net, loss=mtlue.TAP(), augment=noisy, **settings)
    assert states() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_random_numbers_stay_after_protect(
    canvases: Any, net: nn.Module, make_generator: Any, states: Any, workers: int, tmp_path: Any
) -> None:
    generator = make_generator(trained=True)
    before = states()
    mtlue.protect(canvases, generator=generator, num_workers=workers, progress=False)
    assert states() == before
    # Tasks from the labels, a new generator, and a store.
    small = canvases[:16]
    settings = {"epochs": 1, "num_workers": workers, "progress": False}
    safe = mtlue.protect(small, surrogate=net, path=tmp_path / "store", **settings)
    assert states() == before
    loaded = mtlue.ProtectedDataset.load(tmp_path / "store", small)
    loaded.export(tmp_path / "out")
    assert len(loaded) == len(safe)
    assert states() == before


def test_the_callers_random_numbers_stay_after_the_default_surrogate(canvases: Any, states: Any) -> None:
    before = states()
    mtlue.protect(canvases[:8], loss=mtlue.EM(), epochs=1, progress=False)
    assert states() == before


def test_the_callers_random_numbers_stay_after_an_error(
    canvases: Any, net: nn.Module, make_generator: Any, states: Any
) -> None:
    def stop(images: Tensor) -> Tensor:
        torch.rand(3)
        raise KeyError("stop")

    generator = make_generator()
    before = states()
    with pytest.raises(KeyError, match="stop"):
        mtlue.fit(generator, canvases, net, loss=mtlue.TAP(), augment=stop, **QUIET)
    assert states() == before
