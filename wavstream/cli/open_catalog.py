"""The catalog of a data folder, for a command that may run beside a server, and the app that is not in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wavstream.catalog.catalog import Catalog
from wavstream.errors import OperatorError
from wavstream.service.data_folder import DataFolder
from wavstream.settings import Settings


@asynccontextmanager
async def open_catalog(settings: Settings) -> AsyncIterator[Catalog]:
    """The catalog, open for as long as the context lasts; raises OperatorError if the folder cannot be used."""
    folder = DataFolder(settings.data_dir)
    folder.make()
    catalog = await Catalog.open(folder.catalog)
    try:
        yield catalog
    finally:
        await catalog.database.close()


def unknown_app(app_id: str) -> OperatorError:
    """There is no app of that id."""
    return OperatorError(f"there is no app {app_id}: 'wavstream apps list' shows those there are")
