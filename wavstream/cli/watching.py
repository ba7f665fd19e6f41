"""``wavstream watch``: what is live on a server, with meters in the terminal.

What peers say of themselves is shown as text alone: nothing of it writes to the terminal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wavstream.cli.recordings import shown
from wavstream.errors import OperatorError, PeerError, Unauthenticated
from wavstream.simulator.control import Control

RETRY_S = 2.0
_METER = 20
"""Characters of a meter."""
_LOWEST_DBFS = -60
_BARS = " ▏▎▍▌▋▊▉█"
_LOUD, _CLIPS = -12, -3
_LOST = "lost"
"""An event of ours: the connection has ended."""
_AWAY = "the server does not answer, and this is what it told last: trying again"


class Picture:
    """What there is to see, as the events have told so far."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.meters: dict[int, list[Any]] = {}
        self.now = ""
        """The server's time."""
        self.note = "nothing was told yet"

    def take(self, name: str, data: dict[str, Any]) -> None:
        """Take in an event."""
        self.now = data.get("now", self.now)
        self.note = _AWAY if name == _LOST else ""
        if name == "reset":
            self.sessions.clear()
            self.meters.clear()
        elif name == "sessions":
            for session_id in data["gone"]:
                self.sessions.pop(session_id, None)
            for session in data["sessions"]:
                self.sessions[session["session_id"]] = session
        elif name == "meters":
            self.meters.update((row[0], row) for row in data["legs"])

    def table(self) -> Table:
        """Return it for a terminal."""
        table = Table("session", "leg", "codec", "level", "pace", "last word", "what is to be said", box=None)
        if self.sessions and self.note:
            table.caption = self.note
        for session_id, session in self.sessions.items():
            recording = ", ".join(each["status"] for each in session["recordings"]) or "not recorded"
            for number, leg in enumerate(session["legs"]):
                first = number == 0
                for track in leg["tracks"] or [{"track": "", "meter": None}]:
                    self._add(table, shown(session_id) if first else "", leg, track, recording if first else "")
                    first = False
        if not self.sessions:
            table.add_row("", "", "", "", "", "", self.note or "nothing is live")
        return table

    def _add(self, table: Table, session: str, leg: dict[str, Any], track: dict[str, Any], recording: str) -> None:
        row = self.meters.get(track["meter"], [None] * 7)
        why = leg["silent_because"]
        codec = f"{leg['codec']} {leg['rate'] // 1000}k" if leg["codec"] else leg["state"]
        said = recording if why is None else shown(why["text"])
        table.add_row(
            Text(session),
            Text(f"{shown(leg['leg'])} {track['track']}"),
            Text(codec),
            meter(row[1], row[2]),
            "" if row[3] is None else f"{row[3]:.2f}",
            self._ago(row[6]),
            Text(said, style="" if why is None else "yellow"),
        )

    def _ago(self, unix_s: float | None) -> str:
        if unix_s is None or not self.now:
            return ""
        return f"{max(0.0, datetime.fromisoformat(self.now).timestamp() - unix_s):.0f} s ago"


def meter(rms: int | None, peak: int | None) -> Text:
    """Return a level as a bar: the root mean square, and a mark at the peak."""
    if rms is None or peak is None:
        return Text("-" * 3, style="dim")
    eighths = max(0, round((rms - _LOWEST_DBFS) / -_LOWEST_DBFS * _METER * 8))
    whole, part = divmod(min(eighths, _METER * 8), 8)
    bar = ("█" * whole + (_BARS[part] if part else "")).ljust(_METER)
    at = min(_METER - 1, max(0, round((peak - _LOWEST_DBFS) / -_LOWEST_DBFS * _METER) - 1))
    if peak > _LOWEST_DBFS and bar[at] == " ":
        bar = bar[:at] + "|" + bar[at + 1 :]
    return Text(bar, style="red" if peak >= _CLIPS else "yellow" if peak >= _LOUD else "green")


def watch(control: Control, console: Console, *, as_json: bool, for_s: float | None) -> None:
    """Show what is live until it is ended, or for so many seconds; raise what the server answers at first."""
    began_s = time.monotonic()
    picture = Picture()
    if as_json:
        for name, data in _events(control, began_s, for_s):
            console.print(json.dumps({"event": name, **data}), markup=False, highlight=False, soft_wrap=True)
        return
    if not console.is_terminal:  # what there is at the end, for a file or another program
        for name, data in _events(control, began_s, for_s):
            picture.take(name, data)
        console.print(picture.table())
        return
    with Live(picture.table(), console=console, auto_refresh=False, screen=True) as screen:
        for name, data in _events(control, began_s, for_s):
            picture.take(name, data)
            screen.update(picture.table(), refresh=True)


def _events(control: Control, began_s: float, for_s: float | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield events, of a new connection where one has ended; raise what the first is answered, and a key that ends."""
    last_id, has_begun = None, False
    end_s = None if for_s is None else began_s + for_s
    while True:
        try:
            for name, number, text in control.events("/v1/live", last_id, until_s=end_s):
                last_id, has_begun = number or last_id, True
                if name:
                    yield name, json.loads(text)
        except Unauthenticated:
            raise
        except (PeerError, OperatorError):
            if not has_begun:
                raise
        left_s = RETRY_S if end_s is None else min(RETRY_S, end_s - time.monotonic())
        if left_s <= 0:
            return
        yield _LOST, {}
        time.sleep(left_s)
