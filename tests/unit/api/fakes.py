"""A small world behind the HTTP plane: recordings in a dictionary, real files, a clock that is set by hand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator, Caller
from wavstream.access.key_table import KEYLESS
from wavstream.catalog.pages import Page
from wavstream.catalog.recordings import Recordings
from wavstream.conversion.waveforms import Waveforms
from wavstream.errors import (
    Conflict,
    FieldError,
    InvalidFields,
    LimitReached,
    NotFound,
    TooSoon,
    Unauthenticated,
    WavstreamError,
)
from wavstream.listening.live import Live
from wavstream.listening.live_pages import LivePages
from wavstream.listening.live_pages import Page as LivePage
from wavstream.model.app import App
from wavstream.model.audio import Channel, Track, TrackClock
from wavstream.model.call import CallFacts
from wavstream.model.filters import RecordingFilters
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, Gap, Integrity, LegalHold, LegReceipt, Receipt, Recording, Status
from wavstream.model.session import Level, RunningRecording, SessionView, Silence, StreamView, TrackPace
from wavstream.retention.holds import Holds
from wavstream.sessions.commands import Commands
from wavstream.sessions.live_lists import SessionPage
from wavstream.storage.local import LocalStorage
from wavstream.storage.waveform_file import Window

START = datetime(2026, 11, 1, 10, tzinfo=UTC)
APP_OPTIONS = RecordingOptions(sample_rate=12_000, pause_behavior=PauseBehavior.SILENCE)
"""Those of the first key's app."""
KEYS = {"key-one": "one", "key-two": "two"}
LEG = LegReceipt("a", Track.INBOUND, Channel.LEFT, "pcm", "l16", 8000, 0, 61240, 1.0)
INTEGRITY = Integrity(
    samples=979_840, gaps=(Gap("b", Track.INBOUND, 20_300, 480, "stall"),), drift_ppm={"a": 3, "b": -11}
)


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    moment: datetime = START

    def __call__(self) -> datetime:
        return self.moment

    def move(self, **duration: float) -> None:
        self.moment += timedelta(**duration)


@dataclass
class FakeCommands(Commands):
    """Commands without sessions behind them. ``tests/integration/test_api_contract.py`` holds them to the real ones."""

    clock: Clock
    storage: LocalStorage
    recordings: dict[str, Recording] = field(default_factory=dict)
    views: dict[tuple[str, str], SessionView] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    failure: Exception | None = None
    """Raised by the next start."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What lists were asked for."""

    def check_here(self, session_id: str) -> None:
        """Return: it is."""

    async def start(
        self,
        *,
        app_id: str,
        session_id: str,
        options: RecordingOptions,
        origin: Origin = Origin(),
        idempotency_key: str | None = None,
        request_digest: str = "",
    ) -> Recording:
        if self.failure:
            raise self.failure
        if idempotency_key and (known := self.keys.get((app_id, idempotency_key))):
            if known[0] != request_digest:
                raise InvalidFields((FieldError("Idempotency-Key", "was used with another request"),))
            return self.recordings[known[1]]
        recording_id = f"{len(self.recordings) + 1:032x}"
        if idempotency_key:
            self.keys[app_id, idempotency_key] = (request_digest, recording_id)
        stem = options.file_name or session_id
        recording = Recording(
            id=recording_id,
            app_id=app_id,
            session_id=session_id,
            status=Status.ONGOING,
            options=options,
            object_key=f"{app_id}/2026-11-01/{recording_id}.{options.format}",
            file_name=f"{stem}-1793527200.{options.format}",
            created_at=self.clock(),
            started_at=self.clock(),
            origin=origin,
        )
        self.recordings[recording_id] = recording
        return recording

    async def stop(self, *, app_id: str, recording_id: str) -> Recording:
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if not recording.status.is_running:
            raise Conflict("The recording does not run.", state=recording.status)
        return self.finish(recording, bytes(range(256)) * 8)

    async def pause(self, *, app_id: str, recording_id: str, behavior: PauseBehavior | None = None) -> Recording:
        return await self._turn(app_id, recording_id, Status.ONGOING, Status.PAUSED)

    async def resume(self, *, app_id: str, recording_id: str) -> Recording:
        return await self._turn(app_id, recording_id, Status.PAUSED, Status.ONGOING)

    async def get(self, *, app_id: str, recording_id: str) -> Recording:
        recording = self.recordings.get(recording_id)
        if recording is None or recording.app_id != app_id:
            raise NotFound("There is no such recording.")
        return recording

    async def list(self, *, app_id: str, filters: RecordingFilters, limit: int, cursor: str | None) -> Page[Recording]:
        self.asked.append({"app_id": app_id, "filters": filters, "limit": limit, "cursor": cursor})
        if cursor == "bad":
            raise InvalidFields((FieldError("cursor", "is not one of ours"),))
        mine = [recording for recording in reversed(self.recordings.values()) if recording.app_id == app_id]
        return Page(tuple(mine[:limit]), "more" if len(mine) > limit else None)

    async def delete(self, *, app_id: str, recording_id: str, reason: str | None = None) -> None:
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if recording.status.is_running or recording.hold is not None:
            raise Conflict("The recording runs or is held.", state=recording.status)
        self.storage.delete(recording.object_key)
        self.put(replace(recording, status=Status.DELETED))

    async def announce(self, *, app_id: str, session_id: str, call: CallFacts) -> SessionView:
        view = SessionView(
            session_id=session_id,
            app_id=app_id,
            from_=call.from_,
            to=call.to,
            direction=call.direction,
            vendor_ids=call.vendor_ids,
            created_at=self.clock(),
            legs=(),
            away=(),
            streams=(),
            recordings=(),
        )
        self.views[app_id, session_id] = view
        return view

    async def sessions(self, app_id: str, *, limit: int, cursor: str | None = None) -> SessionPage:
        if not re.fullmatch(r"\d{0,18}", cursor or "", re.ASCII):
            raise InvalidFields((FieldError("cursor", "is not one of ours"),))
        start = int(cursor or 0)
        found = [view.as_json() for (app, _), view in self.views.items() if app == app_id][start:]
        return SessionPage(tuple(found[:limit]), str(start + limit) if len(found) > limit else None)

    def session(self, app_id: str, session_id: str) -> SessionView:
        if (view := self.views.get((app_id, session_id))) is None:
            raise NotFound("There is no such session.")
        return view

    # ---- what tests do behind the server's back ----------------------------------------------------------------

    def put(self, recording: Recording) -> Recording:
        self.recordings[recording.id] = recording
        return recording

    def finish(self, recording: Recording, audio: bytes) -> Recording:
        """Its file lies in storage, its row is available for 24 hours."""
        path = self.storage.path(recording.object_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(audio)
        receipt = Receipt(
            sample_rate=8000,
            channels=2,
            samples=489_920,
            audio_sha256=hashlib.sha256(audio).hexdigest(),
            size_bytes=len(audio),
            legs=(LEG,),
            integrity=INTEGRITY,
        )
        return self.put(
            replace(
                recording,
                status=Status.AVAILABLE,
                end_reason=EndReason.STOPPED,
                ended_at=self.clock(),
                expires_at=self.clock() + timedelta(hours=24),
                receipt=receipt,
            )
        )

    async def find(self, recording_id: str) -> Recording | None:
        return self.recordings.get(recording_id)

    async def _turn(self, app_id: str, recording_id: str, before: Status, after: Status) -> Recording:
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if recording.status is not before:
            raise Conflict(f"The recording is {recording.status}.", state=recording.status)
        return self.put(replace(recording, status=after))


@dataclass
class FakeHolds(Holds):
    """Holds of the recordings of the commands."""

    commands: FakeCommands

    async def put(self, *, app_id: str, recording_id: str, hold: LegalHold) -> Recording:
        recording = await self.commands.get(app_id=app_id, recording_id=recording_id)
        if (earlier := recording.hold) is not None:
            if (earlier.by, earlier.reason) == (hold.by, hold.reason):
                return recording
            raise Conflict("The recording is held already.", state=recording.status)
        return self.commands.put(replace(recording, hold=hold))

    async def release(self, *, app_id: str, recording_id: str) -> Recording:
        recording = await self.commands.get(app_id=app_id, recording_id=recording_id)
        return self.commands.put(replace(recording, hold=None))


class FakeRecordings(Recordings):
    """The rows of the recordings that the fake commands know."""

    def __init__(self, commands: FakeCommands) -> None:
        self._commands = commands

    async def get(self, recording_id: str, app_id: str | None = None) -> Recording | None:
        return await self._commands.find(recording_id)


@dataclass
class FakeAuthenticator(Authenticator):
    """Two keys; the second takes a while to check."""

    open_on_loopback: bool = False
    failures_left: int = 100

    def authenticate(
        self, bearer: str | None, *, client_is_loopback: bool, app: str | None = None, address: str | None = None
    ) -> Caller | Awaitable[Caller]:
        if self.failures_left == 0:
            raise LimitReached(f"Too many wrong keys from {address}.", retry_after_s=30)
        if app is not None and app != KEYS.get(bearer or ""):
            raise Unauthenticated("Send the key of the app that is named.")
        if bearer == "key-two":
            return self._slowly(bearer)
        if bearer in KEYS:
            return Caller(KEYS[bearer], bearer)
        if bearer is None and self.open_on_loopback and client_is_loopback:
            return Caller("default", KEYLESS)
        raise Unauthenticated("Send the app's key: Authorization: Bearer <key>.")

    def was_removed(self, app_id: str) -> bool:
        return False

    def make_token(
        self, *, app_id: str, session_id: str | None, expires_at: datetime, key_id: str | None = None
    ) -> str:
        return f"{app_id}|{session_id}|{expires_at.isoformat()}"

    async def _slowly(self, bearer: str) -> Caller:
        return Caller(KEYS[bearer], bearer)


class FakeAppCache(AppCache):
    """Two apps, of which the first has options of its own."""

    def __init__(self) -> None:
        pass

    async def get(self, app_id: str) -> App | None:
        return None

    async def options(self, app_id: str) -> RecordingOptions:
        return APP_OPTIONS if app_id == KEYS["key-one"] else RecordingOptions()


def live_view(session_id: str, app_id: str = "one", *, running: Recording | None = None) -> SessionView:
    """Return a session with one stream that has stalled."""
    stream = StreamView(
        leg="a",
        dialect="pcm",
        codec="l16",
        rate=8000,
        clock=TrackClock.CONTIGUOUS,
        tracks=(Track.INBOUND,),
        channel=None,
        joined_at=START,
        last_audio_at=START + timedelta(seconds=2),
        frames=100,
        received_ms=2000,
        silent_because=Silence.STALLED,
        levels=(
            Level(track=Track.INBOUND, rms_dbfs=-23.1, peak_dbfs=-9.8),
            Level(track=Track.OUTBOUND, rms_dbfs=None, peak_dbfs=None),
        ),
        paces=(TrackPace(track=Track.INBOUND, pace=2.0), TrackPace(track=Track.OUTBOUND, pace=None)),
        suspicions=("twice as much audio as time",),
    )
    recordings = () if running is None else (RunningRecording(id=running.id, status=running.status),)
    return SessionView(
        session_id=session_id,
        app_id=app_id,
        from_="+15550100",
        to="+15550199",
        direction="inbound",
        vendor_ids={},
        created_at=START,
        legs=("a", "b"),
        away=("b",),
        streams=(stream,),
        recordings=recordings,
    )


class Unhappy(WavstreamError):
    """Of no branch that the caller is told of."""


class NobodyLive(Live):
    """Live listening on a server that makes no recording."""

    def __init__(self) -> None:
        pass

    def listen(self, recording_id: str, *, key_id: str | None = None) -> None:
        return None


class NoWaveforms(Waveforms):
    """Waveforms on a server that has none."""

    def __init__(self) -> None:
        pass

    async def growing(self, recording: Recording, window: Window) -> None:
        return None

    async def finished(self, recording: Recording, window: Window) -> None:
        return None


class NobodyLooks(LivePages):
    """Pages of a server at which nobody may look."""

    def __init__(self) -> None:
        pass

    def look(self, app_id: str, *, key_id: str | None = None) -> LivePage:
        raise TooSoon("nobody may look", retry_after_s=5)
