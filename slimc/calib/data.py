"""Calibration data: feeds, one after another, as often as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from slimc.calib import stored
from slimc.calib.feeds import (
    Feed,
    Spec,
    Specs,
    check,
    native,
    require,
    samples_of,
    size_of,
    specs_of,
    tensor_type,
)
from slimc.calib.stacked import stack
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.ir.types import DType

BATCH = 32  # samples in one feed where a file holds many and the graph takes any number
Feeds = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Data:
    """Feeds for a graph: iterate over it as often as you like, only one feed is in memory.

    title: where they come from, for people; make: starts a new run through the feeds; specs: types
    and shapes of each feed, None where only a run through them tells; synthetic: made up, because
    no samples were given; ignored: arrays that no graph input is named after.
    """

    graph: Graph
    title: str
    make: Callable[[], Iterator[Feed]]
    specs: tuple[Specs, ...] | None = None
    identify: Callable[[], str] | None = None
    synthetic: bool = False
    ignored: tuple[str, ...] = ()

    @classmethod
    def from_path(cls, path: str | Path, graph: Graph, batch: int = BATCH) -> Data:
        """Read a folder of `.npz` files (`.npy` for a single input), one feed each, or a file.

        A single file holds stacked samples: arrays with the inputs' ranks are split along axis 0
        into feeds of `batch` samples (or of the graph's fixed size), arrays with one axis more into
        one feed per index. Types and shapes are checked now, elements are read when asked for.
        Raises SlimcError `calib-missing`, `calib-unreadable`, `calib-mismatch`.
        """
        path = Path(path)
        if path.is_dir():
            return _from_folder(path, graph)
        if path.suffix not in (".npz", ".npy") or not path.exists():
            raise SlimcError(
                "calib-missing",
                f"'{path}' is neither a folder nor an .npz or .npy file",
                help="give a folder of .npz files, one feed each, arrays named after the inputs",
            )
        return _from_file(path, graph, batch)

    @classmethod
    def from_feeds(cls, feeds: Feeds | Callable[[], Feeds], graph: Graph) -> Data:
        """Take feeds from a list, or from a function that starts a new run through them.

        An iterator can be gone through only once, so its feeds are kept in memory. Feeds of a
        function are checked as they come. Raises SlimcError `calib-mismatch`, `calib-missing`.
        """
        if callable(feeds):
            start = feeds
            return cls(graph, "a function", lambda: _checked(start(), graph))
        held = list(_checked(feeds, graph))
        if not held:
            raise SlimcError("calib-missing", "the list of samples is empty")
        return cls(graph, "a list", lambda: iter(held), tuple(specs_of(f) for f in held))

    @classmethod
    def synthesize(
        cls, graph: Graph, sizes: Mapping[str, int], seed: int = 0, count: int = 8
    ) -> Data:
        """Make up feeds: floats unit normal, bytes of their whole range, other integers 0 or 1.

        0 and 1 are the only integers that are valid as token, segment and mask at once. Raises
        SlimcError `size-unknown` where a dimension has no number in `sizes`, `input-not-tensor`.
        """
        specs = {name: _declared(graph, name, sizes) for name in graph.inputs}

        def make() -> Iterator[Feed]:
            for i in range(count):
                random = np.random.default_rng((seed, i))
                yield {name: _made_up(spec, random) for name, spec in specs.items()}

        return cls(graph, "synthetic samples", make, (specs,) * count, synthetic=True)

    def __iter__(self) -> Iterator[Feed]:
        return self.make()

    def __len__(self) -> int:
        return self.count

    @cached_property
    def count(self) -> int:
        """Feeds in one run."""
        return len(self._all_specs)

    @cached_property
    def samples(self) -> int:
        """Samples in one run: leading sizes, summed over the feeds."""
        return sum(samples_of(specs, self.graph) for specs in self._all_specs)

    @cached_property
    def digest(self) -> str:
        """A name for the content (sha256 of the checksums of files, of the elements of others)."""
        if self.identify is not None:
            return self.identify()
        digest = sha256()
        for feed in self:
            for name in self.graph.inputs:
                array = np.ascontiguousarray(feed[name])
                digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
                objects = array.dtype.hasobject
                digest.update(repr(array.tolist()).encode() if objects else array.tobytes())
        return digest.hexdigest()

    def sizes(self, graph: Graph | None = None) -> dict[str, int]:
        """Return the number that the first feed has for every named dimension of the inputs."""
        graph = graph or self.graph
        if self.specs is not None:
            return check(graph, self.specs[0], f"the first feed of {self.title}")
        first = next(iter(self), None)
        if first is None:
            raise SlimcError("calib-missing", f"{self.title} gives no samples")
        return check(graph, specs_of(first), f"the first feed of {self.title}")

    def head(self, count: int) -> Data:
        """Return the first `count` feeds."""
        specs = None if self.specs is None else self.specs[:count]
        return replace(
            self,
            make=lambda: islice(self.make(), count),
            specs=specs,
            identify=lambda: sha256(f"{self.digest} {count}".encode()).hexdigest(),
        )

    def first_samples(self, samples: int) -> Data:
        """Return the fewest first feeds that hold `samples` samples (0: all feeds)."""
        if samples <= 0:
            return self
        seen = 0
        for i, specs in enumerate(self._all_specs):
            seen += samples_of(specs, self.graph)
            if seen >= samples:
                return self.head(i + 1)
        return self

    def describe(self) -> str:
        """Say in one line what was understood, for people."""
        inputs = self.graph.inputs
        kinds = dict.fromkeys(", ".join(f"{n} {one[n]}" for n in inputs) for one in self._all_specs)
        first, *others = kinds
        text = f"{_counted(self.samples, 'sample')} in {_counted(self.count, 'feed')}"
        text += f" from {self.title}: {first}"
        text += f" and {_counted(len(others), 'other shape')}" if others else ""
        names = ", ".join(f"'{name}'" for name in self.ignored)
        return text + (f"; left aside, no input is named so: {names}" if names else "")

    @cached_property
    def _all_specs(self) -> tuple[Specs, ...]:
        if self.specs is not None:
            return self.specs
        return tuple(specs_of(feed) for feed in self)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _checked(feeds: Feeds, graph: Graph) -> Iterator[Feed]:
    for i, given in enumerate(feeds):
        feed = {name: np.asarray(array) for name, array in given.items()}
        check(graph, specs_of(feed), f"feed {i}")
        yield _for_inputs(feed, graph)


def _for_inputs(feed: Mapping[str, np.ndarray], graph: Graph) -> Feed:
    return {name: native(feed[name], tensor_type(graph, name)) for name in graph.inputs}


def _named(arrays: Mapping[str, stored.Stored], path: Path, graph: Graph) -> dict[str, Any]:
    """Name the array of a `.npy` file after the one input that it can be meant for."""
    if "" not in arrays:
        return dict(arrays)
    if len(graph.inputs) != 1:
        raise SlimcError(
            "calib-mismatch",
            f"an .npy file holds one array and the graph has {len(graph.inputs)} inputs",
            f"'{path}'",
            "write .npz files, one feed each, with arrays named after the inputs",
        )
    return {graph.inputs[0]: arrays[""]}


def _from_folder(path: Path, graph: Graph) -> Data:
    files = sorted(path.glob("*.npz"))
    singles = sorted(path.glob("*.npy"))
    if bool(files) == bool(singles):
        there = "both .npz and .npy files" if files else "neither .npz nor .npy files"
        raise SlimcError(
            "calib-missing",
            f"folder '{path}' holds {there}",
            help="give a folder of .npz files, one feed each, arrays named after the inputs",
        )
    files = files or singles
    found = [_named(stored.arrays(file), file, graph) for file in files]
    specs = tuple({name: one.spec for name, one in arrays.items()} for arrays in found)
    for file, feed in zip(files, specs, strict=True):
        check(graph, feed, f"'{file}'")
    wanted = [{name: arrays[name] for name in graph.inputs} for arrays in found]

    def make() -> Iterator[Feed]:
        return (_for_inputs(stored.load(arrays), graph) for arrays in wanted)

    def identify() -> str:
        text = "\n".join(f"{file.name} {stored.content_digest(file)}" for file in files)
        return sha256(text.encode()).hexdigest()

    return Data(graph, f"'{path}'", make, specs, identify, ignored=_ignored(found, graph))


def _ignored(found: Iterable[Mapping[str, object]], graph: Graph) -> tuple[str, ...]:
    return tuple(sorted({name for arrays in found for name in arrays} - set(graph.inputs)))


def _from_file(path: Path, graph: Graph, batch: int) -> Data:
    arrays = _named(stored.arrays(path), path, graph)
    require(graph, arrays, f"'{path}'")
    pile = stack(arrays, graph, batch, f"'{path}'")
    specs = pile.specs()
    for specs_of_feed in {str(one): one for one in specs}.values():
        check(graph, specs_of_feed, f"'{path}'")
    title = f"'{path}'" + (f" ({pile.left_over} left over)" if pile.left_over else "")
    ignored = _ignored([arrays], graph)

    def identify() -> str:
        return sha256(f"{stored.content_digest(path)} {pile.rows}".encode()).hexdigest()

    return Data(graph, title, pile.feeds, specs, identify, ignored=ignored)


def _declared(graph: Graph, name: str, sizes: Mapping[str, int]) -> Spec:
    """Return type and shape that the graph and `sizes` give an input."""
    declared = tensor_type(graph, name)
    dims = [size_of(d, f"{name}_{i}", sizes) for i, d in enumerate(declared.shape or ())]
    known = tuple(d for d in dims if d is not None)
    if declared.shape is None or len(known) != len(dims):
        raise SlimcError(
            "size-unknown",
            f"cannot make up samples for input '{name}': {declared}",
            help=f"give its shape, --shape {name}=1x3x224x224, or samples, --calib",
        )
    return Spec(declared.dtype.numpy, known)


def _made_up(spec: Spec, random: np.random.Generator) -> np.ndarray:
    kind = DType.of_numpy(spec.dtype)
    if kind.is_float:
        return np.asarray(random.standard_normal(spec.shape)).astype(spec.dtype)
    if kind in (DType.U8, DType.I8):
        limits = np.iinfo(spec.dtype)
        return random.integers(limits.min, limits.max, spec.shape, spec.dtype.type, endpoint=True)
    if kind is DType.STRING:
        return np.full(spec.shape, "a", np.object_)
    return np.asarray(random.integers(0, 2, spec.shape)).astype(spec.dtype)
