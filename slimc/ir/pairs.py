"""Weights for kernels that add products in pairs of 16 bits before they accumulate in 32.

u8 data times s8 weights: VPMADDUBSW adds x0 * w0 + x1 * w1 and saturates at 16 bits, so the sum can
be wrong without a warning. Only two weights of one sign can saturate: 255 * (w0 + w1) must not
exceed 2**15 - 1. Kernels pair neighbours along a reduction, from its start; the last of an odd
number is alone. Source: Intel 64 and IA-32 Architectures, volume 2, VPMADDUBSW.
"""

from __future__ import annotations

import numpy as np

from slimc.ir.arrays import Ints

MAX_PAIR_SUM = (2**15 - 1) // 255  # of two weights of one sign, for any u8 data


def pair_neighbours(weight: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Pair neighbours along summed axes: [..., ceil(K / 2), 2]; the other axes come first.

    order: the summed axes, outermost first; K: the product of their sizes.
    """
    rest = tuple(i for i in range(weight.ndim) if i not in order)
    rows = weight.transpose(*rest, *order).reshape(*(weight.shape[i] for i in rest), -1)
    if rows.shape[-1] % 2:
        rows = np.concatenate([rows, np.zeros_like(rows[..., :1])], axis=-1)
    return rows.reshape(*rows.shape[:-1], -1, 2)


def sum_pairs(weight: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Return the magnitude of the sum of each pair of weights of one sign: [..., ceil(K / 2)].

    For weights of two signs it is the larger magnitude.
    """
    pairs = pair_neighbours(weight, order)
    zero = np.zeros((), pairs.dtype)
    above, below = np.maximum(pairs, zero).sum(-1), np.minimum(pairs, zero).sum(-1)
    largest: np.ndarray = np.maximum(above, -below)
    return largest


def limit_pairs(integers: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Return the nearest integers whose pairs do not saturate 16 bits.

    Each weight of a pair is reduced by half of the excess; the larger one takes the odd step.
    """
    wide = integers.astype(np.int32)
    if (sum_pairs(wide, order) <= MAX_PAIR_SUM).all():
        return integers
    pairs = pair_neighbours(wide, order)
    same = np.prod(np.sign(pairs), axis=-1) > 0
    magnitude = np.abs(pairs)
    excess = np.where(same, np.maximum(magnitude.sum(-1) - MAX_PAIR_SUM, 0), 0)
    first = magnitude[..., 0] >= magnitude[..., 1]
    reduction = np.stack([(excess + first) // 2, (excess + ~first) // 2], axis=-1)
    limited = np.sign(pairs) * (magnitude - reduction)
    return _unpair(limited, integers.shape, order).astype(integers.dtype)


def _unpair(pairs: Ints, shape: tuple[int, ...], order: tuple[int, ...]) -> Ints:
    rest = tuple(i for i in range(len(shape)) if i not in order)
    axes = (*rest, *order)
    summed = int(np.prod([shape[i] for i in order]))
    rows = pairs.reshape(*pairs.shape[:-2], -1)[..., :summed]
    return rows.reshape([shape[i] for i in axes]).transpose(np.argsort(axes))
