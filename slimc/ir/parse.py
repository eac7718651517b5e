"""Text to graph: the way back of `ir/text.py`, which describes the form."""

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
_FACT = re.compile(r"(form|target|opset|metadata|doc)\b(?!\s*[(.])")
_CONSTANT = re.compile(r"constant\b(?!\s*[(.])")  # else an operator of this name
_QUOTE = re.compile('"')


def parse_text(text: str) -> Graph:
    """Read a graph from text. Raises SlimcError "text-syntax" with line and column."""
    reader = _Reader(text)
    cursor = reader.next()
    if cursor is None:
        raise Cursor("").error("the text holds no graph")
    cursor.need("graph")
    graph = reader.graph(cursor, _indent(cursor), frozenset())
    left = reader.next()
    if left is not None:
        raise left.error("this line is indented less than the graph it follows")
    return graph


def _indent(cursor: Cursor) -> int:
    return len(cursor.text) - len(cursor.text.lstrip(" \t"))


@dataclass
class _Draft:
    """A graph while its lines are read. `outer`: values of enclosing graphs."""

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
    made: dict[str, None] = field(default_factory=dict)

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


class _Reader:
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

    def inside(self, indent: int) -> Iterator[Cursor]:
        """Yield the lines that follow with more than `indent`; all start at one column."""
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
        """Read a graph whose word `graph` has been read from `cursor`."""
        draft = _Draft(outer)
        if cursor.take("@"):
            draft.name = read_name(cursor)
        cursor.need("(")
        draft.inputs = tuple(read_list(cursor, ")", lambda c: self._result(c, draft)))
        cursor.need("->")
        cursor.need("(")
        outputs = read_list(cursor, ")", lambda c: (c.at, _read_value(c)))
        cursor.need_end()
        for line in self.inside(indent):
            self._line(line, draft)
        for at, value in outputs:
            _need_known(cursor, at, draft, value)
        draft.outputs = tuple(value for _, value in outputs)
        return draft.graph()

    def _line(self, cursor: Cursor, draft: _Draft) -> None:
        if cursor.looking_at(_FACT):
            _read_fact(cursor, draft)
        elif not self._about_value(cursor, draft):
            self._node(cursor, draft)
        cursor.need_end()

    def _about_value(self, cursor: Cursor, draft: _Draft) -> bool:
        """Read a constant, a record or a lone type; False (and nothing read) at a node."""
        start = cursor.at
        if cursor.take("%"):
            name = read_name(cursor)
            if cursor.take("quantized"):
                draft.records[name] = _read_record(cursor)
                return True
            if cursor.take("note"):
                key = read_string(cursor)
                draft.notes.setdefault(name, {})[key] = read_string(cursor)
                return True
            if cursor.take("="):
                if cursor.match(_CONSTANT):
                    if name not in draft.inputs:
                        cursor.at, after = start, cursor.at
                        self._define(cursor, draft, name)
                        cursor.at = after
                    draft.constants[name] = _read_constant(cursor)
                    return True
            elif cursor.take(":"):
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
            while cursor.take(","):
                outputs.append(self._result(cursor, draft))
            cursor.need("=")
        domain, op = _read_kind(cursor)
        cursor.need("(")
        inputs = tuple(read_list(cursor, ")", lambda c: _read_operand(c, draft)))
        attrs: dict[str, Attr] = {}
        if cursor.take("{"):
            attrs = dict(read_list(cursor, "}", _read_attr))
        name = read_name(cursor) if cursor.take("@") else next(filter(None, outputs), op)
        if name in self._nodes:
            raise cursor.error(f"there are two nodes named '{name}'")
        self._nodes.add(name)
        integer = cursor.take("integer")
        origin = _read_origin(cursor) if cursor.take("by ") else None
        notes: dict[str, str] = {}
        while cursor.take("note"):
            key = read_string(cursor)
            notes[key] = read_string(cursor)
        cursor.need_end()
        attrs |= self._bodies(_indent(cursor), draft, outputs)
        draft.nodes.append(
            Node(op, inputs, tuple(outputs), name, attrs, domain, origin, integer, notes)
        )

    def _bodies(self, indent: int, draft: _Draft, outputs: list[str]) -> dict[str, Attr]:
        found: dict[str, Attr] = {}
        known: frozenset[str] | None = None
        for line in self.inside(indent):
            if known is None:  # a body sees what is made before its node
                known = draft.outer | frozenset(draft.made) - frozenset(outputs)
            key = read_name(line, "the name of an attribute")
            several = line.take("[")
            if several:
                line.need(read_digits(line) and "]")
            line.need("=")
            line.need("graph")
            body = self.graph(line, _indent(line), known)
            before = found.get(key, ())
            found[key] = (*before, body) if several and isinstance(before, tuple) else body
        return found

    def _result(self, cursor: Cursor, draft: _Draft) -> str:
        if cursor.take("_"):
            return ""
        name = _read_value(cursor)
        self._define(cursor, draft, name)
        if cursor.take(":"):
            draft.types[name] = read_type(cursor)
        return name

    def _define(self, cursor: Cursor, draft: _Draft, name: str) -> None:
        if name in self._values:
            raise cursor.error(f"the value '%{name}' is made twice")
        self._values.add(name)
        draft.made[name] = None


def _read_value(cursor: Cursor) -> str:
    cursor.need("%")
    return read_name(cursor)


def _need_known(cursor: Cursor, at: int, draft: _Draft, value: str) -> None:
    if value not in draft.made and value not in draft.outer:
        cursor.at = at
        raise cursor.error(f"the value '%{value}' is read before it is made")


def _read_operand(cursor: Cursor, draft: _Draft) -> str:
    if cursor.take("_"):
        return ""
    at = cursor.at
    value = _read_value(cursor)
    _need_known(cursor, at, draft, value)
    return value


def _read_kind(cursor: Cursor) -> tuple[str, str]:
    if cursor.looking_at(_QUOTE):
        first = read_string(cursor)
        return (first, read_string(cursor)) if cursor.take(".") else ("", first)
    domain, _, op = cursor.need_match(KIND, "an operator").rpartition(".")
    return domain, op


def _read_fact(cursor: Cursor, draft: _Draft) -> None:
    word = cursor.need_match(_FACT, "a fact")
    if word == "form":
        text = cursor.need_match(_WORD, "a form")
        known = {form.value: form for form in Form}
        if text not in known:
            raise cursor.error(f"'{text}' is no form", f"one of {', '.join(known)}")
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
    cursor.need("=")
    return key, _read_attr_value(cursor)


def _read_attr_value(cursor: Cursor) -> Attr:
    if cursor.take("["):
        return tuple(read_list(cursor, "]", _read_attr_value))
    if cursor.take("constant"):
        return _read_constant(cursor)
    if cursor.take("type"):
        return read_type(cursor)
    raw = read_raw(cursor)
    if raw is not None:
        return raw
    if cursor.looking_at(_QUOTE):
        return read_string(cursor).encode()
    return read_number(cursor)


def _read_origin(cursor: Cursor) -> Origin:
    made_by = read_name(cursor)
    cursor.need("(")

    def one(c: Cursor) -> str:
        c.need("@")
        return read_name(c)

    return Origin(made_by, tuple(read_list(cursor, ")", one)))


def _read_record(cursor: Cursor) -> Quantization:
    dtype = read_dtype(cursor)
    axis = int(read_digits(cursor)) if cursor.take("axis=") else None
    block, shape = 0, None
    if cursor.take("block="):
        block = int(read_digits(cursor))
        cursor.need("scales=[")
        shape = tuple(map(int, read_list(cursor, "]", read_digits)))
    cursor.need("scale=")
    scale = _read_numbers(cursor, np.dtype(np.float32))
    zero = np.zeros_like(scale, dtype.numpy)
    if cursor.take("zero="):
        zero = _read_numbers(cursor, dtype.numpy)
    if shape is not None:
        scale, zero = _shaped(cursor, scale, shape), _shaped(cursor, zero, shape)
    low, high = dtype.span
    if cursor.take("range="):
        low = int(read_digits(cursor))
        cursor.need("..")
        high = int(read_digits(cursor))
    pairs: tuple[int, ...] = ()
    if cursor.take("pairs=["):
        pairs = tuple(map(int, read_list(cursor, "]", read_digits)))
    return Quantization(dtype, scale, zero, low, high, axis, block, pairs)


def _shaped(cursor: Cursor, numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if numbers.size != prod(shape):
        raise cursor.error(f"{prod(shape)} numbers, for scales={list(shape)}")
    return numbers.reshape(shape)


def _read_numbers(cursor: Cursor, dtype: np.dtype) -> np.ndarray:
    if cursor.take("["):
        texts = read_list(cursor, "]", read_digits)
        return np.array([float(t) for t in texts]).astype(dtype)
    return np.array(float(read_digits(cursor))).astype(dtype)
