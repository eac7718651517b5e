"""What the Deep Learning Accelerator (DLA) of Jetson Orin runs, as a table of limits.

Sources: NvInfer.h of TensorRT 10.3 and 8.6, the remarks "if executing this layer on DLA" of each
layer; NVIDIA's TensorRT guide, "DLA supported layers and restrictions"; the operator matrix of
NVIDIA's Deep-Learning-Accelerator-SW (operators/README.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from slimc.ir.types import Dim
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call

Numbers = Callable[[Call], Iterable[float | None]]  # None: not known before the network runs

BATCH, SIZE = 4096, 8192  # samples, and the largest of the other axes
WINDOW = 8  # of a pool
KERNEL = 32  # of a convolution
MAPS = 8192  # channels that a convolution makes
RANK = 4  # all layers run on maps [N,C,H,W]


@dataclass(frozen=True)
class Limit:
    """Numbers of a node that must lie in low..high."""

    what: str
    of: Numbers
    low: float
    high: float

    def broken(self, call: Call) -> str:
        """Say what lies beyond, nothing where all is within."""
        for number in self.of(call):
            if number is None:
                return f"its {self.what} is not known before it runs"
            if not self.low <= number <= self.high:
                return f"its {self.what} is {number:g}: {_span(self.low, self.high)} on DLA"
        return ""


@dataclass(frozen=True)
class Choice:
    """A setting of a node that must be one of some."""

    what: str
    of: Callable[[Call], object]
    allowed: tuple[object, ...]

    def broken(self, call: Call) -> str:
        found = self.of(call)
        if found in self.allowed:
            return ""
        return f"its {self.what} is {found}: {' or '.join(map(str, self.allowed))} on DLA"


def _span(low: float, high: float) -> str:
    return f"it must be {low:g}" if low == high else f"{low:g} to {high:g}"


# --- numbers of a node --------------------------------------------------------------------------


def _list(name: str, default: int) -> Numbers:
    return lambda call: call.attr(name, (default, default))


def _kernel(call: Call) -> Iterable[float | None]:
    return [_number(size) for size in call.attr("kernel_shape", call.shape(1)[2:])]


def _pads(call: Call) -> tuple[int, ...]:
    """Return the padding; that of auto_pad is below the kernel."""
    pads: tuple[int, ...] = call.attr("pads", (0, 0, 0, 0))
    return pads


def _room(call: Call) -> Iterable[float | None]:
    """Return by how much each pad is below the kernel."""
    kernel = [*_kernel(call)] * 2
    return [None if k is None else k - pad for k, pad in zip(kernel, _pads(call), strict=False)]


def _maps(axis: int) -> Numbers:
    return lambda call: [_number(call.shape(1)[axis])]


def _number(dim: Dim) -> float | None:
    return dim if isinstance(dim, int) else None


def _is_constant(i: int) -> Callable[[Call], str]:
    return lambda call: "constant" if _known(call, i) else "computed"


def _known(call: Call, i: int) -> bool:
    return call.has_operand(i) and call.value(i) is not None


def _bounds(i: int, absent: float) -> Numbers:
    def of(call: Call) -> Iterable[float | None]:
        if not call.has_operand(i):
            return [absent]
        array = call.value(i)
        return [None if array is None else float(array.reshape(-1)[0])]

    return of


def _step(call: Call) -> Iterable[float | None]:
    return call.ints(4) or ([1] if not call.has_operand(4) else [None])


def _sliced_axes(call: Call) -> Iterable[float | None]:
    axes = call.ints(3) if call.has_operand(3) else [*range(len(call.ints(1) or ()))]
    return [None] if axes is None else [axis % RANK for axis in axes]


def _moved_batch(call: Call) -> object:
    """Return where a Transpose takes the first axis of its result from."""
    perm = call.attr("perm", tuple(reversed(range(call.rank(0)))))
    return perm[0]


def _reshaped_batch(call: Call) -> object:
    """Tell whether a Reshape keeps samples apart."""
    wanted = call.ints(1)
    if not wanted:
        return "not known before it runs"
    same = wanted[0] == call.shape(0)[0] or (wanted[0] == 0 and not call.attr("allowzero", 0))
    return "kept" if same else "changed"


def _scales(first: int, last: int) -> Numbers:
    """Return the factors of a Resize along some axes: whole numbers, else not known."""

    def of(call: Call) -> Iterable[float | None]:
        factors, sizes, shape = call.value(2), call.ints(3), call.shape(0)
        if factors is not None and factors.size == RANK:
            return [float(one) for one in factors.tolist()][first:last]
        if sizes is None or len(sizes) != RANK:
            return [None]
        pairs = zip(sizes, shape, strict=True)
        return [s / d if isinstance(d, int) else None for s, d in pairs][first:last]

    return of


def _uneven(call: Call) -> Iterable[float | None]:
    """Return how far the factors of a Resize are from whole numbers."""
    return [None if one is None else abs(one - round(one)) for one in _scales(2, RANK)(call)]


def _spread(call: Call) -> object:
    """Tell how the operands of an element-wise operator are laid on each other."""
    shapes = [call.shape(i) for i in range(len(call.types))]
    padded = [(*(1,) * (RANK - len(shape)), *shape) for shape in shapes]
    whole = tuple(max(sizes, key=_rank_of) for sizes in zip(*padded, strict=True))
    fits = all(shape[1:] == whole[1:] or shape[2:] == (1, 1) for shape in padded)
    return "whole or per channel" if fits else f"{_text(shapes)}"


def _rank_of(size: Dim) -> float:
    """Order sizes: one that is not known is larger than 1."""
    return size if isinstance(size, int) else SIZE + 1


def _text(shapes: Iterable[Iterable[Dim]]) -> str:
    return " with ".join("[" + ",".join(map(str, shape)) + "]" for shape in shapes)


def _softmax_axis(call: Call) -> Iterable[float | None]:
    """Return the size of the axis of a Softmax; beyond 1024 it must be the only one."""
    shape = call.shape(0)
    axis = call.axis(-1)
    others = [size for i, size in enumerate(shape) if i not in (0, axis)]
    size = _number(shape[axis])
    alone = all(other == 1 for other in others)
    return [size if size is None or alone or size <= SIZE // 8 else size + SIZE]


# --- the table ----------------------------------------------------------------------------------

_CONV = (
    Limit("kernel", _kernel, 1, KERNEL),
    Limit("stride", _list("strides", 1), 1, 8),
    Limit("padding", _pads, 0, 31),
    Limit("kernel beyond its padding", _room, 1, KERNEL),
    Limit("dilation", _list("dilations", 1), 1, 32),
    Limit("count of output maps", _maps(0), 1, MAPS),
    Limit("count of groups", lambda call: [call.attr("group", 1)], 1, MAPS),
    Choice("weight", _is_constant(1), ("constant",)),
)
_DECONV = (
    Limit("kernel", _kernel, 1, KERNEL),
    Limit("stride", _list("strides", 1), 1, KERNEL),
    Limit("padding", _pads, 0, 0),
    Limit("output padding", _list("output_padding", 0), 0, 0),
    Choice("auto_pad", lambda call: call.attr("auto_pad", "NOTSET"), ("NOTSET", "VALID")),
    Choice(
        "output_shape",
        lambda call: "given" if "output_shape" in call.attrs else "left out",
        ("left out",),
    ),
    Limit("dilation", _list("dilations", 1), 1, 1),
    Limit("count of groups", lambda call: [call.attr("group", 1)], 1, 1),
    Choice("weight", _is_constant(1), ("constant",)),
)
_POOL = (
    Limit("window", _list("kernel_shape", 1), 1, WINDOW),
    Limit("stride", _list("strides", 1), 1, 16),
    Limit("padding", _pads, 0, 7),
    Limit("dilation", _list("dilations", 1), 1, 1),
    Limit("count of results", lambda call: [call.results], 1, 1),
)
_PAIR = (
    Limit("count of operands", lambda call: [len(call.types)], 2, 2),
    Choice("broadcast", _spread, ("whole or per channel",)),
)

Bound = Limit | Choice

LIMITS: Mapping[str, tuple[Bound, ...]] = {
    "Conv": _CONV,
    "ConvTranspose": _DECONV,
    "MaxPool": _POOL,
    "AveragePool": _POOL,
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "LeakyRelu": (),
    "Abs": (),
    "PRelu": (Choice("slope", _is_constant(1), ("constant",)),),
    "Clip": (
        Limit("lower bound", _bounds(1, -1), 0, 0),
        Limit("upper bound", _bounds(2, 0), 1, 127),
    ),
    **dict.fromkeys(("Add", "Sub", "Mul", "Max", "Min", "Sum"), _PAIR),
    "Concat": (
        Limit("axis", lambda call: [call.axis(0)], 1, 1),
        Limit("count of operands", lambda call: [len(call.types)], 2, SIZE),
    ),
    "Reshape": (Choice("batch", _reshaped_batch, ("kept",)),),
    "Transpose": (Choice("first axis", _moved_batch, (0,)),),
    "Slice": (Limit("step", _step, 1, 1), Limit("axis", _sliced_axes, 1, 3)),
    "Split": (Limit("axis", lambda call: [call.axis(0)], 1, 3),),
    "Softmax": (
        Limit("axis", lambda call: [call.axis(-1)], 1, 3),
        Limit("axis size", _softmax_axis, 1, SIZE),
    ),
    "LRN": (Choice("window", lambda call: call.attr("size"), (3, 5, 7, 9)),),
    "BatchNormalization": (),
}  # fmt: skip

_RESIZE: Mapping[str, tuple[Bound, ...]] = {
    "nearest": (Limit("factor", _scales(2, RANK), 1, 32),),
    "linear": (Limit("factor", _scales(2, RANK), 1, 4),),
}
_RESIZE_ALL: tuple[Bound, ...] = (
    Limit("factor of batch and channels", _scales(0, 2), 1, 1),
    Limit("factor's fraction", _uneven, 0, 0),
)


def misfit(call: Call) -> str:
    """Say why DLA does not run a node, or that this cannot be known; nothing where it does."""
    try:
        return broken(call)
    except Unmatched as unknown:
        return str(unknown)


def broken(call: Call) -> str:
    """Say which limit of DLA a node breaks. Raises Unmatched where that cannot be known."""
    return _general(call) or next(filter(None, (one.broken(call) for one in _of(call))), "")


def _of(call: Call) -> Iterable[Bound]:
    if call.op != "Resize":
        return LIMITS[call.op]
    mode = str(call.attr("mode", "nearest"))
    modes = Choice("mode", lambda _: mode, tuple(_RESIZE))
    return (modes, *_RESIZE.get(mode, ()), *_RESIZE_ALL)


def _general(call: Call) -> str:
    """Say what no layer of DLA takes."""
    if call.op not in LIMITS and call.op != "Resize":
        return f"DLA has no {call.op}"
    shape = call.shape(_data(call))
    if len(shape) != RANK:
        return f"its data has rank {len(shape)}: DLA takes maps [N,C,H,W]"
    for i, (size, most) in enumerate(zip(shape, (BATCH, SIZE, SIZE, SIZE), strict=True)):
        if not isinstance(size, int):
            return f"axis {i} of its data has {size}: DLA takes sizes that are fixed"
        if size > most:
            return f"axis {i} of its data has {size}: at most {most} on DLA"
    return ""


def _data(call: Call) -> int:
    """Return the first operand that is computed."""
    return next(
        (i for i in range(len(call.types)) if call.has_operand(i) and not _known(call, i)), 0
    )
