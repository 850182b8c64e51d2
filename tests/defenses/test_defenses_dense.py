"""Defences on label maps: each trains a victim, or says before the training why it cannot."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue._data import Batch, JointTransform
from mtlue._losses.heads import find_heads
from mtlue._tasks import CheckedTargets
from mtlue.datasets import RandomZoomFlip
from mtlue.defenses import (
    AdversarialTraining,
    CutMix,
    Defense,
    EarlyStopping,
    LastLayerRetraining,
    Mixup,
    OrthogonalProjection,
    StrongAugmentation,
    UEraser,
    bit_depth,
    grayscale,
    jpeg,
)
from mtlue.evaluation import evaluate, train_victim
from small_rooms import ROOMS, Pointwise, rooms

DATA: Any = rooms(8, seed=0)
OPTIONS: dict[str, Any] = {
    "tasks": ROOMS,
    "model": Pointwise,
    "epochs": 25,
    "batch_size": 4,
    "learning_rate": 0.2,
    "progress": False,
    "precision": torch.float32,
}


@pytest.mark.parametrize(
    ("defense", "learned"),
    [
        (None, {"parts", "depth", "normals"}),
        (partial(bit_depth, bits=4), {"parts", "depth", "normals"}),
        (partial(jpeg, quality=90), {"parts"}),
        (grayscale, {"parts"}),
        (AdversarialTraining(radius=2 / 255, steps=2), {"parts", "depth", "normals"}),
        (CutMix(), {"parts", "depth", "normals"}),
        (Mixup(alpha=0.2), {"parts", "depth", "normals"}),
        (UEraser(count=2), {"parts"}),
        (EarlyStopping(DATA, tasks=ROOMS, batch_size=3), {"parts", "depth", "normals"}),
        (LastLayerRetraining(DATA, tasks=ROOMS, steps=5), {"parts", "depth", "normals"}),
    ],
)
def test_a_victim_is_trained(defense: Any, learned: set[str]) -> None:
    """What a pixel tells is learned where the defence leaves that in place; labels never come apart from their pixels."""
    victim = train_victim(DATA, defense=defense, **OPTIONS)
    found = evaluate(victim, DATA, tasks=ROOMS)
    better = {
        "parts": found["parts"]["miou"] > 0.4,
        "depth": found["depth"]["absolute_error"] < 0.7,
        "normals": found["normals"]["mean_angle"] < 30,
    }
    assert learned <= {name for name, yes in better.items() if yes}, found


@pytest.mark.parametrize(
    ("defense", "message"),
    [
        (StrongAugmentation(), r"StrongAugmentation moves pixels, and the labels of \['parts', 'depth', 'normals'\] are maps"),
        (OrthogonalProjection(), r"the labels of \['parts', 'depth', 'normals'\] are all maps"),
    ],
)
def test_what_label_maps_cannot_have_is_refused(defense: Defense, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_victim(DATA, defense=defense, **OPTIONS)


def test_early_stopping_keeps_the_epoch_of_the_smallest_error() -> None:
    """Three depths, wrong by 2, 1 and 3; a larger error is no larger skill."""
    network = nn.Conv2d(3, 1, 1)
    nn.init.zeros_(network.weight)
    validation: Any = [(torch.rand(3, 2, 2), torch.tensor([[1.0, 2.0], [0.0, 3.0]]).unsqueeze(0)) for _ in range(3)]
    victim = mtlue.Surrogate(network, {"depth": mtlue.Depth()})
    stopping = EarlyStopping(validation, batch_size=2)
    for epoch, bias in enumerate((4.0, 3.0, 5.0)):
        nn.init.constant_(network.bias, bias)  # type: ignore[arg-type]
        stopping.after_epoch(victim, epoch)
    stopping.finish(victim)
    assert stopping.best_epoch == 1
    assert network.bias.item() == 3.0  # type: ignore[union-attr]
    # The mean reading is 2, wrong by 2/3 on average; no skill counts as less than -1.
    assert stopping.skills == pytest.approx([-1, 1 - 1 / (2 / 3), -1])


def test_a_flat_image_does_not_outweigh_the_others_in_early_stopping() -> None:
    """The second epoch is as good as the mean on two images; on the flat third one both are far worse than the mean."""
    network = nn.Conv2d(3, 1, 1)
    nn.init.zeros_(network.weight)
    flat = torch.tensor([[2.0, 2.0], [2.0, 2.001]]).unsqueeze(0)
    deep = torch.tensor([[1.0, 1.0], [3.0, 3.0]]).unsqueeze(0)
    validation: Any = [(torch.rand(3, 2, 2), deep), (torch.rand(3, 2, 2), deep), (torch.rand(3, 2, 2), flat)]
    victim = mtlue.Surrogate(network, {"depth": mtlue.Depth()})
    stopping = EarlyStopping(validation, batch_size=2)
    for epoch, bias in enumerate((5.0, 2.1)):
        nn.init.constant_(network.bias, bias)  # type: ignore[arg-type]
        stopping.after_epoch(victim, epoch)
    assert stopping.best_epoch == 1
    assert stopping.skills == pytest.approx([-1, (2 * 0.0 - 1) / 3], abs=1e-4)


class Decoders(nn.Module):
    """Heads of the forms that there are: a decoder of many layers, a convolution, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        decoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
        self.heads = nn.ModuleDict({"parts": decoder, "depth": nn.Conv2d(3, 1, 1), "age": nn.Linear(3, 4)})
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.body(images)
        return {
            name: head(features.mean(dim=(2, 3)) if isinstance(head, nn.Linear) else features)
            for name, head in self.heads.items()
        }


def test_of_a_decoder_the_last_layer_is_retrained_and_nothing_else() -> None:
    tasks = {"parts": ROOMS["parts"], "depth": ROOMS["depth"], "age": mtlue.Classification(4)}
    data: Any = [(image, {**target, "age": index % 4}) for index, (image, target) in enumerate(DATA)]
    network = Decoders()
    before = copy.deepcopy(network.state_dict())
    LastLayerRetraining(data, tasks={**tasks, "normals": ROOMS["normals"]}, steps=2).finish(mtlue.Surrogate(network, tasks))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"heads.{head}.{part}" for head in ("parts.3", "depth", "age") for part in ("weight", "bias")}


def test_the_heads_of_the_models_for_maps_are_found() -> None:
    from mtlue.evaluation import build_model

    network = build_model("resnet18", ROOMS, image_shape=(3, 16, 16))
    images = torch.stack([image for image, _ in rooms(2, seed=3, size=16)])
    targets = {name: torch.stack([target[name] for _, target in rooms(2, seed=3, size=16)]) for name in ROOMS}
    heads = {id(each) for each in find_heads(mtlue.Surrogate(network.eval(), ROOMS), Batch(images, CheckedTargets(targets)))}
    shapes = [tuple(each.shape) for each in network.parameters() if id(each) in heads]
    channels = [task.output_channels for task in ROOMS.values()]
    assert [shape[0] for shape in shapes] == [width for width in channels for _ in ("weight", "bias")]


class Recorder(Defense):
    """Keeps what the losses are given."""

    def __init__(self) -> None:
        self.seen: list[tuple[torch.Tensor, dict[str, torch.Tensor]]] = []

    def images(self, images: torch.Tensor) -> torch.Tensor:
        return images / 2

    def losses(
        self, victim: mtlue.Surrogate, images: torch.Tensor, targets: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        self.seen.append((images, targets))
        return super().losses(victim, images, targets)


def test_the_loss_sees_labels_that_moved_with_the_images() -> None:
    """By the labels of a room its pixels can be told, before and after; a mirrored room's normals point the other way."""
    recorder = Recorder()
    train_victim(DATA, defense=recorder, transform=RandomZoomFlip(ROOMS), **{**OPTIONS, "epochs": 8})
    images = torch.cat([each for each, _ in recorder.seen])
    targets = {name: torch.cat([each[name] for _, each in recorder.seen]) for name in ROOMS}
    whole = {tuple(target["normals"].flatten().tolist()) for _, target in DATA}
    turned = {
        tuple((target["normals"].flip(-1) * torch.tensor([-1.0, 1, 1]).reshape(3, 1, 1)).flatten().tolist())
        for _, target in DATA
    }
    plain = [tuple(each.flatten().tolist()) for each in targets["normals"]]
    assert any(each in whole for each in plain)
    assert any(each in turned for each in plain)
    # Not zoomed: the depth is exactly what the image, halved by the defence, tells.
    exact = 0
    for image, depth, parts in zip(images, targets["depth"], targets["parts"], strict=True):
        told = (1 + 4 * 2 * image[:1]) * (depth != 0)
        exact += torch.allclose(told, depth, atol=1e-5) and torch.equal(
            (4 * image[1]).long() * (parts >= 0), parts.clamp_min(0)
        )
    assert exact >= 8


def test_a_transform_that_changes_labels_into_others_is_told() -> None:
    class Wrong(JointTransform):
        def __call__(
            self, images: torch.Tensor, targets: dict[str, torch.Tensor]
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return images, {**targets, "parts": targets["parts"] + 5}

    with pytest.raises(ValueError, match=r"transform: task 'parts': label \d is out of range"):
        train_victim(DATA, transform=Wrong(), **OPTIONS)
