"""Weights whose products a kernel adds in pairs of 16 bits, before it adds them in 32.

u8 data times s8 weights: VPMADDUBSW adds x0 * w0 + x1 * w1 and stops at the ends of 16 bits, so the
sum is wrong without a warning. Only weights of one sign can get there: 255 * (w0 + w1) must not
exceed 2**15 - 1. Kernels pair neighbours along a sum, from its start; the last of an odd number is
alone. Source: Intel 64 and IA-32 Architectures, volume 2, VPMADDUBSW.
"""

from __future__ import annotations

import numpy as np

from slimc.ir.arrays import Ints

LARGEST_PAIR = (2**15 - 1) // 255  # of two weights of one sign under any u8 data


def in_pairs(weight: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Return neighbours along a sum: [..., ceil(K / 2), 2], the axes that are not summed first.

    order: the axes that are summed, the outermost first; K: the product of their sizes.
    """
    rest = tuple(i for i in range(weight.ndim) if i not in order)
    rows = weight.transpose(*rest, *order).reshape(*(weight.shape[i] for i in rest), -1)
    if rows.shape[-1] % 2:
        rows = np.concatenate([rows, np.zeros_like(rows[..., :1])], axis=-1)
    return rows.reshape(*rows.shape[:-1], -1, 2)


def pair_sums(weight: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Return the magnitude of what a pair of weights of one sign adds up to: [..., ceil(K / 2)].

    Of weights of two signs it is the larger magnitude.
    """
    pairs = in_pairs(weight, order)
    zero = np.zeros((), pairs.dtype)
    above, below = np.maximum(pairs, zero).sum(-1), np.minimum(pairs, zero).sum(-1)
    largest: np.ndarray = np.maximum(above, -below)
    return largest


def within_pairs(integers: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Return the nearest integers whose pairs no kernel's 16 bits cut short.

    Both weights of a pair give up half of what is too much, the larger one the odd step.
    """
    wide = integers.astype(np.int32)
    if (pair_sums(wide, order) <= LARGEST_PAIR).all():
        return integers
    pairs = in_pairs(wide, order)
    same = np.prod(np.sign(pairs), axis=-1) > 0
    magnitude = np.abs(pairs)
    excess = np.where(same, np.maximum(magnitude.sum(-1) - LARGEST_PAIR, 0), 0)
    first = magnitude[..., 0] >= magnitude[..., 1]
    taken = np.stack([(excess + first) // 2, (excess + ~first) // 2], axis=-1)
    kept = np.sign(pairs) * (magnitude - taken)
    return _out_of_pairs(kept, integers.shape, order).astype(integers.dtype)


def _out_of_pairs(pairs: Ints, shape: tuple[int, ...], order: tuple[int, ...]) -> Ints:
    rest = tuple(i for i in range(len(shape)) if i not in order)
    axes = (*rest, *order)
    summed = int(np.prod([shape[i] for i in order]))
    rows = pairs.reshape(*pairs.shape[:-2], -1)[..., :summed]
    return rows.reshape([shape[i] for i in axes]).transpose(np.argsort(axes))
