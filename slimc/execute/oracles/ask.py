"""Ask a runtime how it runs a model file, in a process that may crash, hang or take all memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slimc.errors import SlimcError, did_you_mean
from slimc.execute.oracles import onnxruntime_cpu

LIMIT_SECONDS = 600

Computes = Literal["integers", "fp8", "weights", "floats"]


@dataclass(frozen=True)
class Oracle:
    """A runtime that can be asked. module: in this folder; install: what brings its packages.

    shows: how far what it says holds for a `{device}` that it stands for, of a `{runtime}`; empty:
    it is that runtime.
    """

    module: str
    title: str
    install: str
    shows: str = ""


ORACLES: Mapping[str, Oracle] = {
    "onnxruntime": Oracle(
        "onnxruntime_cpu",
        "ONNX Runtime",
        "pip install onnxruntime onnx",
        "the kernels are those of ONNX Runtime for CPUs, not of {device}: a hint, no proof",
    ),
    "openvino": Oracle(
        "openvino_cpu",
        "OpenVINO",
        "pip install 'slimc[openvino-check]'",
        "the kernels are those of OpenVINO for CPUs, not of the {device}: a hint, no proof",
    ),
    "tensorrt-rtx": Oracle(
        "tensorrt_cpu",
        "TensorRT-RTX",
        "pip install 'slimc[tensorrt-check]' (NVIDIA's licence: for development and tests)",
        "TensorRT-RTX has the parser of {runtime}, but another compiler, strict on types: "
        "a strong hint, no proof",
    ),
    "qnn": Oracle(
        "qnn_htp",
        "QNN HTP emulator",
        "pip install 'slimc[qnn-check]', best in an environment of its own",
    ),
}


@dataclass(frozen=True)
class Kernel:
    """A piece of what really runs.

    names: of the model's nodes that it does the work of, or of the values that they make; outputs:
    values of the model that it makes. Names that the runtime made up may be among them.
    """

    names: tuple[str, ...]
    outputs: tuple[str, ...]
    kind: str
    computes: Computes


@dataclass(frozen=True)
class Problem:
    """Why a runtime refuses a model; node: empty where it does not say."""

    node: str
    message: str


@dataclass(frozen=True)
class Answer:
    """What a runtime said. parsed, built: None where it did not come so far; silence: why."""

    version: str = ""
    parsed: bool | None = None
    built: bool | None = None
    kernels: tuple[Kernel, ...] = ()
    problems: tuple[Problem, ...] = ()
    silence: str = ""
    seconds: float = 0.0


def oracle_of(text: str) -> tuple[Oracle, str]:
    """Read `tensorrt-rtx:SM86`: the oracle, and the device it stands for, if it is another."""
    name, _, variant = text.partition(":")
    if name not in ORACLES:
        message = f"there is no oracle '{name}'"
        raise SlimcError("unknown-oracle", message, help=did_you_mean(name, ORACLES))
    return ORACLES[name], variant


def ask_onnxruntime(file: Path, options: Mapping[str, Any]) -> Answer:
    """Ask onnxruntime in this process: of files that slimc wrote."""
    facts: dict[str, Any] = {}
    for fact in onnxruntime_cpu.ask(str(file), options):
        facts |= fact
    return _answer(facts)


def ask(
    oracle: Oracle,
    file: Path,
    options: Mapping[str, Any],
    python: str = "",
    limit_seconds: float = LIMIT_SECONDS,
) -> Answer:
    """Ask an oracle about a file, with the packages of an interpreter (default: this one).

    A crash, or no answer within the limit, is told as such. Error: oracle-missing.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place, log = Path(folder) / "answer.json", Path(folder) / "log"
        child = Path(__file__).with_name("child.py")
        # Not resolved: the data files of a link are beside the link.
        words = [_program(python), str(child), oracle.module, str(file.absolute())]
        words += [json.dumps(options), str(limit_seconds), str(place)]
        status = _run(words, _variables(python), log, limit_seconds)
        facts = json.loads(place.read_text("utf-8")) if place.exists() else {}
        said = log.read_text(errors="replace").strip().rpartition("\n")[2]
    if "missing" in facts:
        raise SlimcError(
            "oracle-missing",
            f"{oracle.title} cannot be asked: {facts['missing']}",
            f"the Python '{python or sys.executable}'",
            f"{oracle.install}; --with PYTHON names another interpreter that has it",
        )
    silence = _silence(status, facts, said, limit_seconds)
    return _answer(facts | {"silence": silence, "seconds": time.perf_counter() - start})


def _program(python: str) -> str:
    """Return an interpreter as it is named from any folder."""
    return str(Path(python).absolute()) if os.sep in python else python or sys.executable


def _variables(python: str) -> dict[str, str]:
    """Return the environment; another interpreter must not find the packages of this one."""
    own = () if not python else ("PYTHONHOME", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in own}


def _run(
    words: list[str], variables: Mapping[str, str], log: Path, limit_seconds: float
) -> int | None:
    """Return the exit status of a command, None if it took too long. No process of it is left.

    It works in the folder of its log, which takes what libraries drop.
    """
    with log.open("wb") as file:
        try:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=variables,
                start_new_session=True,
            )
        except OSError as fail:
            message = f"'{words[0]}' cannot be run: {fail.strerror}"
            help = "--with takes the path of a Python interpreter"
            raise SlimcError("oracle-missing", message, "option --with", help) from fail
        try:
            return child.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _silence(status: int | None, facts: Mapping[str, Any], said: str, limit: float) -> str:
    """Say why there is no whole answer; nothing where there is one."""
    if status == 0 and ("built" in facts or "silence" in facts):
        return str(facts.get("silence", ""))
    doing = "building" if facts.get("parsed") else "parsing" if facts else "starting"
    if status is None:
        return f"no answer in {limit:g} s ({doing})"
    end = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
    return f"it {end}, {doing}: {said or 'it said nothing'}"


def _answer(facts: Mapping[str, Any]) -> Answer:
    kernels = (
        Kernel(tuple(k["names"]), tuple(k["outputs"]), k["kind"], k["computes"])
        for k in facts.get("kernels", ())
    )
    return Answer(
        facts.get("version", ""),
        facts.get("parsed"),
        facts.get("built"),
        tuple(kernels),
        tuple(Problem(*problem) for problem in facts.get("problems", ())),
        facts.get("silence", ""),
        facts.get("seconds", 0.0),
    )
