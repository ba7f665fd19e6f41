"""Finished files in a folder of this machine, published by rename.

1. A file appears under its key whole or not at all, its sidecar and waveform before it. File and sidecar are on the
   disk when ``publish`` returns. A sync that fails is not repeated: Linux says once that pages are lost, and takes them
   for written from then on. So it raises ``NotOnDisk``, and whoever has made the file has to make it anew, under
   another inode; that its name is on the disk needs a rename anew, which the new file brings.
2. A file is moved, never copied: a copy of a 4-hour call takes longer than a stop may take. So the spool must be on
   the same filesystem.
3. Every function blocks: call it from a worker thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wavstream.errors import DependencyError, InternalError, OperatorError
from wavstream.model.options import FileFormat
from wavstream.removals import Removals
from wavstream.storage.modes import FILE, PRIVATE, Modes, mend
from wavstream.storage.object_keys import (
    BESIDE,
    base_key,
    copy_key,
    is_object_key,
    sidecar_key,
    transcript_key,
    waveform_key,
)


class NotOnDisk(OSError):
    """A sync has failed: what it covered may be lost, and no later sync will say so."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Size and age of a finished file, as the filesystem has them."""

    size_bytes: int
    modified_at: datetime
    """Aware, UTC."""


class LocalStorage:
    """The folder of finished files. Safe to use from several threads."""

    def __init__(self, root: Path, *, removals: Removals | None = None, modes: Modes = PRIVATE) -> None:
        self._root = root
        self._modes = modes
        self._removals = removals or Removals()
        # Held while a folder is made and filled, or found empty and removed, so that neither undoes the other.
        self._folders = threading.Lock()
        self._unsynced: set[Path] = set()
        """Folders in which something was made, or moved to."""

    def prepare(self, spool: Path) -> None:
        """Make the folder and check that files can be moved into it from the spool; raise OperatorError if not."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            spool.mkdir(parents=True, exist_ok=True)
            same = os.stat(self._root).st_dev == os.stat(spool).st_dev
        except OSError as error:
            raise OperatorError(f"the folder {error.filename} cannot be used: {error.strerror}") from error
        for folder in (self._root, spool):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise OperatorError(f"the folder {folder} cannot be written: give this user the right to")
        if not same:  # rule 2
            raise OperatorError(
                f"{spool} and {self._root} must be on one filesystem: finished files are moved, not copied"
            )
        if self._root.resolve() == spool.resolve():
            raise OperatorError(f"{spool} cannot be both spool and storage: use two folders")

    def publish(self, spool: Path, object_key: str, *, sidecar: bytes | None, waveform: Path | None = None) -> None:
        """Move the finished file ``spool`` to its key; on return it and its sidecar are on the disk.

        ``waveform``: the finished file of its waveform, to be moved beside it; that can be made again, and is not
        synced.

        Whoever wrote the file has synced it, by the descriptor that wrote it: that one is told of every error.

        Raise OSError if the disk refuses; it can be tried again until it succeeds. Raise NotOnDisk if it cannot: the
        file has to be made anew, and takes the place of this one.
        """
        target = self.path(object_key)
        moved_before = not spool.exists() and target.exists()
        spooled_sidecar = None if sidecar is None else _write_synced(spool.with_name(sidecar_key(spool.name)), sidecar)
        for made in (spool, spooled_sidecar, waveform):
            if made is not None:
                mend(made, self._modes.file)
        with self._folders:
            made_in = _make_folders(target.parent, self._modes.folder)
            if spooled_sidecar is not None:  # rule 1: the sidecar first
                os.rename(spooled_sidecar, self.path(sidecar_key(object_key)))
            if waveform is not None:
                with suppress(FileNotFoundError):  # moved by an earlier try
                    os.rename(waveform, self.path(waveform_key(object_key)))
            if not moved_before:
                os.rename(spool, target)
            # A folder stays here until it was synced: a later try finds it made, and the file moved.
            self._unsynced.update((target.parent, *made_in))
            owed = self._unsynced.intersection((target.parent, *target.parent.parents))
        for folder in owed:
            _sync_folder(folder)
        with self._folders:
            self._unsynced -= owed

    def publish_copy(self, spool: Path, object_key: str, ext: str) -> None:
        """Move a copy of the file in another format to its place beside it; if the file is gone, delete the copy.

        Raise OSError if the disk refuses. A copy is whole or not there; its folder is not synced, since a copy can be
        made again.
        """
        _sync_file(spool)
        self._put_beside(spool, copy_key(object_key, ext), object_key)

    def publish_waveform(self, spool: Path, object_key: str) -> None:
        """Move the waveform of a file beside it, as ``publish_copy`` does; raise OSError if the disk refuses."""
        self._put_beside(spool, waveform_key(object_key), object_key)

    def publish_transcript(self, spool: Path, object_key: str) -> None:
        """Move the transcript of a file beside it, as ``publish_copy`` does; raise OSError if the disk refuses."""
        self._put_beside(spool, transcript_key(object_key), object_key)

    def delete_transcript(self, object_key: str) -> None:
        """Delete the transcript beside a file, if there is one; raise OSError if the disk refuses."""
        if _unlink(path := self.path(transcript_key(object_key))):
            _sync_nearest_folder(path.parent)

    def _put_beside(self, spool: Path, key: str, object_key: str) -> None:
        copy = self.path(key)
        mend(spool, self._modes.file)
        with suppress(FileNotFoundError):
            os.rename(spool, copy)
        # Checked after the move: whoever deletes the file looks for its copies after deleting it, so one of the two
        # sees the other.
        if not self.path(object_key).exists():
            self._removals.unlink(copy)
            self._prune(copy.parent)

    def path(self, object_key: str) -> Path:
        """Return the path of the file with this key, whether or not it exists."""
        if not is_object_key(object_key):
            raise InternalError(f"not an object key: {object_key!r}")
        return self._root / object_key

    def stat(self, object_key: str) -> StoredFile | None:
        """Return size and age of a file; None if there is none."""
        try:
            found = os.stat(self.path(object_key))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DependencyError(f"storage: {object_key} could not be read: {error.strerror}") from error
        return StoredFile(found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def delete(self, object_key: str) -> bool:
        """Delete the file, all that lies beside it and folders left empty; return whether there was a file."""
        target = self.path(object_key)
        copies = (copy_key(object_key, each) for each in FileFormat)
        beside = [sidecar_key(object_key), waveform_key(object_key), transcript_key(object_key), *copies]
        deleted: dict[str, bool] = {}
        refused: OSError | None = None
        for key in (object_key, *beside):  # one that cannot be deleted keeps none of the others
            try:
                deleted[key] = _unlink(self.path(key))
            except OSError as error:
                refused = refused or error
        try:
            self._prune(target.parent)
            if any(deleted.values()):
                _sync_nearest_folder(target.parent)
        except OSError as error:
            refused = refused or error
        if refused is not None:
            # Without its key, which may tell of the call: whoever erases says of which recording.
            raise DependencyError(f"storage: a file could not be deleted: {refused.strerror}") from refused
        return deleted[object_key]

    def let_go(self, object_key: str) -> None:
        """Remove a file that lies in a store now, and all that lies beside it; what the disk keeps is tried again."""
        copies = (copy_key(object_key, each) for each in FileFormat)
        beside = (sidecar_key(object_key), waveform_key(object_key), transcript_key(object_key))
        for key in (object_key, *beside, *copies):
            self._removals.unlink(self.path(key))
        self._prune(self.path(object_key).parent)

    def walk_everything(self) -> Iterator[str]:
        """Yield the keys of all files of which there is something, be it a sidecar alone; some repeatedly."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                key = base_key((Path(folder) / name).relative_to(self._root).as_posix())
                if is_object_key(key):
                    yield key

    def walk(self) -> Iterator[str]:
        """Yield the keys of all files, without what lies beside them, to compare them with the catalog."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                key = (Path(folder) / name).relative_to(self._root).as_posix()
                if not name.endswith(BESIDE) and is_object_key(key):
                    yield key

    def _prune(self, folder: Path) -> None:
        with self._folders, suppress(OSError):  # the first folder that is not empty ends the loop
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent


def _make_folders(folder: Path, mode: int) -> list[Path]:
    """Make a folder with its parents; return the folders in which one was made."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        mend(each, mode)
    return [each.parent for each in missing]


def _write_synced(path: Path, content: bytes) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE)
    try:
        done = 0
        while done < len(content):
            done += os.write(descriptor, content[done:])
        sync(descriptor, path)
    except NotOnDisk:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return path


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _sync_nearest_folder(folder: Path) -> None:
    """Sync the folder or, if it was removed (perhaps by another thread), the nearest one that it was in."""
    try:
        _sync_folder(folder)
    except FileNotFoundError:
        _sync_nearest_folder(folder.parent)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def sync(descriptor: int, path: Path) -> None:
    """Sync an open file; raise NotOnDisk."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise NotOnDisk(error.errno, error.strerror, str(path)) from error


_sync_folder = _sync_file
