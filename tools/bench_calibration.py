"""Time calibration beside plain inference and onnxruntime's own calibrators.

usage: python tools/bench_calibration.py MODEL=CALIB [...] [--samples 16 64 256] [--rounds 3]

MODEL: an .onnx file; CALIB: a folder of .npz feeds. The samples are run one by one, repeated where
there are fewer. Every tool reads all float values that onnxruntime's calibrators read. Tools run in
turn in each round, each in a process of its own, so that its peak memory is its own; seconds are of
the processor, loading of the model included, start of Python not; the median of the rounds counts,
as a multiple of plain inference. Peak memory is that of the process, 120 MiB of it Python and its
packages. Prints a table in markdown.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

from slimc.calib.collect import collect_ranges
from slimc.calib.data import Data
from slimc.calib.observers import Calibrator, make_observer
from slimc.io.read import read

OURS: dict[str, Calibrator] = {
    "slimc minmax": "minmax",
    "slimc percentile": "percentile",
    "slimc entropy": "entropy",
    "slimc mse": "mse",
    "slimc auto": "auto",
}
THEIRS = {
    "ort minmax": CalibrationMethod.MinMax,
    "ort entropy": CalibrationMethod.Entropy,
    "ort percentile": CalibrationMethod.Percentile,
}
TOOLS = ("plain", *OURS, *THEIRS)
MEMORY_BOUND = 24 << 30  # bytes of addresses that a tool may take before it is given up


class Reader(CalibrationDataReader):
    """Feeds for onnxruntime's calibrators."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self.feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def measure(tool: str, model: Path, calib: Path, count: int) -> dict[str, float]:
    """Run one tool once, in this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BOUND, MEMORY_BOUND))
    graph = read(model)
    stored = Data.from_path(calib, graph)
    first = next(iter(stored))
    rows = len(next(iter(first.values())))
    singles = [{n: a[i : i + 1] for n, a in feed.items()} for feed in stored for i in range(rows)]
    data = Data.from_feeds(list(islice(cycle(singles[:count]), count)), graph)
    with TemporaryDirectory() as folder:
        start = time.process_time()
        run(tool, model, graph, data, Path(folder))
        seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak": peak}


def run(tool: str, model: Path, graph: object, data: Data, folder: Path) -> None:
    if tool == "plain":
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        for feed in data:
            session.run(None, feed)
    elif tool in OURS:
        values = read_values(model)
        known = {v for v in values if v in data.graph.producers or v in data.graph.inputs}
        watched = {v: make_observer(OURS[tool], 99.99, 256, False) for v in sorted(known)}
        collect_ranges(data.graph, data, watched)
    else:
        made = create_calibrator(
            model,
            augmented_model_path=str(folder / "augmented.onnx"),
            calibrate_method=THEIRS[tool],
        )
        made.collect_data(Reader(iter(data)))
        made.compute_data()


def read_values(model: Path) -> set[str]:
    """Return the values that onnxruntime's calibrators read."""
    with TemporaryDirectory() as folder:
        made = create_calibrator(model, augmented_model_path=str(Path(folder) / "a.onnx"))
        return set(made.select_tensors_to_calibrate(made.model)[0])


def apart(tool: str, model: Path, calib: Path, count: int) -> dict[str, float] | None:
    """Run one tool in a process of its own; None where it fails."""
    words = [sys.executable, __file__, "--one", tool, f"{model}={calib}", "--samples", str(count)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.stderr.write(f"{tool}: {ran.stderr.strip().splitlines()[-1:]}\n")
        return None
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def table(model: Path, calib: Path, counts: list[int], rounds: int) -> None:
    for count in counts:
        found: dict[str, list[dict[str, float]]] = {tool: [] for tool in TOOLS}
        for _ in range(rounds):
            for tool in TOOLS:
                if (one := apart(tool, model, calib, count)) is not None:
                    found[tool].append(one)
        plain = median(one["seconds"] for one in found["plain"])
        for tool, all_of in found.items():
            if all_of:
                seconds = median(one["seconds"] for one in all_of)
                peak = max(one["peak"] for one in all_of)
                row = f"{seconds:.2f} | {seconds / plain:.2f} | {peak:.0f}"
                print(f"| {model.stem} | {count} | {tool} | {row} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--samples", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=TOOLS, help="run this tool once, and print what it took")
    given = parser.parse_args()
    pairs = [tuple(Path(part) for part in one.split("=")) for one in given.models]
    if given.one:
        print(json.dumps(measure(given.one, *pairs[0], given.samples[0])))
        return
    print("| model | samples | tool | s | x plain | peak MiB |\n|---|---|---|---|---|---|")
    for model, calib in pairs:
        table(model, calib, given.samples, given.rounds)


if __name__ == "__main__":
    main()
