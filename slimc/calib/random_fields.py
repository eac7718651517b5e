"""Random fields as samples: smooth, with edges, of varying contrast, like images and sounds.

Units of a trained network nearly cancel on independent noise. On fields whose spectrum falls with
the frequency they respond much as on real samples, so second moments on them are useful.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from slimc.analysis.shapes import Facts
from slimc.calib.data import Data
from slimc.execute.ort import Feed
from slimc.ir.arrays import Floats
from slimc.ir.graph import Graph

SHORT = 4  # axes of at most so many indices are not smoothed (colours with alpha)
EXPONENTS = (1.5, 2.5)  # of the decay of the amplitude with the frequency
LEVEL = 0.7  # standard deviation of the threshold of edges, relative to that of the field
OFFSET = 0.7  # standard deviation of the mean of a channel
CONTRASTS = (0.3, 1.5)  # range of the standard deviation of a sample


def synthesize_random_fields(
    graph: Graph, sizes: Mapping[str, int], seed: int = 0, count: int = 64
) -> Data:
    """Generate feeds as `Data.synthesize` does, with random fields for floats.

    Every other feed is thresholded: it has two values and edges between them.
    Source: Baradad et al., NeurIPS 2021, section 3.2 (spectra and shapes for learning to see).
    Raises SlimcError as `Data.synthesize`.
    """
    noise = Data.synthesize(graph, sizes, seed, count)

    def make() -> Iterator[Feed]:
        for i, feed in enumerate(noise):
            random = np.random.default_rng((seed, i, 1))
            yield {v: _field_like(x, random, edges=i % 2 == 1) for v, x in feed.items()}

    return replace(noise, title="random fields", make=make)


def distinguishes_channels(data: Data) -> bool:
    """Return whether moments over the data distinguish channels.

    Synthetic integers (tokens, masks) reach too few states of a network for that.
    """
    return any(map(data.graph.is_float, data.graph.inputs)) or not data.synthetic


def or_fields(data: Data, sizes: Mapping[str, int], seed: int = 0) -> Data:
    """Return the data, or random fields where it is synthetic."""
    return synthesize_random_fields(data.graph, sizes, seed) if data.synthetic else data


def sizes_from_facts(graph: Graph, facts: Facts) -> dict[str, int]:
    """Return the size that `facts` have for every named dimension of the inputs."""
    sizes: dict[str, int] = {}
    for value in graph.inputs:
        dims, shape = graph.shape_of(value), facts.shape(value)
        if dims and shape:
            named = zip(dims, shape, strict=True)
            sizes |= {dim: size for dim, size in named if isinstance(dim, str)}
    return sizes


def _field_like(array: np.ndarray, random: np.random.Generator, edges: bool) -> np.ndarray:
    """Return a field with the shape and type of a float array; other arrays unchanged."""
    if array.dtype.kind != "f" or not array.ndim:
        return array
    drawn = draw_field(array.shape, random, edges)
    return drawn.astype(array.dtype)


def draw_field(shape: Sequence[int], random: np.random.Generator, edges: bool) -> Floats:
    """Return f64[samples, ...]: smooth along every long axis but the first. edges: thresholded."""
    samples, rank = shape[0], len(shape)
    smooth = [axis for axis in range(1, rank) if shape[axis] > SHORT]
    noise = random.standard_normal(shape)
    sample_shape = (samples, *(1,) * (rank - 1))
    field = (
        _filter_noise(noise, smooth, random.uniform(*EXPONENTS, sample_shape)) if smooth else noise
    )
    if edges:
        field = np.sign(field - random.normal(0, LEVEL, sample_shape))
    offset_shape = tuple(1 if axis in smooth else size for axis, size in enumerate(shape))
    return field * random.uniform(*CONTRASTS, sample_shape) + random.normal(0, OFFSET, offset_shape)


def _filter_noise(noise: Floats, axes: list[int], exponent: Floats) -> Floats:
    """Return noise with amplitudes of 1 / frequency^exponent along axes, of unit deviation."""
    square = np.zeros((1,) * noise.ndim)
    for axis in axes:
        frequency = np.fft.fftfreq(noise.shape[axis])
        square = square + np.square(np.expand_dims(frequency, _other_axes(noise.ndim, axis)))
    least = 1 / max(noise.shape[axis] for axis in axes)
    amplitude = np.maximum(np.sqrt(square), least) ** -exponent
    field = np.fft.ifftn(np.fft.fftn(noise, axes=axes) * amplitude, axes=axes).real
    inner_axes = tuple(range(1, noise.ndim))
    deviation = field.std(axis=inner_axes, keepdims=True)
    filtered: Floats = field / np.maximum(deviation, np.finfo(np.float64).tiny)
    return filtered


def _other_axes(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(rank) if i != axis)
