"""A small real data set, and models that fit it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, settings
from torch import Tensor, nn

import broken_search
import commands
import killed_run
import mtlue
import ranks
import refusals
from multi_fashion import MultiFashion

# What is this small costs more to divide among threads than to compute.
torch.set_num_threads(1)

# A busy machine is slow, not wrong.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

#: A fixture: runs the command line.
run = commands.run

#: A fixture: calls that must refuse a data set.
refused = refusals.refused

#: A fixture: the folders of searches pixel by pixel that nothing broke off, and their surrogates.
whole_search = broken_search.whole_search

Samples = list[tuple[Tensor, dict[str, int]]]
TASKS = {"shoe": 2, "front": 2}


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPUs, unless only tests/cuda is run: all other tests, and the processes they start, expect a processor."""
    if not all("tests/cuda" in Path(argument).as_posix() for argument in config.args):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def canvases() -> Samples:
    """48 grey canvases of 16x16 bytes with two binary tasks."""
    source = MultiFashion(48, train=True)
    images = F.avg_pool2d(source.images.float(), 2).round().byte()
    shoe = [int(label in (5, 7, 9)) for label in source.targets["left"].tolist()]
    front = source.targets["front"].tolist()
    return [(image, {"shoe": a, "front": b}) for image, a, b in zip(images, shoe, front, strict=True)]


@pytest.fixture(scope="session")
def make_net() -> Callable[..., nn.Module]:
    """Makes an untrained linear model that answers with one binary logit a task; equal seeds give equal models."""

    def make(pixels: int = 256, logits: int = 2, *, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Flatten(), nn.Linear(pixels, logits))

    return make


@pytest.fixture(scope="session")
def _trained(canvases: Samples, make_net: Callable[..., nn.Module]) -> nn.Module:
    net = make_net()
    images = torch.stack([image for image, _ in canvases]).float() / 255
    labels = torch.tensor([[target["shoe"], target["front"]] for _, target in canvases]).float()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(images), labels).backward()
        optimizer.step()
    net.zero_grad(set_to_none=True)
    assert ((net(images) > 0) == labels.bool()).float().mean() > 0.9
    return net


@pytest.fixture
def net(_trained: nn.Module) -> nn.Module:
    """A model trained on the canvases."""
    return copy.deepcopy(_trained)


@pytest.fixture(scope="session")
def make_generator() -> Callable[..., mtlue.UEGenerator]:
    """Makes a small generator; equal seeds give equal ones. A ``gain`` above 1 brings its perturbations to the bound."""

    def make(
        tasks: object = None,
        shape: tuple[int, int, int] = (1, 16, 16),
        *,
        seed: int = 0,
        trained: bool = False,
        gain: float = 1.0,
        epsilon: float = 8 / 255,
    ) -> mtlue.UEGenerator:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            generator = mtlue.UEGenerator(TASKS if tasks is None else tasks, shape, width=4, epsilon=epsilon)
        with torch.no_grad():
            for parameter in generator.decoder.refine[-1].parameters():
                parameter.mul_(gain)
        generator.trained = trained
        return generator.eval() if trained else generator

    return make


@pytest.fixture
def fixed_random_numbers() -> Iterator[None]:
    """Seeds the global random numbers, and puts them back."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """Runs that can be killed; the global random numbers that they set are put back."""
    with torch.random.fork_rng(devices=[]):
        yield killed_run


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks finds."""
    return ranks.launched(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of three ranks finds."""
    return ranks.launched(tmp_path_factory.mktemp("three"), 3)
