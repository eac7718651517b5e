"""Files that a command reads and writes, checked for conflicts before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto

from slimc.errors import SlimcError

Input = tuple[str, Path]  # what it is, for messages, and where
_OTHER_FILE = "name another file"


@dataclass(frozen=True)
class Output:
    """A file or folder that is written."""

    path: Path
    """Where it is written."""
    option: str = ""
    """Option that names it, for messages."""
    own_folder: bool = False
    """Whether it is a folder, or its folder is created if it is missing."""

    @property
    def where(self) -> str:
        """Where an error is: the option, if there is one."""
        return f"option {self.option}" if self.option else ""


def check_places(outputs: Iterable[Output], inputs: Iterable[Input] = ()) -> None:
    """Refuse two outputs that are one file, and outputs that are an input, links followed.

    Inputs are only looked at if an output exists: only then can they be the same.
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
                "output-overwritten", message, f"option {names}" if names else "", _OTHER_FILE
            )
    if not any(output.path.exists() for output in places.values()):
        return
    for what, path in inputs:
        overwritten = places.get(_identity(path))
        if overwritten is not None:
            message = f"'{overwritten.path}' would overwrite an input: {what}"
            raise SlimcError("input-overwritten", message, overwritten.where, _OTHER_FILE)


def model_inputs(path: Path) -> Iterator[Input]:
    """Yield a model file and its data files, if it is a model."""
    yield "the model", path
    for location in sorted(_locations(path)):
        yield f"a data file of '{path.name}'", path.parent / location


def sample_inputs(path: Path) -> Iterator[Input]:
    """Yield a sample file, or those in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        yield "a sample file", file


def refuse_irregular(path: Path, where: str = "") -> None:
    """Refuse to replace anything but a regular file. Raises SlimcError "unwritable"."""
    if path.exists() and not path.is_file():
        what = "it is a folder" if path.is_dir() else "it is a device or a pipe, not a file"
        raise SlimcError("unwritable", f"'{path}' cannot be written: {what}", where, _OTHER_FILE)


def _check_writable(output: Output) -> None:
    if output.own_folder and output.path.is_dir():
        return
    refuse_irregular(output.path, output.where)
    if not (output.own_folder or output.path.parent.is_dir()):
        raise SlimcError(
            "unwritable",
            f"'{output.path}' cannot be written: the folder '{output.path.parent}' does not exist",
            output.where,
            "create the folder first",
        )


def _identity(path: Path) -> object:
    """Return a key of the file, links followed, that also works on case-insensitive systems."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _locations(path: Path) -> set[str]:
    """Return the locations of the data files that the tensors of a model file name."""
    if not path.is_file():
        return set()
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        entries = (e for tensor in _tensors(model) for e in tensor.external_data)
        named = {entry.value for entry in entries if entry.key == "location"}
    except (DecodeError, ValueError, OSError):  # `read` reports what is wrong
        return set()
    return {location for location in named if location and "\0" not in location}


def _tensors(message: Message) -> Iterator[TensorProto]:
    """Yield every tensor in a message: of graphs, bodies, attributes and functions."""
    if isinstance(message, TensorProto):
        yield message
        return
    for _, value in message.ListFields():
        for part in (value,) if isinstance(value, Message) else _messages(value):
            yield from _tensors(part)


def _messages(value: object) -> Iterator[Message]:
    """Yield the messages of a repeated field, if it is one of messages."""
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for part in value:
            if not isinstance(part, Message):
                return
            yield part
