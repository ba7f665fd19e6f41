"""A backup of a data folder beside the server that uses it: recordings with their rows, and the keys.

1. Files and journals first, then the catalog. Then they are made to agree: the file of each row that is ``available``
   in the copy is fetched, and those of erased ones are removed. A file that is gone by then was erased or uploaded
   meanwhile, and a journal that is gone is that of a call which has ended, so the catalog is copied once more, until
   they agree, but for a handful of times. What a restore finds all the same (a file that was published since, and its
   ``.json``) the next start makes a row of.
2. Files never change once they are published, so where both are on one filesystem a file is linked, not copied.
3. ``catalog.db`` gets its name last: a backup without it is none. Beside it lies ``UNFINISHED`` until then, so that
   what a killed command or a power cut left says so, to people and to the next backup.
4. Of recordings that have not ended it has the journals (``backup_journals.py``): after a restore they have what was
   said until then.
5. The catalog is a ``catalog.db`` in it also where it is kept in PostgreSQL. What lies in a store is the store's to
   keep, and in the backup only if that is asked for.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from wavstream.catalog.copying import copy_catalog_rows
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.errors import OperatorError
from wavstream.model.ids import ids_in
from wavstream.model.recording import Status, StoredObject
from wavstream.service.backup_journals import BackupJournals, Session
from wavstream.service.data_folder import DataFolder
from wavstream.service.manifest import MANIFEST, make_manifest
from wavstream.storage.local import LocalStorage
from wavstream.storage.modes import FILE, FOLDER
from wavstream.storage.object_keys import sidecar_key, transcript_key, waveform_key

_ROUNDS = 5
_COPY_BYTES = 1 << 20
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
    journals: int = 0
    """Of these, and of those that have failed."""
    uploaded: int = 0
    """Recordings whose files lie in a store."""
    lacking: tuple[str, ...] = ()
    """Recordings that are available in the data folder and whose files are not in it."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the copy of the catalog says of the files."""

    available: dict[str, str]
    """Object keys, by the id of their recording, of files that are here."""
    uploaded: dict[str, tuple[str, str]]
    """Store and object key, by the id of their recording."""
    erased: list[str]
    """Object keys."""
    unfinished: int
    journaled: set[Session]
    """Sessions of recordings that have not ended, or have failed."""


OpenObject = Callable[[str, str], BinaryIO]
"""Opens what lies in a store, by the URL of that and the key; raises FileNotFoundError or StoreError."""


def make_backup(
    folder: DataFolder,
    target: Path,
    *,
    open_object: OpenObject | None = None,
    on_progress: Callable[[str, int], None] = lambda _what, _done: None,
) -> Backup:
    """Make a backup in a folder that is empty or not there. Blocks; raise OperatorError, and then nothing is left.

    ``open_object``: files that were uploaded are to be in it. ``on_progress`` takes what is being done, and of how many
    files it is done. Raise StoreError too, and DependencyError.
    """
    made_folders = _prepare(folder, target)
    try:
        return _fill(folder, target, on_progress, open_object)
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


def _fill(
    folder: DataFolder,
    target: Path,
    on_progress: Callable[[str, int], None],
    open_object: OpenObject | None,
) -> Backup:
    def own(made: Path) -> None:
        _own(made, folder)

    source, kept = LocalStorage(folder.recordings), LocalStorage(target / "recordings")
    put = _Files(source, kept, on_progress, own=own, open_object=open_object)
    put.folder(target / "recordings")
    journals = BackupJournals(folder.journal, target / "journal", own=own)
    journals.copy()
    for key in source.walk():
        put.file(key)
    copy = target / f"{folder.catalog.name}.part"
    lacking: list[str] = []
    for _ in range(_ROUNDS):
        on_progress("catalog", put.done)
        if isinstance(folder.database, PostgresPlace):
            write_catalog(folder.database, copy)  # rule 5
        else:
            copy_catalog(folder.catalog, copy)
        rows = _rows(copy)
        kept_journals = journals.keep(rows.journaled)
        for key in rows.erased:
            put.forget(key)
        before, lacking = lacking, [each for each, key in rows.available.items() if not put.file(key)]
        if open_object is not None:
            lacking += [each for each, (url, key) in rows.uploaded.items() if not put.file(key, url)]
        # The second time the data folder itself has no file of these.
        if (not lacking or lacking == before) and not journals.is_older:
            break
    for secret in (folder.master_key, folder.link_keys):
        if secret.exists():
            _copy_secret(secret, target / secret.name)
            own(target / secret.name)
    own(copy)
    os.sync()
    copy.rename(target / folder.catalog.name)  # rule 3
    _tell(folder, target, lacking, has_objects=open_object is not None)
    (target / UNFINISHED).unlink()
    os.sync()
    has_no_file = set(lacking)
    return Backup(
        recordings=len(rows.available.keys() - has_no_file)
        + (len(rows.uploaded.keys() - has_no_file) if open_object is not None else 0),
        size_bytes=put.size_bytes,
        linked=put.linked,
        unfinished=rows.unfinished,
        journals=kept_journals,
        uploaded=len(rows.uploaded),
        lacking=tuple(lacking),
    )


def _tell(folder: DataFolder, target: Path, lacking: list[str], *, has_objects: bool) -> None:
    """Write into the backup what it is made of."""
    names = (folder.catalog.name, folder.master_key.name, folder.link_keys.name)
    told = make_manifest(
        target,
        (name for name in names if (target / name).exists()),
        lacking=tuple(lacking),
        has_objects=has_objects,
        made_at=datetime.now(UTC),
    )
    _write_secret(target / MANIFEST, told)
    _own(target / MANIFEST, folder)


class _Files:
    """Puts finished files and their sidecars into the backup."""

    def __init__(
        self,
        source: LocalStorage,
        kept: LocalStorage,
        on_progress: Callable[[str, int], None],
        *,
        own: Callable[[Path], None],
        open_object: OpenObject | None,
    ) -> None:
        """``own`` gives what is made here its owner. What is linked is a live file too, and keeps owner and mode."""
        self._source, self._kept, self._own = source, kept, own
        self._open_object = open_object
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

    def file(self, key: str, url: str | None = None) -> bool:
        """Put the file there, with its sidecar and its waveform if it has them; return whether it is there.

        ``url``: of the store that has it, if it is not here.
        """
        if key in self._sizes:
            return True
        for each in ids_in(key):
            self._of_id[each].add(key)
        # The sidecar second: where both are gone in between, nothing is left that tells of a file which is not there.
        size_bytes = self._put(key)
        if size_bytes is not None:
            url = None
        elif url is not None:
            size_bytes = self._fetch(key, url)
        if size_bytes is None:
            return False
        besides = (sidecar_key(key), waveform_key(key), transcript_key(key))
        self._sizes[key] = size_bytes + sum(
            (self._put(beside) if url is None else self._fetch(beside, url)) or 0 for beside in besides
        )
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

    def _place(self, key: str) -> Path:
        target = self._kept.path(key)
        for missing in reversed([each for each in target.parents if not each.exists()]):
            self.folder(missing)
        return target

    def _fetch(self, key: str, url: str) -> int | None:
        assert self._open_object is not None
        try:
            with self._open_object(url, key) as source, self._place(key).open("wb") as file:
                shutil.copyfileobj(source, file, _COPY_BYTES)
                size_bytes = file.tell()
        except FileNotFoundError:
            return None
        self._kept.path(key).chmod(FILE)
        self._own(self._kept.path(key))
        return size_bytes

    def _put(self, key: str) -> int | None:
        source, target = self._source.path(key), self._place(key)
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


def write_catalog(database: PostgresPlace, copy: Path) -> None:
    """Write the catalog in a server's database, as it is at one moment, into one SQLite file without a log."""
    copy.unlink(missing_ok=True)
    copy_catalog_rows(database, copy)
    with closing(sqlite3.connect(copy)) as target:
        target.execute("PRAGMA journal_mode=DELETE").fetchall()


def _rows(copy: Path) -> _Rows:
    with closing(sqlite3.connect(copy)) as database:
        columns = {name for _, name, *_ in database.execute("PRAGMA table_info(recordings)")}
        stored = "stored_json" if "stored_json" in columns else "NULL"  # of an earlier version
        found = database.execute(
            f"SELECT id, object_key, status, {stored}, app_id, session_id FROM recordings"
        ).fetchall()
    rows = _Rows({}, {}, [], 0, set())
    for each, key, status, stored_json, app_id, session_id in found:
        if status == Status.AVAILABLE and stored_json is not None:
            rows.uploaded[each] = msgspec.json.decode(stored_json, type=StoredObject).url, key
        elif status == Status.AVAILABLE:
            rows.available[each] = key
        elif Status(status).is_erased:
            rows.erased.append(key)
        elif Status(status).is_unfinished or status == Status.FAILED:
            rows.journaled.add((app_id, session_id))
    unfinished = sum(Status(status).is_unfinished for _, _, status, *_ in found)
    return replace(rows, unfinished=unfinished)


def _copy_secret(source: Path, target: Path) -> None:
    _write_secret(target, source.read_bytes())


def _write_secret(target: Path, content: bytes) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
