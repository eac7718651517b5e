"""Which CPU this machine has."""

from __future__ import annotations

import platform
import re
from dataclasses import replace
from pathlib import Path

from slimc.targets.onnxruntime.devices import CPU_AMX, CPU_ARM64, CPU_AVX2, CPU_VNNI
from slimc.targets.target import Target

_CPUINFO = Path("/proc/cpuinfo")
_INTEGER = {"amx_int8": CPU_AMX, "avx512_vnni": CPU_VNNI, "avx_vnni": CPU_VNNI}  # best first


def this_cpu() -> Target:
    """Return the target for the CPU that runs this, and say in `chosen` what led to it."""
    return choose(platform.machine(), flags(_CPUINFO))


def choose(machine: str, found: frozenset[str]) -> Target:
    """Choose by the machine's name and the CPU's flags (none: they are not known)."""
    if machine.lower() in ("aarch64", "arm64"):
        return _chosen(CPU_ARM64, f"this machine is {machine}")
    integer = next((flag for flag in _INTEGER if flag in found), "")
    if integer:
        return _chosen(_INTEGER[integer], f"this machine has {integer}")
    if found:
        return _chosen(CPU_AVX2, "this machine has no VNNI, so weights get 7 to 8 bits")
    return _chosen(CPU_AVX2, f"the flags of this CPU ({machine}) are not known: 7 to 8 bits fit")


def flags(path: Path) -> frozenset[str]:
    """Read the flags of the first CPU in a file like /proc/cpuinfo; none without such a file."""
    text = path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""
    line = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(line[1].split()) if line else frozenset()


def _chosen(target: Target, why: str) -> Target:
    return replace(target, chosen=f"cpu stands for {target.name}: {why}")
