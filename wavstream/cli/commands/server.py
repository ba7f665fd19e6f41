"""``wavstream serve`` and what is done to a server's data folder as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from wavstream.cli.options import Config, console
from wavstream.errors import OperatorError, WavstreamError
from wavstream.settings import load as load_settings
from wavstream.settings import load_log

app = typer.Typer()


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Addresses to listen on, commas between them.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port of HTTP and WebSocket.")] = None,
    workers: Annotated[
        str | None, typer.Option(help="Processes that the server is: 1 to 64, or auto for as many as there are cores.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say whether a start would succeed, and do not start; one may run.")
    ] = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C; what is running then goes on at the next start."""
    from wavstream.service.logs import configure, log_refusal
    from wavstream.service.server import serve as run

    given = {"host": host, "port": port, "workers": workers}
    if check:
        from wavstream.cli.check import check_start

        settings = load_settings(config, overrides=given)
        configure(settings.log.model_copy(update={"level": "error"}))
        asyncio.run(check_start(settings, console))
        return
    log = load_log(config)
    configure(log)
    try:
        run(load_settings(config, overrides=given))
    except WavstreamError as error:
        if log.format != "json":
            raise
        log_refusal(str(error))
        raise SystemExit(error.exit_code) from None


@app.command()
def demo(
    data_dir: Annotated[Path, typer.Option(help="Where the demonstration keeps what it records.")] = Path("demo-data"),
) -> None:
    """Start a server, play a spoken call into it, record it and check the file."""
    from wavstream.cli.demo import run_demo

    made = "" if data_dir.exists() else "made the "
    console.print(f"{made}data folder {data_dir.resolve()}", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(asyncio.run(run_demo(data_dir, console)))


@app.command()
def recover(config: Config = None) -> None:
    """Finish everything that a crash left, without serving."""
    from wavstream.cli.recover import run_recover
    from wavstream.service.logs import configure

    settings = load_settings(config)
    configure(settings.log)
    asyncio.run(run_recover(settings, console))


@app.command()
def backup(
    target: Annotated[str, typer.Argument(help="A folder that is empty or not there.")],
    with_objects: Annotated[
        bool, typer.Option("--with-objects", help="Fetch what lies in a store too; else that is the store's to keep.")
    ] = False,
    config: Config = None,
) -> None:
    """Make a backup of recordings, catalog and keys; the server may run."""
    from wavstream.cli.backup import run_backup

    if not target.strip():
        raise OperatorError("'' names no folder: name a new one for the backup")
    run_backup(Path(target), load_settings(config), console, with_objects=with_objects)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="A folder that `wavstream backup` has made.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Restore what is whole of a backup that is damaged.")
    ] = False,
    config: Config = None,
) -> None:
    """Put a backup back into an empty data folder, each file checked; the server must not run."""
    from wavstream.cli.restore import run_restore

    run_restore(backup, load_settings(config), console, is_partial=partial)


@app.command()
def journals(config: Config = None) -> None:
    """List the journals, and what was set aside from them with what is wrong."""
    from wavstream.cli.journals import run_journals

    run_journals(load_settings(config), console)


@app.command()
def drain(
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds that calls have to end; then a cluster's other nodes go on with them.")
    ] = 60.0,
    stop: Annotated[bool, typer.Option("--stop", help="End the server once nothing is left.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Have a server that is drained take calls again.")] = False,
    config: Config = None,
) -> None:
    """Have a server take nothing new, and wait until it has nothing left."""
    from wavstream.cli.data_folder import found_folder
    from wavstream.cli.draining import Draining

    settings = load_settings(config)
    draining = Draining(found_folder(settings, for_catalog=False), settings, console)
    if undo:
        draining.take_back()
    else:
        draining.drain(wait_s=wait, stops=stop)
