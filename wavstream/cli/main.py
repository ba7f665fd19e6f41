"""The command line.

Exit codes: 0 done; 1 tried and failed (a recording that does not verify, a call that was refused); 2 the command cannot
work as it was given: the one line on standard error says what to change.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from typer.exceptions import TyperException

from wavstream import __version__
from wavstream.cli.commands import calls, recordings, server, tenants, webhooks
from wavstream.cli.options import console
from wavstream.errors import WavstreamError
from wavstream.service.signals import interrupt_on_sigint
from wavstream.settings import LogSettings, load_log

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Records phone calls that media servers stream over WebSocket.",
)
for each in (server, recordings, calls, tenants, webhooks):
    app.add_typer(each.app)


def main() -> None:
    """Run the command; print every expected error as one line."""
    try:
        if sys.argv[1:2] == ["serve"] and (log := load_log(_named_config(sys.argv[2:]))).format == "json":
            _serve_for_machines(log)
        app()
    except WavstreamError as error:
        _complain(error)
        raise SystemExit(error.exit_code) from None


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
        code = app(standalone_mode=False)
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


def _complain(error: WavstreamError) -> None:
    Console(stderr=True).print(f"wavstream: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
