"""What goes to the terminal: text and tables to stdout, progress and errors to stderr.

Progress shows only where stderr is a terminal; tables are drawn by rich only where stdout is one.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.progress_bar import ProgressBar
from rich.status import Status
from rich.table import Table

from slimc.ir.graph import Graph
from slimc.ir.text import to_text
from slimc.passes.base import Pass, PassResult
from slimc.pipeline.runner import Watcher
from slimc.remarks import PassReport
from slimc.report.text import format_table

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def say(text: str = "", err: bool = False) -> None:
    """Write text. Names of strangers' models steer no terminal: controls are written as escapes."""
    click.echo(harmless(text), err=err)


def harmless(text: str) -> str:
    r"""Return text with its control characters as escapes such as \u001b, which JSON reads too."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table; the first column is flush left, the others flush right."""
    if not sys.stdout.isatty():
        say("\n".join(line.rstrip() for line in format_table(head, rows)))
        return
    drawn = Table(box=None, pad_edge=True, header_style="bold")
    for i, title in enumerate(head):
        drawn.add_column(title, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*map(harmless, row))
    Console().print(drawn, markup=False)


@contextmanager
def working(text: str) -> Iterator[Status | None]:
    """Show that something takes its time, where stderr is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status(text) as status:
        yield status


@contextmanager
def counting(text: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told (done, to do), and draws a bar where stderr is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, wanted: None
        return
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, wanted: bar.update(task, completed=done, total=wanted)


class Progress(Watcher):
    """Shows the running pass, prints graphs after passes, and keeps wall times.

    print_after: names of passes; seconds: pass text -> seconds with its checks.
    """

    def __init__(self, status: Status | None, print_after: Sequence[str], err: bool) -> None:
        self._status = status
        self._print_after = frozenset(print_after)
        self._err = err
        self._start = 0.0
        self._name = ""
        self.seconds: list[tuple[str, float, float]] = []

    def before(self, pass_: Pass) -> None:
        self._start = time.perf_counter()
        self._name = pass_.name
        if self._status is not None:
            self._status.update(pass_.name)

    def timing(self, what: str) -> None:
        if self._status is not None:
            self._status.update(f"timing {what}")

    def measuring(self, what: str) -> None:
        if self._status is not None:
            self._status.update(f"measuring {what}")

    def progress(self, what: str, done: int, wanted: int) -> None:
        if self._status is not None:
            line = Table.grid(padding=(0, 1))
            bar = ProgressBar(wanted, done, width=30)
            line.add_row(f"{self._name}: {what}", bar, f"{done} of {wanted}")
            self._status.update(line)

    def after(self, pass_: Pass, result: PassResult, report: PassReport) -> None:
        whole = time.perf_counter() - self._start
        self.seconds.append((pass_.name, report.seconds, max(0.0, whole - report.seconds)))
        if pass_.name in self._print_after:
            say(f"# after {pass_}\n{_text(result.graph)}", err=self._err)


def _text(graph: Graph) -> str:
    return to_text(graph, "short")
