"""``wavstream restore``: a backup put back into an empty data folder, and checked."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from wavstream.errors import WavstreamError
from wavstream.service.data_folder import DataFolder
from wavstream.service.restore import Restored, restore_backup
from wavstream.settings import Settings

_NAMED = 5


class NotWhole(WavstreamError):
    """A part of the backup could not be restored: the text says which."""


def run_restore(backup: Path, settings: Settings, console: Console, *, is_partial: bool) -> None:
    """Put the backup back and say what is there now; raise OperatorError, and then nothing of it is.

    ``is_partial``: what is whole of a damaged backup is put back. Raise NotWhole then, if something was not.
    """
    folder = DataFolder.of(settings)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("files")

        def show(files: int) -> None:
            progress.update(bar, description=f"{files} files")

        done = restore_backup(
            backup,
            folder,
            has_store=settings.storage.url is not None,
            is_partial=is_partial,
            on_progress=show,
        )
    _report(done, backup, folder, settings, console)


def _report(done: Restored, backup: Path, folder: DataFolder, settings: Settings, console: Console) -> None:
    _say(f"data folder {folder.root.resolve()} is that of {backup}", console)
    _say(f"{done.recordings} recordings, {done.size_bytes:,} bytes, each file as its row says", console)
    for count, what in (
        (done.uploaded, "recordings lie in a store, which the settings have to name (storage.url, storage.backup_url)"),
        (done.from_store, "recordings lay in a store and are files of this machine now"),
        (done.without_file, "recordings had no file when the backup was made: the next start says which"),
        (done.journals, "calls that ran have their journal: the next start makes files of them"),
        (done.others, "files have no row that says what they are: the next start makes rows of their .json"),
    ):
        if count:
            _say(f"{count} {what}", console)
    if not folder.master_key.exists() and settings.master_key is None:
        _say("the master key is not in the backup: set WAVSTREAM_MASTER_KEY to what it was before the start", console)
    if done.damaged:
        named = [f"{each} ({why})" for each, why in list(done.damaged.items())[:_NAMED]]
        more = f" and {len(done.damaged) - _NAMED} others" if len(done.damaged) > _NAMED else ""
        raise NotWhole(f"not restored, since they are damaged in the backup: {', '.join(named)}{more}")
    _say("start the server", console)


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
