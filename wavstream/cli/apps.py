"""``wavstream apps``: add, list and remove apps, and give them keys. Works beside a running server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from wavstream.access.keys import hash_key, lookup, make_key
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.registry import VOCABULARIES
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
    folder = DataFolder(settings.data_dir, group_reads=settings.recordings_group_read)
    key, secrets = _make_key(folder, settings)
    async with folder.open_catalog() as catalog:
        app = App(
            app_id,
            created_at=datetime.now(UTC),
            retention_hours=retention_hours,
            vendor_accounts=_accounts(accounts),
        )
        if not await catalog.apps.add(app, **secrets):
            raise OperatorError(
                f"there is an app {app_id} already: 'wavstream apps rotate-key {app_id}' gives it a new key"
            )
    _print_key(app_id, key, console)


async def list_apps(settings: Settings, console: Console) -> None:
    """Print every app."""
    async with DataFolder(settings.data_dir, group_reads=settings.recordings_group_read).open_catalog() as catalog:
        apps = await catalog.apps.list()
    table = Table("app", "since", "retention")
    for app in apps:
        hours = "server's" if app.retention_hours is None else f"{app.retention_hours} h"
        table.add_row(app.id, app.created_at.strftime("%Y-%m-%d %H:%M UTC"), hours)
    console.print(table if apps else "there is no app: callers on this machine need no key")


async def rotate_key(app_id: str, settings: Settings, console: Console) -> None:
    """Give the app a new key and print it; raise OperatorError if there is no such app."""
    folder = DataFolder(settings.data_dir, group_reads=settings.recordings_group_read)
    key, secrets = _make_key(folder, settings)
    async with folder.open_catalog() as catalog:
        if not await catalog.apps.replace_key(app_id, **secrets):
            raise unknown_app(app_id)
    _print_key(app_id, key, console)


async def remove_app(app_id: str, settings: Settings, console: Console) -> None:
    """Remove the app; raise OperatorError if there is no such app."""
    async with DataFolder(settings.data_dir, group_reads=settings.recordings_group_read).open_catalog() as catalog:
        if not await catalog.apps.remove(app_id):
            raise unknown_app(app_id)
    console.print(f"app {app_id} is removed; its recordings stay until their retention ends")


async def show_keys(app_id: str, settings: Settings, console: Console) -> None:
    """Print what receivers of the app's webhooks check signatures with; raise OperatorError if there is no such app."""
    folder = DataFolder(settings.data_dir, group_reads=settings.recordings_group_read)
    folder.make()
    async with folder.open_catalog() as catalog:
        if app_id != DEFAULT_APP and await catalog.apps.get(app_id) is None:
            raise unknown_app(app_id)
    keys = SigningKeys(folder.load_master_key(settings.master_key))
    for api, words in VOCABULARIES.items():
        if words.key_text is not None:
            console.print(f"{api}  {words.key_text(keys.of(app_id, api))}", highlight=False, soft_wrap=True)


def unknown_app(app_id: str) -> OperatorError:
    """Return the error of a command that names an app which does not exist."""
    return OperatorError(f"there is no app {app_id}: 'wavstream apps list' shows those there are")


def _make_key(folder: DataFolder, settings: Settings) -> tuple[str, dict[str, str]]:
    """Return a new key, and what the catalog keeps of it."""
    folder.make()
    master = folder.load_master_key(settings.master_key)
    key = make_key()
    return key, {"key_hash": hash_key(key), "key_lookup": lookup(key, master)}


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
