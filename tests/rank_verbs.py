"""The calls that write files and that several ranks can make together: a row each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import killed_run
import mtlue
from mtlue._runtime import tensors_digest, tensors_in
from rank_faults import RankVerb
from verb import RESULT, Verb
from writing_verbs import checkpoint_in, images_of, is_checkpoint


def _protect(folder: Path) -> str:
    dataset, _, generator = killed_run.parts()
    generator.trained = True
    settings: Any = {"path": folder / RESULT, "check": False, "batch_size": 4, "progress": False}
    return images_of(mtlue.protect(dataset, generator=generator, **settings))


def _train_and_protect(folder: Path) -> str:
    return images_of(killed_run.protect("em", folder / RESULT, epochs=2, check=False))


def _fit(folder: Path) -> Any:
    generator, net, history = killed_run.fit("em", folder / RESULT, epochs=2)
    return [tensors_digest(tensors_in([generator, net])), [{**row, "seconds": 0} for row in history.to_rows()]]


VERBS: tuple[RankVerb, ...] = (
    RankVerb(Verb("protect(path=) with a trained generator, two ranks", _protect), grouped=False),
    RankVerb(Verb("protect(path=), two ranks", _train_and_protect), grouped=True),
    RankVerb(Verb("fit(checkpoint=), EM, two ranks", _fit, read=checkpoint_in, valid=is_checkpoint), grouped=True),
)
