"""Scan 8, which had a batch axis -> two nested Scans."""

from __future__ import annotations

from slimc.io.forms.change import Change, Site
from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType


def _scan_without_batch(site: Site) -> None:
    """Run an outer Scan over the batch axis, and the old one inside it on one sample."""
    if site.operand(0):
        raise site.refusal("its sequences have different lengths (sequence_lens)")
    node, editor = site.node, site.editor
    samples = tuple(editor.fresh_name(f"{site.name}.{i}.sample") for i in node.inputs[1:])
    results = tuple(editor.fresh_name(f"{site.name}.{o}.sample") if o else "" for o in node.outputs)
    attrs = dict(node.attrs)
    if "directions" in attrs:
        attrs["scan_input_directions"] = attrs.pop("directions")
    inner = Node(node.op, samples, results, editor.fresh_name(f"{site.name}.sample"), attrs)
    types = {
        sample: TensorType(kind.dtype, None if kind.shape is None else kind.shape[1:])
        for i, sample in enumerate(samples, 1)
        if isinstance(kind := site.type_of(i), TensorType)
    }
    body = Graph(f"{site.name}.batch", samples, tuple(filter(None, results)), (inner,), types=types)
    editor.update(
        site.name,
        inputs=node.inputs[1:],
        outputs=tuple(filter(None, node.outputs)),
        attrs={"body": body, "num_scan_inputs": len(samples)},
    )


LOOPS: tuple[Change, ...] = (Change("Scan", 9, _scan_without_batch),)
