"""Orthogonal projection: what a linear model uses is gone, and nothing else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import mtlue
from mtlue._runtime.device import autocast
from mtlue._tasks import resolve_tasks
from mtlue.defenses import OrthogonalProjection
from multi_fashion import MultiFashion
from patterned import PATTERNED_TASKS, as_data, patterned, probe

CPU = "cpu"


def test_a_linear_probe_finds_the_patterns_before_and_nothing_after() -> None:
    images, labels = patterned()
    defense = OrthogonalProjection(device=CPU)
    defense.prepare(as_data(images, labels), PATTERNED_TASKS, seed=0)
    projected = defense.images(images)
    for name, task in PATTERNED_TASKS.items():
        chance = 1 / task.output_channels
        assert probe(images, labels[name]) > chance + 0.3
        assert probe(projected, labels[name]) < chance + 0.1
    # Of the photographs themselves nearly all is left.
    assert (projected - images).norm() < 0.2 * images.norm()


def test_the_images_become_orthogonal_to_the_weights_and_change_along_them_only() -> None:
    images, labels = patterned(100)
    defense = OrthogonalProjection(epochs=3, device=CPU)
    defense.prepare(as_data(images, labels), PATTERNED_TASKS, seed=0)
    assert defense.weights is not None
    assert defense.basis is not None
    assert defense.weights.shape == (6, 256)
    # The weights of a softmax sum to zero: three directions and one.
    assert defense.basis.shape == (4, 256)
    torch.testing.assert_close(defense.basis @ defense.basis.T, torch.eye(4), atol=1e-5, rtol=0)
    projected = defense.images(images)
    assert (images.flatten(1) @ defense.weights.T).abs().max() > 0.1
    assert (projected.flatten(1) @ defense.weights.T).abs().max() < 1e-4
    torch.testing.assert_close(defense.images(projected), projected, atol=1e-5, rtol=0)
    # The difference lies in the span of the weights.
    change = (images - projected).flatten(1)
    coefficients = torch.linalg.lstsq(defense.weights.T, change.T, driver="gelsd").solution
    torch.testing.assert_close(defense.weights.T @ coefficients, change.T, atol=1e-4, rtol=0)


def test_by_hand() -> None:
    """Two pixels: the image loses its part along the one direction that there is, which is mostly that of the telling pixel."""
    images = torch.tensor([[0.0, 0.2], [1.0, 0.2], [0.0, 0.8], [1.0, 0.8]]).reshape(4, 1, 1, 2)
    defense = OrthogonalProjection(epochs=200, device=CPU)
    defense.prepare([(image, index % 2) for index, image in enumerate(images)], resolve_tasks({"left": 2}), seed=0)
    assert defense.basis is not None
    assert defense.weights is not None
    torch.testing.assert_close(defense.weights[0], -defense.weights[1])
    direction = defense.basis.flatten()
    assert direction.norm() == pytest.approx(1.0, abs=1e-6)
    first, second = direction.tolist()
    image = torch.tensor([0.6, 0.9])
    along = 0.6 * first + 0.9 * second
    expected = torch.tensor([0.6 - along * first, 0.9 - along * second])
    torch.testing.assert_close(defense.images(image.reshape(1, 1, 1, 2)).flatten(), expected)
    assert abs(first) > abs(second)


def test_the_result_is_not_clamped_and_is_the_same_under_autocast() -> None:
    images, labels = patterned(60)
    defense = OrthogonalProjection(epochs=2, device=CPU)
    defense.prepare(as_data(images, labels), PATTERNED_TASKS, seed=0)
    assert defense.basis is not None
    assert all(row.min() < 0 < row.max() for row in defense.basis[1:])
    # White where a row is positive, black elsewhere: what is subtracted is positive at some black pixels.
    extreme = (defense.basis[1:] > 0).float().reshape(-1, 1, 16, 16)
    assert defense.images(extreme).min() < 0
    assert defense.images(extreme).max() > 1
    with autocast(torch.device("cpu"), torch.bfloat16):
        inside = defense.images(images)
    assert torch.equal(inside, defense.images(images))


def test_equal_seeds_give_equal_fits_and_bytes_are_read_as_floats() -> None:
    canvases = MultiFashion(40, train=True)
    tasks = resolve_tasks(canvases.tasks)
    fits = []
    for data, seed in ((canvases, 0), (canvases, 0), ([(image.float() / 255, y) for image, y in canvases], 0), (canvases, 1)):
        defense = OrthogonalProjection(epochs=2, batch_size=16, device=CPU)
        before = torch.get_rng_state()
        defense.prepare(data, tasks, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        fits.append(defense.weights)
    assert torch.equal(fits[0], fits[1])
    assert torch.equal(fits[0], fits[2])
    assert not torch.equal(fits[0], fits[3])


def test_images_of_several_sizes_are_resized_where_a_size_is_given() -> None:
    images, labels = patterned(30)
    larger = F.interpolate(images[:15], scale_factor=2)
    data = as_data(larger, {name: label[:15] for name, label in labels.items()})
    data += as_data(images[15:], {name: label[15:] for name, label in labels.items()})
    defense = OrthogonalProjection(epochs=2, image_size=(16, 16), device=CPU)
    defense.prepare(data, PATTERNED_TASKS, seed=0)
    assert defense.weights is not None
    projected = defense.images(images)
    assert (projected.flatten(1) @ defense.weights.T).abs().max() < 1e-4
    assert not torch.equal(projected, images)


def test_label_maps_take_no_part_in_the_fit() -> None:
    images, labels = patterned(40)
    depth = torch.rand(40, 1, 16, 16)
    fits = []
    for tasks in (PATTERNED_TASKS, {"depth": mtlue.Depth(), **PATTERNED_TASKS}):
        data = [(image, {"depth": depth[index], **target}) for index, (image, target) in enumerate(as_data(images, labels))]
        defense = OrthogonalProjection(epochs=2, device=CPU)
        defense.prepare(data, tasks, seed=0)
        fits.append(defense.weights)
    assert torch.equal(*fits)
    with pytest.raises(
        ValueError, match=r"defense: OrthogonalProjection fits labels of the whole image, .* labels of \['depth'\]"
    ):
        OrthogonalProjection(device=CPU).prepare(data, {"depth": mtlue.Depth()}, seed=0)


def test_a_set_without_labels_leaves_the_images_alone() -> None:
    images, _ = patterned(10)
    defense = OrthogonalProjection(epochs=1, device=CPU)
    defense.prepare([(image, -1) for image in images], resolve_tasks({"age": 3}), seed=0)
    torch.testing.assert_close(defense.images(images), images)


def test_wrong_use() -> None:
    images, labels = patterned(8)
    data, defense = as_data(images, labels), OrthogonalProjection(epochs=1, device=CPU)
    with pytest.raises(RuntimeError, match="OrthogonalProjection has nothing to project out before prepare"):
        defense.images(images)
    with pytest.raises(ValueError, match=r"dataset: sample \d: image of shape \(1, 8, 8\), but others have \(1, 16, 16\)"):
        defense.prepare([*data, (images[0, :, :8, :8], data[0][1])], PATTERNED_TASKS, seed=0)
    with pytest.raises(ValueError, match=r"dataset: sample 1: image values lie in .* normalised"):
        defense.prepare([data[0], (images[0] - 0.9, data[0][1])], PATTERNED_TASKS, seed=0)
    with pytest.raises(ValueError, match="dataset: expected at least one sample"):
        defense.prepare([], PATTERNED_TASKS, seed=0)
    defense.prepare(data, PATTERNED_TASKS, seed=0)
    with pytest.raises(ValueError, match="images: expected shape \\(B, 1, 16, 16\\), got \\(8, 1, 8, 8\\)"):
        defense.images(images[..., :8, :8])
    with pytest.raises(ValueError, match="epochs: expected at least 1, got 0"):
        OrthogonalProjection(epochs=0)
    assert repr(defense) == "OrthogonalProjection(epochs=1, batch_size=128)"
