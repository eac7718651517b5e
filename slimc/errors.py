"""The one root of every error a user can cause or meet."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 40  # names in a help text; a screen full


class SlimcError(Exception):
    """State what is wrong, where, and how to mend it.

    `name` is a stable kebab-case word with a paragraph in docs/errors.md. Texts are lower case,
    without a final period, and quote the user's own node names.
    """

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
    """State that the result is sound, but not what was required of it."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a help text for a name that is not among `known`: the nearest one, then the list.

    Of many names, as of the nodes of a large network, the first `LISTED`.
    """
    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    listed = f"known: {', '.join(names[:LISTED])}" if names else "there are none"
    listed += f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"did you mean '{near[0]}'? {listed}" if near else listed
