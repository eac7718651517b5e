"""The command line: `slimc MODEL ...` compiles; sub-commands show, compare, time and list."""

from slimc.cli.main import main

__all__ = ["main"]
