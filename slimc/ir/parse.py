"""Parser of the text form that `ir/text.py` describes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.graph import Attr, Form, Graph, Node, Origin, Quantization
from slimc.ir.literal import (
    read_digits,
    read_dtype,
    read_elements,
    read_list,
    read_name,
    read_number,
    read_raw,
    read_string,
    read_tensor_type,
    read_type,
)
from slimc.ir.scan import Cursor
from slimc.ir.types import ValueType

DEFAULT_NAME = "graph"
KIND = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*", re.ASCII)
_WORD = re.compile(r"\w+")
_PROPERTY = re.compile(r"(form|target|opset|metadata|doc)\b(?!\s*[(.])")
_CONSTANT = re.compile(r"constant\b(?!\s*[(.])")  # not an operator of this name
_QUOTE = re.compile('"')


def parse_text(text: str) -> Graph:
    """Read a graph from text. Raises SlimcError "text-syntax" with line and column."""
    parser = _GraphParser(text)
    cursor = parser.next()
    if cursor is None:
        raise Cursor("").error("the text contains no graph")
    cursor.expect("graph")
    graph = parser.graph(cursor, _indent(cursor), frozenset())
    extra = parser.next()
    if extra is not None:
        raise extra.error("this line is indented less than the graph it follows")
    return graph


def _indent(cursor: Cursor) -> int:
    return len(cursor.text) - len(cursor.text.lstrip(" \t"))


@dataclass
class _Draft:
    """A graph under construction. `outer`: values of enclosing graphs."""

    outer: frozenset[str]
    name: str = DEFAULT_NAME
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    types: dict[str, ValueType] = field(default_factory=dict)
    records: dict[str, Quantization] = field(default_factory=dict)
    opsets: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    form: Form = Form.IMPORTED
    target: str = ""
    doc: str = ""
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    defined: dict[str, None] = field(default_factory=dict)

    def graph(self) -> Graph:
        return Graph(
            self.name,
            self.inputs,
            self.outputs,
            tuple(self.nodes),
            self.constants,
            self.types,
            self.form,
            self.target,
            self.opsets,
            self.metadata,
            self.records,
            self.doc,
            self.notes,
        )


class _GraphParser:
    def __init__(self, text: str) -> None:
        cursors = (Cursor(line, i) for i, line in enumerate(text.split("\n"), 1))
        self._lines = [c for c in cursors if not c.at_end()]
        self._at = 0
        self._values: set[str] = set()
        self._nodes: set[str] = set()

    def next(self) -> Cursor | None:
        """Return the next line, or None after the last."""
        self._at += 1
        return self._lines[self._at - 1] if self._at <= len(self._lines) else None

    def indented(self, indent: int) -> Iterator[Cursor]:
        """Yield the following lines that are indented by more than `indent`, all equally."""
        column: int | None = None
        while self._at < len(self._lines):
            cursor = self._lines[self._at]
            own = _indent(cursor)
            if own <= indent:
                return
            if own != (column := own if column is None else column):
                raise cursor.error(f"this line starts at column {own + 1}, others at {column + 1}")
            self._at += 1
            yield cursor

    def graph(self, cursor: Cursor, indent: int, outer: frozenset[str]) -> Graph:
        """Read a graph after its keyword `graph`."""
        draft = _Draft(outer)
        if cursor.accept("@"):
            draft.name = read_name(cursor)
        cursor.expect("(")
        draft.inputs = tuple(read_list(cursor, ")", lambda c: self._result(c, draft)))
        cursor.expect("->")
        cursor.expect("(")
        outputs = read_list(cursor, ")", lambda c: (c.at, _read_value(c)))
        cursor.expect_end()
        for line in self.indented(indent):
            self._line(line, draft)
        for position, value in outputs:
            _expect_known(cursor, position, draft, value)
        draft.outputs = tuple(value for _, value in outputs)
        return draft.graph()

    def _line(self, cursor: Cursor, draft: _Draft) -> None:
        if cursor.looking_at(_PROPERTY):
            _read_property(cursor, draft)
        elif not self._read_value_line(cursor, draft):
            self._node(cursor, draft)
        cursor.expect_end()

    def _read_value_line(self, cursor: Cursor, draft: _Draft) -> bool:
        """Read a line about a value; return False, with nothing read, if it is a node."""
        start = cursor.at
        if cursor.accept("%"):
            name = read_name(cursor)
            if cursor.accept("quantized"):
                draft.records[name] = _read_record(cursor)
                return True
            if cursor.accept("note"):
                key = read_string(cursor)
                draft.notes.setdefault(name, {})[key] = read_string(cursor)
                return True
            if cursor.accept("="):
                if cursor.match(_CONSTANT):
                    if name not in draft.inputs:
                        cursor.at, after = start, cursor.at
                        self._define(cursor, draft, name)
                        cursor.at = after
                    draft.constants[name] = _read_constant(cursor)
                    return True
            elif cursor.accept(":"):
                kind = read_type(cursor)
                if cursor.at_end():
                    draft.types[name] = kind
                    return True
        cursor.at = start
        return False

    def _node(self, cursor: Cursor, draft: _Draft) -> None:
        outputs: list[str] = []
        if cursor.text[cursor.at] in "%_":
            outputs.append(self._result(cursor, draft))
            while cursor.accept(","):
                outputs.append(self._result(cursor, draft))
            cursor.expect("=")
        domain, op = _read_kind(cursor)
        cursor.expect("(")
        inputs = tuple(read_list(cursor, ")", lambda c: _read_operand(c, draft)))
        attrs: dict[str, Attr] = {}
        if cursor.accept("{"):
            attrs = dict(read_list(cursor, "}", _read_attr))
        name = read_name(cursor) if cursor.accept("@") else next(filter(None, outputs), op)
        if name in self._nodes:
            raise cursor.error(f"there are two nodes named '{name}'")
        self._nodes.add(name)
        integer = cursor.accept("integer")
        origin = _read_origin(cursor) if cursor.accept("by ") else None
        notes: dict[str, str] = {}
        while cursor.accept("note"):
            key = read_string(cursor)
            notes[key] = read_string(cursor)
        cursor.expect_end()
        attrs |= self._bodies(_indent(cursor), draft, outputs)
        draft.nodes.append(
            Node(op, inputs, tuple(outputs), name, attrs, domain, origin, integer, notes)
        )

    def _bodies(self, indent: int, draft: _Draft, outputs: list[str]) -> dict[str, Attr]:
        bodies: dict[str, Attr] = {}
        known: frozenset[str] | None = None
        for line in self.indented(indent):
            if known is None:  # a body sees the values defined before its node
                known = draft.outer | frozenset(draft.defined) - frozenset(outputs)
            key = read_name(line, "the name of an attribute")
            is_list = line.accept("[")
            if is_list:
                line.expect(read_digits(line) and "]")
            line.expect("=")
            line.expect("graph")
            body = self.graph(line, _indent(line), known)
            earlier = bodies.get(key, ())
            bodies[key] = (*earlier, body) if is_list and isinstance(earlier, tuple) else body
        return bodies

    def _result(self, cursor: Cursor, draft: _Draft) -> str:
        if cursor.accept("_"):
            return ""
        name = _read_value(cursor)
        self._define(cursor, draft, name)
        if cursor.accept(":"):
            draft.types[name] = read_type(cursor)
        return name

    def _define(self, cursor: Cursor, draft: _Draft, name: str) -> None:
        if name in self._values:
            raise cursor.error(f"the value '%{name}' is defined twice")
        self._values.add(name)
        draft.defined[name] = None


def _read_value(cursor: Cursor) -> str:
    cursor.expect("%")
    return read_name(cursor)


def _expect_known(cursor: Cursor, position: int, draft: _Draft, value: str) -> None:
    if value not in draft.defined and value not in draft.outer:
        cursor.at = position
        raise cursor.error(f"the value '%{value}' is read before it is defined")


def _read_operand(cursor: Cursor, draft: _Draft) -> str:
    if cursor.accept("_"):
        return ""
    position = cursor.at
    value = _read_value(cursor)
    _expect_known(cursor, position, draft, value)
    return value


def _read_kind(cursor: Cursor) -> tuple[str, str]:
    if cursor.looking_at(_QUOTE):
        first = read_string(cursor)
        return (first, read_string(cursor)) if cursor.accept(".") else ("", first)
    domain, _, op = cursor.expect_match(KIND, "an operator").rpartition(".")
    return domain, op


def _read_property(cursor: Cursor, draft: _Draft) -> None:
    word = cursor.expect_match(_PROPERTY, "a property of the graph")
    if word == "form":
        text = cursor.expect_match(_WORD, "a form")
        known = {form.value: form for form in Form}
        if text not in known:
            raise cursor.error(f"'{text}' is not a form", f"one of {', '.join(known)}")
        draft.form = known[text]
    elif word == "target":
        draft.target = read_name(cursor)
    elif word == "opset":
        domain = read_name(cursor)
        draft.opsets[domain] = int(read_digits(cursor))
    elif word == "metadata":
        key = read_string(cursor)
        draft.metadata[key] = read_string(cursor)
    else:
        draft.doc = read_string(cursor)


def _read_constant(cursor: Cursor) -> Constant:
    return Constant(read_elements(cursor, read_tensor_type(cursor)))


def _read_attr(cursor: Cursor) -> tuple[str, Attr]:
    key = read_name(cursor, "the name of an attribute")
    cursor.expect("=")
    return key, _read_attr_value(cursor)


def _read_attr_value(cursor: Cursor) -> Attr:
    if cursor.accept("["):
        return tuple(read_list(cursor, "]", _read_attr_value))
    if cursor.accept("constant"):
        return _read_constant(cursor)
    if cursor.accept("type"):
        return read_type(cursor)
    raw = read_raw(cursor)
    if raw is not None:
        return raw
    if cursor.looking_at(_QUOTE):
        return read_string(cursor).encode()
    return read_number(cursor)


def _read_origin(cursor: Cursor) -> Origin:
    made_by = read_name(cursor)
    cursor.expect("(")

    def read_node_name(c: Cursor) -> str:
        c.expect("@")
        return read_name(c)

    return Origin(made_by, tuple(read_list(cursor, ")", read_node_name)))


def _read_record(cursor: Cursor) -> Quantization:
    dtype = read_dtype(cursor)
    axis = int(read_digits(cursor)) if cursor.accept("axis=") else None
    block, shape = 0, None
    if cursor.accept("block="):
        block = int(read_digits(cursor))
        cursor.expect("scales=[")
        shape = tuple(map(int, read_list(cursor, "]", read_digits)))
    cursor.expect("scale=")
    scale = _read_numbers(cursor, np.dtype(np.float32))
    zero = np.zeros_like(scale, dtype.numpy)
    if cursor.accept("zero="):
        zero = _read_numbers(cursor, dtype.numpy)
    if shape is not None:
        scale, zero = _reshape(cursor, scale, shape), _reshape(cursor, zero, shape)
    low, high = dtype.span
    if cursor.accept("range="):
        low = int(read_digits(cursor))
        cursor.expect("..")
        high = int(read_digits(cursor))
    pairs: tuple[int, ...] = ()
    if cursor.accept("pairs=["):
        pairs = tuple(map(int, read_list(cursor, "]", read_digits)))
    return Quantization(dtype, scale, zero, low, high, axis, block, pairs)


def _reshape(cursor: Cursor, numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if numbers.size != prod(shape):
        raise cursor.error(f"scales={list(shape)} needs {prod(shape)} numbers, not {numbers.size}")
    return numbers.reshape(shape)


def _read_numbers(cursor: Cursor, dtype: np.dtype) -> np.ndarray:
    if cursor.accept("["):
        texts = read_list(cursor, "]", read_digits)
        return np.array([float(t) for t in texts]).astype(dtype)
    return np.array(float(read_digits(cursor))).astype(dtype)
