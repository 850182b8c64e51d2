"""Purification by autoencoders: the pattern of a class goes, what an image shows stays."""

from __future__ import annotations

import pytest
import torch

import mtlue
from mtlue._data import Batch
from mtlue._tasks import read_targets, resolve_tasks
from mtlue.defenses import VAEPurification
from mtlue.defenses._bottleneck import Bottleneck
from patterned import PATTERNED_TASKS, as_data, patterned, probe

CPU = "cpu"


def small(**settings: object) -> VAEPurification:
    return VAEPurification(**{"epochs": 1, "width": 2, "batch_size": 8, "device": CPU, **settings})  # type: ignore[arg-type]


def test_a_linear_probe_finds_the_patterns_before_and_less_after() -> None:
    images, labels = patterned()
    defense = VAEPurification(epochs=8, width=8, batch_size=16, device=CPU)
    defense.prepare(as_data(images, labels), PATTERNED_TASKS, seed=0)
    purified = defense.images(images)
    for name, task in PATTERNED_TASKS.items():
        chance = 1 / task.output_channels
        assert probe(images, labels[name]) > chance + 0.3
        assert probe(purified, labels[name]) < chance + 0.2
    # It is the photograph that is rebuilt, not their mean.
    assert (purified - images).square().mean() < 0.9 * (images.mean(dim=0) - images).square().mean()


def test_the_second_decoder_alone_knows_the_labels() -> None:
    images, labels = patterned(16)
    torch.manual_seed(0)
    model = Bottleneck(dict(PATTERNED_TASKS), 1, (16, 16), width=2).eval()
    batch = Batch(images, read_targets(labels, PATTERNED_TASKS))
    others = read_targets({name: 1 - label.clamp(max=1) for name, label in labels.items()}, PATTERNED_TASKS)
    assert not torch.equal(model.cleared(batch), model.cleared(Batch(images, others)))
    codes = model.encode(images)[0]
    assert torch.equal(model(images), model.rebuild(codes))


def test_the_loss_by_hand() -> None:
    """A code that says nothing costs nothing; what is missed costs the square of it in units of twice the distortion's."""
    torch.manual_seed(0)
    model = Bottleneck(resolve_tasks({"young": 2}), 1, (8, 8), width=2)
    for part in (model.encoder[-1], model.image_decoder.out, model.rest_decoder.out):
        for parameter in part.parameters():
            parameter.data.zero_()
    wanted = torch.full((4, 1, 8, 8), 0.7)
    targets = read_targets({"young": torch.tensor([0, 1, 1, -1])}, resolve_tasks({"young": 2}))
    loss = model.loss(torch.rand(4, 1, 8, 8), wanted, targets, distortion=0.1)
    # Both decoders miss 0.2: the first rebuilds grey, and the second explains nothing of the rest.
    assert loss.item() == pytest.approx(2 * 0.2**2 / (2 * 0.1**2))
    # A mean of one in each number of the code costs half a nat for each of the 16.
    model.encoder[-1].bias.data[:16] = 1.0
    assert model.loss(wanted, wanted, targets, distortion=0.1).item() == pytest.approx(loss.item() + 0.5 * 16 / 64)


def test_equal_seeds_give_equal_images_and_leave_the_random_numbers_alone() -> None:
    images, labels = patterned(20)
    found = []
    for seed in (0, 0, 1):
        defense, before = small(), torch.get_rng_state()
        defense.prepare(as_data(images, labels), PATTERNED_TASKS, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(defense.images(images))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert found[0].min() >= 0
    assert found[0].max() <= 1


@pytest.mark.parametrize("shape", [(3, 9, 13), (2, 1, 1), (1, 8, 3)])
def test_images_of_any_size_and_labels_of_any_kind(shape: tuple[int, int, int]) -> None:
    # Nine, so that the last batch has one image; a label is missing, and one task has maps.
    images, (channels, height, width) = torch.rand(9, *shape), shape
    tasks = resolve_tasks({"age": 3, "depth": mtlue.Depth()})
    data = [(image, {"age": index % 4 - 1, "depth": torch.rand(1, height, width)}) for index, image in enumerate(images)]
    defense = small()
    defense.prepare(data, tasks, seed=0)
    assert defense.images(images).shape == images.shape
    maps_alone = small()
    maps_alone.prepare(data, {"depth": tasks["depth"]}, seed=0)
    assert bool(maps_alone.images(images).isfinite().all())
    resized = small(image_size=(8, 8))
    resized.prepare(data, tasks, seed=0)
    assert resized.images(torch.rand(2, channels, 8, 8)).shape == (2, channels, 8, 8)


def test_wrong_use() -> None:
    images, labels = patterned(8)
    data, defense = as_data(images, labels), small()
    with pytest.raises(RuntimeError, match="VAEPurification has no autoencoder before prepare"):
        defense.images(images)
    with pytest.raises(ValueError, match=r"dataset: sample \d: image of shape \(1, 8, 8\), but others have \(1, 16, 16\)"):
        defense.prepare([*data, (images[0, :, :8, :8], data[0][1])], PATTERNED_TASKS, seed=0)
    defense.prepare(data, PATTERNED_TASKS, seed=0)
    with pytest.raises(ValueError, match="images: expected shape \\(B, 1, 16, 16\\), got \\(8, 1, 8, 8\\)"):
        defense.images(images[..., :8, :8])
    with pytest.raises(ValueError, match="distortion: expected"):
        VAEPurification(distortion=0)
    with pytest.raises(ValueError, match="epochs: expected at least 1, got 0"):
        VAEPurification(epochs=0)
    assert repr(defense) == "VAEPurification(distortion=0.05, epochs=1, width=2)"
