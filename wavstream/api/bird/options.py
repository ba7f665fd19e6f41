"""What Bird's requests may say, field by field, and which option of a recording each becomes.

Types are strict in a body: a number in quotes is refused, since guessing would hide the mistake until the file sounds
wrong. Bird gives no bounds of its lengths, so they have ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from wavstream.api.translation import NO_TRANSCRIPTS, TRANSCRIPTION, Becomes, translated
from wavstream.model.ids import is_customer_id
from wavstream.model.options import LONGEST_S, RecordingOptions

PROMISED: dict[str, Any] = {
    "format": "mp3",
    "channels": "mono",
    "track": "both",
    "initial_timeout_s": 0.0,
    "end_silence_timeout_s": 0.0,
    "trim": "none",
    "beep": False,
    "terminators": "",
    # Bird does not say what a pause leaves in the file; our choice.
    "pause_behavior": "skip",
    "transcription": False,
    "transcription_language": None,
}
"""What a start means beyond its fields: the defaults of the server or of the app must not change it."""

NO_TRANSCRIPT = {TRANSCRIPTION: NO_TRANSCRIPTS}
"""What the metadata of a recording say of a transcript that is wanted."""
MAX_PAGE_TOKEN_CHARACTERS = 8_000

EndKey = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"]

RecordLocale = Literal[
    "ar-AE", "ar-SA", "zh-CN", "zh-TW", "da-DK", "nl-NL", "en-AU", "en-GB", "en-IN", "en-IE", "en-NZ", "en-AB", "en-ZA",
    "en-US", "en-WL", "fr-FR", "fr-CA", "fa-IR", "de-DE", "de-CH", "he-IL", "hi-IN", "id-ID", "it-IT", "ja-JP", "ko-KR",
    "ms-MY", "pt-PT", "pt-BR", "ru-RU", "es-ES", "es-US", "sv-SE", "ta-IN", "te-IN", "th-TH", "tr-TR", "vi-VN",
]  # fmt: skip
"""The languages that Bird takes with a ``record``."""

TranscriptionLocale = Literal[
    "ar-AE", "ar-SA", "cmn-CN", "cy-GB", "da-DK", "de-CH", "de-DE", "el-GR", "en-AU", "en-GB", "en-GB-WLS", "en-IE",
    "en-IN", "en-NZ", "en-US", "en-ZA", "es-ES", "es-MX", "es-US", "fr-CA", "fr-FR", "he-IL", "hi-IN", "id-ID", "is-IS",
    "it-IT", "ja-JP", "ko-KR", "ms-MY", "nb-NO", "nl-NL", "pl-PL", "pt-BR", "pt-PT", "ro-RO", "ru-RU", "sv-SE", "ta-IN",
    "te-IN", "th-TH", "tr-TR", "vi-VN", "zh-CN", "zh-HK", "zh-TW", "arb", "af-ZA", "bn-IN", "ca-ES", "cmn-TW", "cs-CZ",
    "fi-FI", "fil-PH", "gu-IN", "hu-HU", "kn-IN", "lt-LT", "lv-LV", "ml-IN", "mr-IN", "pa-IN", "sk-SK", "sr-RS",
    "uk-UA", "yue-HK", "no-NO",
]  # fmt: skip
"""The languages that Bird takes for the transcription of a finished recording: others than with a ``record``."""


def _account_id(text: str) -> str:
    if not is_customer_id(text):
        raise ValueError("must be 1 to 256 printable characters")
    return text


AnyId = Annotated[str, AfterValidator(_account_id), Field(json_schema_extra={"minLength": 1, "maxLength": 256})]
"""An id of a workspace, a channel or a call. Bird's are UUIDs; those of another switch need not be."""


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True)


class RecordCall(_Body):
    """Record the whole call, both of its bridged streams. Nothing of it need be said."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"maxLength": 3600, "stereo": True}, {}]})

    max_length: Annotated[int, Field(ge=0, le=LONGEST_S), Becomes("max_length_s")] = 0
    """Recorded seconds after which it ends; 0: no limit."""
    stereo: Annotated[bool, Becomes("channels", {True: "stereo", False: "mono"})] = False
    """Whether each party has a channel of its own in the file."""


class Record(_Body):
    """Record a message, as voicemail does: until a key, a silence or a length ends it. Nothing of it need be said."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"endKey": "#", "maxLength": 120, "timeout": 5, "beep": True}, {}]}
    )

    end_key: Annotated[EndKey | None, Becomes("terminators")] = None
    """The key that ends it; left out: none does."""
    max_length: Annotated[int, Field(ge=0, le=LONGEST_S), Becomes("max_length_s")] = 0
    """Recorded seconds after which it ends; 0: no limit."""
    timeout: Annotated[int, Field(ge=0, le=LONGEST_S), Becomes("end_silence_timeout_s")] = 0
    """Seconds of silence after speech, after which it ends; 0: silence does not end it."""
    beep: Annotated[bool, Becomes("beep")] = False
    """Whether a tone tells the parties that it begins."""
    transcribe: Annotated[bool, Becomes("transcription")] = False
    """Whether a transcript is wanted. Where the server makes none, the recording's metadata says so."""
    transcribe_locale: Annotated[RecordLocale, Becomes("transcription_language")] = "en-US"
    """Language of the transcript."""


class StartOptions(Record, RecordCall):
    """The options of both commands, for a start by our own API in Bird's words."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"maxLength": 3600, "stereo": True}, {"endKey": "#"}]})

    format: Annotated[Literal["mp3"], Becomes("format")] = "mp3"
    """Bird's recordings are MP3."""


class ChangeRecording(_Body):
    """Pause a recording, let it go on, or stop it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "paused"}, {"status": "completed"}]})

    status: Literal["paused", "ongoing", "completed"]
    """`paused` pauses, `ongoing` resumes, `completed` stops."""


class CreateTranscription(_Body):
    """Transcribe a finished recording."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"locale": "en-US"}]})

    locale: TranscriptionLocale
    """Language of the recording."""
    message_id: AnyId | None = None
    conversation_id: AnyId | None = None
    recording_id: AnyId | None = None


_LOCALES: tuple[str, ...] = get_args(TranscriptionLocale)
USUAL_LOCALE = "en-US"
"""Bird's default."""


def locale_of(language: str) -> str:
    """Return Bird's locale for the language of a transcript, which an engine may have named: ``de`` is ``de-DE``.

    One that Bird does not know comes back unchanged.
    """
    first = language.partition("-")[0].lower()
    for wanted in (language, f"{first}-{first}", f"{first}-US"):
        if (known := next((each for each in _LOCALES if each.lower() == wanted.lower()), None)) is not None:
            return known
    return next((each for each in _LOCALES if each.partition("-")[0] == first), language)


def options_of(said: RecordCall | Record, defaults: RecordingOptions) -> RecordingOptions:
    """Return the options that a start means, over those of the app; a transcript that is wanted is told as missing."""
    options = defaults.changed(PROMISED | translated(said))
    return options.changed({"metadata": {**options.metadata, **NO_TRANSCRIPT}}) if options.transcription else options


class _Query(BaseModel):
    # Not strict: all that a query has is text.
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True)

    page_token: Annotated[str, Field(max_length=MAX_PAGE_TOKEN_CHARACTERS)] | None = None
    """The `nextPageToken` of the page before."""


class CallPage(_Query):
    """Which page of a call's recordings."""

    limit: Annotated[int, Field(ge=1, le=1_000)] = 10
    """How many at most; the server's own limit (200 unless set otherwise) cuts it."""


class Page(_Query):
    """Which page of a workspace's list."""

    limit: Annotated[int, Field(ge=1, le=99)] = 10
    """How many at most."""


class ListRecordings(Page):
    """Which recordings of a workspace to list: those to which everything said applies."""

    source_id: str | None = None
    """The call."""
    channel_id: str | None = None
    id: str | None = None
    """A recording, or its call."""
    direction: Literal["incoming", "outgoing"] | None = None
    start_at: AwareDatetime | None = None
    """Created at this time or later; RFC 3339."""
    end_at: AwareDatetime | None = None
    """Created at this time or earlier; RFC 3339."""
    from_: str | None = Field(default=None, alias="from")
    """The calling party, exactly as the switch wrote it."""
    to: str | None = None
    """The called party, exactly as the switch wrote it."""


class Metrics(Page):
    """Of which recordings the storage is asked for. There is one answer, so neither the limit nor the token cuts it."""

    source_id: str | None = None
    """The call."""
