"""Compile a folder of models in every way and write the table of results.

usage: python tools/table.py --models DIR [--models DIR ...] --calib DIR [--tasks module:TASKS]
           [--proof-python PYTHON] [--only NAME ...] --out FOLDER

Per model: nodes before and after canonicalisation, output differences, size, MACs, task scores
(FP32, pruned, int8, both), integer layers achieved of those intended (cpu: what the
compile reports; jetson and openvino: `slimc verify`, with the Python that has those runtimes),
the latency ratio on this machine, and seconds and peak memory of the int8 compile beside
onnxruntime's quantize_static on the same samples. `--calib` holds a folder of .npz feeds for each
model. `--tasks` names a mapping name -> object with score(function feed -> outputs); put its
package on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RUNS = {
    "canonical": ("", "generic-onnx"),
    "pruned": ("prune{ratio=0.3}", "cpu"),
    "int8": ("quant", "cpu"),
    "both": ("prune{ratio=0.3},quant", "cpu"),
    "jetson": ("quant", "jetson"),
    "jetson-both": ("prune{ratio=0.3},quant", "jetson"),
    "openvino": ("quant", "openvino"),
}

PEER = """
import glob, sys
import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
class Reader(CalibrationDataReader):
    def __init__(self, folder):
        self.files = iter(sorted(glob.glob(folder + "/*.npz")))
    def get_next(self):
        name = next(self.files, None)
        return None if name is None else dict(np.load(name))
quantize_static(sys.argv[1], sys.argv[2], Reader(sys.argv[3]), quant_format=QuantFormat.QDQ,
                per_channel=True, reduce_range=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
"""


# A small process between, since a child's peak memory counts that of the process it comes from.
METER = """
import resource, subprocess, sys
run = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
print(run.stdout.decode(errors="replace")[-1500:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss // 1024, used.ru_utime)
sys.exit(run.returncode)
"""


def timed(command: list[str]) -> dict[str, Any]:
    """Run a command; return its exit status, seconds, peak resident MB and last lines.

    seconds: of the wall clock; cpu_seconds: of all cores, in the program itself.
    """
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", METER, *command], capture_output=True, text=True, check=False
    )
    seconds = round(time.perf_counter() - start, 2)
    *said, used = run.stdout.splitlines()
    peak, cpu_seconds = used.split()
    return {
        "status": run.returncode,
        "seconds": seconds,
        "cpu_seconds": round(float(cpu_seconds), 2),
        "peak_mb": int(peak),
        "tail": "\n".join(said) if run.returncode else "",
    }


def compile_all(model: Path, calib: Path, out: Path) -> dict[str, Any]:
    """Compile one model in every way of RUNS; return what each report says."""
    rows: dict[str, Any] = {}
    for name, (passes, target) in RUNS.items():
        report = out / f"{model.stem}.{name}.json"
        made = out / f"{model.stem}.{name}.onnx"
        command = [sys.executable, "-m", "slimc", str(model), "--target", target, "-o", str(made)]
        command += ["--passes", passes] if passes else []
        command += ["--calib", str(calib)] if calib.exists() else []
        run = timed([*command, "--report", str(report)])
        run["file"] = str(made)
        if report.exists():
            run["report"] = json.loads(report.read_text())
        rows[name] = run
        print(f"  {name}: exit {run['status']}, {run['seconds']} s", flush=True)
    return rows


def runner(path: str) -> Any:
    """Return a function feed -> outputs for a model file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)


def scores(task: Any, model: Path, rows: dict[str, Any]) -> dict[str, float]:
    """Score the original and the cpu files on a labelled task."""
    found = {"fp32": task.score(runner(str(model)))}
    for name in ("pruned", "int8", "both"):
        if rows[name]["status"] == 0:
            found[name] = task.score(runner(rows[name]["file"]))
    return {k: round(v, 4) for k, v in found.items()}


def prove(python: str, rows: dict[str, Any], calib: Path) -> dict[str, Any]:
    """Ask the runtimes what they run in integers, at the shapes of the first feed."""
    found = {}
    for name, (_, target) in RUNS.items():
        if target in ("jetson", "openvino") and rows[name]["status"] == 0:
            command = [sys.executable, "-m", "slimc", "verify", rows[name]["file"], "--json"]
            command += ["--target", target, "--with", python, *shapes(calib)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            found[name] = json.loads(run.stdout) if run.stdout else {"error": run.stderr[-800:]}
    return found


def shapes(calib: Path) -> list[str]:
    """Return the shapes of the first feed as options of `slimc verify`."""
    feed = next(iter(sorted(calib.glob("*.npz"))), None)
    if feed is None:
        return []
    with np.load(feed, allow_pickle=False) as arrays:
        sizes = {name: "x".join(map(str, arrays[name].shape)) for name in arrays.files}
    return [word for name, size in sizes.items() for word in ("--shape", f"{name}={size}")]


def latency_ratio(model: Path, made: str, calib: Path) -> float | None:
    """Return original / compiled latency, both interleaved in one process by `slimc bench`."""
    command = [sys.executable, "-m", "slimc", "bench", str(model), made, "--json", "--rounds", "9"]
    command += ["--threads", "0"]
    command += ["--calib", str(calib)] if calib.exists() else []
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return None
    ratio: float = json.loads(run.stdout)["runs"][0]["ratio"]["median"]
    return ratio


def peer(model: Path, calib: Path, out: Path) -> dict[str, Any]:
    """Run onnxruntime's quantize_static on the same model and samples."""
    made = out / f"{model.stem}.peer.onnx"
    return timed([sys.executable, "-c", PEER, str(model), str(made), str(calib)])


def find_tasks(text: str) -> Mapping[str, Any]:
    """Return what `module:TASKS` names: tasks by the names of their models."""
    module, _, name = text.partition(":")
    tasks: Mapping[str, Any] = getattr(importlib.import_module(module), name)
    return tasks


def find_models(folders: Iterable[Path], only: Sequence[str]) -> Iterator[Path]:
    """Yield the models of folders, or those that are named."""
    for path in sorted(path for folder in folders for path in folder.glob("*.onnx")):
        if not only or path.stem in only:
            yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, action="append", required=True)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--tasks", default="")
    parser.add_argument("--proof-python", default="")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tasks = find_tasks(options.tasks) if options.tasks else {}
    for model in find_models(options.models, options.only):
        print(model.stem, flush=True)
        calib = options.calib / model.stem
        rows = compile_all(model, calib, options.out)
        row: dict[str, Any] = {"runs": rows}
        if model.stem in tasks:
            row["scores"] = scores(tasks[model.stem], model, rows)
        if options.proof_python:
            row["proof"] = prove(options.proof_python, rows, calib)
        row["latency_ratio"] = {
            name: latency_ratio(model, rows[name]["file"], calib)
            for name in ("pruned", "int8", "both")
            if rows[name]["status"] == 0
        }
        row["quantize_static"] = peer(model, calib, options.out)
        (options.out / f"{model.stem}.row.json").write_text(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
