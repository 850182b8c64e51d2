"""How each method of the tables perturbs a set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mtlue
from mtlue import baselines, evaluation
from paper.images import InMemory
from paper.specs import Protection
from paper.workshop import BusyError, Workshop

CLEAN, NOISE = "clean", "random noise"
SHORTCUTS: dict[str, tuple[Any, Any]] = {
    "LSP (patch)": (baselines.LSP, baselines.patch_fusion),
    "AR (patch)": (baselines.AR, baselines.patch_fusion),
    "LSP (average)": (baselines.LSP, baselines.average_fusion),
    "AR (average)": (baselines.AR, baselines.average_fusion),
}
PIXELWISE = ("EM", "TAP", "SEP")
#: Searches that train the surrogate in turn.
IN_TURN = {"EM": mtlue.EM, "REM": mtlue.REM, "TUE": mtlue.TUE}
OURS = ("MTL-UE-EM", "MTL-UE-TAP", "MTL-UE-SEP")
#: In the paper's order, after the control.
METHODS = (*SHORTCUTS, *PIXELWISE, *OURS)
OPS = "OPS"
#: Methods that the paper has not; they are in tables 2 and 12.
OTHERS = (OPS, "REM", "TUE")


class WithoutEmbeddings(mtlue.UEGenerator):
    """Variant 2 of table 7: no label reaches the decoder, every task gets the mean of its embeddings."""

    def forward(self, images: Tensor, targets: object, *, protected_tasks: object = None) -> Tensor:
        missing = {name: torch.full((len(images),), -1, device=images.device) for name in self.tasks}
        return super().forward(images, missing)


class WithoutLatent(mtlue.UEGenerator):
    """Variant 3 of table 7: no encoder, the decoder sees embeddings alone."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.encoder = _Nothing(2 * self.width)  # type: ignore[assignment]  # in place of the encoder


class _Nothing(nn.Module):
    """Zeros in the shape of an encoder's features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        count, _, height, width = images.shape
        return images.new_zeros(count, self.channels, (height + 1) // 2, (width + 1) // 2)


VARIANTS: dict[str, type[mtlue.UEGenerator]] = {
    "": mtlue.UEGenerator,
    "no embeddings": WithoutEmbeddings,
    "no latent": WithoutLatent,
}


def perturbed(workshop: Workshop, spec: Protection) -> InMemory:
    """The set that a specification describes, made now or read from the store.

    Raises:
        BusyError: another process is making it.
    """
    clean = workshop.splits(spec.data).train
    if spec.method == CLEAN:
        images = clean
    elif spec.rest_only:
        images = clean.rows(~_is_perturbed(clean, workshop, spec))
    else:
        images = clean.with_images(protected(workshop, spec))
    return images


def _is_perturbed(clean: InMemory, workshop: Workshop, spec: Protection) -> Tensor:
    changed = clean.with_images(protected(workshop, spec)).images != clean.images
    return changed.flatten(1).any(dim=1)


def protected(workshop: Workshop, spec: Protection) -> mtlue.ProtectedDataset[Tensor]:
    """The protected set of a specification, made now or read from the store.

    Raises:
        BusyError: another process is making it.
    """
    clean = workshop.splits(spec.data).train
    spec = replace(spec, rest_only=False)
    path = workshop.store.folder / "protected" / workshop.key(spec)
    if not path.exists():
        with workshop.store.claim(path.name) as mine:
            if not mine:
                raise BusyError
            if not path.exists():
                _make(workshop, spec, clean, path)
    return mtlue.ProtectedDataset.load(path, clean)


def _make(workshop: Workshop, spec: Protection, clean: InMemory, path: Path) -> None:
    epsilon = spec.levels / 255
    if spec.method == NOISE:
        baselines.random_noise(clean, tasks=clean.tasks, epsilon=epsilon, path=path, seed=spec.seed)
    elif spec.method in SHORTCUTS:
        patterns, fusion = SHORTCUTS[spec.method]
        baselines.shortcut(clean, tasks=clean.tasks, patterns=patterns(), fusion=fusion, path=path, seed=spec.seed)
    elif spec.method == OPS:
        # As its paper has it, without a bound.
        baselines.one_pixel_shortcut(clean, tasks=clean.tasks, path=path, seed=spec.seed)
    elif spec.method in (*PIXELWISE, *IN_TURN):
        _make_pixelwise(workshop, spec, clean, path)
    else:
        generator = generator_of(workshop, spec, clean)
        mtlue.protect(
            clean,
            generator=generator,
            protected_tasks=spec.protected or None,
            fraction=spec.fraction,
            # The victims of the tables say more.
            check=False,
            path=path,
            device=workshop.device,
            precision=workshop.precision,
            seed=spec.seed,
            progress=False,
        )


def _make_pixelwise(workshop: Workshop, spec: Protection, clean: InMemory, path: Path) -> None:
    surrogate, loss = surrogate_and_loss(workshop, spec, spec.method)
    scale, epsilon = workshop.scale, spec.levels / 255
    in_turn = spec.method in IN_TURN
    steps = scale.em_steps if in_turn else {"TAP": scale.tap_steps, "SEP": scale.sep_steps}[spec.method]
    rounds = scale.em_rounds if in_turn else 1
    # As far as in appendix A.1: 250 steps of 0.064/255 for 8/255, or in EM rounds of 20 steps of 0.8/255, at least ten. Fewer
    # steps are larger ones.
    share = max(0.1, 20 / (rounds * steps)) if in_turn else 2 / steps
    baselines.pgd(
        clean,
        tasks=clean.tasks,
        surrogate=surrogate,
        loss=loss,
        epsilon=epsilon,
        steps=steps,
        step_size=share * epsilon,
        rounds=rounds,
        surrogate_steps=workshop.scale.sets[spec.data.name].surrogate_steps,
        learning_rate=scale.learning_rate,
        augment=workshop.transform(spec.data),
        path=path,
        device=workshop.device,
        batch_size=scale.batch_size,
        precision=workshop.precision,
        seed=spec.seed,
        progress=False,
    )


def generator_of(workshop: Workshop, spec: Protection, clean: InMemory) -> mtlue.UEGenerator:
    """The trained generator of a specification, made now or read from the store.

    Raises:
        BusyError: another process is training it.
    """
    spec = spec.generator
    path = workshop.store.folder / "generators" / f"{workshop.key(spec)}.pt"
    kind = VARIANTS[spec.variant]
    with workshop.store.claim(path.stem + "-generator") as mine:
        if not mine:
            raise BusyError
        if not path.exists():
            surrogate, loss = surrogate_and_loss(workshop, spec, spec.method.removeprefix("MTL-UE-"))
            sizes = workshop.scale.sets[spec.data.name]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(spec.seed)
                generator = kind(clean.tasks, clean.image_shape, epsilon=spec.levels / 255, width=workshop.scale.width)
            mtlue.fit(
                generator,
                clean,
                surrogate,
                loss=loss,
                epochs=sizes.generator_epochs,
                batch_size=workshop.scale.batch_size,
                learning_rate=workshop.scale.learning_rate,
                lambda_intra=spec.lambda_intra,
                lambda_inter=spec.lambda_inter,
                surrogate_steps=sizes.surrogate_steps,
                # One cycle is for the models of the small scale alone.
                schedule=evaluation.paper_schedule if workshop.scale.one_cycle else workshop.schedule(spec.data),
                augment=workshop.transform(spec.data),
                checkpoint=path.with_suffix(".checkpoint"),
                device=workshop.device,
                precision=workshop.precision,
                seed=spec.seed,
                progress=False,
            )
            generator.save(path)
            path.with_suffix(".checkpoint").unlink()
    return kind.load(path)


def surrogate_and_loss(workshop: Workshop, spec: Protection, name: str) -> tuple[nn.Module, mtlue.BaseUELoss]:
    """What perturbations are made against: the same for the generator and pixel by pixel."""
    sizes, tasks = workshop.scale.sets[spec.data.name], workshop.splits(spec.data).train.tasks
    fresh = workshop.model(spec.data, seed=spec.seed)(mtlue.Surrogate(nn.Identity(), tasks).tasks)
    added = {method.removeprefix("MTL-UE-"): make for method, make in workshop.losses.items()}
    if name in added:
        return fresh, added[name]()
    if name in IN_TURN:
        return fresh, IN_TURN[name]()
    epochs = sizes.surrogate_epochs if name == "TAP" else max(sizes.surrogate_epochs, sizes.checkpoints)
    states = workshop.surrogates(spec.data, spec.seed, epochs=epochs)
    fresh.load_state_dict(states[-1])
    if name == "TAP":
        return fresh, mtlue.TAP()
    # At equal distances, the last one among them.
    ends = (round(number * epochs / sizes.checkpoints) for number in range(1, sizes.checkpoints + 1))
    return fresh, mtlue.SEP([states[end - 1] for end in ends])
