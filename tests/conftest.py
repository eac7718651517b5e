from __future__ import annotations

from importlib.metadata import entry_points

# Where slimc is installed its plugin registers itself; in a bare checkout it is named here.
_INSTALLED = any(e.value == "slimc.testing" for e in entry_points(group="pytest11"))
pytest_plugins = [] if _INSTALLED else ["slimc.testing"]
