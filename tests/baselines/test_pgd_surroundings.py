"""What a search pixel by pixel shows a loss, reads and leaves: as `fit` does, and nothing behind the caller's back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue.baselines._pgd import pgd
from pixel_search import EM, FAST, QUIET, TASKS, Own, WithNorm, changes
from snapshots import equal, snapshot


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
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
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


class Stopping(mtlue.TAP):
    """Raises at its third call."""

    def __init__(self, trains_surrogate: bool) -> None:
        self.trains_surrogate, self.calls = trains_surrogate, 0

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().__call__(surrogate, images, targets)


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
    assert sorted(file.name for file in (tmp_path / "safe").iterdir()) == ["images-000000.bin", "manifest.json"]
    assert [folder.name for folder in tmp_path.iterdir()] == ["safe"]
    with pytest.raises(FileExistsError, match=r"path: .*safe exists; open a finished store"):
        run(tmp_path / "safe", canvases[:40])
