"""Upload an exported set to the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path

from mtlue._formats import README, verify
from mtlue._runtime import require


def push_to_hub(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool = True, token: str | None = None, message: str | None = None
) -> str:
    """Upload what ``protected.export(folder, format="parquet")`` wrote to a data set on the Hugging Face Hub.

    The folder is first compared with its manifest, so that only what `mtlue.ProtectedDataset.export` wrote is uploaded,
    unchanged. Its README.md becomes the data set's card; a card that exists on the Hub stays. Push again after
    ``export(append=True)``: only new files are uploaded. Needs ``mtlue[huggingface]``.

    Args:
        folder: The export.
        repo_id: The data set's name on the Hub, such as ``"me/faces"``. It is made if it does not exist.
        private: Whether a new data set is visible to you alone, so that you can look at it first. Make it public in its
            settings on the Hub, or with False. An existing data set keeps its setting.
        token: Your access token. None uses that of ``hf auth login``.
        message: The message of the commit. None says how many images there are.

    Returns:
        The address of the data set.

    Raises:
        ImportError: ``huggingface_hub`` is not installed.
        FileNotFoundError: the folder is not an export.
        ValueError: the export has another format, or differs from its manifest.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from mtlue import baselines, datasets
        >>> protected = baselines.random_noise([(torch.rand(3, 8, 8), label) for label in (0, 1, 1)], tasks={"gender": 2})
        >>> with tempfile.TemporaryDirectory() as folder:  # or mtlue.protect(dataset)
        ...     protected.export(f"{folder}/rows", format="parquet")
        ...     datasets.push_to_hub(f"{folder}/rows", "me/faces")  # doctest: +SKIP
        'https://huggingface.co/datasets/me/faces'
    """
    hub = require("huggingface_hub", extra="huggingface")
    found = verify(folder)
    if found.kind != "export" or not any(Path(folder, "data").glob("*.parquet")):
        raise ValueError(f'folder: {folder} is not an export in Parquet files; write one with export(folder, format="parquet")')
    api = hub.HfApi(token=token)
    address = str(api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True))
    has_card = api.file_exists(repo_id, README, repo_type="dataset")
    api.upload_folder(
        repo_id=repo_id,
        folder_path=os.fspath(folder),
        repo_type="dataset",
        commit_message=message or f"{found.length} protected images",
        ignore_patterns=[README] if has_card else None,
    )
    return address
