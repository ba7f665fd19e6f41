"""An app's live sessions of this worker, put on its board: what changed of each, and why a leg is silent.

1. Meters are looked at with each tick, documents twice a second. These change when somebody joins, goes, is paused, or
   a reason begins or ends: that is seen by a few comparisons, and only then one is written anew.
2. Gaps and drift are what the fold of the recording that runs longest has found by now. It is asked for them in its own
   turns, one recording after the other, so that looking costs the recordings nothing they would notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from wavstream.listening.board import Board
from wavstream.listening.ears import Ear, listen
from wavstream.listening.reasons import reason
from wavstream.model.recording import Status
from wavstream.model.times import rfc3339, utc
from wavstream.rendering.account import FileAccount
from wavstream.sessions.registry import Sessions
from wavstream.sessions.session import Session
from wavstream.sessions.stream import Stream

SHOWN_EVERY_US = 500_000
"""Documents are looked at so often, meters with each look."""
QUIET_AFTER_US = 5_000_000
STALLED_AFTER_US = 1_000_000

_text = msgspec.json.Encoder().encode


class Found(NamedTuple):
    """What a fold has found of the tracks of a session so far."""

    gaps: dict[tuple[str, str], tuple[int, int]]
    """How many, and their milliseconds, by leg and track."""
    drift_ppm: dict[str, int]
    """By leg."""

    @classmethod
    def of(cls, account: FileAccount) -> Found:
        """Return what there is in the account of a file."""
        gaps: dict[tuple[str, str], tuple[int, int]] = {}
        for gap in account.integrity.gaps:
            count, length_ms = gaps.get((gap.leg, gap.track), (0, 0))
            gaps[gap.leg, gap.track] = (count + 1, length_ms + gap.length_ms)
        return cls(gaps, dict(account.integrity.drift_ppm))


class _Watched:
    """A session that is on the board."""

    __slots__ = ("document_of", "ears", "found", "found_for", "is_new")

    def __init__(self) -> None:
        self.ears: dict[int, list[Ear]] = {}
        """Of each stream, by its number in the session."""
        self.is_new = True
        """Whether its streams have changed, so that it is shown at once."""
        self.document_of: tuple[object, ...] = ()
        """What the document was written of."""
        self.found: Found | None = None
        self.found_for: str | None = None
        """The recording that it is of."""


class SessionBoard:
    """Keeps the board of one app. Lives on the event loop."""

    def __init__(self, app_id: str, sessions: Sessions, *, new_meter: Callable[[], int]) -> None:
        self.app_id = app_id
        self.board = Board()
        self._sessions = sessions
        self._new_meter = new_meter
        self._watched: dict[Session, _Watched] = {}
        self._held_back: set[str] = set()
        self._show_us = 0

    def look(self, now_us: int) -> None:
        """Put on the board what is there now."""
        mine = [session for session in self._sessions if session.app_id == self.app_id]
        for session in self._watched.keys() - {*mine}:
            self._drop(session)
        for session in mine:
            self._follow(session, now_us)
        ears = {session: [ear for of_stream in watched.ears.values() for ear in of_stream]
                for session, watched in self._watched.items()}  # fmt: skip
        listen([ear for of_session in ears.values() for ear in of_session], now_us)
        is_due = now_us >= self._show_us
        if is_due:
            self._show_us = now_us + SHOWN_EVERY_US
        for session, watched in self._watched.items():
            if is_due or watched.is_new:
                watched.is_new = False
                self._show(session, watched, now_us)
            for ear in ears[session]:
                if ear.write():
                    self.board.set_meter(session.session_id, ear.meter, ear.row)
        if is_due:
            self._show_held_back()

    def running(self) -> Iterator[tuple[Session, str]]:
        """Yield the sessions that are recorded, each with its recording that runs longest (rule 2)."""
        for session in [*self._watched]:
            if running := session.recordings.running:
                yield session, running[0].row.id

    def found(self, session: Session, recording_id: str, found: Found) -> None:
        """Take in what a fold has found so far."""
        if (watched := self._watched.get(session)) is not None:
            watched.found, watched.found_for = found, recording_id

    # ---- within ----------------------------------------------------------------------------------------------------

    def _drop(self, session: Session) -> None:
        watched = self._watched.pop(session)
        for ears in watched.ears.values():
            self.board.remove_meters(session.session_id, (ear.meter for ear in ears))
        if self._sessions.find(session.app_id, session.session_id) is None:  # else there is another one of that id
            self.board.remove(session.session_id)

    def _follow(self, session: Session, now_us: int) -> None:
        watched = self._watched.get(session)
        if watched is None:
            watched = self._watched[session] = _Watched()
        streams = session.streams
        if watched.ears.keys() == {stream.facts.stream for stream in streams}:
            return
        watched.is_new = True
        there = {stream.facts.stream: stream for stream in streams}
        for number in watched.ears.keys() - there.keys():
            self.board.remove_meters(session.session_id, (ear.meter for ear in watched.ears.pop(number)))
        for number in there.keys() - watched.ears.keys():
            stream = there[number]
            tracks = range(len(stream.facts.tracks))
            watched.ears[number] = [Ear(stream, index, self._new_meter(), now_us) for index in tracks]

    def _show(self, session: Session, watched: _Watched, now_us: int) -> None:
        recordings = tuple((live.row.id, live.row.status) for live in session.recordings.by_id.values())
        codes = tuple(
            (stream.facts.stream, self._code(stream, watched.ears[stream.facts.stream], recordings, now_us))
            for stream in session.streams
        )
        is_of_running = any(recording_id == watched.found_for for recording_id, _ in recordings)
        found = watched.found if is_of_running else None
        paces = tuple(stream.inspection.pace(0) for stream in session.streams)
        written_of = (session.call, len(session.legs.names), (*session.legs.away,), codes, recordings, found, paces)
        if written_of != watched.document_of:
            watched.document_of = written_of
            document = self._document(session, watched, dict(codes), found)
            self.board.show(session.session_id, _text(document))

    def _code(
        self, stream: Stream, ears: list[Ear], recordings: tuple[tuple[str, Status], ...], now_us: int
    ) -> str | None:
        """Return why a stream is silent, or about to disappoint; None: it is heard, and recorded."""
        if not stream.frames or now_us - stream.last_arrival_us > STALLED_AFTER_US:
            if self._sessions.reading.is_paused:
                return "server_behind"
            return "frames_stopped" if stream.frames else "no_frames_yet"
        if stream.inspection.suspicions:
            return "wrong_byte_order" if stream.inspection.is_order_wrong else "wrong_format"
        statuses = [status for _, status in recordings if status in (Status.ONGOING, Status.PAUSED)]
        if all(ear.quiet_since_us is not None and now_us - ear.quiet_since_us >= QUIET_AFTER_US for ear in ears):
            return "frames_of_silence"
        if not statuses:
            return "not_recorded"
        return "paused" if all(status is Status.PAUSED for status in statuses) else None

    def _document(
        self, session: Session, watched: _Watched, codes: dict[int, str | None], found: Found | None
    ) -> dict[str, Any]:
        call = session.call
        legs = [_streaming(stream, watched.ears[number], codes[number], found)
                for stream in session.streams if (number := stream.facts.stream) in codes]  # fmt: skip
        streaming = {stream.facts.leg for stream in session.streams}
        legs += [_absent(leg, is_away=leg in session.legs.away) for leg in session.legs.names if leg not in streaming]
        return {
            "session_id": session.session_id,
            "from": call.from_,
            "to": call.to,
            "direction": call.direction,
            "vendor_ids": call.vendor_ids,
            "created_at": rfc3339(utc(session.created_us)),
            "legs": legs,
            "recordings": [
                {
                    "id": live.row.id,
                    "status": live.row.status,
                    "format": live.row.options.format,
                    "channels": "stereo" if live.row.options.file_channels == 2 else "mono",
                    "started_at": None if live.row.started_at is None else rfc3339(live.row.started_at),
                }
                for live in session.recordings.by_id.values()
            ],
        }

    def _show_held_back(self) -> None:
        held = self._sessions.held_back(self.app_id)
        for session_id in self._held_back - held.keys():
            if self._sessions.find(self.app_id, session_id) is None:
                self.board.remove(session_id)
        self._held_back = {*held}
        for session_id, started in held.items():
            legs = [_absent(each.leg or "?", is_away=False) | {"state": "streaming", "silent_because": _HELD}
                    for each in started]  # fmt: skip
            document: dict[str, Any] = {
                "session_id": session_id, "from": "", "to": "", "direction": "", "vendor_ids": {}, "created_at": None,
                "legs": legs, "recordings": [],
            }  # fmt: skip
            self.board.show(session_id, _text(document))


_HELD = reason("held_back").as_json()


def _streaming(stream: Stream, ears: list[Ear], code: str | None, found: Found | None) -> dict[str, Any]:
    facts, suspicions = stream.facts, stream.inspection.suspicions
    why = None
    if code is not None:
        why = reason(code, details=suspicions[0] if code.startswith("wrong_") else "").as_json()
    tracks = []
    for ear, track in zip(ears, facts.tracks, strict=True):
        gaps = None if found is None else found.gaps.get((facts.leg, track), (0, 0))
        tracks.append(
            {
                "track": track,
                "meter": ear.meter,
                "pace": stream.inspection.pace(ear.index),
                "gaps": None if gaps is None else gaps[0],
                "gap_ms": None if gaps is None else gaps[1],
                "drift_ppm": None if found is None else found.drift_ppm.get(facts.leg),
            }
        )
    return {
        "leg": facts.leg,
        "state": "streaming",
        "dialect": facts.dialect,
        "codec": stream.wire_codec or facts.format.codec,
        "rate": facts.format.rate_hz,
        "clock": facts.clock,
        "joined_at": rfc3339(utc(stream.joined_us)),
        "tracks": tracks,
        "silent_because": why,
        "suspicions": suspicions,
    }


def _absent(leg: str, *, is_away: bool) -> dict[str, Any]:
    return {
        "leg": leg,
        "state": "away" if is_away else "gone",
        "dialect": None,
        "codec": None,
        "rate": None,
        "clock": None,
        "joined_at": None,
        "tracks": [],
        "silent_because": reason("away").as_json() if is_away else None,
        "suspicions": [],
    }
