"""Run a Python file that the user names: plug-ins, and scores of their own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from slimc.errors import SlimcError


def run_file(path: str | Path) -> ModuleType:
    """Run a file and return what it defines. Raises SlimcError "bad-plugin"."""
    path = Path(path)
    name = f"slimc_plugin:{path.resolve()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SlimcError("bad-plugin", "there is no such Python file", f"plug-in '{path}'")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except SlimcError:
        raise
    except (Exception, SystemExit) as broken:  # the user's own code may raise anything
        message = f"it raised {type(broken).__name__}: {broken}"
        raise SlimcError("bad-plugin", message, f"plug-in '{path}'") from broken
    return module
