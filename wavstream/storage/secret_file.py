"""Small files with secrets: made once, whole, readable by the server's user alone.

The server and the command line may both find that a secret is missing; whoever comes second uses what the first made.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from wavstream.errors import DiskFull, OperatorError
from wavstream.storage.modes import as_parent


def read_or_create(path: Path, fresh: bytes) -> bytes:
    """Return the content of the file, made with ``fresh`` in it if there is none; raise OperatorError or DiskFull."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = _write_temporary(path, fresh)
            try:
                # A link, not a rename: it fails where another process was first, and its secret stays.
                os.link(temporary, path)
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        return path.read_bytes()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"the disk is full: the secret file {path} cannot be made on it; delete other files on that disk, or "
                "make it larger, and start again"
            ) from error
        raise OperatorError(
            f"the secret file {path} cannot be used: {error.strerror}; check it and its folder"
        ) from error


def replace_secret(path: Path, content: bytes) -> None:
    """Write over the file, or make it; raise OperatorError or DiskFull, and then what was there is there still."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _write_temporary(path, content)
        try:
            os.replace(temporary, path)
        except OSError:
            temporary.unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"the disk is full: the secret file {path} cannot be written on it; delete other files on that disk, "
                "or make it larger"
            ) from error
        raise OperatorError(
            f"the secret file {path} cannot be written: {error.strerror}; check it and its folder"
        ) from error


def _write_temporary(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            as_parent(temporary)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        temporary.unlink()
        raise
    return temporary
