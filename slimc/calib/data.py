"""Calibration data: feeds that can be iterated any number of times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from slimc.calib import images, npz
from slimc.calib.feeds import (
    Spec,
    Specs,
    check_feed,
    count_samples,
    require_inputs,
    size_of_dim,
    specs_of,
    tensor_type,
    to_input_dtype,
)
from slimc.calib.images import SUFFIXES, Album, Images
from slimc.calib.stacked import Stack, stack_arrays
from slimc.errors import SlimcError
from slimc.execute.ort import Feed
from slimc.execute.spool import Store
from slimc.ir.graph import Graph
from slimc.ir.types import DType

BATCH = 32  # samples per feed where a file holds many and the graph accepts any number
SPOOL_BYTES = 64 << 20  # of a one-shot iterator's feeds in memory; the rest is spooled to disk
Feeds = Iterable[Mapping[str, Any] | Any]  # a bare array is for the single input
Source = str | Path | Images | Feeds | Callable[[], Feeds]


@dataclass(frozen=True, eq=False)
class Data:
    """Feeds for a graph. They can be iterated any number of times, with one in memory at once."""

    graph: Graph
    """The graph that the feeds are for."""
    title: str
    """Origin of the feeds, for messages."""
    make: Callable[[], Iterator[Feed]]
    """Starts a new iteration over the feeds."""
    specs: tuple[Specs, ...] | None = None
    """Types and shapes of each feed; None where only an iteration can tell."""
    identify: Callable[[], str] | None = None
    """Computes `digest` from checksums; None: from the elements."""
    synthetic: bool = False
    """Whether the feeds were generated because no samples were given."""
    ignored: tuple[str, ...] = ()
    """Arrays of the files whose names are no graph inputs."""

    @classmethod
    def of(cls, source: Source, graph: Graph) -> Data:
        """Read samples from a path, from images or from feeds."""
        if isinstance(source, Images):
            return cls.from_images(source, graph)
        if isinstance(source, (str, Path)):
            return cls.from_path(source, graph)
        return cls.from_feeds(source, graph)

    @classmethod
    def from_images(cls, source: Images, graph: Graph, batch: int = BATCH) -> Data:
        """Read a folder of images, preprocessed as declared; `batch` of one size form a feed.

        Raises SlimcError `calib-missing`, `calib-mismatch`, `calib-unreadable`, `bad-preprocess`,
        `image-too-large`, `images-missing`.
        """
        folder, steps = Path(source.path), source.steps
        files = images.list_images(folder) if folder.is_dir() else []
        if not files:
            raise SlimcError(
                "calib-missing",
                f"'{folder}' is not a folder of images ({', '.join(SUFFIXES)})",
                help="omit --preprocess: arrays are used unchanged",
            )
        album = Album.of(files, steps, graph, batch)
        for specs in {str(feed_specs): feed_specs for feed_specs in album.specs()}.values():
            check_feed(graph, specs, f"'{folder}'")
        leftover = f", {album.left_over} left over" if album.left_over else ""
        if not album.files_per_feed:
            raise SlimcError("calib-missing", f"the images in '{folder}' fill no batch{leftover}")
        title = f"images in '{folder}' ({steps}{leftover})"
        return cls(graph, title, album.feeds, album.specs(), album.digest)

    @classmethod
    def from_path(cls, path: str | Path, graph: Graph, batch: int = BATCH) -> Data:
        """Read a folder of `.npz` files (`.npy` for a single input), one feed each, or a file.

        A single file holds stacked samples: arrays with the inputs' ranks are split along axis 0
        into feeds of `batch` samples (or of the graph's fixed size), arrays with one more axis into
        one feed per index. Types and shapes are checked now, elements are read on demand. Raises
        SlimcError `calib-missing`, `calib-unreadable`, `calib-mismatch`.
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
        """Use feeds from a list, another iterable, or a generator function.

        Each iteration must give the same feeds; they are checked as they are read. The feeds of an
        iterator are kept, beyond 64 MiB on disk. A feed: arrays by input name, or one array if the
        graph has one input. Raises SlimcError `calib-mismatch`, `calib-missing`.
        """
        if callable(feeds):
            start = feeds
            return cls(graph, "a function", lambda: _checked_feeds(start(), graph))
        if isinstance(feeds, Sequence):
            loaded = list(_checked_feeds(feeds, graph))
            if not loaded:
                raise SlimcError("calib-missing", "the list of samples is empty")
            return cls(graph, "a list", lambda: iter(loaded), tuple(specs_of(f) for f in loaded))
        if isinstance(feeds, Iterator):
            return _spool_feeds(feeds, graph)
        iterable = feeds
        return cls(graph, "an iterable", lambda: _checked_feeds(iterable, graph))

    @classmethod
    def synthesize(
        cls, graph: Graph, sizes: Mapping[str, int], seed: int = 0, count: int = 8
    ) -> Data:
        """Generate random feeds: floats N(0, 1), bytes of their whole range, other integers 0 or 1.

        0 and 1 are the only integers that are valid as token, segment and mask at once. Raises
        SlimcError `size-unknown` where `sizes` lacks a dimension, `input-not-tensor`.
        """
        specs = {name: _declared_spec(graph, name, sizes) for name in graph.inputs}

        def make() -> Iterator[Feed]:
            for i in range(count):
                random = np.random.default_rng((seed, i))
                yield {name: _random_array(spec, random) for name, spec in specs.items()}

        return cls(graph, "synthetic samples", make, (specs,) * count, synthetic=True)

    def __iter__(self) -> Iterator[Feed]:
        return self.make()

    def __len__(self) -> int:
        return self.count

    @cached_property
    def count(self) -> int:
        """Number of feeds."""
        return len(self.all_specs)

    @cached_property
    def samples(self) -> int:
        """Number of samples: the sum of the leading sizes of the feeds."""
        return sum(count_samples(specs, self.graph) for specs in self.all_specs)

    @cached_property
    def digest(self) -> str:
        """Digest of the content: sha256 of the checksums of files, or of the elements."""
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
        """Return the size of every named dimension of the inputs in the first feed."""
        graph = graph or self.graph
        if self.specs is not None:
            return check_feed(graph, self.specs[0], f"the first feed of {self.title}")
        first = next(iter(self), None)
        if first is None:
            raise SlimcError("calib-missing", f"{self.title} yields no samples")
        return check_feed(graph, specs_of(first), f"the first feed of {self.title}")

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
        """Return the fewest leading feeds that hold `samples` samples (0: all feeds)."""
        if samples <= 0:
            return self
        seen = 0
        for i, specs in enumerate(self.all_specs):
            seen += count_samples(specs, self.graph)
            if seen >= samples:
                return self.head(i + 1)
        return self

    def describe(self) -> str:
        """Summarize the data in one line."""
        inputs = self.graph.inputs
        texts = (", ".join(f"{n} {specs[n]}" for n in inputs) for specs in self.all_specs)
        first, *others = dict.fromkeys(texts)
        text = f"{_pluralize(self.samples, 'sample')} in {_pluralize(self.count, 'feed')}"
        text += f" from {self.title}: {first}"
        text += f" and {_pluralize(len(others), 'other shape')}" if others else ""
        names = ", ".join(f"'{name}'" for name in self.ignored)
        return text + (f"; ignored, no input has this name: {names}" if names else "")

    @cached_property
    def all_specs(self) -> tuple[Specs, ...]:
        """Types and shapes of each feed; found by one iteration where they are not known."""
        if self.specs is not None:
            return self.specs
        return tuple(specs_of(feed) for feed in self)


def _pluralize(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _spool_feeds(feeds: Iterator[Any], graph: Graph) -> Data:
    """Spool the feeds of an iterator that can be read only once."""
    store = Store(SPOOL_BYTES)
    specs = []
    for i, feed in enumerate(_checked_feeds(feeds, graph)):
        for name, array in feed.items():
            store.put(name, i, array)
        specs.append(specs_of(feed))
    if not specs:
        raise SlimcError("calib-missing", "the iterator yields no samples")

    def make() -> Iterator[Feed]:
        for i in range(len(specs)):
            yield {name: store.get(name, i) for name in graph.inputs}

    return Data(graph, "an iterator", make, tuple(specs))


def _arrays_by_input(feed: Any, graph: Graph, i: int) -> Mapping[str, Any]:
    """Return the arrays of a feed by input name; a bare array is for the single input."""
    if isinstance(feed, Mapping):
        return feed
    if len(graph.inputs) == 1 and hasattr(feed, "__array__"):
        return {graph.inputs[0]: feed}
    raise SlimcError(
        "calib-mismatch",
        f"expected a mapping of input names to arrays, found a {type(feed).__name__}",
        f"feed {i}",
        "give dictionaries: " + ", ".join(f"'{name}': array" for name in graph.inputs),
    )


def _checked_feeds(feeds: Feeds, graph: Graph) -> Iterator[Feed]:
    for i, raw in enumerate(feeds):
        arrays = _arrays_by_input(raw, graph, i)
        feed = {name: np.asarray(array) for name, array in arrays.items()}
        check_feed(graph, specs_of(feed), f"feed {i}")
        yield _select_inputs(feed, graph)


def _select_inputs(feed: Mapping[str, np.ndarray], graph: Graph) -> Feed:
    return {name: to_input_dtype(feed[name], tensor_type(graph, name)) for name in graph.inputs}


def _name_stored(arrays: Mapping[str, npz.NpyArray], path: Path, graph: Graph) -> dict[str, Any]:
    """Return the arrays of a file by name; that of a `.npy` file is for the single input."""
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
        raise _no_feeds_error(path, bool(files))
    files = files or singles
    headers = [_name_stored(npz.read_headers(file), file, graph) for file in files]
    pairs = zip(files, headers, strict=True)
    stacks = [_file_stack(graph, arrays, batch, file) for file, arrays in pairs]
    specs = tuple(feed_specs for stack in stacks for feed_specs in stack.specs())

    def make() -> Iterator[Feed]:
        return (feed for stack in stacks for feed in stack.feeds())

    def identify() -> str:
        text = "\n".join(f"{file.name} {npz.content_digest(file)}" for file in files)
        return sha256(f"{[stack.rows for stack in stacks]} {text}".encode()).hexdigest()

    left_over = sum(stack.left_over for stack in stacks)
    title = f"'{path}'" + (f" ({left_over} left over)" if left_over else "")
    return Data(graph, title, make, specs, identify, ignored=_ignored_arrays(headers, graph))


def _no_feeds_error(path: Path, has_both: bool) -> SlimcError:
    """Return the error for a folder without feeds, with what it holds instead."""
    if not has_both and images.list_images(path):
        return SlimcError(
            "calib-missing",
            f"folder '{path}' holds images, but no preprocessing is declared",
            help="for example --preprocess resize=256,crop=224,scale=1/255,layout=nchw",
        )
    content = "both .npz and .npy files" if has_both else "neither .npz nor .npy files, nor images"
    return SlimcError(
        "calib-missing",
        f"folder '{path}' holds {content}",
        help="give a folder of .npz files, one feed each, arrays named after the inputs",
    )


def _file_stack(graph: Graph, arrays: Mapping[str, npz.NpyArray], batch: int, file: Path) -> Stack:
    """Read a file of a folder as one feed; one that is not a feed, as stacked samples.

    That is a `.npy`, or a `.npz` with more samples than the fixed batch of the graph.
    """
    specs = {name: array.spec for name, array in arrays.items()}
    require_inputs(graph, arrays, f"'{file}'")
    inputs = {name: arrays[name] for name in graph.inputs}
    try:
        check_feed(graph, specs, f"'{file}'")
        return Stack(graph, {}, inputs, 1, False, 0)
    except SlimcError as refused:
        try:
            stack = stack_arrays(arrays, graph, batch, f"'{file}'")
            for feed_specs in stack.specs():
                check_feed(graph, feed_specs, f"'{file}'")
        except SlimcError as error:
            raise (error if file.suffix == ".npy" else refused) from None
        if stack.drop_axis and file.suffix != ".npy":
            raise
        return stack


def _ignored_arrays(files: Iterable[Mapping[str, object]], graph: Graph) -> tuple[str, ...]:
    return tuple(sorted({name for names in files for name in names} - set(graph.inputs)))


def _from_file(path: Path, graph: Graph, batch: int) -> Data:
    arrays = _name_stored(npz.read_headers(path), path, graph)
    require_inputs(graph, arrays, f"'{path}'")
    stack = stack_arrays(arrays, graph, batch, f"'{path}'")
    specs = stack.specs()
    for specs_of_feed in {str(feed_specs): feed_specs for feed_specs in specs}.values():
        check_feed(graph, specs_of_feed, f"'{path}'")
    title = f"'{path}'" + (f" ({stack.left_over} left over)" if stack.left_over else "")
    ignored = _ignored_arrays([arrays], graph)

    def identify() -> str:
        return sha256(f"{npz.content_digest(path)} {stack.rows}".encode()).hexdigest()

    return Data(graph, title, stack.feeds, specs, identify, ignored=ignored)


def _declared_spec(graph: Graph, name: str, sizes: Mapping[str, int]) -> Spec:
    """Return the type and shape of an input, its free dimensions taken from `sizes`."""
    declared = tensor_type(graph, name)
    dims = [size_of_dim(d, f"{name}_{i}", sizes) for i, d in enumerate(declared.shape or ())]
    known = tuple(d for d in dims if d is not None)
    if declared.shape is None or len(known) != len(dims):
        raise SlimcError(
            "size-unknown",
            f"cannot generate samples for input '{name}': {declared}",
            help=f"fix its shape with --shape {name}=1x3x224x224, or give samples with --calib",
        )
    return Spec(declared.dtype.numpy, known)


def _random_array(spec: Spec, random: np.random.Generator) -> np.ndarray:
    kind = DType.of_numpy(spec.dtype)
    if kind.is_float:
        return np.asarray(random.standard_normal(spec.shape)).astype(spec.dtype)
    if kind in (DType.U8, DType.I8):
        limits = np.iinfo(spec.dtype)
        return random.integers(limits.min, limits.max, spec.shape, spec.dtype.type, endpoint=True)
    if kind is DType.STRING:
        return np.full(spec.shape, "a", np.object_)
    return np.asarray(random.integers(0, 2, spec.shape)).astype(spec.dtype)
