"""``wavstream apps`` and ``wavstream keys``: add, list and remove apps and their keys. Works beside a running server.

A running server notices each change within a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from wavstream.access.key_table import KeyTable
from wavstream.access.keys import KeyDigests, make_key
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.registry import VOCABULARIES
from wavstream.catalog.catalog import Catalog
from wavstream.cli.data_folder import found_folder, made_folder
from wavstream.errors import OperatorError
from wavstream.model.app import DEFAULT_APP, App
from wavstream.model.ids import is_app_id, is_customer_id
from wavstream.service.data_folder import DataFolder
from wavstream.settings import Settings


async def add_app(
    app_id: str, retention_hours: int | None, accounts: Sequence[str], settings: Settings, console: Console
) -> None:
    """Add an app and print its key; raise OperatorError if there is one of that id.

    ``accounts`` are the ids by which vendors know it, each as ``vendor=id``.
    """
    if not is_app_id(app_id):
        raise OperatorError(f"{app_id!r} cannot name an app: use 1 to 64 of letters, digits, _ and -")
    accounts_of = _accounts(accounts)
    key = make_key()
    folder = made_folder(settings)
    async with folder.make_catalog() as catalog:
        digests = KeyDigests(await folder.load_master_key(settings.master_key, catalog.app_keys))
        app = App(
            app_id,
            created_at=datetime.now(UTC),
            retention_hours=retention_hours,
            vendor_accounts=accounts_of,
        )
        if await catalog.apps.add(app, **digests.kept(key)) is None:
            raise OperatorError(
                f"there is an app {app_id} already: 'wavstream apps rotate-key {app_id}' gives it a new key"
            )
    _print_key(app_id, key, console)


async def list_apps(settings: Settings, console: Console) -> None:
    """Print every app."""
    async with found_folder(settings).open_catalog() as catalog:
        apps = await catalog.apps.list()
        had_any = bool((await catalog.app_keys.read()).removed)
    table = Table("app", "since", "retention")
    for app in apps:
        hours = "server's" if app.retention_hours is None else f"{app.retention_hours} h"
        table.add_row(app.name, _minute(app.created_at), hours)
    nobody = "nobody may record" if had_any else "callers on this machine need no key"
    console.print(table if apps else f"there is no app: {nobody}")


async def rotate_key(name: str, settings: Settings, console: Console) -> None:
    """Put a new key in the place of the app's first and print it; raise OperatorError if there is no such app."""
    folder = found_folder(settings)
    async with folder.open_catalog(to_revoke=True) as catalog:
        app, digests = await find_app(catalog, name), await _digests(folder, catalog, settings)
        kept = digests.kept(key := make_key())
        await folder.with_room(lambda: catalog.apps.replace_key(app.id, **kept, now=datetime.now(UTC)))
    _print_key(name, key, console)


async def remove_app(name: str, settings: Settings, console: Console) -> None:
    """Remove the app; raise OperatorError if there is no such app."""
    folder = found_folder(settings)
    async with folder.open_catalog(to_revoke=True) as catalog:
        app = await find_app(catalog, name)
        await folder.with_room(lambda: catalog.apps.remove(app.id))
    console.print(
        f"app {name} is removed, and its keys, tokens and links open nothing; its recordings stay until their "
        "retention ends, and an app that is added under this name does not get them",
        soft_wrap=True,
    )


async def show_keys(name: str, settings: Settings, console: Console) -> None:
    """Print what receivers of the app's webhooks check signatures with; raise OperatorError if there is no such app."""
    folder = found_folder(settings)
    async with folder.open_catalog() as catalog:
        app = await catalog.apps.find(name)
        if app is None and (name != DEFAULT_APP or not KeyTable(await catalog.app_keys.read()).is_open):
            raise unknown_app(name)
        keys = SigningKeys(await folder.load_master_key(settings.master_key, catalog.app_keys))
    for api, words in VOCABULARIES.items():
        if words.key_text is not None:
            key = keys.of(name if app is None else app.id, api)
            console.print(f"{api}  {words.key_text(key)}", highlight=False, soft_wrap=True)


async def add_key(app_name: str, name: str, expires_hours: float | None, settings: Settings, console: Console) -> None:
    """Give the app one more key and print it; raise OperatorError if it has one of that name."""
    if not is_app_id(name):
        raise OperatorError(f"{name!r} cannot name a key: use 1 to 64 of letters, digits, _ and -")
    now, key = datetime.now(UTC), make_key()
    folder = found_folder(settings)
    async with folder.open_catalog() as catalog:
        app, digests = await find_app(catalog, app_name), await _digests(folder, catalog, settings)
        expires_at = None if expires_hours is None else now + timedelta(hours=expires_hours)
        if not await catalog.app_keys.add(app.id, name, **digests.kept(key), now=now, expires_at=expires_at):
            raise OperatorError(
                f"app {app_name} has a key {name} already: choose another name, or 'wavstream keys revoke {app_name} "
                f"{name}' first"
            )
    _print_key(app_name, key, console)


async def list_keys(app_name: str, settings: Settings, console: Console) -> None:
    """Print the names of the app's keys; raise OperatorError if there is no such app."""
    async with found_folder(settings).open_catalog() as catalog:
        keys = await catalog.app_keys.list((await find_app(catalog, app_name)).id)
    table = Table("key", "since", "expires")
    now = datetime.now(UTC)
    for key in keys:
        expires = "never" if key.expires_at is None else _minute(key.expires_at)
        table.add_row(key.name, _minute(key.created_at), expires if key.is_good(now) else f"{expires} (expired)")
    console.print(table if keys else f"app {app_name} has no key: 'wavstream keys add {app_name} NAME' makes one")


async def revoke_key(app_name: str, name: str, settings: Settings, console: Console) -> None:
    """Take a key away from the app; raise OperatorError if there is none of that name."""
    folder = found_folder(settings)
    async with folder.open_catalog(to_revoke=True) as catalog:
        app = await find_app(catalog, app_name)
        if not await folder.with_room(lambda: catalog.app_keys.revoke(app.id, name)):
            raise OperatorError(
                f"app {app_name} has no key {name}: 'wavstream keys list {app_name}' shows those there are"
            )
    console.print(
        f"key {name} of app {app_name} is revoked: within a second it opens nothing, and neither do the stream tokens "
        "that it asked for; streams and recordings that run go on",
        soft_wrap=True,
    )


async def find_app(catalog: Catalog, name: str) -> App:
    """Return the app of that name; raise OperatorError if there is none."""
    app = await catalog.apps.find(name)
    if app is None:
        raise unknown_app(name)
    return app


def unknown_app(app_id: str) -> OperatorError:
    """Return the error of a command that names an app which does not exist."""
    return OperatorError(f"there is no app {app_id}: 'wavstream apps list' shows those there are")


async def _digests(folder: DataFolder, catalog: Catalog, settings: Settings) -> KeyDigests:
    """Return what makes the digests of keys; raise OperatorError."""
    return KeyDigests(await folder.load_master_key(settings.master_key, catalog.app_keys))


def _accounts(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the ids of each vendor; raise OperatorError with what is accepted."""
    found: dict[str, tuple[str, ...]] = {}
    for each in given:
        vendor, _, account = each.partition("=")
        if vendor not in VOCABULARIES or not is_customer_id(account):
            raise OperatorError(f"{each!r} is no account: write vendor=id, with one of {', '.join(VOCABULARIES)}")
        found[vendor] = (*found.get(vendor, ()), account)
    return found


def _print_key(app_id: str, key: str, console: Console) -> None:
    console.print(f"key of app {app_id}, shown this once:")
    console.print(key, highlight=False, soft_wrap=True)


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
