"""The key of an earlier command, which protects more photos without training."""

from __future__ import annotations

import argparse

import mtlue


def existing_key(options: argparse.Namespace) -> mtlue.UEGenerator | None:
    """Return the generator in the file of ``--key``, or None if there is no such file.

    Raises:
        ValueError: the file is damaged, or options ask for another generator.
    """
    if options.key is None or not options.key.exists():
        return None
    if options.loss is not None:
        raise ValueError(f"--key: {options.key} exists and is used as it is; leave out --loss, or name another file")
    key = mtlue.UEGenerator.load(options.key)
    if options.epsilon not in (None, key.epsilon):
        levels = f"{255 * key.epsilon:g} levels"
        raise ValueError(f"--key: {options.key} has a budget of {levels}; leave out --epsilon, or name another file")
    return key
