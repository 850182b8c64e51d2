"""Protecting a data set: the budget in the stored images, and what each argument does."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Subset

import mtlue
from mtlue import baselines
from mtlue._generator.rounding import add_in_levels
from properties import assert_protected

QUIET: dict[str, Any] = {"batch_size": 16, "precision": torch.float32, "progress": False}


def stored(safe: Any) -> list[Tensor]:
    return [(image * 255).round().to(torch.int64) for image, _ in safe]


def clean(dataset: Any) -> list[Tensor]:
    return [image.to(torch.int64) for image, _ in dataset]


@pytest.mark.filterwarnings("ignore:epsilon. 1 is 255 levels")
@pytest.mark.parametrize("epsilon", [8 / 255, 7.5 / 255, 2 / 255, 1.0])
def test_the_budget_holds_and_is_used(canvases: Any, make_generator: Any, epsilon: float) -> None:
    generator = make_generator(trained=True, gain=100.0, epsilon=epsilon)
    safe = mtlue.protect(canvases, generator=generator, **QUIET)
    limit = math.floor(255 * epsilon)
    old, new = torch.stack(clean(canvases)), torch.stack(stored(safe))
    # A budget of 1 would need a black pixel beside a white one to be used up.
    assert int((new - old).abs().max()) == limit or epsilon == 1.0
    targets = {name: torch.tensor([target[name] for _, target in canvases]) for name in ("shoe", "front")}
    with torch.no_grad():
        levels = generator(old.float() / 255, targets) * 255
    # Another batch size may change the last bits.
    near = 1e-2
    wanted, other = ((old + (levels + change).round().clamp(-limit, limit)).clamp(0, 255) for change in (near, -near))
    assert bool(((new == wanted) | (new == other)).all())
    assert bool(((new - old).abs() <= levels.abs() + 0.5 + near).all())


@pytest.mark.parametrize("level", [1, 2])
def test_a_small_budget_is_reached(canvases: Any, make_generator: Any, level: int) -> None:
    """The tanh is always a hair below the bound: rounded towards the clean image, a level of the budget would be lost."""
    safe = mtlue.protect(canvases, generator=make_generator(trained=True, gain=100.0, epsilon=level / 255), **QUIET)
    changes = torch.stack(stored(safe)) - torch.stack(clean(canvases))
    assert changes.aminmax() == (-level, level)
    # But for black and white pixels, which can move one way only.
    free = (torch.stack(clean(canvases)) >= 8) & (torch.stack(clean(canvases)) <= 247)
    assert (changes.abs() == level)[free].float().mean() > 0.8


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_perturbation_that_is_no_number_is_an_error(canvases: Any, make_generator: Any, value: float) -> None:
    with pytest.raises(ValueError, match=r"perturbation: its perturbation holds NaN or infinity"):
        add_in_levels(torch.zeros(2, dtype=torch.uint8), torch.tensor([0.01, value]), 8 / 255)
    generator = make_generator(trained=True)
    with torch.no_grad():
        generator.decoder.refine[-1].weight[:] = math.nan
    with pytest.raises(
        ValueError, match=r"generator: its perturbation holds NaN .* train a new one, with a smaller learning_rate"
    ):
        mtlue.protect(canvases, generator=generator, **QUIET)


def test_memory_and_folder_give_equal_bytes(canvases: Any, net: nn.Module, make_generator: Any, tmp_path: Any) -> None:
    make = {"surrogate": net, "epochs": 2, **QUIET}
    memory = mtlue.protect(canvases, generator=make_generator(), **make)
    folder = mtlue.protect(canvases, generator=make_generator(), path=tmp_path / "store", **make)
    assert all(torch.equal(memory[i][0], folder[i][0]) and memory[i][1] == folder[i][1] for i in range(48))
    assert any(not torch.equal(a, b) for a, b in zip(stored(memory), clean(canvases), strict=True))


def test_labels_of_a_task_left_alone_have_no_influence(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(trained=True, gain=100.0)
    other = [(image, {**target, "front": 1 - target["front"]}) for image, target in canvases]
    one = mtlue.protect(canvases, generator=generator, protected_tasks=["shoe"], **QUIET)
    two = mtlue.protect(other, generator=generator, protected_tasks=["shoe"], **QUIET)
    assert all(torch.equal(a, b) for a, b in zip(stored(one), stored(two), strict=True))
    full = mtlue.protect(canvases, generator=generator, **QUIET)
    assert not torch.equal(torch.stack(stored(full)), torch.stack(stored(one)))
    full_other = mtlue.protect(other, generator=generator, **QUIET)
    assert not torch.equal(torch.stack(stored(full)), torch.stack(stored(full_other)))


@pytest.mark.parametrize(("fraction", "changed"), [(0.0, 0), (0.5, 24), (0.25, 12), (1.0, 48)])
def test_fraction(canvases: Any, make_generator: Any, fraction: float, changed: int) -> None:
    generator = make_generator(trained=True, gain=100.0)
    full = stored(mtlue.protect(canvases, generator=generator, **QUIET))
    some = stored(mtlue.protect(canvases, generator=generator, fraction=fraction, **QUIET))
    same_as_clean = [torch.equal(a, b) for a, b in zip(some, clean(canvases), strict=True)]
    assert same_as_clean.count(False) == changed
    assert all(torch.equal(a, b) for a, b, same in zip(some, full, same_as_clean, strict=True) if not same)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_sizes_that_differ_and_are_odd(make_generator: Any, tmp_path: Any, channels: int) -> None:
    random = torch.Generator().manual_seed(channels)
    sizes = [(9, 11), (8, 8), (13, 7), (20, 6), (9, 11), (5, 18)]
    dataset = [(torch.randint(256, (channels, *s), generator=random, dtype=torch.uint8), i % 2) for i, s in enumerate(sizes)]
    generator = make_generator({"a": 2}, (channels, 9, 11), trained=True, gain=100.0)
    memory = mtlue.protect(dataset, generator=generator, **QUIET)
    folder = mtlue.protect(dataset, generator=generator, path=tmp_path / "store", **QUIET)
    assert {file.name for file in (tmp_path / "store").iterdir()} == {"images-000000.bin", "shapes-000000.bin", "manifest.json"}
    assert_protected(memory, dataset)
    assert all(torch.equal(new, on_disk) for new, on_disk in zip(stored(memory), stored(folder), strict=True))


@pytest.mark.parametrize("shape", [(1, 9, 15), (3, 11, 8), (5, 7, 7)])
def test_odd_sizes_and_channels_are_trained_and_protected(shape: tuple[int, int, int], make_net: Any) -> None:
    dataset = [(torch.rand(shape, generator=torch.Generator().manual_seed(i)), i % 2) for i in range(8)]
    net = make_net(math.prod(shape), 1)
    safe = mtlue.protect(dataset, surrogate=net, loss=mtlue.EM(), epochs=1, **QUIET)
    assert safe.generator.image_shape == shape
    assert_protected(safe, dataset, all_changed=False)


def test_a_generator_of_another_size_than_the_images(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(shape=(1, 12, 9), trained=True, gain=100.0)
    assert_protected(mtlue.protect(canvases, generator=generator, **QUIET), canvases)


def test_a_trained_generator_is_used_as_it_is(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    generator = make_generator(trained=True)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    safe = mtlue.protect(canvases, generator=generator, **QUIET)
    assert safe.generator is generator
    assert safe.history is None
    for arguments in ({"surrogate": net}, {"loss": mtlue.EM()}, {"surrogate": net, "loss": mtlue.TAP()}):
        with pytest.warns(UserWarning, match="generator: it is trained already"):
            mtlue.protect(canvases, generator=generator, **arguments, **QUIET)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_an_untrained_generator_is_trained(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    generator = make_generator(epsilon=4 / 255)
    before = generator.decoder.expand.weight.clone()
    safe = mtlue.protect(canvases, generator=generator, surrogate=net, epochs=2, **QUIET)
    assert safe.generator is generator
    assert generator.trained
    assert not generator.training
    assert len(safe.history) == 2
    assert safe.epsilon == generator.epsilon == 4 / 255
    assert not torch.equal(generator.decoder.expand.weight, before)


def test_the_surrogate_of_the_caller_is_left_as_it_was(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    mtlue.protect(canvases, generator=make_generator(), surrogate=net, epochs=1, **QUIET)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.training
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_missing_labels_are_protected_too(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    dataset = [(image, {**t, "front": -1 if i % 3 == 0 else t["front"]}) for i, (image, t) in enumerate(canvases)]
    safe = mtlue.protect(dataset, generator=make_generator(gain=30.0), surrogate=net, epochs=1, **QUIET)
    assert_protected(safe, dataset)
    assert math.isfinite(safe.history[-1].base_loss)


class Pixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        out = self.maps(images)
        return {"scene": out[:, 7:].mean(dim=(2, 3)), "parts": out[:, :3], "depth": out[:, 3:4], "normals": out[:, 4:7]}


@pytest.mark.parametrize("own_surrogate", [True, False])
def test_dense_and_mixed_tasks(own_surrogate: bool, tmp_path: Any) -> None:
    tasks = {"scene": 2, "parts": mtlue.Segmentation(3), "depth": mtlue.Depth(), "normals": mtlue.SurfaceNormals()}
    random = torch.Generator().manual_seed(0)
    dataset = []
    for index in range(8):
        size = (12, 10) if index % 2 else (9, 11)
        parts = torch.randint(-1, 3, size, generator=random)
        normals = torch.nn.functional.normalize(torch.randn(3, *size, generator=random), dim=0)
        target = {"scene": index // 4, "parts": parts, "depth": torch.rand(1, *size, generator=random), "normals": normals}
        dataset.append((torch.randint(256, (3, *size), generator=random, dtype=torch.uint8), target))
    made = {"surrogate": Pixels()} if own_surrogate else {}
    settings = {**QUIET, "batch_size": 4}
    safe = mtlue.protect(dataset, tasks=tasks, loss=mtlue.EM(), epochs=1, path=tmp_path / "store", **made, **settings)
    assert_protected(safe, dataset)
    assert all(safe[i][1] is dataset[i][1] for i in range(8))
    loaded = mtlue.ProtectedDataset.load(tmp_path / "store", dataset)
    assert loaded.tasks == safe.tasks
    assert all(torch.equal(loaded[i][0], safe[i][0]) for i in range(8))


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
@pytest.mark.parametrize("labels", ["maps", "maps and classes", "classes"])
def test_label_maps_are_protected_at_full_size_against_one_network(labels: str, caplog: pytest.LogCaptureFixture) -> None:
    random = torch.Generator().manual_seed(0)
    dataset = []
    for index in range(8):
        lit = {"lit": torch.randint(2, (20, 20), generator=random)} if labels != "classes" else {}
        scene = {"scene": index % 2} if labels != "maps" else {}
        dataset.append((torch.rand(3, 20, 20, generator=random), {**lit, **scene}))
    with caplog.at_level(logging.INFO, logger="mtlue"):
        safe = mtlue.protect(dataset, epochs=7, **QUIET)
    trained = [record.getMessage() for record in caplog.records if "epochs, batches of" in record.getMessage()]
    assert safe.generator is not None
    assert "RestartedEM" in trained[1]
    if labels == "classes":
        assert "count=2" in trained[1]
        assert (safe.generator.image_shape, safe.generator.width) == ((3, 10, 10), 16)
    else:
        assert trained[0].startswith("surrogate: 8 samples, 1 epochs, batches of 16 samples")
        assert "misleading=1.0" in trained[1]
        assert "count=2" not in trained[1]
        assert (safe.generator.image_shape, safe.generator.width) == ((3, 20, 20), 12)


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
@pytest.mark.parametrize(("samples", "batch_size"), [(9, 8), (10, 5)])
def test_protect_with_nothing_but_a_data_set(canvases: Any, samples: int, batch_size: int) -> None:
    safe = mtlue.protect(canvases[:samples], epochs=1, batch_size=batch_size, progress=False)
    assert safe.tasks == {"shoe": mtlue.Classification(2), "front": mtlue.Classification(2)}
    assert safe.epsilon == 8 / 255
    assert_protected(safe, canvases[:samples])


def test_the_users_data_set_computes_as_it_would_elsewhere(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    seen: set[tuple[bool, bool]] = set()

    class Watching(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(canvases)

        def __getitem__(self, index: int) -> Any:
            seen.add((torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()))
            return canvases[index]

    settings = {**QUIET, "precision": torch.bfloat16}
    mtlue.protect(Watching(), surrogate=net, loss=mtlue.EM(), generator=make_generator(), epochs=1, **settings)
    assert {autocast for autocast, _ in seen} == {False}
    seen.clear()
    mtlue.protect(Watching(), generator=make_generator(trained=True), **settings)
    assert seen == {(False, True)}


def test_a_budget_below_one_level_is_told(canvases: Any, make_generator: Any) -> None:
    with pytest.warns(UserWarning, match="epsilon"):
        safe = mtlue.protect(canvases, generator=make_generator(trained=True, epsilon=0.9 / 255), **QUIET)
    assert all(torch.equal(*pair) for pair in zip(stored(safe), clean(canvases), strict=True))


def test_a_budget_that_everybody_sees(canvases: Any, make_generator: Any) -> None:
    with pytest.warns(
        UserWarning, match=r"epsilon: 0\.13 is 33 levels of 255: everybody will see the change; the usual .* 8/255"
    ):
        mtlue.protect(canvases, generator=make_generator(trained=True, epsilon=0.13), **QUIET)
    mtlue.protect(canvases, generator=make_generator(trained=True, epsilon=32 / 255), **QUIET)


def test_a_protected_set_is_not_protected_again(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(trained=True)
    safe = mtlue.protect(canvases, generator=generator, **QUIET)
    mirrored = safe.with_transform(lambda image: image.flip(-1))
    part = Subset(Subset(safe, range(40)), range(20))
    joined = ConcatDataset([canvases, mirrored])
    tasks, net = {"shoe": 2, "front": 2}, nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    shortcut = {"patterns": baselines.LSP(), "fusion": baselines.patch_fusion}
    for again in (safe, mirrored, part, joined):
        for call in (
            lambda again=again: mtlue.protect(again, generator=generator, **QUIET),
            lambda again=again: baselines.pgd(again, tasks=tasks, surrogate=net, loss=mtlue.TAP(), progress=False),
            lambda again=again: baselines.shortcut(again, tasks=tasks, **shortcut),
            lambda again=again: baselines.random_noise(again),
        ):
            with pytest.raises(ValueError, match=r"dataset: it is protected already.* add up; give the clean set"):
                call()
