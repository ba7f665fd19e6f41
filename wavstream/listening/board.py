"""What there is to see of an app's live sessions: documents and meters, each with the number of its last change. Pure.

1. Every change takes the next number. Whoever looks says which it has seen, and is given what changed since: so one who
   reads slowly gets the newest of everything, once, and nothing is kept for him.
2. What is over is remembered for a while. Who has not looked for longer than that begins anew.
3. Nearly all who look have seen the same: what they are given is written once.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

MOST_GONE = 2_000
SESSIONS_IN_A_PIECE = 50

_MOST_WORKERS = 64
_SEEN = re.compile(r"(\d{1,15})-(\d{1,15})-(\d{1,15})", re.ASCII)

_text = msgspec.json.Encoder().encode


class Seen(NamedTuple):
    """What somebody has seen of a board."""

    sessions: int
    meters: int


class News(NamedTuple):
    """What changed since."""

    seen: Seen
    """What whoever is given this has seen then."""
    sessions: tuple[tuple[str, bytes], ...]
    """By id, documents as JSON."""
    gone: tuple[str, ...]
    meters: tuple[tuple[str, int, str], ...]
    """Of which session, the number, and the row as JSON."""
    is_whole: bool
    """Whether that is all there is to see now."""


class _Shown:
    """The document of a session, with the meters of its tracks."""

    __slots__ = ("changed", "meters", "text")

    def __init__(self, text: bytes, changed: int, meters: set[int]) -> None:
        self.text = text
        self.changed = changed
        self.meters = meters


class _Row(NamedTuple):
    """The meter of a track."""

    session_id: str
    text: str
    changed: int


class Board:
    """What there is to see."""

    def __init__(self) -> None:
        self.nonce = secrets.token_hex(4)
        """Of this board: numbers of another one mean nothing here."""
        self.number = 0
        """Of the last change."""
        self._sessions: dict[str, _Shown] = {}
        """In the order in which they changed last; so are the meters."""
        self._meters: dict[int, _Row] = {}
        self._gone: deque[tuple[int, str]] = deque()
        self._forgotten = 0
        """The last change of which something is not remembered (rule 2)."""
        self._kept: dict[Seen, News] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def show(self, session_id: str, document: bytes) -> None:
        """Show a session, or what has become of it."""
        shown = self._sessions.get(session_id)
        if shown is not None and shown.text == document:
            return
        meters = set[int]() if shown is None else self._sessions.pop(session_id).meters
        self._sessions[session_id] = _Shown(document, self._change(), meters)

    def remove(self, session_id: str) -> None:
        """Show a session no more, nor its meters."""
        shown = self._sessions.pop(session_id, None)
        if shown is None:
            return
        for meter in shown.meters:
            self._meters.pop(meter, None)
        self._gone.append((self._change(), session_id))
        while len(self._gone) > MOST_GONE:
            self._forgotten = self._gone.popleft()[0]

    def clear(self) -> None:
        """Show nothing."""
        for session_id in [*self._sessions]:
            self.remove(session_id)

    def set_meter(self, session_id: str, meter: int, row: str) -> None:
        """Show the meter of a track of a session that is shown."""
        shown = self._sessions.get(session_id)
        if shown is None:
            return
        found = self._meters.get(meter)
        if found is not None:
            if found.text == row:
                return
            del self._meters[meter]
        shown.meters.add(meter)
        self._meters[meter] = _Row(session_id, row, self._change())

    def remove_meters(self, session_id: str, meters: Iterable[int]) -> None:
        """Forget meters of a session: whoever looks knows from its document which there are."""
        shown = self._sessions.get(session_id)
        for meter in meters:
            self._meters.pop(meter, None)
            if shown is not None:
                shown.meters.discard(meter)

    def can_go_on(self, seen: Seen) -> bool:
        """Return whether whoever has seen that need not begin anew (rule 2)."""
        is_known = seen.sessions <= self.number and seen.meters <= self.number
        return is_known and (self._forgotten <= seen.sessions or not seen.sessions)

    def since(self, seen: Seen) -> News:
        """Return what changed since, or the first piece of it (rule 1)."""
        news = self._kept.get(seen)
        if news is None:
            news = self._kept[seen] = self._since(seen)
        return news

    def _since(self, seen: Seen) -> News:
        newest = itertools.takewhile(lambda each: each[1].changed > seen.sessions, reversed(self._sessions.items()))
        changed = [*newest][::-1]
        is_whole = len(changed) <= SESSIONS_IN_A_PIECE
        changed = changed[:SESSIONS_IN_A_PIECE]
        upto = self.number if is_whole else changed[-1][1].changed
        gone: Iterable[str] = ()
        if seen.sessions:  # one that is there again is among the documents, or comes with a later piece
            ids = (session_id for number, session_id in self._gone if seen.sessions < number <= upto)
            gone = (session_id for session_id in ids if session_id not in self._sessions)
        rows: Iterable[tuple[int, _Row]] = ()
        if is_whole:
            rows = itertools.takewhile(lambda each: each[1].changed > seen.meters, reversed(self._meters.items()))
        return News(
            seen=Seen(upto, self.number if is_whole else seen.meters),
            sessions=tuple((session_id, shown.text) for session_id, shown in changed),
            gone=tuple(gone),
            meters=tuple((row.session_id, meter, row.text) for meter, row in rows),
            is_whole=is_whole,
        )

    def _change(self) -> int:
        self._kept.clear()
        self.number += 1
        return self.number


def event(name: str, number: str, data: bytes) -> bytes:
    """Return a server-sent event; ``data`` is JSON, which has no line break."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), number.encode(), data)


def events_of(news: News, *, number: str, now: str) -> bytes:
    """Return what changed as events."""
    parts = []
    if news.sessions or news.gone:
        documents = b",".join(document for _, document in news.sessions)
        data = b'{"now":"%b","sessions":[%b],"gone":%b}' % (now.encode(), documents, _text(news.gone))
        parts.append(event("sessions", number, data))
    if news.meters:
        rows = ",".join(row for _, _, row in news.meters)
        parts.append(event("meters", number, f'{{"now":"{now}","legs":[{rows}]}}'.encode()))
    return b"".join(parts)


def number_of(nonce: str, seen: Mapping[int, Seen]) -> str:
    """Return the number of an event: what whoever has got it has seen of the board of each worker."""
    return ".".join((nonce, *(f"{worker}-{each.sessions}-{each.meters}" for worker, each in seen.items())))


def read_number(last_event_id: str | None, nonce: str) -> dict[int, Seen] | None:
    """Return what the last event that somebody got has shown; None: there was none, or of another time."""
    first, *rest = (last_event_id or "").split(".")
    if first != nonce or len(rest) > _MOST_WORKERS:
        return None
    seen: dict[int, Seen] = {}
    for each in rest:
        match = _SEEN.fullmatch(each)
        if match is None:
            return None
        worker, sessions, meters = map(int, match.groups())
        seen[worker] = Seen(sessions, meters)
    return seen
