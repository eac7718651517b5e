"""The text form of graphs, for goldens, errors and `slimc show`.

    graph @net (%x: f32[N,3,8,8]) -> (%y)
      opset com.microsoft 1
      %w = constant f32[4,3,3,3] random(0)
      %k = constant i64[2] [1, -1]
      %x quantized u8 scale=0.02 zero=3
      %k quantized i4 axis=0 block=1 scales=[2] scale=[0.2, 0.3]
      %c: f32[N,4,6,6] = Conv(%x, %w, _) {strides=[2, 2]} @conv integer
      %a: f32[2], _ = com.microsoft.Two(%c) @two by fold(@conv, @bn)
      %a note "key" "text that the exporter attached"
      %y: f32[2] = If(%a) @if
        then_branch = graph () -> (%t)
          %t: f32[2] = Relu(%a) @relu

`_` is an absent operand or result; `@` precedes names of nodes; `# ...` is a comment. A node
without a name is named after its first result, a graph without one is "graph". Types are optional.
Parts of lines are in `ir/literal.py`, the parser is in `ir/parse.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.graph import Attr, Form, Graph, Node
from slimc.ir.literal import (
    MAX_LISTED,
    Detail,
    write_bytes,
    write_elements,
    write_float,
    write_name,
    write_number,
    write_string,
    write_type,
)
from slimc.ir.parse import DEFAULT_NAME, KIND, parse_text

__all__ = ["parse_text", "to_text"]

_OP = re.compile(r"\w+", re.ASCII)


def to_text(graph: Graph, constants: Detail = "full") -> str:
    """Write a graph as text.

    constants: "full" reads back bit for bit; "short" is for people and goldens (no elements of long
    constants, six digits of floats, no origins, no notes).
    """
    return "\n".join(_Writer(constants).graph(graph, ""))


@dataclass(frozen=True)
class _Writer:
    detail: Detail

    def graph(self, graph: Graph, indent: str) -> Iterator[str]:
        """Yield the lines of a graph; those after the first are indented by `indent` + 2."""
        name = "" if graph.name == DEFAULT_NAME else f"@{write_name(graph.name)} "
        inputs = ", ".join(self._typed(graph, v) for v in graph.inputs)
        outputs = ", ".join(_write_value(v) for v in graph.outputs)
        yield f"graph {name}({inputs}) -> ({outputs})"
        inner = indent + "  "
        for line in self._facts(graph):
            yield inner + line
        for value in graph.inputs:
            yield from self._record(graph, value, inner)
        for value, constant in graph.constants.items():
            yield f"{inner}{_write_value(value)} = {self._constant(constant)}"
            yield from self._record(graph, value, inner)
        for node in graph.nodes:
            yield inner + self._node(graph, node)
            yield from self._bodies(node, inner + "  ")
            for value in node.outputs:
                yield from self._record(graph, value, inner)
        stated = {*graph.inputs, *graph.producers}
        for value in graph.types:
            if value not in stated:
                yield inner + self._typed(graph, value)
        for value, notes in graph.notes.items() if self.detail == "full" else ():
            for note in notes.items():
                yield f"{inner}{_write_value(value)} {_write_note(*note)}"

    def _facts(self, graph: Graph) -> Iterator[str]:
        if graph.doc:
            yield f"doc {write_string(graph.doc)}"
        if graph.form is not Form.IMPORTED:
            yield f"form {graph.form.value}"
        if graph.target:
            yield f"target {write_name(graph.target)}"
        for domain, version in graph.opsets.items():
            yield f"opset {write_name(domain)} {version}"
        for key, value in graph.metadata.items():
            yield f"metadata {write_string(key)} {write_string(value)}"

    def _typed(self, graph: Graph, value: str) -> str:
        if not value:
            return "_"
        kind = graph.types.get(value)
        return _write_value(value) + (f": {write_type(kind)}" if kind is not None else "")

    def _constant(self, constant: Constant) -> str:
        elements = write_elements(constant, self.detail)
        return f"constant {write_type(constant.type)}" + (f" {elements}" if elements else "")

    def _node(self, graph: Graph, node: Node) -> str:
        results = ", ".join(self._typed(graph, v) for v in node.outputs)
        operands = ", ".join(_write_value(v) for v in node.inputs)
        attrs = [
            f"{write_name(key)}={self._attr(value)}"
            for key, value in sorted(node.attrs.items())
            if not _graphs(value)
        ]
        text = f"{results} = " if node.outputs else ""
        text += f"{_write_kind(node)}({operands})"
        text += f" {{{', '.join(attrs)}}}" if attrs else ""
        text += f" @{write_name(node.name)}"
        text += " integer" if node.integer else ""
        if node.origin and self.detail == "full":
            names = ", ".join(f"@{write_name(n)}" for n in node.origin.nodes)
            text += f" by {write_name(node.origin.made_by)}({names})"
        if self.detail == "full":
            text += "".join(f" {_write_note(*note)}" for note in node.notes.items())
        return text

    def _bodies(self, node: Node, indent: str) -> Iterator[str]:
        for key, value in sorted(node.attrs.items()):
            for i, body in enumerate(_graphs(value)):
                place = f"[{i}]" if isinstance(value, tuple) else ""
                first, *rest = self.graph(body, indent)
                yield f"{indent}{write_name(key)}{place} = {first}"
                yield from rest

    def _attr(self, value: Attr) -> str:
        if isinstance(value, tuple):
            return f"[{', '.join(self._attr(v) for v in value)}]"
        if isinstance(value, Constant):
            return self._constant(value)
        if isinstance(value, bytes):
            return write_bytes(value)
        if isinstance(value, str):
            return write_string(value)
        if isinstance(value, float):
            return write_float(value)
        if isinstance(value, int):
            return str(int(value))
        return f"type {write_type(value)}"  # type: ignore[arg-type] # the remaining kind of Attr

    def _record(self, graph: Graph, value: str, indent: str) -> Iterator[str]:
        record = graph.records.get(value)
        if record is None:
            return
        text = f"{indent}{_write_value(value)} quantized {record.dtype.text}"
        text += "" if record.axis is None else f" axis={record.axis}"
        if record.block:
            text += f" block={record.block} scales={list(record.scale.shape)}"
        text += f" scale={self._numbers(record.scale)}"
        text += f" zero={self._numbers(record.zero_point)}" if record.zero_point.any() else ""
        full_range = (record.low, record.high) == record.dtype.span
        text += "" if full_range else f" range={record.low}..{record.high}"
        yield text + (f" pairs={list(record.pairs)}" if record.pairs else "")

    def _numbers(self, array: np.ndarray) -> str:
        numbers = [write_number(v, self.detail) for v in array.ravel()]
        if array.ndim == 0:
            return numbers[0]
        if self.detail == "short" and len(numbers) > MAX_LISTED:
            numbers = [*numbers[:2], f"... {len(numbers)} in all"]
        return f"[{', '.join(numbers)}]"


def _write_value(name: str) -> str:
    return f"%{write_name(name)}" if name else "_"


def _write_note(key: str, text: str) -> str:
    return f"note {write_string(key)} {write_string(text)}"


def _write_kind(node: Node) -> str:
    bare = KIND.fullmatch(node.kind) and _OP.fullmatch(node.op)
    if bare:
        return node.kind
    return ".".join(write_string(part) for part in (node.domain, node.op) if part)


def _graphs(value: Attr) -> tuple[Graph, ...]:
    items = value if isinstance(value, tuple) else (value,)
    return tuple(v for v in items if isinstance(v, Graph))
