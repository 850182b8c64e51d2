"""Run by hand or by the gate in an environment that holds the wheel and nothing else."""

import importlib.metadata
import pathlib
import subprocess
import sys
import tempfile

import torch

import mtlue


def main() -> None:
    here = pathlib.Path(mtlue.__file__).parent
    if not (here / "py.typed").is_file():
        sys.exit("the wheel has no py.typed")
    required = [line for line in importlib.metadata.requires("mtlue") or [] if "extra ==" not in line]
    if sorted(line.split(">=")[0] for line in required) != ["einops", "torch", "torchvision", "typing-extensions"]:
        sys.exit(f"unexpected runtime dependencies: {required}")
    dataset = torch.utils.data.TensorDataset(torch.rand(16, 3, 12, 10), torch.arange(16) % 3)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(360, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/store"
        protected = mtlue.protect(dataset, surrogate=net, loss=mtlue.EM(), epochs=1, path=path, progress=False)
        again = mtlue.ProtectedDataset.load(path, dataset)
        protected.export(f"{folder}/export")
        if not torch.equal(protected[3][0], again[3][0]):
            sys.exit("a loaded store differs from what was written")
    command = pathlib.Path(sys.executable).with_name("mtlue")
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    if said != f"mtlue {mtlue.__version__}\n":
        sys.exit(f"the command says {said!r}")
    sys.stdout.write(f"mtlue {mtlue.__version__} works from its wheel\n")


if __name__ == "__main__":
    main()
