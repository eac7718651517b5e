"""Which families to give back: those whose removal is measured not to pay.

Pure functions of measured numbers: who measures, and how, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from slimc.execute.speedup import MARGIN, Speedup

_WORTH = 0.25  # share of what its MACs promise that a removal must save
_WELL = 0.75  # share at which a group is not looked into: its members pay on the whole
TRIALS = 32  # measurements in search of families, at most
_DIGITS = 4  # of measured numbers in the report
CONFIRMATIONS = 8  # measurements of what the search found, at most

Names = tuple[str, ...]
Verdict = Literal["pays", "does not pay", "open"]


@dataclass(frozen=True)
class Trial:
    """The removal of some families where the others, less those given back, are removed as well.

    promised: MACs with these families whole over MACs without; measured: how many times as fast
    their removal makes the graph; worth: share of the promise that must come true. The same goes
    for regions in integers, where others are in floats.
    """

    families: Names
    promised: float
    measured: Speedup
    worth: float = _WORTH

    @property
    def verdict(self) -> Verdict:
        """Compare the bounds of the measurement with a share of what the MACs promise.

        Does not pay: even the upper bound saves less, by more than two loads of one model differ.
        Pays: the lower bound saves as much. Else noise would decide: open.
        """
        wanted = self._at(self.worth)
        low, high = self.measured.bounds
        if high * (1 + MARGIN) < wanted:
            return "does not pay"
        return "pays" if low >= wanted else "open"

    @property
    def pays_well(self) -> bool:
        """Tell whether the removal saves about what its MACs promise."""
        return self.measured.bounds[0] >= self._at(_WELL)

    @property
    def shortfall(self) -> float:
        """Return what the removal saves less than promised, in times of the graph's latency."""
        return self.promised - self.measured.median

    def _at(self, share: float) -> float:
        return 1 + share * (self.promised - 1)


@dataclass(frozen=True)
class Decision:
    """What to give back. trials: in the order they were made; undecided: noise hides whether."""

    given_back: Names
    undecided: Names
    trials: tuple[Trial, ...]


class Measure(Protocol):
    """Measures the removal of some families."""

    def __call__(self, families: Names, given_back: Names) -> Trial:
        """Return the trial of families, with those given back whole in either graph."""


def decide(lost: Names, measure: Measure) -> Decision:
    """Give back families that do not pay, and see that what is left does.

    Where the whole did not pay, what is left must be sure to, or all go that are not sure to pay;
    if what is left then still does not pay, all go. So noise gives nothing back, and what is slower
    than what one began with does not stay.
    """
    if not lost:
        return Decision((), (), ())
    whole = measure(lost, ())
    found = _search(whole, partial(measure, given_back=()))
    given_back, trials = found.given_back, [whole, *found.trials]
    doubted = whole.verdict == "does not pay"
    for next_to_go, enough in ((found.undecided, {"pays"}), (lost, {"pays", "open"})):
        left = _without(lost, given_back)
        if not left:
            break
        if given_back:
            whole = measure(left, given_back)
            trials.append(whole)
        doubted = doubted or whole.verdict == "does not pay"
        if whole.verdict in enough or not doubted:
            break
        given_back += _without(next_to_go, given_back)
    ordered = tuple(name for name in lost if name in given_back)
    return Decision(ordered, _without(found.undecided, given_back), tuple(trials))


def _search(whole: Trial, measure: Callable[[Names], Trial]) -> Decision:
    """Find the families that do not pay, and confirm them by new measurements.

    whole: the trial of all families. Groups are halved, the one with the largest shortfall first,
    until they pay well, hold one family, or `TRIALS` measurements are made. What does not pay is
    then measured together, and halved where together it does.
    """
    trials: list[Trial] = []
    groups = [whole]
    while groups and len(trials) + 2 <= TRIALS:
        group = max(groups, key=lambda trial: trial.shortfall)  # of equals the first
        groups.remove(group)
        if len(group.families) > 1 and not group.pays_well:
            halves = [measure(half) for half in _halves(group.families)]
            trials += halves
            groups += halves
    verdicts = _verdicts([whole, *trials])
    suspects = tuple(n for n in whole.families if verdicts.get(n) == "does not pay")
    given_back = _confirmed(suspects, measure, trials)
    sure = {n for n, verdict in verdicts.items() if verdict == "pays"} | set(given_back)
    return Decision(given_back, _without(whole.families, tuple(sure)), tuple(trials))


def _verdicts(trials: Sequence[Trial]) -> dict[str, Verdict]:
    """Return what the smallest group with a verdict says of each family, where one has a verdict.

    That a group does not pay says nothing of a family where another of the group explains it.
    """
    found: dict[str, Verdict] = {}
    for trial in sorted(trials, key=lambda trial: len(trial.families)):
        known = {found[name] for name in trial.families if name in found}
        if trial.verdict == "open" or trial.verdict in known - {"pays"}:
            continue
        found |= {name: trial.verdict for name in trial.families if name not in found}
    return found


def _confirmed(suspects: Names, measure: Callable[[Names], Trial], trials: list[Trial]) -> Names:
    """Return the suspects that do not pay when they are measured again; adds to `trials`."""
    found: set[str] = set()
    groups = [suspects] if suspects else []
    for _ in range(CONFIRMATIONS):
        if not groups:
            break
        again = measure(groups.pop(0))
        trials.append(again)
        if again.verdict == "does not pay":
            found.update(again.families)
        elif len(again.families) > 1:
            groups += _halves(again.families)
    return tuple(name for name in suspects if name in found)


def _halves(names: Names) -> tuple[Names, Names]:
    middle = len(names) // 2
    return names[:middle], names[middle:]


def _without(names: Names, others: Names) -> Names:
    return tuple(name for name in names if name not in others)


def meaning(whole: Speedup) -> str:
    """Say what a ratio near or below one means."""
    low, high = whole.bounds
    if high * (1 + MARGIN) < 1:
        return ", slower"
    return "" if low > 1 + MARGIN else ", hardly a difference"


def measured_facts(whole: Speedup, decision: Decision, samples: int) -> dict[str, Any]:
    """Return the figures of a measurement, for the report."""
    return {
        "threads": 1,
        "samples": samples,
        **_numbers(whole),
        "given_back": list(decision.given_back),
        "undecided": list(decision.undecided),
        "trials": [
            {
                "families": list(trial.families),
                "promised": round(trial.promised, _DIGITS),
                "verdict": trial.verdict,
                **_numbers(trial.measured),
            }
            for trial in decision.trials
        ],
    }


def _numbers(speedup: Speedup) -> dict[str, Any]:
    low, high = speedup.bounds
    return {
        "ratio": round(speedup.median, _DIGITS),
        "low": round(low, _DIGITS),
        "high": round(high, _DIGITS),
        "rounds": speedup.rounds,
    }
