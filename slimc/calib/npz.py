"""Safe reading of `.npy` and `.npz` files: no pickles, no more bytes than declared."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from slimc.calib.feeds import Spec
from slimc.errors import SlimcError
from slimc.execute.ort import Feed

MAX_FEED_BYTES = 4 << 30  # read at once; files are untrusted, and a zip may be a bomb
MAX_RANK = 32  # of an array
_BROKEN = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError,
           SyntaxError, TokenError, RecursionError, MemoryError)  # fmt: skip  # the last of headers


@dataclass(frozen=True)
class NpyArray:
    """An array in a file, known from its header."""

    path: Path
    """The `.npy` or `.npz` file."""
    member: str
    """Member of the zip; "" for a `.npy` file."""
    spec: Spec
    """Element type and shape."""
    column_major: bool
    """Whether elements are in column-major order."""
    header_bytes: int
    """Size of the header, which the elements follow."""


def read_headers(path: Path) -> dict[str, NpyArray]:
    """Return the arrays of a file by name ("" for a `.npy`), from their headers alone.

    Raises SlimcError `calib-unreadable`.
    """
    try:
        if path.suffix == ".npy":
            with path.open("rb") as stream:
                return {"": _read_header(path, "", stream, path.stat().st_size)}
        headers: dict[str, NpyArray] = {}
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    with archive.open(entry) as stream:
                        stored = _read_header(path, entry.filename, stream, entry.file_size)
                    headers[entry.filename.removesuffix(".npy")] = stored
        return headers
    except _BROKEN as error:
        raise _unreadable_error(path, str(error)) from error


def load_arrays(stored: Mapping[str, NpyArray]) -> Feed:
    """Read whole arrays. Raises SlimcError `calib-unreadable`."""
    return {name: _read_array(array) for name, array in stored.items()}


def read_batches(stored: NpyArray, rows: int) -> Iterator[np.ndarray]:
    """Yield an array in pieces of `rows` along axis 0, each read on demand."""
    length, *rest = stored.spec.shape
    if stored.column_major:
        array = _read_array(stored)
        yield from (array[start : start + rows] for start in range(0, length, rows))
        return
    with _open_elements(stored) as stream:
        for start in range(0, length, rows):
            shape = (min(rows, length - start), *rest)
            yield _read_elements(stored, stream, Spec(stored.spec.dtype, shape)).reshape(shape)


def _read_array(stored: NpyArray) -> np.ndarray:
    with _open_elements(stored) as stream:
        flat = _read_elements(stored, stream, stored.spec)
    return flat.reshape(stored.spec.shape, order="F" if stored.column_major else "C")


def content_digest(path: Path) -> str:
    """Return a digest of the elements: of a zip its checksums, of a `.npy` its bytes."""
    digest = sha256()
    if path.suffix == ".npy":
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            digest.update(f"{entry.filename} {entry.file_size} {entry.CRC:08x}\n".encode())
    return digest.hexdigest()


def _read_header(path: Path, member: str, stream: IO[bytes], size_bytes: int) -> NpyArray:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"unknown numpy format version {version[0]}.{version[1]}")
    spec = Spec(dtype, tuple(shape))
    if dtype.hasobject:
        raise ValueError(f"{member or 'the array'} holds Python objects, not numbers")
    if len(shape) > MAX_RANK or any(type(n) is not int or not 0 <= n < 1 << 62 for n in shape):
        raise ValueError(f"{member or 'the array'} has an invalid shape")
    header_bytes = stream.tell()
    if header_bytes + spec.size_bytes != size_bytes:
        announced = f"declares {header_bytes + spec.size_bytes} bytes but has {size_bytes}"
        raise ValueError(f"{member or 'the array'} {announced}")
    return NpyArray(path, member, spec, fortran and len(shape) > 1, header_bytes)


@contextmanager
def _open_elements(stored: NpyArray) -> Iterator[IO[bytes]]:
    """Open the file at the first element."""
    try:
        if not stored.member:
            with stored.path.open("rb") as stream:
                stream.seek(stored.header_bytes)
                yield stream
            return
        with zipfile.ZipFile(stored.path) as archive, archive.open(stored.member) as stream:
            stream.read(stored.header_bytes)
            yield stream
    except _BROKEN as error:
        raise _unreadable_error(stored.path, str(error)) from error


def _read_elements(stored: NpyArray, stream: IO[bytes], part: Spec) -> np.ndarray:
    """Read the elements of a part, flat."""
    if part.size_bytes > MAX_FEED_BYTES:
        limit = f"{part} exceeds {MAX_FEED_BYTES >> 30} GiB, the limit for one feed"
        raise _unreadable_error(stored.path, limit, "store fewer samples per feed")
    data = stream.read(part.size_bytes)
    if len(data) != part.size_bytes:
        raise EOFError("the file ends early")
    return np.frombuffer(data, part.dtype)


def _unreadable_error(
    path: Path, why: str, help: str = "write it with np.savez or np.save"
) -> SlimcError:
    return SlimcError("calib-unreadable", why, f"'{path}'", help)
