"""Runs the steps of a document on a call, one after another.

1. Variables are put in when their step comes, and its parameters are checked again with them. What is wrong then fails
   the step.
2. A step that fails does not end the run: the next ones may look at its result, as SWML has it. In the end the run is
   ``failed``, and says what failed first.
3. A run is over when its call is, or when the server shuts down, whatever steps are left.
4. A stop that finds its recording ended by itself, by a key or by silence, has succeeded: nothing runs any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import structlog
from pydantic import ValidationError

from wavstream.api.facade import FacadeDependencies
from wavstream.api.mistakes import field_error
from wavstream.api.signalwire.call_recordings import CallRecordings
from wavstream.api.signalwire.options import options_of
from wavstream.api.signalwire.swml import variables
from wavstream.api.signalwire.swml.live_call import LOOK_EVERY_S, CallEnded, LiveCall
from wavstream.api.signalwire.swml.player import CannotPlay, Player
from wavstream.api.signalwire.swml.run import Run, StepStatus
from wavstream.api.signalwire.swml.variables import FAILED, SUCCESS, UnsetVariable, filled, is_reference, plain
from wavstream.api.signalwire.swml.verbs import Parameters, Play, Record, RecordCall, Rules, Step, StopRecordCall
from wavstream.errors import InvalidFields, NotFound, PeerError, WavstreamError
from wavstream.model.recording import EndReason, Recording, Status

log = structlog.get_logger(__name__)


class StepFailed(Exception):
    """A step could not be done: its text says why."""


class Interpreter:
    """Does what documents say. It holds no state of theirs: a run has its own."""

    def __init__(self, parts: FacadeDependencies, recordings: CallRecordings, *, rules: Rules) -> None:
        self._parts = parts
        self._recordings = recordings
        # What is played is looked up when it is: the recordings of the run itself may lie under any address.
        self._rules = replace(rules, check_recording_url=lambda _: None)
        self._player = Player(parts)

    async def run(self, run: Run, call: LiveCall) -> None:
        """Run a document to its end, or to that of the call; what comes of it is told by the run."""
        error: str | None = None
        try:
            for step, state in zip(run.program, run.steps, strict=True):
                call.check()  # rule 3
                state.status, state.started_at = StepStatus.RUNNING, self._parts.now()
                try:
                    state.note = await self._do(step, run, call)
                    state.status = StepStatus.COMPLETED
                except (StepFailed, CannotPlay, WavstreamError) as failure:  # rule 2
                    state.note = _told(failure, run)
                    state.status = StepStatus.FAILED
                    if step.parameters.RESULT is not None:
                        run.variables[step.parameters.RESULT] = FAILED
                    for name in step.parameters.MADE:  # what they say was of an earlier recording
                        run.variables.pop(name, None)
                state.ended_at = self._parts.now()
        except CallEnded as end:
            error = str(end)
        except asyncio.CancelledError:
            error = "the server was stopped"
            raise
        except Exception:  # ours: a run is nobody's request, so nobody else would log it
            error = "the server made a mistake; its log says more"
            log.exception("swml_run_failed", run_id=run.id, session_id=run.call_id, app_id=run.app_id)
        finally:
            run.end(self._parts.now(), error)

    async def _do(self, step: Step, run: Run, call: LiveCall) -> str | None:
        """Do one step; return what there is to say about it.

        Raises StepFailed, CannotPlay, CallEnded and WavstreamError.
        """
        match self._parameters(step, run):
            case RecordCall() as asked:
                await self._record_call(asked, run)
                return None
            case Record() as asked:
                return await self._record(asked, run, call)
            case StopRecordCall() as asked:
                return await self._stop(asked, run)
            case Play() as asked:
                notes = await self._player.play(call, asked, made=run.made)
                return "; ".join(notes) or None
        raise AssertionError(step.verb)

    # ---- the verbs ---------------------------------------------------------------------------------------------

    async def _record_call(self, asked: RecordCall, run: Run) -> None:
        recording = await self._start(asked, run, control_id=asked.control_id)
        run.variables[variables.RECORD_CALL_URL] = self._parts.urls.of(recording)
        run.variables[variables.RECORD_CONTROL_ID] = recording.origin.control_id or ""
        run.variables[variables.RECORD_CALL_RESULT] = SUCCESS

    async def _record(self, asked: Record, run: Run, call: LiveCall) -> str:
        recording = await self._start(asked, run, control_id=None)
        run.variables[variables.RECORD_URL] = self._parts.urls.of(recording)
        ended = await self._until_ended(recording, run, call)
        if ended.status is not Status.AVAILABLE:
            raise StepFailed(f"the recording has no file: it is {ended.status}{_because(ended)}")
        run.variables[variables.RECORD_RESULT] = SUCCESS
        return f"the recording ended{_because(ended)}"

    async def _start(self, asked: RecordCall | Record, run: Run, *, control_id: str | None) -> Recording:
        defaults = await self._parts.app_cache.options(run.app_id)
        recording = await self._recordings.start(
            app_id=run.app_id,
            call_id=run.call_id,
            options=options_of(asked, defaults),
            control_id=control_id,
            status_url=asked.status_url,
            command=asked.VERB,
            said={"project_id": run.project or ""},
        )
        run.remember(self._parts.urls.of(recording), recording.id, recording.origin.control_id)
        return recording

    async def _until_ended(self, recording: Recording, run: Run, call: LiveCall) -> Recording:
        """Wait for the end of a recording, which the end of its call brings too."""
        waiting = asyncio.ensure_future(self._parts.commands.wait_ended(app_id=run.app_id, recording_id=recording.id))
        try:
            while not (await asyncio.wait((waiting,), timeout=LOOK_EVERY_S))[0]:
                call.check_server()  # rule 3
            return waiting.result()
        finally:
            waiting.cancel()

    async def _stop(self, asked: StopRecordCall, run: Run) -> str | None:
        note = None
        try:
            await self._recordings.stop(app_id=run.app_id, call_id=run.call_id, control_id=asked.control_id)
        except NotFound:
            note = await self._ended_by_itself(asked.control_id, run)  # rule 4
            if note is None:
                raise
        run.variables[variables.STOP_RECORD_CALL_RESULT] = SUCCESS
        return note

    async def _ended_by_itself(self, control_id: str | None, run: Run) -> str | None:
        """Return how the recording ended that was to be stopped; None: no document has started it, or it runs."""
        meant = [made for made in run.made.values() if control_id in (None, made.control_id)]
        if not meant:
            return None
        recording = await self._parts.commands.get(app_id=run.app_id, recording_id=meant[-1].recording_id)
        if recording.status.is_running or recording.end_reason is EndReason.STOPPED:
            return None
        return f"the recording had ended already{_because(recording)}"

    # ---- parameters --------------------------------------------------------------------------------------------

    def _parameters(self, step: Step, run: Run) -> Parameters:
        """Return the parameters of a step with the variables as they are now (rule 1); raise StepFailed."""
        try:
            said = {name: _filled(step, name, value, run.variables) for name, value in step.said.items()}
            return step.parameters.model_validate(said, context=self._rules)
        except UnsetVariable as unset:
            raise StepFailed(f"the variable {unset} is not set: no step before this one has set it") from None
        except ValidationError as error:
            wrong = [field_error(detail) for detail in error.errors(include_url=False, include_input=False)]
            places = [".".join(map(str, detail["loc"])) for detail in error.errors(include_url=False)]
            told = (f"{place} {field.detail}" for place, field in zip(places, wrong, strict=True))
            raise StepFailed("; ".join(told)) from None


def _filled(step: Step, name: str, said: Any, values: dict[str, str]) -> Any:
    if isinstance(said, list):
        return [_filled(step, name, each, values) for each in said]
    if not isinstance(said, str) or name in step.parameters.FIXED:
        return said
    text = filled(said, values)
    return plain(text) if is_reference(said) and name not in step.parameters.TEXTS else text


def _because(recording: Recording) -> str:
    return "" if recording.end_reason is None else f" ({recording.end_reason})"


def _told(failure: Exception, run: Run) -> str:
    """Return what a run says of a failure; log what its caller cannot mend."""
    match failure:
        case InvalidFields(fields=fields):
            return "; ".join(field.detail for field in fields)
        case WavstreamError() if not isinstance(failure, PeerError):
            log.error("swml_step_failed", run_id=run.id, session_id=run.call_id, app_id=run.app_id, exc_info=failure)
            return failure.public_text
    return str(failure)
