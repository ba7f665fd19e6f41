"""``POST /api/calling/calls``: start, pause, resume and stop recordings of a call, one command a request.

1. Which fields a body has is said by its ``command``. One that is not known is refused with all that is wrong beside
   it, so that a caller reads everything at once.
2. SignalWire's specification has a recording's options in ``params.record.audio``, its client sends them in
   ``params.audio``: either is taken, both are refused.
3. The answer is the leg of the call, as SignalWire has it, with the ``control_id`` that the recording answers to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Body
from fastapi.openapi.models import Example
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from starlette.responses import JSONResponse, Response

from wavstream.api.facade import Account, AppId, FacadeDependencies, check_status_url
from wavstream.api.options import SessionId
from wavstream.api.routes import Router
from wavstream.api.signalwire.answers import WrongParameters, refusals
from wavstream.api.signalwire.call_leg import CallLeg, call_leg
from wavstream.api.signalwire.call_recordings import CallRecordings
from wavstream.api.signalwire.options import RecordAudio, options_of
from wavstream.errors import LimitReached, NotFound
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import Recording
from wavstream.model.session import SessionView

CheckUrl = Callable[[str], None]
"""Raises ValueError for a URL that callbacks may not go to."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable characters")
    return text


ControlId = Annotated[
    str,
    Field(min_length=1, max_length=256, description="The caller's handle of one recording of the call."),
    AfterValidator(_printable),
]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class RecordBlock(_Strict):
    """The options where the specification has them."""

    audio: RecordAudio | None = None


class RecordParams(_Strict):
    """What to record, and who is told of it."""

    control_id: ControlId | None = None
    """No two running recordings of a call have the same; left out: one is made, and is in the answer."""
    audio: RecordAudio | None = None
    """The options where SignalWire's client has them."""
    record: RecordBlock | None = None
    """The options where the specification has them: here or in `audio`."""
    status_url: Annotated[str, Field(examples=["https://shop.example/hooks"])] | None = None
    """Where the state of the recording is told; left out: nowhere."""

    @field_validator("record")
    @classmethod
    def _once(cls, record: RecordBlock | None, info: ValidationInfo) -> RecordBlock | None:
        if record is not None and record.audio is not None and info.data.get("audio") is not None:  # rule 2
            raise ValueError("has the options that audio has too: give them once")
        return record

    @field_validator("status_url")
    @classmethod
    def _allowed(cls, url: str | None, info: ValidationInfo) -> str | None:
        check: CheckUrl | None = info.context
        if url is not None and check is not None:
            check(url)
        return url

    @property
    def options(self) -> RecordAudio:
        """The options that were given, or SignalWire's."""
        return self.audio or (self.record and self.record.audio) or RecordAudio()


class HandleParams(_Strict):
    """Which recording of the call is meant."""

    control_id: ControlId | None = None
    """Left out: the one that this API started last and that still runs."""


class PauseParams(HandleParams):
    """Which recording is meant, and what the pause leaves in it."""

    behavior: Literal["skip", "silence"] = "skip"
    """Nothing, or silence of the same length."""


_EXAMPLES: dict[str, dict[str, Any]] = {
    command: {"id": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "command": command, "params": params}
    for command, params in {
        "calling.record": {
            "control_id": "rec-1",
            "record": {"audio": {"format": "wav", "stereo": True, "direction": "both"}},
            "status_url": "https://shop.example/hooks",
        },
        "calling.record.pause": {"control_id": "rec-1", "behavior": "silence"},
        "calling.record.resume": {"control_id": "rec-1"},
        "calling.record.stop": {"control_id": "rec-1"},
    }.items()
}


class RecordCommand(_Strict):
    """Start a recording of a call."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLES["calling.record"]]})

    id: SessionId
    command: Literal["calling.record"]
    params: RecordParams = RecordParams()


class PauseCommand(_Strict):
    """Let nothing that is said reach the recording from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLES["calling.record.pause"]]})

    id: SessionId
    command: Literal["calling.record.pause"]
    params: PauseParams = PauseParams()


class ResumeCommand(_Strict):
    """Go on after a pause."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLES["calling.record.resume"]]})

    id: SessionId
    command: Literal["calling.record.resume"]
    params: HandleParams = HandleParams()


class StopCommand(_Strict):
    """End a recording; its file follows."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLES["calling.record.stop"]]})

    id: SessionId
    command: Literal["calling.record.stop"]
    params: HandleParams = HandleParams()


class _AnyCommand(_Strict):
    """What all commands have: for one that names none of them."""

    id: SessionId
    command: Literal["calling.record", "calling.record.pause", "calling.record.resume", "calling.record.stop"]
    params: dict[str, Any] = {}


CallCommand = RecordCommand | PauseCommand | ResumeCommand | StopCommand

_COMMANDS: dict[str, type[CallCommand]] = {
    "calling.record": RecordCommand,
    "calling.record.pause": PauseCommand,
    "calling.record.resume": ResumeCommand,
    "calling.record.stop": StopCommand,
}


def command_type(check_url: CheckUrl) -> Any:
    """Return the type of a command's body, on a server with these rules for URLs."""

    def by_name(said: Any, _: object) -> BaseModel:
        name = said.get("command") if isinstance(said, dict) else None
        form = _COMMANDS.get(name, _AnyCommand) if isinstance(name, str) else _AnyCommand  # rule 1
        return form.model_validate(said, context=check_url)

    examples: dict[str, Example] = {name: {"value": example} for name, example in _EXAMPLES.items()}
    return Annotated[CallCommand, WrapValidator(by_name), Body(openapi_examples=examples)]


def routes(parts: FacadeDependencies, recordings: CallRecordings) -> Router:
    """Return the route of commands."""
    router = Router(prefix="/api/calling/calls", tags=["calling"])

    async def command(said: CallCommand, app_id: AppId, project: Account) -> Response:
        """Send a command to a call. A start is answered once the recording has begun, or waits for its call."""
        recording = await _done(said, app_id, project or "")
        leg = call_leg(recording, _view(app_id, said.id), parts.now())  # rule 3
        return JSONResponse(leg.as_json())

    async def _done(said: CallCommand, app_id: str, project: str) -> Recording:
        match said:
            case RecordCommand(id=call_id, params=params):
                defaults = await parts.app_cache.options(app_id)
                return await recordings.start(
                    app_id=app_id,
                    call_id=call_id,
                    options=options_of(params.options, defaults),
                    control_id=params.control_id,
                    status_url=params.status_url,
                    command=said.command,
                    said={"project_id": project},
                )
            case PauseCommand(id=call_id, params=params):
                return await recordings.pause(
                    app_id=app_id,
                    call_id=call_id,
                    control_id=params.control_id,
                    behavior=PauseBehavior(params.behavior),
                )
            case ResumeCommand(id=call_id, params=params):
                return await recordings.resume(app_id=app_id, call_id=call_id, control_id=params.control_id)
            case StopCommand(id=call_id, params=params):
                return await recordings.stop(app_id=app_id, call_id=call_id, control_id=params.control_id)

    def _view(app_id: str, call_id: str) -> SessionView | None:
        try:
            return parts.commands.session(app_id, call_id)
        except (NotFound, LimitReached):  # it ended meanwhile, or a restart has it in its hands
            return None

    # The form of a body depends on this server's rules for URLs, so it is made here.
    command.__annotations__["said"] = command_type(lambda url: check_status_url(parts, url))
    router.post(
        "",
        operation_id="sendCallCommand",
        summary="Send a command to a call",
        response_model=CallLeg,
        response_description="The leg of the call.",
        responses=refusals(400, 404, 413, 422, fields=WrongParameters),
    )(command)
    return router
