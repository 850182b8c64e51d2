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
        growing: Whether their own images come in by and by.
        jpeg_students: How many of the students see images after JPEG of quality 10.
        misleading: See `mtlue.RestartedEM`; for the default.
        balanced: Whether the default's networks count rare classes as much as frequent ones.
        grey: Whether the default's second network sees half of the images in grey.
        share: Of the default's epochs.
        focus: See `mtlue.RestartedEM`.
        bfloat16: Whether the default computes in bfloat16.
        levels: Of 255, by which the default may change a value.
        learning_rate: The largest of the cycle.
        batch_size: Images a step.
        nearest: Round to the nearest level; else towards the clean image.
        half: Whether the generator works at half the image's size, in a quarter of the time; what it makes is smooth.
        plain: Instead of all of the above, one of the library's own losses with its own settings (``"TAP"``, ``"EM"``,
            ``"SEP"``), what `mtlue.protect` does with a data set alone (``"default"``), patterns of classes in patches
            (``"LSP"``, ``"AR"``), or a search on the pixels of each image (``"EM, pixels"``, ``"TAP, pixels"``).
    """

    students: int = 1
    restart: int = 100
    graduation: float = 0.0
    growing: bool = False
    jpeg_students: int = 0
    misleading: float = 0.0
    balanced: bool = False
    grey: bool = False
    share: float = 1.0
    focus: float = 0.0
    bfloat16: bool = False
    levels: int = 8
    learning_rate: float = 3e-3
    batch_size: int = 64
    nearest: bool = True
    half: bool = False
    plain: str = ""

    def described(self) -> dict[str, Any]:
        """All settings that differ from the defaults: what a cell is known by."""
        own = asdict(self)
        return {name: value for name, value in own.items() if value != asdict(Recipe())[name]}


_ONE = Recipe()
_HALF = replace(_ONE, half=True)
_GROWING = replace(_HALF, growing=True, restart=400, graduation=0.3)
STUDENTS = replace(_GROWING, students=2, jpeg_students=1)

DEFAULT = Recipe(plain="default", misleading=1.0, balanced=True)
_SHORT = replace(DEFAULT, share=0.25, batch_size=32)

RECIPES: dict[str, Recipe] = {
    "mtlue.protect": DEFAULT,
    "mtlue.protect, half of the epochs": replace(DEFAULT, share=0.5),
    "mtlue.protect, a quarter of the epochs": replace(DEFAULT, share=0.25),
    "mtlue.protect, half of the epochs, batches of 32": replace(DEFAULT, share=0.5, batch_size=32),
    "mtlue.protect, a quarter of the epochs, batches of 32": _SHORT,
    "mtlue.protect, a quarter of the epochs, batches of 32, bfloat16": replace(_SHORT, bfloat16=True),
    "mtlue.protect, a quarter of the epochs, batches of 32, without TAP": replace(_SHORT, misleading=0.0),
    "mtlue.protect, an eighth of the epochs, batches of 16": replace(DEFAULT, share=0.125, batch_size=16),
    "mtlue.protect, focus 4": replace(DEFAULT, focus=4.0),
    "mtlue.protect, twice the epochs": replace(DEFAULT, share=2.0),
    "mtlue.protect, misleading 3": replace(DEFAULT, misleading=3.0),
    "mtlue.protect, misleading 10": replace(DEFAULT, misleading=10.0),
    "mtlue.protect, 16 levels": replace(DEFAULT, levels=16),
    "mtlue.protect, bfloat16": replace(DEFAULT, bfloat16=True),
    "without TAP": Recipe(plain="default", balanced=True),
    "not balanced": replace(DEFAULT, balanced=False),
    "not balanced, without TAP": Recipe(plain="default"),
    "not balanced, without TAP, one sees grey": Recipe(plain="default", grey=True),
    "LSP (patches)": Recipe(plain="LSP"),
    "AR (patches)": Recipe(plain="AR"),
    "EM (pixels)": Recipe(plain="EM, pixels"),
    "TAP (pixels)": Recipe(plain="TAP, pixels"),
    "MTL-UE-TAP": Recipe(plain="TAP", nearest=False),
    "MTL-UE-EM": Recipe(plain="EM", nearest=False),
    "MTL-UE-SEP": Recipe(plain="SEP", nearest=False),
    "students": STUDENTS,
    "students, focus 4": replace(STUDENTS, focus=4.0),
    "one student": _GROWING,
    "one student, rate 1e-2": replace(_GROWING, learning_rate=1e-2),
    "one student, a new one every 100 steps": _HALF,
    "full size: one student": replace(_GROWING, half=False),
    "full size: a new one every 100 steps": _ONE,
}
#: What is compared unless other recipes are named.
MAIN = ("mtlue.protect", "MTL-UE-TAP", "MTL-UE-EM", "LSP (patches)", "AR (patches)")
