"""How large everything is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SetScale:
    """Sizes for one set.

    Attributes:
        train: Training images; 0 for all there are.
        test: Test images; 0 for all there are.
        contrast: Share of the images' contrast that is kept.
        surrogate_epochs: Epochs of the surrogate of TAP.
        checkpoints: Checkpoints of SEP, at equal distances along a training of as many epochs, or of ``surrogate_epochs`` if
            those are more.
        generator_epochs: Epochs of the generator.
        surrogate_steps: Steps of EM's surrogate after each epoch.
        victim_epochs: Epochs of victims.
    """

    train: int
    test: int
    contrast: float
    surrogate_epochs: int
    checkpoints: int
    generator_epochs: int
    surrogate_steps: int
    victim_epochs: int


@dataclass(frozen=True)
class Scale:
    """Sizes for all sets.

    Attributes:
        sets: By name of the set.
        width: Width of the generator.
        batch_size: Samples a step.
        learning_rate: Adam's, for generators and models.
        tap_steps: Steps of projected gradient descent of pixel-wise TAP, 250 in the paper.
        sep_steps: Those of pixel-wise SEP, each with all checkpoints.
        em_rounds: Rounds of pixel-wise EM.
        em_steps: Steps in a round.
        one_cycle: Whether learning rates rise and fall over the training; if not, they fall in the paper's two steps.
        backbone: What surrogates and victims are made of.
        precision: ``"float32"`` or ``"bfloat16"``.
    """

    sets: dict[str, SetScale] = field(default_factory=dict)
    width: int = 64
    batch_size: int = 512
    learning_rate: float = 1e-3
    tap_steps: int = 250
    sep_steps: int = 250
    em_rounds: int = 10
    em_steps: int = 20
    one_cycle: bool = False
    backbone: str = "resnet18"
    precision: str = "float32"


#: What two cores do in under an hour for each table: thousands of small images and narrow networks.
SMALL = Scale(
    sets={
        "multi-fashion": SetScale(3000, 2000, 0.4, 2, 5, 12, 60, 8),
        "avatars": SetScale(4000, 2000, 0.4, 2, 5, 16, 60, 8),
    },
    width=8,
    batch_size=64,
    learning_rate=3e-3,
    tap_steps=60,
    sep_steps=25,
    em_rounds=6,
    em_steps=10,
    one_cycle=True,
    backbone="resnet",
)

#: The paper's own settings (appendices A.1 and A.2), on the real sets. Rounds of EM end at 99 % accuracy of its surrogate.
PAPER = Scale(
    em_rounds=60,
    sets={
        "celeba": SetScale(0, 0, 1.0, 60, 15, 60, 10, 60),
        "utkface": SetScale(0, 0, 1.0, 60, 15, 60, 10, 60),
    },
)

SCALES = {"small": SMALL, "paper": PAPER}

#: The same for label maps. A search takes as many steps as cost what the generator with the same loss costs.
SMALL_DENSE = Scale(
    sets={"rooms": SetScale(1000, 400, 1.0, 6, 5, 20, 50, 10)},
    width=12,
    batch_size=16,
    learning_rate=3e-3,
    tap_steps=120,
    sep_steps=36,
    em_rounds=10,
    em_steps=12,
    one_cycle=True,
    backbone="unet",
)

#: Appendix A.2 on NYUv2: 200 epochs, Adam at 1e-4, a tenth of it in the second half, batches of 8.
PAPER_DENSE = Scale(
    em_rounds=60,
    batch_size=8,
    learning_rate=1e-4,
    sets={"nyuv2": SetScale(0, 0, 1.0, 200, 10, 200, 10, 200)},
)

DENSE_SCALES = {"small": SMALL_DENSE, "paper": PAPER_DENSE}
