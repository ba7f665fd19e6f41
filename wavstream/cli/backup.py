"""``wavstream backup``: a copy of the data folder that agrees with itself, made beside the server that uses it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from wavstream.cli.data_folder import found_folder
from wavstream.service.backup import Backup, make_backup
from wavstream.settings import Settings
from wavstream.storage.stores import Stores

_NAMED = 5


def run_backup(target: Path, settings: Settings, console: Console, *, with_objects: bool = False) -> None:
    """Make the backup and say what is in it; raise OperatorError, and then nothing of it is left.

    ``with_objects``: what was uploaded is fetched from its store too.
    """
    folder = found_folder(settings)
    stores = Stores.of(settings.storage)

    def open_object(url: str, key: str) -> BinaryIO:
        return stores[url].open(key)

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("files")

        def show(what: str, done: int) -> None:
            progress.update(bar, description=f"{what}, {done} files")

        made = make_backup(folder, target, open_object=open_object if with_objects else None, on_progress=show)
    console.print(_table(made, target))
    if made.uploaded and not with_objects:
        _say(
            f"{made.uploaded} recordings lie in a store: their objects are the bucket's own to keep, and rows lead to "
            "them after a restore; --with-objects copies them too",
            console,
        )
    has_key = (target / folder.master_key.name).exists()
    if not has_key:
        _say("the master key is not in it: it is a setting, so keep WAVSTREAM_MASTER_KEY elsewhere", console)
    if made.lacking:
        names = ", ".join(made.lacking[:_NAMED]) + (", ..." if len(made.lacking) > _NAMED else "")
        _say(f"{len(made.lacking)} recordings have no file in the data folder, so none in the backup: {names}", console)
    if made.linked:
        _say(
            f"{made.linked} files are links to those of the data folder, and lie on its disk: "
            "copy the backup to another one",
            console,
        )
    _say(
        f"to restore: stop the server; mv {folder.root.resolve()} {folder.root.resolve()}.before; "
        f"wavstream restore {target.resolve()}, as the server's user; start",
        console,
    )


def _table(made: Backup, target: Path) -> Table:
    table = Table("in", "is", title=f"backup {target}")
    table.add_row("recordings/", f"{made.recordings} recordings, {made.size_bytes:,} bytes with their sidecars")
    table.add_row("catalog.db", "rows, apps and keys")
    table.add_row("journal/", f"of {made.journals} calls; {made.unfinished} recordings had not ended")
    for name in ("master.key", "link-keys.json"):
        table.add_row(name, "mode 0600" if (target / name).exists() else "none")
    return table


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
