"""What a compile was made from and with: digests and versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from slimc.io.write import write
from slimc.ir.graph import Graph
from slimc.version import VERSION

_PACKAGES = ("numpy", "onnx", "onnxruntime")
_CHUNK = 1 << 20


def versions() -> dict[str, str]:
    """Return the versions of slimc, Python and the packages that results depend on."""
    found = {"slimc": VERSION, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def digest(*paths: Path) -> str:
    """Return the sha256 of files, one after the other, read in pieces."""
    found = sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    return found.hexdigest()


@dataclass(frozen=True)
class Written:
    """A model file (with its data file, if it needs one) in a folder of its own."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(sorted(self.path.parent.iterdir(), reverse=True))

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    @property
    def digest(self) -> str:
        return digest(*self.files)


@contextmanager
def written(graph: Graph, opset: int | None = None, ir: int | None = None) -> Iterator[Written]:
    """Write a graph where it can be looked at for a while, as large as it may be."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write(graph, path, opset, ir)
        yield Written(path)
