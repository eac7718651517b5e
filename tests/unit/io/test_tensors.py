from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from slimc.errors import SlimcError
from slimc.io.tensors import DataFiles, read_tensor, write_tensor
from slimc.ir.constant import Constant
from slimc.ir.types import DType


@pytest.mark.parametrize("dtype", [d for d in DType if d is not DType.STRING])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 1)])
def test_every_type_round_trips(dtype: DType, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    low, high = dtype.span if dtype.is_integer else (0, 1)
    values = rng.integers(max(low, -9), min(high, 9), shape, endpoint=True)
    constant = Constant(np.asarray(values).astype(dtype.numpy))
    tensor = write_tensor("w", constant)
    assert tensor.name == "w"
    assert len(tensor.raw_data) == constant.size_bytes
    again = read_tensor(TensorProto.FromString(tensor.SerializeToString()))
    assert again.same_as(constant)


def test_texts_round_trip_even_where_they_are_no_text() -> None:
    array = np.array([["a", "é"], ["", b"\xff\x00"]], object)
    again = read_tensor(write_tensor("w", Constant(array)))
    assert again.array.tolist() == array.tolist()
    assert again.shape == (2, 2)


def test_typed_fields_are_read_too() -> None:
    tensor = TensorProto(name="w", dims=[2], data_type=TensorProto.FLOAT16, int32_data=[0x3C00, 0])
    assert read_tensor(tensor).array.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"dims": [3], "raw_data": b"1234"}, "needs 12 bytes, the file has 4"),
        ({"dims": [-1], "raw_data": b""}, "negative size"),
        ({"dims": [2], "float_data": [1.0]}, "do not fit"),
        ({"dims": [1 << 40, 1 << 40], "raw_data": b"1234"}, "needs"),
        ({"dims": [1], "data_type": 99}, "element type 99"),
        ({"dims": [2], "data_type": TensorProto.STRING, "string_data": [b"a"]}, "2 strings"),
        ({"dims": [1], "segment": {"begin": 0, "end": 1}}, "segments"),
    ],
)
def test_broken_tensors(fields: dict[str, Any], told: str) -> None:
    tensor = TensorProto(**{"name": "w", "data_type": TensorProto.FLOAT, **fields})
    with pytest.raises(SlimcError, match="tensor-broken") as caught:
        read_tensor(tensor)
    assert told in caught.value.message
    assert "'w'" in caught.value.where


def external(dtype: DType, dims: tuple[int, ...], **facts: object) -> TensorProto:
    tensor = TensorProto(
        name="w", dims=dims, data_type=dtype.code, data_location=TensorProto.EXTERNAL
    )
    for key, value in facts.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def test_data_files_are_mapped_not_read(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(b"123" + values.tobytes())
    tensor = external(DType.F32, (2, 3), location="w.bin", offset=3)
    constant = read_tensor(tensor, DataFiles(tmp_path))
    assert constant.array.tolist() == values.reshape(2, 3).tolist()
    base = constant.array
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        constant.array[0, 0] = 1


def test_data_files_of_small_elements(tmp_path: Path) -> None:
    array = np.arange(-3, 4).astype(DType.I4.numpy)
    (tmp_path / "w.bin").write_bytes(numpy_helper.from_array(array).raw_data)
    (tmp_path / "empty.bin").write_bytes(b"")
    files = DataFiles(tmp_path)
    constant = read_tensor(external(DType.I4, (7,), location="w.bin", length=4), files)
    assert constant.array.tolist() == array.tolist()
    for location in ("w.bin", "empty.bin"):
        empty = read_tensor(external(DType.F32, (0, 2), location=location), files)
        assert empty.shape == (0, 2)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({"location": "../out.bin"}, "outside the model's folder"),
        ({"location": "a/../../out.bin"}, "outside the model's folder"),
        ({"location": "/etc/hostname"}, "outside the model's folder"),
        ({"location": "link.bin"}, "outside the model's folder"),
        ({"location": "none.bin"}, "data file 'none.bin' does not exist"),
        ({"location": "folder"}, "data file 'folder' does not exist"),
        ({"location": "w.bin", "offset": 4}, "ends at byte 12 of 'w.bin', which has 8"),
        ({"location": "w.bin", "offset": 1 << 62}, "which has 8"),
        ({"location": "w.bin", "offset": -4}, "not a number of bytes"),
        ({"location": "w.bin", "offset": "x"}, "not a number of bytes"),
        ({"location": "w.bin", "length": 4}, "needs 8 bytes, but its length is 4"),
    ],
)
def test_data_files_that_are_refused(facts: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "out.bin").write_bytes(b"12345678")
    (folder / "w.bin").write_bytes(b"12345678")
    os.symlink(tmp_path / "out.bin", folder / "link.bin")
    with pytest.raises(SlimcError, match="external-data") as caught:
        read_tensor(external(DType.F32, (2,), **facts), DataFiles(folder))
    assert told in caught.value.message


def test_a_model_without_a_folder_has_no_data_files() -> None:
    with pytest.raises(SlimcError, match="external-data"):
        read_tensor(external(DType.F32, (2,), location="w.bin"))
