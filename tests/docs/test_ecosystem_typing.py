"""The types that an editor shows: a type checker reads these functions, and a test run calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from typing_extensions import assert_type

import mtlue
from mtlue.datasets import ImageTable


def test_a_protected_set_gives_tensors(canvases: Any, make_generator: Any) -> None:
    generator: mtlue.UEGenerator = make_generator(trained=True)
    safe = mtlue.protect(canvases, generator=generator, device="cpu", progress=False)
    assert_type(safe, mtlue.ProtectedDataset[Tensor])
    image, target = safe[0]
    assert_type(image, Tensor)
    assert_type(target, Any)
    flipped = safe.with_transform(lambda image: image.flip(-1))
    assert_type(flipped, mtlue.ProtectedDataset[Tensor])
    for first, _ in flipped:
        assert_type(first, Tensor)
        assert torch.equal(first, image.flip(-1))
        break
    assert_type(safe.generator, mtlue.UEGenerator | None)
    assert safe.generator is generator
    assert_type(safe.tasks, dict[str, mtlue.Task])


def test_a_surrogate_gives_a_tensor_for_each_task() -> None:
    surrogate = mtlue.Surrogate(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), {"smiling": 2, "young": 2})
    outputs = surrogate(torch.rand(5, 3, 2, 2))
    assert_type(outputs, dict[str, Tensor])
    loss = surrogate.loss(torch.rand(5, 3, 2, 2), torch.zeros(5, 2))
    assert_type(loss, Tensor)
    assert isinstance(loss, Tensor)


def test_a_generator_gives_tensors() -> None:
    generator = mtlue.UEGenerator({"age": mtlue.Classification(3), "pet": 2}, (3, 8, 8), width=2)
    delta = generator(torch.rand(2, 3, 8, 8), {"age": torch.tensor([0, 2]), "pet": torch.tensor([1, 1])})
    assert_type(generator.embeddings["age"], nn.Parameter)
    assert isinstance(delta, Tensor)


def test_a_reader_gives_a_tensor_and_a_dict(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file,age\na.png,1")
    dataset = ImageTable(tmp_path, tasks={"age": 9})
    image, targets = dataset[0]
    assert_type(image, Tensor)
    assert_type(targets, dict[str, Tensor])
    assert_type(dataset.classes, dict[str, list[str]])
    assert isinstance(image, Tensor)


class WithClean(mtlue.BaseUELoss):
    """A loss with a parameter that others do not have."""

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        return surrogate.loss(images, targets) + (images - clean).square().mean()


class Plain:
    """A loss that derives from nothing."""

    trains_surrogate = False

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return surrogate.loss(images, targets)


class PlainWithClean:
    """Both."""

    trains_surrogate = False

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        return surrogate.loss(clean, targets) + (images - clean).square().mean()


def test_a_loss_may_take_the_clean_images() -> None:
    losses: list[mtlue.BaseUELoss] = [WithClean(), Plain(), PlainWithClean(), mtlue.EM()]
    assert all(isinstance(loss, mtlue.BaseUELoss) for loss in losses)
