"""``wavstream get``: the file of a recording, written to where it was asked for.

1. A regular file appears whole or not at all: beside its place first, then renamed. One that is there is replaced only
   where that is asked for. A symlink is followed: what it names is written, and the link stays.
2. What is there and is no regular file (a FIFO, a device, ``/dev/stdout``) is opened and written to, and stays what it
   is. A disk is refused: nobody means that.
3. ``-`` is standard output, and only that: ``./-`` is a file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from wavstream.errors import OperatorError, WavstreamError
from wavstream.model.recording import Status
from wavstream.simulator.control import Control

_STDOUT = "-"
_FORMATS = ("wav", "mp3")
_MOST_LINKS = 40
"""As Linux has it: whoever follows more goes round."""
_FAILS_AS_ASKED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE})
"""Errors of a place that is right, and did not take what was written."""


class NotWritten(WavstreamError):
    """The place took the beginning and not all: the text says why."""


class NoFile(WavstreamError):
    """The recording has no file, or none yet: the text says what it is."""


def get_recording(
    control: Control,
    recording_id: str,
    target: str | None,
    *,
    ext: str | None,
    replace: bool,
    console: Console,
    as_json: bool = False,
) -> None:
    """Write the recording's file (rules 1 to 3); raise what the server answers, OperatorError, NoFile or NotWritten.

    ``target``: a file, a folder, or ``-``; None: the name that the recording has, in this folder.
    """
    if target == "":
        raise OperatorError("'' names no file: name one, or a folder, or -")
    if ext not in (None, *_FORMATS):
        raise OperatorError(f"--format {ext}: use {' or '.join(_FORMATS)}")
    if target is not None and target.endswith("/") and not os.path.isdir(target):
        raise OperatorError(f"there is no folder {target}: make it, or name another")
    recording = control.recording(_without_suffix(recording_id))
    if recording["status"] in (Status.DELETED, Status.EXPIRED, Status.ABSENT, Status.FAILED):
        raise NoFile(f"recording {recording['id']} has no file: it is {_state(recording)}")
    ext = ext or _suffix_of(target) or _suffix_of(recording_id) or recording["format"]
    if target is None or (target != _STDOUT and os.path.isdir(target)):
        name = Path(recording["file_name"]).with_suffix(f".{ext}").name
        target = str(Path(target or ".") / name)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    err = Console(stderr=True)
    progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    with _written(target, replace=replace) as file, progress:
        bar = progress.add_task(Path(target).name, total=None)
        control.download(
            recording["id"], ext, file, lambda done, size: progress.update(bar, completed=done, total=size)
        )
    if target != _STDOUT and os.path.isfile(target) and not _is_descriptor(_followed(target)):
        size = Path(target).stat().st_size
        if as_json:
            told = {"recording_id": recording["id"], "file": target, "format": ext, "size_bytes": size}
            console.print(json.dumps(told), markup=False, highlight=False, soft_wrap=True)
            return
        console.print(f"{target}: {size:,} bytes", markup=False, highlight=False, soft_wrap=True)


def _state(recording: dict[str, Any]) -> str:
    if recording["status"] == Status.DELETED:
        return "erased"
    error = recording.get("error")
    return f"{recording['status']}" + (f" ({error})" if error else "")


def _suffix_of(name: str | None) -> str | None:
    """Return the format that a name ends in; None: in none that there is."""
    ext = Path(name or "").suffix.lower().removeprefix(".")
    return ext if ext in _FORMATS else None


def _without_suffix(recording_id: str) -> str:
    """Return the id of a recording that may be given as its file is called."""
    return Path(recording_id).stem if _suffix_of(recording_id) else recording_id


@contextlib.contextmanager
def _written(target: str, *, replace: bool) -> Iterator[BinaryIO]:
    """Yield what takes the bytes; raise OperatorError, or NotWritten, for what the place does not take."""
    try:
        if target == _STDOUT:
            if sys.stdout is None:
                raise OperatorError("standard output is closed: name a file")
            with _opened(os.dup(sys.stdout.fileno())) as file:
                yield file
            return
        path = _followed(target)
        if _is_descriptor(path):
            with _opened(os.dup(int(path.name))) as file:
                yield file
            return
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            mode = None
        if mode is None or stat.S_ISREG(mode):
            if mode is not None and not replace:
                raise OperatorError(f"{target} is there: name another file, or add --force")
            with _whole(path) as file:
                yield file
        elif stat.S_ISBLK(mode):
            raise OperatorError(f"{target} is a disk: name a file")
        else:
            with _opened(os.open(path, os.O_WRONLY | os.O_CLOEXEC)) as file:  # rule 2
                yield file
    except OSError as error:
        place = "standard output" if target == _STDOUT else target
        if error.errno in _FAILS_AS_ASKED:
            raise NotWritten(f"{place} does not take it ({error.strerror}): nothing else is wrong") from error
        raise OperatorError(_unwritable(place, error)) from error


def _unwritable(place: str, error: OSError) -> str:
    folder = Path(place).parent
    match error.errno:
        case errno.ENOENT:
            return f"{place} cannot be written: there is no folder {folder}; make it, or name another"
        case errno.ENOTDIR:
            return f"{place} cannot be written: {folder} is no folder; name another"
        case errno.EROFS:
            return f"{place} cannot be written: its filesystem is mounted read-only; name a file on another"
    return f"{place} cannot be written ({error.strerror}): name another file"


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Yield what becomes the file once all is written (rule 1)."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        # Where its folder is none, there is none of it either.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            part.unlink()


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[BinaryIO]:
    """Yield a file over this descriptor, and close it; what it does not take is an OSError once."""
    file = open(descriptor, "wb")  # noqa: SIM115
    try:
        yield file
        file.flush()
    finally:
        with contextlib.suppress(OSError):  # it is what was raised before, again
            file.close()


def _followed(target: str) -> Path:
    """Return what the name stands for, symlinks followed; of a descriptor of this process its place below /proc."""
    path = Path(target)
    for _ in range(_MOST_LINKS):
        path = Path(os.path.realpath(path.parent)) / path.name
        if _is_descriptor(path) or not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), target)


def _is_descriptor(path: Path) -> bool:
    """Return whether this is an open file of this process, which has a place of its own to write at."""
    return path.name.isdigit() and str(path.parent) == f"/proc/{os.getpid()}/fd"
