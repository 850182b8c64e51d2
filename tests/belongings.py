"""Everything that is the user's and not the library's, to be compared before and after a call."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from snapshots import equal, snapshot

# torch's loader sets the handler once and for all when it first starts a worker.
LOADERS = {signal.SIGCHLD}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def surroundings() -> dict[str, Any]:
    """What a call could leave changed in the process, by name."""
    numbers = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy.random": (numbers[0], torch.as_tensor(np.asarray(numbers[1])), numbers[2:]),
        "torch random": torch.get_rng_state(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled()),
        "anomaly mode": torch.is_anomaly_enabled(),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        "cudnn": tuple(getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")),
        "mkldnn": torch.backends.mkldnn.enabled,
        "matmul precision": torch.get_float32_matmul_precision(),
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "function modes": torch._C._len_torch_function_stack(),
        "sharing strategy": torch.multiprocessing.get_sharing_strategy(),
        "warning filters": list(warnings.filters),
        "warning hook": warnings.showwarning,
        "loggers": _loggers(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "hooks of the interpreter": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.gettrace()),
        "streams": (sys.stdout, sys.stderr),
        "signals": {name: signal.getsignal(name) for name in signal.valid_signals() - LOADERS},
        "recursion limit": sys.getrecursionlimit(),
    }


def _loggers() -> dict[str, Any]:
    """The settings of each logger that has any."""
    known = {"": logging.getLogger(), **logging.root.manager.loggerDict}
    found = {}
    for name, logger in known.items():
        if isinstance(logger, logging.Logger):
            settings = logger.level, list(logger.handlers), list(logger.filters), not logger.propagate, logger.disabled
            if any(settings):
                found[name] = settings
    return found


def resources() -> dict[str, Any]:
    """Threads, descriptors and child processes."""
    descriptors = {}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            descriptors[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue
    children = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "descriptors": descriptors,
        "child processes": sorted(pid for each in children for pid in each),
        "active children": multiprocessing.active_children(),
    }


def hooks_of(module: nn.Module) -> list[Any]:
    parts = [[dict(getattr(part, name)) for name in HOOKS] for part in module.modules()]
    return [parts, [dict(parameter._backward_hooks or {}) for parameter in module.parameters()]]


def modules_of(modules: dict[str, nn.Module], trained: tuple[str, ...]) -> dict[str, Any]:
    """State of some modules; of those that may be trained all but their weights."""
    found: dict[str, Any] = {}
    for name, module in modules.items():
        flags, states, values, *identities = snapshot(module)
        found[f"hooks of {name}"] = hooks_of(module)
        found[f"mode and parameters of {name}"] = [flags if name != "generator" else [], states, identities]
        if name not in trained:
            found[f"weights of {name}"] = values
    return found


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name in before if not equal(before[name], after[name])]


@contextmanager
def untouched(modules: dict[str, nn.Module] | None = None, *, trained: tuple[str, ...] = ()) -> Iterator[None]:
    """Fail if what happens in this context changes anything of the user's; an error that leaves it is looked at while it lasts.

    Args:
        modules: Modules that the user hands to the call, by name.
        trained: Names of those whose weights it may change; a generator is left in eval mode.
    """
    kept = modules or {}
    before, owned = surroundings(), modules_of(kept, trained)
    try:
        yield
    finally:
        # In the handler of the error: frames that are still alive must have put back what they borrowed.
        changed = differing(before, surroundings()) + differing(owned, modules_of(kept, trained))
        assert not changed, changed


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fail if a thread, a descriptor or a child process is left of what happens in this context."""
    held = resources()
    yield
    gc.collect()
    # A worker that was told to stop takes a moment.
    for _ in range(100):
        left = differing(held, resources())
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError(left)
