"""Error minimisation against networks that start anew: its gradient, when they do, what they see, and how a run goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from killed_run import kill, parts, same_state
from mtlue import baselines, defenses
from mtlue._losses.redrawn import redrawn
from snapshots import equal, snapshot

TASKS: dict[str, mtlue.Task] = {"shape": mtlue.Classification(3), "colour": mtlue.Classification(2)}


class Net(nn.Module):
    """Linear, with an answer for each task; it keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({"shape": nn.Linear(12, 3), "colour": nn.Linear(12, 2)})
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.seen.append(images.detach())
        return {name: head(images.flatten(1)) for name, head in self.heads.items()}


class Making:
    """Makes networks, and keeps each of them as it was made."""

    def __init__(self) -> None:
        self.made: list[Net] = []
        self.fresh: list[nn.Module] = []

    def __call__(self, seed: int) -> nn.Module:
        self.made.append(Net())
        self.fresh.append(copy.deepcopy(self.made[-1]))
        return self.made[-1]


def batch(count: int = 5) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    torch.manual_seed(0)
    clean = 0.2 + 0.6 * torch.rand(count, 3, 2, 2)
    images = (clean + 0.1 * torch.randn_like(clean)).clamp(0, 1).requires_grad_(True)
    return images, clean, {"shape": torch.arange(count) % 3, "colour": torch.arange(count) % 2}


def surrogate() -> mtlue.Surrogate:
    return mtlue.Surrogate(Net(), TASKS)


def half(images: Tensor) -> Tensor:
    return images / 2


def elsewhere(images: Tensor, clean: Tensor, turn: int) -> Tensor:
    return (clean[(torch.arange(len(clean)) - turn) % len(clean)] + (images - clean)).clamp(0, 1)


def literal(module: nn.Module, images: Tensor, targets: Any, tasks: Any = TASKS) -> Tensor:
    """Losses of one network by task."""
    answers = module(images)
    return torch.stack([task.loss(answers[name], targets[name]) for name, task in tasks.items()])


def test_gradient_and_step_are_those_of_the_mean_loss() -> None:
    """An oracle: the definition, with one graph through all of it, and a step of Adam after it."""
    images, clean, targets = batch()
    make = Making()
    loss = mtlue.RestartedEM(make, count=2, distortions=[half], curriculum=False, learning_rate=0.1)
    value = loss(surrogate(), images, targets, clean)
    (gradient,) = torch.autograd.grad(value, images)

    turns = [turn for turn in range(5) if torch.equal(elsewhere(images, clean, turn) / 2, make.made[0].seen[0][:5])]
    assert len(turns) == 1
    assert turns != [0]
    views = [elsewhere(images, clean, turns[0]), images]
    changes = [half, lambda images: images]
    changed = [(fresh, change(view)) for fresh, change in zip(make.fresh, changes, strict=True) for view in views]
    losses = [literal(fresh, view, targets).mean() for fresh, view in changed]
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, images, retain_graph=True)[0])
    for fresh, network, own in zip(make.fresh, make.made, (losses[:2], losses[2:]), strict=True):
        optimizer = torch.optim.Adam(fresh.parameters(), lr=0.1)
        torch.autograd.backward(torch.stack(own).mean(), inputs=list(fresh.parameters()))
        optimizer.step()
        for left, right in zip(fresh.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(left, right)


def test_without_clean_images_they_are_seen_as_they_are() -> None:
    images, _, targets = batch()
    make = Making()
    value = mtlue.RestartedEM(make)(surrogate(), images, targets)
    assert torch.equal(make.made[0].seen[0], images)
    expected = literal(make.fresh[0], images, targets).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, images)[0], torch.autograd.grad(expected, images)[0])


def test_networks_are_replaced_in_turn() -> None:
    images, clean, targets = batch()
    make, calls = Making(), []
    loss = mtlue.RestartedEM(make, count=2, restart_steps=4, restart_loss=0.0)
    for _ in range(9):
        before = len(make.made)
        loss(surrogate(), images, targets, clean)
        calls.append(len(make.made) - before)
    # The second one is two steps old when it begins.
    assert calls == [2, 0, 1, 0, 1, 0, 1, 0, 1]
    assert len({network.heads["shape"].weight.sum().item() for network in make.fresh}) == 6  # type: ignore[index, union-attr]


def test_a_network_is_replaced_once_it_has_learned_and_its_own_images_come_in() -> None:
    images, clean, targets = batch()
    with torch.no_grad():
        images.copy_(clean)
        images[:, 0, 0, 0] = clean[:, 0, 0, 0] + 0.1 * torch.arange(5) % 2
    make, values = Making(), []
    loss = mtlue.RestartedEM(make, restart_loss=0.8, learning_rate=0.05)
    while len(make.made) < 2:
        values.append(loss(surrogate(), images, targets, clean).item())
        assert len(values) < 400
    # On other images alone: the loss is what tells how far it has come.
    assert all(len(seen) == 5 for seen in make.made[0].seen)
    first = mean = values[0]
    for number, value in enumerate(values[:-1]):
        mean += 0.1 * (value - mean)
        assert (mean < 0.8 * first) == (number == len(values) - 2)
    # The new one sees both, its own images for the share that the last one has learned.
    progress = 1 - mean / first
    (seen,) = make.made[1].seen
    assert torch.equal(seen[5:], images)
    other, own = (literal(make.fresh[1], view, targets).mean() for view in (seen[:5], seen[5:]))
    assert values[-1] == pytest.approx(((other + progress * own) / (1 + progress)).item(), rel=1e-5)


def test_focus_weighs_tasks_by_what_is_left_of_their_losses() -> None:
    images, clean, targets = batch()
    make, settings = Making(), {"curriculum": False, "learning_rate": 0.2}
    loss = mtlue.RestartedEM(make, focus=20.0, **settings)  # type: ignore[arg-type]
    network, first, mean = Net(), torch.zeros(()), torch.zeros(())
    for step in range(6):
        network = copy.deepcopy(make.made[0]) if step else network
        value = loss(surrogate(), images, targets, clean)
        seen = make.made[0].seen[-1]
        network = copy.deepcopy(make.fresh[0]) if not step else network  # type: ignore[assignment]
        losses = torch.stack([literal(network, view, targets) for view in seen.split(5)]).detach()
        if not step:
            first = mean = losses[0]
        weights = torch.softmax(20.0 * mean / first, dim=0)
        assert value.item() == pytest.approx((losses.mean(dim=0) * weights).sum().item(), rel=1e-4)
        mean = mean + 0.1 * (losses[0] - mean)
    assert (weights - 0.5).abs().max() > 0.01


def test_a_missing_label_asks_nothing_and_says_nothing_of_a_network() -> None:
    images, clean, targets = batch()
    nothing = {**targets, "colour": torch.full((5,), -1)}
    make = Making()
    loss = mtlue.RestartedEM(make, curriculum=False, restart_loss=0.5)
    for _ in range(3):
        loss(surrogate(), images, targets, clean)
    learned = loss._learners[0]._mean.clone()
    value = loss(surrogate(), images, nothing, clean)
    (gradient,) = torch.autograd.grad(value, images)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    after = loss._learners[0]._mean
    assert after[1] == learned[1]
    assert after[0] != learned[0]
    # A network that began without a label of a task is measured from the first one on.
    begun = mtlue.RestartedEM(Making(), restart_loss=0.5)
    begun(surrogate(), images, nothing, clean)
    begun(surrogate(), images, targets, clean)
    assert begun._learners[0]._first[1] == begun._learners[0]._mean[1] > 0
    empty = {name: torch.full((5,), -1) for name in targets}
    value = mtlue.RestartedEM(Making(), restart_loss=0.5)(surrogate(), images, empty, clean)
    assert value == 0
    assert not torch.autograd.grad(value, images)[0].any()
    assert loss._learners[0].state_dict()["first"].isfinite().all()


class Maps(nn.Module):
    """Answers with maps and with a class of the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4 + 1, 3, padding=1), nn.Linear(5, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.body(images)
        return {"room": maps[:, :4], "depth": maps[:, 4:], "indoors": self.head(maps.mean(dim=(2, 3)))}


def test_label_maps() -> None:
    tasks: dict[str, mtlue.Task] = {
        "room": mtlue.Segmentation(4),
        "depth": mtlue.Depth(),
        "indoors": mtlue.Classification(2),
    }
    torch.manual_seed(0)
    clean = torch.rand(3, 3, 6, 5)
    images = (clean + 0.01).clamp(0, 1).requires_grad_(True)
    targets = {"room": torch.randint(-1, 4, (3, 6, 5)), "depth": torch.rand(3, 1, 6, 5).round(), "indoors": torch.arange(3) % 2}
    loss, given = mtlue.RestartedEM(curriculum=False), mtlue.Surrogate(Maps(), tasks)
    value = loss(given, images, targets, clean)
    assert torch.autograd.grad(value, images)[0].abs().sum() > 0
    twin = copy.deepcopy(loss._learners[0].module)
    torch.manual_seed(5)
    value = loss(given, images, targets, clean)
    torch.manual_seed(5)
    turn = int(torch.randint(1, 3, ()))
    expected = torch.stack([literal(twin, view, targets, tasks).mean() for view in (elsewhere(images, clean, turn), images)])
    torch.testing.assert_close(value, expected.mean())
    torch.testing.assert_close(
        torch.autograd.grad(value, images)[0], torch.autograd.grad(expected.mean(), images)[0], atol=1e-6, rtol=1e-4
    )


def test_the_surrogate_stays_as_it_is_and_copies_are_drawn_anew() -> None:
    given = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 2)).eval()
    with torch.no_grad():
        given[1].running_mean.fill_(7.0)  # type: ignore[operator, union-attr]
    given.requires_grad_(False)
    before = snapshot(given)
    images, clean, targets = batch()
    loss = mtlue.RestartedEM(count=2, restart_steps=2)
    for _ in range(3):
        loss(mtlue.Surrogate(given, {"colour": 2}), images, {"colour": targets["colour"]}, clean)
    assert equal(snapshot(given), before)
    for learner in loss._learners:
        assert all(parameter.requires_grad for parameter in learner.module.parameters())
        assert not torch.equal(learner.module[3].weight, given[3].weight)  # type: ignore[operator]
        assert learner.module[1].running_mean.abs().max() < 1  # type: ignore[operator]
        assert learner.module.training


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))


def test_a_module_that_draws_no_parameters_is_named() -> None:
    images, clean, targets = batch()
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Sequential(Gain()))
    words = r"^surrogate: Gain has no reset_parameters that draws '2\.0\.gain' anew; give it one, or give the loss make="
    with pytest.raises(ValueError, match=words):
        mtlue.RestartedEM()(mtlue.Surrogate(net, {"colour": 2}), images, targets, clean)


def test_a_module_may_draw_the_parameters_of_its_parts() -> None:
    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lists = nn.ParameterList([torch.ones(2)])
            self.part = nn.Linear(2, 2)
            self.attention = nn.MultiheadAttention(4, 2)

        def reset_parameters(self) -> None:
            nn.init.uniform_(self.lists[0])
            nn.init.constant_(self.part.weight, 3.0)

    made = redrawn(Drawing())
    assert (made.part.weight == 3).all()  # type: ignore[union-attr]
    assert made.lists[0].isfinite().all()  # type: ignore[index]


@pytest.mark.parametrize("clean", [True, False])
def test_a_batch_of_one_image(clean: bool) -> None:
    """Batch normalisation refuses to train on it."""
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 2))
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    given = (images.detach(),) if clean else ()
    value = mtlue.RestartedEM()(mtlue.Surrogate(net, {"colour": 2}), images, {"colour": torch.tensor([1])}, *given)
    assert torch.autograd.grad(value, images)[0].isfinite().all()


def test_networks_learn_in_full_precision_under_autocast() -> None:
    images, clean, targets = batch()
    enabled: list[bool] = []

    def make(seed: int) -> nn.Module:
        net = Net()
        for parameter in net.parameters():
            parameter.register_hook(lambda gradient: enabled.append(torch.is_autocast_enabled("cpu")))  # type: ignore[no-untyped-call]
        return net

    loss = mtlue.RestartedEM(make, distortions=[defenses.differentiable_jpeg], focus=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        values = [loss(surrogate(), images, targets, clean) for _ in range(30)]
    assert set(enabled) == {False}
    assert values[0].dtype == torch.float32
    assert values[-1] < values[0]
    assert torch.autograd.grad(values[0], images)[0].dtype == torch.float32


# A run


def protected_by(seed: int) -> Tensor:
    dataset, net, generator = parts()
    loss = mtlue.RestartedEM(count=2, restart_steps=3)
    mtlue.fit(generator, dataset, net, loss=loss, epochs=2, batch_size=7, seed=seed, progress=False)
    return torch.cat([parameter.flatten() for parameter in generator.parameters()])


def test_equal_seeds_give_equal_generators() -> None:
    torch.manual_seed(1)
    first = protected_by(3)
    torch.manual_seed(2)
    assert torch.equal(first, protected_by(3))
    assert not torch.equal(first, protected_by(4))


def test_a_fit_lowers_the_loss_of_new_networks(canvases: Any, make_net: Any) -> None:
    generator = mtlue.UEGenerator({"shoe": 2, "front": 2}, (1, 16, 16), epsilon=0.25, width=4)
    loss = mtlue.RestartedEM(restart_steps=20, learning_rate=5e-3)
    settings: dict[str, Any] = {"loss": loss, "epochs": 40, "batch_size": 8, "learning_rate": 5e-3, "progress": False}
    history = mtlue.fit(generator, canvases, make_net(), **settings)
    assert history[-1].base_loss < 0.7 * history[0].base_loss


@pytest.mark.parametrize("step", [2, 8])
def test_a_fit_that_was_killed_goes_on(script: ModuleType, tmp_path: Path, step: int) -> None:
    kill("fit", "restarted", tmp_path / "run.pt", "fit", step)
    broken, whole = script.loss_of("restarted"), script.loss_of("restarted")
    generator, net, _ = script.fit("restarted", tmp_path / "run.pt", loss=broken)
    whole_generator, whole_net, _ = script.fit("restarted", None, loss=whole)
    assert same_state(generator, whole_generator)
    assert same_state(net, whole_net)
    assert equal(broken.state_dict(), whole.state_dict())


@pytest.mark.parametrize(("verb", "stage", "step"), [("protect", "fit", 8), ("protect", "protect", 3), ("pgd", "pgd", 14)])
def test_a_protection_or_search_that_was_killed_goes_on(
    script: ModuleType, tmp_path: Path, verb: str, stage: str, step: int
) -> None:
    kill(verb, "restarted", tmp_path / "broken", stage, step)
    for name in ("broken", "whole"):
        getattr(script, verb)("restarted", tmp_path / name)
    for name in ("images.bin", "manifest.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_state_goes_on_elsewhere_and_is_its_own() -> None:
    images, clean, targets = batch()

    def made() -> mtlue.RestartedEM:
        return mtlue.RestartedEM(lambda seed: Net(), count=2, restart_steps=5, restart_loss=0.9, learning_rate=0.05)

    def call(loss: mtlue.RestartedEM, step: int) -> Tensor:
        torch.manual_seed(step)
        return loss(surrogate(), images, targets, clean)

    whole, second = made(), made()
    assert equal(whole.state_dict(), {"learners": [], "progress": 0.0})
    for step in range(7):
        call(whole, step)
    kept = copy.deepcopy(whole.state_dict())
    second.load_state_dict(whole.state_dict())
    assert equal(second.state_dict(), kept)
    expected = [call(whole, step) for step in range(7, 20)]
    # The one that went on left the other one's state alone.
    assert equal(second.state_dict(), kept)
    assert [call(second, step) for step in range(7, 20)] == expected
    assert equal(second.state_dict(), whole.state_dict())
    second.load_state_dict({"learners": [], "progress": 0.0})
    fresh = made()
    assert torch.equal(call(second, 1), call(fresh, 1))


def test_a_network_goes_on_on_another_device() -> None:
    """A processor by its number is another device to torch."""
    images, clean, targets = batch()
    loss, stayed = (mtlue.RestartedEM(lambda seed: Net(), learning_rate=0.05) for _ in range(2))

    def call(loss: mtlue.RestartedEM, step: int) -> Tensor:
        torch.manual_seed(step)
        return loss(surrogate(), images, targets, clean)

    for step in range(3):
        call(loss, step)
        call(stayed, step)
    learner = loss._learners[0]
    learner.move(torch.device("cpu:0"))
    assert learner._optimizer.state_dict()["state"]
    assert torch.equal(call(loss, 3), call(stayed, 3))
    assert equal(loss.state_dict(), stayed.state_dict())


def test_a_search_pixel_by_pixel(script: ModuleType) -> None:
    dataset, net, generator = parts()
    loss = mtlue.RestartedEM(count=2)
    protected = baselines.pgd(
        dataset, tasks=generator.tasks, surrogate=net, loss=loss, steps=4, step_size=1.3 / 255, progress=False
    )
    assert any(not torch.equal(protected.stored_image(index), image) for index, (image, _) in enumerate(dataset))


# What it is called, and what it refuses


def test_its_settings_are_its_name(tmp_path: Path, script: ModuleType) -> None:
    loss = mtlue.RestartedEM(count=2, distortions=[defenses.differentiable_jpeg])
    assert repr(loss) == (
        "RestartedEM(make=None, count=2, restart_steps=400, restart_loss=0.3, learning_rate=0.003, "
        "distortions=[differentiable_jpeg], curriculum=True, focus=0.0)"
    )
    script.fit("", tmp_path / "run.pt", epochs=1, loss=loss)
    with pytest.raises(ValueError, match=r"loss was 'RestartedEM\(make=None, count=2.*, is 'RestartedEM\(make=None, count=3"):
        script.fit("", tmp_path / "run.pt", epochs=1, loss=mtlue.RestartedEM(count=3))
    assert not mtlue.RestartedEM.needs_trained_surrogate  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: mtlue.RestartedEM(Net()), TypeError, r"^make: expected a function that makes .* from a seed, got Net$"),
        (lambda: mtlue.RestartedEM("net"), TypeError, r"^make: expected a function that makes .* from a seed, got str$"),  # type: ignore[arg-type]
        (lambda: mtlue.RestartedEM(count=0), ValueError, r"^count: expected at least 1, got 0$"),
        (lambda: mtlue.RestartedEM(restart_steps=0), ValueError, r"^restart_steps: expected at least 1, got 0$"),
        (
            lambda: mtlue.RestartedEM(restart_loss=1.5),
            ValueError,
            r"^restart_loss: expected a share in \[0, 1\], got 1.5; percent\?$",
        ),
        (lambda: mtlue.RestartedEM(learning_rate=0), ValueError, r"^learning_rate: expected a number > 0, got 0$"),
        (lambda: mtlue.RestartedEM(focus=-1.0), ValueError, r"^focus: expected a number >= 0, got -1.0$"),
        (
            lambda: mtlue.RestartedEM(distortions=half),  # type: ignore[arg-type]
            TypeError,
            r"^distortions: expected a list of functions on images, got function$",
        ),
        (
            lambda: mtlue.RestartedEM(distortions=["jpeg"]),  # type: ignore[list-item]
            TypeError,
            r"^distortions\[0\]: expected a function on images, got str$",
        ),
        (
            lambda: mtlue.RestartedEM(distortions=[None, half]),
            ValueError,
            r"^distortions: expected at most one for each of 1 networks \(count\), got 2$",
        ),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda seed: None, TypeError, r"^make: expected it to return a torch.nn.Module, got NoneType$"),
        (lambda seed: nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), ValueError, r"^make\(\) output"),
    ],
)
def test_wrong_networks_are_named(make: Any, kind: type[Exception], message: str) -> None:
    images, clean, targets = batch()
    wide = mtlue.Surrogate(Net(), {"shape": 3})
    with pytest.raises(kind, match=message):
        mtlue.RestartedEM(make)(wide, images, {"shape": targets["shape"]}, clean)


def test_a_distortion_without_a_gradient_is_no_way_to_the_images(script: ModuleType) -> None:
    loss = mtlue.RestartedEM(distortions=[defenses.jpeg])
    with pytest.raises(ValueError, match=r"^surrogate: no gradient reaches the images"):
        script.fit("", None, loss=loss, epochs=1)
