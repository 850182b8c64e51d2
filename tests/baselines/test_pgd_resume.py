"""Searches on pixels that are interrupted and taken up again end as unbroken ones."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue.baselines._pgd import pgd
from mtlue.baselines._pixel_store import LAST_BATCH, PERTURBATIONS, PixelStore
from processor import computes_in_bfloat16

# 20 samples in batches of 6: four a round, each of three steps. EM has three rounds, a frozen loss the steps of two.
STEPS, BATCHES = 3, 4


class Untargeted(mtlue.BaseUELoss):
    """Frozen like TAP, and content with an untrained surrogate."""

    trains_surrogate = False

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return surrogate.adversarial_loss(images, targets)

    def __repr__(self) -> str:
        return "Untargeted()"


def make_dataset() -> Any:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 1, 5, 4), generator=random, dtype=torch.uint8)
    labels = torch.randint(2, (20, 2), generator=random)
    return [(image, tuple(label.tolist())) for image, label in zip(images, labels, strict=True)]


def make_surrogate(seed: int = 1) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(20), nn.Dropout(0.2), nn.Linear(20, 2))


def noisy(images: Tensor) -> Tensor:
    return images + 0.1 * torch.rand_like(images)


def search(kind: str, path: Path | None, progress: Any = False, net: nn.Module | None = None, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "tasks": {"a": 2, "b": 2},
        "surrogate": make_surrogate() if net is None else net,
        "loss": mtlue.EM() if kind == "em" else Untargeted(),
        "rounds": 3 if kind == "em" else 2,
        "steps": STEPS,
        "step_size": 1.3 / 255,
        "surrogate_steps": 4,
        "stop_accuracy": 1.1,
        "batch_size": 6,
        "precision": torch.float32,
        "augment": noisy,
        **changes,
    }
    return pgd(make_dataset(), path=path, progress=progress, **settings)


def interrupt_at(step: int) -> Any:
    def interrupt(figures: Any) -> None:
        if figures["step"] == step:
            raise KeyboardInterrupt

    return interrupt


def same_files(left: Path, right: Path) -> bool:
    names = [sorted(file.name for file in folder.iterdir()) for folder in (left, right)]
    assert names == [["images.bin", "manifest.json"]] * 2
    return all((left / name).read_bytes() == (right / name).read_bytes() for name in names[0])


def same_state(left: nn.Module, right: nn.Module) -> bool:
    other = right.state_dict()
    return all(torch.equal(value, other[name]) for name, value in left.state_dict().items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of unbroken calls, and their surrogates."""
    folder, nets = tmp_path_factory.mktemp("whole"), {}
    for kind in ("frozen", "em"):
        nets[kind] = make_surrogate()
        search(kind, folder / kind, net=nets[kind])
    return folder, nets


# In the first batch, amid one, at the last step of one, at the first step of the next, in the last; with EM in each round.
@pytest.mark.parametrize(
    ("kind", "step"),
    [("frozen", step) for step in (1, 9, 12, 13, 24)] + [("em", step) for step in (1, 5, 6, 7, 12, 13, 17, 24, 25, 36)],
)
def test_an_interrupted_search_goes_on(whole: Any, tmp_path: Path, kind: str, step: int) -> None:
    folder, nets = whole
    with pytest.raises(KeyboardInterrupt):
        search(kind, tmp_path / "safe", progress=interrupt_at(step))
    assert not (tmp_path / "safe").exists()
    steps: list[int] = []
    net = make_surrogate()
    safe = search(kind, tmp_path / "safe", progress=lambda figures: steps.append(figures["step"]), net=net)
    # Batches that are done are not searched again: it goes on with the first step of the broken one.
    in_batch = STEPS if kind == "em" else 2 * STEPS
    assert steps == list(range((step - 1) // in_batch * in_batch + 1, (36 if kind == "em" else 24) + 1))
    assert same_files(tmp_path / "safe", folder / kind)
    assert same_state(net, nets[kind])
    assert same_state(net, make_surrogate()) == (kind == "frozen")
    memory = search(kind, None)
    assert all(torch.equal(safe[index][0], memory[index][0]) for index in range(20))
    assert [file.name for file in tmp_path.iterdir()] == ["safe"]


def test_a_call_may_be_interrupted_again_and_again(whole: Any, tmp_path: Path) -> None:
    net = make_surrogate()
    for step in (2, 4, 8, 14, 27, 35):
        with pytest.raises(KeyboardInterrupt):
            # The same surrogate, which the broken calls have trained.
            search("em", tmp_path / "safe", progress=interrupt_at(step), net=net)
    search("em", tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole[0] / "em")
    assert same_state(net, whole[1]["em"])


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_it_may_be_interrupted_while_the_surrogate_is_trained(whole: Any, tmp_path: Path, turn: int) -> None:
    net, steps = make_surrogate(), []

    def interrupt(module: nn.Module, inputs: Any) -> None:
        if module.training:
            steps.append(1)
            if len(steps) == 4 * turn:
                raise KeyboardInterrupt

    hook = net.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", net=net)
    hook.remove()
    # The same surrogate, which the broken turn has changed.
    search("em", tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole[0] / "em")
    assert same_state(net, whole[1]["em"])


def test_a_batch_that_was_half_written_is_written_again(whole: Any, tmp_path: Path) -> None:
    """The note of a batch comes first: whatever a kill leaves of that batch in the large file is replaced."""
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", progress=interrupt_at(20))
    # Step 20 lies in the third batch of the second round; the second, samples 6 to 11, was written last.
    file = tmp_path / "safe.partial" / PERTURBATIONS
    content = bytearray(file.read_bytes())
    assert len(content) == 2 * 20 * 20
    content[2 * 20 * 6 : 2 * 20 * 9] = bytes(2 * 20 * 3)
    file.write_bytes(content)
    search("em", tmp_path / "safe")
    assert same_files(tmp_path / "safe", whole[0] / "em")


@pytest.mark.parametrize("kind", ["frozen", "em"])
@pytest.mark.parametrize("where", ["before the clean-up", "amid the clean-up", "after the clean-up"])
def test_a_call_that_stops_at_its_very_end_goes_on(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, where: str
) -> None:
    unlink, replace = Path.unlink, os.replace
    left = {"before the clean-up": 0, "amid the clean-up": 2, "after the clean-up": 100}[where]

    def stop_amid(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if path.exists() and (tmp_path / "safe.partial" / "images.bin").exists():
            if not left:
                raise KeyboardInterrupt
            left -= 1
        unlink(path, missing_ok=missing_ok)

    def stop_after(source: Any, target: Any) -> None:
        if Path(target) == tmp_path / "safe":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stop_amid)
        patch.setattr(os, "replace", stop_after)
        with pytest.raises(KeyboardInterrupt):
            search(kind, tmp_path / "safe")
    assert not (tmp_path / "safe").exists()
    net = make_surrogate()
    search(kind, tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole[0] / kind)
    assert same_state(net, whole[1][kind])


def test_a_search_that_ended_early_stays_ended(tmp_path: Path) -> None:
    early = {"stop_accuracy": 0.01}
    memory = search("em", None, **early)
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", progress=interrupt_at(12), **early)
    steps: list[Any] = []
    safe = search("em", tmp_path / "safe", progress=steps.append, **early)
    assert [(figures["step"], figures["round"]) for figures in steps] == [(10, 1), (11, 1), (12, 1)]
    assert all(torch.equal(safe[index][0], memory[index][0]) for index in range(20))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epsilon", 4 / 255),
        ("steps", 2),
        ("step_size", 1 / 255),
        ("rounds", 4),
        ("surrogate_steps", 5),
        ("learning_rate", 0.1),
        ("stop_accuracy", 1.2),
        ("augment", None),
        ("batch_size", 5),
        pytest.param("precision", torch.bfloat16, marks=computes_in_bfloat16),
        ("seed", 3),
        ("tasks", {"a": 2, "other": 2}),
        ("loss", mtlue.EM()),
        ("surrogate", make_surrogate(seed=2)),
    ],
)
def test_a_call_with_other_arguments_is_not_taken_up(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        search("frozen", tmp_path / "safe", progress=interrupt_at(9))
    before = {file.name: file.read_bytes() for file in (tmp_path / "safe.partial").iterdir()}
    with pytest.raises(ValueError, match=rf"path: .*safe\.partial was left by a call with another .*\b{name}\b"):
        search("frozen", tmp_path / "safe", **{name: value})
    assert {file.name: file.read_bytes() for file in (tmp_path / "safe.partial").iterdir()} == before


def test_a_call_that_is_refused_leaves_no_folder(canvases: Any, net: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"tasks": {"shoe": 2, "front": 2}, "surrogate": net, "loss": mtlue.TAP(), "steps": 1}
    settings |= {"batch_size": 16, "progress": False, "path": tmp_path / "store"}
    with pytest.raises(ValueError, match="surrogate: no gradient reaches the images"):
        pgd(canvases, augment=torch.Tensor.detach, **settings)
    assert list(tmp_path.iterdir()) == []
    assert len(pgd(canvases, **settings)) == 48


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_sep_with_other_checkpoints_is_not_taken_up(tmp_path: Path) -> None:
    def states(seed: int) -> Any:
        return mtlue.SEP([make_surrogate(1).state_dict(), make_surrogate(seed)])

    with pytest.raises(KeyboardInterrupt):
        search("frozen", tmp_path / "safe", progress=interrupt_at(9), loss=states(2))
    with pytest.raises(ValueError, match=r"was left by a call with another checkpoints;"):
        search("frozen", tmp_path / "safe", loss=states(3))
    assert len(search("frozen", tmp_path / "safe", loss=states(2))) == 20


def test_another_data_set_is_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        search("frozen", tmp_path / "safe", progress=interrupt_at(9))
    images = [(image.flip(-1), target) for image, target in make_dataset()]
    monkeypatch.setattr(f"{__name__}.make_dataset", lambda: images)
    with pytest.raises(ValueError, match=r"was left by a call with another images;"):
        search("frozen", tmp_path / "safe")


def test_the_store_resolves_the_smallest_step(tmp_path: Path) -> None:
    epsilon, shape = 8 / 255, (1, 2, 2)
    delta = torch.tensor([-epsilon, epsilon, 0.0, 0.064 / 255, 1.0, -1.0, 1e-9, 5 / 255]).reshape(2, *shape)
    expected = torch.tensor([-epsilon, epsilon, 0.0, 0.064 / 255, epsilon, -epsilon, 0.0, 5 / 255]).reshape(2, *shape)
    for folder in (None, tmp_path):
        store = PixelStore(5, shape, epsilon=epsilon, folder=folder)
        store.write(delta, round=0, start=3)
        # Half a unit of epsilon / 32767 away at most: 1/500 of the smallest step of the paper.
        assert (store.read([3, 4]) - expected).abs().max() <= epsilon / 65534 + 1e-9
        assert torch.equal(store.read([4, 0, 3])[[2, 0]], store.read(range(3, 5)))
        assert not store.read([0, 1, 2]).any()
    assert (tmp_path / PERTURBATIONS).stat().st_size == 2 * 5 * 4
    # What was read and is written again does not drift.
    again = store.read([3, 4])
    store.write(again, round=1, start=3)
    assert torch.equal(store.read([3, 4]), again)


def test_a_store_is_taken_up_or_begun_anew(tmp_path: Path) -> None:
    def open_store(*, fresh: bool) -> PixelStore:
        return PixelStore(4, (1, 1, 1), epsilon=1.0, folder=tmp_path, fresh=fresh)

    open_store(fresh=True).write(torch.ones(2, 1, 1, 1), round=2, start=1)
    (tmp_path / PERTURBATIONS).write_bytes(bytes(8))
    store = open_store(fresh=False)
    assert [store.resume(round) for round in (1, 2, 3)] == [0, 3, 0]
    assert store.read(range(4)).flatten().tolist() == [0.0, 1.0, 1.0, 0.0]
    store = open_store(fresh=True)
    assert not (tmp_path / LAST_BATCH).exists()
    assert store.resume(2) == 0
    assert not store.read(range(4)).any()


def test_the_file_has_its_blocks_before_it_is_written_to(tmp_path: Path) -> None:
    """A map of a file without them ends the process where the disk is full."""
    PixelStore(100, (3, 32, 32), epsilon=1.0, folder=tmp_path)
    status = (tmp_path / PERTURBATIONS).stat()
    assert status.st_size == 100 * 3 * 32 * 32 * 2
    assert 512 * status.st_blocks >= status.st_size
    assert status.st_mode & 0o777 == 0o600


@pytest.mark.parametrize("how", ["no such call", "no such file system"])
def test_zeros_are_written_where_blocks_cannot_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if how == "no such call":
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr("mtlue.baselines._pixel_store._CHUNK", 1000)
    store = PixelStore(10, (3, 8, 8), epsilon=1.0, folder=tmp_path)
    assert (tmp_path / PERTURBATIONS).read_bytes() == bytes(10 * 3 * 8 * 8 * 2)
    store.write(torch.ones(2, 3, 8, 8), round=0, start=0)
    again = PixelStore(10, (3, 8, 8), epsilon=1.0, folder=tmp_path, fresh=False)
    assert again.read(range(10)).flatten(1).mean(dim=1).tolist() == [1.0] * 2 + [0.0] * 8


def test_a_disk_without_room_for_the_perturbations_is_told_of(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        words = r"path: no room is left for .*safe\.partial; make some and repeat the call, which goes on where it stopped"
        with pytest.raises(OSError, match=words) as caught:
            search("em", tmp_path / "safe")
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "safe.partial" / PERTURBATIONS).exists()
    search("em", tmp_path / "safe")
    assert same_files(tmp_path / "safe", whole[0] / "em")


@pytest.mark.parametrize(
    ("kind", "size"), [("frozen", 100), ("frozen", 350), ("em", 100), ("em", 350), ("em", 500), ("em", 1500), ("em", 3000)]
)
def test_a_disk_that_becomes_full_costs_no_work(whole: Any, tmp_path: Path, kind: str, size: int) -> None:
    """Settings, images, perturbations and checkpoints are of these sizes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(OSError, match=r"path: no room is left for .*safe\.partial; make some") as caught:
            search(kind, tmp_path / "safe")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert not list((tmp_path / "safe.partial").glob("*.draft"))
    net = make_surrogate()
    search(kind, tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole[0] / kind)
    assert same_state(net, whole[1][kind])


@pytest.mark.parametrize("size", [0, 300, 801])
def test_perturbations_that_were_cut_are_not_taken_up(tmp_path: Path, size: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", progress=interrupt_at(20))
    os.truncate(tmp_path / "safe.partial" / PERTURBATIONS, size)
    words = rf"path: .*safe\.partial is damaged and cannot be taken up \({PERTURBATIONS} has {size} bytes, expected 800\)"
    with pytest.raises(ValueError, match=words):
        search("em", tmp_path / "safe")


def test_a_surrogate_without_its_perturbations_is_not_taken_up(whole: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", progress=interrupt_at(20))
    (tmp_path / "safe.partial" / PERTURBATIONS).unlink()
    net = make_surrogate()
    search("em", tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole[0] / "em")
    assert same_state(net, whole[1]["em"])


@pytest.mark.parametrize("kind", ["frozen", "em"])
@pytest.mark.parametrize("at", range(4))
def test_a_search_that_stops_amid_the_clean_up_finds_its_store(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, at: int
) -> None:
    unlink, left = os.unlink, at

    def stop(path: Any, **named: Any) -> None:
        nonlocal left
        if (tmp_path / "safe").exists():
            if not left:
                raise KeyboardInterrupt
            left -= 1
        unlink(path, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            search(kind, tmp_path / "safe")
    (tmp_path / "safe.partial.lock").unlink(missing_ok=True)
    if not (tmp_path / "safe.partial" / "manifest.json").exists():
        assert (kind, at) == ("frozen", 3)
        return
    net = make_surrogate()
    safe = search(kind, tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole[0] / kind)
    assert same_state(net, whole[1][kind])
    assert len(safe) == 20
    assert [file.name for file in tmp_path.iterdir()] == ["safe"]
