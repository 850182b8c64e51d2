"""Data sets of the Hugging Face library, in and out."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import mtlue
from mtlue.datasets import HuggingFace, ImageTable, to_hugging_face
from optional import needs

hf = needs("datasets", extra="huggingface")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    hf.disable_progress_bars()
    yield
    hf.enable_progress_bars()


def pictures(count: int, mode: str = "RGB") -> list[Image.Image]:
    random = torch.Generator().manual_seed(0)
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    return [to_pil_image(torch.randint(256, (channels, 8, 8), generator=random, dtype=torch.uint8)) for _ in range(count)]


COLUMNS: dict[str, list[Any]] = {
    "race": [2, 0, None, 1],
    "smiles": [True, None, False, True],
    "age": [31, 4, None, 8],
    "city": ["Rome", None, "Bonn", "Rome"],
    "caption": ["one", "two", "three", "four"],
}


@pytest.fixture
def rows() -> Any:
    """Four faces with a column of each type."""
    features = hf.Features({
        "race": hf.ClassLabel(names=["White", "Black", "Asian", "Other"]),
        "image": hf.Image(),
        "smiles": hf.Value("bool"),
        "age": hf.Value("int64"),
        "city": hf.Value("string"),
        "caption": hf.Value("string"),
        "thumbnail": hf.Image(),
    })
    return hf.Dataset.from_dict({**COLUMNS, "image": pictures(4), "thumbnail": pictures(4)}, features=features)


def labels_of(dataset: HuggingFace) -> dict[str, list[int]]:
    return {name: [int(targets[name]) for _, targets in dataset] for name in dataset.tasks}


def bytes_of(image: Image.Image) -> Tensor:
    tensor: Tensor = pil_to_tensor(image)
    return tensor.short()


def protect(dataset: Any, make_generator: Any, shape: tuple[int, int, int] = (3, 8, 8), **arguments: Any) -> Any:
    tasks = arguments.get("tasks", getattr(dataset, "tasks", None))
    generator = make_generator(tasks, shape, trained=True, gain=100.0)
    return mtlue.protect(dataset, generator=generator, device="cpu", progress=False, **arguments)


def test_columns_of_classes_and_booleans_become_tasks(rows: Any) -> None:
    dataset = HuggingFace(rows)
    assert dataset.tasks == {"race": mtlue.Classification(4), "smiles": mtlue.Classification(2)}
    assert dataset.classes == {"race": ["White", "Black", "Asian", "Other"]}
    assert labels_of(dataset) == {"race": [2, 0, -1, 1], "smiles": [1, -1, 0, 1]}
    for (image, targets), picture in zip(dataset, pictures(4), strict=True):
        assert image.dtype == torch.float32
        assert torch.equal(image, bytes_of(picture) / 255)
        assert all(target.dtype == torch.int64 and target.shape == () for target in targets.values())
    assert repr(dataset) == (
        "HuggingFace(4 samples, image='image', tasks={'race': Classification(4), 'smiles': Classification(2)}, "
        f"left_out={dataset.left_out})"
    )
    assert dataset.left_out == {
        "age": "integers, and not named in tasks=[...]",
        "city": "text, and not named in tasks=[...]",
        "caption": "text, and not named in tasks=[...]",
        "thumbnail": "other images, and not named in tasks=[...]",
    }
    assert HuggingFace(rows.select_columns(["image", "city"]), tasks=["city"]).left_out == {}
    assert HuggingFace(rows, tasks=["city"]).left_out["race"] == "not named in tasks"


def test_integers_count_where_there_is_no_plainer_label(rows: Any) -> None:
    dataset = HuggingFace(rows.select_columns(["image", "age", "city"]))
    assert dataset.tasks == {"age": mtlue.Classification(32)}
    assert labels_of(dataset) == {"age": [31, 4, -1, 8]}


def numbered(**columns: Any) -> Any:
    """Twenty rows with these columns of labels."""
    types = {name: feature for name, (feature, _) in columns.items()}
    values = {name: made for name, (_, made) in columns.items()}
    return hf.Dataset.from_dict({"image": pictures(1) * 20, **values}, features=hf.Features({"image": hf.Image(), **types}))


def test_columns_that_say_class_and_hold_none_are_left_out() -> None:
    person, pet = hf.ClassLabel(num_classes=20), hf.ClassLabel(names=["cat", "dog"])
    rows = numbered(
        person=(person, list(range(20))),
        pet=(pet, [0, 1] * 10),
        seen=(hf.Value("bool"), [True] * 20),
        empty=(pet, [-1] * 20),
        box=(hf.List(hf.Value("int64")), [[1]] * 20),
        score=(hf.Value("float32"), [0.5] * 20),
    )
    dataset = HuggingFace(rows)
    assert list(dataset.tasks) == ["pet"]
    assert dataset.left_out == {
        "person": "a different value in every row",
        "seen": "one class, '1'",
        "empty": "no labels",
        "box": "no single value in a row, and not named in tasks=[...]",
        "score": "numbers or dates, and not named in tasks=[...]",
    }
    with pytest.raises(ValueError, match=r"column 'person' has a different value in every row, .* tasks=\{'person': 20\}"):
        HuggingFace(rows, tasks=["person"])
    assert HuggingFace(rows, tasks={"person": 20}).tasks == {"person": mtlue.Classification(20)}


def test_integers_that_are_identifiers_are_left_out() -> None:
    rows = numbered(number=(hf.Value("int64"), list(range(20))), age=(hf.Value("int64"), [3, 4] * 10))
    dataset = HuggingFace(rows)
    assert list(dataset.tasks) == ["age"]
    assert dataset.left_out == {"number": "a different value in every row"}
    with pytest.raises(ValueError, match="number: a different value in every row"):
        HuggingFace(rows.select_columns(["image", "number"]))
    with pytest.raises(ValueError, match="look like identifiers"):
        HuggingFace(rows, tasks=["number"])


def test_the_files_of_images_are_told(tmp_path: Path) -> None:
    for name in "ab":
        pictures(1)[0].save(tmp_path / f"{name}.png")
    features = hf.Features(image=hf.Image(), label=hf.ClassLabel(num_classes=2))
    paths = [str(tmp_path / f"{name}.png") for name in "ab"]
    rows = hf.Dataset.from_dict({"image": paths, "label": [0, 1]}, features=features)
    assert HuggingFace(rows).files == paths
    assert HuggingFace(rows.select([1])).files == paths[1:]
    assert HuggingFace(hf.Dataset.from_dict({"image": pictures(2), "label": [0, 1]}, features=features)).files == ["", ""]


def test_tasks_choose_the_columns(rows: Any) -> None:
    dataset = HuggingFace(rows, tasks=["city", "race"])
    assert list(dataset.tasks.items()) == [("city", mtlue.Classification(2)), ("race", mtlue.Classification(4))]
    assert dataset.classes["city"] == ["Bonn", "Rome"]
    assert labels_of(dataset) == {"city": [1, -1, 0, 1], "race": [2, 0, -1, 1]}
    dataset = HuggingFace(rows, tasks={"age": mtlue.Classification(40, ignore_index=-7)})
    assert labels_of(dataset) == {"age": [31, 4, -7, 8]}


def test_the_library_s_own_minus_one_is_a_missing_label() -> None:
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(num_classes=3)})
    dataset = HuggingFace(hf.Dataset.from_dict({"image": pictures(2), "label": [-1, 2]}, features=features))
    assert labels_of(dataset) == {"label": [-1, 2]}


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3)])
def test_images_of_each_mode_are_read_as_viewers_show_them(mode: str, channels: int) -> None:
    pics = pictures(2, mode)
    rows = hf.Dataset.from_dict(
        {"photo": pics, "label": [0, 1]}, features=hf.Features(photo=hf.Image(), label=hf.Value("int8"))
    )
    image = HuggingFace(rows, image="photo")[1][0]
    assert torch.equal(image, bytes_of(pics[1])[:channels] / 255)
    assert HuggingFace(rows, image="photo", channels=3)[0][0].shape == (3, 8, 8)
    grey = HuggingFace(rows, image="photo", channels=1)[0][0]
    assert torch.equal(grey, bytes_of(pics[0].convert("L")) / 255)


def test_a_format_is_put_aside_and_images_that_are_not_decoded_are_decoded(rows: Any) -> None:
    expected = [image for image, _ in HuggingFace(rows)]
    raw = rows.cast_column("image", hf.Image(decode=False))
    for other in (rows.with_format("torch"), rows.with_format("numpy"), raw):
        assert all(torch.equal(image, wanted) for (image, _), wanted in zip(HuggingFace(other), expected, strict=True))
        assert labels_of(HuggingFace(other)) == labels_of(HuggingFace(rows))
    assert isinstance(raw[0]["image"], dict)


def test_a_transform_makes_the_images(rows: Any) -> None:
    def halve(batch: dict[str, Any]) -> dict[str, Any]:
        return {"image": [picture.resize((4, 4)) for picture in batch["image"]]}

    dataset = HuggingFace(rows.with_transform(halve))
    assert dataset[0][0].shape == (3, 4, 4)
    assert labels_of(dataset)["race"] == [2, 0, -1, 1]


def test_label_maps_may_be_images_or_lists() -> None:
    parts = [[[0, 1], [255, 2]], [[1, 1], [0, 0]]]
    palette = [Image.new("P", (2, 2)) for _ in parts]
    for picture, values in zip(palette, parts, strict=True):
        picture.putpalette([9] * 768)
        picture.putdata([value for row in values for value in row])
    features = hf.Features(
        image=hf.Image(),
        parts=hf.Image(),
        lists=hf.List(hf.List(hf.Value("int64"))),
        depth=hf.List(hf.List(hf.Value("float32"))),
    )
    columns = {"image": [picture.resize((2, 2)) for picture in pictures(2)], "parts": palette, "lists": parts}
    rows = hf.Dataset.from_dict({**columns, "depth": [[[1.5, 0], [2, 3]]] * 2}, features=features)
    task = mtlue.Segmentation(3, ignore_index=255)
    dataset = HuggingFace(rows, tasks={"parts": task, "lists": task, "depth": mtlue.Depth()})
    for (_, targets), values in zip(dataset, parts, strict=True):
        assert targets["parts"].tolist() == targets["lists"].tolist() == values
        assert targets["depth"].tolist() == [[[1.5, 0], [2, 3]]]


def test_worker_processes_give_the_same_samples(rows: Any) -> None:
    dataset = HuggingFace(rows)
    batches = list(DataLoader(pickle.loads(pickle.dumps(dataset)), batch_size=2, num_workers=1, generator=torch.Generator()))
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.stack([image for image, _ in dataset]))
    assert torch.cat([targets["race"] for _, targets in batches]).tolist() == [2, 0, -1, 1]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda rows: HuggingFace([1]), TypeError, "dataset: expected a datasets.Dataset, got list"),
        (
            lambda rows: HuggingFace(hf.DatasetDict(train=rows)),
            TypeError,
            r"expected one split, got DatasetDict; .* \['train'\]",
        ),
        (lambda rows: HuggingFace(rows.to_iterable_dataset()), TypeError, "IterableDataset; load it without streaming=True"),
        (
            lambda rows: HuggingFace(rows, image="photo"),
            ValueError,
            r"'photo' is not a column of images; .*\['image', 'thumbnail'\]",
        ),
        (lambda rows: HuggingFace(rows, image="age"), ValueError, "image: 'age' is not a column of images"),
        (lambda rows: HuggingFace(rows, tasks=["rase"]), ValueError, "tasks: found no column of labels 'rase'; .*'race'"),
        (lambda rows: HuggingFace(rows, tasks=["image"]), ValueError, "tasks: found no column of labels 'image'"),
        (
            lambda rows: HuggingFace(rows, tasks=["thumbnail"]),
            ValueError,
            "column 'thumbnail' is Image.*, which does not hold a class",
        ),
        (lambda rows: HuggingFace(rows, tasks={"age": 20}), ValueError, "row 0, column 'age': '31': label 31 is out of range"),
        (
            lambda rows: HuggingFace(rows.select_columns(["image", "city"])),
            ValueError,
            r"no column holds classes by its type \(city: text, and not named in tasks=\[\.\.\.\]\); name the columns",
        ),
        (lambda rows: HuggingFace(rows, channels=2), ValueError, "channels: expected 1, 3 or None, got 2"),
        (to_hugging_face, TypeError, "protected: expected a mtlue.ProtectedDataset, got Dataset"),
    ],
)
def test_what_cannot_be_used_is_named(rows: Any, change: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        change(rows)


def test_a_row_without_an_image_is_named(rows: Any) -> None:
    empty = hf.Dataset.from_dict({"image": [None], "race": [1]}, features=rows.select_columns(["image", "race"]).features)
    with pytest.raises(ValueError, match=r"row 0, column 'image': expected .* a PIL image, got NoneType"):
        HuggingFace(empty)[0]


def test_the_library_is_named_when_it_is_missing(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'datasets is needed for this .*: pip install "mtlue\[huggingface\]"'):
        HuggingFace(rows)


def test_protected_rows_go_back_with_their_columns_and_keep_the_budget(rows: Any, make_generator: Any, tmp_path: Path) -> None:
    safe = protect(HuggingFace(rows), make_generator)
    out = to_hugging_face(safe.with_transform(lambda image: image * 0), cache_dir=tmp_path / "cache")
    # Another column of images might show the clean ones.
    assert list(out.features.items()) == [(name, rows.features[name]) for name in rows.features if name != "thumbnail"]
    assert {name: list(out[name]) for name in COLUMNS} == COLUMNS
    out.save_to_disk(tmp_path / "saved")
    loaded = hf.load_from_disk(tmp_path / "saved")
    for row, clean, (image, _) in zip(loaded, pictures(4), safe, strict=True):
        assert row["image"].format == "PNG"
        assert torch.equal(bytes_of(row["image"]) / 255, image)
        assert 0 < (bytes_of(row["image"]) - bytes_of(clean)).abs().max() <= 8
    again = HuggingFace(loaded)
    assert again.tasks == safe.tasks
    assert all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(again, safe, strict=True))


def test_a_second_call_does_not_take_the_first_one_s_rows(rows: Any, make_generator: Any, tmp_path: Path) -> None:
    dataset = HuggingFace(rows)
    first, second = (protect(dataset, make_generator, fraction=fraction) for fraction in (1.0, 0.0))
    images = [bytes_of(to_hugging_face(safe, cache_dir=tmp_path)[0]["image"]) for safe in (first, second)]
    assert not torch.equal(*images)
    assert torch.equal(images[1], bytes_of(pictures(1)[0]))


def test_any_protected_set_goes_out(make_generator: Any, tmp_path: Path) -> None:
    tasks = {"scene": 3, "depth": mtlue.Depth(), "parts": mtlue.Segmentation(4)}
    random = torch.Generator().manual_seed(0)
    clean = []
    for index in range(3):
        depth, parts = torch.rand(1, 8, 8, generator=random), torch.randint(-1, 4, (8, 8), generator=random)
        clean.append((torch.rand(1, 8, 8, generator=random), {"scene": index - 1, "depth": depth, "parts": parts}))
    safe = protect(clean, make_generator, (1, 8, 8), tasks=tasks)
    out = to_hugging_face(safe, image="photo", cache_dir=tmp_path)
    assert list(out.features) == ["photo", *tasks]
    assert out.features["scene"] == hf.ClassLabel(num_classes=3)
    assert list(out["scene"]) == [None, 0, 1]
    back = HuggingFace(out, image="photo", tasks=safe.tasks)
    for (image, targets), (protected, given) in zip(back, safe, strict=True):
        assert torch.equal(image, protected)
        assert int(targets["scene"]) == given["scene"]
        for name in ("depth", "parts"):
            assert torch.equal(targets[name], given[name])


def test_names_of_classes_go_along(make_generator: Any, tmp_path: Path) -> None:
    for picture, name in zip(pictures(2), "ab", strict=True):
        picture.save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("file,pet,age\na.png,dog,3\nb.png,cat,0")
    out = to_hugging_face(protect(ImageTable(tmp_path), make_generator), cache_dir=tmp_path / "cache")
    assert out.features["pet"] == hf.ClassLabel(names=["cat", "dog"])
    assert out.features["age"] == hf.ClassLabel(num_classes=4)
    assert list(out["pet"]) == [1, 0]


def test_names_of_classes_of_a_column_of_text_are_exported(rows: Any, make_generator: Any, tmp_path: Path) -> None:
    needs("pyarrow", extra="huggingface")
    safe = protect(HuggingFace(rows, tasks=["city", "race"]), make_generator)
    names = {"city": ["Bonn", "Rome"], "race": ["White", "Black", "Asian", "Other"]}
    safe.export(tmp_path / "png")
    assert ImageTable(tmp_path / "png").classes == names
    safe.export(tmp_path / "rows", format="parquet")
    again = hf.load_dataset(str(tmp_path / "rows"), split="train", cache_dir=str(tmp_path / "cache"))
    assert {name: again.features[name].names for name in names} == names
    assert list(again["city"]) == [1, None, 0, 1]


def test_what_png_or_the_names_cannot_hold_is_refused(make_generator: Any) -> None:
    wide = [(torch.rand(5, 8, 8), 0), (torch.rand(5, 8, 8), 1)]
    with pytest.raises(ValueError, match="PNG holds 1 or 3 channels, but the images have 5"):
        to_hugging_face(protect(wide, make_generator, (5, 8, 8), tasks={"label": 2}))
    plain = [(torch.rand(3, 8, 8), 0), (torch.rand(3, 8, 8), 1)]
    with pytest.raises(ValueError, match="image: 'image' is the name of a task"):
        to_hugging_face(protect(plain, make_generator, tasks={"image": 2}))
