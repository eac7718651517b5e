"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from slimc.calib.data import Data
from slimc.calib.images import Images
from slimc.calib.preprocess import Preprocess
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.pipeline.catalogue import TARGET_FILES, Catalogue, catalogue
from slimc.pipeline.sizing import made_up_samples

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


def calib_cache_option(command: F) -> F:
    """Add `--calib-cache`."""
    return click.option(
        "--calib-cache",
        type=PATH,
        metavar="PLACE",
        help="Where to keep calibrated ranges, and to take them from where model, samples and "
        "options are the same: a .json file, or a folder that keeps those of many compiles.",
    )(command)


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


def seed_option(command: F) -> F:
    """Add `--seed`."""
    return click.option(
        "--seed", type=int, default=None, help="Seed of all that is random. Default: 0."
    )(command)


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


def check_place(path: Path, read: Path, option: str) -> None:
    """Refuse, before any work, to write over the file read or into a folder that is not there."""
    if read.exists() and not path.parent.is_dir():
        raise SlimcError(
            "unwritable",
            f"'{path}' cannot be written: there is no folder '{path.parent}'",
            f"option {option}",
            "make the folder first",
        )
    if path.exists() and read.exists() and path.samefile(read):
        raise SlimcError(
            "input-overwritten",
            f"'{path}' is the file to read",
            f"option {option}",
            "name another file",
        )
