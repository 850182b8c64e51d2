"""Every public object tells what it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

import mtlue
from celeba_folder import write_files
from mtlue import analysis, baselines, datasets, defenses, evaluation
from optional import needs

TASKS = {"age": 9, "gender": 2}
SAMPLES = [(torch.full((1, 8, 8), 0.5), {"age": index % 9, "gender": index % 2}) for index in range(18)]
FIGURES = {"learning_rate": 1e-3, "loss": 2.0, "base_loss": 0.5, "intra_er": 0.0, "inter_er": 0.0, "seconds": 1.0}
EPOCH = mtlue.Epoch(**FIGURES, surrogate_accuracy=None)
METRICS = {"balanced_accuracy": 0.5}


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 11))


def measured(data: str, accuracy: float) -> evaluation.Measurement:
    metrics = {"balanced_accuracy": accuracy}
    return evaluation.Measurement(data, "multi-task", "none", "gender", 0, metrics, metrics, 1)


class Confuse(mtlue.BaseUELoss):
    """A loss that says nothing of itself."""

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return -surrogate.loss(images, targets)


class Harder(mtlue.TAP):
    """One that is derived from another."""


class Still(datasets.JointTransform):
    """A transform that says nothing of itself."""

    def __call__(self, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return images, targets


class Raw(datasets.ImageFiles):
    """A format that says nothing of itself."""

    suffix = "raw"

    def encode(self, image: Tensor) -> bytes:
        return image.numpy().tobytes()

    def decode(self, content: bytes) -> Tensor:
        return torch.frombuffer(bytearray(content), dtype=torch.uint8)


class Blank:
    """A function on images that says nothing of itself."""

    def __call__(self, images: Tensor) -> Tensor:
        return images


class Heavy(evaluation.Weighting):
    """A weighting that says nothing of itself."""

    def backward(self, losses: Any, module: nn.Module) -> None:
        torch.stack(list(losses.values())).sum().backward()


def described(root: Path) -> object:
    baselines.random_noise(SAMPLES, tasks=TASKS).export(root / "out")
    return mtlue.verify(root / "out")


def celeba(root: Path) -> object:
    write_files(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
        return datasets.CelebA(root, split="train", image_size=16)


def chestxray14(root: Path) -> object:
    (root / "images_001" / "images").mkdir(parents=True)
    Image.new("L", (12, 12)).save(root / "images_001" / "images" / "00000001_000.png")
    (root / "Data_Entry_2017.csv").write_text("Image Index,Finding Labels\n00000001_000.png,Hernia\n")
    for name, content in (("train_val_list.txt", "00000001_000.png"), ("test_list.txt", "")):
        (root / name).write_text(content)
    return datasets.ChestXray14(root, split="train", image_size=16)


def nyuv2(root: Path) -> object:
    for kind, shape in {"image": (6, 8, 3), "label": (6, 8), "depth": (6, 8, 1), "normal": (6, 8, 3)}.items():
        (root / "train" / kind).mkdir(parents=True)
        np.save(root / "train" / kind / "0.npy", np.zeros(shape))
    return datasets.NYUv2(root, split="train")


def utkface(root: Path) -> object:
    for number in range(10):
        Image.new("RGB", (8, 8)).save(root / f"{20 + number}_0_1_201701161745251{number}.jpg.chip.jpg", format="PNG")
    return datasets.UTKFace(root, split="train")


def image_table(root: Path) -> object:
    Image.new("L", (8, 8)).save(root / "a.png")
    Image.new("L", (8, 8)).save(root / "b.png")
    (root / "labels.csv").write_text("file,gender\na.png,0\nb.png,1\n")
    return datasets.ImageTable(root)


def hugging_face(root: Path) -> object:
    library = needs("datasets", extra="huggingface")
    pictures = [Image.new("L", (8, 8)) for _ in range(4)]
    table = library.Dataset.from_dict({"image": pictures, "gender": [0, 1, 0, 1]})
    return datasets.HuggingFace(table.cast_column("image", library.Image()))


def weighting(kind: Callable[[], object]) -> object:
    needs("torchjd", extra="evaluation")
    return kind()


def shards(root: Path) -> object:
    needs("webdataset", extra="webdataset")
    baselines.random_noise(SAMPLES, tasks=TASKS).export(root / "out", format="webdataset")
    return datasets.WebDataset(root / "out")


def protected(root: Path) -> object:
    return baselines.random_noise(SAMPLES, tasks=TASKS)


def loaded(root: Path) -> object:
    baselines.random_noise(SAMPLES, tasks=TASKS, path=root / "safe")
    return mtlue.ProtectedDataset.load(root / "safe", SAMPLES)


# Each public class with an object of it, and what that has to say.
MADE: list[tuple[type, Callable[[Path], object], list[str]]] = [
    (mtlue.EM, lambda _: mtlue.EM(), ["EM()"]),
    (mtlue.TAP, lambda _: mtlue.TAP(), ["TAP()"]),
    (mtlue.TAP, lambda _: Harder(), ["Harder()"]),
    (mtlue.SEP, lambda _: mtlue.SEP([network(), network()]), ["SEP(2 checkpoints)"]),
    (mtlue.BaseUELoss, lambda _: Confuse(), ["Confuse()"]),
    (mtlue.Classification, lambda _: mtlue.Classification(9), ["Classification(9)"]),
    (mtlue.Segmentation, lambda _: mtlue.Segmentation(13, ignore_index=255), ["Segmentation(13, ignore_index=255)"]),
    (mtlue.Depth, lambda _: mtlue.Depth(), ["Depth()"]),
    (mtlue.SurfaceNormals, lambda _: mtlue.SurfaceNormals(), ["SurfaceNormals()"]),
    (mtlue.Task, lambda _: mtlue.Depth(), ["Depth()"]),
    (
        mtlue.ClassEmbeddingBank,
        lambda _: mtlue.ClassEmbeddingBank(TASKS, channels=4, size=(8, 9)),
        ["ClassEmbeddingBank(", "{age: 9, gender: 2}, channels=4, size=(8, 9)"],
    ),
    (mtlue.DenseEmbedder, lambda _: mtlue.DenseEmbedder(3, width=8), ["DenseEmbedder(", "in_channels=3, width=8"]),
    (
        mtlue.UEGenerator,
        lambda _: mtlue.UEGenerator(TASKS, (1, 8, 9), width=4, embedding_channels=5),
        [
            "UEGenerator(",
            "tasks={'age': Classification(9), 'gender': Classification(2)}, image_shape=(1, 8, 9), epsilon=8/255, "
            "embedding_channels=5, width=4, bound='tanh', trained=False",
        ],
    ),
    (mtlue.Check, lambda _: mtlue.Check({"age": 0.1}, protected_tasks=["age"]), ["Check(residual_learnability={'age': 0.1}, "]),
    (mtlue.Epoch, lambda _: EPOCH, ["Epoch(learning_rate=0.001, loss=2.0, base_loss=0.5,"]),
    (mtlue.History, lambda _: mtlue.History([EPOCH]), ["History(1 epochs, base_loss=0.5)"]),
    (mtlue.History, lambda _: mtlue.History(), ["History(0 epochs)"]),
    (mtlue.ProtectedDataset, protected, ["ProtectedDataset(18 samples, tasks={'age': ", "epsilon=8/255)"]),
    (mtlue.ProtectedDataset, loaded, ["ProtectedDataset(18 samples, tasks={'age': ", "epsilon=8/255)"]),
    (mtlue.REM, lambda _: mtlue.REM(radius=0.01, step_size=0.005), ["REM(radius=0.01, step_size=0.005, steps=10, "]),
    (mtlue.TUE, lambda _: mtlue.TUE(), ["TUE(weight=1.0, temperature=0.5, heads=None)"]),
    (mtlue.RestartedEM, lambda _: mtlue.RestartedEM(count=2), ["RestartedEM(make=None, count=2, restart_steps=400, "]),
    (mtlue.Check, lambda _: mtlue.Check({"race": 0.83}), ["Check(residual_learnability={'race': 0.83}, "]),
    (mtlue.Surrogate, lambda _: mtlue.Surrogate(network(), TASKS), ["Surrogate(Sequential, tasks={'age': "]),
    (baselines.LSP, lambda _: baselines.LSP(), ["LSP()"]),
    (baselines.AR, lambda _: baselines.AR(), ["AR()"]),
    (
        defenses.AdversarialTraining,
        lambda _: defenses.AdversarialTraining(steps=3),
        ["AdversarialTraining(radius=0.03137, step_size=0.007843, steps=3)"],
    ),
    (defenses.Defense, lambda _: defenses.Defense(), ["Defense()"]),
    (defenses.EarlyStopping, lambda _: defenses.EarlyStopping(SAMPLES), ["EarlyStopping(18 clean images)"]),
    (
        defenses.LastLayerRetraining,
        lambda _: defenses.LastLayerRetraining(SAMPLES, steps=3),
        ["LastLayerRetraining(18 clean images, steps=3, learning_rate=0.001)"],
    ),
    (defenses.CutMix, lambda _: defenses.CutMix(0.5), ["CutMix(alpha=0.5)"]),
    (defenses.Mixup, lambda _: defenses.Mixup(0.5), ["Mixup(alpha=0.5)"]),
    (defenses.OrthogonalProjection, lambda _: defenses.OrthogonalProjection(), ["OrthogonalProjection(epochs=20, "]),
    (defenses.Preprocessing, lambda _: defenses.Preprocessing(defenses.jpeg), ["Preprocessing(jpeg)"]),
    (
        defenses.Preprocessing,
        lambda _: defenses.Preprocessing(functools.partial(defenses.jpeg, quality=50)),
        ["Preprocessing(jpeg(quality=50))"],
    ),
    (defenses.Preprocessing, lambda _: defenses.Preprocessing(Blank()), ["Preprocessing(Blank)"]),
    (defenses.SimCLR, lambda _: defenses.SimCLR(), ["SimCLR(temperature=0.5, width=128, probe_steps=1000)"]),
    (defenses.StrongAugmentation, lambda _: defenses.StrongAugmentation(), ["StrongAugmentation(blur=1, cutout=0.5)"]),
    (defenses.UEraser, lambda _: defenses.UEraser(count=3), ["UEraser(count=3)"]),
    (defenses.VAEPurification, lambda _: defenses.VAEPurification(), ["VAEPurification(distortion=0.05, epochs=8, width=16)"]),
    (evaluation.RLW, lambda _: weighting(evaluation.RLW), ["RLW()"]),
    (evaluation.UW, lambda _: weighting(evaluation.UW), ["UW()"]),
    (evaluation.AlignedMTL, lambda _: weighting(evaluation.AlignedMTL), ["AlignedMTL()"]),
    (evaluation.FairGrad, lambda _: weighting(evaluation.FairGrad), ["FairGrad(alpha=1)"]),
    (evaluation.Uniform, lambda _: evaluation.Uniform(), ["Uniform()"]),
    (evaluation.Weighting, lambda _: Heavy(), ["Heavy()"]),
    (evaluation.TaskMetrics, lambda _: evaluation.metrics_for(mtlue.Depth()), ["DepthMetrics()"]),
    (evaluation.BestConstant, lambda _: evaluation.best_constant_for(mtlue.SurfaceNormals()), ["MeanDirection()"]),
    (
        evaluation.Headline,
        lambda _: evaluation.headline_for(mtlue.Segmentation(3)),
        ["Headline(metric='miou', name='mIoU', unit='%', perfect=1.0, scale=100.0, digits=1, chance=None)"],
    ),
    (evaluation.Measurement, lambda _: measured("clean", 0.5), ["Measurement(data='clean', victim='multi-task', "]),
    (
        evaluation.Report,
        lambda _: evaluation.Report(
            {"gender": mtlue.Classification(2)}, 8 / 255, [measured("clean", 0.9), measured("protected", 0.6)]
        ),
        ["Report(R: gender=0.25)"],
    ),
    (
        evaluation.Row,
        lambda _: evaluation.Row("multi-task", "none", "gender", "balanced_accuracy", 0.5, METRICS, METRICS, 0.5, {}),
        ["Row(victim='multi-task', defense='none', task='gender', "],
    ),
    (
        evaluation.Comparison,
        lambda _: evaluation.compare({"mine": evaluation.Report({"gender": mtlue.Classification(2)}, 8 / 255, [])}),
        ["Comparison(mine: 0 runs)"],
    ),
    (evaluation.Verdict, lambda _: evaluation.Verdict("protected", "so it is"), ["Verdict(word='protected', reason="]),
    (
        evaluation.Example,
        lambda _: evaluation.Example(7, torch.zeros(3, 8, 9), torch.zeros(3, 8, 9), 31.25, 0.9),
        ["Example(image 7, (3, 8, 9), psnr=31.25, ssim=0.9)"],
    ),
    (
        evaluation.SelectedTasks,
        lambda _: evaluation.SelectedTasks(SAMPLES, TASKS, ["gender"]),
        ["SelectedTasks(18 samples, tasks={'gender': Classification(2)})"],
    ),
    (datasets.CelebA, celeba, ["CelebA(3 samples, split='train', image_size=(16, 16), 40 tasks)"]),
    (datasets.ChestXray14, chestxray14, ["ChestXray14(1 samples, split='train', image_size=(16, 16), 14 tasks)"]),
    (datasets.NYUv2, nyuv2, ["NYUv2(1 samples, split='train', image_size=None, 3 tasks)"]),
    (datasets.UTKFace, utkface, ["UTKFace(8 samples, split='train', image_size=None, split_seed=0, ", "3 tasks)"]),
    (datasets.ImageTable, image_table, ["ImageTable(2 samples, root=", "image_size=None, tasks={gender: "]),
    (datasets.WebDataset, shards, ["WebDataset(1 shards, tasks={'age': "]),
    (datasets.HuggingFace, hugging_face, ["HuggingFace(4 samples, image='image', tasks={'gender': Classification(2)})"]),
    (
        datasets.LabelColumn,
        lambda _: datasets.LabelColumn("pet", {"cat": 2}, 1, "one class, 'cat'"),
        ["LabelColumn(name='pet', counts={'cat': 2}, missing=1, reason="],
    ),
    (datasets.JointTransform, lambda _: Still(), ["Still()"]),
    (datasets.ExportFormat, lambda _: Raw(), ["Raw()"]),
    (datasets.ImageFiles, lambda _: Raw(), ["Raw()"]),
    (datasets.PNG, lambda _: datasets.PNG(9), ["PNG(compress_level=9)"]),
    (datasets.TarShards, lambda _: datasets.TarShards(5, files=Raw()), ["TarShards(5, files=Raw())"]),
    (datasets.ParquetShards, lambda _: datasets.ParquetShards(5), ["ParquetShards(5, compress_level=4)"]),
    (mtlue.Description, described, ["Description(kind='export', length=18, tasks=('age', "]),
    (
        datasets.ExportSamples,
        lambda _: datasets.ExportSamples([], SAMPLES, {"gender": mtlue.Classification(2)}),
        ["ExportSamples(0 samples, tasks={'gender': Classification(2)})"],
    ),
    (
        datasets.RandomZoomFlip,
        lambda _: datasets.RandomZoomFlip({"depth": mtlue.Depth()}),
        ["RandomZoomFlip({'depth': Depth()})"],
    ),
]


def public_classes() -> list[type]:
    packages = (mtlue, analysis, baselines, datasets, defenses, evaluation)
    return [each for package in packages for name in package.__all__ if isinstance(each := getattr(package, name), type)]


def test_every_public_class_is_looked_at() -> None:
    assert {kind for kind, _, _ in MADE} == set(public_classes())


@pytest.mark.parametrize(("kind", "make", "facts"), MADE, ids=lambda value: value.__name__ if isinstance(value, type) else "")
def test_a_public_object_tells_what_it_is(kind: type, make: Callable[[Path], object], facts: list[str], tmp_path: Path) -> None:
    made = make(tmp_path)
    assert isinstance(made, kind)
    text = repr(made)
    assert " at 0x" not in text
    assert text.startswith(facts[0])
    assert all(fact in text for fact in facts)
    if len(facts) == 1 and facts[0].endswith(")"):
        assert text == facts[0]
    if not isinstance(made, nn.Module):
        assert "\n" not in text
