"""``wavstream storage`` and ``catalog``: where finished files lie and rows are kept, looked at and moved."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from wavstream.cli.options import Config, console
from wavstream.settings import load as load_settings

app = typer.Typer()
storage = typer.Typer(no_args_is_help=True, help="The store that finished files are uploaded to: a look, and a move.")
app.add_typer(storage, name="storage")
catalog = typer.Typer(no_args_is_help=True, help="Where rows are kept: a file of the data folder, or PostgreSQL.")
app.add_typer(catalog, name="catalog")


@storage.command("check")
def storage_check(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object for each line.")] = False, config: Config = None
) -> None:
    """Write, read and delete in each store that the settings name, and say what is wrong, and who must mend it."""
    from wavstream.cli.storage_check import run_check

    asyncio.run(run_check(load_settings(config), console, as_json=as_json))


@storage.command("migrate")
def storage_migrate(
    to: Annotated[
        str, typer.Option("--to", metavar="URL", help="A store that the settings name, or local: this machine.")
    ],
    app_name: Annotated[str | None, typer.Option("--app", help="Those of this app only.")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Only those that began longer ago: 30d, 12h or 90m.", metavar="AGE")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many there are, and move none.")] = False,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Files at the same time.")] = 4,
    keep_s: Annotated[
        float | None,
        typer.Option(
            "--keep",
            min=0,
            help="Seconds after which the former object is removed; default: storage.signed_s, as long as an address "
            "opens it that was handed out.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Move finished files to a store, to another one, or back to this machine; the server may run. Goes on if ended."""
    from wavstream.cli.migrate import read_age, run_migrate

    asyncio.run(
        run_migrate(
            to,
            load_settings(config),
            console,
            app_name=app_name,
            older_than=None if older_than is None else read_age(older_than),
            at_once=parallel,
            keep_s=keep_s,
            is_dry=dry_run,
        )
    )


@catalog.command("move")
def catalog_move(
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="URL", help="postgresql://..., empty; local: the data folder's own file; or sqlite:PATH."
        ),
    ],
    config: Config = None,
) -> None:
    """Copy the catalog to PostgreSQL or back, each row compared; the server must not run. The former one stays."""
    from wavstream.cli.catalog_move import run_catalog_move

    run_catalog_move(to, load_settings(config), console)
