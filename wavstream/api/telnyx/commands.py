"""Telnyx's commands to a call, ``record_start``, ``record_stop``, ``record_pause`` and ``record_resume``, without HTTP.

1. A command is refused and leaves nothing behind, or is done and noted. Commands to one call are taken one after
   another, so two that are the same run once.
2. A command whose ``command_id`` was noted for the call within the last minute, whichever command that was, is not run
   again, and is answered as the one that was noted.
3. The vendor's client sends a request again, and says so, when it got no answer; the one before may have been done or
   may never have arrived. Such a start, equal to one that was noted while the client may have tried, is that one if its
   recording still runs: a start whose answer was lost does not record the call twice. A pause and a resumption are done
   again. A stop is, too; where nothing runs any more, the stop that was noted did it.
4. A call may have several recordings at once. A command that names none is for all that this API started and that run;
   one that names a recording of the call is for that, whoever started it.
5. A pause of what is paused, and a resumption of what is recorded, are done already. A stop waits for the file.
6. A call that is not live has ended if it was recorded. Any other is unknown, as are those of other apps.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from wavstream.api.facade import FacadeDependencies, check_call
from wavstream.api.telnyx.options import options_of
from wavstream.api.telnyx.refusals import Mistake, Refused, ended_call, no_such_recording, unknown_call
from wavstream.api.telnyx.requests import RecordAction, RecordStart
from wavstream.api.translation import TRANSCRIPTION, with_transcript
from wavstream.errors import Conflict, FieldError, Forbidden, InvalidFields, LimitReached, NotFound, WavstreamError
from wavstream.model.file_names import plain_stem
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import from_uuid, is_customer_id
from wavstream.model.operation import Operation
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Recording, Status
from wavstream.sessions.keyed_locks import KeyedLocks
from wavstream.webhooks.telnyx import PUBLIC_LINKS

API = "telnyx"
START, STOP, PAUSE, RESUME = "record_start", "record_stop", "record_pause", "record_resume"
COMMAND_WINDOW = timedelta(seconds=60)
"""How long the vendor says that a ``command_id`` counts."""
RETRY_WINDOW = timedelta(minutes=10)
"""More than the client's three tries take, each of which waits a minute for its answer."""
_LONGEST_NAME = 40


class TelnyxCommands:
    """Starts, stops, pauses and resumes recordings of calls."""

    def __init__(self, parts: FacadeDependencies) -> None:
        self._parts = parts
        self._commands = parts.commands
        self._turns = KeyedLocks()

    async def start(self, *, app_id: str, call: str, said: RecordStart, is_retry: bool) -> str:
        """Record a call; return the id of the recording.

        Raises Refused, LimitReached, and what the opener raises.
        """
        _check_id(call)
        async with self._turns.of(app_id, call):  # rule 1
            command = _Command(app_id, call, START, said)
            if (earlier := await self._noted(command, COMMAND_WINDOW)) is not None:
                return earlier.recording_id
            if is_retry and (earlier := await self._retried(command)) is not None and self._runs(earlier):  # rule 3
                return earlier.recording_id
            try:
                check_call(self._parts, app_id, call)
            except NotFound:
                raise await self._absent(app_id, call) from None
            options = self._options(app_id, call, said, await self._parts.app_cache.options(app_id))
            try:
                recording = await self._commands.begin(
                    app_id=app_id,
                    session_id=call,
                    options=options,
                    origin=self._origin(said),
                    request_id=said.command_id,
                    add=lambda recording: self._note(command, recording),
                )
            except NotFound:  # the media server that was asked for its stream has none
                raise unknown_call() from None
            except InvalidFields as error:
                if any(field.pointer == "/session_id" for field in error.fields):  # it could have none of that name
                    raise unknown_call() from error
                raise
            return recording.id

    async def stop(self, *, app_id: str, call: str, said: RecordAction, is_retry: bool) -> None:
        """Stop recordings of a call, and wait for their files; raises Refused, Conflict, LimitReached."""

        async def stop(recording: Recording) -> None:
            await self._commands.stop(app_id=app_id, recording_id=recording.id)

        await self._act(_Command(app_id, call, STOP, said), is_retry, stop)

    async def pause(self, *, app_id: str, call: str, said: RecordAction, is_retry: bool) -> None:
        """Pause recordings of a call: what is said meanwhile is not in the file. Raises as ``stop`` does."""

        async def pause(recording: Recording) -> None:
            try:
                await self._commands.pause(app_id=app_id, recording_id=recording.id, behavior=PauseBehavior.SKIP)
            except Conflict as error:
                if error.state != Status.PAUSED:  # rule 5
                    raise

        await self._act(_Command(app_id, call, PAUSE, said), is_retry, pause)

    async def resume(self, *, app_id: str, call: str, said: RecordAction, is_retry: bool) -> None:
        """Let paused recordings of a call go on; raises as ``stop`` does."""

        async def resume(recording: Recording) -> None:
            if recording.status is not Status.ONGOING:  # rule 5
                await self._commands.resume(app_id=app_id, recording_id=recording.id)

        await self._act(_Command(app_id, call, RESUME, said), is_retry, resume)

    # ---- which recordings --------------------------------------------------------------------------------------

    async def _act(self, command: _Command, is_retry: bool, act: Callable[[Recording], Awaitable[None]]) -> None:
        _check_id(command.call)
        async with self._turns.of(command.app_id, command.call):  # rule 1
            if await self._noted(command, COMMAND_WINDOW) is not None:
                return
            try:
                recordings = await self._meant(command)
            except (Refused, Conflict):
                if is_retry and command.name == STOP and await self._retried(command) is not None:  # rule 3
                    return
                raise
            if command.said.client_state is not None:  # which every webhook after this one repeats
                for recording in recordings:
                    self._commands.set_client_state(
                        app_id=command.app_id, recording_id=recording.id, client_state=command.said.client_state
                    )
            done = await asyncio.gather(*map(act, recordings), return_exceptions=True)
            failures = [each for each in done if isinstance(each, BaseException)]
            # Of several, one that came to its end by itself meanwhile is no reason to refuse what was done to the rest.
            grave = [each for each in failures if not isinstance(each, Conflict)]
            if grave or len(failures) == len(recordings):
                raise (grave or failures)[0]
            await self._note(command, recordings[0])

    async def _meant(self, command: _Command) -> list[Recording]:
        """Return the running recordings that a command is for (rule 4); raise Refused or Conflict if there is none."""
        try:
            running = self._commands.recordings_of(command.app_id, command.call)
        except (NotFound, Forbidden):
            raise await self._absent(command.app_id, command.call) from None
        if command.recording_id is None:
            if not (ours := [recording for recording in running if recording.origin.api == API]):
                raise Refused(Mistake("10015", "No recording of this call is running."))
            return ours
        named = [recording for recording in running if recording.id == command.recording_id]
        if not named:
            raise await self._not_running(command.app_id, command.call, command.recording_id)
        return named

    async def _not_running(self, app_id: str, call: str, recording_id: str) -> WavstreamError:
        try:
            recording = await self._commands.get(app_id=app_id, recording_id=recording_id)
        except NotFound:
            return no_such_recording("/recording_id")
        if recording.session_id != call:
            return no_such_recording("/recording_id")
        return Conflict(f"The recording does not run any more: it is {recording.status}", state=recording.status)

    async def _absent(self, app_id: str, call: str) -> Refused:
        """Return why a call that is not live takes no command (rule 6)."""
        filters = RecordingFilters(session_id=call, statuses=frozenset(Status))
        recorded = await self._commands.list(app_id=app_id, filters=filters, limit=1, cursor=None)
        return ended_call() if recorded.data else unknown_call()

    # ---- what was done before ----------------------------------------------------------------------------------

    async def _noted(self, command: _Command, window: timedelta) -> Operation | None:
        """Return the command with the caller's own id of this one, if it was noted within that time (rule 2)."""
        return None if command.said.command_id is None else await self._since(command, window)

    async def _retried(self, command: _Command) -> Operation | None:
        """Return the command that this one, sent again, is equal to, if there was one (rule 3)."""
        return await self._since(command, RETRY_WINDOW)

    async def _since(self, command: _Command, window: timedelta) -> Operation | None:
        return await self._parts.operations.get(
            app_id=command.app_id,
            session_id=command.call,
            request_id=command.request_id,
            since=self._parts.now() - window,
        )

    def _runs(self, started: Operation) -> bool:
        try:
            running = self._commands.recordings_of(started.app_id, started.session_id)
        except (NotFound, Forbidden):
            return False
        return any(recording.id == started.recording_id for recording in running)

    async def _note(self, command: _Command, recording: Recording) -> None:
        operation = Operation(
            id=str(uuid.uuid4()),
            app_id=command.app_id,
            session_id=command.call,
            command=command.name,
            request_id=command.request_id,
            recording_id=recording.id,
            at=self._parts.now(),
        )
        starts = recording if command.name == START else None
        await self._parts.operations.add(operation, recording=starts)

    # ---- what a start means ------------------------------------------------------------------------------------

    def _options(self, app_id: str, call: str, said: RecordStart, defaults: RecordingOptions) -> RecordingOptions:
        rules = self._parts.rules
        made = {TRANSCRIPTION} if rules.transcribes else set()
        unavailable = {name: why for name, why in said.unavailable.items() if name not in made}
        if rules.refuse_unavailable and unavailable:
            raise InvalidFields(tuple(FieldError(f"/{name}", f"is {why}") for name, why in unavailable.items()))
        options = options_of(said, defaults)
        if rules.transcribes:
            options = with_transcript(options)
        return options if options.file_name is not None else replace(options, file_name=self._name(app_id, call))

    def _name(self, app_id: str, call: str) -> str | None:
        """Return the begin of the file's name where the caller gives none: the leg's, else the call's.

        It is a whole one; None: there is none that is short enough for the option.
        """
        try:
            session = self._commands.session(app_id, call)
        except (NotFound, LimitReached):  # it is waited for, or a restart has it in its hands
            names = [call]
        else:
            names = [session.vendor_ids.get("call_leg_id", ""), *session.legs[:1], call]
        stems = (plain_stem(name) for name in names)
        return next((stem for stem in stems if 0 < len(stem) <= _LONGEST_NAME), None)

    def _origin(self, said: RecordStart) -> Origin:
        public = {PUBLIC_LINKS: True} if self._parts.rules.public_links else {}
        return Origin(api=API, command=START, said={**said.details, **public})


@dataclass(frozen=True, slots=True)
class _Command:
    """One command to one call, as it is asked for."""

    app_id: str
    call: str
    name: str
    said: RecordStart | RecordAction

    @property
    def recording_id(self) -> str | None:
        """Which recording of the call is meant; None: it names none."""
        named = self.said.recording_id if isinstance(self.said, RecordAction) else None
        return None if named is None else from_uuid(named)

    @property
    def request_id(self) -> str:
        """What it is known by: the caller's own id of it, or one that is made of what it says."""
        if self.said.command_id is not None:
            return f"{API}/{self.said.command_id}"
        content = json.dumps([self.name, self.said.model_dump(mode="json", exclude_unset=True)], sort_keys=True)
        return f"{API}:{hashlib.sha256(content.encode()).hexdigest()}"  # no caller's own id begins so


def _check_id(call: str) -> None:
    if not is_customer_id(call):
        raise unknown_call()
