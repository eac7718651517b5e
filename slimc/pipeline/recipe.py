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
from dataclasses import dataclass, field, replace
from pathlib import Path

from slimc.errors import SlimcError
from slimc.io.records import structure
from slimc.io.yaml_file import read_yaml


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
    try:
        recipe = structure(read_yaml(path), Recipe, from_texts=True)
    except (OSError, ValueError) as error:
        message = (
            f"it cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        )
        help = getattr(error, "help", "")
        raise SlimcError("bad-recipe", message, f"recipe '{path}'", help) from error
    name, passes, target = (
        " ".join(text.split()) for text in (recipe.name, recipe.passes, recipe.target)
    )
    return replace(recipe, name=name, passes=passes, target=target)
