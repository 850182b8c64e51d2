"""Perturbations found pixel by pixel: what a step is, what the loss sees, and what comes of it."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from mtlue.baselines._pgd import pgd
from processor import computes_in_bfloat16
from snapshots import equal, snapshot

TASKS = {"shoe": 2, "front": 2}
EM: dict[str, Any] = {"rounds": 3, "steps": 4, "step_size": 0.8 / 255, "stop_accuracy": 1.1}
FAST: dict[str, Any] = {"steps": 6, "step_size": 2 / 255}
QUIET: dict[str, Any] = {"batch_size": 16, "precision": torch.float32, "progress": False}


class Own(mtlue.BaseUELoss):
    """A frozen loss that is any function of the images."""

    trains_surrogate = False

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return self.function(images)


class WithNorm(nn.Sequential):
    """A model that is not linear, and differs between its modes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(nn.Flatten(), nn.BatchNorm1d(256), nn.Tanh(), nn.Dropout(0.5), *net[1:])


def stack(dataset: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Images as uint8, and targets."""
    images = torch.stack([image if image.dtype == torch.uint8 else (image * 255).round().byte() for image, _ in dataset])
    return images, {name: torch.tensor([target[name] for _, target in dataset]) for name in dataset[0][1]}


def changes(safe: Any, clean: Any) -> Tensor:
    """Levels by which the stored images differ from the clean ones."""
    return stack(list(safe))[0].int() - stack(clean)[0].int()


@pytest.mark.parametrize("kind", ["tap", "sep of states", "sep of modules", "em"])
def test_the_loss_falls_on_the_images_that_are_stored(canvases: Any, net: nn.Module, make_net: Any, kind: str) -> None:
    members = [copy.deepcopy(net), copy.deepcopy(net)]
    nn.init.normal_(members[0][1].bias, generator=torch.Generator().manual_seed(0))
    loss: Any = {
        "tap": mtlue.TAP(),
        "sep of states": mtlue.SEP([member.state_dict() for member in members]),
        "sep of modules": mtlue.SEP(members),
        "em": mtlue.EM(),
    }[kind]
    settings = {**EM, "learning_rate": 0.01} if kind == "em" else FAST
    model = make_net() if kind == "em" else net
    safe = pgd(canvases, tasks=TASKS, surrogate=model, loss=loss, **settings, **QUIET)
    surrogate = mtlue.Surrogate(model, TASKS)
    with torch.no_grad():
        clean, protected = (loss(surrogate, stack(list(data))[0] / 255, stack(canvases)[1]) for data in (canvases, safe))
    assert protected < 0.8 * clean
    assert isinstance(safe, mtlue.ProtectedDataset)
    assert safe.generator is None
    assert safe.epsilon == 8 / 255
    assert [target for _, target in safe] == [target for _, target in canvases]


@pytest.mark.parametrize(("epsilon", "limit"), [(8 / 255, 8), (0.03, 7), (1.5 / 255, 1), (20 / 255, 20)])
@pytest.mark.parametrize("kind", ["frozen", "em"])
def test_the_budget_holds_once_stored(canvases: Any, net: nn.Module, epsilon: float, limit: int, kind: str) -> None:
    loss = mtlue.TAP() if kind == "frozen" else mtlue.EM()
    rounds = {"rounds": 2, "stop_accuracy": 1.1}
    safe = pgd(
        canvases, tasks=TASKS, surrogate=net, loss=loss, epsilon=epsilon, steps=3, step_size=0.6, **rounds, **QUIET
    )  # fmt: skip
    difference = changes(safe, canvases).abs()
    assert int(difference.max()) == limit
    # Steps that large end at the bound; these images have room for them.
    assert (difference == limit).float().mean() > 0.99


def test_less_than_a_level_is_warned_of(canvases: Any, net: nn.Module) -> None:
    with pytest.warns(UserWarning, match=r"epsilon: 0.001961 is less than one level of 1/255") as caught:
        safe = pgd(canvases, tasks=TASKS, surrogate=net, loss=mtlue.TAP(), epsilon=0.5 / 255, **FAST, **QUIET)
    assert caught[0].filename == __file__
    assert not changes(safe, canvases).any()


def test_an_untrained_surrogate_is_warned_of_where_it_was_given(canvases: Any, make_net: Any) -> None:
    balanced = make_net()
    nn.init.zeros_(balanced[1].weight)
    with pytest.warns(UserWarning, match="surrogate: no better than chance .* TAP takes its signal") as caught:
        pgd(canvases, tasks=TASKS, surrogate=balanced, loss=mtlue.TAP(), steps=1, **QUIET)
    assert caught[0].filename == __file__


def test_one_step_worked_out_by_hand() -> None:
    """Logit s = x . (1, -2, 0, 3): towards label 1 every pixel moves with the sign of its weight, towards 0 against it."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, -2.0, 0.0, 3.0]]))
    # The bright image is of class 1; TAP shows each the other class. Black and white have no room on one side.
    dataset = [
        (torch.tensor([10, 200, 100, 1], dtype=torch.uint8).reshape(1, 2, 2), {"bright": 0}),
        (torch.tensor([0, 254, 100, 255], dtype=torch.uint8).reshape(1, 2, 2), {"bright": 1}),
    ]
    settings: dict[str, Any] = {"tasks": {"bright": 2}, "surrogate": net, "loss": mtlue.TAP(), "step_size": 3 / 255, **QUIET}
    safe = pgd(dataset, steps=1, **settings)
    assert stack(list(safe))[0].flatten(1).tolist() == [[13, 197, 100, 4], [0, 255, 100, 252]]
    # From zero: after two steps six levels, after three the eight of the budget.
    twice, thrice = (pgd(dataset, steps=steps, **settings) for steps in (2, 3))
    assert stack(list(twice))[0].flatten(1).tolist() == [[16, 194, 100, 7], [0, 255, 100, 249]]
    assert stack(list(thrice))[0].flatten(1).tolist() == [[18, 192, 100, 9], [0, 255, 100, 247]]


@pytest.mark.parametrize("batch_size", [48, 7, 1])
def test_batches_agree_with_a_loop_over_single_samples(canvases: Any, net: nn.Module, batch_size: int) -> None:
    model, epsilon, step_size = WithNorm(net).eval(), 5 / 255, 0.7 / 255
    images, targets = stack(canvases[:15])
    expected = []
    for index, image in enumerate(images):
        clean, delta = image[None] / 255, torch.zeros(1, 1, 16, 16)
        for _ in range(9):
            delta = delta.clone().requires_grad_(True)
            logits = model((clean + delta).clamp(0, 1))[0]
            loss = sum(
                F.binary_cross_entropy_with_logits(logits[k], 1.0 - targets[name][index]) for k, name in enumerate(TASKS)
            )
            loss.backward()
            delta = (delta - step_size * delta.grad.sign()).detach().clamp(-epsilon, epsilon)
        levels = (delta[0] * 255).round()
        expected.append((image + levels).clamp(0, 255))
    model.zero_grad(set_to_none=True)
    settings = {**QUIET, "batch_size": batch_size}
    safe = pgd(
        canvases[:15], tasks=TASKS, surrogate=model, loss=mtlue.TAP(), epsilon=epsilon, steps=9, step_size=step_size, **settings
    )
    assert torch.equal(stack(list(safe))[0].float(), torch.stack(expected))


def test_a_pixel_that_was_pushed_out_of_the_range_comes_back(net: nn.Module) -> None:
    """Behind the clamp it would take no gradient: one step up from white, one down."""
    signs = itertools.cycle([-1.0, 1.0])
    dataset = [(torch.full((1, 16, 16), 255, dtype=torch.uint8), {"shoe": 0, "front": 1})]
    loss = Own(lambda images: next(signs) * images.sum())
    safe = pgd(dataset, tasks=TASKS, surrogate=net, loss=loss, steps=2, step_size=2 / 255, **QUIET)
    assert changes(safe, dataset).unique().tolist() == [-2]


def test_the_rounds_of_a_frozen_loss_are_so_many_more_steps(canvases: Any, net: nn.Module) -> None:
    settings: dict[str, Any] = {"tasks": TASKS, "surrogate": net, "loss": mtlue.TAP(), "step_size": 0.7 / 255, **QUIET}
    calls: list[Any] = []
    several = pgd(canvases, steps=3, rounds=4, **{**settings, "progress": calls.append})
    assert torch.equal(changes(several, canvases), changes(pgd(canvases, steps=12, **settings), canvases))
    assert [figures["step"] for figures in calls] == list(range(1, 1 + 3 * 12))
    assert {figures["steps"] for figures in calls} == {36}
    # Each batch is finished before the next is begun, and falls on its own.
    for batch in range(3):
        losses = [figures["loss"] for figures in calls[12 * batch : 12 * batch + 12]]
        assert losses == sorted(losses, reverse=True)


class Recording(mtlue.BaseUELoss):
    """Notes all that a loss can learn of where its images came from."""

    def __init__(self, trains_surrogate: bool) -> None:
        self.trains_surrogate = trains_surrogate
        self.seen: list[Any] = []

    def __call__(self, *arguments: Any, **named: Any) -> Tensor:
        surrogate, images, targets = arguments
        parameters = list(surrogate.module.parameters())
        self.seen.append((
            named,
            type(surrogate),
            surrogate.tasks,
            surrogate.module.training,
            [parameter.requires_grad for parameter in parameters],
            [parameter.grad is None for parameter in parameters],
            (type(images), images.dtype, images.shape, images.device, images.is_leaf, images.requires_grad),
            bool(images.min() >= 0 and images.max() <= 1),
            type(targets),
            {name: (target.dtype, target.shape, target.device) for name, target in targets.items()},
            (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        ))
        return surrogate.adversarial_loss(images, targets)


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, pytest.param(torch.bfloat16, marks=computes_in_bfloat16)])
def test_a_loss_cannot_tell_it_from_fit(
    canvases: Any, net: nn.Module, make_generator: Any, trains: bool, precision: torch.dtype
) -> None:
    # The brightest and darkest there are, so that a missing clamp shows.
    dataset = [(255 * (image > 128).byte(), target) for image, target in canvases]
    in_fit, in_search = Recording(trains), Recording(trains)
    settings: dict[str, Any] = {
        **QUIET,
        "precision": precision,
        "augment": lambda images: images.flip(-1),
        "stop_accuracy": 1.1,
    }
    mtlue.fit(make_generator(gain=50.0), dataset, copy.deepcopy(net), loss=in_fit, epochs=2, **settings)
    pgd(dataset, tasks=TASKS, surrogate=net, loss=in_search, steps=3, step_size=4 / 255, **settings)
    assert len(in_fit.seen) == 6
    assert len(in_search.seen) == 9
    # In the last epoch, since a surrogate that has been trained carries gradients; here it has from the start.
    assert all(seen == in_fit.seen[-1] for seen in in_fit.seen[3:] + in_search.seen)
    assert in_fit.seen[-1][7]


def test_em_alternates_and_starts_warm(canvases: Any, net: nn.Module) -> None:
    """Two rounds of one step each: what is seen in the second is one step away from the clean images."""
    model = WithNorm(net).eval()
    images = stack(canvases)[0] / 255
    inputs: list[tuple[bool, Tensor]] = []
    model.register_forward_pre_hook(lambda module, args: inputs.append((module.training, args[0].detach().clone())))
    # In one loader batch a round, so that the order is known; the surrogate takes its samples in any order.
    settings = {**QUIET, "batch_size": 48}
    step = 1.25 / 255
    pgd(
        canvases,
        tasks=TASKS,
        surrogate=model,
        loss=mtlue.EM(),
        rounds=3,
        steps=1,
        step_size=step,
        surrogate_steps=2,
        stop_accuracy=1.1,
        **settings,
    )  # fmt: skip
    # A look at the clean data; then in each round two steps of the surrogate and one on the pixels, and between the rounds the
    # accuracy.
    assert [training for training, _ in inputs] == [False, *([True] * 2 + [False] * 2) * 2, *[True] * 2, False]
    assert model[1].num_batches_tracked == 6

    def distances(seen: Tensor) -> Tensor:
        """How far each image that was seen is from the nearest clean one."""
        return (seen[:, None] - images[None]).abs().flatten(2).amax(2).amin(1)

    # Rounds that are over when the surrogate sees something, in the order above.
    rounds_before = {1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 1, 7: 1, 8: 2, 9: 2, 10: 2, 11: 2}
    for position, rounds in rounds_before.items():
        distance = distances(inputs[position][1])
        assert torch.allclose(distance, torch.full_like(distance, rounds * step), atol=1e-6), position
    # Each step's direction is that of the gradient where the last one ended: all pixels have moved by one step.
    moved = (inputs[7][1] - inputs[3][1]).abs()
    assert (moved - step).abs().max() < 1e-6


@pytest.mark.parametrize(("stop_accuracy", "rounds"), [(0.5, 1), (1.0, 1), (1.1, 4)])
def test_em_ends_when_the_surrogate_has_learned(canvases: Any, net: nn.Module, stop_accuracy: float, rounds: int) -> None:
    calls: list[Any] = []
    settings = {**QUIET, "progress": calls.append}
    em = {"rounds": 4, "steps": 5, "step_size": 2 / 255, "stop_accuracy": stop_accuracy}
    safe = pgd(canvases, tasks=TASKS, surrogate=net, loss=mtlue.EM(), **em, **settings)
    assert [figures["round"] for figures in calls] == [1 + call // 15 for call in range(15 * rounds)]
    assert all(("surrogate_accuracy" in figures) == (figures["round"] > 1) for figures in calls)
    assert {figures["surrogate_accuracy"] for figures in calls[15:]} == ({1.0} if rounds > 1 else set())
    # It was learned indeed, from the images that are stored.
    images, targets = stack(list(safe))
    answers = net(images / 255) > 0
    assert all((answers[:, k] == targets[name].bool()).all() for k, name in enumerate(TASKS))


def test_em_goes_on_while_the_surrogate_has_not_learned(canvases: Any, net: nn.Module) -> None:
    """Steps too small to help an inverted surrogate, whose accuracy is that of its opposite."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.neg_()
    calls: list[Any] = []
    em = {"rounds": 3, "steps": 1, "step_size": 1e-6, "stop_accuracy": 0.5, "surrogate_steps": 0}
    pgd(canvases, tasks=TASKS, surrogate=net, loss=mtlue.EM(), **em, **{**QUIET, "progress": calls.append})
    assert [figures["round"] for figures in calls] == [1] * 3 + [2] * 3 + [3] * 3
    images, targets = stack(canvases)
    answers = net(images / 255) > 0
    right = torch.stack([answers[:, k] == targets[name].bool() for k, name in enumerate(TASKS)]).float().mean()
    assert calls[-1]["surrogate_accuracy"] == pytest.approx(float(right), abs=1e-6)


class Stopping(mtlue.TAP):
    """Raises at its third call."""

    def __init__(self, trains_surrogate: bool) -> None:
        self.trains_surrogate, self.calls = trains_surrogate, 0

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().__call__(surrogate, images, targets)


@computes_in_bfloat16
@pytest.mark.parametrize("kind", ["tap", "sep", "em", "tap that stops", "em that stops"])
def test_the_surrogate_comes_back_as_it_was(canvases: Any, net: nn.Module, kind: str) -> None:
    model = WithNorm(net).train()
    model[1].eval()
    model[4].bias.requires_grad_(False)
    model[4].weight.grad = torch.ones_like(model[4].weight)
    losses: dict[str, Any] = {
        "tap": mtlue.TAP(),
        "sep": mtlue.SEP([copy.deepcopy(model), copy.deepcopy(model.state_dict())]),
        "em": mtlue.EM(),
        "tap that stops": Stopping(False),
        "em that stops": Stopping(True),
    }
    # What a frozen model answers in bfloat16 is no reason to change it.
    settings = {**QUIET, "precision": torch.bfloat16}
    before = snapshot(model)
    if "stops" in kind:
        with pytest.raises(KeyboardInterrupt):
            pgd(canvases, tasks=TASKS, surrogate=model, loss=losses[kind], **FAST, **settings)
    else:
        pgd(canvases, tasks=TASKS, surrogate=model, loss=losses[kind], **FAST, **settings)
    after = snapshot(model)
    flags, parameters, values, *identities = (pair for pair in zip(before, after, strict=True))
    assert equal(*flags)
    assert equal(*parameters)
    assert all(equal(*identity) for identity in identities)
    # EM trains what may be trained, and nothing else.
    changed = [name for name in values[0] if not torch.equal(values[0][name], values[1][name])]
    assert ("4.weight" in changed) == ("em" in kind)
    assert "4.bias" not in changed
    assert "em" in kind or not changed


@computes_in_bfloat16
def test_the_data_set_is_read_as_anywhere_else(canvases: Any, net: nn.Module) -> None:
    """Neither without gradients nor under autocast, and nothing changes for the caller."""

    class Watched(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(canvases)

        def __getitem__(self, index: int) -> Any:
            modes.append((torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
            return canvases[index]

    modes: list[Any] = []
    before = torch.get_rng_state()
    noisy = {"augment": lambda images: images + 0.01 * torch.rand_like(images)}
    for loss in (mtlue.TAP(), mtlue.EM()):
        pgd(
            Watched(),
            tasks=TASKS,
            surrogate=net,
            loss=loss,
            steps=2,
            rounds=2,
            **noisy,
            **{**QUIET, "precision": torch.bfloat16},
        )
    assert set(modes) == {(True, False)}
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["tap", "em"])
def test_equal_seeds_give_equal_images(canvases: Any, make_net: Any, net: nn.Module, kind: str) -> None:
    def run(seed: int, num_workers: int = 0) -> Tensor:
        safe = pgd(
            canvases[:20],
            tasks=TASKS,
            surrogate=make_net() if kind == "em" else net,
            loss=mtlue.EM() if kind == "em" else mtlue.TAP(),
            augment=lambda images: images + 0.3 * torch.randn_like(images),
            seed=seed,
            num_workers=num_workers,
            **({**EM, "rounds": 2} if kind == "em" else FAST),
            **QUIET,
        )
        return changes(safe, canvases[:20])

    first = run(3)
    torch.rand(5)
    assert torch.equal(run(3, num_workers=2), first)
    assert not torch.equal(run(4), first)


def test_augmentation_is_drawn_anew_in_each_step(canvases: Any, net: nn.Module) -> None:
    drawn: list[float] = []

    def augment(images: Tensor) -> Tensor:
        assert images.requires_grad
        drawn.append(float(torch.rand(())))
        return images

    pgd(canvases, tasks=TASKS, surrogate=net, loss=mtlue.TAP(), steps=5, augment=augment, **QUIET)
    assert len(set(drawn)) == len(drawn) == 15


class Dense(nn.Module):
    """Answers a segmentation and a depth task."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 4, 3, padding=1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.net.parameters():
            nn.init.normal_(parameter, std=2.0, generator=generator)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.net(images)
        return {"class": maps[:, :3], "depth": maps[:, 3:]}


class Adversarial(mtlue.BaseUELoss):
    """TAP that does not ask whether the surrogate is trained."""

    trains_surrogate = False

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return surrogate.adversarial_loss(images, targets)


@pytest.mark.parametrize("loss", [Adversarial(), mtlue.EM()], ids=["frozen", "em"])
def test_label_maps_need_nothing_else(loss: Any) -> None:
    random = torch.Generator().manual_seed(1)
    tasks = {"class": mtlue.Segmentation(3), "depth": mtlue.Depth()}
    dataset = []
    for _ in range(9):
        classes = torch.randint(-1, 3, (9, 7), generator=random)
        depth = torch.rand(1, 9, 7, generator=random).mul(2).relu()
        dataset.append((0.2 + 0.6 * torch.rand(3, 9, 7, generator=random), {"class": classes, "depth": depth}))
    # Without a single label nothing pulls at an image.
    dataset.append((torch.rand(3, 9, 7, generator=random), {"class": torch.full((9, 7), -1), "depth": torch.zeros(1, 9, 7)}))
    net = Dense()
    safe = pgd(dataset, tasks=tasks, surrogate=net, loss=loss, **EM, **{**QUIET, "batch_size": 4})
    targets = {name: torch.stack([target[name] for _, target in dataset]) for name in tasks}
    clean, protected = (torch.stack([image for image, _ in data]) for data in (dataset, safe))
    surrogate = mtlue.Surrogate(net, tasks)
    with torch.no_grad():
        assert loss(surrogate, protected, targets) < loss(surrogate, clean, targets) - 0.01
    levels = (protected * 255).round() - (clean * 255).round()
    assert levels[:-1].abs().flatten(1).amax(1).tolist() == [8] * 9
    assert not levels[-1].any()


def test_running_out_of_memory_halves_the_batch(canvases: Any, net: nn.Module) -> None:
    def greedy(images: Tensor) -> Tensor:
        sizes.append(len(images))
        if len(images) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return -images.sum()

    sizes: list[int] = []
    with pytest.warns(UserWarning, match="out of memory") as caught:
        safe = pgd(canvases, tasks=TASKS, surrogate=net, loss=Own(greedy), steps=1, step_size=3 / 255, **QUIET)
    assert len(caught) == 2
    assert sizes == [16, 8] + [4] * 12
    assert changes(safe, canvases).unique().tolist() == [3]


def test_the_batch_size_is_chosen_where_none_is_given(canvases: Any, net: nn.Module) -> None:
    sizes: list[int] = []
    loss = Own(lambda images: sizes.append(len(images)) or -images.sum())
    safe = pgd(canvases, tasks=TASKS, surrogate=net, loss=loss, steps=2, progress=False)
    # Two looks at what a step takes, then batches of eight: of 48 samples, the fewest that training ever takes.
    assert sizes == [4, 2] + [8] * 12
    assert len(safe) == 48


@pytest.mark.parametrize("kind", ["tap", "em"])
def test_a_path_holds_what_memory_would(canvases: Any, make_net: Any, net: nn.Module, tmp_path: Any, kind: str) -> None:
    def run(path: Any, images: Any = canvases) -> Any:
        model, loss = (make_net(), mtlue.EM()) if kind == "em" else (net, mtlue.TAP())
        return pgd(images, tasks=TASKS, surrogate=model, loss=loss, path=path, **(EM if kind == "em" else FAST), **QUIET)

    stored, memory = run(tmp_path / "safe"), run(None)
    loaded = mtlue.ProtectedDataset.load(tmp_path / "safe", canvases)
    for other in (stored, loaded):
        assert torch.equal(changes(other, canvases), changes(memory, canvases))
        assert (other.tasks, other.epsilon) == (memory.tasks, memory.epsilon)
    assert changes(memory, canvases).any()
    # Nothing that would undo the protection is left, there or beside it.
    assert sorted(file.name for file in (tmp_path / "safe").iterdir()) == ["images.bin", "manifest.json"]
    assert [folder.name for folder in tmp_path.iterdir()] == ["safe"]
    with pytest.raises(FileExistsError, match=r"path: .*safe exists; open a finished store"):
        run(tmp_path / "safe", canvases[:40])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"steps": 0}, ValueError, "steps: expected at least 1, got 0"),
        ({"rounds": 1.0}, TypeError, "rounds: expected an int, got 1.0"),
        ({"step_size": 0.0}, ValueError, "step_size: expected a number > 0, got 0.0"),
        ({"surrogate_steps": -1}, ValueError, "surrogate_steps: expected at least 0, got -1"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate: expected a number, got 'fast'"),
        ({"stop_accuracy": None}, TypeError, "stop_accuracy: expected a number, got None"),
        ({"epsilon": 8}, ValueError, "epsilon: expected 0 < epsilon <= 1, got 8.*8/255"),
        ({"batch_size": 0}, ValueError, "batch_size: expected at least 1, got 0"),
        ({"num_workers": -1}, ValueError, "num_workers: expected at least 0, got -1"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"precision": torch.float16}, ValueError, "precision: expected torch.float32 or torch.bfloat16, got torch.float16"),
        ({"progress": "bar"}, TypeError, "progress: expected None, True, False or a callable, got 'bar'"),
        ({"device": "gpu"}, ValueError, "device: .*gpu"),
        ({"augment": "flip"}, TypeError, "augment: expected a callable on batches of images, got 'flip'"),
        ({"loss": mtlue.TAP}, TypeError, r"loss: expected an object such as mtlue.TAP\(\), got the class TAP"),
        (
            {"loss": Own(lambda images: images.sum((1, 2, 3)))},
            TypeError,
            r"loss: expected a scalar tensor from Own, got \(2,\)",
        ),
        ({"loss": Own(lambda images: 1.0)}, TypeError, "loss: expected a scalar tensor from Own, got float"),
        ({"loss": Own(lambda images: images.sum() / 0)}, RuntimeError, "pgd: the loss .* is not finite"),
        (
            {"loss": Own(lambda images: (images - images).sqrt().sum())},
            RuntimeError,
            "pgd: the loss or its gradient .* not finite",
        ),
        ({"surrogate": "resnet18"}, TypeError, "surrogate: expected a torch.nn.Module, got str"),
        ({"surrogate": nn.Flatten()}, ValueError, "surrogate: expected a model with parameters, got a module that has none"),
        ({"tasks": ["shoe"]}, TypeError, "tasks: expected a dict .* got list"),
        ({"tasks": {"hat": 2}}, ValueError, "dataset: .*'hat'"),
        ({"dataset": []}, ValueError, "dataset: expected at least one sample"),
    ],
)
def test_wrong_arguments(canvases: Any, net: nn.Module, arguments: Any, error: Any, words: str, tmp_path: Any) -> None:
    before = snapshot(net)
    settings = {"dataset": canvases, "tasks": TASKS, "surrogate": net, "loss": mtlue.TAP(), **QUIET, **FAST, **arguments}
    with pytest.raises(error, match=words):
        pgd(path=tmp_path / "safe", **settings)
    assert equal(snapshot(net), before)
    assert not (tmp_path / "safe").exists()


def test_a_surrogate_of_other_tasks_is_refused(canvases: Any, net: nn.Module, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match=r"surrogate: its tasks .*'a'.* are not those of this call, .*'shoe'"):
        pgd(canvases, tasks=TASKS, surrogate=mtlue.Surrogate(net, {"a": 2, "b": 2}), loss=mtlue.TAP(), **QUIET)
    with pytest.raises(ValueError, match="surrogate output"):
        pgd(canvases, tasks={"shoe": 3, "front": 2}, surrogate=net, loss=mtlue.TAP(), path=tmp_path / "safe", **QUIET)
    # Nothing is left that would stand in the way of the right call.
    assert list(tmp_path.iterdir()) == []


def test_images_of_different_sizes_are_refused(canvases: Any, net: nn.Module) -> None:
    dataset = [*canvases, (canvases[0][0][:, :12], canvases[0][1])]
    with pytest.raises(ValueError, match=r"dataset: .* images of one size, got 2 sizes such as 12x16, 16x16; resize them"):
        pgd(dataset, tasks=TASKS, surrogate=net, loss=mtlue.TAP(), **QUIET)
