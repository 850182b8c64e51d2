"""Who attacks a protected set, with what, and what victims learn from what is made of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

import mtlue
from measure.attacks import average, blurred, invert, learn_perturbations, psnr, subtract_means
from measure.sets import Data, Images
from measure.victims import Training, balanced_accuracies, train
from mtlue import defenses

_FINE_EPOCHS, _FINE_RATE = 4, 1e-3


@dataclass(frozen=True)
class Scene:
    """What there is to attack.

    Attributes:
        data: The set, with the clean images.
        protected: What was published, uint8.
        protect_again: Gives the same images, protected with another seed; that takes minutes, so it waits until it is asked.
        key: The generator of ``protected``.
        training: Of victims.
        seed: Of whatever an attacker trains.
    """

    data: Data
    protected: Tensor
    protect_again: Callable[[], Tensor]
    key: mtlue.UEGenerator
    training: Training
    seed: int = 0

    @cached_property
    def victim(self) -> nn.Module:
        """Trained on what was published, as it is."""
        return learn(self, self.data.train.with_pixels(self.protected))


@dataclass(frozen=True)
class Attack:
    """What an attacker has and does.

    Attributes:
        has: What he has beside the protected set with its labels.
        does: What he does with it.
        restore: Makes images of the protected ones; None leaves them as they are.
        known: How many of the first images he has clean.
        learn: Trains a network on restored images, the first ``known`` of which are clean.
        needs_colour: Whether it changes nothing of images with one channel.
    """

    has: str
    does: str
    restore: Callable[[Scene], Tensor] | None = None
    known: int = 0
    learn: Callable[[Scene, Images, int], nn.Module] | None = None
    needs_colour: bool = False


def carry_out(attack: Attack, scene: Scene) -> dict[str, Any]:
    """Balanced accuracy by task of who attacks so, and how near his images come to the clean ones, in dB."""
    data, known = scene.data, attack.known
    restored = scene.protected if attack.restore is None else attack.restore(scene)
    nearness = psnr(restored[known:], data.train.pixels[known:])
    pixels = torch.cat([data.train.pixels[:known], restored[known:]])
    images = data.train.with_pixels(pixels)
    model = attack.learn(scene, images, known) if attack.learn is not None else learn(scene, images)
    found = balanced_accuracies(model, data, data.tasks)
    return {"accuracy": found, "psnr": round(nearness, 2) if math.isfinite(nearness) else None}


def learn(scene: Scene, images: Images, start: nn.Module | None = None) -> nn.Module:
    """A victim of some images, or one that goes on with them."""
    data = scene.data
    return train(images, data.tasks, scene.training, flips=data.flips, seed=scene.seed, start=start)


def as_it_is(scene: Scene, images: Images, known: int) -> nn.Module:
    """A victim of what was published."""
    return scene.victim


def from_known(scene: Scene, images: Images, known: int) -> nn.Module:
    """A victim of the clean images alone, which are repeated until they are as many as the others."""
    return learn(scene, _repeated(images.first(known), len(images)))


def fine_tuned(scene: Scene, images: Images, known: int) -> nn.Module:
    """A victim of what was published that goes on with the clean images alone, at a smaller rate."""
    tuning = replace(scene, training=replace(scene.training, epochs=_FINE_EPOCHS, learning_rate=_FINE_RATE))
    return learn(tuning, _repeated(images.first(known), len(images)), copy.deepcopy(scene.victim))


def _repeated(images: Images, count: int) -> Images:
    index = torch.arange(count) % len(images)
    return Images(images.pixels[index], {name: label[index] for name, label in images.labels.items()})


def _applied(change: Callable[[Tensor], Tensor], scene: Scene) -> Tensor:
    return (255 * change(scene.protected.float() / 255)).round().clamp(0, 255).to(torch.uint8)


def _purified(scene: Scene) -> Tensor:
    purification, labels = defenses.VAEPurification(), scene.data.train.labels
    dataset = [(image, {name: label[index] for name, label in labels.items()}) for index, image in enumerate(scene.protected)]
    tasks = {name: mtlue.Classification(classes) for name, classes in scene.data.tasks.items()}
    purification.prepare(dataset, tasks, seed=scene.seed)  # type: ignore[arg-type]  # a list is a map-style data set
    return _applied(lambda images: torch.cat([purification.images(part) for part in images.split(500)]), scene)


def _of_clean(attack: Attack) -> Attack:
    """The same of clean images: what the attack costs who has nothing to undo."""
    restore = attack.restore
    assert restore is not None
    return replace(attack, has=CLEAN.has, restore=lambda scene: restore(replace(scene, protected=scene.data.train.pixels)))


def _noisy(scene: Scene) -> Tensor:
    clean = scene.data.train.pixels.to(torch.int16)
    random = torch.Generator().manual_seed(scene.seed)
    sign = 2 * torch.randint(2, clean.shape, generator=random, dtype=torch.int16) - 1
    return (clean + 8 * sign).clamp(0, 255).to(torch.uint8)


NOTHING = "nothing more"
CLEAN = Attack("clean images", "trains on these", lambda scene: scene.data.train.pixels)
NOISE = Attack("images with random noise", "trains on these", _noisy)
_COUNTS = (10, 100, 1000)
_CHEAP = (
    Attack(NOTHING, "JPEG, quality 10", partial(_applied, defenses.jpeg)),
    Attack(NOTHING, "blur, one pixel", partial(_applied, blurred)),
    Attack(NOTHING, "grey images", partial(_applied, defenses.grayscale), needs_colour=True),
)
_PURIFY = Attack(NOTHING, "purification by two autoencoders", _purified)


#: All attacks, and what they are compared with; what takes longest comes last.
def learned_from_pairs(count: int, scene: Scene) -> Tensor:
    """The protected images, with what so many pairs teach of perturbations taken off."""
    return learn_perturbations(scene.data, scene.protected, count, seed=scene.seed)


ATTACKS: tuple[Attack, ...] = (
    CLEAN,
    NOISE,
    Attack(NOTHING, "trains on it as it is", learn=as_it_is),
    Attack("the key", "inverts it", lambda scene: invert(scene.key, scene.protected, scene.data.train.labels)),
    *(
        Attack(
            f"{count} pairs",
            "learns to take perturbations off",
            partial(learned_from_pairs, count),
            count,
        )
        for count in _COUNTS
    ),
    Attack(
        f"{_COUNTS[-1]} pairs",
        "subtracts what classes add on average",
        lambda scene: subtract_means(scene.data, scene.protected, _COUNTS[-1]),
        _COUNTS[-1],
    ),
    *(Attack(f"{count} clean images", "trains on these alone", None, count, from_known) for count in _COUNTS),
    *(Attack(f"{count} clean images", "puts them among the protected", None, count) for count in _COUNTS[1:]),
    *(Attack(f"{count} clean images", "fine-tunes on these", None, count, fine_tuned) for count in _COUNTS),
    *_CHEAP,
    _PURIFY,
    *(_of_clean(attack) for attack in (_CHEAP[0], _PURIFY)),
    Attack("a second protection", "averages both", lambda scene: average(scene.protected, scene.protect_again())),
)
