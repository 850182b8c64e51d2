"""Training on a stream, and in epochs of a given number of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count, islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from torchvision.transforms.functional import to_pil_image

import mtlue
from killed_run import Untargeted, loss_of, same_state
from mtlue._data import streams
from mtlue._fit import checkpoint, recipe_for
from mtlue._runtime import Compute, Stream
from optional import needs

COMPUTE = Compute(torch.device("cpu"))


class Streamed(IterableDataset[Any]):
    """A stream without a length that can be read again from its start."""

    def __init__(self, samples: Iterable[Any]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Any]:
        return iter(self.samples)


class Failing(Streamed):
    """A stream that breaks after its samples."""

    def __iter__(self) -> Iterator[Any]:
        yield from self.samples
        raise OSError("the disk is gone")


class Huge(Streamed):
    """A stream of which a sample does not fit into memory."""

    def __iter__(self) -> Iterator[Any]:
        yield from self.samples
        raise MemoryError


class Once(Streamed):
    """A stream that cannot start anew."""

    def __init__(self, samples: Iterable[Any]) -> None:
        super().__init__(iter(samples))


class Watching(Untargeted):
    """Notes which samples come, by the first pixel of each clean image."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, surrogate: Any, images: Tensor, targets: Any, clean: Tensor) -> Tensor:
        self.seen += (255 * clean[:, 0, 0, 0]).round().int().tolist()
        return super().__call__(surrogate, images, targets)


def numbered(length: int) -> list[Any]:
    """Images of which each has its number in every pixel."""
    return [(torch.full((1, 10, 9), index, dtype=torch.uint8), (index % 2, index // 2 % 2)) for index in range(length)]


def noisy(images: Tensor) -> Tensor:
    return images + 0.01 * torch.rand_like(images)


def train(script: Any, dataset: Any, loss: Any, **changes: Any) -> tuple[Any, nn.Module, mtlue.History]:
    _, net, generator = script.parts()
    settings: dict[str, Any] = {
        "batch_size": 4,
        "epochs": 3,
        "surrogate_steps": 3,
        "stop_accuracy": 1.1,
        "precision": torch.float32,
    }
    settings = {"augment": noisy, "progress": False, **settings, **changes}
    history = mtlue.fit(generator, dataset, net, loss=loss, **settings)
    return generator, net, history


def test_rows_that_hugging_face_streams(script: Any) -> None:
    # By the name of a part of it: there is a folder datasets among the tests.
    library = needs("datasets.arrow_dataset", extra="huggingface")
    samples = script.parts()[0]
    images, labels = zip(*samples, strict=True)
    columns = {"image": [to_pil_image(image) for image in images], "left": [label[0] for label in labels]}
    rows = library.Dataset.from_dict({**columns, "right": [label[1] for label in labels]}).to_iterable_dataset()

    class Pairs(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            for row in rows:
                yield row["image"], (row["left"], row["right"])

    found = train(script, Pairs(), Untargeted(), steps_per_epoch=7)[0]
    assert same_state(found, train(script, Streamed(samples), Untargeted(), steps_per_epoch=7)[0])


@pytest.fixture
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four samples of a stream are inspected, not hundreds."""
    monkeypatch.setattr(streams, "FIRST_SAMPLES", 4)


def passes(samples: list[Any]) -> Iterator[Any]:
    """The samples in the orders of training, pass after pass."""
    for number in count():
        order = torch.randperm(len(samples), generator=COMPUTE.generator(Stream.GENERATOR, number))
        yield from (samples[index] for index in order.tolist())


@pytest.mark.parametrize("steps", [2, 5, 7])
def test_a_stream_in_the_order_of_a_set_trains_as_the_set_does(script: Any, steps: int) -> None:
    samples = script.parts()[0]
    stream = Streamed(list(islice(passes(samples), 100)))
    found, _, history = train(script, stream, Untargeted(), steps_per_epoch=steps)
    wanted, _, wanted_history = train(script, samples, Untargeted(), steps_per_epoch=steps)
    assert same_state(found, wanted)
    assert [epoch.loss for epoch in history] == [epoch.loss for epoch in wanted_history]
    # Five batches of four are the whole set.
    assert same_state(train(script, samples, Untargeted())[0], wanted) == (steps == 5)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_goes_on_across_epochs_and_starts_anew_at_its_end(script: Any, workers: int) -> None:
    for wrapped in (Streamed(numbered(10)), DataLoader(Streamed(numbered(10)), batch_size=None))[: 2 - bool(workers)]:
        loss = Watching()
        train(script, wrapped, loss, steps_per_epoch=2, num_workers=workers, augment=None)
        assert loss.seen[-24:] == [*range(10), *range(10), *range(4)]


@pytest.fixture
def perturbed(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The samples of each batch that the generator perturbs."""
    seen: list[list[int]] = []
    perturb = mtlue.UEGenerator.perturb

    def watched(self: Any, images: Tensor, *rest: Any, **more: Any) -> Tensor:
        seen.append((255 * images[:, 0, 0, 0]).round().int().tolist())
        return perturb(self, images, *rest, **more)

    monkeypatch.setattr(mtlue.UEGenerator, "perturb", watched)
    return seen


def test_the_surrogate_takes_the_samples_that_follow(script: Any, perturbed: list[list[int]]) -> None:
    _, _, history = train(script, Streamed(numbered(40)), mtlue.EM(), steps_per_epoch=2, epochs=2)
    # Two batches of the generator, three of its surrogate; then its accuracy on the first samples, the whole stream.
    for epoch in range(2):
        taken, measured = perturbed[15 * epoch : 15 * epoch + 5], perturbed[15 * epoch + 5 : 15 * epoch + 15]
        assert list(chain(*taken)) == list(range(20 * epoch, 20 * epoch + 20))
        assert sorted(chain(*measured)) == list(range(40))
    assert history[-1].surrogate_accuracy is not None


class Greedy(mtlue.EM):
    """Has memory for two images."""

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        if len(images) > 2:
            raise RuntimeError("out of memory")
        return super().__call__(surrogate, images, targets)


def test_a_lack_of_memory_changes_no_place(script: Any, perturbed: list[list[int]], recwarn: pytest.WarningsRecorder) -> None:
    train(script, Streamed(numbered(60)), Greedy(), steps_per_epoch=2, epochs=2)
    assert any("out of memory with batches of 4 samples" in str(each.message) for each in recwarn)
    # Twenty samples are an epoch and a turn; with batches of two the turn takes six of twelve, its last batch whole.
    generator_saw = [*perturbed[1:5], *perturbed[5 + 4 + 30 : 5 + 4 + 30 + 4]]
    assert list(chain(*generator_saw)) == [*range(8), *range(20, 28)]


@pytest.mark.parametrize(("kind", "every"), [("tap", 600.0), ("em", 600.0), ("restarted", 600.0), ("em", 0.0)])
def test_an_interrupted_run_finds_its_place_in_the_stream(
    script: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, kind: str, every: float
) -> None:
    monkeypatch.setattr(checkpoint, "_EVERY", every)

    def stop(figures: Any) -> None:
        if figures["step"] == 8:
            raise KeyboardInterrupt

    stream = Streamed(script.parts()[0])
    settings: dict[str, Any] = {"steps_per_epoch": 3, "checkpoint": tmp_path / "run.pt"}
    with pytest.raises(KeyboardInterrupt):
        train(script, stream, loss_of(kind), **{**settings, "progress": stop})
    found, net, history = train(script, stream, loss_of(kind), **settings)
    wanted, wanted_net, whole = train(script, stream, loss_of(kind), steps_per_epoch=3)
    assert same_state(found, wanted)
    assert same_state(net, wanted_net)
    assert [epoch.loss for epoch in history] == [epoch.loss for epoch in whole]
    for changed in ({"steps_per_epoch": 4}, {"batch_size": 3}):
        with pytest.raises(ValueError, match=next(iter(changed))):
            train(script, stream, loss_of(kind), **{**settings, **changed})


def changed(index: int, sample: Any) -> list[Any]:
    return [*numbered(index), sample]


GOOD = torch.zeros(1, 10, 9)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (Streamed(changed(6, GOOD)), "dataset: sample 6: expected a pair"),
        (Streamed(changed(6, (GOOD.numpy(), (0, 0)))), "dataset: sample 6: .* got ndarray"),
        (Streamed(changed(6, (GOOD - 2, (0, 0)))), "dataset: sample 6: image values lie in .* a normalised image"),
        (Streamed(changed(6, (GOOD, (0, 2)))), "dataset: sample 6: task 'task1': label 2 is out of range"),
        (Streamed(changed(6, (GOOD.repeat(3, 1, 1), (0, 0)))), "dataset: sample 6: .* but sample 0 has .* one mode"),
        (Streamed(changed(6, (GOOD[:, 1:], (0, 0)))), "dataset: sample 6: .* but sample 0 has .* resize them"),
        (Failing(numbered(6)), "dataset: sample 6 cannot be read: OSError: the disk is gone"),
        (Once(numbered(6)), "dataset: expected samples from the stream, got none; give one that starts anew"),
    ],
)
@pytest.mark.usefixtures("short_look")
def test_a_sample_that_cannot_be_used_is_named_when_it_comes(script: Any, stream: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        train(script, stream, Untargeted(), steps_per_epoch=3)


@pytest.mark.usefixtures("short_look")
def test_a_lack_of_memory_is_no_fault_of_a_sample(script: Any) -> None:
    with pytest.raises(MemoryError):
        train(script, Huge(numbered(6)), Untargeted(), steps_per_epoch=3)


@pytest.mark.usefixtures("short_look")
def test_images_of_several_sizes_are_brought_to_one(script: Any) -> None:
    samples = [(image[:, : 10 - index % 3], label) for index, (image, label) in enumerate(script.parts()[0])]
    assert len(train(script, Streamed(samples), Untargeted(), steps_per_epoch=2)[2]) == 3


def test_the_first_samples_are_inspected_before_the_training(script: Any, caplog: pytest.LogCaptureFixture) -> None:
    samples = script.parts()[0]
    samples[3], samples[7] = (samples[3][0], (5, 0)), (GOOD + 3, (0, 0))
    with caplog.at_level("INFO"), pytest.raises(ValueError, match="2 problems") as caught:
        train(script, Streamed(samples), Untargeted(), steps_per_epoch=3)
    assert "sample 3" in str(caught.value)
    assert "sample 7" in str(caught.value)
    assert "a stream; its first 20 samples are inspected now" in caplog.text


@pytest.mark.parametrize(
    ("dataset", "steps", "kind", "message"),
    [
        (Streamed(numbered(4)), None, TypeError, "lacks a length .* read it into a list, or give steps_per_epoch="),
        (Streamed(numbered(4)), 0, ValueError, "steps_per_epoch: expected"),
        (numbered(4), 1.5, TypeError, "steps_per_epoch: expected"),
        (Streamed([]), 2, ValueError, "dataset: expected samples from the stream, got none"),
        (iter(numbered(4)), 2, TypeError, "dataset: expected a map-style data set .* read it into a list"),
        (DataLoader(Streamed(numbered(4)), batch_size=2), 2, TypeError, r"DataLoader.*give its .dataset"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_read_in_epochs_is_refused(script: Any, dataset: Any, steps: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        train(script, dataset, Untargeted(), steps_per_epoch=steps)


def test_a_recipe_counts_the_images_of_steps() -> None:
    recipe = recipe_for(mtlue.RestartedEM())
    assert recipe.plan(Streamed([]), COMPUTE, steps_per_epoch=100).epochs == 10
    assert recipe.plan(numbered(4), COMPUTE, steps_per_epoch=100, batch_size=32).epochs == 20
    assert recipe_for(mtlue.TAP()).plan(Streamed([]), COMPUTE, steps_per_epoch=100).epochs == 60


@pytest.mark.usefixtures("short_look")
def test_a_batch_may_have_more_samples_than_were_inspected(script: Any) -> None:
    loss = Watching()
    train(script, Streamed(numbered(20)), loss, steps_per_epoch=1, batch_size=16, epochs=1, augment=None)
    assert loss.seen[-16:] == list(range(16))
