"""A user's model as the losses see it, and what is given back of a model that was borrowed."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue._losses import borrowed

CPU = torch.device("cpu")


class Answering(nn.Module):
    """Answers with a fixed value in a given form, times one so that a gradient flows."""

    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> object:
        return self.answer(images.mean(dim=(1, 2, 3)) * 0 + 1)


def test_outputs_in_any_form_give_the_same_outputs_and_losses() -> None:
    torch.manual_seed(0)
    logits = {"age": torch.randn(4, 3), "young": torch.randn(4), "depth": torch.randn(4, 1, 2, 2)}
    targets = {"age": torch.tensor([0, 2, -1, 1]), "young": torch.tensor([1, 0, 1, -1]), "depth": torch.rand(4, 1, 2, 2)}
    tasks = {"age": 3, "young": 2, "depth": mtlue.Depth()}
    forms: list[Callable[[Tensor], object]] = [
        lambda one: logits,
        lambda one: tuple(logits.values()),
        lambda one: list(logits.values()),
        lambda one: {**logits, "young": logits["young"].unsqueeze(1)},
        lambda one: {**logits, "young": torch.stack([-logits["young"], logits["young"]], dim=1) / 2},
    ]
    images, results = torch.rand(4, 3, 2, 2), []
    for form in forms:
        surrogate = mtlue.Surrogate(Answering(form), tasks)
        outputs = surrogate(images)
        assert list(outputs) == list(tasks)
        assert torch.equal(outputs["age"], logits["age"])
        assert torch.equal(outputs["depth"], logits["depth"])
        torch.testing.assert_close(outputs["young"].softmax(dim=1)[:, 1], logits["young"].sigmoid())
        results.append((surrogate.loss(images, targets), surrogate.adversarial_loss(images, targets)))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


def test_a_loss_is_the_uniform_mean_over_tasks() -> None:
    tasks = {"age": 5, "young": 2, "depth": mtlue.Depth(), "up": mtlue.SurfaceNormals()}
    surrogate = mtlue.Surrogate(
        Answering(
            lambda one: {
                "age": one[:, None] * torch.tensor([1.0, 2, 3, 4, 5]),
                "young": one * 2.0,
                "depth": one[:, None, None, None] * 7.0,
                "up": one[:, None, None, None] * torch.tensor([0.0, 3.0, 4.0]).reshape(3, 1, 1),
            }
        ),
        tasks,
    )
    targets = {
        "age": torch.tensor([1, -1]),
        "young": torch.tensor([1, 0]),
        "depth": torch.tensor([5.0, 0.0]).reshape(2, 1, 1, 1),
        "up": torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).reshape(2, 3, 1, 1),
    }
    normalizer = math.log(sum(math.exp(logit) for logit in (1, 2, 3, 4, 5)))
    young = (math.log1p(math.exp(-2)) + math.log1p(math.exp(2))) / 2
    images = torch.rand(2, 3, 4, 4)
    loss = (normalizer - 2 + young + 2.0 + 0.4) / 4
    adversarial = (normalizer - 4 + young - 2.0 - 0.4) / 4
    assert surrogate.loss(images, targets).item() == pytest.approx(loss, abs=1e-6)
    assert surrogate.adversarial_loss(images, targets).item() == pytest.approx(adversarial, abs=1e-6)
    assert surrogate.loss(images, list(targets.values())).item() == pytest.approx(loss, abs=1e-6)


def test_a_gradient_flows_to_the_images_and_the_module_stays_as_it_is() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    surrogate = mtlue.Surrogate(module, {"smiling": 2, "young": 2})
    images = torch.rand(5, 3, 4, 4, requires_grad=True)
    surrogate.loss(images, torch.randint(2, (5, 2))).backward()
    assert images.grad is not None
    assert images.grad.abs().flatten(1).max(dim=1).values.min() > 0
    assert surrogate.module is module
    assert not module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_wrong_arguments_and_answers() -> None:
    with pytest.raises(TypeError, match=r"surrogate: expected a torch.nn.Module, got function"):
        mtlue.Surrogate(lambda images: images, {"age": 3})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError, match="tasks: expected a dict"):
        mtlue.Surrogate(nn.Identity(), ["age"])  # type: ignore[arg-type]  # wrong on purpose
    images = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match="surrogate output: missing 'race'; found 'age'"):
        mtlue.Surrogate(Answering(lambda one: {"age": one}), {"age": 2, "race": 3})(images)
    with pytest.raises(ValueError, match=r"output of task 'race': expected logits of shape \(B, 3\), got \(2,\)"):
        mtlue.Surrogate(Answering(lambda one: [one, one]), {"age": 2, "race": 3}).loss(images, ([0, 1], [0, 1]))
    with pytest.raises(ValueError, match="targets: missing 'race'"):
        mtlue.Surrogate(Answering(lambda one: [one, one]), {"age": 2, "race": 2}).loss(images, {"age": [0, 1]})


class Network(nn.Module):
    """A frozen and a free part, in different modes, one parameter with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval().requires_grad_(False)
        self.free = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 2))
        self.free[3].weight.grad = torch.full_like(self.free[3].weight, 2.0)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.free(self.frozen(images))
        return answer


def state_of(network: nn.Module) -> tuple[object, ...]:
    return (
        {name: part.training for name, part in network.named_modules()},
        {name: parameter.requires_grad for name, parameter in network.named_parameters()},
        {name: id(parameter.grad) for name, parameter in network.named_parameters() if parameter.grad is not None},
        {name: tensor.tolist() for name, tensor in network.state_dict(keep_vars=True).items()},
        {name: id(tensor) for name, tensor in network.state_dict(keep_vars=True).items()},
    )


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_borrowed_module_comes_back_as_it_was(trainable: bool, fails: bool) -> None:
    torch.manual_seed(0)
    network = Network()
    before, gradient = state_of(network), network.free[3].weight.grad
    try:
        with borrowed(network, device=CPU, trainable=trainable):
            assert not any(part.training for part in network.modules())
            assert all(parameter.grad is None for parameter in network.parameters())
            assert [parameter.requires_grad for parameter in network.frozen.parameters()] == [False] * 4
            assert [parameter.requires_grad for parameter in network.free.parameters()] == [trainable] * 4
            images = torch.rand(3, 3, 4, 4, requires_grad=True)
            network(images).sum().backward()
            assert (network.free[3].weight.grad is not None) == trainable
            network.train()
            network.requires_grad_(True)
            network.eval()
            if fails:
                raise KeyError("in between")
    except KeyError:
        assert fails
    assert state_of(network) == before
    assert network.free[3].weight.grad is gradient
    assert torch.equal(gradient, torch.full_like(gradient, 2.0))


def test_a_module_without_parameters_can_be_borrowed() -> None:
    module = nn.Dropout()
    with borrowed(module, device=CPU, trainable=True):
        assert not module.training
    assert module.training
