"""A backup of a data folder beside the server that uses it: finished recordings with their rows, and the keys.

1. Files first, then the catalog. Then the two are made to agree: the file of each row that is ``available`` in the copy
   is fetched, and those of erased ones are removed. A file that is gone by then was erased meanwhile, so the catalog is
   copied once more, until they agree. What a restore finds all the
   same (a file that was published since, and its ``.json``) the next start makes a row of.
2. Files never change once they are published, so where both are on one filesystem a file is linked, not copied.
3. ``catalog.db`` gets its name last: a backup without it is none. Beside it lies ``UNFINISHED`` until then, so that
   what a killed command or a power cut left says so, to people and to the next backup.
4. The journal is not part of it, so neither are recordings that have not ended: after a restore they have failed.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from wavstream.errors import OperatorError
from wavstream.model.ids import ids_in
from wavstream.model.recording import Status
from wavstream.service.data_folder import DataFolder
from wavstream.storage.local import LocalStorage
from wavstream.storage.modes import FILE, FOLDER
from wavstream.storage.object_keys import sidecar_key, waveform_key

_ROUNDS = 5
UNFINISHED = "UNFINISHED"
"""The file that a backup has while it is made."""
_NOT_DONE = "This backup was not finished: remove its folder, and make it again.\n"


@dataclass(slots=True)
class Backup:
    """What was made."""

    recordings: int = 0
    """Finished recordings with their files."""
    size_bytes: int = 0
    """Of the files and sidecars that it has."""
    linked: int = 0
    """Files that are links to those of the data folder; the rest are copies."""
    unfinished: int = 0
    """Recordings that had not ended."""
    lacking: tuple[str, ...] = ()
    """Recordings that are available in the data folder and whose files are not in it."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the copy of the catalog says of the files."""

    available: dict[str, str]
    """Object keys, by the id of their recording."""
    erased: list[str]
    """Object keys."""
    unfinished: int


def make_backup(
    folder: DataFolder, target: Path, *, on_progress: Callable[[str, int], None] = lambda _what, _done: None
) -> Backup:
    """Make a backup in a folder that is empty or not there. Blocks; raise OperatorError, and then nothing is left.

    ``on_progress`` takes what is being done, and of how many files it is done.
    """
    made_folders = _prepare(folder, target)
    try:
        return _fill(folder, target, on_progress)
    except BaseException as error:
        for each in list(target.iterdir()):
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()
        for each in reversed(made_folders):
            each.rmdir()
        if isinstance(error, OSError | sqlite3.Error):
            raise OperatorError(f"the backup {target} cannot be made ({error}): nothing was kept of it") from error
        raise


def _prepare(folder: DataFolder, target: Path) -> list[Path]:
    """Make the folder of the backup, and those that it is to be in; return what was made, the outermost first."""
    root, place = folder.root.resolve(), target.resolve()
    if place == root or root in place.parents:
        raise OperatorError(f"{target} is in the data folder {root}: name a folder outside of it")
    made: list[Path] = []
    try:
        if target.is_symlink() and not target.exists():
            raise OperatorError(f"{target} is a link to {place}, which is not there: make that folder, or name another")
        if (target / UNFINISHED).exists():
            raise OperatorError(
                f"{target} has a backup that was not finished: remove it (rm -r {target}), then make it again"
            )
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OperatorError(f"{target} is there, and not empty: name a new folder for each backup")
        for each in reversed([each for each in (place, *place.parents) if not each.exists()]):
            each.mkdir(mode=FOLDER)
            made.append(each)
            _own(each, folder)
        target.chmod(FOLDER)
        _own(target, folder)
        (target / UNFINISHED).write_text(_NOT_DONE)
    except OSError as error:
        for each in reversed(made):
            with suppress(OSError):
                each.rmdir()
        raise OperatorError(_unusable(target, error)) from error
    return made


def _unusable(target: Path, error: OSError) -> str:
    what = error.filename or target
    match error.errno:
        case errno.EROFS:
            return f"{target} cannot be used: {what} is on a filesystem that is mounted read-only; name another folder"
        case errno.ENOTDIR:
            return f"{target} cannot be used: a part of that path is no folder; name another"
    return f"{target} cannot be used ({error.strerror}): name a folder that this user may write"


def _own(made: Path, folder: DataFolder) -> None:
    """Give what root has made to the owner of the data folder: a restore, by whomever, is the service's."""
    if os.geteuid() == 0:
        owner = os.stat(folder.root)
        os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _fill(folder: DataFolder, target: Path, on_progress: Callable[[str, int], None]) -> Backup:
    source, kept = LocalStorage(folder.recordings), LocalStorage(target / "recordings")
    put = _Files(source, kept, on_progress, own=lambda made: _own(made, folder))
    put.folder(target / "recordings")
    for key in source.walk():
        put.file(key)
    copy = target / f"{folder.catalog.name}.part"
    lacking: list[str] = []
    for _ in range(_ROUNDS):
        on_progress("catalog", put.done)
        copy_catalog(folder.catalog, copy)
        rows = _rows(copy)
        for key in rows.erased:
            put.forget(key)
        before, lacking = lacking, [each for each, key in rows.available.items() if not put.file(key)]
        if not lacking or lacking == before:  # the second time: the data folder itself has no file of these
            break
    for secret in (folder.master_key, folder.link_keys):
        if secret.exists():
            _copy_secret(secret, target / secret.name)
            _own(target / secret.name, folder)
    _own(copy, folder)
    os.sync()
    copy.rename(target / folder.catalog.name)  # rule 3
    (target / UNFINISHED).unlink()
    os.sync()
    return Backup(
        recordings=len(rows.available) - len(lacking),
        size_bytes=put.size_bytes,
        linked=put.linked,
        unfinished=rows.unfinished,
        lacking=tuple(lacking),
    )


class _Files:
    """Puts finished files and their sidecars into the backup."""

    def __init__(
        self,
        source: LocalStorage,
        kept: LocalStorage,
        on_progress: Callable[[str, int], None],
        *,
        own: Callable[[Path], None],
    ) -> None:
        """``own`` gives what is made here its owner. What is linked is a live file too, and keeps owner and mode."""
        self._source, self._kept, self._own = source, kept, own
        self._on_progress = on_progress
        self._sizes: dict[str, int] = {}
        """Bytes of each file with its sidecar, by object key."""
        self._of_id: defaultdict[str, set[str]] = defaultdict(set)
        """Their keys, by what may be ids in them."""
        self.linked = 0

    @property
    def done(self) -> int:
        """How many files there are."""
        return len(self._sizes)

    @property
    def size_bytes(self) -> int:
        """Of all of them, with their sidecars."""
        return sum(self._sizes.values())

    def folder(self, path: Path) -> None:
        """Make a folder."""
        path.mkdir(mode=FOLDER)
        self._own(path)

    def file(self, key: str) -> bool:
        """Put the file there, with its sidecar and its waveform if it has them; return whether it is there."""
        if key in self._sizes:
            return True
        for each in ids_in(key):
            self._of_id[each].add(key)
        # The sidecar second: where both are gone in between, nothing is left that tells of a file which is not there.
        size_bytes = self._put(key)
        if size_bytes is None:
            return False
        self._sizes[key] = size_bytes + sum(self._put(beside) or 0 for beside in (sidecar_key(key), waveform_key(key)))
        self._on_progress("files", self.done)
        return True

    def forget(self, key: str) -> None:
        """Remove what is there of a recording that was erased meanwhile, by the key that its row has now.

        That may not be the file's any more, but has the same id (``Erasures.finish``). Where another recording's key
        has that too, its file is put anew.
        """
        for each in {key}.union(*(self._of_id.pop(each, ()) for each in ids_in(key))):
            self._kept.delete(each)
            self._sizes.pop(each, None)

    def _put(self, key: str) -> int | None:
        source, target = self._source.path(key), self._kept.path(key)
        for missing in reversed([each for each in target.parents if not each.exists()]):
            self.folder(missing)
        try:
            try:
                os.link(source, target)
                self.linked += 1
            except FileNotFoundError:
                return None
            except OSError:  # another filesystem, or one without links
                shutil.copy2(source, target)
                target.chmod(FILE)
                self._own(target)
            return target.stat().st_size
        except FileNotFoundError:
            return None


def copy_catalog(catalog: Path, copy: Path) -> None:
    """Copy the database as it is at one moment, whoever writes to it, into one file without a log."""
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE)
    os.close(descriptor)
    there = f"{catalog.resolve().as_uri()}?mode=rw"  # else one is made where there is none
    with closing(sqlite3.connect(there, uri=True)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)  # in one step: who copies in several begins anew whenever the server writes
        target.execute("PRAGMA journal_mode=DELETE").fetchall()


def _rows(copy: Path) -> _Rows:
    with closing(sqlite3.connect(copy)) as database:
        found = database.execute("SELECT id, object_key, status FROM recordings").fetchall()
    return _Rows(
        available={each: key for each, key, status in found if status == Status.AVAILABLE},
        erased=[key for _, key, status in found if Status(status).is_erased],
        unfinished=sum(Status(status).is_unfinished for _, _, status in found),
    )


def _copy_secret(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(source.read_bytes())
