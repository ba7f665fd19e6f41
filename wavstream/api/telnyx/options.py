"""The options of ``record_start``, and the options of ours that they become.

1. A field that is left out has the vendor's default, whatever the app's or the server's own options are: only what the
   vendor has no word for (sample rate, sensitivity, retention, the app's metadata) is taken from there.
2. Nothing redacts yet, and not every server transcribes. Who asks for what is not available reads so in the recording's
   metadata; the details are kept with the recording.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wavstream.api.translation import NO_TRANSCRIPTS, TRANSCRIPTION, Becomes, translated
from wavstream.model.options import LONGEST_S, RecordingOptions

_TAGS = """
af af-ZA am am-ET ar ar-AE ar-BH ar-DZ ar-EG ar-IL ar-IQ ar-JO ar-KW ar-LB ar-MA ar-MR ar-OM ar-PS ar-QA ar-SA ar-TN
ar-YE as auto_detect az az-AZ ba be bg bg-BG bn bn-BD bn-IN bo br bs bs-BA ca ca-ES cs cs-CZ cy da da-DK de de-AT
de-CH de-DE el el-GR en en-AU en-CA en-GB en-GH en-HK en-IE en-IN en-KE en-NG en-NZ en-PH en-PK en-SG en-TZ en-US
en-ZA es es-419 es-AR es-BO es-CL es-CO es-CR es-DO es-EC es-ES es-GT es-HN es-MX es-NI es-PA es-PE es-PR es-PY es-SV
es-US es-UY es-VE et et-EE eu eu-ES fa fa-IR fi fi-FI fil-PH fo fr fr-BE fr-CA fr-CH fr-FR gl gl-ES gu gu-IN ha haw he
hi hi-IN hr hr-HR ht hu hu-HU hy hy-AM id id-ID is is-IS it it-CH it-IT iw-IL ja ja-JP jv-ID jw ka ka-GE kk kk-KZ km
km-KH kn kn-IN ko ko-KR la lb ln lo lo-LA lt lt-LT lv lv-LV mg mi mk mk-MK ml ml-IN mn mn-MN mr mr-IN ms ms-MY mt my
my-MM ne ne-NP nl nl-BE nl-NL nn no no-NO oc pa pa-Guru-IN pl pl-PL ps pt pt-BR pt-PT ro ro-RO ru ru-RU rw-RW sa sd si
si-LK sk sk-SK sl sl-SI sn so sq sq-AL sr sr-RS ss-latn-za st-ZA su su-ID sv sv-SE sw sw-KE sw-TZ ta ta-IN ta-LK ta-MY
ta-SG te te-IN tg th th-TH tk tl tn-latn-za tr tr-TR ts-ZA tt uk uk-UA ur ur-IN ur-PK uz uz-UZ ve-ZA vi vi-VN xh-ZA yi
yo yue-Hant-HK zh zh-TW zu-ZA
"""
LANGUAGES = frozenset(_TAGS.split())
"""The tags that the vendor's client knows."""


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be base64") from error
    return text


def _file_name(text: str) -> str:
    if not text.isprintable() or "/" in text or "\\" in text:
        raise ValueError("must be printable characters without slashes")
    return text


def _language(text: str) -> str:
    if text not in LANGUAGES:
        raise ValueError("must be auto_detect or a language tag such as en-US")
    return text


def _distinct(kinds: list[str]) -> list[str]:
    if len(set(kinds)) < len(kinds):
        raise ValueError("must name each kind once")
    return kinds


USUAL_ENGINE: Final = "A"
"""What is asked for by who does not say."""
ClientState = Annotated[str, Field(max_length=4_096), AfterValidator(_base64)]
"""State of the caller's, in base64."""
_Speakers = Annotated[int, Field(ge=1, le=100)]


class StartOptions(BaseModel):
    """How a call is recorded, in Telnyx's words."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {"format": "wav", "channels": "dual"},
                {
                    "format": "mp3",
                    "channels": "single",
                    "play_beep": True,
                    "max_length": 3600,
                    "timeout_secs": 30,
                    "trim": "trim-silence",
                    "custom_file_name": "support",
                    "client_state": "aGF2ZSBhIG5pY2UgZGF5",
                },
            ]
        },
    )

    format: Annotated[Literal["wav", "mp3"], Becomes("format")]
    channels: Annotated[Literal["single", "dual"], Becomes("channels", {"single": "mono", "dual": "stereo"})]
    """`dual`: the first leg is on the left, all others are on the right."""
    client_state: Annotated[ClientState | None, Becomes("client_state")] = None
    """Base64, at most 4096 characters; repeated in the webhooks of the recording."""
    play_beep: Annotated[bool, Becomes("beep")] = False
    """Whether a tone at the start tells that the call is recorded."""
    max_length: Annotated[int, Field(ge=0, le=LONGEST_S), Becomes("max_length_s")] = 0
    """Seconds after which the recording ends; 0: it has no limit."""
    timeout_secs: Annotated[int, Field(ge=0, le=LONGEST_S), Becomes("end_silence_timeout_s")] = 0
    """Seconds of silence, after somebody has spoken, that end the recording; 0: it goes on."""
    recording_track: Annotated[Literal["both", "inbound", "outbound"], Becomes("track")] = "both"
    """What is recorded of the call. A single track makes a mono file, whatever `channels` says."""
    trim: Annotated[Literal["trim-silence"] | None, Becomes("trim", {"trim-silence": "silence"})] = None
    """`trim-silence`: without the silence before the first speech and after the last."""
    custom_file_name: Annotated[
        Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_file_name)] | None, Becomes("file_name")
    ] = None
    """Begin of the file's name, in place of the call's leg id; the Unix time is appended."""
    transcription: Annotated[bool, Becomes("transcription")] = False
    """Whether a transcript is wanted. Where the server makes none, the recording's metadata say so."""
    transcription_engine: Literal["A", "B", "deepgram/nova-3"] = USUAL_ENGINE
    """Which engine of the server it is, its settings say (`transcription.engines`)."""
    transcription_language: Annotated[
        Annotated[str, AfterValidator(_language)] | None, Becomes("transcription_language")
    ] = None
    """A tag that Telnyx knows, such as `en-US`, or `auto_detect`."""
    transcription_min_speaker_count: _Speakers | None = None
    """1 to 100."""
    transcription_max_speaker_count: _Speakers | None = None
    """1 to 100."""
    transcription_profanity_filter: bool = False
    transcription_speaker_diarization: bool = False
    redaction: Annotated[list[Literal["pci", "pii", "phi"]], Field(min_length=1), AfterValidator(_distinct)] | None = (
        None
    )
    """What is to be silenced: card, personal or health details. Nothing is yet: the recording's metadata say so."""

    @property
    def unavailable(self) -> dict[str, str]:
        """What is asked for and cannot be had: why, by the name of the field."""
        asked = {"transcription": self.transcription, "redaction": self.redaction is not None}
        return {name: UNAVAILABLE[name] for name in UNAVAILABLE if asked[name]}

    @property
    def details(self) -> dict[str, Any]:
        """What was said of that beside the options: kept with the recording (rule 2)."""
        return self.model_dump(
            mode="json",
            exclude_unset=True,
            include={name for name in type(self).model_fields if name.startswith(("transcription_", "redaction"))},
        )


def engine_of(said: Mapping[str, Any]) -> str:
    """Return the engine that a start asks for, from its details."""
    return str(said.get("transcription_engine", USUAL_ENGINE))


UNAVAILABLE = {
    TRANSCRIPTION: NO_TRANSCRIPTS,
    "redaction": "not available: this server redacts nothing",
}
_ALWAYS: dict[str, Any] = {
    "trim": "none",
    "pause_behavior": "skip",
    "initial_timeout_s": 0.0,
    "terminators": "",
    "transcription_language": None,
    "client_state": None,
}
"""Options that a request cannot name, or does not when it leaves a field out (rule 1)."""


def options_of(said: StartOptions, defaults: RecordingOptions) -> RecordingOptions:
    """Return the options that a request means, over those of the app."""
    metadata = {**defaults.metadata, **said.unavailable}
    return defaults.changed({**_ALWAYS, **translated(said), "metadata": metadata})
