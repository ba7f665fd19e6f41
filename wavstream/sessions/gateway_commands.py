"""The gateway's two commands, ``record/start`` and ``record/stop``, without their HTTP.

A command is refused or taken on. One that is refused leaves nothing behind: its command_uid may be used again, no
cooldown begins, nothing is started or stopped. One that is taken on is written first, in one transaction with the
recording that it starts and the fact that it has succeeded, and done then: what can still fail is told by the facts of
the recording. Its command_uid stands for it for ``KEPT``, whatever becomes of the session and the server meanwhile.

The order of the checks: a known command_uid; the session, and whose it is; whether there is a media URL; the cooldown;
the recording. Commands to one session are taken one after another, so two with one command_uid run once.

A session has at most one recording that these commands started; they do not see those that were started otherwise.
"""

from __future__ import annotations

import asyncio
import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from wavstream.catalog.catalog import Catalog
from wavstream.errors import Conflict, Forbidden, LimitReached, NotFound, OperatorError, WavstreamError
from wavstream.model.fact import Fact, command_done
from wavstream.model.operation import Command, Operation
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording
from wavstream.model.times import unix_us, utc
from wavstream.sessions.admission import NewRecordings
from wavstream.sessions.commands import Commands
from wavstream.sessions.cooldown import Cooldown
from wavstream.sessions.registry import Sessions
from wavstream.sessions.session import Session

KEPT = timedelta(hours=24)
HEAVY_US, SEEK_US = 2_000_000, 100_000
"""The cooldowns of the gateway's groups of commands."""


class CommandConflict(Conflict):
    """The session is not in a state that allows the command; ``detail`` names what is in the way."""

    def __init__(self, message: str, *, state: str, **detail: str) -> None:
        super().__init__(message, state=state)
        self.detail = detail


class NotConfigured(OperatorError):
    """Whoever runs the server has turned this off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What whoever runs the server has chosen."""

    has_media_url: bool = True
    """False: ``record/start`` is refused."""
    stop_is_heavy: bool = True
    """Whether a stop shares the cooldown of the start; else it has one of its own, ``SEEK_US``."""


class GatewayCommands:
    """Starts and stops the recordings of the gateway's applications."""

    def __init__(
        self, *, commands: Commands, sessions: Sessions, catalog: Catalog, new_recordings: NewRecordings,
        now_us: Callable[[], int], settings: GatewaySettings,
    ) -> None:  # fmt: skip
        self._commands = commands
        self._sessions = sessions
        self._catalog = catalog
        self._new_recordings = new_recordings
        self._now_us = now_us
        self._settings = settings
        self._start_cooldown = Cooldown(HEAVY_US)
        self._stop_cooldown = self._start_cooldown if settings.stop_is_heavy else Cooldown(SEEK_US)
        self._turns: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()
        """By session: kept for as long as a command holds its lock or waits for it."""

    async def start(
        self, *, app_id: str, session_id: str, command_uid: str | None, options: RecordingOptions
    ) -> Operation:
        """Start a recording of a live session.

        Raises NotFound, Forbidden, NotConfigured, TooSoon, CommandConflict, LimitReached, and what the opener raises.
        """
        async with self._turn(app_id, session_id):
            if (earlier := await self._earlier(app_id, session_id, command_uid, Command.RECORD_START)) is not None:
                return earlier
            session = self._session(app_id, session_id)
            if not self._settings.has_media_url:
                raise NotConfigured("WAVSTREAM_URL not configured")
            self._start_cooldown.check((app_id, session_id), self._now_us())
            if (running := _recording(session)) is not None:
                raise CommandConflict("A recording is already running", state=running.status, recording_id=running.id)
            uid = command_uid or str(uuid.uuid4())
            recording = replace(
                self._new_recordings.make(app_id=app_id, session_id=session_id, options=options), command_uid=uid
            )
            operation = self._operation(Command.RECORD_START, recording, uid)

            async def add(recording: Recording) -> None:
                await self._catalog.operations.add(operation, _succeeded(operation), recording=recording)

            await self._commands.begin(recording, add)
            self._start_cooldown.begin((app_id, session_id), self._now_us())
            return operation

    async def stop(self, *, app_id: str, session_id: str, command_uid: str | None) -> Operation:
        """Stop the recording that ``start`` began; its file follows.

        Raises NotFound, Forbidden, TooSoon, CommandConflict, and LimitReached while a restart has the session.
        """
        async with self._turn(app_id, session_id):
            if (earlier := await self._earlier(app_id, session_id, command_uid, Command.RECORD_STOP)) is not None:
                return earlier
            session = self._session(app_id, session_id)
            self._stop_cooldown.check((app_id, session_id), self._now_us())
            recording = _recording(session)
            if recording is None:
                raise CommandConflict("No recording is running", state="none")
            operation = self._operation(Command.RECORD_STOP, recording, command_uid or str(uuid.uuid4()))
            await self._catalog.operations.add(operation, _succeeded(operation))
            with suppress(WavstreamError):  # it came to its end by itself while the command was written
                await self._commands.end(app_id=app_id, recording_id=recording.id)
            self._stop_cooldown.begin((app_id, session_id), self._now_us())
            return operation

    async def finish_stops(self) -> None:
        """After a restart: do the stops that were written and, when the server went down, not done."""
        for stop in await self._catalog.operations.undone_stops():
            with suppress(WavstreamError):  # it came to its end by itself
                await self._commands.end(app_id=stop.app_id, recording_id=stop.recording_id, end_us=unix_us(stop.at))

    def newest(self, *, app_id: str, session_id: str) -> Recording | None:
        """The recording of a live session that began last and still runs; raises NotFound, Forbidden, LimitReached."""
        running = [recording.row for recording in self._session(app_id, session_id).running]
        return max(running, key=lambda recording: recording.created_at, default=None)

    def _turn(self, app_id: str, session_id: str) -> asyncio.Lock:
        return self._turns.setdefault((app_id, session_id), asyncio.Lock())

    async def _earlier(
        self, app_id: str, session_id: str, command_uid: str | None, command: Command
    ) -> Operation | None:
        if command_uid is None:
            return None
        known = await self._catalog.operations.get(
            app_id=app_id, session_id=session_id, command_uid=command_uid, since=utc(self._now_us()) - KEPT
        )
        if known is not None and known.command is not command:
            raise CommandConflict(
                "command_uid was used for another command", state=known.command, command=known.command
            )
        return known

    def _session(self, app_id: str, session_id: str) -> Session:
        self._sessions.check_open()  # a session that was let go of has no recordings any more
        session = self._sessions.find(app_id, session_id)
        if session is not None:
            return session
        owners = self._sessions.apps_of(session_id)
        if app_id in owners:
            raise LimitReached("A restart has the session in its hands: try again", retry_after_s=1)
        if owners:
            raise Forbidden("Session belongs to another application")
        raise NotFound("Session not found")

    def _operation(self, command: Command, recording: Recording, command_uid: str) -> Operation:
        return Operation(
            id=str(uuid.uuid4()),
            app_id=recording.app_id,
            session_id=recording.session_id,
            command=command,
            command_uid=command_uid,
            recording_id=recording.id,
            at=utc(self._now_us()),
        )


def _recording(session: Session) -> Recording | None:
    """The recording that a command started and that runs or waits for its stream."""
    recordings = [recording.row for recording in (*session.running, *session.waiting)]
    return next((recording for recording in recordings if recording.command_uid is not None), None)


def _succeeded(operation: Operation) -> Fact:
    return command_done(
        app_id=operation.app_id,
        session_id=operation.session_id,
        operation_id=operation.id,
        command=operation.command,
        command_uid=operation.command_uid,
        error=None,
        at=operation.at,
    )
