"""Losses from outside the package: what they may have, and that a run knows them again."""

from __future__ import annotations

import copy
import functools
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from killed_run import Students, kill, parts, same_state
from mtlue import baselines, datasets
from mtlue._data import Batch
from mtlue._fit.optimization import perturbed_loss
from mtlue._losses import networks_of, takes_clean_images
from mtlue._runtime.identity import described
from mtlue._tasks import read_targets
from snapshots import equal


class Transplant(mtlue.BaseUELoss):
    """EM of the perturbation on another image's content, so that it works wherever it lies."""

    def __init__(self, shift: int = 1) -> None:
        self.shift = shift
        self._seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        assert not clean.requires_grad
        self._seen.append((images.detach().clone(), clean.clone()))
        return surrogate.loss(clean.roll(self.shift, dims=0) + (images - clean), targets)


def draws_for_each_sample(images: Tensor) -> Tensor:
    """Mirrors some images by torch's random numbers, and shifts each by Python's."""
    mirrored = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(-1), images)
    return torch.stack([image.roll(random.randrange(4), dims=-1) for image in mirrored])


class MirrorBoth(datasets.JointTransform):
    """Mirrors some images with their maps."""

    def __call__(self, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        flip = torch.rand(len(images), 1, 1, 1) < 0.5
        flipped = {name: torch.where(flip, target.flip(-1), target) for name, target in targets.items()}
        return torch.where(flip, images.flip(-1), images), flipped


def surrogate_for(images: Tensor) -> mtlue.Surrogate:
    torch.manual_seed(3)
    return mtlue.Surrogate(nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 2)), {"a": 2})


def batch_of(images: Tensor) -> Any:
    return Batch(images, read_targets(torch.arange(len(images)) % 2, surrogate_for(images).tasks))


def test_clean_images_come_through_the_same_draw() -> None:
    """Worked out by hand: each sample's perturbation is a row of its own, which tells how the sample was moved."""
    clean = torch.rand(200, 1, 3, 4)
    delta = torch.tensor([1.0, 2.0, 4.0, 8.0]).expand(200, 1, 3, 4) / 255
    loss, surrogate, perturbed = Transplant(), surrogate_for(clean), batch_of(clean + delta)
    torch.manual_seed(0)
    random.seed(0)
    expected = draws_for_each_sample(clean + delta)
    after = torch.rand(()), random.random()
    torch.manual_seed(0)
    random.seed(0)
    perturbed_loss(loss, surrogate, perturbed, clean, draws_for_each_sample)
    # What is drawn next is what would have been drawn without a look at the clean images.
    assert (torch.rand(()), random.random()) == after
    ((images, seen),) = loss._seen
    assert torch.equal(images, expected)
    rows = {tuple(row) for row in (255 * (images - seen)).round().reshape(-1, 4).long().tolist()}
    turns = [(1, 2, 4, 8), (8, 1, 2, 4), (4, 8, 1, 2), (2, 4, 8, 1)]
    assert rows == {row for turn in turns for row in (turn, turn[::-1])}


def test_clean_images_come_through_a_joint_transform() -> None:
    torch.manual_seed(0)
    clean = torch.rand(8, 3, 4, 4)
    depth = {"depth": clean[:, :1].clone()}
    surrogate = mtlue.Surrogate(nn.Conv2d(3, 1, 1), {"depth": mtlue.Depth()})
    told: list[Any] = []

    def loss(surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        told.append((images, targets["depth"], clean))
        return images.sum()

    loss.trains_surrogate = False  # type: ignore[attr-defined]
    perturbed = Batch(clean + 1 / 255, read_targets(depth, surrogate.tasks))
    perturbed_loss(loss, surrogate, perturbed, clean, MirrorBoth())  # type: ignore[arg-type]  # a function with an attribute
    ((images, targets, seen),) = told
    torch.testing.assert_close(images - seen, torch.full_like(seen, 1 / 255))
    assert torch.equal(targets, seen[:, :1])
    assert not torch.equal(seen, clean)


def test_no_gradient_leads_to_the_clean_images() -> None:
    """Nor to the parameters that augmentation may have."""
    clean, loss = torch.rand(4, 1, 3, 4), Transplant()
    perturbed_loss(loss, surrogate_for(clean), batch_of(clean), clean, nn.Conv2d(1, 1, 1))
    assert len(loss._seen) == 1


@pytest.mark.parametrize("trains_surrogate", [False, True])
def test_pgd_gives_a_loss_the_clean_images_as_they_are(trains_surrogate: bool) -> None:
    """In each step they are those of the data set, even where augmentation works in place."""
    dataset, net, generator = parts()
    loss = Transplant()
    loss.trains_surrogate = trains_surrogate
    settings: dict[str, Any] = {"steps": 3, "step_size": 2.6 / 255, "batch_size": 20, "progress": False}
    baselines.pgd(dataset, tasks=generator.tasks, surrogate=net, loss=loss, augment=lambda images: images.mul_(0.5), **settings)
    images = torch.stack([image for image, _ in dataset]).float() / 255
    assert len(loss._seen) == 3
    for step, (perturbed, clean) in enumerate(loss._seen):
        torch.testing.assert_close(clean, images / 2)
        limit = 2.6 / 255 * step / 2
        assert (perturbed - clean).abs().max() <= limit + 1e-6
        assert (perturbed - clean).abs().max() >= 0.99 * limit


def test_fit_gives_a_loss_the_clean_images() -> None:
    loss = Transplant()
    dataset, net, generator = parts()
    mtlue.fit(generator, dataset, net, loss=loss, epochs=1, batch_size=20, progress=False)
    ((images, clean),) = loss._seen
    assert sorted(clean.flatten(1).sum(1).tolist()) == pytest.approx(
        sorted((image / 255).sum().item() for image, _ in dataset), rel=1e-5
    )
    assert 0 < (images - clean).abs().max() <= generator.epsilon + 1e-6


def plain(surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
    return surrogate.loss(images, targets)


def with_clean(
    surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor, weight: float = 1
) -> Tensor:
    return surrogate.loss(images, targets) + weight * (images - clean).square().mean()


@functools.wraps(with_clean)
def wrapped(*given: Any, **named: Any) -> Tensor:
    return with_clean(*given, **named)


class Module(nn.Module):
    """A loss that is a module, with a network of its own."""

    trains_surrogate = False

    def __init__(self, margin: float = 2.0) -> None:
        super().__init__()
        self.margin, self.teacher = margin, nn.Linear(90, 2)

    def forward(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        return surrogate.loss(images, targets) + self.margin * (images - clean).square().mean()


def as_loss(function: Any) -> Any:
    function.trains_surrogate = False
    return function


@pytest.mark.parametrize(
    ("loss", "clean"),
    [
        (as_loss(plain), False),
        (as_loss(with_clean), True),
        (as_loss(functools.partial(with_clean, weight=3.0)), True),
        (as_loss(wrapped), True),
        (Module(), True),
        (Transplant(), True),
        (mtlue.EM(), False),
    ],
    ids=["function", "with clean", "partial", "wrapped", "module", "class", "EM"],
)
def test_any_callable_is_a_loss(loss: Any, clean: bool) -> None:
    assert takes_clean_images(loss) == clean
    dataset, net, generator = parts()
    settings: dict[str, Any] = {"loss": loss, "batch_size": 8, "progress": False}
    assert len(mtlue.fit(generator, dataset, net, epochs=1, **settings)) == 1
    assert len(baselines.pgd(dataset, tasks=generator.tasks, surrogate=net, steps=1, **settings)) == 20


class MarginPush(mtlue.BaseUELoss):
    """A loss with a setting, and with whatever else it is given."""

    def __init__(self, margin: float, held: Any = None) -> None:
        self.margin = margin
        if held is not None:
            self.held = held

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return self.margin * surrogate.loss(images, targets)


class Plain:
    """The same without the package's class."""

    trains_surrogate = False

    def __init__(self, margin: float) -> None:
        self.margin = margin

    __call__ = MarginPush.__call__


def linear(value: float) -> nn.Module:
    module = nn.Linear(2, 2)
    nn.init.constant_(module.weight, value)
    nn.init.zeros_(module.bias)
    return module


@pytest.mark.parametrize(
    ("was", "has", "told"),
    [
        (MarginPush(2.0), MarginPush(3.0), r"loss was 'MarginPush\(margin=2.0\)', is 'MarginPush\(margin=3.0\)'"),
        (Plain(2.0), Plain(3.0), r"loss was 'Plain\(margin=2.0\)', is 'Plain\(margin=3.0\)'"),
        (Module(2.0), Module(3.0), r"loss was 'Module\(margin=2.0, .*, is 'Module\(margin=3.0, "),
        (
            as_loss(functools.partial(with_clean, weight=2.0)),
            as_loss(functools.partial(with_clean, weight=3.0)),
            r"loss was 'partial\(with_clean, weight=2.0\)', is 'partial\(with_clean, weight=3.0\)'",
        ),
        (MarginPush(2.0, torch.zeros(3)), MarginPush(2.0, torch.ones(3)), "checksum of the loss's held was"),
        (MarginPush(2.0, {"a": [linear(1)]}), MarginPush(2.0, {"a": [linear(2)]}), "checksum of the loss's held was"),
        (
            as_loss(functools.partial(with_clean, weight=torch.tensor(0.0))),
            as_loss(functools.partial(with_clean, weight=torch.tensor(1.0))),
            "checksum of the loss's weight was",
        ),
    ],
    ids=["attribute", "plain", "module", "partial", "tensor", "deep module", "bound tensor"],
)
def test_a_checkpoint_of_another_loss_is_refused(script: ModuleType, tmp_path: Path, was: Any, has: Any, told: str) -> None:
    script.fit("", tmp_path / "run.pt", epochs=1, loss=was)
    script.fit("", tmp_path / "run.pt", epochs=1, loss=copy.deepcopy(was))
    with pytest.raises(ValueError, match=rf"belongs to a run with other arguments \({told}"):
        script.fit("", tmp_path / "run.pt", epochs=1, loss=has)


def test_what_a_loss_holds_is_no_setting_of_the_run() -> None:
    """Whatever its attribute is called."""
    loss = MarginPush(1.0)
    loss.surrogate = loss.seed = torch.ones(1)  # type: ignore[attr-defined]
    surrogate = mtlue.Surrogate(linear(1.0), {"a": 2})
    found = networks_of(loss, surrogate)
    assert list(found) == ["surrogate", "loss's surrogate", "loss's seed"]
    assert found["surrogate"] == networks_of(MarginPush(1.0), surrogate)["surrogate"]


@pytest.mark.parametrize("copied", [False, True])
def test_what_is_in_the_state_of_a_loss_may_differ_and_nothing_else(copied: bool) -> None:
    class Distil(Students):
        def __init__(self, teacher: nn.Module) -> None:
            super().__init__()
            self.teacher = teacher

        def state_dict(self) -> dict[str, Any]:
            return copy.deepcopy(super().state_dict()) if copied else super().state_dict()

    surrogate = mtlue.Surrogate(linear(1.0), {"a": 2})
    loss = Distil(linear(1.0))
    before = networks_of(loss, surrogate)
    assert list(before) == ["surrogate", "loss's teacher"]
    with torch.no_grad():
        for parameter in loss.checkpoints[0].parameters():
            parameter.add_(1)
    assert networks_of(loss, surrogate) == before
    assert networks_of(Distil(linear(2.0)), surrogate)["loss's teacher"] != before["loss's teacher"]


def test_a_loss_is_described_alike_in_each_process() -> None:
    assert described(MarginPush(1.0, {"b", "a", "c"})) == "MarginPush(margin=1.0, held={'a', 'b', 'c'})"
    assert described(MarginPush(1.0, {"scale": torch.ones(2)})) == "MarginPush(margin=1.0, held={'scale': Tensor(2,)})"
    assert (
        described(MarginPush(1.0, nn.Sequential(Faded(0.5)))) == "MarginPush(margin=1.0, held=Sequential(0=Faded(share=0.5)))"
    )
    cyclic = MarginPush(1.0)
    cyclic.held = Plain(2.0)
    cyclic.held.loss = cyclic
    assert repr(cyclic) == "MarginPush(margin=1.0, held=Plain(margin=2.0, loss=...))"


class Faded(nn.Module):
    """Augmentation that is a module."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, images: Tensor) -> Tensor:
        return self.share * images


def test_augmentation_that_is_a_module_is_known_by_its_settings(script: ModuleType, tmp_path: Path) -> None:
    from torchvision.transforms import v2

    changes: list[Any] = [
        (Faded(0.5), Faded(0.75), r"augment was 'Faded\(share=0.5\)', is 'Faded\(share=0.75\)'"),
        (v2.RandomAffine(5), v2.RandomAffine(6), r"augment was 'RandomAffine\(degrees=\[-5.0"),
        (
            v2.Compose([v2.RandomAffine(degree) for degree in (5, 6, 7)]),
            v2.Compose([v2.Identity()]),
            r"augment was 'Compose\(\w{12}",
        ),
    ]
    for index, (was, has, told) in enumerate(changes):
        script.fit("tap", tmp_path / f"{index}.pt", epochs=1, augment=was)
        with pytest.raises(ValueError, match=told):
            script.fit("tap", tmp_path / f"{index}.pt", epochs=1, augment=has)


# The ensemble with a state


def test_an_ensemble_gives_its_gradient_and_then_learns() -> None:
    dataset, net, generator = parts()
    images = torch.stack([image for image, _ in dataset]).float() / 255
    targets = {"task0": torch.tensor([a for _, (a, _) in dataset]), "task1": torch.tensor([b for _, (_, b) in dataset])}
    loss, surrogate = Students(), mtlue.Surrogate(net, generator.tasks)
    twins = copy.deepcopy(loss.checkpoints)
    leaf = images.clone().requires_grad_()
    expected = torch.stack([surrogate.with_module(twin).loss(leaf, targets) for twin in twins]).mean()
    gradient = torch.autograd.grad(expected, leaf)[0]
    leaf = images.clone().requires_grad_()
    value = loss(surrogate, leaf, targets)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, leaf)[0], gradient)
    assert not same_state(loss.checkpoints[0], twins[0])


def spied(monkeypatch: pytest.MonkeyPatch, script: ModuleType) -> list[Students]:
    """The losses of the runs to come."""
    made: list[Students] = []
    loss_of = script.loss_of

    def keep(kind: str) -> Any:
        made.append(loss_of(kind))
        return made[-1]

    monkeypatch.setattr(script, "loss_of", keep)
    return made


# Amid the first epoch, or the third; each has three steps.
@pytest.mark.parametrize(("kind", "step"), [("students", 2), ("students", 8), ("students and surrogate", 8)])
def test_a_fit_that_was_killed_goes_on_with_the_state(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, step: int
) -> None:
    losses = spied(monkeypatch, script)
    kill("fit", kind, tmp_path / "run.pt", "fit", step)
    generator, net, _ = script.fit(kind, tmp_path / "run.pt")
    whole_generator, whole_net, _ = script.fit(kind, None)
    assert same_state(generator, whole_generator)
    assert same_state(net, whole_net)
    assert equal(losses[0].state_dict(), losses[1].state_dict())
    # Neither a probe nor the first look is a step, and a part that was run again counts once.
    assert losses[0]._calls == 5 * 3


@pytest.mark.parametrize(("stage", "step"), [("fit", 8), ("protect", 3)])
def test_a_protection_that_was_killed_goes_on_with_the_state(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, step: int
) -> None:
    losses = spied(monkeypatch, script)
    kill("protect", "students", tmp_path / "broken", stage, step)
    broken, whole = script.protect("students", tmp_path / "broken"), script.protect("students", tmp_path / "whole")
    assert same_state(broken.generator, whole.generator)
    assert equal(losses[0].state_dict(), losses[1].state_dict())
    assert_same_files(tmp_path)


def assert_same_files(folder: Path) -> None:
    for name in ("images.bin", "manifest.json"):
        assert (folder / "broken" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert sorted(file.name for file in (folder / "broken").iterdir()) == ["images.bin", "manifest.json"]
    assert sorted(file.name for file in folder.iterdir()) == ["broken", "whole"]


# Three batches: frozen of six steps each, in turn of three steps each in two rounds.
@pytest.mark.parametrize(
    ("kind", "step"),
    [("students", 2), ("students", 14), *(("students and surrogate", step) for step in (5, 10, 14))],
)
def test_a_search_that_was_killed_goes_on_with_the_state(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, step: int
) -> None:
    losses = spied(monkeypatch, script)
    kill("pgd", kind, tmp_path / "broken", "pgd", step)
    script.pgd(kind, tmp_path / "broken")
    script.pgd(kind, tmp_path / "whole")
    assert equal(losses[0].state_dict(), losses[1].state_dict())
    assert losses[0]._calls == 18
    assert_same_files(tmp_path)


@pytest.mark.parametrize("kind", ["students", "students and surrogate"])
@pytest.mark.parametrize(("verb", "step"), [("fit", 2), ("fit", 8), ("protect", 2), ("protect", 8), ("pgd", 2), ("pgd", 11)])
def test_a_call_that_is_repeated_with_the_same_loss_goes_on(
    script: ModuleType, tmp_path: Path, kind: str, verb: str, step: int
) -> None:
    """In one process: the broken call has trained the loss, and another call had before it."""
    loss = script.loss_of(kind)
    images = torch.rand(6, 1, 10, 9).requires_grad_()
    loss(
        mtlue.Surrogate(script.parts()[1], {"task0": 2, "task1": 2}),
        images,
        dict.fromkeys(("task0", "task1"), torch.ones(6).long()),
    )
    twin = script.loss_of(kind)
    twin.load_state_dict(copy.deepcopy(loss.state_dict()))

    def interrupt(figures: Any) -> None:
        if figures["step"] == step:
            raise KeyboardInterrupt

    run = getattr(script, verb)
    with pytest.raises(KeyboardInterrupt):
        run(kind, tmp_path / "broken", progress=interrupt, loss=loss)
    broken = run(kind, tmp_path / "broken", loss=loss)
    whole = run(kind, tmp_path / "whole", loss=twin)
    assert equal(loss.state_dict(), twin.state_dict())
    if verb == "fit":
        assert same_state(broken[0], whole[0])
    else:
        assert_same_files(tmp_path)


@pytest.mark.parametrize("form", ["modules", "states", "module list"])
def test_an_untrained_ensemble_is_warned_of_as_sep_is(canvases: Any, net: nn.Module, make_net: Any, form: str) -> None:
    class Ensemble(mtlue.BaseUELoss):
        needs_trained_surrogate = True

        def __init__(self, checkpoints: Any) -> None:
            self.checkpoints = checkpoints

        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            return mtlue.SEP(self.checkpoints)(surrogate, images, targets)

    untrained = make_net(seed=4)
    with torch.no_grad():
        for parameter in untrained.parameters():
            parameter.zero_()

    def networks(last: nn.Module) -> Any:
        modules = [copy.deepcopy(net), last]
        return (
            nn.ModuleList(modules)
            if form == "module list"
            else [module if form == "modules" else module.state_dict() for module in modules]
        )

    settings: dict[str, Any] = {"tasks": {"shoe": 2, "front": 2}, "steps": 1, "batch_size": 48, "progress": False}
    words = "surrogate: no better than chance on the clean data, it looks untrained; {} takes its signal from a surrogate"
    for kind in (mtlue.SEP, Ensemble):
        with pytest.warns(UserWarning, match=words.format(kind.__name__)):
            baselines.pgd(canvases, surrogate=net, loss=kind(networks(untrained)), **settings)
        # The last counts, and not the surrogate.
        baselines.pgd(canvases, surrogate=untrained, loss=kind(networks(copy.deepcopy(net))), **settings)


def test_an_ensemble_without_a_surrogate_trains_all_its_networks(script: ModuleType) -> None:
    """The last of them stands for the surrogate, which is frozen."""
    dataset, _, generator = script.parts()
    loss = Students()
    before = copy.deepcopy(loss.checkpoints)
    mtlue.protect(dataset, generator=generator, loss=loss, epochs=1, batch_size=8, progress=False)
    assert all(not torch.equal(left[2].weight, right[2].weight) for left, right in zip(before, loss.checkpoints, strict=True))


def test_a_surrogate_that_is_frozen_cannot_learn_in_the_loss(script: ModuleType) -> None:
    dataset, _, generator = script.parts()
    loss = Students()
    with pytest.raises(
        ValueError, match=r"^surrogate: Students has it in its own state, and it would be frozen there; give copy"
    ):
        mtlue.fit(generator, dataset, loss.checkpoints[0], loss=loss, progress=False)


def test_a_loss_that_trains_networks_sees_their_last_weights(script: ModuleType) -> None:
    enabled: list[tuple[bool, bool]] = []

    class Asking(Students):
        def __call__(self, *given: Any) -> Tensor:
            enabled.append((torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()))
            return super().__call__(*given)

    script.fit("", None, loss=Asking(), epochs=1, precision=torch.bfloat16)
    assert set(enabled) == {(True, False)}
    assert torch.is_autocast_cache_enabled()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"state_dict": lambda _: {}}, r"^loss: Broken has a state_dict, but no load_state_dict to take it back$"),
        (
            {"state_dict": lambda _: {"memory": [1.0, object()]}, "load_state_dict": None},
            r"^loss: expected tensors and plain values in the state of Broken, got object at state_dict\(\)\['memory'\]\[1\]$",
        ),
        ({"checkpoints": ["net.pt"]}, r"^checkpoints\[0\]: expected a module or a state dict, got str$"),
        ({"checkpoints": nn.Linear(2, 2)}, r"^checkpoints: expected a list of modules or state dicts, got Linear$"),
    ],
    ids=["one half", "no plain value", "a path", "one module"],
)
def test_a_loss_with_broken_parts_is_refused(script: ModuleType, part: Any, message: str) -> None:
    broken = type("Broken", (MarginPush,), part)(1.0)
    with pytest.raises(TypeError, match=message):
        script.fit("", None, loss=broken)
    with pytest.raises(TypeError, match=message):
        script.pgd("", None, loss=broken)
