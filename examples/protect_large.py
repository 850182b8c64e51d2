"""Protect a large folder of photos with a table of labels, on one GPU or on many.

    python examples/protect_large.py photos protected
    torchrun --nproc-per-node 8 examples/protect_large.py photos protected

Under ``torchrun`` the GPUs train one generator together, and then divide the images. Repeat a command that was interrupted, and
it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import os

import torch

import mtlue
from mtlue import datasets, defenses, evaluation

BATCH = 64


def main(photos: str, out: str, *, images: int = 256_000, readers: int = 8) -> mtlue.ProtectedDataset[torch.Tensor]:
    """Train a generator, keep it in a file, and protect the folder.

    Args:
        photos: Folder with the photos and a table ``labels.csv``.
        out: Folder for the protected images, and the start of the names of the files with checkpoint and key.
        images: How many images the generator sees. The set may have more.
        readers: Processes that read the photos, for each GPU.
    """
    on_gpu, local_rank = torch.cuda.is_available(), int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpu:
        torch.cuda.set_device(local_rank)
    if torch.distributed.is_torchelastic_launched():
        torch.distributed.init_process_group()
    where: dict[str, object] = {"device": f"cuda:{local_rank}" if on_gpu else "cpu", "num_workers": readers}
    try:
        dataset = datasets.ImageTable(photos)
        channels, height, width = dataset[0][0].shape
        # At half the size of the images, as by default.
        generator = mtlue.UEGenerator(dataset.tasks, (channels, (height + 1) // 2, (width + 1) // 2))
        network = evaluation.build_model("resnet18", dataset.tasks, image_shape=(channels, height, width))
        loss = mtlue.RestartedEM(count=2, distortions=[defenses.differentiable_jpeg])
        steps = max(1, images // (4 * BATCH))
        settings = {"epochs": 4, "steps_per_epoch": steps, "batch_size": BATCH, "checkpoint": f"{out}-fit.pt", **where}
        mtlue.fit(generator, dataset, network, loss=loss, **settings)  # type: ignore[arg-type]  # settings of several types
        if int(os.environ.get("RANK", "0")) == 0:
            generator.save(f"{out}-key.pt")
        return mtlue.protect(dataset, generator=generator, path=out, **where)  # type: ignore[arg-type]
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="folder with photos and labels.csv")
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--images", type=int, default=256_000, help="how many images the generator sees")
    parser.add_argument("--readers", type=int, default=8, help="processes that read, for each GPU")
    arguments = parser.parse_args()
    # Progress is shown by one process.
    logging.basicConfig(level="INFO" if os.environ.get("RANK", "0") == "0" else "WARNING")
    main(arguments.photos, arguments.out, images=arguments.images, readers=arguments.readers)
