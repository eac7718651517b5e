"""Graphs -> model files, in the opset that the reader wants."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto, StringStringEntryProto, helper

from slimc.errors import SlimcError
from slimc.io.downgrade import downgrade, lowest_opset
from slimc.io.encode import encode
from slimc.io.read import FIELDS, MODEL
from slimc.ir.graph import Graph

PLAIN = 17  # opset that every runtime of today reads
PROTO_LIMIT_BYTES = 1_800_000_000  # protobuf ends at 2 GiB
_IN_FILE_BYTES = 1024  # smaller tensors stay in the file: readers need shapes and axes from it
_ALIGNMENT_BYTES = 4096  # so that a page of the data file holds one tensor's elements


def to_model(graph: Graph, opset: int | None = None, ir_version: int | None = None) -> ModelProto:
    """Make the model of a graph.

    opset: of the default domain; None: the lowest from 17 that expresses the graph as it is.
    ir_version: None: the lowest that the opset allows. Errors: those of `downgrade`.
    """
    opset = lowest_opset(graph, PLAIN) if opset is None else opset
    model = ModelProto(graph=encode(downgrade(graph, opset), opset))
    imports = {"": opset, **graph.opsets}
    model.opset_import.extend(helper.make_opsetid(d, v) for d, v in imports.items())
    needed: int = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = ir_version or max(needed, 4)
    model.producer_name = "slimc"
    for key, value in graph.metadata.items():
        field = key.removeprefix(MODEL)
        if key.startswith(MODEL) and field in FIELDS:
            setattr(model, field, int(value) if field == "model_version" else value)
        else:
            model.metadata_props.append(StringStringEntryProto(key=key, value=value))
    return model


def to_bytes(graph: Graph, opset: int | None = None, ir_version: int | None = None) -> bytes:
    """Make the bytes of a model file; equal graphs give equal bytes."""
    return to_model(graph, opset, ir_version).SerializeToString(deterministic=True)


def write(
    graph: Graph,
    path: str | Path,
    opset: int | None = None,
    ir_version: int | None = None,
    external: bool | None = None,
) -> None:
    Path(path).write_bytes(to_bytes(graph, opset, ir_version))
