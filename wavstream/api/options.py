"""What a request may say when it starts a recording, and how that becomes options.

Types are strict: a number in quotes is refused, since guessing would hide the mistake until the file sounds wrong.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ
from wavstream.model.ids import is_customer_id
from wavstream.model.options import (
    DEFAULT_SENSITIVITY,
    DTMF_DIGITS,
    LONGEST_S,
    MAX_SENSITIVITY,
    ChannelLayout,
    FileFormat,
    PauseBehavior,
    RecordingOptions,
    TrackChoice,
    Trim,
    valid_terminators,
    valid_timeout,
)

METADATA_PAIRS = 50
METADATA_BYTES = 8_192


def _customer_id(text: str) -> str:
    if not is_customer_id(text):
        raise ValueError("must be 1 to 256 printable characters")
    return text


def _file_name(text: str) -> str:
    if not text.isprintable() or "/" in text or "\\" in text:
        raise ValueError("must be printable characters without slashes")
    return text


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be base64") from error
    return text


def _small(pairs: dict[str, str]) -> dict[str, str]:
    try:
        size_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in pairs.items())
    except UnicodeEncodeError as error:
        raise ValueError("must be Unicode text, without half a surrogate pair") from error
    if size_bytes > METADATA_BYTES:
        raise ValueError(f"must not be larger than {METADATA_BYTES} bytes in all")
    return pairs


SessionId = Annotated[
    str,
    AfterValidator(_customer_id),
    Field(
        title="Session id",
        description="The id of the call, as your switch knows it: 1 to 256 printable characters.",
        json_schema_extra={"minLength": 1, "maxLength": 256},
        examples=["call-77"],
    ),
]


Timeout = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False), AfterValidator(valid_timeout)]


def _describe(schema: dict[str, Any]) -> None:
    schema["examples"] = [
        {"session_id": "call-77"},
        {"session_id": "call-77", "channels": "mono", "file_name": "support", "metadata": {"agent": "12"}},
        {"session_id": "call-77", "format": "mp3", "end_silence_timeout_s": 5, "trim": "silence", "terminators": "#"},
    ]
    for field in schema["properties"].values():
        # What is left out is the operator's choice, so the defaults below are not promised to the reader.
        field.pop("default", None)


class StartRecording(BaseModel):
    """Start a recording of a session, with options; what is left out is as the app's or the server's settings say."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True, json_schema_extra=_describe)

    session_id: SessionId
    format: Literal["wav", "mp3"] = "wav"
    """Form of the file."""
    channels: Literal["mono", "stereo"] = "stereo"
    """Channels of the file; in stereo each party has its own."""
    track: Literal["both", "inbound", "outbound"] = "both"
    """Which tracks are recorded: what the parties say, what they hear, or both. A single one makes a mono file."""
    sample_rate: Annotated[int, Field(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)] | None = None
    """Hertz; null: the highest rate of the tracks that the recording begins with. MP3 takes the nearest that it has."""
    max_length_s: Annotated[int, Field(ge=0, le=LONGEST_S)] = 0
    """Recorded seconds after which the recording ends; 0: no limit."""
    initial_timeout_s: Timeout = 0.0
    """Recorded seconds, at least 0.1, without any speech from the start on, after which it ends as `no_input`; 0: it
    does not."""
    end_silence_timeout_s: Timeout = 0.0
    """Recorded seconds, at least 0.1, of silence after speech, after which it ends as `silence`; 0: it does not."""
    sensitivity: Annotated[float, Field(ge=0, le=MAX_SENSITIVITY, allow_inf_nan=False)] = DEFAULT_SENSITIVITY
    """How readily a sound is taken for speech, from 0 (loud speech only) to 100 (nearly anything)."""
    trim: Literal["none", "silence"] = "none"
    """What is cut from the ends of the file: nothing, or the silence before the first speech and after the last."""
    beep: bool = False
    """Whether a tone at the start tells that the call is recorded, in the file and to the parties."""
    terminators: Annotated[
        str,
        AfterValidator(valid_terminators),
        Field(json_schema_extra={"maxLength": len(DTMF_DIGITS), "pattern": "^[0-9*#A-D]*$"}),
    ] = ""
    """DTMF digits, each of which ends the recording; empty: none does."""
    pause_behavior: Literal["skip", "silence"] = "skip"
    """What a pause leaves in the file: nothing, or silence of the same length."""
    file_name: Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_file_name)] | None = None
    """Begin of the file's name, to which the Unix time of the start is added; null: the session id."""
    client_state: Annotated[str, Field(max_length=4_096), AfterValidator(_base64)] | None = None
    """Base64, handed back unchanged."""
    metadata: Annotated[
        dict[Annotated[str, Field(min_length=1)], str], Field(max_length=METADATA_PAIRS), AfterValidator(_small)
    ] = Field(default={})
    """Pairs of strings, 8192 bytes in all, handed back unchanged."""
    retention_hours: Annotated[int, Field(ge=1, le=87_600)] | None = None
    """Hours that the file is kept after the stop; null: as the app's or the server's settings say."""

    def options(self, defaults: RecordingOptions) -> RecordingOptions:
        """The options asked for, over ``defaults``."""
        said = self.model_dump(exclude_unset=True, exclude={"session_id"})
        return replace(defaults, **{name: _TYPES.get(name, _same)(value) for name, value in said.items()})

    def digest(self) -> str:
        """The same for equal requests, however they were written."""
        said = self.model_dump(exclude_unset=True)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _same(value: Any) -> Any:
    return value


_TYPES: dict[str, Any] = {
    "format": FileFormat,
    "channels": ChannelLayout,
    "track": TrackChoice,
    "trim": Trim,
    "pause_behavior": PauseBehavior,
}
