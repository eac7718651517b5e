"""Arrays in `.npy` and `.npz` files, read with care: never a pickle, never more than announced."""

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

MAX_FEED_BYTES = 4 << 30  # read at once; files come from strangers, and a zip may be a bomb
MAX_RANK = 32  # of an array
_BROKEN = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError,
           SyntaxError, TokenError, RecursionError, MemoryError)  # fmt: skip  # the last of headers


@dataclass(frozen=True)
class Stored:
    """An array in a file: `member` of a zip, or the whole file; element type, shape, order."""

    path: Path
    member: str
    spec: Spec
    fortran: bool
    header_bytes: int


def arrays(path: Path) -> dict[str, Stored]:
    """Return the arrays of a file by name ("" for a `.npy`), from their headers alone.

    Raises SlimcError `calib-unreadable`.
    """
    try:
        if path.suffix == ".npy":
            with path.open("rb") as stream:
                return {"": _header(path, "", stream, path.stat().st_size)}
        found: dict[str, Stored] = {}
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    with archive.open(entry) as stream:
                        stored = _header(path, entry.filename, stream, entry.file_size)
                    found[entry.filename.removesuffix(".npy")] = stored
        return found
    except _BROKEN as error:
        raise _unreadable(path, str(error)) from error


def load(stored: Mapping[str, Stored]) -> Feed:
    """Read whole arrays. Raises SlimcError `calib-unreadable`."""
    return {name: _whole(one) for name, one in stored.items()}


def batches(stored: Stored, rows: int) -> Iterator[np.ndarray]:
    """Yield an array in pieces of `rows` along axis 0, reading as it goes."""
    length, *rest = stored.spec.shape
    if stored.fortran:
        whole = _whole(stored)
        yield from (whole[start : start + rows] for start in range(0, length, rows))
        return
    with _open(stored) as stream:
        for start in range(0, length, rows):
            shape = (min(rows, length - start), *rest)
            yield _read(stored, stream, Spec(stored.spec.dtype, shape)).reshape(shape)


def _whole(stored: Stored) -> np.ndarray:
    with _open(stored) as stream:
        flat = _read(stored, stream, stored.spec)
    return flat.reshape(stored.spec.shape, order="F" if stored.fortran else "C")


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


def _header(path: Path, member: str, stream: IO[bytes], size_bytes: int) -> Stored:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"format version {version[0]}.{version[1]} of numpy's files is not known")
    spec = Spec(dtype, tuple(shape))
    if dtype.hasobject:
        raise ValueError(f"{member or 'the array'} holds Python objects, not numbers")
    if len(shape) > MAX_RANK or any(type(n) is not int or not 0 <= n < 1 << 62 for n in shape):
        raise ValueError(f"{member or 'the array'} has a shape that no array of samples has")
    header_bytes = stream.tell()
    if header_bytes + spec.size_bytes != size_bytes:
        announced = f"announces {header_bytes + spec.size_bytes} bytes and has {size_bytes}"
        raise ValueError(f"{member or 'the array'} {announced}")
    return Stored(path, member, spec, fortran and len(shape) > 1, header_bytes)


@contextmanager
def _open(stored: Stored) -> Iterator[IO[bytes]]:
    """Open the stream of the elements."""
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
        raise _unreadable(stored.path, str(error)) from error


def _read(stored: Stored, stream: IO[bytes], part: Spec) -> np.ndarray:
    """Read the elements of a part, flat."""
    if part.size_bytes > MAX_FEED_BYTES:
        limit = f"{part} is more than {MAX_FEED_BYTES >> 30} GiB for one feed"
        raise _unreadable(stored.path, limit, "store fewer samples in each feed")
    data = stream.read(part.size_bytes)
    if len(data) != part.size_bytes:
        raise EOFError("the file ends early")
    return np.frombuffer(data, part.dtype)


def _unreadable(
    path: Path, why: str, help: str = "write it with np.savez or np.save"
) -> SlimcError:
    return SlimcError("calib-unreadable", why, f"'{path}'", help)
