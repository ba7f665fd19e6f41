"""``wavstream webhooks``: what apps are to be told, and were not."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from wavstream.cli.options import Config, console
from wavstream.settings import load as load_settings

app = typer.Typer()
webhooks = typer.Typer(no_args_is_help=True, help="Webhooks: those that wait, those that were given up, and a test.")
app.add_typer(webhooks, name="webhooks")


@webhooks.command("list")
def webhooks_list(
    app_id: Annotated[str | None, typer.Option("--app", help="Of this app only.")] = None,
    config: Config = None,
) -> None:
    """List those that were given up, a line each: id, app, since when, event, session, why."""
    from wavstream.cli.webhooks import list_dead_letters

    asyncio.run(list_dead_letters(app_id, load_settings(config), console))


@webhooks.command("replay")
def webhooks_replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    app_id: Annotated[str | None, typer.Option("--app", help="Of this app only.")] = None,
    config: Config = None,
) -> None:
    """Have those that were given up sent again, for another 24 hours."""
    from wavstream.cli.webhooks import replay_dead_letters

    asyncio.run(replay_dead_letters(app_id, ids or [], load_settings(config), console))


@webhooks.command("pending")
def webhooks_pending(app_id: Annotated[str, typer.Argument(metavar="APP")], config: Config = None) -> None:
    """List those that wait to be delivered, the first first."""
    from wavstream.cli.webhooks import list_pending

    asyncio.run(list_pending(app_id, load_settings(config), console))


@webhooks.command("test")
def webhooks_test(app_id: Annotated[str, typer.Argument(metavar="APP")], config: Config = None) -> None:
    """Send a webhook that tells of a recording of the call webhook-test, signed as real ones, and say the answer."""
    from wavstream.cli.webhook_test import send_test_webhook

    asyncio.run(send_test_webhook(app_id, load_settings(config), console))
