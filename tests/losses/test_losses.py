"""EM, TAP and SEP."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import mtlue

TASKS = {"age": 5, "young": 2, "depth": mtlue.Depth()}


class Network(nn.Module):
    """A small model with batch norm, dropout, and a head for each task."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh(), nn.Dropout(0.3))
        self.heads = nn.ModuleDict({"age": nn.Linear(6, 5), "young": nn.Linear(6, 1), "depth": nn.Conv2d(6, 1, 1)})
        random = torch.Generator().manual_seed(seed)
        for tensor in self.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=random) + 0.1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=random))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        pooled = features.mean(dim=(2, 3))
        return {name: head(features if name == "depth" else pooled) for name, head in self.heads.items()}


def batch(size: int = 3) -> tuple[Tensor, dict[str, Tensor]]:
    random = torch.Generator().manual_seed(7)
    images = torch.rand(size, 3, 5, 4, generator=random)
    targets = {
        "age": torch.randint(-1, 5, (size,), generator=random),
        "young": torch.randint(0, 2, (size,), generator=random),
        "depth": torch.rand(size, 1, 5, 4, generator=random).round(decimals=1),
    }
    return images, targets


def literal_sep(networks: list[Network], images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean value and mean gradient of as many separate passes."""
    values, gradients = [], []
    for network in networks:
        leaf = images.detach().clone().requires_grad_()
        value = mtlue.Surrogate(copy.deepcopy(network).eval(), TASKS).adversarial_loss(leaf, targets)
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, leaf)[0])
    return torch.stack(values).mean(), torch.stack(gradients).mean(dim=0)


def snapshot(module: nn.Module) -> tuple[object, ...]:
    return (
        {name: tensor.tolist() for name, tensor in module.state_dict().items()},
        [part.training for part in module.modules()],
        [(parameter.requires_grad, parameter.grad) for parameter in module.parameters()],
    )


def test_em_and_tap_are_the_losses_of_the_surrogate() -> None:
    images, targets = batch()
    surrogate = mtlue.Surrogate(Network(0).eval(), TASKS)
    for loss, method in ((mtlue.EM(), surrogate.loss), (mtlue.TAP(), surrogate.adversarial_loss)):
        leaves = [images.clone().requires_grad_() for _ in range(2)]
        got, expected = loss(surrogate, leaves[0], targets), method(leaves[1], targets)
        assert torch.equal(got, expected)
        gradients = torch.autograd.grad(got, leaves[0])[0], torch.autograd.grad(expected, leaves[1])[0]
        assert torch.equal(*gradients)
        assert gradients[0].any()


@pytest.mark.parametrize("form", ["modules", "states", "mixed"])
@pytest.mark.parametrize("training", [False, True])
def test_sep_is_the_mean_of_separate_passes_and_changes_nothing(form: str, training: bool) -> None:
    networks = [Network(seed).train(training) for seed in range(15)]
    networks[3].requires_grad_(False)
    networks[4].body.eval()
    states = [network.state_dict() for network in networks]
    checkpoints = {"modules": networks, "states": states, "mixed": [*networks[:7], *states[7:]]}[form]
    surrogate = mtlue.Surrogate(Network(99).train(training), TASKS)
    images, targets = batch()
    expected, gradient = literal_sep(networks, images, targets)
    before = [snapshot(module) for module in (*networks, surrogate.module)]
    random_state = torch.get_rng_state()

    leaf = images.clone().requires_grad_()
    value = mtlue.SEP(checkpoints)(surrogate, leaf, targets)
    torch.testing.assert_close(value.detach(), expected)
    (3.0 * value).backward()
    torch.testing.assert_close(leaf.grad, 3.0 * gradient)
    assert [snapshot(module) for module in (*networks, surrogate.module)] == before
    assert torch.equal(torch.get_rng_state(), random_state)


def test_sep_is_tap_for_a_single_checkpoint_and_for_equal_ones() -> None:
    images, targets = batch()
    network = Network(1).eval()
    surrogate = mtlue.Surrogate(network, TASKS)
    expected = mtlue.TAP()(surrogate, images, targets)
    torch.testing.assert_close(mtlue.SEP([network])(surrogate, images, targets), expected)
    torch.testing.assert_close(mtlue.SEP([network.state_dict()] * 4)(surrogate, images, targets), expected)


def test_sep_runs_what_made_the_images_once_forward_and_once_backward() -> None:
    torch.manual_seed(0)
    images, targets = batch(4)
    generator = mtlue.UEGenerator(TASKS, (3, 5, 4), width=4).eval()
    twin = copy.deepcopy(generator)
    calls: list[str] = []
    for part in (generator, generator.encoder, generator.decoder.refine):
        part.register_forward_hook(lambda *_: calls.append("forward"))
    generator.encoder[0][0].weight.register_hook(lambda gradient: calls.append("backward"))
    networks = [Network(seed).eval() for seed in range(15)]
    surrogate = mtlue.Surrogate(networks[-1], TASKS)

    mtlue.SEP(networks)(surrogate, generator.perturb(images, targets), targets).backward()
    assert calls == ["forward"] * 3 + ["backward"]

    torch.stack([
        mtlue.TAP()(surrogate.with_module(network), twin.perturb(images, targets), targets) for network in networks
    ]).mean().backward()
    for (name, parameter), (_, other) in zip(generator.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("form", ["modules", "states"])
def test_sep_without_a_gradient_gives_the_value(form: str) -> None:
    networks = [Network(seed).eval() for seed in range(2)]
    images, targets = batch()
    loss = mtlue.SEP(networks if form == "modules" else [network.state_dict() for network in networks])
    with torch.no_grad():
        value = loss(mtlue.Surrogate(networks[0], TASKS), images, targets)
    assert not value.requires_grad
    torch.testing.assert_close(value, literal_sep(networks, images, targets)[0])


def test_sep_gives_checkpoints_back_as_they_were_after_an_error() -> None:
    networks = [Network(seed).train() for seed in range(2)]
    before = [snapshot(network) for network in networks]
    images, targets = batch()
    del targets["age"]
    with pytest.raises(ValueError, match="targets: missing 'age'"):
        mtlue.SEP(networks)(mtlue.Surrogate(networks[0], TASKS), images, targets)
    assert [snapshot(network) for network in networks] == before


def test_sep_refuses_a_state_that_is_not_the_surrogates() -> None:
    network, (images, targets) = Network(0).eval(), batch()
    state = network.state_dict()
    missing = {name: tensor for name, tensor in state.items() if name != "heads.age.weight"}
    for wrong in (missing, {f"module.{name}": tensor for name, tensor in state.items()}):
        with pytest.raises(ValueError, match="checkpoints"):
            mtlue.SEP([state, wrong])(mtlue.Surrogate(network, TASKS), images, targets)


@pytest.mark.parametrize(
    ("checkpoints", "error", "message"),
    [
        ([], ValueError, "checkpoints: expected at least one, got none"),
        (nn.Linear(2, 2), TypeError, "checkpoints: expected a list of modules or state dicts, got Linear"),
        (nn.Linear(2, 2).state_dict(), TypeError, "checkpoints: expected a list .* got OrderedDict"),
        ("weights.pt", TypeError, "checkpoints.*expected .* str"),
        (["weights.pt"], TypeError, "checkpoints\\[0\\]: expected a module or a state dict, got str"),
        ([nn.Linear(2, 2), None], TypeError, "checkpoints\\[1\\]: expected a module or a state dict, got NoneType"),
        (None, TypeError, "checkpoints: expected a list .* got NoneType"),
    ],
)
def test_wrong_checkpoints(checkpoints: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mtlue.SEP(checkpoints)  # type: ignore[arg-type]  # wrong on purpose


def test_only_em_trains_the_surrogate() -> None:
    losses = [mtlue.EM(), mtlue.TAP(), mtlue.SEP([nn.Linear(2, 2)])]
    assert [loss.trains_surrogate for loss in losses] == [True, False, False]
    assert not mtlue.RestartedEM().trains_surrogate
    assert all(isinstance(loss, mtlue.BaseUELoss) for loss in losses)
    assert [repr(loss) for loss in losses] == ["EM()", "TAP()", "SEP(1 checkpoints)"]


def test_what_matches_the_protocol_is_a_loss() -> None:
    class Untargeted:
        trains_surrogate = False

        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            return -surrogate.loss(images, targets)

    class Uncallable:
        trains_surrogate = False

    assert isinstance(Untargeted(), mtlue.BaseUELoss)
    assert not isinstance(Uncallable(), mtlue.BaseUELoss)
    assert not isinstance(lambda surrogate, images, targets: images.mean(), mtlue.BaseUELoss)
