"""The passes, in default order: reading this is reading the compiler."""

from __future__ import annotations

from slimc.passes.base import Pass

PASSES: tuple[type[Pass], ...] = ()

STAGES: dict[str, tuple[type[Pass], ...]] = {}
