"""The gateway's two commands, ``record/start`` and ``record/stop``, without their HTTP.

1. A command is refused or taken on. One that is refused leaves nothing behind: its command_uid may be used again, no
   cooldown begins, nothing is started or stopped.
2. One that is taken on is written first, in one transaction with the recording that it starts and the fact that it has
   succeeded, and done then: what can still fail is told by the facts of the recording. Its command_uid stands for it
   for a day, whatever becomes of the session and the server meanwhile.
3. The order of the checks: a known command_uid; the session, and whose it is; whether there is a media URL; the
   cooldown; the recording. Commands to one session are taken one after another, so two with one command_uid run once.
4. A session has at most one recording that these commands started; they do not see those that were started otherwise.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from wavstream.catalog.operations import Operations
from wavstream.errors import Conflict, Forbidden, NotFound, NotYetSafe, OperatorError, TooSoon, WavstreamError
from wavstream.model.fact import Fact, command_done
from wavstream.model.operation import Operation
from wavstream.model.options import RecordingOptions
from wavstream.model.origin import GATEWAY, Origin
from wavstream.model.recording import Recording
from wavstream.model.times import unix_us, utc
from wavstream.sessions.commands import Commands
from wavstream.sessions.keyed_locks import KeyedLocks

COMMAND_TTL = timedelta(hours=24)
_ORIGIN = Origin(api=GATEWAY, command="record/start")
START_COOLDOWN_US, STOP_COOLDOWN_US = 2_000_000, 100_000
"""Those of the gateway's groups of commands, ``heavy`` and ``seek``."""


class Command(StrEnum):
    """What may be commanded."""

    RECORD_START = "record/start"
    RECORD_STOP = "record/stop"


class CommandConflict(Conflict):
    """The session is not in a state that allows the command; ``detail`` names what is in the way."""

    def __init__(self, message: str, *, state: str, **detail: str) -> None:
        super().__init__(message, state=state)
        self.detail = detail


class NotConfigured(OperatorError):
    """Whoever runs the server has turned this off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRules:
    """What whoever runs the server has chosen."""

    has_media_url: bool = True
    """False: ``record/start`` is refused."""
    stop_is_heavy: bool = True
    """Whether a stop shares the cooldown of the start; else it has one of its own, ``STOP_COOLDOWN_US``."""


class GatewayCommands:
    """Starts and stops the recordings of the gateway's applications."""

    def __init__(
        self,
        commands: Commands,
        operations: Operations,
        *,
        rules: CommandRules,
        now_us: Callable[[], int],
        wall: Callable[[], datetime] | None = None,
    ) -> None:
        """Count cooldowns by ``now_us``; commands are kept, and told, by ``wall``, None: by that too."""
        self._wall = wall or (lambda: utc(now_us()))
        self._commands = commands
        self._operations = operations
        self._rules = rules
        self._now_us = now_us
        self._start_cooldown = Cooldown(START_COOLDOWN_US)
        self._stop_cooldown = self._start_cooldown if rules.stop_is_heavy else Cooldown(STOP_COOLDOWN_US)
        self._turns = KeyedLocks()

    async def start(
        self, *, app_id: str, session_id: str, command_uid: str | None, options: RecordingOptions
    ) -> Operation:
        """Start a recording of a live session.

        Raises NotFound, Forbidden, NotConfigured, TooSoon, CommandConflict, LimitReached, and what the opener raises.
        """
        async with self._turns.of(app_id, session_id):  # from here on in the order of rule 3
            if (earlier := await self._earlier(app_id, session_id, command_uid, Command.RECORD_START)) is not None:
                return earlier
            running = self._commanded(app_id, session_id)
            if not self._rules.has_media_url:
                raise NotConfigured("WAVSTREAM_URL not configured")
            self._start_cooldown.check((app_id, session_id), self._now_us())
            if running is not None:
                raise CommandConflict("A recording is already running", state=running.status, recording_id=running.id)
            uid = command_uid or str(uuid.uuid4())
            taken_on: list[Operation] = []

            async def add(recording: Recording) -> None:
                operation = self._operation(Command.RECORD_START, recording, uid)
                await self._operations.add(operation, _succeeded(operation), recording=recording)  # rule 2
                taken_on.append(operation)

            await self._commands.begin(
                app_id=app_id,
                session_id=session_id,
                options=options,
                origin=_ORIGIN,
                add=add,
                request_id=uid,
                keepalive=True,
            )
            self._start_cooldown.begin((app_id, session_id), self._now_us())  # rule 1: not before it is taken on
            return taken_on[0]

    async def stop(self, *, app_id: str, session_id: str, command_uid: str | None) -> Operation:
        """Stop the recording that ``start`` began; its file follows.

        Raises NotFound, Forbidden, TooSoon, CommandConflict, and LimitReached while a restart has the session.
        """
        async with self._turns.of(app_id, session_id):  # from here on in the order of rule 3
            if (earlier := await self._earlier(app_id, session_id, command_uid, Command.RECORD_STOP)) is not None:
                return earlier
            recording = self._commanded(app_id, session_id)
            self._stop_cooldown.check((app_id, session_id), self._now_us())
            if recording is None:
                raise CommandConflict("No recording is running", state="none")
            operation = self._operation(Command.RECORD_STOP, recording, command_uid or str(uuid.uuid4()))
            await self._operations.add(operation, _succeeded(operation))  # rule 2
            try:
                await self._commands.end(app_id=app_id, recording_id=recording.id)
            except NotYetSafe:
                raise
            except WavstreamError:
                pass  # it came to its end by itself while the command was written
            self._stop_cooldown.begin((app_id, session_id), self._now_us())
            return operation

    async def finish_stops(self, is_ours: Callable[[str], bool] = lambda session_id: True) -> None:
        """Do, after a restart, the stops that were written and, when the server went down, not done.

        ``is_ours``: whether a session is this worker's.
        """
        for stop in await self._operations.undone(Command.RECORD_STOP):
            if not is_ours(stop.session_id):
                continue
            with suppress(WavstreamError):  # it came to its end by itself
                recording = await self._commands.get(app_id=stop.app_id, recording_id=stop.recording_id)
                began_at = recording.started_at or recording.created_at
                # Another clock than the journal's: where the two differ it may name a moment before the first word.
                end_us = unix_us(stop.at) if stop.at > began_at else None
                await self._commands.end(app_id=stop.app_id, recording_id=stop.recording_id, end_us=end_us)

    def newest(self, *, app_id: str, session_id: str) -> Recording | None:
        """Return the running recording of a live session that began last, whatever started it.

        Raises NotFound, Forbidden, LimitReached.
        """
        running = [recording for recording in self._recordings(app_id, session_id) if recording.started_at is not None]
        return max(running, key=lambda recording: recording.created_at, default=None)

    async def _earlier(
        self, app_id: str, session_id: str, command_uid: str | None, command: Command
    ) -> Operation | None:
        if command_uid is None:
            return None
        known = await self._operations.get(
            app_id=app_id, session_id=session_id, request_id=command_uid, since=self._wall() - COMMAND_TTL
        )
        if known is not None and known.command != command:
            raise CommandConflict(
                "command_uid was used for another command", state=known.command, command=known.command
            )
        return known

    def _recordings(self, app_id: str, session_id: str) -> list[Recording]:
        """Return those of a live session; refuse others in the gateway's words."""
        try:
            return self._commands.recordings_of(app_id, session_id)
        except NotFound:
            raise NotFound("Session not found") from None
        except Forbidden:
            raise Forbidden("Session belongs to another application") from None

    def _commanded(self, app_id: str, session_id: str) -> Recording | None:
        """Return the recording that a command started and that runs or waits for its stream (rule 4)."""
        recordings = self._recordings(app_id, session_id)
        return next((recording for recording in recordings if recording.origin.api == GATEWAY), None)

    def _operation(self, command: Command, recording: Recording, command_uid: str) -> Operation:
        return Operation(
            id=str(uuid.uuid4()),
            app_id=recording.app_id,
            session_id=recording.session_id,
            command=command,
            request_id=command_uid,
            recording_id=recording.id,
            at=self._wall(),
        )


class Cooldown:
    """A time after something was done in which it is not done again, for each key. Reads no clock."""

    def __init__(self, length_us: int) -> None:
        self._length_us = length_us
        self._ends_us: OrderedDict[Hashable, int] = OrderedDict()
        """Those that end first come first: all are equally long."""

    def __len__(self) -> int:
        return len(self._ends_us)

    def check(self, key: Hashable, now_us: int) -> None:
        """Raise TooSoon while the cooldown of this key lasts."""
        left_us = self._ends_us.get(key, now_us) - now_us
        if left_us > 0:
            raise TooSoon("Command cooldown", retry_after_s=-(-left_us // 1_000_000))

    def begin(self, key: Hashable, now_us: int) -> None:
        """Begin the cooldown of this key: it was done. Those that are over are forgotten."""
        while self._ends_us and next(iter(self._ends_us.values())) <= now_us:
            self._ends_us.popitem(last=False)
        self._ends_us[key] = now_us + self._length_us
        self._ends_us.move_to_end(key)


def _succeeded(operation: Operation) -> Fact:
    return command_done(
        app_id=operation.app_id,
        session_id=operation.session_id,
        operation_id=operation.id,
        command=operation.command,
        request_id=operation.request_id,
        error=None,
        at=operation.at,
    )
