"""Each weak outcome is named, with what to do; a good run is not warned of."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue._protect.weak_outcomes import _warn_of_training

QUIET: dict[str, Any] = {"batch_size": 16, "precision": torch.float32, "progress": False}


def warned(call: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught]


def epochs(*losses: float) -> mtlue.History:
    return mtlue.History([mtlue.Epoch(1e-3, loss, loss, 0.0, 0.0, None, 1.0) for loss in losses])


def test_a_generator_of_zeros(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(trained=True)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.zero_()
    with pytest.warns(UserWarning, match=r"generator: it changes 0 % of the pixels, .* train it for more epochs, or train"):
        mtlue.protect(canvases, generator=generator, **QUIET)


def test_embeddings_that_are_equal_for_all_classes(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(trained=True, gain=100.0)
    with torch.no_grad():
        generator.embeddings["front"][:] = generator.embeddings["front"][:1].clone()
    found = warned(lambda: mtlue.protect(canvases, generator=generator, **QUIET))
    assert len(found) == 1
    assert found[0].startswith("generator: the embeddings of 'front' are the same for all classes")
    assert not warned(lambda: mtlue.protect(canvases, generator=generator, protected_tasks=["shoe"], **QUIET))


def test_perturbations_that_do_not_depend_on_the_labels(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(trained=True, gain=100.0)
    with torch.no_grad():
        for table in generator.embeddings._tables:
            table.mul_(1e-6)
    with pytest.warns(UserWarning, match=r"generator: its perturbations do not depend on the labels"):
        mtlue.protect(canvases, generator=generator, **QUIET)


@pytest.mark.parametrize("losses", [(1.4, 2.1), (1.4, 1.2, *[1.3] * 7, 1.41), (-0.5, 3.0)])
def test_a_loss_that_did_not_come_down(losses: tuple[float, ...]) -> None:
    with pytest.warns(UserWarning, match=r"generator: its loss is .* learned nothing .* smaller learning_rate"):
        _warn_of_training(epochs(*losses))


@pytest.mark.parametrize("losses", [(1.4,), (1.4, 1.3), (1.4, 1.45), (1.4, 1.5, *[1.2] * 7, 1.39)])
def test_a_loss_that_came_down_or_wavered(losses: tuple[float, ...]) -> None:
    _warn_of_training(epochs(*losses))


def test_em_with_a_surrogate_that_knows_the_clean_images(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    call = {"surrogate": net, "loss": mtlue.EM(), "epochs": 3, **QUIET}
    easy = [(torch.full((1, 16, 16), 200 * label, dtype=torch.uint8), label) for label in [0, 1] * 12]
    knows = nn.Sequential(nn.Flatten(), nn.Linear(256, 1))
    with torch.no_grad():
        knows[1].weight.fill_(0.1)
        knows[1].bias.fill_(-10.0)
    words = r"surrogate: it answers 100 % of the clean images right, .* after one epoch, .* give EM an untrained surrogate"
    with pytest.warns(UserWarning, match=words):
        mtlue.protect(easy, **{**call, "surrogate": knows})
    generator = mtlue.UEGenerator({"task0": 2}, (1, 16, 16), width=4)
    with pytest.warns(UserWarning, match=words):
        mtlue.fit(generator, easy, copy.deepcopy(knows), loss=mtlue.EM(), epochs=3, **QUIET)


def test_one_class_a_task(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    dataset = [(image, {**target, "front": 1}) for image, target in canvases]
    found = warned(lambda: mtlue.protect(dataset, generator=make_generator(), surrogate=net, epochs=1, **QUIET))
    assert [text for text in found if text.startswith("dataset: every label of 'front' is the same class")]
    assert len(found) == 1
    # More images for a key that exists may well be of one class.
    mtlue.protect(dataset, generator=make_generator(trained=True), **QUIET)


@pytest.mark.parametrize("one_class", [True, False])
def test_nothing_is_said_of_a_surrogate_that_cannot_be_judged(
    canvases: Any, make_net: Any, make_generator: Any, one_class: bool
) -> None:
    """With one class a task, one sample, or few labels among many that are missing, chance cannot be told from skill."""
    judged = "surrogate: no better than chance"
    untrained = {"surrogate": make_net(seed=3), "loss": mtlue.TAP(), "epochs": 1, **QUIET}
    same = [(image, {"shoe": 1, "front": 0}) for image, _ in canvases]
    few = [(image, target if i < 4 else {"shoe": -1, "front": -1}) for i, (image, target) in enumerate(canvases * 4)]
    for dataset in [same] if one_class else [canvases[:1], few]:
        found = warned(lambda dataset=dataset: mtlue.protect(dataset, generator=make_generator(), **untrained))
        assert not [text for text in found if text.startswith(judged)]
    found = warned(lambda: mtlue.protect(canvases, generator=make_generator(), **untrained))
    assert len([text for text in found if text.startswith(judged)]) == 1


def test_a_fraction_that_is_no_sample(canvases: Any, make_generator: Any) -> None:
    words = r"fraction: 0\.01 of 48 samples rounds to 0 samples, so no image changes; one sample is a fraction of 0\.021"
    with pytest.warns(UserWarning, match=words):
        mtlue.protect(canvases, generator=make_generator(trained=True), fraction=0.01, **QUIET)
    # Asked for.
    mtlue.protect(canvases, generator=make_generator(trained=True), fraction=0.0, **QUIET)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_no_numbers(canvases: Any, make_generator: Any, bad: float) -> None:
    generator = make_generator(trained=True)
    with torch.no_grad():
        generator.encoder.state_dict()[next(iter(generator.encoder.state_dict()))].fill_(bad)
    with pytest.raises(ValueError, match=r"generator: its perturbation holds NaN or infinity"):
        mtlue.protect(canvases, generator=generator, **QUIET)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("loss", [mtlue.TAP(), mtlue.EM()], ids=repr)
def test_good_runs_are_not_warned_of(
    canvases: Any, net: nn.Module, make_net: Any, make_generator: Any, seed: int, loss: Any
) -> None:
    surrogate = make_net(seed=seed) if loss.trains_surrogate else net
    for settings in ({}, {"protected_tasks": ["shoe"]}, {"fraction": 0.5}):
        run = {"surrogate": surrogate, "loss": loss, "generator": make_generator(seed=seed), "epochs": 6, "seed": seed}
        mtlue.protect(canvases, **run, **settings, **QUIET)
