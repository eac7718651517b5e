"""What a compile was made from and with: digests and versions."""

from __future__ import annotations

import platform
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import slimc

_PACKAGES = ("numpy", "onnx", "onnxruntime")
_CHUNK = 1 << 20


def versions() -> dict[str, str]:
    """Return the versions of slimc, Python and the packages that results depend on."""
    found = {"slimc": slimc.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def digest(data: bytes) -> str:
    """Return the sha256 of bytes."""
    return sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    found = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
