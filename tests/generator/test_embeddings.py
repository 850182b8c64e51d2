"""The bank of class embeddings, and the embedder of dense labels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mtlue
from literal import literal_embedding

ANY_NAMES = ["keys", "a.b", "", "training", "forward", "tasks", "_tables"]


def test_forward_lays_the_rows_of_the_labels_side_by_side() -> None:
    torch.manual_seed(0)
    bank = mtlue.ClassEmbeddingBank({"age": 9, "race": 5, "gender": 2}, channels=3, size=(4, 5))
    targets = {"age": torch.tensor([8, 0, 3]), "race": torch.tensor([1, 1, 4]), "gender": torch.tensor([0, 1, 1])}
    embeddings = bank(targets)
    assert embeddings.shape == (3, 9, 4, 5)
    for sample in range(3):
        rows = [bank[name][int(targets[name][sample])] for name in ("age", "race", "gender")]
        assert torch.equal(embeddings[sample], torch.cat(rows))


@settings(max_examples=30)
@given(data=st.data())
def test_missing_and_unprotected_labels_get_the_mean_embedding(data: st.DataObject) -> None:
    classes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    batch = data.draw(st.integers(1, 4))
    tasks = {f"task {position}": number for position, number in enumerate(classes)}
    labels = {name: data.draw(st.lists(st.integers(-1, tasks[name] - 1), min_size=batch, max_size=batch)) for name in tasks}
    protected = data.draw(st.lists(st.sampled_from(list(tasks)), min_size=1, unique=True))
    torch.manual_seed(0)
    bank = mtlue.ClassEmbeddingBank(tasks, channels=2, size=(2, 3))
    embeddings = bank({name: torch.tensor(column) for name, column in labels.items()}, protected_tasks=protected)
    for sample in range(batch):
        rows = [literal_embedding(bank[name], labels[name][sample] if name in protected else -1) for name in tasks]
        torch.testing.assert_close(embeddings[sample], torch.cat(rows))


def test_a_gradient_reaches_the_row_of_the_label_or_every_row_for_a_missing_one() -> None:
    bank = mtlue.ClassEmbeddingBank({"age": 4, "race": 5}, channels=1, size=(1, 1))
    bank({"age": torch.tensor([2]), "race": torch.tensor([-1])}).sum().backward()
    assert bank["age"].grad is not None
    assert bank["race"].grad is not None
    assert bank["age"].grad.flatten().tolist() == [0, 0, 1, 0]
    assert bank["race"].grad.flatten().tolist() == pytest.approx([0.2] * 5)


def test_embeddings_start_as_standard_normal_parameters() -> None:
    torch.manual_seed(0)
    bank = mtlue.ClassEmbeddingBank({"age": 20, "race": 20}, size=(16, 16))
    assert isinstance(bank["age"], torch.nn.Parameter)
    assert bank["age"].shape == (20, 16, 16, 16)
    assert {id(parameter) for parameter in bank.parameters()} == {id(bank["age"]), id(bank["race"])}
    for name in bank:
        values = bank[name].detach()
        assert abs(values.mean().item()) < 0.02
        assert abs(values.std().item() - 1) < 0.02
        assert abs(values.pow(4).mean().item() - 3) < 0.1
    assert not torch.equal(bank["age"], bank["race"])


@pytest.mark.parametrize("name", ANY_NAMES)
def test_a_classification_task_may_have_any_name(name: str) -> None:
    torch.manual_seed(0)
    bank = mtlue.ClassEmbeddingBank({name: 3, "other": 2}, channels=2, size=(3, 3))
    assert list(bank) == [name, "other"]
    assert name in bank
    assert [key for key, _ in bank.items()] == [name, "other"]
    embeddings = bank({name: torch.tensor([2]), "other": torch.tensor([0])})
    assert torch.equal(embeddings[0], torch.cat([bank[name][2], bank["other"][0]]))
    generator = mtlue.UEGenerator({name: 3}, (1, 4, 4), width=2)
    copy = mtlue.UEGenerator({name: 3}, (1, 4, 4), width=2)
    copy.load_state_dict(generator.state_dict())
    assert torch.equal(copy.embeddings[name], generator.embeddings[name])


def test_dense_tasks_have_no_table() -> None:
    bank = mtlue.ClassEmbeddingBank({"depth": mtlue.Depth(), "age": 3}, channels=2, size=(2, 2))
    assert list(bank) == ["age"]
    assert len(bank) == 1
    assert "depth" not in bank
    assert bank({"age": torch.tensor([1]), "depth": torch.ones(1, 1, 4, 4)}).shape == (1, 2, 2, 2)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"age": torch.tensor([1])}, "missing 'race'"),
        ({"age": torch.tensor([1]), "race": torch.tensor([5])}, "task 'race': label 5 is out of range"),
    ],
)
def test_wrong_targets(targets: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mtlue.ClassEmbeddingBank({"age": 9, "race": 5}, size=(2, 2))(targets)


@pytest.mark.parametrize(
    ("protected", "error", "message"),
    [
        (["agee"], ValueError, "protected_tasks: unknown \\['agee'\\]"),
        ("teenage", TypeError, "protected_tasks: expected a list of task names, got 'teenage'"),
    ],
)
def test_wrong_protected_tasks(protected: object, error: type[Exception], message: str) -> None:
    bank = mtlue.ClassEmbeddingBank({"age": 9}, size=(2, 2))
    with pytest.raises(error, match=message):
        bank(torch.tensor([1]), protected_tasks=protected)


@pytest.mark.parametrize(("channels", "size"), [(0, (2, 2)), (4, (0, 2)), (4, (2,))])
def test_wrong_sizes(channels: int, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="channels, size: expected positive numbers"):
        mtlue.ClassEmbeddingBank({"age": 9}, channels=channels, size=size)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 8), (9, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_dense_embedder_halves_the_size_and_rounds_up(size: tuple[int, int], channels: int) -> None:
    embedding = mtlue.DenseEmbedder(channels, width=4).eval()(torch.zeros(2, channels, *size))
    assert embedding.shape == (2, 8, (size[0] + 1) // 2, (size[1] + 1) // 2)


def test_a_dense_embedder_has_the_nine_convolutions_of_the_encoder() -> None:
    embedder = mtlue.DenseEmbedder(3)
    convolutions = [module for module in embedder.modules() if isinstance(module, torch.nn.Conv2d)]
    assert sorted(module.kernel_size for module in convolutions) == [(1, 1)] + [(3, 3)] * 9
    assert sum(parameter.numel() for parameter in embedder.parameters()) == 675_392


def test_tables_that_do_not_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlue._generator.class_embeddings.total_memory", lambda device: 2**20)
    mtlue.ClassEmbeddingBank({"age": 9, "id": 50}, channels=4, size=(8, 8))
    told = "tasks: the embeddings of 159 classes, 150 of them of task 'id', take .*, but this machine has 0.000977 GiB"
    with pytest.warns(UserWarning, match=told):
        mtlue.ClassEmbeddingBank({"age": 9, "id": 150}, channels=8, size=(8, 8))
    with pytest.raises(ValueError, match=r"100000 of them of task 'id', take .* GiB, .* leave it out"):
        mtlue.UEGenerator({"age": 9, "id": 100_000}, (3, 16, 16))
