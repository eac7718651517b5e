"""The pages that promise to run: every titled block is a file, every `$` line a command."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: (title|expect)=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLED = any(e.value == "slimc.testing" for e in entry_points(group="pytest11"))
PROGRAMS = {
    "slimc": ["-m", "slimc"],
    "pytest": ["-m", "pytest", *([] if INSTALLED else ["-p", "slimc.testing"])],
    "python": [],
}


def run(line: str, folder: Path) -> None:
    program, *words = shlex.split(line)
    done = subprocess.run(
        [sys.executable, *PROGRAMS[program], *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"$ {line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", ["custom_pass.md", "custom_score.md", "targets.md"])
def test_the_page_runs_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    ran = 0
    for kind, what, name, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if what == "title":
            (tmp_path / name).write_text(text, encoding="utf-8")
        elif what == "expect":
            assert (tmp_path / name).read_text(encoding="utf-8").endswith(text)
        elif kind == "console":
            for line in text.splitlines():
                run(line.removeprefix("$ "), tmp_path)
                ran += 1
    assert ran > 1
