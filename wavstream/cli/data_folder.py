"""The data folder that a command works on: found as the server finds it, and said, since it depends on where one is.

What only looks, or changes what is there, makes none: a folder that appears where no server runs, or that root owns,
is worse than an error.
"""

from __future__ import annotations

from rich.console import Console

from wavstream.service.data_folder import DataFolder
from wavstream.settings import Settings


def found_folder(settings: Settings, *, for_catalog: bool = True) -> DataFolder:
    """Return the data folder of these settings, and say which it is; raise OperatorError if there is none.

    ``for_catalog``: the command needs the catalog in it.
    """
    folder = DataFolder.of(settings)
    folder.look(for_catalog=for_catalog)
    _say(f"data folder {folder.root.resolve()}")
    return folder


def made_folder(settings: Settings) -> DataFolder:
    """Return the data folder of these settings, made if there is none, and say so; raise OperatorError."""
    folder = DataFolder.of(settings)
    is_new = not folder.root.exists() if folder.database != folder.catalog else not folder.catalog.exists()
    folder.make()
    _say(f"{'made the data folder' if is_new else 'data folder'} {folder.root.resolve()}")
    return folder


def _say(line: str) -> None:
    Console(stderr=True).print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
