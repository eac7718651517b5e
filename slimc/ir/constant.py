"""Constants: read-only arrays, shared between graphs, possibly mapped from disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from slimc.ir.types import DType, TensorType


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor whose elements are known."""

    array: np.ndarray
    """Elements, read-only; it may be a memory map of the model's data file."""

    def __post_init__(self) -> None:
        view = np.asarray(self.array).view()
        view.flags.writeable = False
        object.__setattr__(self, "array", view)

    @cached_property
    def type(self) -> TensorType:
        """Element type and (static) shape."""
        return TensorType(DType.of_numpy(self.array.dtype), tuple(self.array.shape))

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the elements in a file (strings: their UTF-8 length)."""
        if self.dtype is DType.STRING:
            return sum(
                len(s if isinstance(s, bytes) else str(s).encode()) for s in self.array.ravel()
            )
        return (self.array.size * self.dtype.bits + 7) // 8

    def same_as(self, other: Constant) -> bool:
        """Return whether both hold the same elements, bit for bit."""
        if self is other or self.array is other.array:
            return True
        if self.dtype is not other.dtype or self.shape != other.shape:
            return False
        if self.dtype is DType.STRING:
            return bool((self.array == other.array).all())
        return self.array.tobytes() == other.array.tobytes()
