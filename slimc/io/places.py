"""The files that a command writes and reads: told apart before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto

from slimc.errors import SlimcError

Input = tuple[str, Path]  # what it is, for people, and where
_OTHER = "name another file"


@dataclass(frozen=True)
class Output:
    """A place that is written.

    option: names it, for people. own_folder: its folder is made where it is missing, or it is one.
    """

    path: Path
    option: str = ""
    own_folder: bool = False

    @property
    def where(self) -> str:
        """Name the option, for an error."""
        return f"option {self.option}" if self.option else ""


def check_places(outputs: Iterable[Output], inputs: Iterable[Input] = ()) -> None:
    """Refuse outputs that are one file, or a file that is read, whatever their names.

    Nothing that is read is looked at unless an output exists: only then can they be the same.
    Raises SlimcError "unwritable", "output-overwritten", "input-overwritten".
    """
    places: dict[object, Output] = {}
    for output in outputs:
        _check_writable(output)
        other = places.setdefault(_identity(output.path), output)
        if other is not output:
            names = " and ".join(dict.fromkeys(o.option for o in (other, output) if o.option))
            message = f"'{output.path}' would be written twice: one would replace the other"
            raise SlimcError(
                "output-overwritten", message, f"option {names}" if names else "", _OTHER
            )
    if not any(output.path.exists() for output in places.values()):
        return
    for what, path in inputs:
        replaced = places.get(_identity(path))
        if replaced is not None:
            message = f"'{replaced.path}' is {what}, which is read"
            raise SlimcError("input-overwritten", message, replaced.where, _OTHER)


def model_inputs(path: Path) -> Iterator[Input]:
    """Yield a model file and its data files; those of a file that is no model are none."""
    yield "the model", path
    for location in sorted(_locations(path)):
        yield f"a data file of '{path.name}'", path.parent / location


def sample_inputs(path: Path) -> Iterator[Input]:
    """Yield a file of samples, or those in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        yield "a file of samples", file


def refuse_irregular(path: Path, where: str = "") -> None:
    """Refuse to replace what is no file. Raises SlimcError "unwritable"."""
    if path.exists() and not path.is_file():
        what = "a folder is in the way" if path.is_dir() else "it is a device or a pipe, no file"
        raise SlimcError("unwritable", f"'{path}' cannot be written: {what}", where, _OTHER)


def _check_writable(output: Output) -> None:
    if output.own_folder and output.path.is_dir():
        return
    refuse_irregular(output.path, output.where)
    if not (output.own_folder or output.path.parent.is_dir()):
        raise SlimcError(
            "unwritable",
            f"'{output.path}' cannot be written: there is no folder '{output.path.parent}'",
            output.where,
            "make the folder first",
        )


def _identity(path: Path) -> object:
    """Return what tells files apart, links followed, on file systems of any case too."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _locations(path: Path) -> set[str]:
    """Return where the tensors of a model file say that their elements lie."""
    if not path.is_file():
        return set()
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        entries = (e for tensor in _tensors(model) for e in tensor.external_data)
        named = {entry.value for entry in entries if entry.key == "location"}
    except (DecodeError, ValueError, OSError):  # reading it tells what is wrong
        return set()
    return {location for location in named if location and "\0" not in location}


def _tensors(message: Message) -> Iterator[TensorProto]:
    """Yield every tensor within: of graphs, bodies, attributes and functions."""
    if isinstance(message, TensorProto):
        yield message
        return
    for _, value in message.ListFields():
        for part in (value,) if isinstance(value, Message) else _messages(value):
            yield from _tensors(part)


def _messages(value: object) -> Iterator[Message]:
    """Yield the messages of a repeated field; one of numbers or texts has none."""
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for part in value:
            if not isinstance(part, Message):
                return
            yield part
