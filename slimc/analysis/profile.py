"""Device profiles: the rates of every class of work, fitted to what steps were measured to take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from slimc.analysis.latency import Amounts, Rates, Speed
from slimc.analysis.workload import ANY, CLASSES, INTEGER
from slimc.errors import SlimcError
from slimc.io.records import parse_record

FORMAT = "slimc-profile-1"
_FEWEST = 8  # steps that a class is fitted to; of fewer, `ANY` stands for it
_BESIDE = 0.1  # of the weight of a class is that of all other steps
_ROUNDS = 12  # of reweighting: predictions settle in five or so
_LEAST = 0.05  # of a measured time is taken for a prediction that is less, in weights
_DIGITS = 4  # of measured numbers in the file
_TEXTS = 200  # characters of a name in a file at most


class Timed(NamedTuple):
    """A step that was measured."""

    work: str
    amounts: Amounts
    seconds: float


@dataclass(frozen=True)
class Run:
    """A graph that was measured.

    seconds: of a run, which those of its steps add up to; kept: the share of its channels that a
    narrower form of a model has.
    """

    name: str
    seconds: float
    steps: tuple[Timed, ...]
    kept: float = 1.0

    def predicted(self, speed: Speed) -> float:
        """Return the seconds that a run is predicted to take."""
        return sum(one.amounts.seconds(speed.rates(one.work)) for one in self.steps)


@dataclass(frozen=True)
class Fitted:
    """Rates of a class, and how many steps they are fitted to.

    error: the sum of |predicted - measured| over these steps, as a share of what was measured.
    """

    rates: Rates
    steps: int
    error: float


@dataclass(frozen=True)
class Check:
    """A run that the fit had not seen: what was predicted and measured."""

    run: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured


@dataclass(frozen=True)
class Profile:
    """What a device takes for every class of work.

    device: as the user calls it; runtime, version: that ran it; target: that graphs were lowered
    for; threads: of a run, 0: all, or it is not the CPU that computes; models: that rates are
    fitted to; classes: class -> what is known of it; judged: which runs were kept from the fit, and
    checks: what came of them; notes: what else is to be said.
    """

    device: str
    runtime: str
    version: str
    target: str
    threads: int
    models: tuple[str, ...]
    classes: Mapping[str, Fitted]
    judged: str = ""
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The first letters of a digest of all that it says."""
        return sha256(profile_text(self).encode()).hexdigest()[:12]

    @property
    def error(self) -> float:
        """The mean of |predicted/measured - 1| over runs that the fit had not seen."""
        return float(np.mean([abs(one.ratio - 1) for one in self.checks])) if self.checks else 0.0

    def speed(self, target: Speed) -> Speed:
        """Return the speed of a target with the rates of this device."""
        return replace(target, measured={name: one.rates for name, one in self.classes.items()})

    def __str__(self) -> str:
        threads = {0: "", 1: ", one thread"}.get(self.threads, f", {self.threads} threads")
        return f"{self.device} ({self.runtime} {self.version}{threads}; {self.digest})"


def fit(runs: Iterable[Run]) -> dict[str, Fitted]:
    """Fit the rates of every class that enough steps are of, and of all together, `ANY`.

    Non-negative least squares of seconds = sum of amounts * rates, reweighted so that it is the
    relative error that counts: sum w (p - t)^2 / (p t) for a prediction p of a time t, where w is
    the root of the step's share of its run: half way between the error of steps and that of runs.
    Steps of the other classes weigh a tenth, so that what the steps of one do not tell (they may
    all be of one size) is not far from what the others say.
    Source: Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23 (NNLS).
    """
    found: dict[str, Fitted] = {}
    timed = [(run, one) for run in runs for one in run.steps if one.seconds > 0]
    for kind in ("", INTEGER):
        own = [p for p in timed if p[1].work.startswith(INTEGER) == bool(kind)]
        weight = np.array([(one.seconds / run.seconds) ** 0.5 for run, one in own])
        steps = [one for _, one in own]
        works = np.array([one.work for one in steps])
        for work in (*sorted(set(works.tolist())), kind + ANY):
            among = np.ones(len(works), bool) if work == kind + ANY else works == work
            if among.sum() >= _FEWEST:
                found[work] = _fitted(steps, weight, among)
    return found


def _fitted(steps: Sequence[Timed], weight: np.ndarray, among: np.ndarray) -> Fitted:
    """Fit the rates of some steps; the others that multiply too, or do not either, weigh little."""
    from scipy.optimize import nnls

    taken = np.array([one.seconds for one in steps])
    columns = np.array([[*_numbers(one.amounts), 1.0] for one in steps])
    multiplies = columns[:, 0] > 0
    beside = ~among & (multiplies == multiplies[among].any())
    share = _BESIDE * weight[among].sum() / max(weight[beside].sum(), weight.min())
    used = among | beside
    weight = np.where(among, weight, share * weight)[used]
    largest = np.maximum(columns[used].max(axis=0), 1.0)
    scaled, measured = columns[used] / largest, taken[used]
    predicted = measured
    for _ in range(_ROUNDS):
        root = np.sqrt(weight / (measured * np.maximum(predicted, _LEAST * measured)))
        rates, _ = nnls(scaled * root[:, None], measured * root)
        predicted = scaled @ rates
    apart = np.abs(columns[among] / largest @ rates - taken[among])
    numbers = (float(f"{rate:.{_DIGITS}g}") for rate in rates / largest)
    error = float(apart.sum() / taken[among].sum())
    return Fitted(Rates(*numbers), int(among.sum()), round(error, _DIGITS))


def _numbers(amounts: Amounts) -> tuple[float, ...]:
    return tuple(getattr(amounts, one.name) for one in fields(Amounts))


def check_of(run: Run, speed: Speed) -> Check:
    """Compare a run with what is predicted of it."""
    seconds = (run.predicted(speed), run.seconds)
    return Check(run.name, *(float(f"{one:.{_DIGITS}g}") for one in seconds))


def profile_text(profile: Profile) -> str:
    """Write a profile as JSON; `parse_profile` reads it back equal."""
    made = {"format": FORMAT, **asdict(profile)}
    return json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_profile(text: str, where: str) -> Profile:
    """Read what `profile_text` wrote. Raises SlimcError "bad-profile"."""
    try:
        profile = parse_record(text, Profile, FORMAT)
        _check(profile)
    except ValueError as error:
        help = getattr(error, "help", "") or "slimc profile MODEL -o machine.json writes one"
        raise SlimcError("bad-profile", str(error), where, help) from error
    return profile


def _check(profile: Profile) -> None:
    named = (profile.device, profile.runtime, profile.version, profile.target, profile.judged)
    for text in (*named, *profile.models, *profile.notes):
        if len(text) > _TEXTS or not text.isprintable():
            raise ValueError(f"{text!r:.40} is no name")
    if profile.threads < 0:
        raise ValueError(f"threads is {profile.threads}")
    for name, fitted in profile.classes.items():
        if name.removeprefix(INTEGER) not in (*CLASSES, ANY):
            raise ValueError(f"there is no class of work '{name}'")
        rates = [*asdict(fitted.rates).values()]
        if min(*rates, fitted.error) < 0 or not any(rates):
            raise ValueError(f"the rates of '{name}' are no rates: {[*rates, fitted.error]}")
    if ANY not in profile.classes:
        raise ValueError(f"class '{ANY}' is missing")
    for check in profile.checks:
        if min(check.predicted, check.measured) <= 0:
            raise ValueError(f"{check} is no check")
