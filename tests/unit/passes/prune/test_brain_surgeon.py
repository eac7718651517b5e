from __future__ import annotations

import numpy as np
import pytest

from slimc.passes.prune import brain_surgeon as elimination
from slimc.passes.prune.brain_surgeon import Reader, UncorrectedReader, eliminate

RNG = np.random.default_rng(1)


def reader(width: int, taps: int, outs: int = 4) -> Reader:
    p = width * taps
    mixing = RNG.standard_normal((p, p)) / np.sqrt(p) + np.eye(p)
    columns = np.arange(p).reshape(width, taps)
    return Reader(RNG.standard_normal((outs, p)), mixing @ mixing.T, columns)


def least_squares_error(one: Reader, gone: np.ndarray) -> float:
    """Return min over W' of tr((W - W') H (W - W')'), W' zero at `gone`, as a share."""
    out = one.columns[gone].reshape(-1)
    inside = np.setdiff1d(np.arange(one.h.shape[0]), out)
    h_oo, h_oi = one.h[np.ix_(out, out)], one.h[np.ix_(out, inside)]
    schur = h_oo - h_oi @ np.linalg.solve(one.h[np.ix_(inside, inside)], h_oi.T)
    return float(np.einsum("op,pq,oq->", one.w[:, out], schur, one.w[:, out])) / one.energy


@pytest.mark.parametrize("taps", [1, 3])
def test_the_damage_is_the_error_of_least_squares(
    taps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elimination, "RIDGE", 1e-9)
    readers = [reader(12, taps), reader(12, taps, outs=2)]
    found = eliminate(readers, 12, rounds=12)
    for k in range(12):
        wanted = sum(least_squares_error(one, found.order[:k]) for one in readers)
        assert found.damage[k] == pytest.approx(wanted, rel=1e-5, abs=1e-9)
    assert found.damage[12] == pytest.approx(2, rel=1e-5)  # all of both


def test_units_that_others_stand_in_for_go_first() -> None:
    one = reader(6, 2)
    double = np.r_[np.arange(12), 4, 5]  # unit 6 has what unit 2 has
    h = one.h[np.ix_(double, double)]
    twin = Reader(np.c_[one.w, one.w[:, 4:6]], h, np.arange(14).reshape(7, 2))
    found = eliminate([twin], 7, rounds=7)
    assert found.order[0] in (2, 6)
    assert found.damage[1] < 0.02  # the ridge
    assert found.damage[2] > 5 * found.damage[1]


def test_rounds_change_the_order_but_not_what_is_counted() -> None:
    one = reader(30, 1)
    coarse = eliminate([one], 30, rounds=3)
    assert sorted(coarse.order) == list(range(30))
    assert (np.diff(coarse.damage) >= 0).all()
    assert coarse.damage[30] == pytest.approx(1, rel=0.05)  # the ridge shrinks what is explained


def test_shares_add_up() -> None:
    found = eliminate([UncorrectedReader(np.array([0.5, 0.1, 0.4]))], 3)
    assert found.order.tolist() == [1, 2, 0]
    np.testing.assert_allclose(found.damage, [0, 0.1, 0.5, 1])


def test_units_may_have_columns_anywhere_and_others_stay() -> None:
    one = reader(10, 1)
    part = Reader(one.w, one.h, np.array([[7], [2]]))
    found = eliminate([part], 2, rounds=2)
    assert set(found.order.tolist()) == {0, 1}
    assert found.damage[2] < 1
