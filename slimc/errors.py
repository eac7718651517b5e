"""Base class of all errors that a user can cause or see."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED = 40  # names that a help text lists: about one screen


class SlimcError(Exception):
    """State what is wrong, where, and how to fix it.

    Texts are lower case, without a final period, and quote the user's own node names.
    """

    name: str
    """Stable kebab-case name of the error, with a paragraph in docs/errors.md."""
    message: str
    """What is wrong."""
    where: str
    """File, node, option or line that is concerned; empty if it is obvious."""
    help: str
    """How to fix it; empty if there is nothing to add."""

    def __init__(self, name: str, message: str, where: str = "", help: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.where = where
        self.help = help

    def __str__(self) -> str:
        lines = [f"error[{self.name}]: {self.message}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.help:
            lines.append(f"  help:  {self.help}")
        return "\n".join(lines)


class PromiseError(SlimcError):
    """The result is valid but misses a requirement, such as an accuracy criterion."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a help text for a name that is not among `known`: the closest one, then the list.

    At most `MAX_LISTED` names are listed: a large network has thousands of nodes.
    """
    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    listed = f"known: {', '.join(names[:MAX_LISTED])}" if names else "there are none"
    listed += f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"did you mean '{near[0]}'? {listed}" if near else listed
