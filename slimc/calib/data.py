"""Calibration data: feeds, one after another, as often as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from slimc.calib import images
from slimc.calib import npz as stored
from slimc.calib.feeds import (
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
from slimc.calib.images import SUFFIXES, Album, Images
from slimc.calib.stacked import Stack, stack
from slimc.errors import SlimcError
from slimc.execute.ort import Feed
from slimc.execute.spool import Store
from slimc.ir.graph import Graph
from slimc.ir.types import DType

BATCH = 32  # samples in one feed where a file holds many and the graph takes any number
SPOOL_BYTES = 64 << 20  # of a one-shot iterator's feeds in memory; the others lie on disk
Feeds = Iterable[Mapping[str, Any] | Any]  # an array alone is meant for the one input
Source = str | Path | Images | Feeds | Callable[[], Feeds]


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
    def of(cls, source: Source, graph: Graph) -> Data:
        """Read samples from a path, from images, or from feeds, whatever is given."""
        if isinstance(source, Images):
            return cls.from_images(source, graph)
        if isinstance(source, (str, Path)):
            return cls.from_path(source, graph)
        return cls.from_feeds(source, graph)

    @classmethod
    def from_images(cls, source: Images, graph: Graph, batch: int = BATCH) -> Data:
        """Read a folder of images, those of one size `batch` at a time, as declared.

        Raises SlimcError `calib-missing`, `calib-mismatch`, `calib-unreadable`, `bad-preprocess`,
        `image-too-large`, `images-missing`.
        """
        folder, steps = Path(source.path), source.steps
        files = images.files_of(folder) if folder.is_dir() else []
        if not files:
            wanted = ", ".join(SUFFIXES)
            raise SlimcError(
                "calib-missing",
                f"'{folder}' is no folder of images ({wanted})",
                help="leave --preprocess out: arrays are taken as they are",
            )
        album = Album.of(files, steps, graph, batch)
        for specs in {str(one): one for one in album.specs()}.values():
            check(graph, specs, f"'{folder}'")
        left = f", {album.left_over} left over" if album.left_over else ""
        if not album.feeds_of:
            raise SlimcError("calib-missing", f"the images of '{folder}' fill no feed{left}")
        title = f"images in '{folder}' ({steps}{left})"
        return cls(graph, title, album.feeds, album.specs(), album.digest)

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
            return _from_folder(path, graph, batch)
        if path.suffix not in (".npz", ".npy") or not path.exists():
            raise SlimcError(
                "calib-missing",
                f"'{path}' is neither a folder nor an .npz or .npy file",
                help="give a folder of .npz files, one feed each, arrays named after the inputs",
            )
        return _from_file(path, graph, batch)

    @classmethod
    def from_feeds(cls, feeds: Feeds | Callable[[], Feeds], graph: Graph) -> Data:
        """Take feeds from a list, from what can be iterated again, or from a generator function.

        Each run through them must give the same; they are checked as they come. An iterator can be
        gone through only once: its feeds are kept, on disk beyond 64 MiB. A feed: arrays by input
        name, or one array where the graph has one input. Raises SlimcError `calib-mismatch`,
        `calib-missing`.
        """
        if callable(feeds):
            start = feeds
            return cls(graph, "a function", lambda: _checked(start(), graph))
        if isinstance(feeds, Sequence):
            held = list(_checked(feeds, graph))
            if not held:
                raise SlimcError("calib-missing", "the list of samples is empty")
            return cls(graph, "a list", lambda: iter(held), tuple(specs_of(f) for f in held))
        if isinstance(feeds, Iterator):
            return _spooled(feeds, graph)
        many = feeds
        return cls(graph, "an iterable", lambda: _checked(many, graph))

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
        return len(self.all_specs)

    @cached_property
    def samples(self) -> int:
        """Samples in one run: leading sizes, summed over the feeds."""
        return sum(samples_of(specs, self.graph) for specs in self.all_specs)

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
        for i, specs in enumerate(self.all_specs):
            seen += samples_of(specs, self.graph)
            if seen >= samples:
                return self.head(i + 1)
        return self

    def describe(self) -> str:
        """Say in one line what was understood, for people."""
        inputs = self.graph.inputs
        kinds = dict.fromkeys(", ".join(f"{n} {one[n]}" for n in inputs) for one in self.all_specs)
        first, *others = kinds
        text = f"{_counted(self.samples, 'sample')} in {_counted(self.count, 'feed')}"
        text += f" from {self.title}: {first}"
        text += f" and {_counted(len(others), 'other shape')}" if others else ""
        names = ", ".join(f"'{name}'" for name in self.ignored)
        return text + (f"; left aside, no input is named so: {names}" if names else "")

    @cached_property
    def all_specs(self) -> tuple[Specs, ...]:
        """Types and shapes of each feed; where only a run tells, one run."""
        if self.specs is not None:
            return self.specs
        return tuple(specs_of(feed) for feed in self)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _spooled(feeds: Iterator[Any], graph: Graph) -> Data:
    """Keep the feeds of an iterator that can be gone through once."""
    store = Store(SPOOL_BYTES)
    specs = []
    for i, feed in enumerate(_checked(feeds, graph)):
        for name, array in feed.items():
            store.put(name, i, array)
        specs.append(specs_of(feed))
    if not specs:
        raise SlimcError("calib-missing", "the iterator gives no samples")

    def make() -> Iterator[Feed]:
        for i in range(len(specs)):
            yield {name: store.get(name, i) for name in graph.inputs}

    return Data(graph, "an iterator, kept", make, tuple(specs))


def _named_arrays(given: Any, graph: Graph, i: int) -> Mapping[str, Any]:
    """Name an array that comes alone after the one input."""
    if isinstance(given, Mapping):
        return given
    if len(graph.inputs) == 1 and hasattr(given, "__array__"):
        return {graph.inputs[0]: given}
    raise SlimcError(
        "calib-mismatch",
        f"found a {type(given).__name__}, not arrays by the names of the inputs",
        f"feed {i}",
        "give dictionaries: " + ", ".join(f"'{name}': array" for name in graph.inputs),
    )


def _checked(feeds: Feeds, graph: Graph) -> Iterator[Feed]:
    for i, given in enumerate(feeds):
        arrays = _named_arrays(given, graph, i)
        feed = {name: np.asarray(array) for name, array in arrays.items()}
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


def _from_folder(path: Path, graph: Graph, batch: int) -> Data:
    files = sorted(path.glob("*.npz"))
    singles = sorted(path.glob("*.npy"))
    if bool(files) == bool(singles):
        raise _no_arrays(path, bool(files))
    files = files or singles
    found = [_named(stored.arrays(file), file, graph) for file in files]
    piles = [_pile(graph, arrays, batch, file) for file, arrays in zip(files, found, strict=True)]
    specs = tuple(one for pile in piles for one in pile.specs())

    def make() -> Iterator[Feed]:
        return (feed for pile in piles for feed in pile.feeds())

    def identify() -> str:
        text = "\n".join(f"{file.name} {stored.content_digest(file)}" for file in files)
        return sha256(f"{[pile.rows for pile in piles]} {text}".encode()).hexdigest()

    left_over = sum(pile.left_over for pile in piles)
    title = f"'{path}'" + (f" ({left_over} left over)" if left_over else "")
    return Data(graph, title, make, specs, identify, ignored=_ignored(found, graph))


def _no_arrays(path: Path, both: bool) -> SlimcError:
    """Say what a folder holds instead of feeds."""
    if not both and images.files_of(path):
        return SlimcError(
            "calib-missing",
            f"folder '{path}' holds images, and how the model wants them is not said",
            help="--preprocess resize=256,crop=224,scale=1/255,layout=nchw, for example",
        )
    there = "both .npz and .npy files" if both else "neither .npz nor .npy files, nor images"
    return SlimcError(
        "calib-missing",
        f"folder '{path}' holds {there}",
        help="give a folder of .npz files, one feed each, arrays named after the inputs",
    )


def _pile(graph: Graph, arrays: Mapping[str, stored.Stored], batch: int, file: Path) -> Stack:
    """Take a file of a folder as one feed; one that is none as stacked samples.

    That is a `.npy`, or a `.npz` of more samples than the fixed batch of the graph.
    """
    specs = {name: one.spec for name, one in arrays.items()}
    require(graph, arrays, f"'{file}'")
    wanted = {name: arrays[name] for name in graph.inputs}
    try:
        check(graph, specs, f"'{file}'")
        return Stack(graph, {}, wanted, 1, False, 0)
    except SlimcError as refused:
        try:
            pile = stack(arrays, graph, batch, f"'{file}'")
            for one in pile.specs():
                check(graph, one, f"'{file}'")
        except SlimcError as error:
            raise (error if file.suffix == ".npy" else refused) from None
        if pile.drop_axis and file.suffix != ".npy":
            raise
        return pile


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
