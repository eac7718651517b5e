from __future__ import annotations

from dataclasses import replace

import pytest

from slimc.errors import SlimcError
from slimc.ops import OPS
from slimc.ops.op import Quant
from slimc.targets import TARGETS, resolve
from slimc.targets.onnxruntime.devices import CPU_AMX, CPU_AVX2, CPU_VNNI
from slimc.targets.target import Target


def test_a_name_that_is_no_target_gets_the_nearest_one() -> None:
    with pytest.raises(SlimcError, match="'jetsen'") as caught:
        resolve("jetsen")
    assert caught.value.name == "unknown-target"
    assert "did you mean 'jetson'" in caught.value.help


def test_aliases_say_what_they_stand_for() -> None:
    assert resolve("jetson").name == "jetson-orin"
    assert "jetson-orin" in resolve("jetson").chosen
    assert resolve("cpu").name in resolve("cpu").chosen
    assert not resolve("jetson-orin").chosen


@pytest.mark.parametrize("name", list(TARGETS))
def test_what_a_target_wants_in_integers_the_operator_can(name: str) -> None:
    target = resolve(name)
    for kind, wish in ((k, w) for scheme in target.schemes.values() for k, w in scheme.items()):
        row = OPS.get(kind)
        assert row is not None, kind
        assert row.quant is not Quant.FLOAT_ONLY, kind
        assert wish.weights is None or row.parameter is not None, kind
        assert wish.weights is not None or row.weighted is None, kind
        assert wish.activations is not None or wish.weights is not None, kind


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_target_takes_q_and_dq_exactly_if_it_runs_something_in_integers(name: str) -> None:
    target = resolve(name)
    assert (target.placement is not None) == bool(target.schemes)
    assert 13 <= target.opset <= target.opset_max <= 28
    assert target.prefer in target.floats


@pytest.mark.parametrize("name", list(TARGETS))
def test_rules_have_names_of_their_own(name: str) -> None:
    names = [rule.name for rule in resolve(name).rules]
    assert len(names) == len(set(names))


def test_pairs_of_weights_fit_16_bits_where_the_kernel_saturates() -> None:
    def paired(target: Target) -> bool:
        grid = target.quantize["Conv"].weights
        assert grid is not None
        return grid.paired

    assert paired(CPU_AVX2)
    assert not paired(CPU_VNNI)


def test_amx_changes_nothing_in_the_file() -> None:
    assert replace(CPU_VNNI, name=CPU_AMX.name, summary=CPU_AMX.summary) == CPU_AMX
