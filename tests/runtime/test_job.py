"""Calls of all ranks, seen from one: a group of one process, and others that are made up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
import ranks
from mtlue._data import Batch, Samples
from mtlue._fit import FitPlan, pretrain
from mtlue._runtime import BatchSize, Compute, LostRankError, Share, current_job, descend, from_rank, job, smallest, together
from mtlue._runtime import joint_call as calls
from mtlue._runtime import share as shares
from mtlue._runtime.job import Job, MemoryElsewhereError
from mtlue._runtime.joint_step import joint_step
from mtlue._tasks import CheckedTargets
from snapshots import equal

CPU = torch.device("cpu")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def single(group: None) -> Iterator[Job]:
    """A call of a group of one, which takes all the ways of several ranks."""
    made = Job(0, CPU)
    made.open()
    made.connect()
    with calls.joined(made):
        yield made


class Echo:
    """A call of several ranks that all find what this one finds."""

    def __init__(self, rank: int = 0, size: int = 2) -> None:
        self.rank, self.size = rank, size

    def sum(self, tensor: Tensor) -> Tensor:
        return self.size * tensor


def share(rank: int, size: int, count: int) -> Share:
    return Share(Echo(rank, size), 0, count)  # type: ignore[arg-type]


def test_without_a_group_nothing_is_together() -> None:
    with together(CPU):
        assert current_job() is None
    assert (from_rank(3, lambda: 5), smallest(7)) == (5, 7)


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
@pytest.mark.parametrize("name", ["EM", "RestartedEM"])
def test_a_group_of_one_trains_as_no_group_does(name: str, single: Job, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 1, "augment": ranks.Shift(), "checkpoint": tmp_path / "run.pt"}
    loss = {"EM": mtlue.EM, "RestartedEM": ranks.restarted}[name]
    found = ranks.trained(loss(), **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "_current", [])
        alone = ranks.trained(loss(), epochs=1, augment=ranks.Shift())
    torch.testing.assert_close(torch.tensor(found["curve"]), torch.tensor(alone["curve"]), rtol=1e-5, atol=0)
    assert equal(ranks.trained(loss(), **settings), found)  # from its checkpoint


def test_a_surrogate_is_trained_as_without_a_group(single: Job) -> None:
    found = []
    for jobs in ([single], []):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(calls, "_current", jobs)
            torch.manual_seed(0)
            net = mtlue.Surrogate(ranks.Net(), ranks.TASKS)
            samples = Samples(ranks.dataset(), net.tasks)  # type: ignore[arg-type]  # a list
            pretrain(net, samples, FitPlan(epochs=1, batch_size=9), Compute(CPU), checkpoint=None)
            found.append(net.module.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name])


def test_a_rank_has_every_so_many_samples_of_a_batch_and_of_its_parts() -> None:
    of_batch = [share(rank, 3, 8) for rank in range(3)]
    rows = torch.arange(8)
    assert [rows[each.own].tolist() for each in of_batch] == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert sum(each.weight for each in of_batch) == pytest.approx(1)
    for start, stop in [(0, 4), (4, 8), (2, 7)]:
        for each in of_batch:
            part = each.part(slice(start, stop))
            assert rows[each.own][each.rows(slice(start, stop))].tolist() == rows[start:stop][part.own].tolist()
            assert part.count == len(rows[start:stop][part.own])


def test_a_part_with_fewer_samples_than_ranks_is_gathered(single: Job) -> None:
    batch = Batch(torch.rand(5, 1, 2, 2), CheckedTargets({"a": torch.arange(5)}), Share(single, 0, 5))
    assert (len(batch), len(batch[1:4]), batch[1:4].share) == (5, 3, Share(single, 1, 4))
    single.size, part = 2, Share(single, 0, 1)
    found = batch._gathered(part, slice(0, 1))
    assert found.share is not None
    assert found.share.whole
    assert torch.equal(found.images, batch.images[:1])
    assert found.share.rows(slice(0, 1)) == slice(0, 1)
    with shares.activated(found.share):
        assert shares.active_share() is None
    single.size = 1


def test_stand_ins_hold_the_places_of_other_ranks() -> None:
    with shares.activated(share(1, 3, 8)):
        assert shares.stand_ins(torch.tensor([1, 4, 7])).tolist() == [1, 1, 1, 4, 4, 4, 7, 7]
        assert shares.drawn_alike(lambda rows: rows * torch.arange(8), torch.ones(3)).tolist() == [1, 4, 7]
        assert (shares.joint_count(3), shares.joint_count(3)) == (8, 8)


def test_the_norm_of_a_gradient_is_that_of_the_whole_batch() -> None:
    # Half of it is here, and means over this half weigh half as much as those over the batch.
    gradient = torch.tensor([3.0, 4.0])
    assert shares.joint_norm(gradient) == 5
    with shares.activated(share(0, 2, 4)):
        assert shares.joint_norm(gradient).item() == pytest.approx(torch.cat([gradient, gradient]).div(2).norm().item())


def test_a_constant_loss_is_held_to_what_other_ranks_depend_on() -> None:
    outputs = torch.tensor([1.0, torch.inf], requires_grad=True)
    value = torch.tensor(2.0)
    assert shares.held(value, outputs) is value
    with shares.activated(share(0, 2, 4)):
        loss = shares.held(value, outputs)
    loss.backward()
    assert loss.item() == 2
    assert torch.equal(outputs.grad, torch.zeros(2))


def test_gradients_are_weighted_and_one_that_no_rank_has_stays_absent() -> None:
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([used, unused], lr=1.0)
    with shares.activated(share(0, 2, 4)):
        descend(optimizer, used.sum())
    assert torch.equal(used, torch.zeros(2, 2))
    assert unused.grad is None


def test_batch_statistics_are_those_of_all_ranks(single: Job) -> None:
    random = torch.Generator().manual_seed(0)
    images, gradient = (torch.randn(5, 3, 4, 4, generator=random, requires_grad=not number) for number in range(2))
    for layer in (nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False, track_running_stats=False)):
        found = []
        for joint in (None, Share(single, 0, 5)):
            norm = layer.__class__(3, affine=layer.affine, track_running_stats=layer.track_running_stats)
            with joint_step(joint):
                output = norm(images)
                first, *more = torch.autograd.grad((output * gradient).sum(), [images, *norm.parameters()])
                found.append([output, first, *more, *norm.buffers(), norm.eval()(images)])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other)
    with joint_step(Share(single, 0, 1)), pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(3)(torch.ones(1, 3, 1, 1))


def test_a_step_goes_on_with_the_random_numbers_of_the_first_rank(single: Job) -> None:
    single.size = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "everywhere", lambda flag: flag)
        patch.setattr(single, "from_rank", lambda source, make: torch.Generator().manual_seed(7).get_state())
        with torch.random.fork_rng(devices=[]), joint_step(Share(single, 0, 3)):
            torch.manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            with joint_step(Share(single, 0, 3)):
                pass
            assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(7))
    single.size = 1


class Adopted(list[int]):
    """Ranks that were taken over."""

    def adopt(self, rank: int) -> None:
        self.append(rank)


@pytest.mark.parametrize("here", [True, False])
def test_a_lack_of_memory_halves_the_batch_and_takes_over_a_state(here: bool, single: Job) -> None:
    adopted = Adopted()
    batch = Batch(torch.rand(4, 1, 2, 2), CheckedTargets(), Share(single, 0, 4))

    def step(part: Batch) -> int:
        if len(part) > 2:
            raise torch.OutOfMemoryError("out of memory") if here else MemoryElsewhereError("another rank")
        return len(part)

    size = BatchSize(4, quiet=True)
    size.adopt_by(adopted.adopt)
    assert [result for _, result in size.run(step, batch)] == [2, 2]
    assert adopted == [0]
    # Without a state of its own.
    assert [result for _, result in BatchSize(4, quiet=True).run(step, batch)] == [2, 2]


def test_the_end_of_another_rank_is_no_lack_of_memory(single: Job) -> None:
    def step(part: Batch) -> None:
        raise LostRankError("rank 1 stopped: OutOfMemoryError: out of memory")

    batch = Batch(torch.rand(4, 1, 2, 2), CheckedTargets(), Share(single, 0, 4))
    with pytest.raises(LostRankError, match="rank 1 stopped"):
        list(BatchSize(4).run(step, batch))


class Never:
    """A message that does not arrive."""

    def is_completed(self) -> bool:
        return False


def test_a_waiting_rank_hears_what_others_say(single: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_LOOK", 0.01)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *arguments, **named: Never())
    single.tell_memory()
    with pytest.raises(MemoryElsewhereError):
        single.sum(torch.ones(1))
    single.tell(ValueError("wrong"))
    with pytest.raises(LostRankError, match="rank 0 stopped: ValueError: wrong"):
        single.sum(torch.ones(1))


def test_a_restarted_rank_does_not_hear_the_attempt_before(group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Job(0, CPU).tell(ValueError("wrong"))
    with pytest.raises(LostRankError, match="ValueError: wrong"):
        Job(0, CPU)._look()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    Job(0, CPU)._look()


def test_a_lost_connection_is_told(single: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **named: Any) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(job, "_LOOK", 0.01)
    monkeypatch.setattr(torch.distributed, "all_reduce", broken)
    with pytest.raises(LostRankError, match=r"another rank cannot be reached any more: Connection closed"):
        single.sum(torch.ones(1))
    monkeypatch.setattr(single, "_store", type("Gone", (), {"check": broken}))
    with pytest.raises(LostRankError, match="another rank cannot be reached any more"):
        single.sum(torch.ones(1))


def test_a_rank_that_fails_while_others_connect_is_told(group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **named: Any) -> None:
        raise RuntimeError("Gloo connectFullMesh failed")

    monkeypatch.setattr(job, "_LOOK", 0.01)
    monkeypatch.setattr(torch.distributed, "new_group", broken)
    monkeypatch.setattr(calls, "world_size", lambda: 2)
    opened = len(calls._opened)
    with pytest.raises(LostRankError, match="another rank cannot be reached any more: Gloo connectFullMesh"), together(CPU):
        pass
    # It counts on the other ranks too, which had connected.
    assert len(calls._opened) == opened + 1
    monkeypatch.setattr(calls, "Job", lambda number, device, **_: made)
    made = Job(opened + 1, CPU)
    made.tell(BlockingIOError("checkpoint: another call is writing"))
    with (
        pytest.raises(LostRankError, match="rank 0 stopped: BlockingIOError: checkpoint: another call is writing"),
        together(CPU),
    ):
        pass


def test_ranks_that_do_not_come_are_named(group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_PATIENCE", 0.0)
    monkeypatch.setattr(job, "_REGROUPING", 0.0)
    for module in (job, calls):
        monkeypatch.setattr(module, "world_size", lambda: 3)
    with pytest.raises(LostRankError, match=r"waited 0 s for rank 1, 2 of 3, which did not come; call it"), together(CPU):
        pass
    with pytest.raises(LostRankError, match="rank 1, 2 did not come back after a rank ran out of memory"):
        Job(0, CPU).regroup(failed=True)


def test_ranks_with_other_settings_are_told(single: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single, "gathered", lambda value: [{"seed": 1}])
    with pytest.raises(ValueError, match=r"rank 0 was called with other arguments than rank 0 \(seed was 1, is 0\)"):
        single.agree({"seed": 0})


def test_what_fails_here_is_told_and_other_ranks_log_only_warnings(group: None, caplog: pytest.LogCaptureFixture) -> None:
    made = Job(0, CPU)
    made.open()
    made.connect()
    made.rank = 1
    caplog.set_level(logging.INFO)

    def fail() -> None:
        with calls.joined(made):
            logging.getLogger("mtlue.fit").info("not shown")
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert made._store.get("failed") == b"rank 1 stopped: ValueError: wrong"
    assert "not shown" not in caplog.text


def test_a_call_inside_a_call_is_part_of_it(single: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "world_size", lambda: 2)
    with together(CPU):
        assert current_job() is single
