"""The data folder: what lies where in it, and that one process uses it at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from wavstream.errors import OperatorError


class DataFolder:
    """Paths below the data folder. ``claim`` makes what is missing and takes the lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = root / "journal"
        self.spool = root / "spool"
        self.recordings = root / "recordings"
        self.catalog = root / "catalog.db"
        self.link_keys = root / "link-keys.json"
        self.master_key = root / "master.key"
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the folders, take the lock, empty the spool (journals make its files again); raises OperatorError."""
        self.make()
        try:
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise OperatorError(
                    f"another wavstream uses the data folder {self.root}: stop it, or set WAVSTREAM_DATA_DIR"
                ) from error
            raise _unusable(self.root, error) from error
        try:
            for leftover in self.spool.iterdir():
                leftover.unlink()
        except OSError as error:
            self.release()
            raise OperatorError(
                f"{error.filename} cannot be removed ({error.strerror}): the spool is for unfinished files alone"
            ) from error

    def make(self) -> None:
        """Make the folders that are missing; raises OperatorError if they cannot be made or written."""
        try:
            for folder in (self.root, self.journal, self.spool, self.recordings):
                folder.mkdir(mode=0o750, parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        except OSError as error:
            raise _unusable(self.root, error) from error

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _unusable(root: Path, error: OSError) -> OperatorError:
    return OperatorError(
        f"the data folder {root} cannot be used ({error.strerror}: {error.filename}): "
        "make it writable for this user, or set WAVSTREAM_DATA_DIR to a folder that is"
    )
