"""The files that a compile makes: the model, and what its target wants beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from errno import EISDIR
from hashlib import sha256
from pathlib import Path

from slimc.errors import SlimcError
from slimc.io.write import replaced, write
from slimc.ir.graph import Form, Graph
from slimc.passes.target import Target
from slimc.targets.legalize import file_opset


def save(graph: Graph, target: Target, path: str | Path) -> tuple[Path, ...]:
    """Write a model in the target's opset, and its companions; return all of them.

    Each is written whole before the first takes its place. Raises SlimcError "unwritable", and
    those of `write`.
    """
    path = Path(path)
    texts = {path.with_name(path.stem + suffix): text for suffix, text in companions(graph, target)}
    with ExitStack() as stack:
        for other, text in texts.items():
            try:
                if other.is_dir():
                    raise IsADirectoryError(EISDIR, "a folder is in the way")
                stack.enter_context(replaced(other)).write(text.encode())
            except OSError as error:
                message = f"'{other}' cannot be written: {error.strerror}"
                raise SlimcError("unwritable", message) from error
        write(graph, path, *file_version(graph, target))
    return (path, *texts)


def companions(graph: Graph, target: Target) -> Iterator[tuple[str, str]]:
    """Yield suffix and text of every file that belongs beside a graph that is legal."""
    if graph.form is Form.LEGAL:
        made = ((one.suffix, one.make(graph)) for one in target.companions)
        yield from ((suffix, text) for suffix, text in made if text)


def companion_digests(graph: Graph, target: Target) -> dict[str, str]:
    """Return the sha256 of every companion, by `output` and its suffix."""
    found = companions(graph, target)
    return {f"output{suffix}": sha256(text.encode()).hexdigest() for suffix, text in found}


def file_version(graph: Graph, target: Target) -> tuple[int | None, int | None]:
    """Return opset and IR version to write, None for the lowest that expresses the graph."""
    if graph.form is not Form.LEGAL:
        return None, None
    return file_opset(graph, target), target.ir_version
