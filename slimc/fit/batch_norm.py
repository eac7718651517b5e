"""Re-estimation of the statistics of normalizations after channels were removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from slimc.analysis.shapes import Facts
from slimc.execute.ort import Session
from slimc.ir.arrays import Floats
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.ops.op import OpTable
from slimc.remarks import Remark, applied, skipped


@dataclass(frozen=True, eq=False)
class Normalization:
    """A node of teacher and student that normalizes by constant statistics."""

    node: Node
    """The normalization, in the student."""
    mean: str
    """Name of the student's mean."""
    variance: str
    """Name of the student's variance."""
    axis: int
    """Channel axis of the data."""

    @property
    def data(self) -> str:
        return self.node.inputs[0]

    @property
    def result(self) -> str:
        return self.node.outputs[0]

    def rows(self, x: np.ndarray) -> Floats:
        """Return a value as [samples, places, channels], in f64."""
        last = np.moveaxis(x, self.axis, -1)
        return last.reshape(len(x), -1, last.shape[-1]).astype(np.float64)

    def candidates(
        self, graph: Graph, teacher: ChannelSums, student: ChannelSums
    ) -> list[dict[str, np.ndarray]]:
        """Return the candidates for the constants: unchanged, new mean, new mean and variance.

        mean' = mean + (mu_student - mu_teacher),  var' = var sigma_student^2 / sigma_teacher^2.
        """
        mean, variance = (graph.constants[v].array for v in (self.mean, self.variance))
        moved = (mean + (student.mean - teacher.mean)).astype(mean.dtype)
        spread = teacher.variance
        ratio = np.where(spread > 0, student.variance / np.where(spread > 0, spread, 1), 1)
        scaled = (variance * ratio).astype(variance.dtype)
        if not (np.isfinite(moved).all() and np.isfinite(scaled).all()):
            return [{}]
        return [{}, {self.mean: moved}, {self.mean: moved, self.variance: scaled}]

    def session(self, graph: Graph, changed: Mapping[str, np.ndarray]) -> Session:
        """Load the node alone, with some constants replaced."""
        constants = {v: graph.constants[v] for v in self.node.reads if v in graph.constants}
        constants |= {v: Constant(array) for v, array in changed.items()}
        part = replace(graph, inputs=(self.data,), outputs=(self.result,), nodes=(self.node,),
                       constants=constants)  # fmt: skip
        return Session(part)


class ChannelSums:
    """Mean and variance of channels, summed over rows: add(f64[..., channels])."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = np.zeros(())

    def add(self, rows: Floats) -> None:
        """Add rows."""
        flat = rows.reshape(-1, rows.shape[-1])
        self._count += len(flat)
        self._sum = self._sum + flat.sum(axis=0)
        self._squares = self._squares + np.einsum("rc,rc->c", flat, flat)

    @property
    def mean(self) -> Floats:
        return self._sum / max(1, self._count)

    @property
    def variance(self) -> Floats:
        spread = self._squares / max(1, self._count) - np.square(self.mean)
        return np.maximum(spread, 0)


@dataclass(frozen=True)
class StatisticsFit:
    """Statistics that are closer to the teacher."""

    constants: Mapping[str, np.ndarray]
    before: float
    """Relative squared error of the old statistics on held-out samples."""
    after: float
    """That of the new ones."""

    @classmethod
    def best(
        cls, choices: Sequence[Mapping[str, np.ndarray]], errors: Sequence[float], scale: float
    ) -> StatisticsFit:
        """Return the candidate with the least error; the first one changes nothing."""
        best = int(np.argmin(np.nan_to_num(errors, nan=np.inf)))
        return cls(choices[best], errors[0] / (scale or 1.0), errors[best] / (scale or 1.0))

    def remark(self, node: str) -> Remark:
        """Return the remark on the change."""
        if not self.constants:
            return skipped(node, "unchanged: no other statistics are closer on held-out samples")
        statistics = "mean and variance" if len(self.constants) > 1 else "mean"
        text = f"{statistics} re-estimated: {format_errors(self.before, self.after)}"
        return applied(node, text)


def format_errors(before: float, after: float) -> str:
    """Format the squared errors before and after, in percent of the variance."""
    return f"squared error {100 * before:.3g} % -> {100 * after:.3g} %"


def find_normalizations(
    graph: Graph, ops: OpTable, facts: Facts, changed: Collection[str]
) -> tuple[list[Normalization], list[Remark]]:
    """Return the normalizations by constants whose data changed, and remarks on the others."""
    uses = Counter(v for node in graph.nodes for v in node.reads)
    normalizations: list[Normalization] = []
    remarks: list[Remark] = []
    for node in graph.nodes:
        row, bound = ops.get(node.kind), facts.bounds.get(node.name)
        if row is None or row.running is None or node.inputs[0] not in changed:
            continue
        mean, variance = (node.inputs[i] for i in row.running)
        if bound is None or mean not in graph.constants or variance not in graph.constants:
            remarks.append(skipped(node.name, "not repaired: its statistics are not constant"))
            continue
        data, mean_axes = bound.inputs[0] or (), bound.inputs[row.running[0]] or ()
        if len(mean_axes) != 1 or mean_axes[0] not in data or data.index(mean_axes[0]) == 0:
            remarks.append(skipped(node.name, "not repaired: its statistics are not per channel"))
        elif max(uses[mean], uses[variance]) > 1 or {mean, variance} & set(graph.outputs):
            remarks.append(skipped(node.name, "not repaired: other nodes share its statistics"))
        else:
            normalizations.append(Normalization(node, mean, variance, data.index(mean_axes[0])))
    return normalizations, remarks
