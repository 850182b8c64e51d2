"""The command line: a folder of photos and a table of labels in, a folder to publish out."""

from mtlue._cli.main import main

__all__ = ["main"]
