"""Predicted latency as a function of what each family loses: a roofline that adds up over steps.

Every step takes (multiply-accumulates / rate) + (bytes moved / bandwidth) + a fixed time, at rates
of the device, or of the class of work where a profile has measured them. Channels that a kernel
counts are rounded up to the multiple that it likes: a width in between costs as much as the next
multiple. Sums and products only, so the latency of any removal is exact in the model, and follows
step by step, like MACs.

Source: Williams et al., CACM 2009 (roofline; a sum instead of the maximum of the two times).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd, prod
from types import MappingProxyType

from slimc.analysis.coupling import Coupling
from slimc.analysis.index_space import Place
from slimc.analysis.prune_groups import Family, channel_axes
from slimc.analysis.removal_cost import Cost, Term, cost_of_terms
from slimc.analysis.workload import ANY, INTEGER, Step, steps


@dataclass(frozen=True)
class Rates:
    """Seconds of a step of some class: for each of its `Amounts`, and whatever its size."""

    mac: float
    moved: float
    inner: float = 0.0
    visit: float = 0.0
    fixed: float = 0.0


@dataclass(frozen=True)
class Amounts:
    """How much a step does: multiply-accumulates, bytes moved, kept in place, kernel visits."""

    macs: float
    moved: float
    inner: float = 0.0
    visits: float = 0.0

    def seconds(self, rates: Rates) -> float:
        """Return how long a step takes that does so much."""
        return (
            self.macs * rates.mac
            + self.moved * rates.moved
            + self.inner * rates.inner
            + self.visits * rates.visit
            + rates.fixed
        )


@dataclass(frozen=True)
class Speed:
    """What a device does per second.

    macs: multiply-accumulates; bytes: to and from memory, of elements as the graph stores them
    (twice the data sheet's where the device computes f32 graphs in f16); node_seconds: what a step
    takes whatever its size; integer: how many times as many of 8-bit integers it multiplies. Ratios
    of predicted latencies are meaningful, seconds are not.
    measured: class of work -> rates, of a profile of the device; they hold instead. The class `ANY`
    stands for those that the profile has not met.
    """

    macs: float
    bytes: float
    node_seconds: float
    integer: float = 2.0
    measured: Mapping[str, Rates] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "measured", MappingProxyType(dict(self.measured)))

    def rates(self, work: str) -> Rates:
        """Return the rates of a class of work."""
        bare = work.removeprefix(INTEGER)
        integer = bare != work
        known = self.measured.get(work) or self.measured.get(INTEGER + ANY if integer else ANY)
        if known is not None:
            return known
        if integer:
            floats = self.rates(bare)
            return replace(floats, mac=floats.mac / self.integer)
        return Rates(1 / self.macs, 1 / self.bytes, fixed=self.node_seconds)


def latency(
    coupling: Coupling,
    families: Sequence[Family],
    speed: Speed,
    multiple: int = 1,
    integers: Collection[str] = (),
) -> Cost:
    """Return the predicted seconds of a run as a function of the units removed per family.

    integers: kinds of nodes that will compute in 8-bit integers. An axis that is narrower than the
    multiple as it is, is not rounded.
    """
    rounded = multiples(coupling, families, multiple)
    terms: list[Term] = []
    for step in steps(coupling, integers):
        rates = speed.rates(step.work)
        parts = (
            (step.macs, rates.mac),
            (step.moved, rates.moved),
            (step.inner, rates.inner),
            (step.visits, rates.visit),
        )
        for own, seconds in parts:
            if seconds:
                terms += [_rounded(t, rounded)._replace(weight=t.weight * seconds) for t in own]
        terms.append(Term((), rates.fixed))
    return cost_of_terms(terms, families)


def amounts(step: Step, rounded: Mapping[Place, int]) -> Amounts:
    """Return how much a step does. rounded: place -> multiple (`multiples`)."""
    parts = (step.macs, step.moved, step.inner, step.visits)
    return Amounts(*(_total(terms, rounded) for terms in parts))


def _total(terms: Iterable[Term], rounded: Mapping[Place, int]) -> float:
    return float(
        sum(
            prod(-(-s.extent // s.multiple) * s.multiple for s in _rounded(t, rounded).sizes)
            * t.weight
            for t in terms
        )
    )


def _rounded(term: Term, rounded: Mapping[Place, int]) -> Term:
    sizes = (s._replace(multiple=rounded.get(s.place, 1)) for s in term.sizes)
    return term._replace(sizes=tuple(sizes))


def multiples(coupling: Coupling, families: Sequence[Family], multiple: int) -> Mapping[Place, int]:
    """Return what the sizes of labels and axes that kernels count as channels are rounded up to.

    A label of one index is not rounded: the others of its axis are.
    """
    found: dict[Place, int] = {}
    for place in {m.place for family in families for m in family.labels} if multiple > 1 else ():
        own = coupling.space.extent[place]
        for axis in channel_axes(coupling, place) if own > 1 else ():
            extent = coupling.space.extent[axis]
            if extent >= multiple:
                found[axis] = multiple
                found[place] = max(found.get(place, 1), multiple // gcd(multiple, extent // own))
    return found
