"""Run a GraphSurgeon script on a model file, in whichever form it was written.

A script is a function of a `gs.Graph`, a function of two paths, or a program that loads a file and
saves another. Programs run by themselves, in a folder of their own that holds the model.
"""

from __future__ import annotations

import ast
import hashlib
import io
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from slimc.errors import SlimcError, did_you_mean
from slimc.io.graphsurgeon import edit_file
from slimc.passes.run_surgeon_script import script_failed
from slimc.pipeline.catalogue import run_file

MODEL, MADE = "{in}", "{out}"  # in the arguments of a program: the model, and where to save
_USUAL = ("run", "modify", "main")  # names of the function to take where a file has several
_GRAPH = re.compile(r"(^|\.)Graph$")
_GRAPH_NAMES = ("graph", "self")  # registered functions (`@gs.Graph.register()`) say self
_FRAME = re.compile(r'File "(.*)", line (\d+)')
_KEPT_LINES = 100  # of what a program wrote, to look for its error in

Told = Callable[[str], None]


@dataclass(frozen=True)
class SurgeonScript:
    """A script, and how to run it.

    function: the one to call, empty: the file is a program. paths: it takes two paths, not a graph.
    loads: the file name that a program loads, as far as its text says.
    """

    path: Path
    function: str = ""
    paths: bool = False
    loads: str = ""

    @classmethod
    def of(cls, path: Path, function: str = "") -> SurgeonScript:
        """Read, without running it, how a script is to be run.

        Raises SlimcError "script-failed", "script-unclear", "unknown-function".
        """
        if not path.is_file():
            raise SlimcError("script-failed", "there is no such file", f"script '{path}'")
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as wrong:
            line = f", line {wrong.lineno}" if isinstance(wrong, SyntaxError) else ""
            message = f"it is no Python: {wrong.args[0]}"
            raise SlimcError("script-failed", message, f"script '{path}'{line}") from wrong
        functions = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
        if function:
            return cls._named(path, function, functions)
        takers = [name for name, one in functions.items() if _takes_graph(one)]
        usual = [name for name in _USUAL if name in takers]
        if usual and not _loads_itself(tree):
            return cls(path, usual[0])
        if _is_program(tree):
            return cls(path, loads=_loaded(tree))
        if len(takers) == 1:
            return cls(path, takers[0])
        raise SlimcError(
            "script-unclear",
            f"it is no program, and {len(takers) or 'none'} of its functions take a graph",
            f"script '{path}'",
            f"name one with --function: {', '.join(takers or functions) or 'there are none'}",
        )

    @classmethod
    def _named(
        cls, path: Path, function: str, functions: dict[str, ast.FunctionDef]
    ) -> SurgeonScript:
        where = f"script '{path}'"
        if function not in functions:
            help = did_you_mean(function, functions)
            message = f"it has no function '{function}'"
            raise SlimcError("unknown-function", message, where, help)
        count = len(_required(functions[function]))
        if count not in (1, 2):
            raise SlimcError(
                "script-unclear",
                f"function '{function}' needs {count} arguments",
                where,
                "one is taken for the gs.Graph, two for the files to read and to write",
            )
        return cls(path, function, paths=count == 2)

    def run(
        self,
        model: Path,
        made: Path,
        arguments: Sequence[str] = (),
        result: str = "",
        told: Told = lambda line: None,
    ) -> None:
        """Run the script on `model`; what it makes is written to `made`, in a folder of its own.

        arguments: of a program, `{in}` and `{out}` stand for the files. result: the name of the
        file that a program saves, where it saves several. told: hears each line that it prints.
        Raises SlimcError "script-failed", "script-saved-nothing", "script-unclear".
        """
        if not self.function:
            self._run_program(model, made, arguments, result, told)
            return
        if arguments or result:
            raise SlimcError(
                "script-unclear",
                f"its function '{self.function}' is called: it takes no arguments, and no --result",
                f"script '{self.path}'",
            )
        printed = io.StringIO()
        try:
            with redirect_stdout(printed), _importing_beside(self.path):
                function = getattr(run_file(self.path), self.function)
                if self.paths:
                    function(str(model), str(made))
                else:
                    edit_file(function, model, made)
        except SlimcError:
            raise
        except (Exception, SystemExit) as broken:  # the user's own script may raise anything
            where = f"script '{self.path}'"
            raise script_failed(broken, str(self.path), where) from broken
        finally:
            for line in printed.getvalue().splitlines():
                told(line)
        if not made.is_file():
            raise self._saved_nothing(f"function '{self.function}' wrote no file")

    def _run_program(
        self, model: Path, made: Path, arguments: Sequence[str], result: str, told: Told
    ) -> None:
        folder = made.parent
        given = folder / (self.loads or "model.onnx")
        given.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model, given)
        before = dict(_models(folder))
        words = [one.replace(MODEL, str(given)).replace(MADE, str(made)) for one in arguments]
        command = [sys.executable, str(self.path.resolve()), *words]
        self._check_ended(*_piped(command, folder, told))
        if made.is_file():
            return
        saved = [path for path, digest in _models(folder) if before.get(path) != digest]
        names = [path.relative_to(folder).as_posix() for path in saved]
        if result:
            saved = [path for path, name in zip(saved, names, strict=True) if name == result]
        if not saved:
            raise self._saved_nothing(f"it saved {', '.join(names) or 'no model'}")
        if len(saved) > 1:
            message = f"it saved {len(saved)} models: {', '.join(names)}"
            help = f"name one: --result {names[-1]}"
            raise SlimcError("script-unclear", message, f"script '{self.path}'", help)
        shutil.move(saved[0], made)

    def _check_ended(self, status: int, lines: Sequence[str]) -> None:
        if not status:
            return
        own = str(self.path.resolve())
        frames = [m for line in lines if (m := _FRAME.search(line)) and m[1] == own]
        where = f"script '{self.path}'" + (f", line {frames[-1][2]}" if frames else "")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        message = f"it ended with status {status}" + (f": {last}" if last else "")
        help = f"if its arguments are to name the files: -- {MODEL} {MADE}"
        raise SlimcError("script-failed", message, where, help)

    def _saved_nothing(self, message: str) -> SlimcError:
        return SlimcError(
            "script-saved-nothing",
            message,
            f"script '{self.path}'",
            f"the model is '{self.loads or 'model.onnx'}' in the folder that it runs in; where its "
            f"arguments name the files: -- {MODEL} {MADE}; a function: --function NAME",
        )


@contextmanager
def _importing_beside(path: Path) -> Iterator[None]:
    """Let imports find the modules beside a script, as they do where it is a program."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _required(function: ast.FunctionDef) -> list[ast.arg]:
    """Return the parameters that a call has to give."""
    given = function.args
    plain = [*given.posonlyargs, *given.args]
    named = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    needed = [one for one, default in named if default is None]
    return plain[: len(plain) - len(given.defaults)] + needed


def _takes_graph(function: ast.FunctionDef) -> bool:
    needed = _required(function)
    if len(needed) != 1:
        return False
    kind = ast.unparse(needed[0].annotation).strip("'\"") if needed[0].annotation else ""
    return bool(_GRAPH.search(kind)) or (not kind and needed[0].arg in _GRAPH_NAMES)


def _outside(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that run when the file does."""
    inside = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    yield from (one for one in tree.body if not isinstance(one, inside))


def _calls(nodes: Iterable[ast.AST], name: str) -> Iterator[ast.Call]:
    """Yield the calls of functions of that name, of any module."""
    for call in (inner for node in nodes for inner in ast.walk(node)):
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == name:
            yield call


def _loads_itself(tree: ast.Module) -> bool:
    """Tell whether a file imports a graph when it runs, or has a part that is a program."""
    guarded = any(isinstance(one, ast.If) and "__main__" in ast.unparse(one) for one in tree.body)
    return guarded or any(_calls(_outside(tree), "import_onnx"))


def _is_program(tree: ast.Module) -> bool:
    calls = (isinstance(one, ast.Expr) and isinstance(one.value, ast.Call) for one in tree.body)
    return _loads_itself(tree) or any(calls)


def _loaded(tree: ast.Module) -> str:
    """Return the file that a program loads where its text names one, and it is a place below."""
    found: dict[str, None] = {}
    for call in _calls([tree], "load"):
        name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
        if isinstance(name, str) and name.endswith(".onnx"):
            path = Path(name)
            if not path.is_absolute() and ".." not in path.parts:
                found[path.as_posix()] = None
    return next(iter(found)) if len(found) == 1 else ""


def _models(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the model files below a folder, with what tells whether they changed."""
    for path in sorted(folder.rglob("*.onnx")):
        if path.is_file():
            yield path, hashlib.sha256(path.read_bytes()).hexdigest()


def _piped(command: Sequence[str], folder: Path, told: Told) -> tuple[int, list[str]]:
    """Run a program; return its status and the last lines that it wrote."""
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as program:
        for line in program.stdout or ():
            told(line.rstrip("\n"))
            lines.append(line.rstrip("\n"))
    return program.returncode, list(lines)
