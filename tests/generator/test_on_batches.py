"""A trained generator on batches of other libraries and on streams: the bytes are those of `protect`."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torchvision.transforms.functional import to_pil_image

import mtlue
from mtlue._generator import generation_batch_size
from optional import needs
from people import random_images

TASKS = {"age": 3, "sex": 2}
IMAGES = random_images(10)[:, :, :12, :10]
LABELS = [{"age": index % 4 - 1, "sex": index % 2} for index in range(10)]
ROWS = [(image, labels) for image, labels in zip(IMAGES, LABELS, strict=True)]
COLUMNS = {name: [labels[name] for labels in LABELS] for name in TASKS}


@pytest.fixture
def generator(make_generator: Callable[..., Any]) -> Any:
    return make_generator(TASKS, (3, 12, 10), trained=True, gain=50.0)


@pytest.fixture
def wanted(generator: Any) -> Tensor:
    """What `protect` stores, and that is not the clean images."""
    safe = mtlue.protect(ROWS, generator=generator, precision=torch.float32, check=False, progress=False)
    images = torch.stack([(image * 255).round().byte() for image, _ in safe])
    assert not torch.equal(images, IMAGES)
    return images


def in_rows(images: Any) -> Tensor:
    """Images in any form as bytes (B, C, H, W)."""
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


def test_arrays_and_pictures_get_the_bytes_of_protect(generator: Any, wanted: Tensor) -> None:
    function = pickle.loads(pickle.dumps(generator.on_batches(device="cpu")))
    arrays = IMAGES.permute(0, 2, 3, 1).contiguous().numpy()
    arrays.flags.writeable = False
    columns = {name: np.array(column) for name, column in COLUMNS.items()}
    # The rank chooses among GPUs, of which there may be none.
    safe = function({"image": arrays, **columns, "id": list(range(10))}, 1)
    assert isinstance(safe["image"], np.ndarray)
    assert safe["id"] == list(range(10))
    assert torch.equal(in_rows(safe["image"]), wanted)
    safe = function({"image": [to_pil_image(image) for image in IMAGES], **COLUMNS}, 0)
    assert [image.mode for image in safe["image"]] == ["RGB"] * 10
    assert torch.equal(in_rows(safe["image"]), wanted)
    assert torch.equal(function({"image": IMAGES, **COLUMNS})["image"], wanted)
    # What was pickled after use is what it was.
    again = pickle.loads(pickle.dumps(function))
    assert torch.equal(
        again({"image": IMAGES[:5], **{name: column[:5] for name, column in COLUMNS.items()}})["image"], wanted[:5]
    )


@pytest.mark.parametrize("sizes", [2, 3])
def test_images_of_several_sizes_and_other_columns(generator: Any, sizes: int) -> None:
    images = [image[:, : 8 + index % sizes, :9] for index, image in enumerate(IMAGES)]
    safe = mtlue.protect(
        list(zip(images, LABELS, strict=True)), generator=generator, protected_tasks=["age"], check=False, progress=False
    )
    function = generator.on_batches(image="photo", columns={"age": "years"}, protected_tasks=["age"], device="cpu")
    column = np.empty(10, dtype=object)
    column[:] = [image.permute(1, 2, 0).numpy() for image in images]
    found = function({"photo": column, "years": COLUMNS["age"], "sex": COLUMNS["sex"]})["photo"]
    for index, image in enumerate(found):
        assert torch.equal(torch.from_numpy(image).permute(2, 0, 1), (safe[index][0] * 255).round().byte())


class Stream(IterableDataset[Any]):
    """Samples without a length, that are read once."""

    def __iter__(self) -> Iterator[Any]:
        yield from ROWS


def test_a_stream_is_protected_as_it_comes(generator: Any, wanted: Tensor) -> None:
    for stream in (Stream(), DataLoader(Stream(), batch_size=None), iter(ROWS)):
        safe = list(generator.on_stream(stream, batch_size=4, device="cpu"))
        assert torch.equal(torch.stack([(image * 255).round().byte() for image, _ in safe]), wanted)
        assert [targets for _, targets in safe] == LABELS
    endless = (ROWS[0] for _ in iter(int, 1))
    first = next(generator.on_stream(endless, batch_size=2, device="cpu"))
    assert torch.equal((first[0] * 255).round().byte(), wanted[0])


def test_a_stream_that_is_protected_already_is_refused(generator: Any) -> None:
    safe = mtlue.protect(ROWS, generator=generator, check=False, progress=False)
    for again in (safe, DataLoader(safe, batch_size=None)):
        with pytest.raises(ValueError, match="stream: it is protected already, and the budgets would add up"):
            generator.on_stream(again, device="cpu")


def test_what_cannot_be_used_is_refused(generator: Any, make_generator: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="generator: expected a trained one"):
        make_generator(TASKS, (3, 12, 10)).on_batches()
    with pytest.raises(ValueError, match=r"columns: .*'size'"):
        generator.on_batches(columns={"size": "x"})
    with pytest.raises(ValueError, match=r"stream: sample 3: expected a pair"):
        list(generator.on_stream([*ROWS[:3], 5], batch_size=2, device="cpu"))
    function = generator.on_batches(device="cpu")
    with pytest.raises(ValueError, match=r"image: sample 1 of the batch: image values reach 260"):
        function({"image": [IMAGES[0], IMAGES[1].float() + 5], "age": [0, 0], "sex": [0, 0]})
    with pytest.raises(ValueError, match=r"sample 1: task 'age': label 3 is out of range"):
        function({"image": IMAGES[:2], "age": [0, 3], "sex": [0, 0]})
    with pytest.raises(KeyError, match="sex"):
        function({"image": IMAGES[:2], "age": [0, 2]})


def test_a_pickle_leaves_the_generator_where_it_computes(generator: Any) -> None:
    function = generator.on_batches(device="cpu")
    function({"image": IMAGES, **COLUMNS})
    state = function.__getstate__()
    # Moved to the processor for the pickle, it would be missing on the GPU in the next call.
    assert state["_generator"] is not function._generator
    assert (state["_tables"], state["_compute"]) == (None, None)
    assert function._tables is not None


def test_hugging_face_maps_it(generator: Any, wanted: Tensor) -> None:
    # By the name of a part of it: there is a folder datasets among the tests.
    rows = needs("datasets.arrow_dataset", extra="huggingface").Dataset.from_dict({
        "image": [to_pil_image(image) for image in IMAGES],
        **COLUMNS,
    })
    safe = rows.map(generator.on_batches(device="cpu"), batched=True, batch_size=5, with_rank=True)
    assert torch.equal(in_rows(safe["image"]), wanted)
    assert safe["age"] == COLUMNS["age"]


# Ray warns of its own settings, and leaves sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the library ray, which no extra brings")
def test_ray_maps_it(generator: Any, wanted: Tensor, tmp_path: Path) -> None:
    ray = importlib.import_module("ray")
    generator.save(tmp_path / "key.pt")

    class Protect:
        """What an actor is: it loads the generator once."""

        def __init__(self, key: str) -> None:
            self.protect = mtlue.UEGenerator.load(key).on_batches(device="cpu")

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            return self.protect(batch)

    arrays = IMAGES.permute(0, 2, 3, 1).contiguous().numpy()
    rows = [{"id": index, "image": image, **labels} for index, (image, labels) in enumerate(zip(arrays, LABELS, strict=True))]
    with ray.init(num_cpus=2, include_dashboard=False):
        data = ray.data.from_items(rows)
        # As tasks, and as actors that hold the generator.
        for function, settings in (
            (generator.on_batches(device="cpu"), {}),
            (Protect, {"fn_constructor_args": (str(tmp_path / "key.pt"),), "concurrency": 1}),
        ):
            safe = data.map_batches(function, batch_format="numpy", batch_size=4, **settings).take_all()
            images = [row["image"] for row in sorted(safe, key=lambda row: row["id"])]
            assert torch.equal(in_rows(images), wanted)


@pytest.mark.parametrize(("side", "width", "batch"), [(16, 16, 256), (64, 16, 32), (60, 16, 32), (128, 32, 4), (256, 64, 1)])
def test_feature_maps_of_a_batch_fit_the_cache_of_a_processor(side: int, width: int, batch: int) -> None:
    generator = mtlue.UEGenerator({"shape": 2}, (3, side, side), width=width)
    assert generation_batch_size(generator, torch.device("cpu")) == batch
