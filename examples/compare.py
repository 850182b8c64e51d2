"""Compare a loss of your own with EM, TAP, SEP and AR, three seeds each: a table, a chart and a page in ``output/compare``.

Put your own data set in the place of ``clean`` and ``test``. For figures to print, take more images and more epochs.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

import mtlue
from mtlue import baselines, evaluation
from multi_fashion import MultiFashion
from small_resnet import SmallResNet


class Mine(mtlue.BaseUELoss):
    """The idea to try: a network in training finds these images easy, and wrong labels for them hard."""

    trains_surrogate = True

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """Low where the true labels are learned, and wrong ones are not."""
        return surrogate.loss(images, targets) - 0.1 * surrogate.adversarial_loss(images, targets)


def main(size: int = 1500, epochs: int = 10, seeds: tuple[int, ...] = (0, 1, 2), output: str = "output/compare") -> None:
    """Protect the images with each method and seed, and train victims on them."""
    clean, test = MultiFashion(size, train=True), MultiFashion(size, train=False, seed=1)
    tasks, net, states = clean.tasks, SmallResNet(clean.tasks), list[Any]()
    training: dict[str, Any] = {"tasks": tasks, "model": net, "epochs": epochs, "batch_size": 64}
    # TAP attacks a network that knows the clean images; SEP attacks its last four states on the way there.
    trained = evaluation.train_victim(clean, **training, after_epoch=lambda _, net: states.append(deepcopy(net.state_dict())))
    losses = {"mine": Mine(), "EM": mtlue.EM(), "TAP": mtlue.TAP(), "SEP": mtlue.SEP(states[-4:])}
    reports: dict[str, list[evaluation.Report]] = {name: [] for name in [*losses, "AR"]}
    for seed in seeds:
        for name, found in reports.items():
            torch.manual_seed(seed)  # the generator's first weights
            if name == "AR":
                made: Any = {"patterns": baselines.AR(), "fusion": baselines.patch_fusion}
                protected = baselines.shortcut(clean, tasks=tasks, seed=seed, **made)
            else:
                made = {"loss": losses[name], "surrogate": deepcopy(net if name in {"mine", "EM"} else trained)}
                made |= {"generator": mtlue.UEGenerator(tasks, (1, 32, 32), width=16), "epochs": epochs, "batch_size": 64}
                protected = mtlue.protect(clean, tasks=tasks, seed=seed, check=False, **made)
            controls = next(iter(reports["mine"]), None)  # victims on clean images and on noise are trained once
            found.append(evaluation.audit(protected, clean, test, **training, single_task=(), controls=controls))
    comparison, folder = evaluation.compare(reports), Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(comparison.to_markdown(), encoding="utf-8")
    (folder / "page.html").write_text(comparison.to_html(), encoding="utf-8")
    comparison.plot(folder / "chart.png")
    print(comparison)


if __name__ == "__main__":
    main()
