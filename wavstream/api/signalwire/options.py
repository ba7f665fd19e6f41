"""The options of ``calling.record``: the ``audio`` of its params, with the defaults of SignalWire's REST API.

Those defaults differ from SWML's, and all of them are passed on: what the server or the app have set for their own
recordings changes nothing of what SignalWire's API promises.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from wavstream.api.translation import Becomes, translated
from wavstream.model.options import (
    DEFAULT_SENSITIVITY,
    DTMF_DIGITS,
    LONGEST_S,
    MAX_SENSITIVITY,
    SHORTEST_TIMEOUT_S,
    RecordingOptions,
)

TRACKS = {"speak": "inbound", "listen": "outbound", "both": "both"}
"""From SignalWire's direction to the tracks that are recorded: seen from the party, what it says and what it hears."""
LAYOUTS = {False: "mono", True: "stereo"}


def known_format(value: Any) -> Any:
    """Return the value; raise ValueError for the one format of SignalWire's that is not made here."""
    if value == "mp4":
        raise ValueError("mp4 is not made here; accepted: mp3, wav")
    return value


def timeout_in_reach(timeout_s: float) -> float:
    """Return the timeout; raise ValueError if it is shorter than silence can be told from speech."""
    if 0 < timeout_s < SHORTEST_TIMEOUT_S:
        raise ValueError(f"must be 0, or at least {SHORTEST_TIMEOUT_S}")
    return timeout_s


def dtmf_digits(text: str) -> str:
    """Return the text; raise ValueError unless it is DTMF digits, each at most once."""
    if not set(text) <= DTMF_DIGITS or len(set(text)) < len(text):
        raise ValueError("must be digits of 0-9 * # A-D, each at most once")
    return text


Seconds = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]
Timeout = Annotated[Seconds, AfterValidator(timeout_in_reach)]
Sensitivity = Annotated[float, Field(ge=0, le=MAX_SENSITIVITY, allow_inf_nan=False)]
Terminators = Annotated[
    str,
    AfterValidator(dtmf_digits),
    Field(json_schema_extra={"maxLength": len(DTMF_DIGITS), "pattern": "^[0-9*#A-D]*$"}),
]
Format = Annotated[Literal["wav", "mp3"], BeforeValidator(known_format)]


class RecordAudio(BaseModel):
    """How a call is recorded."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {"format": "wav", "stereo": True, "direction": "both", "initial_timeout": 0, "terminators": ""}
            ]
        },
    )

    beep: Annotated[bool, Becomes("beep")] = False
    """Whether a tone at the start tells that the call is recorded, in the file and to the parties."""
    format: Annotated[Format, Becomes("format")] = "mp3"
    """Form of the file; `mp4` is not made here."""
    stereo: Annotated[bool, Becomes("channels", LAYOUTS)] = False
    """Whether each party has a channel of its own, with the direction `both`."""
    direction: Annotated[Literal["listen", "speak", "both"], Becomes("track", TRACKS)] = "speak"
    """What is recorded: what the party says (`speak`), what it hears (`listen`), or both."""
    initial_timeout: Annotated[Timeout, Becomes("initial_timeout_s")] = 4.0
    """Seconds, at least 0.1, without any speech from the start on, after which it ends as `no_input`; 0: it does
    not."""
    end_silence_timeout: Annotated[Timeout, Becomes("end_silence_timeout_s")] = 0.5
    """Seconds, at least 0.1, of silence after speech, after which it ends; 0: it does not."""
    terminators: Annotated[Terminators, Becomes("terminators")] = "#"
    """DTMF digits, each of which ends the recording; empty: none does."""
    input_sensitivity: Annotated[Sensitivity, Becomes("sensitivity")] = DEFAULT_SENSITIVITY
    """How readily a sound is taken for speech, from 0 (loud speech only) to 100 (nearly anything)."""
    max_length: Annotated[Seconds, Becomes("max_length_s")] = 0.0
    """Seconds after which the recording ends; 0: no limit."""


StartOptions = RecordAudio
"""The options of a start, as the registry of APIs wants them."""


def options_of(said: BaseModel, defaults: RecordingOptions) -> RecordingOptions:
    """Return the options that a request means, over those of the app."""
    return defaults.changed(translated(said))
