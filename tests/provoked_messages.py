"""Mistakes and weak outcomes, each of which provokes a message."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

import mtlue
from mtlue import baselines, datasets, evaluation
from mtlue._formats import work_folder
from mtlue._runtime import Job
from people import Net, Samples, random_images
from rank_copies import environment

IMAGES = random_images(8).float() / 255
GOOD: Any = [(image, {"age": index, "gender": index % 2}) for index, image in enumerate(IMAGES)]
TWO = {"age": 9, "gender": 2}


def changed(index: int = 5, *, image: Any = None, **labels: Any) -> Any:
    """The good set with one sample that is not."""
    broken = list(GOOD)
    broken[index] = (broken[index][0] if image is None else image, {**broken[index][1], **labels})
    return broken


class Restless(Samples):
    """A set with random augmentation."""

    def __getitem__(self, index: Any) -> Any:
        return torch.rand(3, 16, 16), super().__getitem__(index)[1]


class Relabelled(Samples):
    """A set whose labels are chosen anew when they are read."""

    reads = 0

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        return super().__getitem__(index)[0], {"age": index, "gender": self.reads % 2}


class Unreadable(Samples):
    """A set with a file that is not there."""

    def __getitem__(self, index: Any) -> Any:
        if index == 5:
            raise OSError("no such file: 5.png")
        return super().__getitem__(index)


class Failing(Samples):
    """A set whose disk is gone once all samples were read."""

    reads = 0

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        if self.reads > 16:
            raise OSError("no disk")
        return super().__getitem__(index)


class Answers(nn.Module):
    """A surrogate that answers what it is told to."""

    def __init__(self, form: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.form, self.linear = form, nn.Linear(768, 11)

    def forward(self, images: torch.Tensor) -> Any:
        return self.form(self.linear(images.flatten(1)))


def protect(dataset: Any = None, **arguments: Any) -> Any:
    settings: dict[str, Any] = {"tasks": TWO, "surrogate": Net(TWO), "loss": mtlue.EM(), "epochs": 1, "batch_size": 8}
    settings |= {"progress": False, **arguments}
    return mtlue.protect(GOOD if dataset is None else dataset, **settings)


def made(tasks: Any = None, channels: int = 3) -> mtlue.UEGenerator:
    return mtlue.UEGenerator(tasks or TWO, (channels, 16, 16), width=4)


def store(path: str = "store") -> Path:
    protect(path=path)
    return Path(path)


def load(path: str | Path, dataset: Any = None) -> Any:
    return mtlue.ProtectedDataset.load(path, GOOD if dataset is None else dataset)


def store_that_was_cut() -> None:
    images = store("cut") / "images-000000.bin"
    images.write_bytes(images.read_bytes()[:-1])
    load("cut")


def store_that_was_changed() -> None:
    images = store("changed") / "images-000000.bin"
    images.write_bytes(bytes([images.read_bytes()[0] ^ 1]) + images.read_bytes()[1:])
    load("changed")[0]


def manifest_that_was_changed() -> None:
    manifest = store("other") / "manifest.json"
    manifest.write_text(manifest.read_text().replace("0.03", "0.04"))
    load("other")


def as_second_of_two_ranks(call: Callable[[], object]) -> None:
    with mock.patch.dict(os.environ, environment(1, 2)), mock.patch.object(work_folder, "_PATIENCE", 0.0):
        call()


def ranks_without_a_path() -> None:
    as_second_of_two_ranks(protect)


def ranks_without_the_first() -> None:
    generator = made()
    generator.trained = True
    as_second_of_two_ranks(lambda: mtlue.protect(GOOD, generator=generator, path="ranks", progress=False))


def ranks_without_a_group() -> None:
    as_second_of_two_ranks(lambda: protect(path="ranks"))


def ranks_with_a_loss_that_learns() -> None:
    search = {"tasks": TWO, "surrogate": Net(TWO), "loss": mtlue.RestartedEM(), "path": "ranks"}
    as_second_of_two_ranks(lambda: baselines.pgd(GOOD, **search))


def path_of_two_calls() -> None:
    protect(path="two", progress=lambda figures: protect(path="two"))


def path_that_was_taken_meanwhile() -> None:
    protect(path="taken", progress=lambda figures: Path("taken").write_text("mine"))


def full_disk() -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", full)
        protect(path="full")


def path_of_another_call() -> None:
    def stop(figures: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        protect(path="half", progress=stop)
    protect(path="half", seed=1)


def checkpoint_of_another_run() -> None:
    for seed in (0, 1):
        mtlue.fit(
            made(), GOOD, Net(TWO), loss=mtlue.EM(), epochs=1, batch_size=8, checkpoint="run.pt", seed=seed, progress=False
        )


class ReadOnce(IterableDataset[Any]):
    """A stream that is at its end after one pass."""

    def __init__(self) -> None:
        self.samples = iter(GOOD)

    def __iter__(self) -> Any:
        return self.samples


def stream_that_is_read_once() -> None:
    mtlue.fit(made(), ReadOnce(), Net(TWO), loss=mtlue.EM(), steps_per_epoch=3, batch_size=8, progress=False)


def damaged_key() -> None:
    Path("key.pt").write_bytes(b"no key")
    mtlue.UEGenerator.load("key.pt")


def trained_generator() -> None:
    generator = made()
    protect(generator=generator)
    protect(generator=generator)


def noise(seed: int = 0, length: int = 4, shape: tuple[int, ...] = (3, 16, 16), **tasks: Any) -> Any:
    tasks = tasks or {"shoe": 2}
    images = torch.rand(length, *shape, generator=torch.Generator().manual_seed(seed))
    return baselines.random_noise([(image, dict.fromkeys(tasks, 0)) for image in images], tasks=tasks)


def export_twice() -> None:
    for seed in (0, 1):
        noise(seed).export("export")


def export_stopped(folder: str) -> None:
    class Stopped(datasets.PNG):
        def write(self, folder: Path, samples: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        noise().export(folder, format=Stopped())


def export_of_another_call() -> None:
    export_stopped("interrupted")
    noise(1).export("interrupted")


def unfinished_export() -> None:
    export_stopped("unfinished")
    datasets.ImageTable("unfinished.partial")


def export_of_other_tasks() -> None:
    noise().export("other-tasks")
    noise(hat=2).export("other-tasks", append=True)


def export_with_a_file_more() -> None:
    noise().export("more")
    Path("more", "extra.txt").write_text("")
    mtlue.verify("more")


def finished_before() -> None:
    for _ in range(2):
        protect(path="finished")


def names_of_another_export() -> None:
    noise().export("first", names="names.csv")
    Path("names.csv").write_text(Path("names.csv").read_text().replace(",0\n", ",5\n"))
    noise(1).export("second", names="names.csv")


def pushed_pictures() -> None:
    noise().export("pictures")
    datasets.push_to_hub("pictures", "me/pictures")


def export_of_five_channels() -> None:
    wide = [(torch.rand(5, 16, 16), label) for label in (0, 1)]
    baselines.random_noise(wide, tasks={"shoe": 2}).export("wide")


class Halved(datasets.ImageFiles):
    """A format that keeps half of each pixel."""

    suffix = "half"

    def encode(self, image: torch.Tensor) -> bytes:
        return (image // 2).numpy().tobytes()

    def decode(self, content: bytes) -> torch.Tensor:
        return 2 * torch.frombuffer(bytearray(content), dtype=torch.uint8).view(3, 16, 16)


class Hungry(mtlue.EM):
    """A loss that has memory for two samples."""

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
        if len(images) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return super().__call__(surrogate, images, targets)


class Own(mtlue.BaseUELoss):
    """A loss that makes of the surrogate's what it is told to."""

    def __init__(self, form: Callable[[torch.Tensor], Any]) -> None:
        self.form = form

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> Any:
        return self.form(surrogate.loss(images, targets))


def with_state(state: Any = None, **members: Any) -> Any:
    """A loss that has a state, by default that of a surrogate."""
    kind = type("Learner", (mtlue.EM,), {"trains_surrogate": False, **members})
    kind.state_dict = lambda _: {"state": FLAT.state_dict() if state is None else state}
    return kind()


class Forward(mtlue.BaseUELoss):
    """A loss written as one writes a module."""

    def forward(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
        return surrogate.loss(images, targets)


def train(**arguments: Any) -> Any:
    settings: dict[str, Any] = {"tasks": TWO, "model": Net(TWO), "epochs": 1, "progress": False, **arguments}
    return evaluation.train_victim(GOOD, **settings)


def detached() -> nn.Module:
    class Detached(Net):
        def forward(self, images: Any) -> Any:
            return {name: logits.detach() for name, logits in super().forward(images).items()}

    return Detached(TWO)


def spoilt() -> nn.Module:
    net = Net(TWO)
    nn.init.constant_(next(net.parameters()), torch.nan)
    return net


class Idle(evaluation.Weighting):
    """A weighting that takes no gradient."""

    def backward(self, losses: Any, module: nn.Module) -> None:
        pass


def audit(protected: Any = None, clean: Any = None, **arguments: Any) -> Any:
    settings: dict[str, Any] = {
        "model": Net(TWO),
        "single_task": [],
        "epochs": 1,
        "batch_size": 8,
        "progress": False,
        **arguments,
    }
    return evaluation.audit(protect() if protected is None else protected, clean or GOOD, GOOD[:6], **settings)


def audit_into_a_file() -> None:
    Path("notes.txt").write_text("mine")
    audit(checkpoint="notes.txt")


def audit_among_other_files() -> None:
    Path("notes").mkdir()
    Path("notes", "mine.txt").write_text("mine")
    audit(checkpoint="notes")


class Years(mtlue.Task):
    """A kind of task for which nothing is registered."""

    num_embeddings = property(lambda self: 9)  # type: ignore[assignment]  # the shortest property there is
    output_channels = property(lambda self: 9)  # type: ignore[assignment]

    def read_target(self, label: object) -> torch.Tensor:
        return torch.as_tensor(label).long()

    def read_output(self, output: torch.Tensor) -> torch.Tensor:
        return output.mean(dim=1)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).abs().mean()

    def missing(self, target: torch.Tensor) -> torch.Tensor:
        return target < 0

    def embedding_index(self, target: torch.Tensor) -> torch.Tensor:
        return target


def several_processes() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "is_initialized", lambda: True)
        patch.setattr(torch.distributed, "get_world_size", lambda: 2)
        baselines.random_noise(GOOD, tasks={"age": 8, "gender": 2})


@contextmanager
def job() -> Iterator[Job]:
    """A call of all ranks in a group of one."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{Path.cwd() / 'group'}", rank=0, world_size=1)
    try:
        yield Job(0, torch.device("cpu"))
    finally:
        torch.distributed.destroy_process_group()
        Path("group").unlink(missing_ok=True)


def ranks_that_do_not_come() -> None:
    with job(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtlue._runtime.job._PATIENCE", 0.0)
        patch.setattr("mtlue._runtime.job.world_size", lambda: 2)
        Job(0, torch.device("cpu")).open()


def a_rank_that_failed() -> None:
    with job() as call:
        call.tell(ValueError("no more"))
        call._look()


def a_rank_that_is_gone() -> None:
    with job() as call, pytest.MonkeyPatch.context() as patch:
        patch.setattr(call, "_store", SimpleNamespace(check=_gone))
        call._look()


def _gone(names: object) -> None:
    raise RuntimeError("connection closed")


def a_rank_that_does_not_go_on() -> None:
    with job(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtlue._runtime.job._REGROUPING", 0.0)
        patch.setattr("mtlue._runtime.job.world_size", lambda: 2)
        Job(0, torch.device("cpu")).regroup(failed=True)


def ranks_that_differ() -> None:
    with job() as call, pytest.MonkeyPatch.context() as patch:
        patch.setattr(call, "gathered", lambda value: [{"seed": 1}])
        call.agree({"seed": 0})


def no_matplotlib() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        mtlue.analysis.plot_history(mtlue.fit(made(), GOOD, Net(TWO), loss=mtlue.EM(), epochs=1, progress=False), "history.png")


def short_of_memory() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtlue._generator.class_embeddings.total_memory", lambda device: 2**17)
        made()


def table(content: bytes, image: bytes | None = None) -> None:
    folder = Path("table")
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_bytes(content)
    if image is not None:
        (folder / "a.png").write_bytes(image)
    assert datasets.ImageTable(folder)[0]


def with_targets(targets: Any) -> Any:
    return [(image, targets) for image in IMAGES]


FLAT = nn.Sequential(nn.Flatten(), nn.Linear(768, 11))
FROZEN = Net(TWO).requires_grad_(False)

MIXED: Any = [(image[:, : 12 + index % 3], targets) for index, (image, targets) in enumerate(GOOD)]


def broken(change: Callable[[Any], object]) -> mtlue.UEGenerator:
    """A trained generator with other weights."""
    generator = made().eval()
    generator.trained = True
    with torch.no_grad():
        for parameter in generator.decoder.refine[-1].parameters():
            parameter.mul_(100)
        change(generator)
    return generator


def knows_nothing() -> nn.Module:
    """A surrogate that is at chance whatever the seed, as an untrained one is but for luck."""
    network = Net(TWO)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return network


def use(change: Callable[[Any], object], dataset: Any = GOOD, **settings: Any) -> Any:
    return mtlue.protect(dataset, generator=broken(change), progress=False, **settings)


def spoil(module: Any) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.fill_(float("nan"))


def clear(module: Any) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.zero_()


class Rising(mtlue.BaseUELoss):
    """One that grows, whatever the generator does."""

    calls = 0

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
        Rising.calls += 1
        return surrogate.loss(images, targets) + Rising.calls


class Knowing(nn.Module):
    """Tells dark images from bright ones, as its labels do."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(30.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * (images.mean(dim=(1, 2, 3)) - 0.5)


SHADES: Any = [(torch.full((3, 16, 16), 0.2 + 0.6 * (index % 2)), {"dark": index % 2}) for index in range(80)]
MESS: Any = [(image, {"dark": index // 2 % 2}) for index, (image, _) in enumerate(SHADES)]


def learned(dataset: Any) -> Any:
    generator = mtlue.UEGenerator({"dark": 2}, (3, 16, 16), width=4)
    generator.trained = True
    return mtlue.protect(dataset, generator=generator.eval(), progress=False)


PROVOKED: list[Callable[[], Any]] = [
    lambda: protect(pair for pair in GOOD),
    stream_that_is_read_once,
    lambda: protect([]),
    lambda: protect("shapes"),
    lambda: protect(protect()),
    lambda: protect(changed(gender=2)),
    lambda: protect(changed(gender=0.5)),
    lambda: protect(changed(gender="female")),
    lambda: protect(changed(gender=torch.tensor([0, 1]))),
    lambda: protect(with_targets({"age": 1, "gender": "female"}), tasks=None),
    lambda: protect(with_targets({"gender": 1})),
    lambda: protect(with_targets((1, 1, 1))),
    lambda: protect(with_targets(torch.tensor([1]))),
    lambda: protect(with_targets({"age": 1, "gender": -1})),
    lambda: protect([(image, torch.zeros(8, 8).long()) for image in IMAGES], tasks={"parts": mtlue.Segmentation(3)}),
    lambda: protect(changed(image=(IMAGES[0] - 0.45) / 0.2)),
    lambda: protect(changed(image=IMAGES[0] * 255)),
    lambda: protect(changed(image=IMAGES[0] * float("nan"))),
    lambda: protect(Restless(GOOD)),
    lambda: protect(Relabelled(GOOD)),
    lambda: protect(changed(image=IMAGES[0].numpy())),
    lambda: protect(changed(image=IMAGES[0].permute(1, 2, 0))),
    lambda: protect(changed(image=IMAGES[0][:1])),
    lambda: protect([image for image, _ in GOOD]),
    lambda: protect(Unreadable(GOOD)),
    lambda: protect(changed(image=IMAGES[0] - 2, gender=7)),
    lambda: protect(Failing(GOOD)),
    lambda: evaluation.evaluate(Net(TWO), MIXED, tasks=TWO),
    lambda: protect(with_targets({"id": 5000}), tasks=None),
    short_of_memory,
    lambda: table(b"file,age\n../a.png,1"),
    lambda: table("file,straße\na.png,1".encode("cp1252")),
    lambda: table(b"file,age\na.png,1", b"no image"),
    lambda: protect([(image, {"age": index, "gender": index % 2 * 2 - 1}) for index, image in enumerate(IMAGES)]),
    lambda: protect([(image, torch.rand(5, 5, 5)) for image in IMAGES], tasks=None, surrogate=None),
    lambda: protect(surrogate=Answers(lambda x: {"age": x[:, :9]})),
    lambda: protect(surrogate=Answers(lambda x: (x[:, :9], x[:, :3]))),
    lambda: protect(surrogate=Answers(lambda x: x[:, :3])),
    lambda: protect(surrogate=Answers(lambda x: x @ torch.ones(5))),
    lambda: protect(surrogate=nn.Flatten(), loss=mtlue.TAP()),
    lambda: protect(surrogate=Net),
    lambda: protect(surrogate="resnet50"),
    lambda: protect(surrogate=Net(TWO).half()),
    lambda: protect(surrogate=Net(TWO).to("meta")),
    lambda: protect(surrogate=Answers(lambda x: (x[:, :9].detach(), x[:, 9:].detach()))),
    lambda: protect(surrogate=Answers(lambda x: (x[:, :9].softmax(1), x[:, 9:]))),
    lambda: protect(surrogate=None, loss=mtlue.TAP()),
    lambda: protect(surrogate=FROZEN),
    lambda: protect(surrogate=knows_nothing(), loss=mtlue.TAP()),
    lambda: mtlue.fit(made(), GOOD, mtlue.Surrogate(FLAT, {"hat": 11}), loss=mtlue.EM(), progress=False),
    lambda: protect(loss=mtlue.SEP([{"weight": torch.ones(1)}])),
    lambda: protect(epsilon=8),
    lambda: protect(epsilon=1 / 1000),
    lambda: protect(epsilon=0.5),
    lambda: mtlue.UEGenerator(TWO, (16, 16, 3)),
    lambda: mtlue.fit(made(), GOOD, Net(TWO), loss=mtlue.EM(), augment=lambda images: images.double(), progress=False),
    lambda: protect(loss=Own(lambda value: {}["shoe"])),
    lambda: protect(loss=Forward()),
    lambda: protect(loss=with_state(load_state_dict=None), surrogate=FLAT),
    lambda: protect(loss=with_state()),
    lambda: protect(loss=with_state(object(), load_state_dict=None)),
    lambda: protect(protected_tasks=["race"]),
    lambda: protect(fraction=1.5),
    lambda: protect(loss=mtlue.TAP),
    lambda: protect(generator=made({"age": 9})),
    lambda: protect(generator=made(channels=1)),
    trained_generator,
    lambda: load(store("right"), GOOD[:-1]),
    store_that_was_cut,
    store_that_was_changed,
    manifest_that_was_changed,
    lambda: load("nothing"),
    lambda: [store("twice"), protect(path="twice", seed=1)],
    path_of_another_call,
    path_of_two_calls,
    ranks_without_a_path,
    ranks_without_the_first,
    ranks_without_a_group,
    path_that_was_taken_meanwhile,
    full_disk,
    lambda: protect(device="meta"),
    checkpoint_of_another_run,
    damaged_key,
    lambda: mtlue.UEGenerator.load("no.pt"),
    lambda: made().save("nowhere/key.pt"),
    lambda: protect().export("jpegs", format="jpeg"),
    export_of_five_channels,
    lambda: protect().export("halved", format=Halved()),
    export_twice,
    export_of_another_call,
    unfinished_export,
    export_of_other_tasks,
    export_with_a_file_more,
    finished_before,
    lambda: noise(file=2).export("names"),
    lambda: mtlue.verify("."),
    lambda: noise().export("named", names="named/names.csv"),
    names_of_another_export,
    pushed_pictures,
    lambda: evaluation.build_model("resnet18", TWO, image_shape=(3, 16, 16), weights={"conv1.weight": torch.zeros(1)}),
    lambda: evaluation.build_model("resnet18", TWO, image_shape=(1, 16, 16), weights="DEFAULT"),
    lambda: audit(clean=protect()),
    lambda: audit(protect(MIXED), MIXED),
    lambda: audit(model=nn.Linear),
    audit_into_a_file,
    audit_among_other_files,
    lambda: audit(single_task=False),
    lambda: audit(GOOD, tasks=TWO),
    lambda: evaluation.audit(protect(), GOOD, GOOD, model=Net(TWO), single_task=[]),
    lambda: evaluation.audit(protect(), GOOD, GOOD[:1], model=Net(TWO), single_task=[], epochs=1, progress=False),
    lambda: evaluation.audit(protect(), GOOD, GOOD[::2], model=Net(TWO), single_task=[], epochs=1, progress=False),
    lambda: train(model=Net(TWO).requires_grad_(False)),
    lambda: train(model=detached()),
    lambda: train(model=spoilt()),
    lambda: train(weighting=Idle()),
    lambda: train(schedule=lambda done: 0.0),
    lambda: train(learning_rate=1e30, batch_size=2),
    lambda: train(defense=lambda images: images * torch.nan),
    lambda: audit(tasks={"age": Years(), "gender": 2}),
    lambda: protect(loss=Hungry()),
    lambda: use(lambda generator: None, fraction=0.01),
    lambda: protect([(image, {"age": index, "gender": 1}) for index, image in enumerate(IMAGES)]),
    lambda: use(lambda generator: generator.encoder.apply(spoil)),
    lambda: use(lambda generator: generator.decoder.apply(clear)),
    lambda: use(lambda generator: [table.copy_(table[:1].clone().expand_as(table)) for table in generator.embeddings._tables]),
    lambda: use(lambda generator: [table.mul_(1e-6) for table in generator.embeddings._tables]),
    lambda: protect(loss=Rising(), epochs=3),
    lambda: protect(SHADES[:20], surrogate=Knowing(), tasks={"dark": 2}, epochs=2),
    lambda: learned(SHADES),
    lambda: learned(MESS),
    no_matplotlib,
    several_processes,
    ranks_with_a_loss_that_learns,
    ranks_that_do_not_come,
    a_rank_that_failed,
    a_rank_that_is_gone,
    a_rank_that_does_not_go_on,
    ranks_that_differ,
]
