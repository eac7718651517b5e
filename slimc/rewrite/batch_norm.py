"""Rules that fold a BatchNormalization into the contraction before or after it."""

from __future__ import annotations

import numpy as np

from slimc.ir.types import TensorType
from slimc.rewrite.rule import Made, Match, Rule, Skip
from slimc.rewrite.weights import CONTRACTION, Contraction


def _affine(m: Match, kind: TensorType | None) -> tuple[np.ndarray, np.ndarray] | Skip:
    """Return a and t per channel of data of this type."""
    if m.attr("training_mode", 0, of="BatchNormalization"):
        return Skip("it updates its statistics (training_mode=1)", "export the model in eval mode")
    epsilon = m.attr("epsilon", 1e-5, of="BatchNormalization")
    sizes = {m.numbers(name).shape for name in ("scale", "shift", "mean", "var")}
    if len(sizes) > 1:
        return Skip("its statistics are not one number per channel")
    with np.errstate(all="ignore"):
        a = m.numbers("scale") / np.sqrt(m.numbers("var") + epsilon)
        t = m.numbers("shift") - a * m.numbers("mean")
    if not (np.isfinite(a).all() and np.isfinite(t).all()):
        return Skip("its statistics give factors that are not finite")
    channels = kind.shape[1:2] if kind is not None and kind.shape is not None else ()
    if all(isinstance(size, int) for size in channels) and channels not in ((), a.shape):
        return Skip("its statistics are not one number per channel")
    return a, t


def _after(m: Match) -> Made | Skip | None:
    affine, contraction = _affine(m, m.type()), Contraction.of(m)
    if isinstance(affine, Skip) or contraction is None:
        return affine if isinstance(affine, Skip) else None
    if contraction.place != 1:
        where = f"the channels of '{contraction.node.name}' lie on axis {contraction.place}"
        return Skip(f"it normalises axis 1, {where}")
    return contraction.scaled(*affine)


def _before(m: Match) -> Made | Skip | None:
    affine, contraction = _affine(m, m.type("x")), Contraction.of(m)
    if isinstance(affine, Skip) or contraction is None:
        return affine if isinstance(affine, Skip) else None
    return contraction.with_input(*affine) if contraction.summed == 1 else None


def _stays(m: Match) -> Skip:
    """Say why a BatchNormalization that no other rule took is left."""
    affine = _affine(m, None)
    maker = m.scope.producer(m.value("x"))
    if isinstance(affine, Skip):
        return affine
    if maker is None:
        return Skip("its operand is an input of the graph, there are no weights before it")
    row = m.scope.ops.get(maker.kind)
    if row is None or row.weighted is None:
        return Skip(f"its operand is made by '{maker.name}' ({maker.op}), which has no weights")
    if len(m.scope.users(m.value("x"))) > 1 or m.scope.is_output(m.value("x")):
        return Skip(f"'{maker.name}' feeds others too")
    return Skip(f"the weights of '{maker.name}' are not constant, or not of the form that folds")


STATISTICS = "const scale, const shift, const mean, const var"
RULES = (
    Rule(f"BatchNormalization({CONTRACTION}, {STATISTICS})", _after),
    Rule(
        f"c:@weighted(BatchNormalization(x, {STATISTICS}), const w, const b?)",
        _before,
    ),
    Rule("BatchNormalization(x, scale, shift, mean, var)", _stays),
)
