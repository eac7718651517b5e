"""Scan one line of text from left to right; errors carry line and column."""

from __future__ import annotations

import re

from slimc.errors import SlimcError

_SPACE = re.compile(r"[ \t]*")


class Cursor:
    """A line of a text and a place in it. Reading skips the space before what is read."""

    def __init__(self, text: str, line: int = 1) -> None:
        self.text = text
        self.line = line
        self.at = 0
        self._skip()

    def error(self, message: str, help: str = "") -> SlimcError:
        """Make the error that `message` is wrong at this place."""
        where = f"line {self.line}, column {self.at + 1}: {self.text.strip()}"
        return SlimcError("text-syntax", message, where, help)

    def found(self) -> str:
        """Describe what stands here, for messages."""
        rest = self.text[self.at :].split(maxsplit=1)
        return f"'{rest[0]}'" if rest else "the end of the line"

    def at_end(self) -> bool:
        """Tell whether only a comment is left."""
        return self.at >= len(self.text) or self.text[self.at] == "#"

    def looking_at(self, pattern: re.Pattern[str]) -> bool:
        """Tell whether `pattern` matches here."""
        return pattern.match(self.text, self.at) is not None

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Read what `pattern` matches here, or read nothing and return None."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        self._skip()
        return found[0]

    def take(self, token: str) -> bool:
        """Read `token` if it stands here, and tell whether it did."""
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        self._skip()
        return True

    def need(self, token: str) -> None:
        """Read `token`; SlimcError "text-syntax" if something else stands here."""
        if not self.take(token):
            raise self.error(f"expected '{token}', found {self.found()}")

    def need_match(self, pattern: re.Pattern[str], what: str) -> str:
        """Read what `pattern` matches; SlimcError "text-syntax" names `what` was expected."""
        found = self.match(pattern)
        if found is None:
            raise self.error(f"expected {what}, found {self.found()}")
        return found

    def need_end(self) -> None:
        """Raise SlimcError "text-syntax" unless only a comment is left."""
        if not self.at_end():
            raise self.error(f"expected the end of the line, found {self.found()}")

    def _skip(self) -> None:
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
