"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import click

from slimc.calib.data import Data
from slimc.calib.images import Images
from slimc.calib.preprocess import YAML_SUFFIXES, Preprocess
from slimc.errors import SlimcError
from slimc.io.places import Output, check_places
from slimc.ir.graph import Graph
from slimc.pipeline.catalogue import TARGET_FILES, Catalogue, catalogue
from slimc.pipeline.input_sizes import made_up_samples
from slimc.pipeline.options import CompileOptions, Flag, option_field
from slimc.pipeline.save import Sources
from slimc.targets.user import target_files

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def calib_option(command: F) -> F:
    """Add `--calib` and `--preprocess`; together they are one parameter, `calib`."""
    calib = click.option(
        "--calib",
        type=PATH,
        metavar="DIR",
        callback=join_preprocess,
        help="Samples: a folder of .npz files, one feed each, arrays named after the inputs; of "
        ".npy files for one input; one .npz or .npy of stacked samples; or a folder of images, "
        "with --preprocess. Default: made-up samples.",
    )
    return calib(preprocess_option(command))


def preprocess_option(command: F) -> F:
    """Add `--preprocess`, which the parameter of samples takes in."""
    return click.option(
        "--preprocess",
        metavar="TEXT",
        is_eager=True,  # read before the samples that it belongs to
        expose_value=False,
        callback=_remember,
        help="What is done to images before the model gets them, as text or a .yaml file of the "
        "same keys: resize=256,crop=224,scale=1/255,mean=[..],std=[..],channels=rgb,layout=nchw.",
    )(command)


def _remember(ctx: click.Context, _: click.Parameter, text: str | None) -> None:
    ctx.meta["slimc.preprocess"] = text


def join_preprocess(
    ctx: click.Context, _: click.Parameter, path: Path | None
) -> Path | Images | None:
    """Join a folder of images and what is to be done to them."""
    text = ctx.meta.get("slimc.preprocess")
    if not text:
        return path
    if path is None or not path.is_dir():
        raise SlimcError(
            "bad-preprocess",
            "there is no folder of images to prepare",
            "option --preprocess",
            "give the folder with --calib",
        )
    return Images(path, Preprocess.of(text))


def samples_or_made_up(source: Path | Images | None, graph: Graph) -> Data:
    """Read samples, or make some up."""
    return Data.of(source, graph) if source is not None else made_up_samples(graph)


def compile_flags(*names: str) -> Callable[[F], F]:
    """Add flags for options of a compile, in this order, as `CompileOptions` declares them."""

    def add(command: F) -> F:
        for name in reversed(names):
            command = _compile_flag(name)(command)
        return command

    return add


def _compile_flag(name: str) -> Callable[[F], F]:
    metadata, hint = option_field(name).metadata, get_type_hints(CompileOptions)[name]
    flag: Flag = metadata["flag"]
    kinds = get_args(hint) or (hint,)
    form: dict[str, Any] = {"metavar": flag.metavar or None, "help": metadata["help"]}
    if hint is bool:
        form["is_flag"] = True
    elif any(get_origin(kind) is Mapping for kind in kinds):
        form["multiple"] = True
    else:
        form["type"] = PATH if Path in kinds else kinds[0]
    return click.option(flag.name, name, **form)


def given_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a compile that flags give, by name."""
    names = [f.name for f in fields(CompileOptions) if f.metadata["flag"] is not None]
    given = {name: params.get(name) for name in names}
    return {n: value for n, value in given.items() if value not in (None, ())} | bindings(params)


def bindings(params: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the inputs and sizes that `--bind` and `--shape` fix."""
    return {
        "bind": pairs(params["bind"], "--bind", "sr=16000"),
        "shape": pairs(params["shape"], "--shape", "x=1x3x224x224"),
    }


def plugin_option(command: F) -> F:
    """Add `--plugin`."""
    return click.option(
        "--plugin",
        type=PATH,
        multiple=True,
        metavar="FILE",
        help="A Python file of passes, operators, targets, scores of yours (docs/custom_pass.md).",
    )(command)


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")(command)


def names_with(plugins: Iterable[Path]) -> Catalogue:
    """Return all names, those of plug-in files included."""
    names = catalogue()
    for plugin in plugins:
        names = names.with_file(plugin)
    return names


def pairs(texts: Iterable[str], option: str, example: str) -> dict[str, str]:
    """Read `name=value` texts."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not (equals and name and value):
            raise SlimcError(
                "bad-option-value",
                f"'{text}' is not of the form name=value",
                f"option {option}",
                f"for example {option} {example}",
            )
        found[name] = value
    return found


def beside(model: Path, target: str) -> Path:
    """Return the file to write beside a model: named after the target as the user named it."""
    label = Path(target).stem if Path(target).suffix in TARGET_FILES else target
    return model.with_name(f"{model.stem}.{label}.onnx")


# Options that name files to read -> what these are.
_INPUTS = {
    "recipe": "the recipe",
    "curves": "the table of curves",
    "profile": "the profile",
    "score": "the scorer",
    "plugin": "a plug-in",
    "times": "a file of times",
    "layers": "a file of layers",
}


def check_outputs(
    outputs: Iterable[Output],
    models: Path | tuple[Path, ...],
    options: Mapping[str, Any],
    target: str = "",
    **others: Path,
) -> None:
    """Refuse, before any work, outputs that are one file, that are read, or cannot be written.

    others: files to read that are no options. Raises SlimcError "unwritable",
    "output-overwritten", "input-overwritten".
    """
    files: dict[str, object] = {what: options.get(name) for name, what in _INPUTS.items()}
    files |= {f"the {name}": path for name, path in others.items()}
    steps = click.get_current_context().meta.get("slimc.preprocess") or ""
    if Path(steps).suffix in YAML_SUFFIXES:
        files["the preprocessing"] = steps
    if Path(target).suffix in TARGET_FILES:
        files["a file of the target"] = target_files(Path(target))
    check_places(outputs, Sources.of(models, options.get("calib"), files).inputs())
