"""From a recipe to protected images, within a budget of computation."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import mtlue
from measure.costs import LOOK, TO_IMAGES, TRAIN, generator_cost, network_cost
from measure.recipes import DEFAULT, Recipe
from measure.sets import Data
from measure.storing import NEAREST, TOWARDS_CLEAN, stored
from measure.victims import Training, network, train
from measure.views import moved
from mtlue import baselines
from mtlue._fit import recipe_for
from mtlue._protect import default_loss, through_jpeg
from mtlue._regularizers import embedding_regularizers
from mtlue._runtime import Compute
from mtlue.defenses import differentiable_jpeg

_LAMBDA_INTRA, _LAMBDA_INTER = 20.0, 100.0
# Of the surrogate that TAP and SEP are taken with; SEP takes a checkpoint after each.
_SURROGATE_EPOCHS = 8


@dataclass(frozen=True)
class Budget:
    """What a recipe may use.

    Attributes:
        passes: As much computation as so many images' way through the generator and back.
        width: Channels of the generator's first convolutions.
        training: Of surrogates, whose networks have the size of students and victims.
        device: Where to compute.
        processor: Whether the scale is for a processor.
    """

    passes: int
    width: int
    training: Training
    device: str = "cpu"
    processor: bool = True


def make(recipe: Recipe, data: Data, budget: Budget, *, seed: int) -> tuple[mtlue.UEGenerator | None, Tensor, dict[str, Any]]:
    """A trained generator, if the recipe has one, protected images, uint8, and what making them took."""
    started = time.process_time(), time.perf_counter()
    if recipe.plain in WHOLE:
        protected = WHOLE[recipe.plain](Labelled(data.train.pixels, data), recipe, data, budget, seed)
        pixels = torch.stack([protected.stored_image(index) for index in range(len(protected))])
        record = _figures(started, pixels, data, budget)
        if protected.check is not None:
            told = protected.check.residual_learnability
            record["check"] = {name: round(protected.check.strongest(name), 3) for name in told}
        return protected.generator, pixels, record
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        work = _Work(recipe, data, budget, seed)
        (work.fit_plain if recipe.plain else work.fit)()
        how = NEAREST if recipe.nearest else TOWARDS_CLEAN
        pixels = stored(work.generator, data, how=how)
    return work.generator, pixels, {**_figures(started, pixels, data, budget), **work.record}


def _figures(started: tuple[float, float], pixels: Tensor, data: Data, budget: Budget) -> dict[str, Any]:
    mean = (pixels.int() - data.train.pixels.int()).abs().float().mean().item()
    # Of a GPU's work the processor tells nothing.
    seconds = math.nan if budget.device != "cpu" else round(time.process_time() - started[0], 1)
    wall = round(time.perf_counter() - started[1], 1)
    return {
        "cpu_seconds": seconds,
        "wall_seconds": wall,
        "mean_levels": round(mean, 2),
        "torch": torch.__version__,
        "device": budget.device,
    }


#: The set as the library takes it, the recipe, the set as this benchmark takes it, what may be used, and a seed.
_Protect = Callable[["Labelled", Recipe, Data, Budget, int], mtlue.ProtectedDataset]


def partly_grey(images: Tensor) -> Tensor:
    """Half of the images of a batch in grey."""
    grey = torch.rand(len(images), 1, 1, 1, device="cpu").to(images.device) < 0.5
    weights = images.new_tensor((0.299, 0.587, 0.114)).reshape(1, 3, 1, 1)
    return torch.where(grey, (images * weights).sum(dim=1, keepdim=True), images) if images.shape[1] == 3 else images


def _default(dataset: Labelled, recipe: Recipe, data: Data, budget: Budget, seed: int) -> mtlue.ProtectedDataset:
    """What ``mtlue.protect(dataset)`` does on the device that the scale is for, wherever it runs."""
    given: dict[str, Any] = {"epsilon": recipe.levels / 255, "device": budget.device, "seed": seed}
    # What the loss has no part in.
    same = {name: getattr(DEFAULT, name) for name in ("share", "batch_size", "bfloat16", "levels")}
    if replace(recipe, **same) != DEFAULT:
        given["loss"] = mtlue.RestartedEM(
            count=2,
            distortions=[through_jpeg, *([partly_grey] if recipe.grey else [])],
            misleading=recipe.misleading,
            balanced=recipe.balanced,
            focus=recipe.focus,
        )
    own, device = recipe_for(default_loss()), torch.device("cpu" if budget.processor else budget.device)
    if recipe.batch_size != DEFAULT.batch_size:
        given["batch_size"] = recipe.batch_size
    if recipe.bfloat16:
        given["precision"] = torch.bfloat16
    if recipe.share != 1:
        given["epochs"] = max(1, round(recipe.share * own.plan(dataset, Compute(device)).epochs))
    if budget.processor and budget.device != "cpu":
        torch.manual_seed(seed)
        channels, height, width = data.train.pixels.shape[1:]
        shape = channels, height, width
        given["generator"] = own.generator(dataset.resolved, shape, epsilon=given["epsilon"], device=device)
        given.setdefault("epochs", own.plan(dataset, Compute(device)).epochs)
        given.setdefault("precision", torch.float32)
    return mtlue.protect(dataset, tasks=dict(data.tasks), progress=False, **given)


def _shortcut(patterns: Any) -> _Protect:
    def protect(dataset: Labelled, recipe: Recipe, data: Data, budget: Budget, seed: int) -> mtlue.ProtectedDataset:
        return baselines.shortcut(dataset, tasks=dict(data.tasks), patterns=patterns, fusion=baselines.patch_fusion, seed=seed)

    return protect


def _pixels(dataset: Labelled, recipe: Recipe, data: Data, budget: Budget, seed: int) -> mtlue.ProtectedDataset:
    """The method before the generator: a perturbation of each image for itself, with the paper's settings (A.1)."""
    work = _Work(recipe, data, budget, seed)
    alternating: dict[str, Any] = {"loss": mtlue.EM(), "rounds": 10, "steps": 20, "step_size": 0.8 / 255}
    misleading = recipe.plain == "TAP, pixels"
    surrogate = work.surrogate()[0] if misleading else work.new_network(1000 + seed)
    return baselines.pgd(
        dataset,
        tasks=dict(data.tasks),
        surrogate=surrogate,
        augment=lambda images: moved(images, flips=data.flips),
        device=budget.device,
        seed=seed,
        progress=False,
        **({"loss": mtlue.TAP()} if misleading else alternating),
    )


#: What needs no loop of this benchmark: the library's verbs as they are, whatever they cost.
WHOLE: dict[str, _Protect] = {
    "default": _default,
    "LSP": _shortcut(baselines.LSP()),
    "AR": _shortcut(baselines.AR()),
    "EM, pixels": _pixels,
    "TAP, pixels": _pixels,
}


class _Work:
    def __init__(self, recipe: Recipe, data: Data, budget: Budget, seed: int) -> None:
        self.recipe, self.data, self.budget, self.seed = recipe, data, budget, seed
        channels, height, width = data.train.pixels.shape[1:]
        self.shape = (channels, height, width)
        whole = mtlue.UEGenerator(dict(data.tasks), self.shape, width=budget.width)
        self.left = budget.passes * TRAIN * generator_cost(whole)
        half = (channels, (height + 1) // 2, (width + 1) // 2)
        self.generator = mtlue.UEGenerator(dict(data.tasks), half, width=budget.width) if recipe.half else whole
        self.generator.to(budget.device)
        self.tasks = self.generator.tasks
        self.images = data.train.pixels.to(budget.device).float() / 255
        self.labels = {name: label.to(budget.device) for name, label in data.train.labels.items()}
        self.generator_cost = generator_cost(self.generator)
        self.network_cost = network_cost(self.new_network(0), self.shape)
        self.record: dict[str, Any] = {}

    def new_network(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(100_000 + seed)
            made = network(self.data.tasks, channels=self.shape[0], width=self.budget.training.width)
        return made.to(self.budget.device)

    def surrogate(self) -> tuple[nn.Module, list[dict[str, Tensor]]]:
        """A network trained on the clean images, and its state after each epoch."""
        states: list[dict[str, Tensor]] = []
        model = train(
            self.data.train,
            self.data.tasks,
            replace(self.budget.training, epochs=_SURROGATE_EPOCHS),
            flips=self.data.flips,
            seed=1000 + self.seed,
            device=self.budget.device,
            after_epoch=lambda trained: states.append(copy.deepcopy(trained.state_dict())),
        )
        self.left -= _SURROGATE_EPOCHS * len(self.images) * TRAIN * self.network_cost
        return model, states

    def fit_plain(self) -> None:
        """The library's own fit with its own settings, as `mtlue.protect` calls it."""
        batch_size = max(1, min(512, len(self.images) // 32))
        loss: mtlue.BaseUELoss
        if self.recipe.plain == "EM":
            model, loss = self.new_network(1000 + self.seed), mtlue.EM()
        else:
            model, states = self.surrogate()
            loss = mtlue.SEP(states) if self.recipe.plain == "SEP" else mtlue.TAP()
        looks = len(states) if isinstance(loss, mtlue.SEP) else 1
        each = len(self.images) * (TRAIN * self.generator_cost + looks * TO_IMAGES * self.network_cost)
        if loss.trains_surrogate:
            # Ten steps of the surrogate after each epoch, and a look at its accuracy.
            each += 10 * batch_size * (LOOK * self.generator_cost + TRAIN * self.network_cost)
            each += min(1000, len(self.images)) * LOOK * (self.generator_cost + self.network_cost)
        epochs = max(1, round(self.left / each))
        history = mtlue.fit(
            self.generator,
            Labelled(self.images.cpu(), self.data),
            model,
            loss=loss,
            epochs=epochs,
            batch_size=batch_size,
            augment=lambda images: moved(images, flips=self.data.flips),
            device=self.budget.device,
            seed=self.seed,
            progress=False,
        )
        self.record |= {"epochs": epochs, "stopped_early": history.stopped_early, "base_loss": round(history[-1].base_loss, 3)}

    def fit(self) -> None:
        """The loop of a recipe."""
        recipe = self.recipe
        loss = mtlue.RestartedEM(
            self.new_network,
            count=recipe.students,
            restart_steps=recipe.restart,
            restart_loss=recipe.graduation,
            distortions=[differentiable_jpeg] * recipe.jpeg_students,
            curriculum=recipe.growing,
            focus=recipe.focus,
            balanced=recipe.balanced,
        )
        surrogate = mtlue.Surrogate(nn.Identity(), self.tasks)
        # Students see both views; before their own images come in, it is half of that.
        per_image = TRAIN * (self.generator_cost + recipe.students * 2 * self.network_cost)
        steps = max(1, int(self.left / (recipe.batch_size * per_image)))
        optimizer = torch.optim.Adam(self.generator.parameters(), lr=recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=recipe.learning_rate, total_steps=steps)
        self.generator.train()
        order: list[Tensor] = []
        curve: list[float] = []
        for step in range(steps):
            if not order:
                order = [part for part in torch.randperm(len(self.images)).split(recipe.batch_size) if len(part) > 1]
            batch = order.pop()
            images, targets = self.images[batch], {name: label[batch] for name, label in self.labels.items()}
            perturbed = self.generator.perturb(images, targets)
            # One draw moves an image and its clean twin.
            both = moved(torch.cat([perturbed, images], dim=1), flips=self.data.flips)
            seen, clean = both[:, : self.shape[0]], both[:, self.shape[0] :].detach()
            value = loss(surrogate, seen, targets, clean)
            intra, inter = embedding_regularizers(self.generator.embeddings)
            total = value + _LAMBDA_INTRA * intra + _LAMBDA_INTER * inter
            optimizer.zero_grad()
            torch.autograd.backward(total)
            optimizer.step()
            schedule.step()
            if step % max(1, steps // 20) == 0:
                curve.append(round(value.item(), 3))
        self.record |= {"steps": steps, "losses": curve}


class Labelled(torch.utils.data.Dataset[tuple[Tensor, dict[str, int]]]):
    """A set as the library takes it."""

    def __init__(self, images: Tensor, data: Data) -> None:
        self.images, self.tasks = images, data.tasks
        self.resolved = {name: mtlue.Classification(classes) for name, classes in data.tasks.items()}
        self.labels = {name: label.tolist() for name, label in data.train.labels.items()}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, int]]:
        return self.images[index], {name: label[index] for name, label in self.labels.items()}
