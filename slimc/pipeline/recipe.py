"""Recipes: passes and a target under a name, as a YAML file.

name: small-and-fast
passes: prune{ratio=0.3},quant
target: jetson
bind: {sr: 16000}
shape: {x: 1x3x224x224}
seed: 0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from slimc.errors import SlimcError, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """What to do, apart from the model and the data. An empty text: not said."""

    name: str = ""
    passes: str = ""
    target: str = ""
    bind: Mapping[str, str] = field(default_factory=dict)
    shape: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe. Raises SlimcError "bad-recipe"."""
    path = Path(path)
    where = f"recipe '{path}'"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as broken:
        raise SlimcError("bad-recipe", f"it cannot be read: {broken}", where) from broken
    if not isinstance(found, dict):
        raise SlimcError("bad-recipe", "it holds no `key: value` lines", where)
    known = {f.name: f.type for f in fields(Recipe)}
    for key in found:
        if key not in known:
            raise SlimcError(
                "bad-recipe", f"it has no key '{key}'", where, did_you_mean(str(key), known)
            )
    return Recipe(**{key: _typed(key, value, where) for key, value in found.items()})


def _typed(key: str, value: Any, where: str) -> Any:
    if key in ("bind", "shape"):
        if isinstance(value, dict):
            return {str(name): str(text) for name, text in value.items()}
        raise SlimcError("bad-recipe", f"'{key}' takes name: value pairs", where)
    if key == "seed":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise SlimcError("bad-recipe", f"'seed' takes a whole number, not '{value}'", where)
    if not isinstance(value, str):
        raise SlimcError("bad-recipe", f"'{key}' takes a text, not '{value}'", where)
    return " ".join(value.split())
