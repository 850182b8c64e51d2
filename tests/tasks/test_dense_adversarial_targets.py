"""What TAP and SEP push label maps towards, worked out by hand (appendix A.1)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from scenes import DENSE, SceneNet, make_scenes, trained_net

TASKS = {"parts": mtlue.Segmentation(13), "depth": mtlue.Depth(), "normals": mtlue.SurfaceNormals()}


class Fixed(nn.Module):
    """Answers the same whatever it sees."""

    def __init__(self, outputs: dict[str, Tensor]) -> None:
        super().__init__()
        self.outputs, self.parameter = outputs, nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {name: output + 0.0 * images.sum() for name, output in self.outputs.items()}


def test_segmentation_aims_at_the_shifted_class_and_readings_at_nothing() -> None:
    # Pixels of class 0, 12 and none: the paper's (y + 13 // 2) % 13 are 6, 5 and none.
    parts = torch.tensor([[[0, 12, -1]]])
    logits = torch.zeros(1, 13, 1, 3)
    logits[0, 6, 0, 0], logits[0, 5, 0, 1] = 2.0, -1.0
    depth = torch.tensor([[[[2.0, 0.0, 1.0]]]])
    normals = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 3)
    up = torch.tensor([0.0, 3.0, 4.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 3)
    surrogate = mtlue.Surrogate(Fixed({"parts": logits, "depth": torch.full((1, 1, 1, 3), 2.5), "normals": up}), TASKS)
    towards = ((math.log(12 + math.exp(2)) - 2) + (math.log(12 + math.exp(-1)) + 1)) / 2
    absolute = (0.5 + 1.5) / 2
    one_minus_cosine = (0.2 + 1.0) / 2
    expected = (towards - absolute - one_minus_cosine) / 3
    targets, images = {"parts": parts, "depth": depth, "normals": normals}, torch.zeros(1, 3, 1, 3)
    for loss in (mtlue.TAP(), mtlue.SEP([surrogate.module, surrogate.module])):
        assert loss(surrogate, images, targets).item() == pytest.approx(expected, rel=1e-6)
    shifted = TASKS["parts"].adversarial_target(parts)
    assert shifted is not None
    assert shifted.tolist() == [[[6, 5, -1]]]


def test_untargeted_readings_of_a_large_unit_stay_finite(make_generator: Any) -> None:
    # Minus the error has no lower end, and in millimetres it is a thousand times as large.
    scenes = make_scenes()
    net, _ = trained_net(scenes)
    with torch.no_grad():
        net.second.weight[3] *= 1000
        net.second.bias[3] *= 1000
    far = [(image, {**labels, "depth": labels["depth"] * 1000}) for image, labels in scenes]
    history = mtlue.fit(
        make_generator(DENSE, (3, 16, 16)),
        far,
        net,
        loss=mtlue.TAP(),
        epochs=2,
        batch_size=4,
        learning_rate=5e-3,
        progress=False,
    )
    assert all(math.isfinite(epoch.loss) for epoch in history)
    assert history[-1].base_loss < history[0].base_loss < 0


def test_what_the_skill_of_readings_is_measured_against() -> None:
    depth, target = mtlue.Depth(), torch.tensor([[[[1.0, 1.0, 4.0, 0.0]]]])
    # The mean reading is 2; a pixel without a reading does not count.
    assert depth.skill(torch.tensor([[[[2.0, 2.0, 2.0, 9.0]]]]), target) == pytest.approx(0.0)
    assert depth.skill(torch.tensor([[[[1.0, 1.0, 4.0, 9.0]]]]), target) == pytest.approx(1.0)
    assert depth.skill(torch.tensor([[[[1.5, 1.5, 3.0, 9.0]]]]), target) == pytest.approx(0.5)
    normals = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 3)
    mean = torch.tensor([1.0, 1.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 3)
    assert mtlue.SurfaceNormals().skill(mean, normals) == pytest.approx(0.0, abs=1e-6)
    assert mtlue.SurfaceNormals().skill(normals, normals) == pytest.approx(1.0)
    # Nothing that an answer could be better at.
    flat = torch.full((2, 1, 3, 3), 2.0)
    assert depth.skill(torch.rand(2, 1, 3, 3), flat) == 0.0
    assert depth.skill(torch.rand(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)) == 0.0


@pytest.mark.parametrize("count", [1, 65])
def test_a_trained_surrogate_does_not_look_untrained_for_its_last_batch(count: int, make_generator: Any) -> None:
    # The look takes batches of 64: one of 65 samples is alone in the second.
    tasks = {"depth": mtlue.Depth()}
    scenes = [(image, {"depth": labels["depth"]}) for image, labels in make_scenes(count, ((8, 8),))]

    class Rule(SceneNet):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            noise = 0.0 * self.second.bias.sum()
            return {"depth": 3.0 - 2.0 * images.mean(dim=1, keepdim=True) + noise}

    # A warning would be an error here.
    mtlue.fit(make_generator(tasks, (3, 8, 8)), scenes, Rule(), loss=mtlue.TAP(), epochs=1, batch_size=64, progress=False)
