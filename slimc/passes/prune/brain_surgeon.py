"""Optimal brain surgeon for channels: which input channels least squares misses least.

A reader makes y = B' x of its input. Leaving out the columns S, with the best weights for the rest,
costs tr(B_S' [H^-1]_SS^-1 B_S); then B -= H^-1_:S [H^-1]_SS^-1 B_S, and H^-1 loses S likewise. The
costs add up to the exact error of least squares on what is left, for every count at once.
Source: Hassibi & Stork, NeurIPS 1992; blocks of columns as in Frantar & Alistarh, OBC, NeurIPS
2022, section 4, and Meng et al., OSSCAR, 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimc.analysis.importance import Ranking
from slimc.ir.arrays import Floats, Ints

RIDGE = 1e-2  # times the mean of diag H, as in OSSCAR's code
ROUNDS = 24  # a family goes in at most so many rounds; scores are taken anew after each


@dataclass(frozen=True, eq=False)
class Reader:
    """A contraction that sums over the units of a family, or one group of it.

    w: f64[o, p] weights; h: f64[p, p] covariance of what they are multiplied with; columns:
    i64[width, k], the columns of every unit.
    """

    w: Floats
    h: np.ndarray
    columns: Ints

    @property
    def energy(self) -> float:
        """Variance of the outputs, all together."""
        return float(np.einsum("op,pq,oq->", self.w, self.h, self.w, optimize=True))


@dataclass(frozen=True, eq=False)
class UncorrectedReader:
    """A reader of which nothing is corrected when units leave: their shares add up.

    shares: f64[width], of each unit in the energy of the outputs.
    """

    shares: Floats


def eliminate(
    readers: Sequence[Reader | UncorrectedReader], width: int, rounds: int = ROUNDS
) -> Ranking:
    """Return in which order units go, and the relative error of the readers as they do.

    damage[k]: the squared error of least squares on the units that stay, as a share of each
    reader's energy, summed over readers. Exact for a fixed order, up to the ridge. The last unit
    costs what the readers have left: all of it is lost. Readers of nothing but a constant lose
    nothing.
    """
    states = [state for reader in readers if (state := _make_state(reader)) is not None]
    alive = np.ones(width, bool)
    order: list[int] = []
    damage = [0.0]
    round_size = max(1, width // rounds)
    while alive.any():
        units = np.flatnonzero(alive)
        costs = sum((s.costs(units) for s in states), np.zeros(len(units)))
        removed = units[np.argsort(costs, kind="stable")[: min(round_size, len(units))]]
        steps = np.sort(costs)[: len(removed)]
        lost = sum(state.remove(removed) for state in states)
        scale = lost / steps.sum() if steps.sum() > 0 else 0.0
        damage += (damage[-1] + np.cumsum(steps) * scale).tolist()
        order += removed.tolist()
        alive[removed] = False
    return Ranking(np.array(order, np.int64), np.maximum.accumulate(np.array(damage)))


def _make_state(reader: Reader | UncorrectedReader) -> _ReaderState | _FixedState | None:
    if isinstance(reader, UncorrectedReader):
        return _FixedState(reader.shares)
    energy = reader.energy
    return _ReaderState.of(reader, energy) if energy > np.finfo(np.float32).tiny else None


@dataclass(eq=False)
class _FixedState:
    """Shares that no elimination changes."""

    shares: Floats

    def costs(self, units: Ints) -> Floats:
        """Return the share of each unit."""
        return self.shares[units]

    def remove(self, units: Ints) -> float:
        """Return the share of all these units."""
        return float(self.shares[units].sum())


@dataclass(eq=False)
class _ReaderState:
    """A reader while units leave. b: [p, o]; inverse: of the damped h; both of what is left.

    place: where a column of the reader stands in them.
    """

    b: Floats
    inverse: np.ndarray
    columns: Ints
    place: Ints
    energy: float

    @classmethod
    def of(cls, reader: Reader, energy: float) -> _ReaderState:
        h = reader.h.astype(np.float64)
        damped = h + RIDGE * (float(np.trace(h)) / len(h)) * np.eye(len(h))
        b = reader.w.T.astype(np.float64)
        return cls(b, np.linalg.inv(damped), reader.columns, np.arange(len(h)), energy)

    def costs(self, units: Ints) -> Floats:
        """Return what the loss of each unit alone adds to the error, as a share of the energy."""
        columns = self.place[self.columns[units]]
        blocks = self.inverse[columns[:, :, None], columns[:, None, :]]
        b = self.b[columns]
        step = b / blocks if columns.shape[1] == 1 else np.linalg.solve(blocks, b)
        losses: Floats = np.einsum("uko,uko->u", b, step) / self.energy
        return losses

    def remove(self, units: Ints) -> float:
        """Let units leave, correct the rest, and return what that adds to the error."""
        removed = self.place[self.columns[units]].reshape(-1)
        stays = np.ones(len(self.b), bool)
        stays[removed] = False
        block = np.linalg.inv(self.inverse[np.ix_(removed, removed)])
        step = block @ self.b[removed]
        lost = float(np.einsum("ko,ko->", self.b[removed], step)) / self.energy
        cross = self.inverse[np.ix_(stays, removed)]
        self.b = self.b[stays] - cross @ step
        self.inverse = self.inverse[np.ix_(stays, stays)]
        self.inverse -= cross @ block @ cross.T
        self.place = np.where(stays, np.cumsum(stays) - 1, -1)[self.place]
        return max(lost, 0.0)
