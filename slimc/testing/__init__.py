"""Golden files for pytest: `pip install slimc` registers this plugin.

pytest collects `*.golden` (format: `slimc/testing/golden.py`, tutorial: docs/custom_pass.md);
`pytest --update-golden` rewrites everything below the input, for review.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slimc.errors import SlimcError
from slimc.testing.golden import GoldenError, check_golden


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`."""
    parser.getgroup("slimc").addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the expected part of .golden files (below the input) with the current result",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect `*.golden`."""
    if file_path.suffix != ".golden":
        return None
    return GoldenFile.from_parent(parent, path=file_path)


class GoldenFile(pytest.File):
    """One golden file: one test."""

    def collect(self) -> Iterator[pytest.Item]:
        yield GoldenItem.from_parent(self, name="golden")


class GoldenItem(pytest.Item):
    """Runs the pipeline of a golden file and compares the result."""

    def runtest(self) -> None:
        check_golden(self.path, update=self.config.getoption("--update-golden"))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, (GoldenError, SlimcError)):
            return f"{self.path}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"golden: {self.path.name}"
