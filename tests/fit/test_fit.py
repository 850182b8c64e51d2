"""Training the generator: what it learns, and what it leaves alone."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from mtlue import evaluation
from mtlue._fit.schedule import paper_schedule
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


def test_learning_rate_falls_as_in_the_paper(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    assert [paper_schedule(epoch / 60) for epoch in range(60)] == pytest.approx([1] * 36 + [0.1] * 12 + [0.01] * 12)
    for epochs in range(5, 300, 5):
        falls = [paper_schedule(epoch / epochs) for epoch in range(epochs)]
        assert [falls.index(pytest.approx(rate)) for rate in (0.1, 0.01)] == [3 * epochs // 5, 4 * epochs // 5]
    history = mtlue.fit(
        make_generator(), canvases[:8], net, loss=mtlue.EM(), epochs=5, learning_rate=0.01, stop_accuracy=1.1, **QUIET
    )
    assert [epoch.learning_rate for epoch in history] == pytest.approx([0.01] * 3 + [0.001, 0.0001])


def test_a_schedule_of_ones_own_decides_the_learning_rate(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    asked: list[float] = []

    def rising(done: float) -> float:
        asked.append(done)
        return done

    settings = {"loss": mtlue.TAP(), "epochs": 4, "learning_rate": 0.01, **QUIET}
    history = mtlue.fit(make_generator(), canvases[:8], net, schedule=rising, **settings)
    assert [epoch.learning_rate for epoch in history] == pytest.approx([0, 0.0025, 0.005, 0.0075])
    asked.clear()
    mtlue.fit(make_generator(), canvases[:8], net, schedule=rising, **{**settings, "batch_size": 4})
    # Once for each step, and not only for each epoch.
    assert {0.125, 0.375, 0.625, 0.875} <= set(asked)
    history = mtlue.fit(make_generator(), canvases[:8], net, schedule=evaluation.dense_paper_schedule, **settings)
    assert [epoch.learning_rate for epoch in history] == pytest.approx([0.01] * 2 + [0.001] * 2)


def test_the_schedule_reaches_the_optimiser(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    generator = make_generator()
    before = snapshot(generator)[2]
    mtlue.fit(generator, canvases[:8], net, loss=mtlue.TAP(), epochs=2, schedule=lambda done: 0.0, **QUIET)
    parameters = dict(generator.named_parameters())
    assert all(torch.equal(before[name], value) for name, value in parameters.items())
    mtlue.fit(generator, canvases[:8], net, loss=mtlue.TAP(), epochs=2, schedule=lambda done: float(done > 0), **QUIET)
    assert not all(torch.equal(before[name], value) for name, value in parameters.items())


def test_the_schedule_left_out_is_that_of_the_paper(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    trained = []
    for options in ({}, {"schedule": evaluation.paper_schedule}):
        trained.append(make_generator())
        mtlue.fit(trained[-1], canvases[:8], net, loss=mtlue.TAP(), epochs=5, **options, **QUIET)
    assert equal(trained[0].state_dict(), trained[1].state_dict())


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (0.1, TypeError, r"schedule: expected a function of the share of the training done, got 0\.1"),
        (float, TypeError, "schedule: expected a function of the share of the training done, got <class 'float'>"),
        (lambda done: "low", TypeError, "schedule: expected a number, got 'low'"),
        (lambda done: done - 0.1, ValueError, r"schedule: expected a number >= 0, got -0\.1"),
        (lambda done: float("nan"), ValueError, "schedule: expected a number >= 0, got nan"),
    ],
)
def test_a_schedule_that_cannot_be_used(
    canvases: Any, net: nn.Module, make_generator: Any, schedule: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        mtlue.fit(make_generator(), canvases, net, loss=mtlue.TAP(), schedule=schedule, **QUIET)


def test_augmentation_changes_perturbed_images_and_lets_gradients_through(
    canvases: Any, net: nn.Module, make_generator: Any
) -> None:
    given: list[Tensor] = []
    seen: list[Tensor] = []

    def darken(images: Tensor) -> Tensor:
        given.append(images.detach())
        return images * 0.5

    class Watching(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            assert images.requires_grad
            seen.append(images.detach())
            return super().__call__(surrogate, images, targets)

    generator = make_generator(gain=50.0)
    before = generator.encoder[0][0].weight.clone()
    settings = {**QUIET, "lambda_intra": 0.0, "lambda_inter": 0.0}
    mtlue.fit(generator, canvases[:8], net, loss=Watching(), augment=darken, epochs=1, **settings)
    assert len(given) == len(seen) == 1
    assert torch.equal(seen[0], given[0] * 0.5)
    assert not torch.equal(generator.encoder[0][0].weight, before)
    clean = torch.stack([image for image, _ in canvases[:8]]).float() / 255
    distance = torch.cdist(given[0].flatten(1), clean.flatten(1), p=torch.inf).amin(dim=1)
    assert bool((distance > 0).all())
    assert bool((distance <= 8 / 255 + 1e-6).all())
    assert 0 <= given[0].min() <= given[0].max() <= 1


@pytest.mark.parametrize("loss", [mtlue.TAP(), mtlue.EM()])
def test_base_loss_falls_on_real_data(canvases: Any, net: nn.Module, make_generator: Any, loss: Any) -> None:
    history = mtlue.fit(make_generator(), canvases, net, loss=loss, epochs=8, learning_rate=5e-3, stop_accuracy=1.1, **QUIET)
    base = [epoch.base_loss for epoch in history]
    assert base[-1] < 0.8 * base[0]
    # The embeddings of two classes move apart.
    assert history[-1].intra_er < history[0].intra_er - 0.05
    rows = history.to_rows()
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    for row in rows:
        assert row["loss"] == pytest.approx(row["base_loss"] + 20 * row["intra_er"] + 100 * row["inter_er"], rel=1e-4)
        assert all(torch.tensor(value).isfinite() for value in row.values() if value is not None)
        assert row["seconds"] > 0


def test_a_loss_of_ones_own(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    class Brighten:
        trains_surrogate = False

        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            return -images.mean()

    generator = make_generator()
    mtlue.fit(generator, canvases, net, loss=Brighten(), epochs=8, learning_rate=1e-2, **QUIET)
    images = torch.stack([image for image, _ in canvases]).float() / 255
    targets = {name: torch.tensor([target[name] for _, target in canvases]) for name in ("shoe", "front")}
    with torch.no_grad():
        assert generator(images, targets).mean() > 0.5 * 8 / 255


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda value: value.expand(3), TypeError, r"loss: expected a scalar tensor from Odd, got \(3,\)"),
        (lambda value: value.item(), TypeError, "loss: expected a scalar tensor from Odd, got float"),
        (
            lambda value: value * float("nan"),
            RuntimeError,
            "the loss is no longer finite in epoch 1; try a smaller learning_rate",
        ),
    ],
)
def test_losses_that_cannot_be_minimised(
    canvases: Any, net: nn.Module, make_generator: Any, change: Any, error: Any, words: str
) -> None:
    class Odd(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            return change(super().__call__(surrogate, images, targets))

    before = snapshot(net)
    with pytest.raises(error, match=words):
        mtlue.fit(make_generator(), canvases, net, loss=Odd(), epochs=2, **QUIET)
    assert equal(snapshot(net), before)


def test_images_of_differing_sizes(make_generator: Any) -> None:
    dataset = [(torch.rand(1, 10 + index % 3, 12 - index % 2), index % 2) for index in range(12)]
    sizes: list[torch.Size] = []
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.register_forward_pre_hook(lambda module, args: sizes.append(args[0].shape[1:]))
    mtlue.fit(make_generator({"a": 2}, (1, 11, 12)), dataset, model, loss=mtlue.EM(), epochs=1, **QUIET)
    assert set(sizes) == {(1, 11, 12)}


def test_batch_size_left_out(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    batches: list[int] = []

    class Watching(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            batches.append(len(images))
            return F.relu(super().__call__(surrogate, images, targets))

    mtlue.fit(make_generator(), canvases, net, loss=Watching(), epochs=1, progress=False)
    # Two looks at the memory that a step takes, then steps of 8: few samples make small batches.
    assert batches == [4, 2] + [8] * 6
