"""All passes, stages, operators and targets that there are: ours, installed ones, plug-in files.

A plug-in file is Python that defines some of `PASSES` (pass classes), `STAGES` (name -> pass
classes), `OPS` (an OpTable), `TARGETS` (targets) and `SCORES` (name -> a function that tells how
much units matter). Installed packages add theirs by the entry points `slimc.passes` (a pass class
each), `slimc.ops` (an OpTable), `slimc.targets` (a Target) and `slimc.scores` (a function each, by
the name of the entry).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from slimc.analysis.group_view import Score
from slimc.errors import SlimcError
from slimc.ops import OPS
from slimc.ops.op import OpTable
from slimc.passes import LOWERING, PASSES, STAGES
from slimc.passes.base import Pass
from slimc.passes.prune.rankings import OWN_SCORES
from slimc.passes.text import Stages, parse_passes
from slimc.targets import TARGETS, TargetSource, resolve
from slimc.targets.target import Target
from slimc.targets.user import SUFFIX, read_target


@dataclass(frozen=True)
class Catalogue:
    """Names and what they mean."""

    passes: tuple[type[Pass], ...]
    stages: Stages
    ops: OpTable
    targets: Mapping[str, TargetSource]
    plugins: tuple[str, ...] = field(default=())
    scores: Mapping[str, Score] = field(default_factory=dict)

    def parse(self, text: str) -> tuple[Pass, ...]:
        """Read the text of passes."""
        return parse_passes(text, self.passes, self.stages)

    def target(self, name: str, runs_code: bool = True) -> Target:
        """Return a target by its name, or by its file: .toml, or .py with a TARGET.

        runs_code: False where a recipe names it, which may be a stranger's. Raises SlimcError
        "unknown-target", "bad-target", "bad-plugin", "bad-recipe".
        """
        path = Path(name)
        if name in self.targets or path.suffix not in TARGET_FILES:
            return resolve(name, self.targets)
        if path.suffix == SUFFIX:
            made = read_target(path, lambda base: resolve(base, self.targets))
        elif not runs_code:
            message = f"its target '{name}' is a Python file, and a recipe runs no code"
            help = "name the file yourself, with --target"
            raise SlimcError("bad-recipe", message, "recipe", help)
        else:
            found = getattr(run_file(path), "TARGET", None)
            if not isinstance(found, Target):
                raise _wrong(f"target file '{path}'", found, "TARGET = a slimc.Target")
            made = found
        self._check_free(made.name, self.targets, f"target file '{path}'")
        return replace(made, source=name)

    def with_file(self, path: str | Path) -> Catalogue:
        """Add what a plug-in file defines. Raises SlimcError "bad-plugin" or "name-taken"."""
        where = f"plug-in '{path}'"
        module = run_file(path)
        known = {k: getattr(module, k) for k in _KINDS if hasattr(module, k)}
        if not known:
            raise SlimcError(
                "bad-plugin",
                f"it defines none of {', '.join(_KINDS)}",
                where,
                "add for example PASSES = (MyPass,)",
            )
        made = self._with_passes(known.get("PASSES", ()), where)
        stages = known.get("STAGES", {})
        for name in stages:
            self._check_free(name, [*self.stages, *(p.name for p in made.passes)], where)
        made = replace(made, stages={**made.stages, **stages})
        made = made._with_ops(known.get("OPS", OpTable({})), where)
        targets = known.get("TARGETS", ())
        made = made._with_targets(
            targets.values() if hasattr(targets, "values") else targets, where
        )
        made = made._with_scores(known.get("SCORES", {}), where)
        return replace(made, plugins=(*self.plugins, str(path)))

    def _with_passes(self, passes: Iterable[Any], where: str) -> Catalogue:
        added = tuple(passes)
        taken = [*self.stages, *(p.name for p in self.passes)]
        for one in added:
            if not (isinstance(one, type) and issubclass(one, Pass)):
                raise _wrong(where, one, "a class derived from slimc.Pass")
            if not hasattr(one, "name"):
                raise _wrong(where, one, "a pass with a name: name: ClassVar[str]")
            self._check_free(one.name, taken, where)
            taken.append(one.name)
        return replace(self, passes=(*self.passes, *added))

    def _with_ops(self, ops: Any, where: str) -> Catalogue:
        if not isinstance(ops, OpTable):
            raise _wrong(where, ops, "an OpTable, as slimc.ops.op.table makes")
        for kind in ops.kinds:
            self._check_free(kind, self.ops.rows, where)
        return replace(self, ops=self.ops | ops)

    def _with_targets(self, targets: Iterable[Any], where: str) -> Catalogue:
        added = tuple(targets)
        for one in added:
            if not isinstance(one, Target):
                raise _wrong(where, one, "a slimc.Target")
            self._check_free(one.name, self.targets, where)
        return replace(self, targets={**self.targets, **{one.name: one for one in added}})

    def _with_scores(self, scores: Any, where: str) -> Catalogue:
        if not isinstance(scores, Mapping):
            raise _wrong(where, scores, "SCORES as a mapping from names to functions")
        for name, function in scores.items():
            if not callable(function):
                raise _wrong(where, function, f"a function as the score '{name}'")
            self._check_free(name, (*OWN_SCORES, *self.scores), where)
        return replace(self, scores={**self.scores, **scores})

    @staticmethod
    def _check_free(name: str, taken: Iterable[str], where: str) -> None:
        if name in taken:
            raise SlimcError("name-taken", f"the name '{name}' is taken", where, "choose another")


TARGET_FILES = (SUFFIX, ".py")  # a target is named by its file, too
_KINDS = ("PASSES", "STAGES", "OPS", "TARGETS", "SCORES")


def _wrong(where: str, found: object, wanted: str) -> SlimcError:
    return SlimcError("bad-plugin", f"expected {wanted}, found {found!r}", where)


@cache
def catalogue() -> Catalogue:
    """Return what slimc and the installed packages bring."""
    passes = dict.fromkeys((*PASSES, *(type(one) for one in LOWERING)))
    made = Catalogue(tuple(passes), STAGES, OPS, TARGETS)
    for entry in _entries("slimc.passes"):
        made = made._with_passes([entry.load()], f"entry point '{entry.value}'")
    for entry in _entries("slimc.ops"):
        made = made._with_ops(entry.load(), f"entry point '{entry.value}'")
    for entry in _entries("slimc.targets"):
        made = made._with_targets([entry.load()], f"entry point '{entry.value}'")
    for entry in _entries("slimc.scores"):
        made = made._with_scores({entry.name: entry.load()}, f"entry point '{entry.value}'")
    return made


def _entries(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda e: (e.name, e.value))


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
