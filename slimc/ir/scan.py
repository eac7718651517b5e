"""Scan one line of text from left to right; errors carry line and column."""

from __future__ import annotations

import re

from slimc.errors import SlimcError

_SPACE = re.compile(r"[ \t]*")


class Cursor:
    """A line of text and a position in it. Reading skips the space after what is read."""

    def __init__(self, text: str, line: int = 1) -> None:
        self.text = text
        self.line = line
        self.at = 0
        self._skip()

    def error(self, message: str, help: str = "") -> SlimcError:
        """Make an error at this position."""
        where = f"line {self.line}, column {self.at + 1}: {self.text.strip()}"
        return SlimcError("text-syntax", message, where, help)

    def describe_next(self) -> str:
        """Describe what comes next, for messages."""
        rest = self.text[self.at :].split(maxsplit=1)
        return f"'{rest[0]}'" if rest else "the end of the line"

    def at_end(self) -> bool:
        """Return whether nothing but a comment follows."""
        return self.at >= len(self.text) or self.text[self.at] == "#"

    def looking_at(self, pattern: re.Pattern[str]) -> bool:
        """Return whether `pattern` matches here."""
        return pattern.match(self.text, self.at) is not None

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Read what `pattern` matches here, or read nothing and return None."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        self._skip()
        return match[0]

    def accept(self, token: str) -> bool:
        """Read `token` if it comes next; return whether it did."""
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        self._skip()
        return True

    def expect(self, token: str) -> None:
        """Read `token`; SlimcError "text-syntax" if something else comes next."""
        if not self.accept(token):
            raise self.error(f"expected '{token}', found {self.describe_next()}")

    def expect_match(self, pattern: re.Pattern[str], what: str) -> str:
        """Read what `pattern` matches; else SlimcError "text-syntax", naming `what`."""
        text = self.match(pattern)
        if text is None:
            raise self.error(f"expected {what}, found {self.describe_next()}")
        return text

    def expect_end(self) -> None:
        """Raise SlimcError "text-syntax" if anything but a comment follows."""
        if not self.at_end():
            raise self.error(f"expected the end of the line, found {self.describe_next()}")

    def _skip(self) -> None:
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
