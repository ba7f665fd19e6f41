"""The settings of transcripts: whether any are made, by which engine, and how much of the machine that may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wavstream.model.options import Language
from wavstream.settings.tables import Seconds, Secret, Table

EngineName = Literal["A", "B", "deepgram/nova-3"]


class EngineSettings(Table):
    """An engine: what makes words of speech."""

    engine: Literal["none", "pocketsphinx", "faster-whisper", "http"] = "none"
    """`pocketsphinx` (English, offline, rough), `faster-whisper` (a model of this machine), `http` (a server that
    transcribes: speech leaves this machine) or `none`; none, since it takes as much CPU as the call was long."""
    model: str | None = None
    """faster-whisper: the folder of its model, nothing is downloaded; http: the name that the server knows, `whisper-1`
    unless set."""
    url: str | None = None
    """http: the whole address, such as https://api.example.com/v1/audio/transcriptions; it may be what the address of a
    webhook may be."""
    key: Secret | None = None
    """Secret. http: sent as `Authorization: Bearer`."""
    allow_http: bool = False
    """Whether `url` may begin with http://; off, since what was said would go unencrypted."""
    allow_localhost: bool = False
    """Whether `url` may be this machine or its network; off, as for webhooks."""
    timeout_s: Seconds = 120.0
    """http: seconds for the answer to one stretch of speech, of half a minute at most."""
    max_bytes: Annotated[int, Field(ge=65_536, le=1_073_741_824)] = 2_000_000
    """http: bytes of the largest request; half a minute is 960,000."""


def _is_one(said: EngineSettings) -> EngineSettings:
    if said.engine == "none":
        raise ValueError("must name an engine: pocketsphinx, faster-whisper or http")
    return said


class TranscriptionSettings(EngineSettings):
    """Transcripts of finished recordings that ask for one; without an `engine` none is made."""

    language: Language | None = None
    """Language, as a tag such as `en-US`, of recordings that do not say theirs; not set: the engine finds out, or has
    one alone."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Programs that transcribe at the same time, each on one thread and of the lowest priority."""
    nice: Annotated[int, Field(ge=0, le=19)] = 19
    """Priority of these programs, as `nice` has it: 0 is the server's own; 19, the lowest, since calls come first."""
    hang_s: Seconds = 300.0
    """Seconds without a sign of life, for half a minute of speech at most, after which such a program is ended and the
    recording tried again."""

    engines: dict[EngineName, Annotated[EngineSettings, AfterValidator(_is_one)]] = Field(default={})
    """Other engines, by the name under which Telnyx's `transcription_engine` asks for one (`A`, `B`,
    `deepgram/nova-3`): a table `[transcription.engines.B]` with the names from `engine` to `max_bytes`; in the
    environment one JSON object. A name that is not there is `engine`."""

    @property
    def is_on(self) -> bool:
        """Whether transcripts are made."""
        return self.engine != "none"
