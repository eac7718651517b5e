"""Rates are fitted to steps of known cost, and a profile reads back as it was written."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from slimc.analysis.latency import Amounts, Rates, Speed
from slimc.analysis.profile import (
    Check,
    Fitted,
    Profile,
    Run,
    Timed,
    check_of,
    fit,
    parse_profile,
    profile_text,
)
from slimc.errors import SlimcError

TRUE = {
    "pointwise": Rates(2e-11, 4e-11, 1e-11, 0.0, 2e-6),
    "integer convolution": Rates(5e-12, 0.0, 0.0, 3e-9, 1e-6),
}
TARGET = Speed(1e10, 1e10, 1e-6)


def runs(noise: float, seed: int = 0) -> list[Run]:
    """Make runs whose steps take what `TRUE` says, times a factor around one."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(6):
        steps = []
        for work, rates in TRUE.items():
            for _ in range(20):
                numbers = 10 ** rng.uniform((4, 3, 3, 1), (8, 6, 5, 4))
                amounts = Amounts(*numbers.tolist())
                factor = float(np.exp(noise * rng.standard_normal()))
                steps.append(Timed(work, amounts, amounts.seconds(rates) * factor))
        found.append(Run(f"run {number}", sum(one.seconds for one in steps), tuple(steps)))
    return found


def test_rates_are_found_again() -> None:
    found = fit(runs(noise=0.0))
    for work, rates in TRUE.items():
        for wanted, rate in zip(
            vars(rates).values(), vars(found[work].rates).values(), strict=True
        ):
            assert rate == pytest.approx(wanted, rel=2e-3, abs=1e-14)
        assert found[work].steps == 120
        assert found[work].error < 1e-3
    assert {"any", "integer any"} < set(found)


def test_noise_moves_predictions_little_and_to_neither_side() -> None:
    seen, unseen = runs(noise=0.3), runs(noise=0.0, seed=1)
    profile = made(fit(seen))
    speed = profile.speed(TARGET)
    ratios = np.array([check_of(run, speed).ratio for run in unseen])
    assert np.abs(ratios - 1).mean() < 0.1
    assert abs(np.log(ratios).mean()) < 0.08


def test_a_class_of_few_steps_is_left_to_all_together() -> None:
    run = runs(noise=0.0)[0]
    few = [one for one in run.steps if one.work == "pointwise"][:7]
    many = [one._replace(work="product") for one in run.steps if one.work == "pointwise"]
    found = fit([Run("one", run.seconds, (*few, *many))])
    assert "pointwise" not in found
    assert made(found).speed(TARGET).rates("pointwise") == found["any"].rates


def made(classes: dict[str, Fitted]) -> Profile:
    return Profile("a board", "onnxruntime", "1.32.0", "cpu-vnni", 1, ("net",), classes)


PROFILE = Profile(
    "a board",
    "onnxruntime",
    "1.32.0",
    "cpu-vnni",
    1,
    ("net",),
    {"any": Fitted(Rates(1e-11, 2e-11, 0.0, 0.0, 1e-6), 9, 0.1)},
    "models that no rate is fitted to",
    (Check("other", 1.1e-3, 1e-3),),
    ("samples of net are made up",),
)


def test_a_profile_reads_back_as_it_was() -> None:
    assert parse_profile(profile_text(PROFILE), "'p.json'") == PROFILE
    assert PROFILE.error == pytest.approx(0.1)
    assert PROFILE.digest in str(PROFILE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format="slimc-profile-0"), "expected 'slimc-profile-1'"),
        (lambda d: d.pop("device"), "device: it is missing"),
        (lambda d: d.update(colour="red"), "colour: there is no such key"),
        (lambda d: d.update(device="a\nb"), "is no name"),
        (lambda d: d.update(threads="1"), "threads: expected a whole number, found '1'"),
        (lambda d: d.update(classes={}), "class 'any' is missing"),
        (lambda d: d["classes"].update(magic=d["classes"]["any"]), "no class of work 'magic'"),
        (
            lambda d: d["classes"]["any"].update(seconds=1),
            "classes['any'].seconds: there is no such key",
        ),
        (lambda d: d["classes"]["any"]["rates"].update(mac=-1e-9), "are no rates"),
        (
            lambda d: d["classes"]["any"]["rates"].update(mac=10**400),
            "mac: expected a number, found a number of more than 64 bits",
        ),
        (
            lambda d: d["classes"]["any"]["rates"].update(mac=True),
            "mac: expected a number, found True",
        ),
        (
            lambda d: d["classes"]["any"].update(rates=dict.fromkeys(vars(Rates(0, 0)), 0)),
            "are no rates",
        ),
        (lambda d: d["checks"][0].update(measured=0), "is no check"),
        (lambda d: d.update(classes=[1]), "classes: expected a table, found a list"),
    ],
)
def test_a_changed_file_is_one_error(change: Any, said: str) -> None:
    found = json.loads(profile_text(PROFILE))
    change(found)
    with pytest.raises(SlimcError) as raised:
        parse_profile(json.dumps(found), "'p.json'")
    assert (raised.value.name, raised.value.where) == ("bad-profile", "'p.json'")
    assert said in raised.value.message


@pytest.mark.parametrize("text", ["", "[]", "3", "[" * 100_000, '{"format": NaN}'])
def test_other_text_is_one_error(text: str) -> None:
    with pytest.raises(SlimcError) as raised:
        parse_profile(text, "'p.json'")
    assert raised.value.name == "bad-profile"
