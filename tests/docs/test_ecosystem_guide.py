"""The examples of the guide run, from top to bottom, in the folder that it describes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms.functional import to_pil_image

import mtlue
import mtlue.datasets
from optional import needs

GUIDE = Path(__file__).parents[2] / "docs" / "ecosystem.md"
SECTIONS = [section for section in GUIDE.read_text(encoding="utf-8").split("\n## ") if "```python" in section]


def save_noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.randint(256, (3, 16, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    to_pil_image(pixels).save(path)


@pytest.fixture
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of the guide, with four images each, as the current directory."""
    rows = ["file,age,race,glasses"]
    for index in range(4):
        name = f"images/000{index + 1}.png"
        save_noise(tmp_path / "faces" / name, index)
        save_noise(tmp_path / "photos" / ("cat", "dog")[index % 2] / f"{index}.png", index)
        rows.append(f"{name},{3 - index},{('Indian', 'White')[index % 2]},{('1', '', '0', '1')[index]}")
    (tmp_path / "faces" / "labels.csv").write_text("\n".join(rows))
    (tmp_path / "faces" / "test.csv").write_text("\n".join([rows[0], rows[2]]))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """`protect` trains for one epoch, and by default with EM on a linear model, not on a ResNet-18."""
    protect: Callable[..., Any] = mtlue.protect

    def short(dataset: Any, *, loss: Any = None, surrogate: Any = None, **arguments: Any) -> Any:
        if surrogate is None:
            pixels = 3 * dataset[0][0].shape[-1] ** 2 if isinstance(dataset[0][0], torch.Tensor) else 3 * 32 * 32
            tasks = getattr(dataset, "tasks", {"task0": mtlue.Classification(2)})
            widths = [task.num_classes for task in tasks.values()]
            surrogate = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(pixels, sum(widths)), Split(widths))
        quick = {"epochs": 1, "batch_size": 4, "device": "cpu", "progress": False}
        return protect(dataset, loss=mtlue.EM(), surrogate=surrogate, **arguments, **quick)

    monkeypatch.setattr(mtlue, "protect", short)


class Split(torch.nn.Module):
    """Logits of all tasks, divided among them."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.widths = widths

    def forward(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return logits.split(self.widths, dim=1)


@pytest.mark.usefixtures("_folders", "_short")
@pytest.mark.parametrize("section", SECTIONS, ids=[section.partition("\n")[0] for section in SECTIONS])
def test_the_examples_run(section: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if "import datasets\n" in section:
        hf = needs("datasets", extra="huggingface")
        hf.disable_progress_bars()
        monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", Path("cache").absolute())
    names: dict[str, Any] = {"faces": mtlue.datasets.ImageTable("faces", channels=3, image_size=32)}
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    # What an example prints is what stands beside it.
    said = re.findall(r"print\(.*\)  # (.*)", "".join(blocks))
    assert capsys.readouterr().out.splitlines() == said
    if "safe" in names:
        assert len(names["safe"]) == 4
    else:
        assert isinstance(names["protected"], mtlue.ProtectedDataset)
    if "published" in names:
        assert len(names["published"]) == len(names["protected"]) == 4
    if "test" in names:
        assert names["test"][0][1] == {"age": 2, "race": 1, "glasses": -1}
