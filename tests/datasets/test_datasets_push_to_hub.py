"""What goes to the Hugging Face Hub. The calls of its library that send something are replaced; nothing is sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from exported_sets import files_of, make_set
from mtlue import baselines, datasets
from optional import needs

hub = needs("huggingface_hub", extra="huggingface")


class Sent:
    """What the library was about to send."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.repositories: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytes] = {}
        self.message = ""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """An account without data sets."""
    noted = Sent()

    def create_repo(api: Any, repo_id: str, **settings: Any) -> Any:
        noted.token = api.token
        noted.repositories.append((repo_id, settings))
        return hub.RepoUrl(f"https://huggingface.co/datasets/{repo_id}")

    def upload_folder(_: Any, *, folder_path: str, commit_message: str, ignore_patterns: Any, **settings: Any) -> None:
        assert settings == {"repo_id": "me/faces", "repo_type": "dataset"}
        files = files_of(Path(folder_path))
        noted.files |= {name: files[name] for name in hub.utils.filter_repo_objects(files, ignore_patterns=ignore_patterns)}
        noted.message = commit_message

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(hub.HfApi, "file_exists", lambda _, __, name, **___: name in noted.files)
    return noted


def export(folder: Path, *, append: bool = False) -> None:
    make_set(int(append), tasks={"shoe": 2}).export(folder, format=datasets.ParquetShards(4), append=append)


def test_all_of_an_export_goes_out_and_its_readme_is_the_card(tmp_path: Path, sent: Sent) -> None:
    needs("pyarrow", extra="huggingface")
    export(tmp_path / "rows")
    address = datasets.push_to_hub(tmp_path / "rows", "me/faces", token="hf_x")
    assert address == "https://huggingface.co/datasets/me/faces"
    assert sent.token == "hf_x"
    assert sent.repositories == [("me/faces", {"repo_type": "dataset", "private": True, "exist_ok": True})]
    assert sent.files == files_of(tmp_path / "rows")
    assert sent.message == "11 protected images"
    card = hub.DatasetCard(sent.files["README.md"].decode())
    assert card.data.to_dict()["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}
    ]
    assert card.data.tags == ["mtlue", "unlearnable-examples"]
    assert "protected" in card.text


def test_a_card_that_is_there_stays(tmp_path: Path, sent: Sent) -> None:
    needs("pyarrow", extra="huggingface")
    export(tmp_path / "rows")
    sent.files["README.md"] = b"My own."
    datasets.push_to_hub(tmp_path / "rows", "me/faces", private=False, message="More")
    assert sent.files["README.md"] == b"My own."
    assert sent.repositories[0][1]["private"] is False
    assert sent.message == "More"
    export(tmp_path / "rows", append=True)
    datasets.push_to_hub(tmp_path / "rows", "me/faces")
    assert {**sent.files, "README.md": b""} == {**files_of(tmp_path / "rows"), "README.md": b""}
    assert sent.message == "22 protected images"


def test_what_is_no_whole_export_in_parquet_stays_here(tmp_path: Path, sent: Sent) -> None:
    needs("pyarrow", extra="huggingface")
    export(tmp_path / "rows")
    (tmp_path / "rows" / "key.pt").write_bytes(b"key")
    make_set().export(tmp_path / "png")
    baselines.random_noise([(image, 0) for image, _ in make_set(length=2)], tasks={"a": 2}, path=tmp_path / "store")
    for name, error, words in (
        ("rows", ValueError, r"key\.pt is not in the manifest"),
        ("png", ValueError, "png is not an export in Parquet files"),
        ("store", ValueError, "store is not an export in Parquet files"),
        ("nowhere", FileNotFoundError, "is not a finished export of mtlue"),
    ):
        with pytest.raises(error, match=words):
            datasets.push_to_hub(tmp_path / name, "me/faces")
    assert sent.repositories == []


def test_the_library_is_named_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'huggingface_hub is needed .*: pip install "mtlue\[huggingface\]"'):
        datasets.push_to_hub(tmp_path, "me/faces")
