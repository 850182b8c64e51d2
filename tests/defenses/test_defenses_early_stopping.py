"""Early stopping: which epoch is kept, and what it is judged by."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue._tasks import resolve_tasks
from mtlue.defenses import EarlyStopping


class Stripes(nn.Module):
    """Answers whether the image is brighter than a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return (answer := images.mean(dim=(1, 2, 3)) - self.threshold), -answer


# Half of eight levels of grey is bright; the second task is the opposite, answered rightly always or never with the first.
LEVELS = [(torch.full((1, 2, 2), index / 7), (int(index > 3), int(index <= 3))) for index in range(8)]
BRIGHT = {"bright": 2, "dark": 2}


def train(stopping: EarlyStopping, thresholds: list[float], tasks: dict[str, int]) -> Stripes:
    module = Stripes().eval()
    victim = mtlue.Surrogate(module, tasks)
    stopping.prepare([], resolve_tasks(tasks), seed=0)
    for epoch, threshold in enumerate(thresholds):
        with torch.no_grad():
            module.threshold.fill_(threshold)
        module.calls.fill_(epoch)
        stopping.after_epoch(victim, epoch)
    stopping.finish(victim)
    return module


@pytest.mark.parametrize("batch_size", [3, 128])
def test_the_best_epoch_is_put_back(batch_size: int) -> None:
    """At 0.5 all of the eight are right; at -1 all are called bright: chance; at 0.8 two of four bright ones are seen."""
    stopping = EarlyStopping(LEVELS, batch_size=batch_size)
    module = train(stopping, [-1.0, 0.8, 0.5, 0.51, 0.3], BRIGHT)
    assert stopping.best_epoch == 2
    assert stopping.skills == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.75])
    assert module.threshold.item() == 0.5
    assert module.calls.item() == 2


def test_a_second_training_starts_anew() -> None:
    stopping = EarlyStopping(LEVELS, tasks=BRIGHT)
    train(stopping, [0.5, 0.8], BRIGHT)
    module = train(stopping, [-1.0, 0.8], {"bright": 2, "dark": 2})
    assert stopping.best_epoch == 1
    assert len(stopping.skills) == 2
    assert module.threshold.item() == pytest.approx(0.8)


def test_without_a_number_there_is_no_best_epoch() -> None:
    stopping = EarlyStopping([(torch.rand(1, 2, 2), torch.rand(1, 2, 2)) for _ in range(2)])
    module = nn.Conv2d(1, 1, 1)
    nn.init.constant_(module.weight, torch.nan)
    stopping.after_epoch(mtlue.Surrogate(module, {"depth": mtlue.Depth()}), 0)
    stopping.finish(mtlue.Surrogate(module, {"depth": mtlue.Depth()}))
    assert stopping.best_epoch is None
    assert module.weight.isnan().all()


def test_skill_is_that_of_the_whole_set_and_of_label_maps_by_batch() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.rand(5, 1, 4, 4, generator=random)
    depth = torch.rand(5, 1, 4, 4, generator=random) + 0.1
    labels = torch.tensor([0, 0, 0, 1, 1])
    tasks = resolve_tasks({"bright": 2, "depth": mtlue.Depth()})

    class Both(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return images[:, 0, 0, 0] - 0.5, images + 0.1

    stopping = EarlyStopping(
        [(image, (label, near)) for image, label, near in zip(images, labels, depth, strict=True)], batch_size=3
    )
    victim = mtlue.Surrogate(Both().eval(), tasks)
    stopping.after_epoch(victim, 0)
    outputs = victim(images)
    maps = [tasks["depth"].skill(outputs["depth"][part], depth[part]) for part in (slice(0, 3), slice(3, 5))]
    expected = (tasks["bright"].skill(outputs["bright"], labels) + (3 * maps[0] + 2 * maps[1]) / 5) / 2
    assert stopping.skills == pytest.approx([expected])


def test_measuring_leaves_a_model_in_training_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten()).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    EarlyStopping(LEVELS).after_epoch(mtlue.Surrogate(network, BRIGHT), 0)
    assert all(part.training for part in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
