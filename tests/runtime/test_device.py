"""Which device, which precision, which random numbers, how many processes."""

from __future__ import annotations

import functools
import random
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue import baselines, evaluation
from mtlue._losses import borrowed
from mtlue._runtime import device as module
from mtlue._runtime.device import autocast, check_single_process, choose_device, choose_precision, moved
from mtlue._runtime.seeds import Stream, derived_seed, random_numbers

CPU = torch.device("cpu")


def test_the_device_asked_for_comes_first() -> None:
    assert choose_device("cpu", nn.Linear(1, 1, device="meta")) == CPU
    assert choose_device(CPU, None) == CPU


def test_the_device_of_the_surrogate_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None, nn.Linear(1, 1)) == CPU
    assert choose_device(None, nn.Linear(1, 1, device="meta")) == torch.device("meta")


@pytest.mark.parametrize(
    ("cuda", "mps", "wanted"), [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_then_cuda_mps_and_cpu_in_that_order(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, wanted: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device(None, None) == torch.device(wanted)
    assert choose_device(None, nn.Flatten()) == torch.device(wanted)


@pytest.mark.parametrize(("device", "error"), [("gpu", ValueError), ("cpu:x", ValueError), (2.5, TypeError)])
def test_a_device_that_is_none(device: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"device: .*{device}"):
        choose_device(device, None)


@pytest.mark.parametrize("device", ["meta", torch.device("meta")])
def test_a_device_without_values_is_refused(device: Any) -> None:
    words = "device: expected one that can compute, such as 'cpu', got 'meta', where a model has no weights"
    with pytest.raises(ValueError, match=words):
        choose_device(device, nn.Linear(1, 1))


@pytest.mark.parametrize("verb", ["fit", "protect", "pgd", "train_victim", "evaluate"])
def test_the_meta_device_costs_no_weights(canvases: Any, net: nn.Module, make_generator: Any, verb: str) -> None:
    generator, tasks = make_generator(), {"shoe": 2, "front": 2}
    before = [parameter.clone() for part in (net, generator) for parameter in part.parameters()]
    quiet: dict[str, Any] = {"device": "meta", "progress": False}
    verbs: dict[str, Any] = {
        "fit": lambda: mtlue.fit(generator, canvases, net, loss=mtlue.EM(), **quiet),
        "protect": lambda: mtlue.protect(canvases, surrogate=net, generator=generator, loss=mtlue.EM(), **quiet),
        "pgd": lambda: baselines.pgd(canvases, tasks=tasks, surrogate=net, loss=mtlue.EM(), **quiet),
        "train_victim": lambda: evaluation.train_victim(canvases, tasks=tasks, model=lambda tasks: net, **quiet),
        "evaluate": lambda: evaluation.evaluate(net, canvases, tasks=tasks, device="meta"),
    }
    with pytest.raises(ValueError, match="device: expected one that can compute"):
        verbs[verb]()
    after = [parameter for part in (net, generator) for parameter in part.parameters()]
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))


class Travelling(nn.Linear):
    """Knows where it was sent, as a processor has no second device to go to."""

    def __init__(self, *, fits: bool = True) -> None:
        super().__init__(1, 1)
        self.where, self.fits = "cpu", fits

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.where = next(cell.cell_contents.type for cell in fn.__closure__ if isinstance(cell.cell_contents, torch.device))
        if self.where == "cuda" and not self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self


@pytest.mark.parametrize("context", [moved, functools.partial(borrowed, trainable=False)], ids=["moved", "borrowed"])
@pytest.mark.parametrize("fits", [True, False])
def test_what_is_moved_comes_back_also_when_it_does_not_fit(context: Any, fits: bool) -> None:
    parts = [Travelling(), Travelling(fits=fits)]
    module = nn.Sequential(*parts)
    parts[0].weight.grad = gradient = torch.ones(1, 1)
    seen = []
    try:
        with context(module, device=torch.device("cuda")):
            seen = [part.where for part in parts]
    except torch.OutOfMemoryError:
        assert not fits
    assert seen == (["cuda", "cuda"] if fits else [])
    assert [part.where for part in parts] == ["cpu", "cpu"]
    assert parts[0].weight.grad is gradient


@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_the_precision_asked_for(wanted: torch.dtype) -> None:
    assert choose_precision(wanted, CPU) is wanted


@pytest.mark.parametrize("has", [True, False])
def test_the_precision_of_the_hardware(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    wanted = torch.bfloat16 if has else torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    assert choose_precision(None, torch.device("cuda")) is wanted
    assert choose_precision(None, torch.device("mps")) is torch.float32


def test_processors_compute_in_float32_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert choose_precision(None, CPU) is torch.float32


@pytest.mark.parametrize(
    ("precision", "error"), [("float32", TypeError), (32, TypeError), (torch.float16, ValueError), (torch.int8, ValueError)]
)
def test_a_precision_that_is_none(precision: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"precision: expected torch.float32 or torch.bfloat16, got .*{precision}"):
        choose_precision(precision, CPU)


def test_autocast_computes_in_the_precision() -> None:
    images, weights = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)
    for precision in (torch.bfloat16, torch.float32):
        with autocast(CPU, precision):
            assert torch.conv2d(images, weights).dtype == precision


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_fit_computes_in_the_precision(canvases: Any, net: nn.Module, make_generator: Any, precision: torch.dtype) -> None:
    seen: set[torch.dtype] = set()

    class Watching(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
            seen.add(torch.conv2d(images, images.new_ones(1, images.shape[1], 3, 3)).dtype)
            return super().__call__(surrogate, images, targets)

    settings = {"epochs": 1, "batch_size": 16, "progress": False}
    mtlue.fit(make_generator(), canvases, net, loss=Watching(), precision=precision, **settings)
    assert seen == {precision}
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_random_numbers_are_those_of_the_seed_and_then_the_callers() -> None:
    torch.manual_seed(7)
    random.seed(7)
    before = torch.get_rng_state(), random.getstate()
    with random_numbers(11, CPU):
        first = torch.rand(3).tolist(), random.random()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    with random_numbers(11, CPU):
        assert (torch.rand(3).tolist(), random.random()) == first
        with random_numbers(12, CPU):
            assert (torch.rand(3).tolist(), random.random()) != first
    with pytest.raises(KeyError), random_numbers(11, CPU):
        raise KeyError(torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_parts_of_a_run_have_seeds_of_their_own() -> None:
    paths = [*[(part,) for part in range(8)], *[(part, epoch) for part in range(8) for epoch in range(100)]]
    seeds = {derived_seed(seed, *path) for seed in range(20) for path in paths}
    assert len(seeds) == 20 * len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(3, 1, 2) == derived_seed(3, 1, 2) != derived_seed(3, 2, 1)


def test_no_two_parts_share_a_stream_of_random_numbers() -> None:
    # An enum takes a second name of one number as an alias.
    assert list(Stream.__members__) == [stream.name for stream in Stream]


def test_one_process_is_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    check_single_process()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        check_single_process()
    finally:
        torch.distributed.destroy_process_group()


def test_several_processes_are_refused_where_they_would_not_share(
    monkeypatch: pytest.MonkeyPatch, canvases: Any, net: nn.Module
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *group: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda *group: 0)
    assert module.torch is torch
    with pytest.raises(NotImplementedError, match="several processes: call it on one rank"):
        baselines.random_noise(canvases, tasks={"shoe": 2, "front": 2})
    # Each rank may measure for itself.
    assert set(evaluation.evaluate(net, canvases, tasks={"shoe": 2, "front": 2})) == {"shoe", "front"}
