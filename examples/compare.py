"""Compare a loss of your own with EM, TAP, SEP and AR, three seeds each: prints a table, and draws a chart.

Needs this file and ``pip install "mtlue[evaluation,plot]"``. Put your own data set in the place of ``clean`` and ``test``.
"""

from copy import deepcopy
from itertools import product
from typing import Any

import torch
from torch import nn
from torchvision.datasets import FashionMNIST

import mtlue
from mtlue import baselines, evaluation


class Mine(mtlue.EM):
    """The idea to try: a network in training finds these images easy, as with EM, and wrong labels for them hard."""

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return surrogate.loss(images, targets) - 0.1 * surrogate.adversarial_loss(images, targets)


def pairs(count: int, *, train: bool) -> Any:
    """Two garments side by side, at 40 % of their contrast, as photographs have it, and what is left and what is right."""
    photos = FashionMNIST("data", train=train, download=True)
    images = 0.3 + 0.4 * torch.cat([photos.data[:count], photos.data[-count:]], dim=2).unsqueeze(1) / 255
    return list(zip(images, zip(photos.targets[:count], photos.targets[-count:], strict=True), strict=True))


def main(size: int = 3000, epochs: int = 20, seeds: tuple[int, ...] = (0, 1, 2), chart: str = "comparison.png") -> None:
    """Protect the images with each method and seed, and train victims on them."""
    clean, test, states = pairs(size, train=True), pairs(min(size, 1000), train=False), list[Any]()
    tasks = {"left": 10, "right": 10}
    layers = [(nn.Conv2d(old, new, 3, 2), nn.BatchNorm2d(new), nn.ReLU()) for old, new in ((1, 16), (16, 32), (32, 64))]
    net = evaluation.build_model(nn.Sequential(*sum(layers, ()), nn.Flatten()), tasks, image_shape=(1, 28, 56))
    training: dict[str, Any] = {"tasks": tasks, "model": net, "epochs": 15, "batch_size": 64, "learning_rate": 3e-3}
    # TAP attacks a network that knows the clean images; SEP attacks its last four states on the way there.
    trained = evaluation.train_victim(clean, **training, after_epoch=lambda _, net: states.append(deepcopy(net.state_dict())))
    losses = {"mine": Mine(), "EM": mtlue.EM(), "TAP": mtlue.TAP(), "SEP": mtlue.SEP(states[-4:])}
    reports: dict[str, list[evaluation.Report]] = {name: [] for name in [*losses, "AR"]}
    for seed, (name, found) in product(seeds, reports.items()):
        if name == "AR":
            made = baselines.shortcut(clean, tasks=tasks, patterns=baselines.AR(), fusion=baselines.patch_fusion, seed=seed)
        else:
            torch.manual_seed(seed)
            generator = mtlue.UEGenerator(tasks, (1, 14, 28), width=8)  # at half the size, in a quarter of the time
            surrogate = deepcopy(net if name in {"mine", "EM"} else trained)
            mtlue.fit(generator, clean, surrogate, loss=losses[name], epochs=epochs, learning_rate=3e-3, seed=seed)
            made = mtlue.protect(clean, tasks=tasks, generator=generator, check=False)
        first = next(iter(reports["mine"]), None)  # its victims on clean images and on noise serve all
        found.append(evaluation.audit(made, clean, test, **training, single_task=(), controls=first))
    print(comparison := evaluation.compare(reports))
    comparison.plot(chart)


if __name__ == "__main__":
    main()
