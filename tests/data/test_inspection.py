"""Reading a data set in all its forms, and looking at it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image

import mtlue
from mtlue._data import Samples, inspect_dataset, inspection, read_image, to_bytes, to_unit_floats
from mtlue._runtime.job import _packed, _unpacked

TASKS = {"shoe": mtlue.Classification(2), "front": mtlue.Classification(2)}


def protected_bytes(dataset: Any, generator: mtlue.UEGenerator, **arguments: Any) -> Tensor:
    safe = mtlue.protect(dataset, generator=generator, precision=torch.float32, progress=False, **arguments)
    return torch.stack([(image * 255).round().byte() for image, _ in safe])


def test_what_is_known_of_a_sound_data_set() -> None:
    sizes = [(8, 9), (8, 9), (10, 20), (12, 6), (8, 9)]
    dataset = [(torch.rand(3, *size), (index % 2, 0)) for index, size in enumerate(sizes)]
    for workers in (0, 2):
        found = inspect_dataset(dataset, TASKS, num_workers=workers)
        assert (found.length, found.channels, found.uniform) == (5, 3, False)
        assert found.sizes == Counter({(8, 9): 3, (10, 20): 1, (12, 6): 1})
        # Medians of 8, 8, 8, 10, 12 and of 6, 9, 9, 9, 20.
        assert found.typical_size == (8, 9)
    assert inspect_dataset(dataset[:2], TASKS).uniform


@dataclass
class Turn:
    """One of three ranks that inspect a set one after the other. What they find is kept, and is then what each hears."""

    rank: int
    told: list[Any]
    size: int = 3

    def gathered(self, value: Any) -> list[Any]:
        self.told[self.rank] = value
        # As it arrives elsewhere.
        return _unpacked(_packed([each for each in self.told if each is not None]))  # type: ignore[no-any-return]


def inspected_by_three(dataset: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the last rank makes of a set, or raises, when it has heard all; the indices that each has read are noted."""
    told: list[Any] = [None] * 3
    for rank in range(3):
        monkeypatch.setattr(inspection, "current_job", lambda rank=rank: Turn(rank, told))
        dataset.read = []
        try:
            found: Any = inspect_dataset(dataset, TASKS)
        except ValueError as error:
            found = str(error)
        assert sorted(set(dataset.read)) == list(range(len(dataset) * rank // 3, len(dataset) * (rank + 1) // 3))
    monkeypatch.undo()
    return found


class Noting(list[Any]):
    """Notes which samples are read."""

    read: list[int]

    def __getitem__(self, index: Any) -> Any:
        self.read.append(index)
        return super().__getitem__(index)


@pytest.mark.parametrize("faults", ["none", "labels", "values", "channels"])
def test_ranks_inspect_a_part_each_and_know_all(faults: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Noting((torch.rand(3, 8, 8 + index % 2), (index % 2, int(index > 7))) for index in range(10))
    for index in (1, 5, 6, 9):
        image, labels = list.__getitem__(dataset, index)
        if faults == "labels":
            dataset[index] = image, (2 + index % 3, "left" if index > 5 else 0)
        elif faults == "values":
            dataset[index] = image * (index - 3), labels
        elif faults == "channels":
            dataset[index] = image[: index % 3], labels
    dataset.read = []
    try:
        whole: Any = inspect_dataset(dataset, TASKS)  # type: ignore[arg-type]  # a list
    except ValueError as error:
        whole = str(error)
    assert isinstance(whole, str) == (faults != "none")
    assert inspected_by_three(dataset, monkeypatch) == whole


def test_a_fault_that_many_samples_share_is_told_once() -> None:
    dataset = [(torch.rand(1, 4, 4), (2, 0)) for _ in range(100)]
    for workers in (0, 2):
        with pytest.raises(ValueError, match=r"dataset: task 'shoe': label 2 .*\(samples 0, 1, 2 and 97 more\)"):
            inspect_dataset(dataset, TASKS, num_workers=workers)


def test_many_kinds_of_fault_are_cut_short() -> None:
    dataset = [(torch.rand(1, 4, 4), (100 + index, 0)) for index in range(30)]
    with pytest.raises(ValueError, match="30 problems") as caught:
        inspect_dataset(dataset, TASKS)
    assert len(str(caught.value).splitlines()) == 22
    assert "and 10 more kinds of problem" in str(caught.value)


def test_image_values_at_the_ends_of_the_range_are_fine() -> None:
    ends = torch.tensor([[[0.0, 1.0]]])
    assert inspect_dataset([(ends, (0, 1)), (1 - ends, (1, 0))], TASKS).length == 2


@pytest.mark.filterwarnings("ignore:surrogate. it answers")
def test_raw_labels_of_minus_one_and_one_warn(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    dataset = [(image, {**target, "front": 2 * target["front"] - 1}) for image, target in canvases]
    settings: dict[str, Any] = {"loss": mtlue.EM(), "epochs": 1, "batch_size": 16, "progress": False}
    words = "task 'front': the labels are only -1 and 1, and -1 means a missing label.* give 0 instead"
    with pytest.warns(UserWarning, match=words):
        mtlue.fit(make_generator(), dataset, net, **settings)
    with pytest.warns(UserWarning, match=words):
        mtlue.protect(dataset, generator=make_generator(), surrogate=net, **settings)
    with pytest.warns(UserWarning, match=words):
        mtlue.protect(dataset, surrogate=net, **settings)


@pytest.mark.parametrize("make_loss", [lambda net: mtlue.TAP(), lambda net: mtlue.SEP([net.state_dict()])])
def test_an_untrained_surrogate_warns(canvases: Any, net: nn.Module, make_generator: Any, make_loss: Any) -> None:
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 16, "progress": False}
    # No warning for the trained one: warnings are errors here.
    mtlue.fit(make_generator(), canvases, net, loss=make_loss(net), **settings)
    mtlue.protect(canvases, generator=make_generator(), surrogate=net, loss=make_loss(net), **settings)
    with torch.no_grad():
        net[1].weight.zero_()
    with pytest.warns(UserWarning, match="surrogate: no better than chance on the clean data, it looks untrained"):
        mtlue.fit(make_generator(), canvases, net, loss=make_loss(net), **settings)
    with pytest.warns(UserWarning, match="surrogate: no better than chance on the clean data, it looks untrained"):
        mtlue.protect(canvases, generator=make_generator(), surrogate=net, loss=make_loss(net), **settings)


def test_em_may_begin_with_an_untrained_surrogate(canvases: Any, make_net: Any, make_generator: Any) -> None:
    mtlue.fit(make_generator(), canvases, make_net(), loss=mtlue.EM(), epochs=1, batch_size=16, progress=False)


def test_every_form_of_a_pil_image() -> None:
    grey = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4) * 20
    photo = torch.stack([grey[0], 240 - grey[0], grey[0] // 2])
    assert torch.equal(read_image(to_pil_image(grey)), grey)
    assert torch.equal(read_image(to_pil_image(photo)), photo)
    assert torch.equal(read_image(grey[0]), grey)
    palette = to_pil_image(photo).quantize(12)
    assert palette.mode == "P"
    assert torch.equal(read_image(palette), read_image(palette.convert("RGB")))
    assert read_image(palette).shape == (3, 3, 4)
    black_and_white = to_pil_image(grey).point(lambda value: value > 100, mode="1")
    assert torch.equal(read_image(black_and_white), (grey > 100).byte() * 255)
    assert read_image(to_pil_image(photo).convert("CMYK")).shape == (3, 3, 4)
    with pytest.raises(ValueError, match="expected an 8-bit image, got PIL mode 'I;16'"):
        read_image(Image.new("I;16", (4, 4)))


def test_bytes_and_floats_say_the_same() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    assert torch.equal(to_unit_floats(levels), torch.arange(256).reshape(1, 16, 16) / 255)
    assert torch.equal(to_bytes(to_unit_floats(levels)), levels)
    assert read_image(levels.double() / 255).dtype == torch.float32


def test_collate_resizes_images_and_label_maps() -> None:
    tasks = {"shape": mtlue.Classification(2), "depth": mtlue.Depth()}
    samples = [(torch.full((1, 4, 4), 255, dtype=torch.uint8), {"shape": torch.tensor(1), "depth": torch.full((1, 4, 4), 3.0)})]
    samples.append((torch.zeros(1, 6, 2), {"shape": torch.tensor(0), "depth": torch.full((1, 6, 2), 5.0)}))
    batch = Samples(samples, tasks, size=(3, 5)).collate(samples)  # type: ignore[arg-type]  # a list is a data set
    images, targets = batch.images, batch.targets
    assert torch.equal(images, torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1).expand(2, 1, 3, 5))
    assert torch.equal(targets["depth"], torch.tensor([3.0, 5.0]).reshape(2, 1, 1, 1).expand(2, 1, 3, 5))
    assert targets["shape"].tolist() == [1, 0]


def test_every_form_of_image_is_protected_alike(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(trained=True, gain=50.0)
    wanted = protected_bytes(canvases, generator)
    assert not torch.equal(wanted, torch.stack([image for image, _ in canvases]))
    forms = [
        lambda image: image.float() / 255,
        lambda image: (image.double() / 255).squeeze(0),
        to_pil_image,
        lambda image: image.squeeze(0),
    ]
    for form in forms:
        assert torch.equal(protected_bytes([(form(image), target) for image, target in canvases], generator), wanted)
    # All forms in one data set.
    mixed = [(forms[index % 4](image), target) for index, (image, target) in enumerate(canvases)]
    assert torch.equal(protected_bytes(mixed, generator), wanted)


def test_every_form_of_color_image_is_protected_alike(make_generator: Any) -> None:
    images = torch.randint(4, (6, 3, 10, 12), generator=torch.Generator().manual_seed(0)).mul(80).byte()
    labels = [{"shoe": index % 2, "front": index // 3} for index in range(6)]
    generator = make_generator(shape=(3, 10, 12), trained=True, gain=50.0)
    wanted = protected_bytes(list(zip(images, labels, strict=True)), generator)
    palettes = [to_pil_image(image).quantize(64, dither=Image.Dither.NONE) for image in images]
    shown = [torch.equal(read_image(palette), image) for palette, image in zip(palettes, images, strict=True)]
    assert all(shown)
    for forms in ([to_pil_image(image) for image in images], palettes, [image.float() / 255 for image in images]):
        assert torch.equal(protected_bytes(list(zip(forms, labels, strict=True)), generator), wanted)


def test_every_form_of_targets_is_protected_alike(canvases: Any, make_generator: Any) -> None:
    generator = make_generator(trained=True, gain=50.0)
    wanted = protected_bytes(canvases, generator)
    forms = [
        lambda target: (target["shoe"], target["front"]),
        lambda target: [target["shoe"], target["front"]],
        lambda target: torch.tensor([target["shoe"], target["front"]]),
        lambda target: torch.tensor([float(target["shoe"]), float(target["front"])]),
        lambda target: {"front": torch.tensor(target["front"]), "age": 70, "shoe": bool(target["shoe"])},
        lambda target: {"front": torch.tensor([target["front"]]), "shoe": torch.tensor([target["shoe"]])},
    ]
    for form in forms:
        assert torch.equal(protected_bytes([(image, form(target)) for image, target in canvases], generator), wanted)
    mixed = [(image, forms[index % 5](target)) for index, (image, target) in enumerate(canvases)]
    assert torch.equal(protected_bytes(mixed, generator), wanted)


def test_one_integer_is_the_target_of_one_task(canvases: Any, make_generator: Any) -> None:
    generator = make_generator({"front": 2}, trained=True, gain=50.0)
    wanted = protected_bytes([(image, {"front": target["front"]}) for image, target in canvases], generator)
    forms = (int, torch.tensor, lambda label: torch.tensor([label]), lambda label: (label,))
    for form in forms:
        dataset = [(image, form(target["front"])) for image, target in canvases]
        assert torch.equal(protected_bytes(dataset, generator), wanted)
        assert torch.equal(protected_bytes(dataset, generator, num_workers=1), wanted)
