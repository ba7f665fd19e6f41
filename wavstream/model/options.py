"""The options of a recording, with the values that each may have, whichever API asks.

An option is a field of ``RecordingOptions``: its type says which values it may have, its docstring what callers read of
it. All others take options from there: the request that starts a recording, the operator's defaults and the document of
a recording by ``with_options``, the journal and the catalog as the dataclass that it is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetPydanticSchema, TypeAdapter, create_model

from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ

DEFAULT_SENSITIVITY = 44.0
MAX_SENSITIVITY = 100.0
LONGEST_S = 14_400
"""Seconds: what a limit or a timeout may be at most, four hours."""
SHORTEST_TIMEOUT_S = 0.1
DTMF_DIGITS = frozenset("0123456789*#ABCD")
METADATA_PAIRS = 50
METADATA_BYTES = 8_192
LONGEST_RETENTION_HOURS = 87_600
"""Ten years."""


class FileFormat(StrEnum):
    """The form of the finished file; also its extension."""

    WAV = "wav"
    MP3 = "mp3"


class ChannelLayout(StrEnum):
    """How many channels the file has."""

    MONO = "mono"
    STEREO = "stereo"


class TrackChoice(StrEnum):
    """Which tracks are recorded; a single one makes a mono file."""

    BOTH = "both"
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class PauseBehavior(StrEnum):
    """What a pause leaves in the file."""

    SKIP = "skip"
    """Nothing: the audio after the pause comes right after the audio before it."""
    SILENCE = "silence"
    """Silence of the pause's length."""


class Trim(StrEnum):
    """What is cut away from the ends of the file."""

    NONE = "none"
    SILENCE = "silence"
    """All but 200 ms of what lies before the first speech and after the last."""


def _valid_timeout(timeout_s: float) -> float:
    if 0 < timeout_s < SHORTEST_TIMEOUT_S:
        raise ValueError(f"must be 0, or at least {SHORTEST_TIMEOUT_S}")
    return timeout_s


def _valid_terminators(text: str) -> str:
    if not set(text) <= DTMF_DIGITS or len(set(text)) < len(text):
        raise ValueError("must be digits of 0-9 * # A-D, each at most once")
    return text


def _valid_file_name(text: str) -> str:
    if not text.isprintable() or "/" in text or "\\" in text:
        raise ValueError("must be printable characters without slashes")
    return text


def _valid_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be base64") from error
    return text


def _valid_metadata(pairs: dict[str, str]) -> dict[str, str]:
    try:
        size_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in pairs.items())
    except UnicodeEncodeError as error:
        raise ValueError("must be Unicode text, without half a surrogate pair") from error
    if size_bytes > METADATA_BYTES:
        raise ValueError(f"must not be larger than {METADATA_BYTES} bytes in all")
    return pairs


def _whole_if_it_is(length_s: float) -> int | float:
    return int(length_s) if length_s.is_integer() else length_s


_AnyLength = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False), AfterValidator(_whole_if_it_is)]
# One number to pydantic, which would find two mistakes in what is neither an int nor a float; whole ones stay whole.
_Length = Annotated[int | float, GetPydanticSchema(lambda _, handler: handler(_AnyLength))]
_Timeout = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False), AfterValidator(_valid_timeout)]
Language = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
"""A tag such as ``en-US``, or a vendor's word such as ``auto_detect``: letters, digits, ``-`` and ``_``."""
RetentionHours = Annotated[int, Field(ge=1, le=LONGEST_RETENTION_HOURS)]


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What is asked of one recording. Values are valid: whoever builds this has checked them."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    format: FileFormat = FileFormat.WAV
    """Form of the file."""
    channels: ChannelLayout = ChannelLayout.STEREO
    """Channels of the file; in stereo each party has its own."""
    track: TrackChoice = TrackChoice.BOTH
    """Which tracks are recorded: what the parties say, what they hear, or both. A single one makes a mono file."""
    sample_rate: Annotated[int, Field(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)] | None = None
    """Hertz; null: the highest rate of the tracks that the recording begins with. MP3 takes the nearest that it has."""
    max_length_s: _Length = 0
    """Recorded seconds after which the recording ends; 0: no limit."""
    initial_timeout_s: _Timeout = 0.0
    """Recorded seconds, at least 0.1, without any speech from the start on, after which it ends as `no_input`; 0: it
    does not."""
    end_silence_timeout_s: _Timeout = 0.0
    """Recorded seconds, at least 0.1, of silence after speech, after which it ends as `silence`; 0: it does not."""
    sensitivity: Annotated[float, Field(ge=0, le=MAX_SENSITIVITY, allow_inf_nan=False)] = DEFAULT_SENSITIVITY
    """How readily a sound is taken for speech, from 0 (loud speech only) to 100 (nearly anything)."""
    trim: Trim = Trim.NONE
    """What is cut from the ends of the file: nothing, or the silence before the first speech and after the last."""
    beep: bool = False
    """Whether a tone at the start tells that the call is recorded, in the file and to the parties."""
    terminators: Annotated[
        str,
        AfterValidator(_valid_terminators),
        Field(json_schema_extra={"maxLength": len(DTMF_DIGITS), "pattern": "^[0-9*#A-D]*$"}),
    ] = ""
    """DTMF digits, each of which ends the recording; empty: none does."""
    pause_behavior: PauseBehavior = PauseBehavior.SKIP
    """What a pause leaves in the file: nothing, or silence of the same length."""
    transcription: bool = False
    """Whether a transcript is wanted; it is made where the server has an engine for it."""
    transcription_language: Language | None = None
    """Language of the transcript, as a tag such as `en-US`; null: nobody said."""
    file_name: Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_valid_file_name)] | None = None
    """Begin of the file's name, to which the Unix time of the start is added; null: the session id."""
    client_state: Annotated[str, Field(max_length=4_096), AfterValidator(_valid_base64)] | None = None
    """Base64, handed back unchanged."""
    metadata: Annotated[
        dict[Annotated[str, Field(min_length=1)], str],
        Field(max_length=METADATA_PAIRS),
        AfterValidator(_valid_metadata),
    ] = field(default_factory=dict)
    """Pairs of strings, 8192 bytes in all, handed back unchanged."""
    retention_hours: RetentionHours | None = None
    """Hours that the file is kept after the stop; null: as the app's or the server's settings say. An answer has what
    they said at the start, and null where another store decides."""

    @property
    def may_end(self) -> bool:
        """Whether the recording may end by itself: the fold finds out when."""
        return bool(self.max_length_s or self.initial_timeout_s or self.end_silence_timeout_s or self.terminators)

    @property
    def file_channels(self) -> int:
        """Channels of the file: a single track is mono."""
        return 2 if self.channels is ChannelLayout.STEREO and self.track is TrackChoice.BOTH else 1

    def changed(self, options: Mapping[str, Any]) -> RecordingOptions:
        """Return these options with others over them: their names and valid values, as JSON has them."""
        return msgspec.convert({**msgspec.to_builtins(self), **options}, RecordingOptions)


OF_ONE_CALL = frozenset({"file_name", "client_state", "metadata", "retention_hours"})
"""The options that have no default of the server's."""

_Model = TypeVar("_Model", bound=BaseModel)


def with_options(
    *, without: Collection[str] = (), required: bool = False, texts: Mapping[str, str] | None = None
) -> Callable[[type[_Model]], type[_Model]]:
    """Return a class decorator that gives a model the options of a recording as fields, after its own.

    A field that the model declares itself stays as it is there. ``texts`` are told of options in place of their
    docstrings, ``required`` says that none may be left out.
    """

    def decorate(model: type[_Model]) -> type[_Model]:
        types = get_type_hints(RecordingOptions, include_extras=True)
        defaults = msgspec.to_builtins(RecordingOptions())
        told = {**_descriptions(), **(texts or {})}
        added: dict[str, Any] = {}
        for option in fields(RecordingOptions):
            if option.name in without or option.name in model.model_fields:
                continue
            default = ... if required else defaults[option.name]
            added[option.name] = (_json_type(types[option.name]), Field(default, description=told[option.name]))
        return create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **added)

    return decorate


@cache
def _descriptions() -> dict[str, str]:
    schema = TypeAdapter(RecordingOptions).json_schema()
    return {name: option["description"] for name, option in schema["properties"].items()}


def _json_type(option: Any) -> Any:
    """Return the type of an option's value in JSON, where an enumeration is one of its texts."""
    if isinstance(option, type) and issubclass(option, StrEnum):
        return Literal[tuple(member.value for member in option)]
    return option
