"""Nothing on the event loop waits for a disk: whatever the product asks of a file system on the loop's thread is found.

1. Python tells an audit hook of most calls (``open``, ``os.remove``, ``shutil.rmtree``). Those it does not tell of
   (``os.stat``, ``os.fstat``, ``os.pwrite``, ``os.fsync``) are wrapped while a guard is armed. ``pathlib``,
   ``os.path`` and ``shutil.disk_usage`` end in one of them.
2. A call with a descriptor counts if that is a file or a folder: sockets and pipes are closed and written on the loop.
   A path below ``/proc`` is memory.
3. Only the thread that armed the guard is looked at: threads may wait for a disk, that is what they are for.
4. Whose call it is, the stack says: the nearest frame of the product or of the tests. The synthetic media server and
   the command line are clients, like the tests. Where there is neither, it is the product's if a library that only the
   product uses is on the stack. An import is nobody's: what is imported late is read once.

What cannot be seen: what C code does with a file that is open (``io.FileIO.read``, its closing, ``soundfile``), and
the certificates and host files that are read below ``ssl`` and ``getaddrinfo``.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

_ROOT = Path(__file__).parents[2]
_PRODUCT = f"{_ROOT / 'wavstream'}{os.sep}"
_CLIENTS = tuple(f"{_PRODUCT}{room}{os.sep}" for room in ("simulator", "cli"))
_TESTS = f"{_ROOT / 'tests'}{os.sep}"
_LIBRARIES = tuple(f"{os.sep}site-packages{os.sep}{name}{os.sep}" for name in ("uvicorn", "starlette", "aiohttp"))
_READ_SOURCE = frozenset({"_extract_endpoint_context", "_render_stack", "updatecache", "checkcache"})
"""Functions of FastAPI, rich and linecache."""

_EVENTS = frozenset(
    {
        *("open", "mmap.__new__", "fcntl.flock", "fcntl.lockf", "glob.glob", "sqlite3.connect"),
        *("tempfile.mkdtemp", "tempfile.mkstemp"),
        *(f"os.{name}" for name in ("chmod", "chown", "link", "listdir", "lockf", "mkdir", "remove", "rename")),
        *(f"os.{name}" for name in ("rmdir", "scandir", "symlink", "truncate", "utime", "walk", "fwalk")),
        *(f"os.{name}" for name in ("getxattr", "listxattr", "removexattr", "setxattr")),
        *(f"shutil.{name}" for name in ("copyfile", "copymode", "copystat", "copytree", "move", "rmtree")),
    }
)
_BY_PATH = ("access", "lstat", "readlink", "stat", "statvfs", "sync")
_BY_DESCRIPTOR = (
    *("close", "copy_file_range", "fdatasync", "fstat", "fstatvfs", "fsync", "lseek", "posix_fadvise"),
    *("posix_fallocate", "pread", "preadv", "pwrite", "pwritev", "read", "readv", "write", "writev"),
)


class DiskOnTheLoop(AssertionError):
    """The product asked a file system for something on the event loop's thread."""


@dataclass(frozen=True, slots=True)
class DiskCall:
    """One call that may have waited for a disk."""

    name: str
    """Such as ``os.fstat``."""
    module: str
    """Of the product, from its package on; or the library's file."""
    stack: tuple[str, ...]
    """From the call outwards."""

    def __str__(self) -> str:
        return "\n    ".join((f"{self.name} in {self.module}", *self.stack))


@dataclass(slots=True, eq=False)
class _Guard:
    thread: int
    calls: list[DiskCall] = field(default_factory=list)
    is_looking: bool = False


_fstat = os.fstat
_armed: list[_Guard] = []
_is_hooked = False


@contextmanager
def no_disk() -> Iterator[None]:
    """Raise DiskOnTheLoop at the end if the product has asked this thread for a file meanwhile."""
    with watched() as calls:
        yield
    found = {str(call): call for call in calls}
    if found:
        raise DiskOnTheLoop("the event loop may have waited for a disk:\n" + "\n".join(found))


@contextmanager
def watched() -> Iterator[list[DiskCall]]:
    """Yield the calls of the product on this thread, to which are added those to come."""
    global _is_hooked
    if not _is_hooked:  # for good: Python has no way to take a hook back
        sys.addaudithook(_audit)
        _is_hooked = True
    guard = _Guard(threading.get_ident())
    _armed.append(guard)
    if len(_armed) == 1:
        _wrap()
    try:
        yield guard.calls
    finally:
        _armed.remove(guard)
        if not _armed:
            _unwrap()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _armed and event in _EVENTS and not str(arguments[0]).startswith("/proc/"):  # rules 1 and 2
        _note(event)


def _note(name: str) -> None:
    thread = threading.get_ident()
    for guard in _armed:
        if guard.thread != thread or guard.is_looking:  # rule 3
            continue
        guard.is_looking = True
        try:
            call = _call_of_product(name, sys._getframe(1))
        finally:
            guard.is_looking = False
        if call is not None:
            guard.calls.append(call)


def _call_of_product(name: str, frame: FrameType | None) -> DiskCall | None:
    stack: list[str] = []
    library: str | None = None
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__:
            stack.append(f"{file.removeprefix(f'{_ROOT}{os.sep}')}:{frame.f_lineno} {frame.f_code.co_qualname}")
            if file.startswith("<frozen importlib") or frame.f_code.co_name in _READ_SOURCE:  # rule 5
                return None
            if file.startswith((_TESTS, *_CLIENTS)):  # rule 4
                return None
            if file.startswith(_PRODUCT):
                return DiskCall(name, file.removeprefix(_PRODUCT), tuple(stack))
            if library is None and any(each in file for each in _LIBRARIES):
                library = file
        frame = frame.f_back
    return None if library is None else DiskCall(name, library, tuple(stack))


_originals: dict[str, Callable[..., Any]] = {}


def _wrap() -> None:
    for name in (*_BY_PATH, *_BY_DESCRIPTOR):
        if (original := getattr(os, name, None)) is not None:
            _originals[name] = original
            setattr(os, name, _wrapped(name, original))


def _unwrap() -> None:
    for name, original in _originals.items():
        setattr(os, name, original)
    _originals.clear()


def _wrapped(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    has_descriptor = name in _BY_DESCRIPTOR

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        if not has_descriptor or _is_on_disk(arguments[0]):
            _note(f"os.{name}")
        return original(*arguments, **named)

    return call


def _is_on_disk(descriptor: int) -> bool:  # rule 2
    try:
        mode = _fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
