"""Recipes of protection: what is compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How a generator is trained. The defaults are those of students without anything else.

    Attributes:
        students: Networks that start anew and learn from the perturbed images; 0 for none.
        restart: Steps after which each starts anew.
        graduation: Share of a new student's loss at which a student starts anew before that; 0 for never.
        own: Whether they see the perturbations on their own images.
        others: Whether they see them on other images.
        faded: Whether those are faded towards grey, each by another share.
        learn_others: Whether students learn from them, or are only asked about them.
        hardest: How far the weights of tasks follow their losses.
        jpeg_students: How many of the students see images after JPEG of quality 10.
        misleading: Weight of the loss towards shifted labels; 0 for none.
        young: Steps after which the network that is misled starts anew on clean images; 0 for a trained surrogate.
        surrogate_epochs: Epochs of that trained surrogate.
        power: See `Misleading`.
        jpeg_misleading: Whether the network that is misled sees images after JPEG.
        learning_rate: The largest of the cycle.
        batch_size: Images a step.
        steep: Slope of the bound: 1 is the library's tanh, 3 reaches the whole budget sooner.
        nearest: Round to the nearest level; else towards the clean image.
        plain: One of the library's own losses with its own settings, instead of all of the above.
    """

    students: int = 1
    restart: int = 100
    graduation: float = 0.0
    own: bool = True
    others: bool = True
    faded: bool = False
    learn_others: bool = True
    hardest: float = 0.0
    jpeg_students: int = 0
    misleading: float = 0.0
    young: int = 200
    surrogate_epochs: int = 8
    power: float = 0.0
    jpeg_misleading: bool = False
    learning_rate: float = 3e-3
    batch_size: int = 64
    steep: int = 1
    nearest: bool = True
    plain: str = ""

    def described(self) -> dict[str, Any]:
        """All settings that differ from the defaults: what a cell is known by."""
        own = asdict(self)
        return {name: value for name, value in own.items() if value != asdict(Recipe())[name]}


STUDENTS = Recipe()
BOTH = replace(STUDENTS, misleading=1.0)

RECIPES: dict[str, Recipe] = {
    "MTL-UE-TAP": Recipe(plain="TAP", nearest=False),
    "MTL-UE-EM": Recipe(plain="EM", nearest=False),
    "students": STUDENTS,
    "misleading": replace(BOTH, students=0),
    "students + misleading": BOTH,
    "students + TAP": replace(BOTH, young=0, surrogate_epochs=3),
    "students + misleading, steep": replace(BOTH, steep=3),
    "students + misleading, power 0.5": replace(BOTH, power=0.5),
    "students + misleading, own images only": replace(BOTH, others=False),
    "students + misleading, other images only": replace(BOTH, own=False),
    "students, faded": replace(STUDENTS, faded=True),
    "students, faded, restart 50": replace(STUDENTS, faded=True, restart=50),
    "students, faded, asked only": replace(STUDENTS, faded=True, learn_others=False),
    "students + misleading, faded": replace(BOTH, faded=True),
    "students + misleading, faded, power 0.5": replace(BOTH, faded=True, power=0.5),
    "students, batch 32": replace(STUDENTS, batch_size=32),
    "students, faded, batch 32": replace(STUDENTS, faded=True, batch_size=32),
    "students, faded, restart 200": replace(STUDENTS, faded=True, restart=200),
    "two students, one sees JPEG": replace(STUDENTS, faded=True, students=2, jpeg_students=1),
    "two students": replace(STUDENTS, faded=True, students=2),
    "students that graduate": replace(STUDENTS, faded=True, restart=400, graduation=0.3),
    "students that graduate, batch 32": replace(STUDENTS, faded=True, restart=400, graduation=0.3, batch_size=32),
    "students + misleading, restart 50": replace(BOTH, restart=50, young=50),
}
