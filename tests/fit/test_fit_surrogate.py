"""The surrogate while the generator is trained: trained in turn with EM, and otherwise left alone."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from snapshots import equal, snapshot

QUIET: dict[str, Any] = {"batch_size": 8, "precision": torch.float32, "progress": False}


class Stopping(mtlue.TAP):
    """Raises at its third call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().__call__(surrogate, images, targets)


class StoppingEM(Stopping, mtlue.EM):
    trains_surrogate = True


class WithNorm(nn.Sequential):
    """A linear model behind a BatchNorm."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(nn.Flatten(), nn.BatchNorm1d(256), nn.Dropout(0.5), *net[1:])


def mixed_state(net: nn.Module) -> nn.Module:
    model = WithNorm(net).train()
    model[1].eval()
    model[3].bias.requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    return model


@pytest.mark.parametrize("kind", ["tap", "sep of states", "sep of modules", "tap that stops", "em that stops"])
def test_the_surrogate_comes_back_as_it_was(canvases: Any, net: nn.Module, make_generator: Any, kind: str) -> None:
    model = mixed_state(net)
    other = mixed_state(copy.deepcopy(net))
    losses: dict[str, Any] = {
        "tap": mtlue.TAP(),
        "sep of states": mtlue.SEP([copy.deepcopy(model.state_dict()), copy.deepcopy(model.state_dict())]),
        "sep of modules": mtlue.SEP([other, copy.deepcopy(other)]),
        "tap that stops": Stopping(),
        "em that stops": StoppingEM(),
    }
    before, other_before = snapshot(model), snapshot(other)
    generator = make_generator()
    if "stops" in kind:
        with pytest.raises(KeyboardInterrupt):
            mtlue.fit(generator, canvases, model, loss=losses[kind], epochs=2, **QUIET)
    else:
        mtlue.fit(generator, canvases, model, loss=losses[kind], epochs=2, **QUIET)
        assert generator.trained
        assert not generator.training
    assert equal(snapshot(model), before)
    assert equal(snapshot(other), other_before)


def test_em_trains_the_surrogate_in_place_and_alternates(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    model = WithNorm(net).eval()
    before = snapshot(model)
    trained: list[bool] = []
    model.register_forward_pre_hook(lambda module, args: trained.append(module.training))
    history = mtlue.fit(
        make_generator(), canvases, model, loss=mtlue.EM(), epochs=3, surrogate_steps=4, stop_accuracy=1.1, **QUIET
    )
    after = snapshot(model)
    assert equal(after[0], before[0])
    assert equal(after[1], before[1])
    assert after[3] == before[3]
    assert not equal(after[2], before[2])
    # A look at clean data and the generator's steps; then in each epoch the surrogate's steps, and the accuracy.
    runs = [(mode, len(list(run))) for mode, run in itertools.groupby(trained)]
    assert [mode for mode, _ in runs] == [False, True] * 3 + [False]
    assert [length for mode, length in runs if mode] == [4, 4, 4]
    # Each epoch 6 batches for the generator, and as many for the accuracy.
    assert [length for mode, length in runs if not mode] == [7, 12, 12, 6]
    # The statistics of BatchNorm have seen the training steps and nothing else.
    assert int(model[1].num_batches_tracked) == 12
    assert all(epoch.surrogate_accuracy is not None and 0 <= epoch.surrogate_accuracy <= 1 for epoch in history)
    assert not history.stopped_early


def test_the_accuracy_check_leaves_the_surrogate_alone(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    model = WithNorm(net).train()
    before = snapshot(model)
    history = mtlue.fit(make_generator(), canvases, model, loss=mtlue.EM(), epochs=1, surrogate_steps=0, **QUIET)
    assert equal(snapshot(model), before)
    assert history[0].surrogate_accuracy is not None


def test_the_accuracy_is_that_of_the_surrogate_on_perturbed_images(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    generator = make_generator()
    history = mtlue.fit(generator, canvases, net, loss=mtlue.EM(), epochs=1, stop_accuracy=1.1, **QUIET)
    images = torch.stack([image for image, _ in canvases]).float() / 255
    targets = {name: torch.tensor([target[name] for _, target in canvases]) for name in ("shoe", "front")}
    with torch.no_grad():
        answers = net(generator.perturb(images, targets)) > 0
    right = torch.stack([answers[:, k] == targets[name].bool() for k, name in enumerate(targets)])
    assert history[0].surrogate_accuracy == pytest.approx(float(right.float().mean()), abs=1e-6)


@pytest.mark.filterwarnings("ignore:surrogate. it answers")
def test_em_ends_when_the_surrogate_has_learned(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    history = mtlue.fit(make_generator(), canvases, net, loss=mtlue.EM(), epochs=5, stop_accuracy=0.6, **QUIET)
    assert len(history) == 1
    assert history.stopped_early
    assert history[0].surrogate_accuracy >= 0.6


def test_the_surrogate_takes_no_gradient_in_the_generators_step(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    seen: list[bool] = []

    class Watching(mtlue.EM):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            seen.append(any(p.requires_grad for p in surrogate.module.parameters()) or surrogate.module.training)
            assert images.requires_grad
            return super().__call__(surrogate, images, targets)

    mtlue.fit(make_generator(), canvases, net, loss=Watching(), epochs=2, stop_accuracy=1.1, **QUIET)
    assert seen == [False] * 12
