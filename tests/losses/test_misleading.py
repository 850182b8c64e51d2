"""What a trained surrogate is shown beside networks that start anew, and how much it counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from restarted_networks import Net, batch, half, surrogate


def gradients(misleading: float, victim: mtlue.Surrogate) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients at the images: of the networks' loss alone, of what is added to it, and of TAP's loss."""
    images, clean, targets = batch()
    found = []
    for share in (0.0, misleading):
        torch.manual_seed(0)
        value = mtlue.RestartedEM(lambda seed: Net(), misleading=share)(victim, images, targets, clean)
        found.append(torch.autograd.grad(value, images)[0])
    tap = torch.autograd.grad(mtlue.TAP()(victim, images, targets), images)[0]
    return found[0], found[1] - found[0], tap


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_taps_gradient_is_held_to_a_share_of_the_networks(share: float) -> None:
    victim = surrogate()
    with torch.no_grad():
        for parameter in victim.module.parameters():
            parameter.mul_(100.0)
    own, added, tap = gradients(share, victim)
    assert tap.norm() > 2 * own.norm()
    torch.testing.assert_close(added.norm(), share * own.norm(), rtol=1e-4, atol=0.0)
    torch.testing.assert_close(added, added.norm() * tap / tap.norm(), rtol=1e-3, atol=1e-6)


def test_a_small_gradient_of_tap_counts_whole() -> None:
    victim = surrogate()
    own, added, tap = gradients(1e3, victim)
    assert tap.norm() < 1e3 * own.norm()
    torch.testing.assert_close(added, tap, rtol=1e-3, atol=1e-7)


def test_the_surrogate_sees_what_one_of_the_networks_sees() -> None:
    victim, (images, clean, targets) = surrogate(), batch()
    seen: list[Tensor] = victim.module.seen  # type: ignore[assignment]
    loss = mtlue.RestartedEM(lambda seed: Net(), count=2, distortions=[half], misleading=1.0)
    for _ in range(20):
        loss(victim, images, targets, clean)
    distorted = [torch.equal(each, half(images)) for each in seen]
    assert all(changed or torch.equal(each, images) for changed, each in zip(distorted, seen, strict=True))
    assert 0 < sum(distorted) < 20
    loss = mtlue.RestartedEM(lambda seed: Net(), distortions=[half], misleading=1e3)
    torch.manual_seed(0)
    value = loss(victim, images, targets, clean)
    torch.manual_seed(0)
    alone = mtlue.RestartedEM(lambda seed: Net(), distortions=[half])(victim, images, targets, clean)
    torch.testing.assert_close(value - alone, mtlue.TAP()(victim, half(images), targets))


def test_the_value_counts_as_the_gradient_does() -> None:
    victim, (images, clean, targets) = surrogate(), batch()
    values = []
    for share in (0.0, 1e3):
        torch.manual_seed(0)
        values.append(mtlue.RestartedEM(lambda seed: Net(), misleading=share)(victim, images, targets, clean))
    torch.testing.assert_close(values[1] - values[0], mtlue.TAP()(victim, images, targets))


def test_without_labels_nothing_is_added() -> None:
    victim, (images, clean, targets) = surrogate(), batch()
    nothing = {name: torch.full_like(target, -1) for name, target in targets.items()}
    value = mtlue.RestartedEM(lambda seed: Net(), misleading=1.0)(victim, images, nothing, clean)
    assert value.isfinite()
    if value.requires_grad:
        assert torch.autograd.grad(value, images)[0].isfinite().all()


def test_images_that_take_no_gradient_have_a_value() -> None:
    victim, (images, clean, targets) = surrogate(), batch()
    value = mtlue.RestartedEM(lambda seed: Net(), misleading=1.0)(victim, images.detach(), targets, clean)
    assert value.isfinite()


def test_a_surrogate_that_protect_makes_is_trained_for_a_fifth_of_the_epochs(canvases: Any, caplog: Any) -> None:
    caplog.set_level("INFO", logger="mtlue")
    # The default misleads one too.
    for chosen in ({"loss": mtlue.RestartedEM(misleading=1.0)}, {}):
        mtlue.protect(canvases, **chosen, epochs=10, check=False, progress=False)
        assert any("surrogate: 48 samples, 2 epochs" in line for line in caplog.messages), caplog.messages
        caplog.clear()
    mtlue.protect(canvases, loss=mtlue.RestartedEM(), epochs=2, check=False, progress=False)
    assert not any(line.startswith("surrogate: ") for line in caplog.messages)
