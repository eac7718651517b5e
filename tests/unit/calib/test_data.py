from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text

ONE = parse_text("graph (%x: f32[N,3]) -> (%y)\n  %y: f32[N,3] = Relu(%x) @r")
TWO = parse_text("graph (%x: f32[N,3], %s: i64[]) -> (%y)\n  %y: f32[N,3] = Relu(%x) @r")
FIXED = parse_text("graph (%x: f32[2,3]) -> (%y)\n  %y: f32[2,3] = Relu(%x) @r")


def rows(count: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + 3 * count, dtype=np.float32).reshape(count, 3)


def refusal(path: Path, graph: Graph) -> SlimcError:
    with pytest.raises(SlimcError) as caught:
        list(Data.from_path(path, graph))
    return caught.value


def test_folder_holds_one_feed_in_each_file_in_order_of_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", x=rows(1, 6), s=np.int64(8))
    np.savez_compressed(tmp_path / "a.npz", x=rows(2), s=np.int64(7))
    data = Data.from_path(tmp_path, TWO)
    for _ in range(2):  # as often as asked
        first, second = data
        assert first["x"].tolist() == rows(2).tolist()
        assert (first["s"], second["s"]) == (7, 8)
    assert (data.count, data.samples, data.synthetic) == (2, 3, False)
    assert data.sizes() == {"N": 2}
    assert data.describe().startswith("3 samples in 2 feeds from ")
    assert data.describe().endswith(": x f32[2,3], s i64[] and 1 other shape")


def test_npy_files_serve_a_single_input(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", rows(2))
    np.save(tmp_path / "1.npy", np.asfortranarray(rows(4)))
    feeds = list(Data.from_path(tmp_path, ONE))
    assert [feed["x"].tolist() for feed in feeds] == [rows(2).tolist(), rows(4).tolist()]
    assert refusal(tmp_path, TWO).name == "calib-mismatch"


def test_one_file_is_split_into_feeds(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", x=rows(5), s=np.int64(1), label=np.zeros(5))
    data = Data.from_path(tmp_path / "all.npz", TWO, batch=2)
    assert [feed["x"].shape for feed in data] == [(2, 3), (2, 3), (1, 3)]
    assert np.concatenate([feed["x"] for feed in data]).tolist() == rows(5).tolist()
    assert data.ignored == ("label",)
    assert "'label'" in data.describe()


def test_one_file_follows_a_fixed_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", rows(5))
    data = Data.from_path(tmp_path / "all.npy", FIXED)
    assert [feed["x"].shape for feed in data] == [(2, 3), (2, 3)]
    assert "1 left over" in data.describe()


def test_one_file_may_hold_whole_feeds(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", x=rows(6).reshape(3, 2, 3), s=np.arange(3))
    first, second, third = Data.from_path(tmp_path / "all.npz", TWO)
    assert second["x"].tolist() == rows(2, 6).tolist()
    assert (first["s"], second["s"], third["s"]) == (0, 1, 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": rows(2)}, "no array for input 'x'"),
        ({"x": rows(2).astype(np.float64)}, "expected f32[N,3], found f64[2,3]"),
        ({"x": rows(2)[0]}, "expected f32[N,3], found f32[3]"),
        ({"x": rows(2)[:, :2]}, "expected f32[N,3], found f32[2,2]"),
    ],
)
def test_mismatch_names_file_and_array(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    error = refusal(tmp_path, ONE)
    assert error.name == "calib-mismatch"
    assert message in error.message
    assert "bad.npz" in error.where


def test_one_name_is_one_size() -> None:
    graph = parse_text("graph (%a: f32[N], %b: f32[N]) -> (%y)\n  %y: f32[N] = Add(%a, %b) @add")
    with pytest.raises(SlimcError, match="dimension 'N' is 1 and 2 in one feed"):
        Data.from_feeds([{"a": np.zeros(1, np.float32), "b": np.zeros(2, np.float32)}], graph)


def test_nothing_there(tmp_path: Path) -> None:
    assert refusal(tmp_path, ONE).name == "calib-missing"
    assert refusal(tmp_path / "none.npz", ONE).name == "calib-missing"
    with pytest.raises(SlimcError, match="empty"):
        Data.from_feeds([], ONE)


def test_pickles_and_broken_files_are_refused(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "objects.npz", x=objects)
    assert "Python objects" in refusal(tmp_path / "objects.npz", ONE).message
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(rows(2)))
    assert refusal(tmp_path / "pickle.npy", ONE).name == "calib-unreadable"
    np.save(tmp_path / "short.npy", rows(4))
    whole = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:-8])
    assert "declares" in refusal(tmp_path / "short.npy", ONE).message


def test_announced_size_is_checked_before_reading(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 3), }".ljust(117)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + b"\x76\x00" + header + b"\n" + bytes(24))
    assert "declares" in refusal(tmp_path / "bomb.npz", ONE).message


def test_digest_follows_the_content(tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "0.npz", x=rows(2, start))
    a, b, c = (Data.from_path(tmp_path / name, ONE) for name in "abc")
    assert a.digest == b.digest != c.digest
    assert a.head(1).digest != a.digest
    assert Data.from_feeds(list(a), ONE).digest == Data.from_feeds(lambda: a, ONE).digest


def test_feeds_from_lists_iterators_and_functions() -> None:
    feeds = [{"x": rows(2)}, {"x": rows(1).tolist()}]
    with pytest.raises(SlimcError, match="f64"):
        Data.from_feeds(feeds, ONE)
    feeds[1]["x"] = rows(1)
    for source in (feeds, iter(feeds), lambda: iter(feeds)):
        data = Data.from_feeds(source, ONE)
        assert [len(feed["x"]) for feed in data] == [2, 1]
        assert (data.count, data.samples, data.sizes()) == (2, 3, {"N": 2})


def test_head_and_first_samples() -> None:
    data = Data.from_feeds([{"x": rows(2)}] * 4, ONE)
    assert len(list(data.head(3))) == data.head(3).count == 3
    assert data.first_samples(5).samples == 6  # whole feeds
    assert data.first_samples(0) is data.first_samples(99) is data


def test_synthetic_feeds_are_seeded_and_valid() -> None:
    graph = parse_text(
        "graph (%x: f32[N,400], %i: i64[N,8], %b: bool[N], %u: u8[N,900], %h: bf16[N])"
        " -> (%y)\n  %y: f32[N,400] = Relu(%x) @r"
    )
    data = Data.synthesize(graph, {"N": 3}, seed=1, count=2)
    (first, second), (again, _) = data, data
    assert data.synthetic
    assert data.samples == 6
    assert (first["x"] == again["x"]).all()
    assert not (first["x"] == second["x"]).all()
    assert abs(first["x"].std() - 1) < 0.1  # 1200 numbers of a unit normal
    assert set(first["i"].ravel().tolist()) <= {0, 1}
    assert first["u"].max() > 200
    assert (first["b"].dtype, first["h"].dtype) == (np.bool_, ml_dtypes.bfloat16)
    with pytest.raises(SlimcError, match="cannot generate samples for input 'x'"):
        Data.synthesize(graph, {})


def test_types_that_numpy_files_do_not_know(tmp_path: Path) -> None:
    graph = parse_text("graph (%x: bf16[N]) -> (%y)\n  %y: bf16[N] = Relu(%x) @r")
    array = np.array([1.5, -2], ml_dtypes.bfloat16)
    np.savez(tmp_path / "0.npz", x=array)
    (feed,) = Data.from_path(tmp_path, graph)
    assert feed["x"].dtype == array.dtype
    assert feed["x"].tolist() == array.tolist()


def test_inputs_that_are_no_tensors() -> None:
    graph = parse_text("graph (%x: seq<f32[N]>) -> (%x)")
    with pytest.raises(SlimcError, match="is a seq<f32"):
        Data.synthesize(graph, {"N": 1})


def test_a_folder_of_stacks(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", rows(4))
    np.save(tmp_path / "b.npy", rows(5, 12))
    data = Data.from_path(tmp_path, FIXED)
    assert [feed["x"].shape for feed in data] == [(2, 3)] * 4
    assert [one["x"].shape for one in data.specs or ()] == [(2, 3)] * 4
    assert "1 left over" in data.describe()


def test_a_folder_of_larger_batches(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=rows(4))
    np.savez(tmp_path / "b.npz", x=rows(2, 12))
    data = Data.from_path(tmp_path, FIXED)
    assert [feed["x"].shape for feed in data] == [(2, 3)] * 3
    np.savez(tmp_path / "c.npz", x=rows(4).reshape(2, 2, 3))
    assert refusal(tmp_path, FIXED).name == "calib-mismatch"  # no batch, one axis more


def test_a_folder_of_feeds_with_an_axis_before(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", rows(4).reshape(2, 2, 3))
    assert [feed["x"].shape for feed in Data.from_path(tmp_path, ONE)] == [(2, 3)] * 2


def test_an_iterator_is_kept_and_a_generator_function_run_again() -> None:
    starts: list[int] = []

    def feeds():
        starts.append(1)
        for i in range(3):
            yield {"x": rows(1, i)}

    kept = Data.from_feeds(feeds(), ONE)
    expected = [rows(1, i).tolist() for i in range(3)]
    for _ in range(2):
        assert [feed["x"].tolist() for feed in kept] == expected
    assert (len(starts), kept.count, kept.title) == (1, 3, "an iterator")
    again = Data.from_feeds(feeds, ONE)
    for _ in range(2):
        assert [feed["x"].tolist() for feed in again] == expected
    assert len(starts) == 3
    assert again.digest == kept.digest


def test_an_iterator_beyond_memory_lies_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimc.calib.data.SPOOL_BYTES", 20)
    kept = Data.from_feeds(({"x": rows(1, i)} for i in range(3)), ONE)
    assert [type(feed["x"]) for feed in kept] == [np.ndarray, np.memmap, np.memmap]
    assert [feed["x"].tolist() for feed in kept] == [rows(1, i).tolist() for i in range(3)]


def test_what_can_be_iterated_again_is_not_kept() -> None:
    class Loader:
        runs = 0

        def __iter__(self):
            Loader.runs += 1
            return iter([rows(2), rows(1)])  # arrays alone: the graph has one input

    data = Data.of(Loader(), ONE)
    assert Loader.runs == 0
    assert [feed["x"].shape for feed in data] == [(2, 3), (1, 3)]


def test_feeds_that_are_no_arrays_by_name() -> None:
    for graph, feed in ((TWO, rows(1)), (ONE, "text"), (ONE, (rows(1), 3))):
        with pytest.raises(SlimcError, match="expected a mapping of input names"):
            Data.from_feeds([feed], graph)
    with pytest.raises(SlimcError, match="yields no samples"):
        Data.from_feeds(iter(()), ONE)


@pytest.mark.parametrize("shape", ["(True, 3)", "(99999999999999999999, 0)", "(-1, 3)", "(" * 60])
def test_headers_that_say_nonsense_are_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    start = b"\x93NUMPY\x01\x00" + bytes([len(header), 0])
    (tmp_path / "x.npy").write_bytes(start + header + bytes(12))
    assert refusal(tmp_path / "x.npy", ONE).name == "calib-unreadable"
