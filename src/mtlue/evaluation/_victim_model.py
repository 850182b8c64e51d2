"""The model of a victim, from what a caller may give as one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from mtlue._checks import check_arity
from mtlue._fit import answer_of, check_weights
from mtlue._losses import Surrogate
from mtlue._models import build_model
from mtlue._runtime import Stream, derived_seed, random_numbers
from mtlue._tasks import Task
from mtlue.evaluation._victim_training import Model


def make_model(model: Model | None, tasks: Mapping[str, Task], *, image_shape: tuple[int, int, int], seed: int) -> nn.Module:
    """A module of one's own from what a caller may give as a model.

    Raises:
        ValueError: it cannot be trained, or there is no backbone of this name for these images.
        TypeError: it is neither a module, a name nor a function that makes a module. What calling it raises is raised too.
    """
    if isinstance(model, nn.Module):
        made = copy.deepcopy(model)
    elif model is None or isinstance(model, str):
        try:
            made = build_model(model or "resnet18", tasks, image_shape=image_shape, seed=seed)
        except ValueError as error:
            raise ValueError(f"model: {str(error).removeprefix('backbone: ')}") from None
    else:
        made = _called(model, tasks, seed)
    if any(is_lazy(parameter) for parameter in made.parameters()):
        # They get their shapes from the first images.
        with torch.no_grad():
            answer_of(Surrogate(made.eval(), tasks, argument="model"), torch.zeros(1, *image_shape))
        made.train()
    check_weights(made, argument="model")
    return made


def _called(model: Callable[[dict[str, Task]], nn.Module], tasks: Mapping[str, Task], seed: int) -> nn.Module:
    """What a function that makes a module makes for the tasks.

    Raises:
        TypeError: it is not such a function, or it is a class that cannot be called with the tasks.
    """
    if isinstance(model, Surrogate | Mapping) or not callable(model):
        got, cure = repr(model), ""
        if isinstance(model, Surrogate):
            got, cure = "a mtlue.Surrogate", "; give its .module"
        elif isinstance(model, Mapping):
            got, cure = f"a {type(model).__name__}", "; load a state dict into a module: net.load_state_dict(...)"
        raise TypeError(f"model: expected a module, the name of a backbone or a function of tasks, got {got}{cure}")
    if not isinstance(model, type):
        check_arity("model", model, "tasks")
    with random_numbers(derived_seed(seed, Stream.VICTIM), torch.device("cpu")):
        try:
            made = model(dict(tasks))
        except Exception as error:
            if not isinstance(model, type):
                raise
            name = model.__name__
            raise TypeError(
                f"model: calling {name} with the tasks failed: {error}; if it is a class, pass an instance: {name}(...)"
            ) from error
    if not isinstance(made, nn.Module):
        raise TypeError(f"model: the function returned {type(made).__name__}, expected a torch.nn.Module")
    return made
