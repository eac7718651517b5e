"""Arrays of live values, per feed: in memory up to a bound, on disk beyond it."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

STORE_BYTES = 1 << 30  # of live values in memory; beyond it they go to a temporary folder


class Store(AbstractContextManager["Store"]):
    """Values of a graph by name and feed. A context manager: what lies on disk goes at its end."""

    def __init__(self, size_bytes: int = STORE_BYTES) -> None:
        self.size_bytes = size_bytes
        self.held_bytes = 0
        self._values: dict[tuple[str, int], Any] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything, and remove what lies on disk."""
        self._values.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def put(self, value: str, feed: int, array: Any) -> None:
        """Keep a value; sequences and absent values always stay in memory."""
        if isinstance(array, np.ndarray) and array.dtype != np.object_ and array.size:
            if self.held_bytes + array.nbytes > self.size_bytes:
                array = self._on_disk(array)
            else:
                self.held_bytes += array.nbytes
        self._values[value, feed] = array

    def has(self, value: str) -> bool:
        """Tell whether a value of the first feed is kept."""
        return (value, 0) in self._values

    def get(self, value: str, feed: int) -> Any:
        """Return a value that is kept."""
        return self._values[value, feed]

    def drop(self, value: str, feeds: int) -> None:
        """Forget a value of all feeds."""
        for feed in range(feeds):
            array = self._values.pop((value, feed), None)
            if isinstance(array, np.memmap):
                name = Path(str(array.filename))
                del array
                name.unlink()
            elif isinstance(array, np.ndarray) and array.dtype != np.object_:
                self.held_bytes -= array.nbytes

    def _on_disk(self, array: np.ndarray) -> np.ndarray:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="slimc-")
        self._files += 1
        path = Path(self._folder.name) / str(self._files)
        mapped = np.memmap(path, array.dtype, "w+", shape=array.shape)
        mapped[...] = array
        return mapped
