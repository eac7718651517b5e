"""The process that an oracle works in. It may crash or hang, and leaves what it knew until then.

usage: python child.py ORACLE MODEL OPTIONS LIMIT ANSWER

ORACLE: a module of this folder, whose `ask(model, options)` yields facts as they become known.
OPTIONS: a JSON object. LIMIT: seconds. ANSWER: the JSON file to keep the facts in. Facts:
`version`; `parsed`, `built`; `problems`: [[node, message], ..]; `kernels`: what runs, by the names
that `ask.Kernel` describes; `silence`: why it cannot say more; `missing`: the package that is not
there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

_PATIENCE = 1.1  # of the limit, at which who asked ends this; if that one is gone, it ends itself


def main() -> None:
    """Let an oracle speak, and keep each of its facts at once."""
    name, model, options, limit, place = sys.argv[1:]
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE * float(limit))
    folder = str(Path(__file__).parent)
    sys.path[:] = [one for one in sys.path if one != folder]  # its modules hide no package
    facts: dict[str, Any] = {}
    try:
        oracle = _load(name)
    except ImportError as missing:
        _keep({"missing": str(missing)}, place)
        return
    for fact in oracle.ask(model, json.loads(options)):
        facts.update(fact)
        _keep(facts, place)


def _load(name: str) -> Any:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"oracle_{name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no oracle at {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _keep(facts: dict[str, Any], place: str) -> None:
    """Write in one step: a crash leaves the facts before it."""
    Path(place + ".new").write_text(json.dumps(facts), encoding="utf-8")
    os.replace(place + ".new", place)


if __name__ == "__main__":
    main()
