"""``wavstream apps``, ``keys``, ``links`` and ``master-key``: who may do what, and with which secrets."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from wavstream.cli.options import Config, console
from wavstream.settings import load as load_settings

app = typer.Typer()
apps = typer.Typer(no_args_is_help=True, help="The apps (tenants) that may record, and their keys.")
app.add_typer(apps, name="apps")
keys = typer.Typer(no_args_is_help=True, help="More keys of an app, each with a name: to change one without a gap.")
app.add_typer(keys, name="keys")
links = typer.Typer(no_args_is_help=True, help="The links that open finished files.")
app.add_typer(links, name="links")
master_key = typer.Typer(no_args_is_help=True, help="The key that all others are derived from.")
app.add_typer(master_key, name="master-key")


@apps.command("add")
def apps_add(
    app_id: Annotated[str, typer.Argument(help="1 to 64 of letters, digits, _ and -.")],
    retention_hours: Annotated[int | None, typer.Option(min=1, max=87_600, help="Default: the server's.")] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="Its id at a vendor, such as bird=<workspace id>; again for more.")
    ] = None,
    config: Config = None,
) -> None:
    """Add an app and print its key, once."""
    from wavstream.cli.apps import add_app

    asyncio.run(add_app(app_id, retention_hours, account or (), load_settings(config), console))


@apps.command("list")
def apps_list(config: Config = None) -> None:
    """List the apps."""
    from wavstream.cli.apps import list_apps

    asyncio.run(list_apps(load_settings(config), console))


@apps.command("rotate-key")
def apps_rotate_key(app_id: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """Give an app a new first key and print it; the old one is refused within a second. Its other keys stay."""
    from wavstream.cli.apps import rotate_key

    asyncio.run(rotate_key(app_id, load_settings(config), console))


@apps.command("keys")
def apps_keys(app_id: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """Print what an app's receivers check the signatures of each vendor's webhooks with."""
    from wavstream.cli.apps import show_keys

    asyncio.run(show_keys(app_id, load_settings(config), console))


@apps.command("remove")
def apps_remove(app_id: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """Remove an app, its keys and its links; its recordings stay until their retention ends, and nobody gets them."""
    from wavstream.cli.apps import remove_app

    asyncio.run(remove_app(app_id, load_settings(config), console))


@keys.command("add")
def keys_add(
    app_id: Annotated[str, typer.Argument()],
    name: Annotated[str, typer.Argument(help="1 to 64 of letters, digits, _ and -.")],
    expires_hours: Annotated[float | None, typer.Option(min=0.01, max=87_600, help="Default: it does not.")] = None,
    config: Config = None,
) -> None:
    """Give an app one more key and print it, once; those that it has stay good."""
    from wavstream.cli.apps import add_key

    asyncio.run(add_key(app_id, name, expires_hours, load_settings(config), console))


@keys.command("list")
def keys_list(app_id: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """List the names of an app's keys; the first is called main."""
    from wavstream.cli.apps import list_keys

    asyncio.run(list_keys(app_id, load_settings(config), console))


@keys.command("revoke")
def keys_revoke(
    app_id: Annotated[str, typer.Argument()], name: Annotated[str, typer.Argument()], config: Config = None
) -> None:
    """Take a key away, and with it its stream tokens and those who listen live by it, within a second."""
    from wavstream.cli.apps import revoke_key

    asyncio.run(revoke_key(app_id, name, load_settings(config), console))


@links.command("rotate")
def links_rotate(config: Config = None) -> None:
    """End every link that was handed out: signed links and the addresses of files."""
    from wavstream.cli.secrets import rotate_links

    asyncio.run(rotate_links(load_settings(config), console))


@master_key.command("reset")
def master_key_reset(config: Config = None) -> None:
    """Take another master key from the next start on: app keys of before are refused then. The server must not run."""
    from wavstream.cli.secrets import reset_master_key

    asyncio.run(reset_master_key(load_settings(config), console))
