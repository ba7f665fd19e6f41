"""Who may read the files of the data folder: the server's user alone, and of finished files its group if that is set.

What the server makes has these modes from its first moment. What had others before (an earlier version, a restore, a
copy by hand) is mended; where it belongs to another user, only a person can.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wavstream.errors import OperatorError

FOLDER = 0o700
FILE = 0o600


@dataclass(frozen=True, slots=True)
class Modes:
    """Of finished files and their folders."""

    folder: int = FOLDER
    file: int = FILE

    @classmethod
    def of(cls, *, group_reads: bool) -> Modes:
        """Return the modes of finished files that only the server's user, or its group too, may read."""
        return cls(0o750, 0o640) if group_reads else PRIVATE


PRIVATE = Modes()


def as_parent(path: Path) -> None:
    """Give what this process has just made the owner of the folder that it is in, where root runs it.

    A command that root types must not make what the server, which is another user, cannot read.
    """
    if os.geteuid() == 0:
        owner = os.stat(path.parent)
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def mend(path: Path, mode: int) -> bool:
    """Give a file or folder its mode, if it is there and has another; return whether it had.

    Raise OperatorError if others may do more with it than they should, and this user cannot change that.
    """
    try:
        found = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(found) or stat.S_IMODE(found) & 0o777 == mode:
        return False
    try:
        os.chmod(path, mode | found & stat.S_ISGID)
    except FileNotFoundError:
        return False
    except OSError as error:
        if not found & 0o777 & ~mode:
            return False
        raise OperatorError(
            f"{path} is open to other users (mode {stat.S_IMODE(found):o}) and cannot be closed ({error.strerror}): "
            f"give it to the user of this server with chown, or set its mode to {mode:o}"
        ) from error
    return True


def mend_below(root: Path, modes: Modes) -> Iterator[int]:
    """Mend all folders and files below a folder, a folder for each step; yield how many were wrong in it.

    Raises OperatorError as ``mend`` does.
    """
    for folder, folders, files in os.walk(root):
        wrong = sum(mend(Path(folder) / name, modes.folder) for name in folders)
        yield wrong + sum(mend(Path(folder) / name, modes.file) for name in files)
