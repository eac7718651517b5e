"""Oracle: Qualcomm's HTP backend on its x86 emulator, by the QNN graphs that it makes.

Packages: onnxruntime with onnxruntime-qnn (glibc 2.35 and newer). Preparing a large graph may take
many minutes, or fail with a code alone: then there is no answer.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import onnxruntime_qnn

_CONTRACTIONS = frozenset(
    {
        "Conv2d",
        "Conv3d",
        "DepthWiseConv2d",
        "FullyConnected",
        "MatMul",
        "TransposeConv2d",
        "TransposeConv3d",
    }
)
_FIXED = (0x03, 0x04)  # high byte of the types SFIXED_POINT_*, UFIXED_POINT_* (QnnTypes.h)
_APPENDED = re.compile(r"_token_\d+$")  # by changes of layout
_REFUSED = re.compile(r"Unsupported nodes in QNN EP: \{(.*?)\}")
_NODE = re.compile(r"name: (.*?), type: (\w+)")
_CODE = re.compile(r"error code", re.IGNORECASE)  # as 1002, of graphs that the emulator gives up
_STATUS = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_ERRORS = 3  # severity of the log


def ask(model: str, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Load a model with no other place to run than the HTP; tell the nodes of the QNN graphs.

    options: variant: the architecture, as 73; sizes: numbers of named dimensions.
    """
    yield {"version": f"{onnxruntime_qnn.__version__} (onnxruntime {onnxruntime.__version__})"}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        fail = _load(model, options, folder, log)
        said = log.read_text(errors="replace")
        kernels = [kernel for path in Path(folder).glob("*.json") for kernel in _kernels(path)]
    refused = [node for listed in _REFUSED.findall(said) for node in _NODE.findall(listed)]
    problems = [[name, f"the HTP takes no such {kind}"] for name, kind in dict.fromkeys(refused)]
    yield {"parsed": True, "problems": problems}
    told = _STATUS.sub("", str(fail)).strip()
    if fail is not None and not problems and _CODE.search(told):
        yield {"silence": f"it names no node: {told}"}
        return
    if fail is not None and not problems:
        problems = [["", told]]
    yield {"built": fail is None, "problems": problems, "kernels": kernels}


def _load(model: str, options: Mapping[str, Any], folder: str, log: Path) -> Exception | None:
    """Make a session; return why there is none. `log` takes what goes to stderr."""
    name = onnxruntime_qnn.get_ep_name()
    onnxruntime.set_default_logger_severity(_ERRORS)
    onnxruntime.register_execution_provider_library(name, onnxruntime_qnn.get_library_path())
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _ERRORS
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    for dimension, size in options.get("sizes", {}).items():
        settings.add_free_dimension_override_by_name(dimension, size)
    devices = [one for one in onnxruntime.get_ep_devices() if one.ep_name == name]
    provider = {
        "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
        "htp_arch": options["variant"],
        "dump_json_qnn_graph": "1",
        "json_qnn_graph_dir": folder,
    }
    settings.add_provider_for_devices(devices, provider)
    kept = os.dup(2)
    try:
        with log.open("w") as file:
            os.dup2(file.fileno(), 2)
            onnxruntime.InferenceSession(model, settings)
    except Exception as fail:  # its exceptions have no common class
        return fail
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    return None


def _kernels(path: Path) -> Iterator[dict[str, Any]]:
    graph = json.loads(path.read_text()).get("graph", {})
    types = {name: tensor["data_type"] >> 8 for name, tensor in graph.get("tensors", {}).items()}
    for name, node in graph.get("nodes", {}).items():
        fixed = [types.get(one) in _FIXED for one in node["input_names"][:2]]
        computes = "floats"
        if node["type"] in _CONTRACTIONS and fixed[-1:] == [True]:
            computes = "integers" if fixed[0] else "weights"
        yield {
            "names": [name, _APPENDED.sub("", name)],
            "outputs": node["output_names"],
            "kind": node["type"],
            "computes": computes,
        }
