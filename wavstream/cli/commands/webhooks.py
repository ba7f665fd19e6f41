"""``wavstream webhooks``: what apps are to be told, and were not."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from wavstream.cli.options import Config, console
from wavstream.settings import load as load_settings

app = typer.Typer()
webhooks = typer.Typer(no_args_is_help=True, help="Webhooks that were given up: the dead letters.")
app.add_typer(webhooks, name="webhooks")


@webhooks.command("list")
def webhooks_list(
    app_id: Annotated[str | None, typer.Option("--app", help="Of this app only.")] = None,
    config: Config = None,
) -> None:
    """List them, a line each: id, app, since when, event, session, why."""
    from wavstream.cli.webhooks import list_dead_letters

    asyncio.run(list_dead_letters(app_id, load_settings(config), console))


@webhooks.command("replay")
def webhooks_replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    app_id: Annotated[str | None, typer.Option("--app", help="Of this app only.")] = None,
    config: Config = None,
) -> None:
    """Have them sent again, for another 24 hours."""
    from wavstream.cli.webhooks import replay_dead_letters

    asyncio.run(replay_dead_letters(app_id, ids or [], load_settings(config), console))
