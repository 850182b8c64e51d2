"""Data sets of torchvision go into `protect` as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Subset
from torchvision import datasets, transforms
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import mtlue


def save_noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.randint(256, (3, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    to_pil_image(pixels).save(path, format="PNG")


def protect(dataset: Any, logits: int, **arguments: Any) -> Any:
    """In one call, with the settings of `mtlue.protect` but for what keeps a test short."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, logits))
    return mtlue.protect(
        dataset, surrogate=net, loss=mtlue.EM(), epochs=1, batch_size=4, device="cpu", progress=False, **arguments
    )


def assert_protected(safe: Any, dataset: Any) -> None:
    assert len(safe) == len(dataset)
    changed = 0
    for (image, target), (clean, own) in zip(safe, dataset, strict=True):
        assert type(target) is type(own)
        assert torch.equal(torch.as_tensor(target), torch.as_tensor(own))
        levels = pil_to_tensor(clean) if isinstance(clean, Image.Image) else (clean * 255).round()
        difference = (image * 255 - levels).abs().max()
        assert difference <= 8 + 1e-3
        changed += bool(difference > 0.5)
    assert changed == len(dataset)


@pytest.mark.parametrize("transform", [None, transforms.ToTensor(), transforms.PILToTensor()], ids=["PIL", "floats", "bytes"])
def test_an_image_folder(tmp_path: Path, transform: Any) -> None:
    for index in range(6):
        save_noise(tmp_path / ("cat", "dog", "fox")[index % 3] / f"{index}.png", index)
    dataset = datasets.ImageFolder(str(tmp_path), transform=transform)
    safe = protect(dataset, 3)
    assert safe.tasks == {"task0": mtlue.Classification(3)}
    assert [target for _, target in safe] == [0, 0, 1, 1, 2, 2]
    if not isinstance(transform, transforms.PILToTensor):
        assert_protected(safe, dataset)


@pytest.fixture
def celeba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchvision's own reader on five faces with three attributes; its target is one tensor."""
    folder = tmp_path / "celeba"
    names = [f"{index:06}.jpg" for index in range(1, 6)]
    for index, name in enumerate(names):
        save_noise(folder / "img_align_celeba" / name, index)
    attributes = [" ".join(str(1 if (index + shift) % 2 else -1) for shift in range(3)) for index in range(5)]
    head = ["5", "Bald Male Young"]
    rows = [f"{name} {values}" for name, values in zip(names, attributes, strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\n".join(head + rows))
    for name, values in (("list_eval_partition", "0"), ("identity_CelebA", "7")):
        (folder / f"{name}.txt").write_text("\n".join(f"{file} {values}" for file in names))
    for name in ("bbox", "landmarks_align"):
        (folder / f"list_{name}_celeba.txt").write_text("\n".join(["5", "x y", *(f"{file} 1 1" for file in names)]))
    monkeypatch.setattr(datasets.CelebA, "_check_integrity", lambda self: True)
    return datasets.CelebA(str(tmp_path), split="train", target_type="attr", transform=transforms.ToTensor())


def test_celeba_whose_target_is_one_tensor(celeba: Any) -> None:
    assert isinstance(celeba[0][1], Tensor)
    safe = protect(celeba, 3)
    assert safe.tasks == {f"task{index}": mtlue.Classification(2) for index in range(3)}
    assert_protected(safe, celeba)


def test_names_can_be_given_to_the_entries_of_the_target(celeba: Any) -> None:
    safe = protect(celeba, 3, tasks=dict.fromkeys(celeba.attr_names, 2), protected_tasks=["Male"])
    assert list(safe.tasks) == ["Bald", "Male", "Young"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_subset_of_either(celeba: Any) -> None:
    part = Subset(celeba, [4, 0, 2])
    assert_protected(protect(part, 3), part)
