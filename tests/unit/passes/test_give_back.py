from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from slimc.execute.speedup import Speedup
from slimc.passes.give_back import CONFIRMATIONS, TRIALS, Names, Trial, decide

SHARE = 0.05  # of the graph's MACs that the removal of a family saves


def measured(ratio: float, noise: float = 0.004) -> Speedup:
    return Speedup(ratio, (ratio, ratio), (ratio - noise, ratio + noise), (ratio, 1.0), 40)


class Machine:
    """Adds up what the removal of families gains, in times of the latency of the cut graph."""

    def __init__(self, gains: Mapping[str, float], noise: float = 0.004, seed: int = 0) -> None:
        self.gains = gains
        self.noise = noise
        self.rng = np.random.default_rng(seed)
        self.asked: list[tuple[Names, Names]] = []

    def __call__(self, families: Names, given_back: Names) -> Trial:
        self.asked.append((families, given_back))
        ratio = 1 + sum(self.gains[name] for name in families)
        ratio += self.rng.uniform(-self.noise, self.noise) / 2
        return Trial(families, 1 + SHARE * len(families), measured(ratio, self.noise))


def names(count: int) -> Names:
    return tuple(f"f{i}" for i in range(count))


def test_a_verdict_compares_bounds_with_a_share_of_the_promise() -> None:
    verdicts = [Trial(("a",), 1.4, measured(r)).verdict for r in (1.3, 1.105, 1.1, 1.07, 0.9)]
    assert verdicts == ["pays", "pays", "open", "does not pay", "does not pay"]
    assert Trial(("a",), 1.01, measured(0.995)).verdict == "open"  # two loads differ by as much


def test_nothing_is_given_back_where_all_pays_and_one_measurement_tells() -> None:
    machine = Machine(dict.fromkeys(names(30), SHARE))
    found = decide(names(30), machine)
    assert (found.given_back, found.undecided) == ((), ())
    assert len(machine.asked) == 1


def test_families_that_do_not_pay_are_found_among_many() -> None:
    bad = ("f3", "f17")
    machine = Machine({n: -0.1 if n in bad else SHARE for n in names(24)})
    found = decide(names(24), machine)
    assert found.given_back == bad
    assert found.undecided == ()
    assert len(machine.asked) == len(found.trials) < TRIALS


def test_what_was_found_is_measured_again() -> None:
    class Once(Machine):
        def __call__(self, families: Names, given_back: Names) -> Trial:
            again = any(asked == families for asked, _ in self.asked)
            trial = super().__call__(families, given_back)
            if families == ("f1",) and not again:
                return Trial(families, trial.promised, measured(0.5))
            return trial

    machine = Once(dict.fromkeys(names(4), SHARE / 2))
    found = decide(names(4), machine)
    assert found.given_back == ()
    assert [asked for asked, _ in machine.asked].count(("f1",)) == 2


def test_noise_does_not_decide() -> None:
    for seed in range(20):
        machine = Machine(dict.fromkeys(names(8), SHARE * 0.4), noise=0.05, seed=seed)
        assert decide(names(8), machine).given_back == ()


def test_a_group_tells_what_its_families_alone_do_not() -> None:
    machine = Machine(dict.fromkeys(names(8), -0.006))
    found = decide(names(8), machine)
    assert found.given_back == names(8)
    assert all(t.verdict == "open" for t in found.trials if len(t.families) == 1)


def test_a_family_is_not_given_back_for_what_another_does() -> None:
    machine = Machine({"f0": -0.2, "f1": 0.012, "f2": SHARE, "f3": SHARE})
    found = decide(names(4), machine)
    assert found.given_back == ("f0",)
    assert found.undecided == ("f1",)


def test_what_is_left_pays_or_nothing_is_left() -> None:
    class Jealous(Machine):
        """Each family pays alone, and any two hurt each other."""

        def __call__(self, families: Names, given_back: Names) -> Trial:
            trial = super().__call__(families, given_back)
            cut = 6 - len(given_back)
            hurt = cut > 1 and len(families) == cut
            return Trial(families, trial.promised, measured(0.8)) if hurt else trial

    found = decide(names(6), Jealous(dict.fromkeys(names(6), SHARE)))
    assert found.given_back == names(6)
    one = Machine({"f0": -0.5})
    assert decide(("f0",), one).given_back == ("f0",)


def test_once_the_whole_does_not_pay_only_what_surely_does_stays() -> None:
    gains = {"f0": SHARE, "f1": SHARE, **dict.fromkeys(names(10)[2:], -0.012), "f9": -0.1}
    machine = Machine(gains, noise=0.02)
    found = decide(names(10), machine)
    assert found.given_back == names(10)[2:]
    assert found.trials[0].verdict == "does not pay"
    assert found.trials[-1].families == ("f0", "f1")
    assert found.trials[-1].verdict == "pays"


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_measurements_are_bounded(count: int) -> None:
    machine = Machine(dict.fromkeys(names(count), 0.0), noise=0.03)
    found = decide(names(count), machine)
    assert len(machine.asked) == len(found.trials)
    assert len(machine.asked) <= 3 + TRIALS + CONFIRMATIONS


def test_nothing_lost_asks_nothing() -> None:
    machine = Machine({})
    assert decide((), machine).trials == ()
    assert machine.asked == []
