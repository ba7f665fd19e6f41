"""The options of a recording: one model that every API maps to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class FileFormat(StrEnum):
    """The form of the finished file; also its extension."""

    WAV = "wav"


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
    """Nothing: what follows comes right after what was before."""
    SILENCE = "silence"
    """Silence of the pause's length."""


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What is asked of one recording. Values are valid: whoever builds this has checked them."""

    format: FileFormat = FileFormat.WAV
    channels: ChannelLayout = ChannelLayout.STEREO
    track: TrackChoice = TrackChoice.BOTH
    sample_rate: int | None = None
    """Hertz, 8000..48000; None: the highest of the tracks known when the first block is written."""
    pause_behavior: PauseBehavior = PauseBehavior.SKIP
    file_name: str | None = None
    """1..40 characters; the Unix time of the start is appended. None: the session id is used."""
    client_state: str | None = None
    """Base64, handed back unchanged."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Handed back unchanged."""
    retention_hours: int | None = None
    """Hours from the stop; None: the app's or the server's setting."""

    @property
    def file_channels(self) -> int:
        """Channels of the file: a single track is mono."""
        return 2 if self.channels is ChannelLayout.STEREO and self.track is TrackChoice.BOTH else 1
