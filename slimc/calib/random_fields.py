"""Random fields as samples: smooth, with edges, of all contrasts, as images and sounds are.

Units of a trained network that see independent noise all but cancel; on fields whose spectrum falls
with the frequency they answer much as on real samples, so second moments of them are of use.
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

SHORT = 4  # fields are not smooth along an axis of no more indices (colours with alpha)
EXPONENTS = (1.5, 2.5)  # of the fall of the amplitude with the frequency
LEVEL = 0.7  # deviation of the level at which edges are cut, in deviations of the field
OFFSET = 0.7  # deviation of the mean of a sample's channel
CONTRASTS = (0.3, 1.5)  # deviation of a sample


def fields(graph: Graph, sizes: Mapping[str, int], seed: int = 0, count: int = 64) -> Data:
    """Make up feeds as `Data.synthesize` does, with random fields for floats.

    Every other feed has fields cut at a level, which have two values and edges between them.
    Source: Baradad et al., NeurIPS 2021, section 3.2 (spectra and shapes for learning to see).
    Raises SlimcError as `Data.synthesize`.
    """
    noise = Data.synthesize(graph, sizes, seed, count)

    def make() -> Iterator[Feed]:
        for i, feed in enumerate(noise):
            random = np.random.default_rng((seed, i, 1))
            yield {v: _field_like(x, random, edges=i % 2 == 1) for v, x in feed.items()}

    return replace(noise, title="random fields", make=make)


def tells_channels_apart(data: Data) -> bool:
    """Tell whether moments over the data say something of channels.

    Made-up integers (tokens, masks) reach too few of a network's states for that.
    """
    return any(map(data.graph.is_float, data.graph.inputs)) or not data.synthetic


def or_fields(data: Data, sizes: Mapping[str, int], seed: int = 0) -> Data:
    """Return the data, or random fields where they are made up."""
    return fields(data.graph, sizes, seed) if data.synthetic else data


def sizes_in(graph: Graph, facts: Facts) -> dict[str, int]:
    """Return the number that `facts` have for every named size of the inputs."""
    found: dict[str, int] = {}
    for value in graph.inputs:
        dims, shape = graph.shape_of(value), facts.shape(value)
        if dims and shape:
            named = zip(dims, shape, strict=True)
            found |= {dim: size for dim, size in named if isinstance(dim, str)}
    return found


def _field_like(array: np.ndarray, random: np.random.Generator, edges: bool) -> np.ndarray:
    """Return a field with the shape and type of an array of noise; other arrays as they are."""
    if array.dtype.kind != "f" or not array.ndim:
        return array
    drawn = draw_field(array.shape, random, edges)
    return drawn.astype(array.dtype)


def draw_field(shape: Sequence[int], random: np.random.Generator, edges: bool) -> Floats:
    """Return f64[samples, ...]: smooth along every long axis but the first, or cut at a level."""
    samples, rank = shape[0], len(shape)
    smooth = [axis for axis in range(1, rank) if shape[axis] > SHORT]
    noise = random.standard_normal(shape)
    each = (samples, *(1,) * (rank - 1))
    found = _filtered(noise, smooth, random.uniform(*EXPONENTS, each)) if smooth else noise
    if edges:
        found = np.sign(found - random.normal(0, LEVEL, each))
    alone = tuple(1 if axis in smooth else size for axis, size in enumerate(shape))
    return found * random.uniform(*CONTRASTS, each) + random.normal(0, OFFSET, alone)


def _filtered(noise: Floats, axes: list[int], exponent: Floats) -> Floats:
    """Return noise with amplitudes of 1 / frequency^exponent along axes, of deviation 1."""
    square = np.zeros((1,) * noise.ndim)
    for axis in axes:
        frequency = np.fft.fftfreq(noise.shape[axis])
        square = square + np.square(np.expand_dims(frequency, _others(noise.ndim, axis)))
    least = 1 / max(noise.shape[axis] for axis in axes)
    amplitude = np.maximum(np.sqrt(square), least) ** -exponent
    found = np.fft.ifftn(np.fft.fftn(noise, axes=axes) * amplitude, axes=axes).real
    over = tuple(range(1, noise.ndim))
    deviation = found.std(axis=over, keepdims=True)
    filtered: Floats = found / np.maximum(deviation, np.finfo(np.float64).tiny)
    return filtered


def _others(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(rank) if i != axis)
