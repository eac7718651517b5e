"""Channels as functions of other channels: what stands in for those that are removed.

    x_R ~ B x_K + c      K: channels that stay, R: those that are gone

B is least squares on the second moments H and means m of the channels. Its ridge shrinks toward B0,
which takes for each channel the one that is most alike, scaled: a scaled copy is met exactly.

    B0[r, k] = H[r, k] / H[k, k] at the k with the largest H[r, k]^2 / H[k, k], else 0
    B = B0 + (H_RK - B0 H_KK)(H_KK + lambda mean(diag H_KK) I)^-1,   c = m_R - B m_K

Source: Srinivas and Babu, BMVC 2015 (alike units stand in for each other); least squares between
channels as in GRAIL, the constant as in CORP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimc.fit.moments import Moments, least_squares, second_moment
from slimc.ir.arrays import Floats, Mask

RIDGE = 1e-2  # times the mean of diag H_KK: accuracies of small nets are flat from 1e-3 to 1e-2


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """b: [g, R, K], c: [g, R]; gone: bool[channels], which of them are R, in every group."""

    removed: Mask
    b: Floats
    c: Floats

    def error(self, moments: Moments, weight: Floats) -> float:
        """Return E |W_R (x_R - B x_K - c)|^2. weight: [g, o, R, taps], added up as if apart."""
        a = np.zeros((*self.b.shape[:2], len(self.removed)))
        a[:, :, self.removed], a[:, :, ~self.removed] = np.eye(self.b.shape[1]), -self.b
        off = np.einsum("grx,gx->gr", a, moments.mean_x) - self.c
        spread = a @ moments.xx @ a.transpose(0, 2, 1) + off[:, :, None] * off[:, None, :]
        return float(np.einsum("gort,gost,grs->", weight, weight, spread, optimize=True))


def zero_reconstruction(moments: Moments, removed: Mask) -> Reconstruction:
    """Return zeros: what stands in where channels are just cut."""
    groups, count = len(moments.mean_x), int(removed.sum())
    return Reconstruction(
        removed, np.zeros((groups, count, len(removed) - count)), np.zeros((groups, count))
    )


def reconstruct(moments: Moments, removed: Mask, constant: bool) -> Reconstruction:
    """Return least squares. constant: H is the covariance; else about zero, and c is 0."""
    h, mean = moments.xx, moments.mean_x
    if not constant:
        h = second_moment(h, mean, mean)
    lost, stays = np.flatnonzero(removed), np.flatnonzero(~removed)
    kk, rk = h[:, stays[:, None], stays], h[:, lost[:, None], stays]
    energy = np.maximum(np.einsum("gkk->gk", kk), np.finfo(np.float32).tiny)[:, None]
    best = (rk**2 / energy).argmax(axis=2, keepdims=True)
    b = np.where(np.arange(len(stays)) == best, rk / energy, 0)
    b = least_squares(b, kk, rk.transpose(0, 2, 1), RIDGE)
    c = mean[:, lost] - np.einsum("grk,gk->gr", b, mean[:, stays])
    return Reconstruction(removed, b, c if constant else np.zeros_like(c))


def remaining_error(
    halves: tuple[Moments, Moments], removed: Mask, constant: bool, weight: Floats
) -> float:
    """Return the share of the error of just cutting that is left, each half judging the other's."""
    shares = []
    for fitted, judged in (halves, halves[::-1]):
        before = zero_reconstruction(judged, removed).error(judged, weight)
        after = reconstruct(fitted, removed, constant).error(judged, weight)
        shares.append(after / before if before else 1.0)
    return float(np.mean(shares))
