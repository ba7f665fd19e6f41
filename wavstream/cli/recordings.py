"""``wavstream list``, ``show``, ``transcript`` and ``erase``: an app's recordings, by the HTTP API of a server."""

from __future__ import annotations

import json
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from wavstream.errors import OperatorError
from wavstream.model.recording import Status
from wavstream.simulator.control import Control

_COLUMNS = ("id", "status", "session", "created", "length", "bytes", "ended by")
_DROPPED_FIRST = ("ended by", "bytes", "session", "length", "created")
"""Columns that a narrow terminal has no room for, in this order; an id is never cut, nor the status."""
_WIDE = 240
_GAP = 2
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
    rows = [_row(recording) for recording in found]
    if not rows:
        _plain("there is no such recording", console)
        return
    # Where it is read by another program, or kept in a file, nothing is cut.
    width = console.width if console.is_terminal else _WIDE
    names = _fitting(rows, width)
    wide = Console(file=console.file, width=max(width, _width(rows, names)), force_terminal=console.is_terminal)
    table = Table(*(Column(name, no_wrap=True) for name in names), box=None)
    for row in rows:
        table.add_row(*(escape(row[name]) for name in names))
    wide.print(table)


def _row(recording: dict[str, Any]) -> dict[str, str]:
    size = recording.get("size_bytes")
    cells = (
        recording["id"],
        recording["status"],
        recording["session_id"],
        recording["created_at"][:16].replace("T", " "),
        _length(recording.get("duration_ms")),
        "" if size is None else f"{size:,}",
        recording.get("end_reason") or "",
    )
    return dict(zip(_COLUMNS, map(shown, cells), strict=True))


def _fitting(rows: list[dict[str, str]], width: int) -> list[str]:
    """Return the names of the columns that this many characters have room for."""
    names = list(_COLUMNS)
    for name in _DROPPED_FIRST:
        if _width(rows, names) <= width:
            break
        names.remove(name)
    return names


def _width(rows: list[dict[str, str]], names: list[str]) -> int:
    return sum(max(cell_len(name), *(cell_len(row[name]) for row in rows)) + _GAP for name in names)


def show_recording(control: Control, recording_id: str, *, as_json: bool, console: Console) -> None:
    """Print what is known of a recording; raise what the server answers."""
    recording = control.recording(recording_id)
    if as_json:
        _plain(json.dumps(recording, indent=2), console)
        return
    for fact in _FACTS:
        if recording.get(fact) not in (None, "", {}):
            _plain(f"{fact:<13} {shown(recording[fact])}", console)
    if recording.get("legs"):
        table = Table("leg", "track", "channel", "codec", "from", "to", box=None)
        for leg in recording["legs"]:
            track, channel = leg["track"], leg["channel"] or "-"
            table.add_row(
                _text(leg["leg"]), track, channel, leg["codec"], _length(leg["joined_ms"]), _length(leg["left_ms"])
            )
        console.print(table)
    lacks = {name: value for name, value in recording.get("integrity", {}).items() if isinstance(value, int) and value}
    lacks.pop("samples", None)
    if lacks:
        _plain("integrity     " + ", ".join(f"{name} {value}" for name, value in lacks.items()), console)


def print_transcript(control: Control, recording_id: str, extension: str, console: Console) -> None:
    """Print what was said in a recording, as text or as the server answers it; raise what the server answers."""
    said = control.transcript(recording_id, extension).decode(errors="replace")
    for line in said.splitlines():
        _plain(shown(line), console)


def erase_recording(control: Control, recording_id: str, console: Console, *, reason: str | None = None) -> None:
    """Erase a recording that has ended; raise what the server answers."""
    control.erase(recording_id, reason)
    _plain(f"recording {recording_id} is erased", console)


def _length(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.1f} s"


def _text(given: object) -> str:
    """Return text of a peer's for a table: no markup, and nothing that writes to the terminal."""
    return escape(shown(given))


def shown(given: object) -> str:
    """Return text of a peer's without what writes to a terminal."""
    return "".join(character if character.isprintable() else " " for character in str(given))


def _plain(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
