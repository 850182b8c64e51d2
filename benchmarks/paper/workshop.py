"""Where cells are made."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mtlue
from mtlue import evaluation
from mtlue._runtime.files import load_tensors, save_tensors
from mtlue.evaluation import random_crop_and_flip
from paper.backbones import backbone
from paper.images import Splits
from paper.readers import DENSE, splits
from paper.scales import Scale
from paper.shift import random_shift
from paper.specs import Data, Protection, Victim, key
from paper.store import Store

State = dict[str, Tensor]


class BusyError(Exception):
    """Another process is making what is needed."""


@dataclass
class Workshop:
    """Scale, sets and store of a run, and what was added to the tables by the caller.

    Attributes:
        scale: Sizes of everything.
        store: Finished cells.
        folders: Folder of each set that is read from one.
        losses: What makes a loss that a caller adds, by the name of the method.
        models: What makes a victim for given tasks that a caller adds, by the name of the backbone.
        digest: Of the code that they are in.
    """

    scale: Scale
    store: Store
    folders: Mapping[str, Path] = field(default_factory=dict)
    losses: dict[str, Callable[[], mtlue.BaseUELoss]] = field(default_factory=dict)
    models: dict[str, Callable[[dict[str, Any]], nn.Module]] = field(default_factory=dict)
    digest: str = ""

    def key(self, spec: Data | Protection | Victim) -> str:
        """Name of a cell at this scale."""
        data = spec if isinstance(spec, Data) else (spec if isinstance(spec, Protection) else spec.protection).data
        sizes = asdict(self.scale.sets[data.name])
        method = "" if isinstance(spec, Data) else (spec if isinstance(spec, Protection) else spec.protection).method
        own = method in self.losses or (isinstance(spec, Victim) and spec.backbone in self.models)
        return key({**asdict(self.scale), "sets": sizes}, spec, added=self.digest if own else "")

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def splits(self, data: Data) -> Splits:
        """Training, test and pretraining part of a set."""
        return splits(data, self.scale.sets[data.name], self.folders.get(data.name))

    @property
    def precision(self) -> torch.dtype:
        """What everything is computed in."""
        return torch.bfloat16 if self.scale.precision == "bfloat16" else torch.float32

    def schedule(self, data: Data) -> Callable[[float], float]:
        """How learning rates of models go."""
        if self.scale.one_cycle:
            return one_cycle
        return evaluation.dense_paper_schedule if data.name in DENSE else evaluation.paper_schedule

    def transform(self, data: Data) -> Callable[[Tensor], Tensor] | None:
        """Augmentation: at the small scale a shift by up to 3 pixels that repeats the border, or the paper's; none of maps."""
        if data.name in DENSE:
            return None
        return random_shift if data.name in {"multi-fashion", "avatars"} else random_crop_and_flip

    def model(
        self, data: Data, *, name: str | None = None, architecture: str = "hard-sharing", seed: int
    ) -> Callable[[dict[str, Any]], nn.Module]:
        """What makes a model for tasks of a set."""
        name = self.scale.backbone if name in {None, "resnet"} else name
        shape = self.splits(data).train.image_shape
        if name in self.models:
            return self.models[name]
        return lambda tasks: evaluation.build_model(
            backbone(name, shape, seed=seed), tasks, image_shape=shape, architecture=architecture, seed=seed
        )

    def train(
        self, dataset: Any, data: Data, tasks: Mapping[str, Any], *, epochs: int, seed: int, model: Any, **options: Any
    ) -> nn.Module:
        """Train a model with the settings of the scale."""
        return evaluation.train_victim(
            dataset,
            tasks=tasks,
            model=model,
            epochs=epochs,
            batch_size=self.scale.batch_size,
            learning_rate=self.scale.learning_rate,
            schedule=self.schedule(data),
            transform=self.transform(data),
            device=self.device,
            precision=self.precision,
            seed=seed,
            progress=False,
            **options,
        )

    def surrogates(self, data: Data, seed: int, *, epochs: int) -> list[State]:
        """States of a surrogate after each epoch of its training on clean images.

        Raises:
            BusyError: another process is training it.
        """
        path = self.store.folder / "surrogates" / f"{self.key(data)}-{seed}-{epochs}.pt"
        with self.store.claim(path.stem) as mine:
            if not mine:
                raise BusyError
            if not path.exists():
                states: list[State] = []
                train = self.splits(data).train

                def keep(_: int, module: nn.Module) -> None:
                    states.append({name: value.detach().cpu().clone() for name, value in module.state_dict().items()})

                self.train(
                    train, data, train.tasks, epochs=epochs, seed=seed, model=self.model(data, seed=seed), after_epoch=keep
                )
                save_tensors({"states": states}, path)
        found: list[State] = load_tensors(path)["states"]
        return found


def one_cycle(done: float) -> float:
    """Up to the full rate in the first 30 % of the training, then down to nothing, along cosines."""
    if done < 0.3:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * done / 0.3)) / 2
    return (1 + math.cos(math.pi * (done - 0.3) / 0.7)) / 2


def environment() -> dict[str, str]:
    """Machine and versions of a run."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    return {"machine": device, "torch": torch.__version__, "mtlue": mtlue.__version__}
