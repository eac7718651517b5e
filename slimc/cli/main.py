"""The command group, and how errors leave the program."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import click

from slimc.cli.bench import bench_command
from slimc.cli.compile import compile_command
from slimc.cli.console import say
from slimc.cli.data import data_command
from slimc.cli.demo import demo_command
from slimc.cli.diff import diff_command
from slimc.cli.explain import explain_command
from slimc.cli.export_indices import export_indices_command
from slimc.cli.lint import lint_command
from slimc.cli.lists import ops_command, passes_command
from slimc.cli.profile import profile_command
from slimc.cli.run_script import run_script_command
from slimc.cli.sensitivity import sensitivity_command
from slimc.cli.show import show_command
from slimc.cli.targets import targets_command
from slimc.cli.verify import verify_command
from slimc.errors import PromiseError, SlimcError, did_you_mean
from slimc.version import VERSION

PROMISE_MISSED = 1
USER_ERROR = 2
INTERNAL_ERROR = 70  # EX_SOFTWARE: a fault of ours, told apart from what a user can mend

_EXAMPLES = """\
Examples:
  slimc model.onnx                       canonicalise and check: nothing lossy
  slimc model.onnx --passes prune,quant --target jetson --calib samples/
  slimc model.onnx --passes 'prune{ratio=0.3,keep=["head/*"]}' -o small.onnx
  slimc model.onnx --passes 'prune{ratio=0.3}' --target cpu --measure --require faster=1.2
  slimc model.onnx --passes quant --target cpu --calib samples/ --min-sqnr 30
  slimc model.onnx --recipe small.yaml --report report.json
  slimc show model.onnx --as table       slimc diff model.onnx small.onnx
  slimc bench model.onnx small.onnx      slimc explain model.onnx --pass prune
  slimc profile a.onnx b.onnx -o machine.json
  slimc lint other.onnx --target jetson  slimc verify model.jetson.onnx --target jetson
  slimc run-script modify.py model.onnx  an existing GraphSurgeon script
  slimc passes prune                     slimc targets show jetson

Exit status: 0 done; 1 sound, but not what --require, --min-sqnr, --max-drop or --budget asked for:
no model is written; 2 your input needs mending; 70 a fault of slimc.
"""


class Root(click.Group):
    """A group whose first word may be a model instead of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        own = first in self.commands or first in ("--help", "--version", "")
        if not own and (first.startswith("-") or _is_model(first)):
            args = ["compile", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            shown = [name for name in self.commands if name != "compile"]
            raise SlimcError(
                "unknown-command",
                f"'{args[0]}' is neither a command nor a file",
                help=did_you_mean(args[0], shown),
            )
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options of the root command, then the sub-commands."""
        inner = click.Context(compile_command, parent=ctx)
        options = [p for p in compile_command.get_params(inner) if p.param_type_name == "option"]
        records = [record for p in options if (record := p.get_help_record(inner))]
        records.append(("--version", "Show the version and exit."))
        with formatter.section("Options"):
            formatter.write_dl(records)
        self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"\n{_EXAMPLES}")


def _is_model(word: str) -> bool:
    return Path(word).suffix in (".onnx", ".txt") or Path(word).is_file()


@click.group(
    cls=Root,
    no_args_is_help=True,
    options_metavar="",
    subcommand_metavar="MODEL [OPTIONS] | COMMAND",
)
@click.version_option(VERSION, prog_name="slimc")
def root() -> None:
    """Prune, quantize and lower a trained ONNX model for a device.

    Every step is checked by running it, and every node left alone gets a reason.
    """


for _command in (
    compile_command,
    show_command,
    diff_command,
    bench_command,
    explain_command,
    sensitivity_command,
    profile_command,
    export_indices_command,
    run_script_command,
    lint_command,
    verify_command,
    passes_command,
    targets_command,
    ops_command,
    data_command,
    demo_command,
):
    root.add_command(_command)


def main(args: list[str] | None = None) -> None:
    """Run the command line; the help says what the exit status means."""
    try:
        status: Any = root.main(args, prog_name="slimc", standalone_mode=False)
    except PromiseError as error:
        _leave(str(error), PROMISE_MISSED)
    except SlimcError as error:
        _leave(str(error), USER_ERROR)
    except click.ClickException as error:
        error.show()
        sys.exit(USER_ERROR)
    except click.Abort:
        _leave("interrupted", USER_ERROR)
    except OSError as error:
        name = f"'{error.filename}': " if error.filename else ""
        _leave(f"error[file]: {name}{(error.strerror or str(error)).lower()}", USER_ERROR)
    except Exception:  # a fault of ours: say so, and keep it apart from 0, 1 and 2
        traceback.print_exc()
        _leave("this is a fault of slimc, or of a plug-in; please report it", INTERNAL_ERROR)
    sys.exit(status if isinstance(status, int) else 0)


def _leave(text: str, status: int) -> None:
    say(text, err=True)
    sys.exit(status)
