"""The options of a recording: one model that every API maps to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_SENSITIVITY = 44.0
MAX_SENSITIVITY = 100.0
LONGEST_S = 14_400
"""Seconds: what a limit or a timeout may be at most, four hours."""
SHORTEST_TIMEOUT_S = 0.1
DTMF_DIGITS = frozenset("0123456789*#ABCD")


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
    """Nothing: what follows comes right after what was before."""
    SILENCE = "silence"
    """Silence of the pause's length."""


class Trim(StrEnum):
    """What is cut away from the ends of the file."""

    NONE = "none"
    SILENCE = "silence"
    """All but 200 ms of what lies before the first speech and after the last."""


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What is asked of one recording. Values are valid: whoever builds this has checked them."""

    format: FileFormat = FileFormat.WAV
    channels: ChannelLayout = ChannelLayout.STEREO
    track: TrackChoice = TrackChoice.BOTH
    sample_rate: int | None = None
    """Hertz, 8000..48000; None: the highest of the tracks known when the first block is written."""
    max_length_s: int = 0
    """Recorded seconds, 0..14400, after which it ends by itself; skipped pauses do not count. 0: no limit."""
    initial_timeout_s: float = 0.0
    """Recorded seconds, 0.1..14400, without any speech from the start on, after which it ends as ``no_input``. 0: it
    does not."""
    end_silence_timeout_s: float = 0.0
    """Recorded seconds, 0.1..14400, of silence after speech, after which it ends as ``silence``. 0: it does not."""
    sensitivity: float = DEFAULT_SENSITIVITY
    """0..100: how readily a sound is taken for speech."""
    trim: Trim = Trim.NONE
    beep: bool = False
    """Whether a tone at the start tells that the call is recorded, in the file and to the parties."""
    terminators: str = ""
    """DTMF digits, each of which ends the recording."""
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


def valid_timeout(timeout_s: float) -> float:
    """The timeout, if it is 0 or not too short to hear anything in; raises ValueError."""
    if 0 < timeout_s < SHORTEST_TIMEOUT_S:
        raise ValueError(f"must be 0, or at least {SHORTEST_TIMEOUT_S}")
    return timeout_s


def valid_terminators(text: str) -> str:
    """The text, if it is DTMF digits, each at most once, or empty; raises ValueError."""
    if not set(text) <= DTMF_DIGITS or len(set(text)) < len(text):
        raise ValueError("must be digits of 0-9 * # A-D, each at most once")
    return text
