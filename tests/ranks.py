"""Trainings that give the same on one process and on several ranks. As a script it is one of the ranks, on plain gloo."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mtlue
import resumed_victims
from mtlue import evaluation
from mtlue._fit import checkpoint as kept_at
from mtlue._runtime import job

torch.set_num_threads(1)

TASKS: dict[str, Any] = {"shape": 3, "colour": 2, "depth": mtlue.Depth(), "parts": mtlue.Segmentation(4)}
#: Batches of 9: the last of 37 samples is a batch of one.
SAMPLES, BATCH = 37, 9


class Net(nn.Module):
    """A convolution with batch normalisation, and a head for each task. It may fail on a rank after some calls."""

    def __init__(self, fails: Callable[[Tensor], object] | None = None, *, after: int = 8) -> None:
        super().__init__()
        # Without a bias: batch normalisation cancels one, and Adam would amplify what rounding leaves of its gradient.
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.shape, self.colour = nn.Linear(8, 3), nn.Linear(8, 2)
        self.depth, self.parts = nn.Conv2d(8, 1, 1), nn.Conv2d(8, 4, 1)
        self._fails, self._left = fails, after

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self._left -= 1
        if self._fails is not None and self._left < 0:
            self._fails(images)
        maps = self.body(images)
        pooled = maps.mean(dim=(2, 3))
        return {
            "shape": self.shape(pooled),
            "colour": self.colour(pooled),
            "depth": self.depth(maps),
            "parts": self.parts(maps),
        }


def dataset() -> list[Any]:
    """Samples with many missing labels, of classes and of maps."""
    random = torch.Generator().manual_seed(1)
    made = []
    for index in range(SAMPLES):
        depth = torch.rand(1, 8, 8, generator=random) * (torch.rand(1, 8, 8, generator=random) > 0.5) * (index % 4 != 0)
        parts = torch.randint(-1, 4, (8, 8), generator=random)
        shape, colour = (int(torch.randint(-1, classes, (), generator=random)) for classes in (3, 2))
        image = torch.rand(3, 8, 8, generator=random)
        made.append((image, {"shape": shape, "colour": colour, "depth": depth, "parts": parts}))
    return made


def trained(
    loss: mtlue.BaseUELoss,
    *,
    fails: Callable[[Tensor], object] | None = None,
    after: int = 8,
    seed: int = 0,
    **settings: Any,
) -> dict[str, Any]:
    """Train a generator, and return its history and everything that the training changed."""
    torch.manual_seed(seed)
    generator = mtlue.UEGenerator(TASKS, (3, 8, 8), width=4)
    net = Net(fails, after=after)
    settings = {"epochs": 2, "batch_size": BATCH, "progress": False, "stop_accuracy": 1.1, "surrogate_steps": 3, **settings}
    history = mtlue.fit(generator, dataset(), net, loss=loss, **settings)
    curve = [[epoch.loss, epoch.base_loss, epoch.surrogate_accuracy or 0.0] for epoch in history]
    return {"curve": curve, "generator": generator.state_dict(), "net": net.state_dict()}


def protected(path: Path) -> dict[str, Any]:
    """Protect the set by default, with a surrogate, a generator and a store that all ranks make together."""
    torch.manual_seed(0)
    safe = mtlue.protect(dataset(), tasks=TASKS, path=path, epochs=1, batch_size=BATCH, check=False, progress=False)
    assert safe.generator is not None
    return {"images": torch.stack(list(map(safe.stored_image, range(SAMPLES)))), "generator": safe.generator.state_dict()}


def attempted(path: Path) -> dict[str, Any]:
    """Keep the better of two attempts, which the first rank checks."""
    torch.manual_seed(0)
    # As many as a check needs.
    safe = mtlue.protect(dataset() * 2, tasks=TASKS, path=path, attempts=2, epochs=1, batch_size=BATCH, progress=False)
    assert safe.check is not None
    return {"images": torch.stack(list(map(safe.stored_image, range(len(safe))))), "check": safe.check.to_json()}


def audited(folder: Path | None, *, fails: bool = False) -> dict[str, Any]:
    """Audit noise with nine victims. One that is trained here may fail."""
    resumed_victims.light(2 if fails else 0, resumed_victims.BrokenError)
    return {"report": resumed_victims.audit(folder, single_task=None).to_json()}


def restarted() -> mtlue.RestartedEM:
    return mtlue.RestartedEM(count=2, restart_steps=4, misleading=1.0)


#: Each trains the same on any number of ranks.
ALIKE: dict[str, Callable[[], dict[str, Any]]] = {
    "EM": lambda: trained(mtlue.EM(), augment=Shift()),
    "RestartedEM": lambda: trained(restarted()),
    "REM": lambda: trained(mtlue.REM(steps=1, transform=evaluation.random_crop_and_flip), epochs=1),
}


class Shift(mtlue.datasets.JointTransform):
    """Moves each sample by its own number of pixels, maps included."""

    def __call__(self, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        steps = torch.randint(3, (len(images),)).tolist()

        def moved(values: Tensor) -> Tensor:
            return torch.stack([value.roll(step, -1) for value, step in zip(values, steps, strict=True)])

        return moved(images), {name: moved(target) if target.ndim > 1 else target for name, target in targets.items()}


def on_rank(rank: int, error: Exception | type[BaseException], *, above: int = 0) -> Callable[[Tensor], None]:
    """Fail on this rank, where a batch has more samples."""

    def fail(images: Tensor) -> None:
        if torch.distributed.get_rank() == rank and len(images) > above:
            raise error

    return fail


def outcome(call: Callable[[], dict[str, Any]]) -> Any:
    """What a call returns, or the kind and the text of what it raises."""
    try:
        return call()
    except BaseException as error:
        return type(error).__name__, str(error)


def in_turn(folder: Path) -> dict[str, Any]:
    """What happens on a rank, call by call."""
    if torch.distributed.get_world_size() > 2:
        return {name: outcome(ALIKE[name]) for name in ("EM", "RestartedEM")}
    found: dict[str, Any] = {name: outcome(call) for name, call in ALIKE.items()}
    rank = torch.distributed.get_rank()
    found["other weights"] = outcome(lambda: trained(mtlue.EM(), seed=rank, epochs=1))
    found["equal weights"] = outcome(lambda: trained(mtlue.EM(), epochs=1))
    found["audit"] = outcome(lambda: audited(folder / "audit"))
    found["failed victim"] = outcome(lambda: audited(None, fails=rank == 1))
    found["protect"] = outcome(lambda: protected(folder / "store"))
    found["attempts"] = outcome(lambda: attempted(folder / "attempts"))
    memory = on_rank(1, torch.OutOfMemoryError("out of memory"), above=2)
    found["memory"] = outcome(lambda: trained(restarted(), fails=memory, after=12))
    found["no memory"] = outcome(lambda: trained(mtlue.EM(), fails=on_rank(1, torch.OutOfMemoryError("out of memory"))))
    found["error"] = outcome(lambda: trained(mtlue.EM(), fails=on_rank(1, ValueError("of its own"))))
    found["interrupt"] = outcome(lambda: trained(mtlue.EM(), fails=on_rank(0, KeyboardInterrupt)))
    found["seeds"] = outcome(lambda: trained(mtlue.EM(), epochs=1 + rank))
    job._PATIENCE = 1.0
    found["alone"] = outcome(lambda: trained(mtlue.EM())) if rank == 0 else None
    return found


def killed_once(checkpoint: str) -> dict[str, Any]:
    """Train with a checkpoint at each step. The first attempt of ``torchrun`` ends one rank amid the second epoch."""
    kept_at._EVERY = 0.0
    fails = None
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and torch.distributed.get_rank() == 1:

        def fails(images: Tensor) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    return trained(mtlue.EM(), fails=fails, after=20, augment=Shift(), checkpoint=checkpoint)


def under(launcher: str) -> None:
    """Let a library make the process group that ``torchrun`` describes."""
    if launcher == "accelerate":
        import accelerate

        accelerate.Accelerator(cpu=True)
    elif launcher == "fabric":
        import lightning_fabric

        lightning_fabric.Fabric(accelerator="cpu", devices=2, strategy="ddp").launch()
    else:
        torch.distributed.init_process_group("gloo")


def torchrun(folder: Path, launcher: str) -> tuple[list[dict[str, Any]], str]:
    """Run this file under ``torchrun``, with restarts. Returns what each rank found, and what was said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    # Otherwise a restarted rank may find the address that another one had before it was killed, and wait there.
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    done = subprocess.run(
        [*command, __file__, str(folder), launcher],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)], done.stderr


def on_gpu() -> dict[str, Any]:
    """What a training on a GPU gives, on this rank or without any."""
    losses = {"EM": mtlue.EM(), "RestartedEM": restarted()}
    return {name: trained(loss, device="cuda", precision=torch.float32) for name, loss in losses.items()}


def launched(folder: Path, world: int, backend: str = "gloo", calls: str = "in turn") -> list[dict[str, Any]]:
    """Run this file on so many ranks, and return what each found."""
    command = [sys.executable, __file__, str(folder), backend, calls, str(world)]
    processes = [subprocess.Popen([*command, str(rank)]) for rank in range(world)]
    assert [process.wait(timeout=500) for process in processes] == [0] * world
    return [torch.load(folder / f"{world}.{rank}.pt", weights_only=True) for rank in range(world)]


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if len(sys.argv) == 3:  # under torchrun
        logging.basicConfig(level=logging.INFO)
        under(sys.argv[2])
        result = killed_once(str(place / "run.pt")) if sys.argv[2] == "torch" else trained(mtlue.EM(), epochs=1)
        torch.save(result, place / f"{torch.distributed.get_rank()}.pt")
    else:
        size, number = int(sys.argv[4]), int(sys.argv[5])
        where = f"file://{place}/group{size}"
        torch.distributed.init_process_group(sys.argv[2], init_method=where, rank=number, world_size=size)
        torch.save(in_turn(place) if sys.argv[3] == "in turn" else on_gpu(), place / f"{size}.{number}.pt")
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()
