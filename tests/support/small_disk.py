"""A filesystem of a few megabytes that a test can fill: in memory, in namespaces of its own, without any privileges."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CHUNK = bytes(1 << 16)


class SmallDisk:
    """One that is mounted, for those who are in its namespaces."""

    def __init__(self, keeper: subprocess.Popen[bytes], folder: Path) -> None:
        self.folder = folder
        """Where it is, for who runs in it."""
        self.seen = Path(f"/proc/{keeper.pid}/root{folder}")
        """Where it is, for this process."""
        self.enter = ("nsenter", f"--target={keeper.pid}", "--user", "--mount", "--preserve-credentials")
        """What a command begins with that is to run in it."""

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.seen).free

    def fill(self) -> None:
        """Leave no byte."""
        with (self.seen / "filler").open("ab", buffering=0) as file:
            for size in (len(_CHUNK), 4096, 1):
                try:
                    while True:
                        file.write(_CHUNK[:size])
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Take back what filled it."""
        (self.seen / "filler").unlink()


@functools.cache
def _is_possible() -> bool:
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    asked = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


needs_a_small_disk = pytest.mark.skipif(
    not _is_possible(), reason="this machine lets nobody mount a filesystem in namespaces of his own"
)


@contextmanager
def small_disk(folder: Path, *, size_bytes: int) -> Iterator[SmallDisk]:
    """Mount one over ``folder`` for as long as this lasts."""
    script = f'mount -t tmpfs -o size={size_bytes} none "$1" && echo ready && read line'
    keeper = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", os.fspath(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    try:
        assert keeper.stdout.readline() == b"ready\n"
        yield SmallDisk(keeper, folder)
    finally:
        keeper.communicate(b"\n")
