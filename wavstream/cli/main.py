"""The command line.

Exit codes: 0 done; 1 tried and failed (a recording that does not verify, a call that was refused); 2 the command cannot
work as it was given: the one line on standard error says what to change.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from wavstream import __version__
from wavstream.cli.commands import calls, recordings, server, tenants, webhooks
from wavstream.cli.options import console
from wavstream.errors import OperatorError, WavstreamError

EXIT_FAILED, EXIT_CANNOT = 1, 2

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
        app()
    except OperatorError as error:
        _complain(error)
        raise SystemExit(EXIT_CANNOT) from None
    except WavstreamError as error:
        _complain(error)
        raise SystemExit(EXIT_FAILED) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Record phone calls that media servers stream over WebSocket."""


@app.command()
def version() -> None:
    """Print the version."""
    _print_version(True)


def _complain(error: WavstreamError) -> None:
    Console(stderr=True).print(f"wavstream: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
