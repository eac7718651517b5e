"""The files that a compile reads, and those it makes: the model, and what belongs beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from slimc.calib.images import Images
from slimc.errors import SlimcError
from slimc.io.places import Input, Output, check_places, model_inputs, sample_inputs
from slimc.io.write import data_path, replace_file, write
from slimc.ir.graph import Form, Graph
from slimc.targets.opset import file_opset
from slimc.targets.target import Target


@dataclass(frozen=True)
class Sources:
    """Where that which is read lies, as far as it has a path."""

    models: tuple[Path, ...] = ()
    samples: tuple[Path, ...] = ()
    others: tuple[Input, ...] = ()

    @classmethod
    def of(cls, models: object, samples: object, others: Mapping[str, object]) -> Sources:
        """Take what a command or a function got: a path, several, or anything else.

        others: by what they are, for people.
        """
        named = ((what, path) for what, given in others.items() for path in _paths(given))
        return cls(_paths(models), _paths(samples), tuple(named))

    def inputs(self) -> Iterator[Input]:
        """Yield every file: data files of models and the files in a folder of samples too."""
        for model in self.models:
            yield from model_inputs(model)
        for samples in self.samples:
            yield from sample_inputs(samples)
        yield from self.others


def _paths(given: object) -> tuple[Path, ...]:
    several = given if isinstance(given, tuple) else (given,)
    places = (one.path if isinstance(one, Images) else one for one in several)
    return tuple(Path(place) for place in places if isinstance(place, (str, Path)))


def model_outputs(path: Path, target: Target, option: str = "") -> Iterator[Output]:
    """Yield what may be written for a model: its file, a data file, and its companions."""
    yield Output(path, option)
    yield Output(data_path(path), option)
    for one in target.companions:
        yield Output(path.with_name(path.stem + one.suffix), option)


def save(
    graph: Graph, target: Target, path: str | Path, sources: Sources | None = None
) -> tuple[Path, ...]:
    """Write a model in the target's opset, and its companions; return all of them.

    Each is written whole before the first takes its place. sources: none of these is written over.
    Raises SlimcError "unwritable", "input-overwritten", and those of `write`.
    """
    path = Path(path)
    texts = {path.with_name(path.stem + suffix): text for suffix, text in companions(graph, target)}
    if sources is not None:
        check_places(model_outputs(path, target), sources.inputs())
    with ExitStack() as stack:
        for other, text in texts.items():
            try:
                stack.enter_context(replace_file(other)).write(text.encode())
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
