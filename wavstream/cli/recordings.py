"""``wavstream list``, ``show``, ``get`` and ``erase``: an app's recordings, by the HTTP API of a server that runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from wavstream.errors import OperatorError
from wavstream.model.recording import Status
from wavstream.simulator.control import Control

STDOUT = Path("-")
_COLUMNS = ("id", "status", "session", "created", "length", "bytes", "ended by")
_WHOLE = ("id", "status", "created")
_WIDE = 240
_FACTS = (
    "id", "app_id", "session_id", "status", "end_reason", "error", "format", "channels", "sample_rate", "duration_ms",
    "size_bytes", "audio_sha256", "file_name", "from", "to", "direction", "created_at", "started_at", "ended_at",
    "expires_at", "url",
)  # fmt: skip


def list_recordings(
    control: Control, *, session: str | None, status: str | None, limit: int, as_json: bool, console: Console
) -> None:
    """Print recordings, the newest first; raise what the server answers."""
    if status is not None and status not in list(Status):
        raise OperatorError(f"--status {status}: use one of {', '.join(Status)}")
    found = control.recordings(limit, session_id=session, status=status)
    if as_json:
        for recording in found:
            _plain(json.dumps(recording), console)
        return
    table = Table(*(Column(name, no_wrap=name in _WHOLE) for name in _COLUMNS), box=None)
    for recording in found:
        table.add_row(
            recording["id"],
            recording["status"],
            _text(recording["session_id"]),
            recording["created_at"][:16].replace("T", " "),
            _length(recording["duration_ms"]),
            "" if recording["size_bytes"] is None else f"{recording['size_bytes']:,}",
            recording["end_reason"] or "",
        )
    if not table.row_count:
        _plain("there is no such recording", console)
        return
    # Where it is read by another program, or kept in a file, nothing is cut.
    wide = console if console.is_terminal else Console(file=console.file, width=_WIDE)
    wide.print(table)


def show_recording(control: Control, recording_id: str, *, as_json: bool, console: Console) -> None:
    """Print what is known of a recording; raise what the server answers."""
    recording = control.recording(recording_id)
    if as_json:
        _plain(json.dumps(recording, indent=2), console)
        return
    for fact in _FACTS:
        if recording[fact] not in (None, "", {}):
            _plain(f"{fact:<13} {_shown(recording[fact])}", console)
    if recording["legs"]:
        table = Table("leg", "track", "channel", "codec", "from", "to", box=None)
        for leg in recording["legs"]:
            track, channel = leg["track"], leg["channel"] or "-"
            table.add_row(
                _text(leg["leg"]), track, channel, leg["codec"], _length(leg["joined_ms"]), _length(leg["left_ms"])
            )
        console.print(table)
    lacks = {name: value for name, value in recording["integrity"].items() if isinstance(value, int) and value}
    lacks.pop("samples", None)
    if lacks:
        _plain("integrity     " + ", ".join(f"{name} {value}" for name, value in lacks.items()), console)


def get_recording(
    control: Control, recording_id: str, target: Path | None, *, ext: str | None, replace: bool, console: Console
) -> None:
    """Write the recording's file, whole or not at all; raise what the server answers, or OperatorError.

    ``target``: a file, a folder, or ``-``; None: the name that the recording has, in this folder.
    """
    if ext not in (None, "wav", "mp3"):
        raise OperatorError(f"--format {ext}: use wav or mp3")
    recording = control.recording(recording_id)
    ext = ext or recording["format"]
    if target is None or target.is_dir():
        name = Path(recording["file_name"]).with_suffix(f".{ext}").name
        target = (target or Path()) / name
    if target != STDOUT and target.exists() and not replace:
        raise OperatorError(f"{target} is there: name another file, or add --force")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with _written(target) as file, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(target.name, total=None)
        control.download(
            recording["id"], ext, file, lambda done, size: progress.update(bar, completed=done, total=size)
        )
    if target != STDOUT:
        _plain(f"{target}: {target.stat().st_size:,} bytes", console)


def erase_recording(control: Control, recording_id: str, console: Console) -> None:
    """Erase a recording that has ended; raise what the server answers."""
    control.erase(recording_id)
    _plain(f"recording {recording_id} is erased", console)


@contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    """Yield what becomes the file once all is written."""
    if target == STDOUT:
        yield sys.stdout.buffer
        return
    part = target.with_name(f".{target.name}.part")
    try:
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OperatorError(f"{target} cannot be written ({error.strerror}): name another file") from error


def _length(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.1f} s"


def _text(given: object) -> str:
    """Return text of a peer's for a table: no markup, and nothing that writes to the terminal."""
    return escape(_shown(given))


def _shown(given: object) -> str:
    return "".join(character if character.isprintable() else " " for character in str(given))


def _plain(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
