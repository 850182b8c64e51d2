"""The script for large sets runs, in one process; and the commands of the README name it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torchvision.transforms.functional import to_pil_image

import mtlue
import protect_large
from mtlue import datasets, evaluation
from people import Net, random_images

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of so few images and steps
def test_it_protects_a_folder_and_keeps_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for index, image in enumerate(random_images(12)):
        to_pil_image(image).save(f"photos/{index:02d}.png")
    lines = ["file,age,sex", *(f"{index:02d}.png,{index % 3},{index % 2}" for index in range(12))]
    Path("photos/labels.csv").write_text("\n".join(lines))
    monkeypatch.setattr(protect_large, "BATCH", 4)
    monkeypatch.setattr(evaluation, "build_model", lambda *given, **settings: Net({"age": 3, "sex": 2}))
    protected = protect_large.main("photos", "protected", images=16, readers=0)
    assert len(protected) == 12
    dataset = datasets.ImageTable("photos")
    stored = mtlue.ProtectedDataset.load("protected", dataset)
    key = mtlue.UEGenerator.load("protected-key.pt")
    assert key.image_shape == (3, 8, 8)
    again = mtlue.protect(dataset, generator=key, check=False, progress=False)
    for index in range(12):
        assert torch.equal(stored.stored_image(index), again.stored_image(index))
    assert Path("protected-fit.pt").exists()


def test_the_commands_of_the_readme_run_it() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:python|torchrun .*?) (examples/\S+\.py) photos protected", page, re.M)
    assert commands == ["examples/protect_large.py"] * 3
