"""The image sets of the benchmarks: what is read is what was written, and no part tells of another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from multi_fashion import MultiFashion
from noise_avatars import write_avatars
from sets.avatars import ATTRIBUTES, Avatars
from sets.make_avatars import DRAWING, draw, install

COUNT, SIZE = 5, 8


def test_avatars_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = {part: write_avatars(tmp_path / part, seed=seed) for seed, part in enumerate(("train", "test", "pretrain/train"))}
    read = {
        "train": Avatars(tmp_path, train=True),
        "test": Avatars(tmp_path, train=False),
        "pretrain/train": Avatars(tmp_path / "pretrain", train=True),
    }
    for part, avatars in read.items():
        images, labels = written[part]
        assert len(avatars) == COUNT
        assert avatars.images.dtype == avatars.labels.dtype == torch.uint8
        for number in range(COUNT):
            image, label = avatars[number]
            assert image.shape == (3, SIZE, SIZE)
            assert image.dtype == torch.uint8
            assert torch.equal(image.permute(1, 2, 0), images[number])
            assert label.dtype == torch.long
            assert torch.equal(label, labels[number])


def test_avatars_are_fourteen_binary_tasks_in_the_order_of_the_labels(tmp_path: Path) -> None:
    write_avatars(tmp_path / "train")
    avatars = Avatars(tmp_path, train=True)
    assert avatars.labels.shape == (COUNT, 14)
    assert list(avatars.tasks) == list(ATTRIBUTES)
    assert set(avatars.tasks.values()) == {2}


def test_a_size_takes_the_first_avatars(tmp_path: Path) -> None:
    write_avatars(tmp_path / "train")
    everything, some = Avatars(tmp_path, train=True), Avatars(tmp_path, train=True, size=2)
    assert len(some) == 2
    assert torch.equal(some.images, everything.images[:2])
    assert torch.equal(some.labels, everything.labels[:2])


@pytest.mark.parametrize("size", [0, COUNT + 1])
def test_a_size_that_there_is_not_is_refused(tmp_path: Path, size: int) -> None:
    write_avatars(tmp_path / "train")
    with pytest.raises(ValueError, match=f"size must be from 1 to the 5 images of .*train, got {size}"):
        Avatars(tmp_path, train=True, size=size)


@pytest.mark.parametrize("name", ["meta.json", "images.bin", "labels.csv"])
def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    write_avatars(tmp_path / "test")
    (tmp_path / "test" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no .*{name}; make the set with: python benchmarks/sets/make_avatars.py"):
        Avatars(tmp_path, train=False)


def test_images_cut_short_are_refused_with_the_remedy(tmp_path: Path) -> None:
    write_avatars(tmp_path / "train")
    path = tmp_path / "train" / "images.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"has 959 bytes, but 5 images of 8x8 pixels have 960: .*make_avatars\.py"):
        Avatars(tmp_path, train=True)


@pytest.mark.parametrize("damage", ["a line less", "a label less", "no number"])
def test_damaged_labels_are_refused_with_the_remedy(tmp_path: Path, damage: str) -> None:
    write_avatars(tmp_path / "train")
    path = tmp_path / "train" / "labels.csv"
    lines = path.read_text().splitlines()
    last = {"a line less": [], "a label less": [lines[-1][:-2]], "no number": [lines[-1][:-1] + "x"]}[damage]
    path.write_text("\n".join([*lines[:-1], *last]) + "\n")
    with pytest.raises(ValueError, match="has not 5 lines of 14 zeros and ones; make the set with"):
        Avatars(tmp_path, train=True)


def test_labels_of_another_set_are_refused(tmp_path: Path) -> None:
    write_avatars(tmp_path / "train")
    path = tmp_path / "train" / "labels.csv"
    path.write_text(path.read_text().replace("hat,", "cap,", 1))
    with pytest.raises(ValueError, match=r"has the columns \['cap', .*, not \['hat', "):
        Avatars(tmp_path, train=True)


@pytest.mark.parametrize("missing", ["node", "npm"])
def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None if program == missing else f"/usr/bin/{program}")
    with pytest.raises(SystemExit, match=f"^{missing} was not found"):
        install(tmp_path)


drawing = pytest.mark.skipif(
    shutil.which("node") is None or not (DRAWING / "node_modules").is_dir(),
    reason="needs Node.js and the drawing library, which benchmarks/sets/make_avatars.py installs",
)


@drawing
def test_the_same_seed_draws_the_same_avatars(tmp_path: Path) -> None:
    for name, count, size, seed in (("a", 6, 16, 3), ("b", 6, 16, 3), ("fewer", 2, 16, 3), ("larger", 6, 24, 3)):
        draw(DRAWING, tmp_path / name / "train", count=count, size=size, seed=seed)
    draw(DRAWING, tmp_path / "other" / "train", count=6, size=16, seed=4)
    a, b, fewer, larger, other = (Avatars(tmp_path / x, train=True) for x in ("a", "b", "fewer", "larger", "other"))
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.labels, b.labels)
    assert torch.equal(fewer.images, a.images[:2])
    assert torch.equal(larger.labels, a.labels)
    assert larger.images.shape == (6, 3, 24, 24)
    assert not (other.images == a.images).flatten(1).all(dim=1).any()


@drawing
def test_attributes_are_tied_only_as_they_say(tmp_path: Path) -> None:
    count = 500
    draw(DRAWING, tmp_path / "train", count=count, size=8, seed=0)
    labels = Avatars(tmp_path, train=True).labels.double()
    label = dict(zip(ATTRIBUTES, labels.T, strict=True))
    assert (label["dark_eyewear"] <= label["eyewear"]).all()
    assert (label["moustache"] <= label["facial_hair"]).all()
    exclusive = [("dark_hair", "fair_hair"), ("smiling", "negative_mouth"), ("blazer", "hoodie", "graphic_shirt")]
    for group in exclusive:
        assert sum(label[name] for name in group).max() == 1
    tied = [{"eyewear", "dark_eyewear"}, {"facial_hair", "moustache"}, *map(set, exclusive)]
    correlations = torch.corrcoef(labels.T)
    for i, first in enumerate(ATTRIBUTES):
        for j, second in enumerate(ATTRIBUTES[:i]):
            if not any({first, second} <= group for group in tied):
                # Four standard deviations of the correlation of independent labels.
                assert abs(correlations[i, j]) < 4 / count**0.5, (first, second)


def test_canvases_show_only_the_photographs_asked_for() -> None:
    first = MultiFashion(40, train=True, contrast=1, photographs=range(3))
    again = MultiFashion(40, train=True, contrast=1, photographs=range(3, 6))
    source = MultiFashion(400, train=True, contrast=1, photographs=range(10_000))

    def items(canvases: MultiFashion) -> set[bytes]:
        """What is seen of the garments at the top left where those at the bottom right do not reach."""
        seen = canvases.images[..., :8, :]
        return {strip.numpy().tobytes() for strip in seen * (seen > 0.11 * 255)}  # fainter pixels hide nothing, see the set

    assert len(items(first)) == len(items(again)) == 3
    assert items(first).isdisjoint(items(again))
    assert len(items(source)) > 300


def test_all_photographs_are_drawn_from_when_none_are_named() -> None:
    source = MultiFashion(40, train=True)
    named = MultiFashion(40, train=True, photographs=range(10_000))
    assert torch.equal(source.images, named.images)
    assert all(torch.equal(source.targets[name], named.targets[name]) for name in source.tasks)
