"""What the API of transcripts is asked and answers, as documents with their examples."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wavstream.catalog.sought_words import sought_words
from wavstream.catalog.transcriptions import TranscriptionStatus
from wavstream.model.document import Document
from wavstream.model.options import Language
from wavstream.model.times import Moment


class AskForTranscript(BaseModel):
    """Transcribe a finished recording."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"language": "en-US"}]},
    )

    language: Language | None = None
    """Language, as a tag such as `en-US`; null: the recording's option, else the server's setting."""


class TranscriptionDocument(Document):
    """The work of transcribing a recording, and what became of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5b0a7c1e9d420d6c8d5f6f0b4b0a9c2f",
                    "recording_id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
                    "status": "failed",
                    "progress": 40,
                    "language": "de-DE",
                    "engine": "pocketsphinx",
                    "attempts": 1,
                    "error": "pocketsphinx has English alone, and this is de-DE",
                    "created_at": "2026-11-01T10:01:00.000000Z",
                    "done_at": "2026-11-01T10:01:02.000000Z",
                }
            ]
        }
    )

    id: str
    recording_id: str
    status: TranscriptionStatus
    """waiting, running, done (the transcript can be read) or failed."""
    progress: int
    """Percent of the speech."""
    language: str | None
    engine: str | None
    """Null until it was tried."""
    attempts: int
    """Times that it has failed."""
    error: str | None
    """Why it failed, for a person; of one that waits: why it did the last time."""
    created_at: Moment
    done_at: Moment | None


class WordDocument(Document):
    """One word."""

    word: str
    start_ms: int
    """In the file."""
    end_ms: int
    call_start_ms: int
    """In the call, from the start of the recording: pauses and what was trimmed lie between the two."""
    confidence: float | None
    """From 0 to 1; null: the engine does not say."""


class SegmentDocument(Document):
    """What one channel said in one go."""

    channel: int
    start_ms: int
    end_ms: int
    call_start_ms: int
    text: str
    words: list[WordDocument]


class SpeakerDocument(Document):
    """One channel of the file, and who is heard on it."""

    channel: int
    side: Literal["left", "right", "mono"]
    legs: list[str]


class TranscriptDocument(Document):
    """What was said in a recording."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5b0a7c1e9d420d6c8d5f6f0b4b0a9c2f",
                    "recording_id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
                    "language": "en-US",
                    "engine": "pocketsphinx",
                    "timing": "word",
                    "duration_ms": 61240,
                    "speech_ms": 900,
                    "work_ms": 1010,
                    "speakers": [{"channel": 0, "side": "left", "legs": ["a"]}],
                    "segments": [
                        {
                            "channel": 0,
                            "start_ms": 2850,
                            "end_ms": 3310,
                            "call_start_ms": 2850,
                            "text": "hello",
                            "words": [
                                {
                                    "word": "hello",
                                    "start_ms": 2850,
                                    "end_ms": 3310,
                                    "call_start_ms": 2850,
                                    "confidence": 0.9,
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    )

    id: str
    recording_id: str
    language: str
    engine: str
    timing: Literal["word", "segment"]
    """`word`: each word has its own times; `segment`: they are spread over what was said in one go."""
    duration_ms: int
    speech_ms: int
    """Of all channels together."""
    work_ms: int
    """CPU that it took on this server."""
    speakers: list[SpeakerDocument]
    segments: list[SegmentDocument]
    """In the order in which they begin."""


class RedactionDocument(Document):
    """A stretch that may have to be redacted."""

    kind: Literal["card_number"]
    channel: int
    start_ms: int
    end_ms: int
    call_start_ms: int
    last_digits: str


class Redactions(Document):
    """What may have to be redacted; nothing was."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "recording_id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
                    "spans": [
                        {
                            "kind": "card_number",
                            "channel": 0,
                            "start_ms": 8120,
                            "end_ms": 12480,
                            "call_start_ms": 8120,
                            "last_digits": "1111",
                        }
                    ],
                }
            ]
        }
    )

    recording_id: str
    spans: list[RedactionDocument]


class Hit(Document):
    """A segment with one of the words that were looked for."""

    channel: int
    speaker: str
    start_ms: int
    text: str


class FoundTranscript(Document):
    """A transcript in which all words were found."""

    recording_id: str
    transcribed_at: Moment
    language: str
    hits: list[Hit]
    """The first five."""


class FoundTranscripts(Document):
    """Transcripts in which all words were found, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "data": [
                        {
                            "recording_id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
                            "transcribed_at": "2026-11-01T10:01:00.000000Z",
                            "language": "en-US",
                            "hits": [{"channel": 0, "speaker": "a", "start_ms": 2850, "text": "hello"}],
                        }
                    ],
                    "next_cursor": "MTc5MzUyNzIwMDowZDZj",
                }
            ]
        }
    )

    data: list[FoundTranscript]
    next_cursor: str | None
    """Give it as `cursor` to read on; null: there is no more."""


class TranscribedDayDocument(Document):
    """What was transcribed on one day, UTC."""

    day: date
    transcripts: int
    """One that was made anew counts again."""
    speech_ms: int
    """Of all channels together: what the engine was given."""


class TranscribedDays(Document):
    """What was transcribed for the app, day by day; the oldest first, days without any left out."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"data": [{"day": "2026-11-01", "transcripts": 3, "speech_ms": 91240}]}]}
    )

    data: list[TranscribedDayDocument]


class DaysQuery(BaseModel):
    """How far back."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    days: Annotated[int, Field(ge=1, le=1000)] = 31
    """Today, by UTC, is the last of them."""


def _words(text: str) -> str:
    if not sought_words(text):
        raise ValueError("must have a letter or a digit")
    return text


class SearchQuery(BaseModel):
    """What to look for."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    q: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_words)]
    """Words, all of which are said, anywhere in the recording; large and small letters are the same. What is written
    without spaces, as Chinese and Thai, may be any part of what was said."""
    limit: Annotated[int, Field(ge=1, le=200)] = 20
    cursor: str | None = None
    """The `next_cursor` of the page before."""
