"""`slimc demo`: compress the network that ships with slimc, and show what became of it."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import click
import numpy as np

from slimc.cli.console import say, say_table, working
from slimc.execute.ort import measure_latency, run
from slimc.io.write import replace_file, to_bytes
from slimc.ir.graph import Graph
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.prepare import load
from slimc.report.json import report_json
from slimc.report.text import integer_lines, report_text

PASSES = "prune,quant"
TARGETS = ("cpu", "jetson")  # the first runs here, so that it can be scored and timed
BATCH = 64
ROUNDS = 40


def feeds(images: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return batches as the network takes them. images: u8[n,32,32]."""
    x = (images[:, None].astype(np.float32) - 127.5) / 64
    return [{"x": x[i : i + BATCH]} for i in range(0, len(x), BATCH)]


def accuracy(graph: Graph, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images whose class is found. labels: u8[n]."""
    found = [run(graph, feed)[graph.outputs[0]].argmax(-1) for feed in feeds(images)]
    return float(np.mean(np.concatenate(found) == labels))


@click.command("demo")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="demo")
def demo_command(folder: Path) -> None:
    """Compress the network that ships with slimc; files and reports go to FOLDER (demo).

    It reads characters: 1000 held-back images in typefaces that it never saw tell how well.

    Example: slimc demo results
    """
    folder.mkdir(parents=True, exist_ok=True)
    shipped = files("slimc") / "demo"
    with as_file(shipped / "samples.npz") as path, np.load(path, allow_pickle=False) as kept:
        samples = {name: kept[name] for name in kept.files}
    with as_file(shipped / "glyphs.onnx") as model:
        original = load(model)
        for target in TARGETS:
            with working(f"compiling for {target}"):
                made = compile(model, PASSES, target, feeds(samples["calibration"]))
            written = _save(made, folder, target)
            say(f"slimc glyphs.onnx --passes '{PASSES}' --target {target} -> {written}")
            if target == TARGETS[0]:
                _compare(original, made, samples)
    say(f"\nfiles and reports: {folder}/ (each report as .txt for people, .json for machines)")


def _save(made: Compiled, folder: Path, target: str) -> Path:
    path = folder / f"glyphs.{target}.onnx"
    made.save(path)
    details = report_text(made.report, details=True)
    for suffix, text in ((".txt", details), (".json", report_json(made.report))):
        with replace_file(path.with_suffix(suffix)) as file:
            file.write(f"{text}\n".encode())
    return path


def _compare(original: Graph, made: Compiled, samples: dict[str, np.ndarray]) -> None:
    """Print the table before and after, with accuracy and latency measured here."""
    images, labels = samples["test"], samples["labels"]
    graphs = (original, made.graph)
    with working("scoring and timing"):
        scores = [accuracy(graph, images, labels) for graph in graphs]
        models = [to_bytes(graph) for graph in graphs]
        slow, fast = measure_latency(models, feeds(images)[0], ROUNDS)
    before, after = made.report.before, made.report.after
    rows = [
        ("accuracy on 1000 unseen images", f"{scores[0]:.1%}", f"{scores[1]:.1%}"),
        ("size", f"{before.size_bytes / 1e3:.0f} kB", f"{after.size_bytes / 1e3:.0f} kB"),
        ("parameters", f"{before.parameters:,}", f"{after.parameters:,}"),
        ("MACs", f"{before.macs / 1e6:.2f} M", f"{after.macs / 1e6:.2f} M"),
        (f"latency of {BATCH} images", f"{slow * 1e3:.1f} ms", f"{fast * 1e3:.1f} ms"),
    ]
    say()
    say_table(("", "before", "after"), rows)
    report = made.report
    say(f"\n{slow / fast:.2f} times as fast, measured side by side in one run on {report.target}")
    say("\n".join([*integer_lines(report)[1:], ""]))
