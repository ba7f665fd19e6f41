"""The verbs that a document may have, each with its parameters, their bounds and the defaults of SWML.

Those defaults differ from the REST API's and between ``record_call`` and ``record``. All of them are passed on, so that
no default of the server's or the app's changes what SWML promises.

The parameters are checked twice by one model: with the document, as far as they are no references to variables, and
when their step comes, with the variables' values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from wavstream.api.signalwire.calls import ControlId
from wavstream.api.signalwire.options import (
    LAYOUTS,
    TRACKS,
    Format,
    Seconds,
    Sensitivity,
    Terminators,
    Timeout,
)
from wavstream.api.signalwire.swml.speech import DEFAULT_LANGUAGE, LONGEST_TEXT
from wavstream.api.translation import Becomes
from wavstream.model.options import DEFAULT_SENSITIVITY, LONGEST_S

MAX_SOUNDS = 100
"""Of one ``play``."""
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{0,6})?|\.[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What this server allows in a document: each raises ValueError for a URL that may not be there."""

    check_status_url: Callable[[str], object]
    check_recording_url: Callable[[str], object]


# ---- what can be played --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing, for a while."""

    length_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """A text that is spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class Playback:
    """A recording of this server."""

    url: str


Sound: TypeAlias = Silence | Speech | Playback


def sound(text: str) -> Sound:
    """Return what a URL of ``play`` means; raise ValueError for one that is not played."""
    scheme, colon, rest = text.partition(":")
    said = rest.strip()
    match scheme if colon else "":
        case "silence":
            if _NUMBER.fullmatch(said) is None or float(said) > LONGEST_S:
                raise ValueError(f"must be silence: and seconds, 0 to {LONGEST_S}")
            return Silence(float(said))
        case "say":
            if not said or len(said) > LONGEST_TEXT:
                raise ValueError(f"must be say: and a text of 1 to {LONGEST_TEXT} characters")
            return Speech(said)
        case "http" | "https":
            return Playback(text)
        case "ring":
            raise ValueError("ring tones are not played")
    raise ValueError("must be silence:<seconds>, say:<text> or the URL of a recording of this server")


def _playable(text: str, info: ValidationInfo) -> str:
    meant = sound(text)
    rules: Rules | None = info.context
    if isinstance(meant, Playback) and rules is not None:
        rules.check_recording_url(meant.url)
    return text


def _status_url(url: str, info: ValidationInfo) -> str:
    rules: Rules | None = info.context
    if rules is not None:
        rules.check_status_url(url)
    return url


def _text_or_none(said: Any) -> Any:
    """Return the text; ``terminators: #`` is YAML for null, and means that there are none."""
    return "" if said is None else said


_StatusUrl = Annotated[str, Field(max_length=2_048), AfterValidator(_status_url)]
_Keys = Annotated[Terminators, BeforeValidator(_text_or_none)]


# ---- the verbs -----------------------------------------------------------------------------------------------------


class Parameters(BaseModel):
    """The parameters of a verb."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    VERB: ClassVar[str]
    RESULT: ClassVar[str | None] = None
    """The variable that says whether a step with the verb succeeded."""
    MADE: ClassVar[tuple[str, ...]] = ()
    """The variables that tell of the recording that such a step has made; a step that fails leaves none of them."""
    TEXTS: ClassVar[frozenset[str]] = frozenset({"control_id", "terminators", "status_url", "urls"})
    """Those that are text, which may have references within."""
    FIXED: ClassVar[frozenset[str]] = frozenset({"format", "direction", "say_language"})
    """Those that cannot be references."""


class RecordCall(Parameters):
    """Record in the background: the next step follows at once."""

    VERB = "record_call"
    RESULT = "record_call_result"
    MADE = ("record_call_url", "record_control_id")

    control_id: ControlId | None = None
    """The recording's name, for `stop_record_call`; left out: one is made."""
    stereo: Annotated[bool, Becomes("channels", LAYOUTS)] = False
    """Whether each party has a channel of its own, with the direction `both`."""
    format: Annotated[Format, Becomes("format")] = "wav"
    """Form of the file; `mp4` is not made here."""
    direction: Annotated[Literal["speak", "listen", "both"], Becomes("track", TRACKS)] = "both"
    """What is recorded: what the party says (`speak`), what it hears (`listen`), or both."""
    terminators: Annotated[_Keys, Becomes("terminators")] = ""
    """DTMF digits, each of which ends the recording; empty or null: none does."""
    beep: Annotated[bool, Becomes("beep")] = False
    """Whether a tone at the start tells that the call is recorded, in the file and to the parties."""
    input_sensitivity: Annotated[Sensitivity, Becomes("sensitivity")] = DEFAULT_SENSITIVITY
    """How readily a sound is taken for speech, from 0.0 (loud speech only) to 100.0 (nearly anything)."""
    initial_timeout: Annotated[Timeout, Becomes("initial_timeout_s")] = 0.0
    """Seconds without any speech from the start on, after which it ends; 0: it does not."""
    end_silence_timeout: Annotated[Timeout, Becomes("end_silence_timeout_s")] = 0.0
    """Seconds of silence after speech, after which it ends; 0: it does not."""
    max_length: Annotated[Seconds, Becomes("max_length_s")] = 0.0
    """Seconds after which it ends; 0: no limit."""
    status_url: _StatusUrl | None = None
    """Where the state of the recording is told; left out: nowhere."""


class Record(Parameters):
    """Record in the foreground: the next step follows when the recording has ended."""

    VERB = "record"
    RESULT = "record_result"
    MADE = ("record_url",)

    stereo: Annotated[bool, Becomes("channels", LAYOUTS)] = False
    format: Annotated[Format, Becomes("format")] = "wav"
    direction: Annotated[Literal["speak", "listen"], Becomes("track", TRACKS)] = "speak"
    terminators: Annotated[_Keys, Becomes("terminators")] = "#"
    beep: Annotated[bool, Becomes("beep")] = False
    input_sensitivity: Annotated[Sensitivity, Becomes("sensitivity")] = DEFAULT_SENSITIVITY
    initial_timeout: Annotated[Timeout, Becomes("initial_timeout_s")] = 4.0
    end_silence_timeout: Annotated[Timeout, Becomes("end_silence_timeout_s")] = 5.0
    max_length: Annotated[Seconds, Becomes("max_length_s")] = 0.0
    status_url: _StatusUrl | None = None


class StopRecordCall(Parameters):
    """End a recording."""

    VERB = "stop_record_call"
    RESULT = "stop_record_call_result"

    control_id: ControlId | None = None
    """Which one; left out: the one that this API started last and that still runs."""


class Play(Parameters):
    """Play to the call: silence, speech, and recordings of this server."""

    VERB = "play"

    urls: Annotated[list[Annotated[str, AfterValidator(_playable)]], Field(min_length=1, max_length=MAX_SOUNDS)]
    volume: Annotated[float, Field(ge=-40, le=40, allow_inf_nan=False)] = 0.0
    """Decibels by which speech and recordings are louder or, below 0, quieter."""
    say_language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$")] = DEFAULT_LANGUAGE
    """Of what is spoken."""


VERBS: dict[str, type[Parameters]] = {
    "record_call": RecordCall,
    "stop_record_call": StopRecordCall,
    "stop_call_record": StopRecordCall,  # as the prose of SignalWire's page has it
    "record": Record,
    "play": Play,
}
"""By the names that a document may use."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a document that was checked."""

    verb: str
    """As the document names it."""
    parameters: type[Parameters]
    said: dict[str, Any]
    """What the document says of them, with references where it has them."""
