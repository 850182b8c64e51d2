"""``mtlue protect`` that was interrupted goes on when it is repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

import mtlue
from mtlue._cli import losses
from mtlue._cli.publication import Publication
from mtlue._formats import PNG
from mtlue.datasets import ImageTable
from protect_calls import ReachedError, noting
from snapshots import equal

EM = ("--labels", "photos.csv", "--loss", "em", "--epochs", 1, "--device", "cpu")
#: With a key no training is needed.
QUICK = ("--labels", "photos.csv", "--key", "small.pt", "--device", "cpu")
Run = Callable[..., Any]


class Stopped:
    """Stops a command once it has written its store, as Ctrl-C would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = getattr(Publication, name)

        def stop(*arguments: Any) -> Any:
            monkeypatch.setattr(Publication, name, original)
            raise KeyboardInterrupt

        monkeypatch.setattr(Publication, name, stop)


@pytest.mark.parametrize(("moment", "words"), [("publish", QUICK), ("finish_store", QUICK), ("publish", EM)])
def test_a_command_that_is_repeated_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch, moment: str, words: Any) -> None:
    words = words if words is QUICK else (*words, "--key", "key.pt")
    Stopped(monkeypatch, moment)
    done = run("protect", "photos", *words, "--out", "safe")
    assert done.status == 130
    assert "repeat the command to go on where it stopped" in done.err
    assert not Path("safe").exists()
    store = Path("safe.partial/store/images-000000.bin").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(mtlue, "protect", lambda *_, **__: 1 / 0)
        done = run("protect", "photos", *words, "--out", "safe")
    assert done.status == 0, done.err
    assert b"".join(pixels(path) for path in sorted(Path("safe/images").iterdir())) == store
    assert not Path("safe.partial").exists()
    # What the check found was noted before the images were written.
    assert ("a small network" in done.out) == (moment == "publish")


def pixels(path: Path) -> bytes:
    return bytes(pil_to_tensor(Image.open(path)).flatten().tolist())


def test_a_key_that_a_kill_took_along_is_made_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mtlue.UEGenerator, "save", stop)
        assert run("protect", "photos", *EM, "--out", "safe", "--key", "key.pt").status == 130
    done = run("protect", "photos", *EM, "--out", "safe", "--key", "key.pt")
    assert done.status == 0, done.err
    clean = ImageTable("photos", table=Path("photos.csv").absolute(), tasks=["pet", "lit"])
    again = mtlue.protect(clean, generator=mtlue.UEGenerator.load("key.pt"), progress=False, device="cpu")
    assert all(torch.equal(image, after) for (image, _), (after, _) in zip(ImageTable("safe"), again, strict=True))


def test_another_command_cannot_take_up_the_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Stopped(monkeypatch, "publish")
    run("protect", "photos", *QUICK, "--out", "safe")
    done = run("protect", "photos", *QUICK, "--out", "safe", "--epsilon", 4, "--image-size", 8)
    assert done.status == 2
    assert "safe.partial was left by a command with another --image-size, --epsilon; repeat that, or delete it" in done.err
    for damaged in ("[", "[" * 100_000):
        Path("safe.partial/command.json").write_text(damaged)
        assert "is damaged and cannot be resumed" in run("protect", "photos", *QUICK, "--out", "safe").err


def test_the_training_of_sep_s_surrogate_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    epochs: list[int] = []
    keep = losses._States.__call__

    def broken_off(self: Any, epoch: int, model: Any) -> None:
        epochs.append(epoch)
        if epochs == [0, 1]:
            raise ReachedError
        keep(self, epoch, model)

    def protect(out: str) -> None:
        options = ("--labels", "photos.csv", "--loss", "sep", "--epochs", 3, "--device", "cpu", "--image-size", 8)
        with pytest.raises(ReachedError):
            run("protect", "photos", *options, "--out", out)

    monkeypatch.setattr(mtlue, "protect", noting(given))
    protect("unbroken")
    monkeypatch.setattr(losses._States, "__call__", broken_off)
    protect("safe")
    protect("safe")
    # The epoch that was broken off is repeated, and none that was done.
    assert epochs == [0, 1, 1, 2]
    protect("safe")
    assert epochs == [0, 1, 1, 2]
    unbroken, *others = given
    assert len(others) == 2
    assert len(unbroken["loss"].checkpoints) == 3
    for other in others:
        assert equal(other["loss"].checkpoints, unbroken["loss"].checkpoints)
        # The surrogate is the last of them.
        assert equal(other["surrogate"].state_dict(), unbroken["loss"].checkpoints[-1])


def test_an_export_that_was_interrupted_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, written = PNG.encode, []

    def stop(self: PNG, image: torch.Tensor) -> bytes:
        written.append(image)
        if len(written) > 5:
            raise KeyboardInterrupt
        return encode(self, image)

    with monkeypatch.context() as patched:
        patched.setattr(PNG, "encode", stop)
        assert run("protect", "photos", *QUICK, "--out", "safe").status == 130
    assert not Path("safe").exists()
    done = run("protect", "photos", *QUICK, "--out", "safe")
    assert done.status == 0, done.err
    assert mtlue.verify("safe").length == 12
    assert not Path("safe.partial").exists()
