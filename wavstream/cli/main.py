"""The command line.

Exit codes: 0 done; 1 tried and failed (a recording that does not verify, a call that was refused); 2 the command cannot
work as it was given: the one line on standard error says what to change.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from typer.exceptions import Abort, TyperException

from wavstream import __version__
from wavstream.cli.commands import calls, recordings, server, storage, tenants, webhooks
from wavstream.cli.interrupts import Interrupts
from wavstream.cli.options import console
from wavstream.errors import WavstreamError
from wavstream.service.signals import interrupt_on_sigint
from wavstream.settings import LogSettings, load_log

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Records phone calls that media servers stream over WebSocket.",
)
_NAME = "wavstream"
"""However it was started."""
for each in (server, storage, recordings, calls, tenants, webhooks):
    app.add_typer(each.app)


def main(interrupts: Interrupts | None = None) -> None:
    """Run the command; print every expected error as one line. ``interrupts``: the signals that may end it."""
    interrupts = interrupts or Interrupts()
    try:
        if sys.argv[1:2] == ["serve"] and (log := load_log(_named_config(sys.argv[2:]))).format == "json":
            _serve_for_machines(log)
        code = app(standalone_mode=False, prog_name=_NAME)
    except WavstreamError as error:
        _complain(str(error))
        code = error.exit_code
    except TyperException as error:
        code = error.exit_code
        if not sys.argv[1:] or type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]  # of commands that have others below them: which
        else:
            _complain(_usage(error))
    except Abort:
        _complain("not confirmed: nothing was done")
        code = 1
    except KeyboardInterrupt:
        code = interrupts.exit_code
    except OSError as error:
        code = 1
        _to_nowhere()
        _complain(f"{error.filename or 'what was to be printed'}: {error.strerror or error}")
    if interrupts.number is not None:
        _complain("ended by a signal: what was not finished is removed")
        code = interrupts.exit_code
    raise SystemExit(code or 0)


def _usage(error: TyperException) -> str:
    """Return what is wrong with the words of a command as one line, with where to read more."""
    context = getattr(error, "ctx", None)
    words = context.command_path if context is not None else _NAME
    said = " ".join(error.format_message().split()).rstrip(".")
    return f"{said}; '{words} --help' says more"


def _to_nowhere() -> None:
    """Print to nowhere from now on, if standard output took no more: the interpreter would complain at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _named_config(arguments: Sequence[str]) -> Path | None:
    """Return the file that ``--config`` names among arguments which may be wrong."""
    for given, following in itertools.pairwise((*arguments, "")):
        if given == "--config" and following:
            return Path(following)
        if given.startswith("--config="):
            return Path(given.partition("=")[2])
    return None


def _serve_for_machines(log: LogSettings) -> NoReturn:
    """Run `serve` where whoever reads its output wants JSON alone: wrong arguments are a line of the log too."""
    from wavstream.service.logs import configure, log_refusal

    try:
        code = app(standalone_mode=False, prog_name=_NAME)
    except TyperException as error:
        configure(log)
        log_refusal(error.format_message())
        raise SystemExit(error.exit_code) from None
    raise SystemExit(code or 0)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Record phone calls that media servers stream over WebSocket."""
    if context.invoked_subcommand != "serve":
        interrupt_on_sigint()


@app.command()
def version() -> None:
    """Print the version."""
    _print_version(True)


def _complain(text: str) -> None:
    Console(stderr=True).print(f"wavstream: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
