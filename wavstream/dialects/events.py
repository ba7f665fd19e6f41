"""The events that a dialect makes of messages, and the reasons why it ignores one.

An event is made for every frame, so events are msgspec structs outside the garbage collector: 0.1 us against 0.5 us for
a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wavstream.model.audio import Channel, MediaFormat, Track, TrackClock
from wavstream.model.call import CallFacts

if TYPE_CHECKING:
    from wavstream.dialects.base import Dialect


class Reason(StrEnum):
    """Why a message, or a part of one, was not used: a fixed word, which becomes a metric label, and an explanation."""

    explanation: str
    """Logged once a stream: what happened, and who must act."""

    def __new__(cls, word: str, explanation: str) -> Reason:
        """Make the member equal to its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.explanation = explanation
        return member

    UNKNOWN_EVENT = (
        "unknown_event",
        "an event that this dialect does not have; nobody need act unless audio is missing",
    )
    FREE_TEXT = (
        "free_text",
        "text that is not JSON, or that lost its end or its backslashes on the way: nothing is taken from it; what "
        "must be known belongs into the URL",
    )
    OTHER_FORMAT = (
        "other_format",
        "metadata with another rate or mix than the stream was taken to have, by its URL or for want of anything said: "
        "if the metadata are right, the file plays at the wrong speed; whoever starts the stream must correct the URL",
    )
    NOT_JSON = (
        "not_json",
        "text that is not one JSON object with an event; whoever runs the sender should look at what it sends",
    )
    BINARY = (
        "binary_message",
        "a binary message in a dialect whose audio is in text; its sender should use the dialect of what it sends",
    )
    BEFORE_START = (
        "before_start",
        "a message before the stream's start, when its codec and tracks are unknown; the sender must send start first",
    )
    SECOND_START = (
        "second_start",
        "a stream starts once; the sender must open another WebSocket for another stream",
    )
    BAD_MEDIA = (
        "bad_media",
        "audio whose payload is missing or not base64 in whole samples: it is lost; the sender must correct it",
    )
    UNKNOWN_TRACK = (
        "unknown_track",
        "audio of a track that start.tracks does not name: it is lost; the sender must name all of its tracks",
    )
    BAD_TIMESTAMP = (
        "bad_timestamp",
        "audio whose timestamp is not a number of milliseconds from 0 on: it follows the frame before it, and what was "
        "lost between them is not seen; the sender must correct it",
    )
    BAD_DIGIT = (
        "bad_digit",
        "a DTMF event without one of 0-9 * # A-D: no recording sees it; the sender must correct it",
    )
    TOO_MANY_FIELDS = (
        "too_many_fields",
        "metadata with more than 256 fields: those behind are not looked at; the sender must leave out what is not of "
        "the call",
    )
    PEER_ERROR = (
        "peer_error",
        "an error that the media server tells us of: its own log says more; nobody need act unless audio is missing",
    )
    BAD_MARK = (
        "bad_mark",
        "a mark without a name of 1 to 256 printable characters; the sender must correct it",
    )


class Outgoing(NamedTuple):
    """A message to the peer."""

    is_text: bool
    data: bytes


class StreamStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The stream started: everything about its audio is known. Exactly once, before any frame."""

    session_id: str | None
    """None: the path must name it."""
    leg: str | None
    """None: it is the leg without a name that is away, if there is one; else the session gives the next free letter."""
    format: MediaFormat
    clock: TrackClock
    tracks: tuple[Track, ...]
    """One for each channel of the format, in the order of interleaving."""
    channel: Channel | None = None
    """The channel of a stereo file that this leg asks for."""
    call: CallFacts = CallFacts()
    record: bool = False
    """Whether the stream asks that a recording starts with its session."""
    keepalive: bool | None = None
    """Whether silence is sent while a recording runs; None: only while one runs that keeps channels alive."""
    accepts_audio: bool = False
    """Whether the peer takes audio; one that does not is never sent application data."""
    playback: MediaFormat | None = None
    """The format that the peer takes, if it is not the one that it sends."""
    returns_audio: bool = False
    """Whether audio that is sent to the peer comes back on the stream's outbound track, or on its only one."""
    wire_codec: str | None = None
    """What the codec on the wire is called, if packets were decoded to the format; None: it is the format's own."""
    stream_id: str | None = None
    """The vendor's own id of the stream: streams with different ids are parallel. None: a newer stream of the same leg
    and track replaces this one."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Audio of one track, or of two interleaved ones, as it came."""

    track: int
    """Index into ``StreamStarted.tracks`` of the (first) track."""
    position: int
    """Media time of the first sample, in samples since the stream's start."""
    samples: int
    """Samples of each channel in the payload."""
    payload: bytes
    messages: int = 1
    """Of how many messages that is: several of one size, one behind the other, are read together."""


class Dtmf(msgspec.Struct, frozen=True, gc=False):
    """A key that was pressed."""

    digit: str
    """One of ``model.options.DTMF_DIGITS``."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """The peer gave this moment a name."""

    name: str


class CallInfo(msgspec.Struct, frozen=True, gc=False):
    """Facts of the call that the peer sent after the start."""

    call: CallFacts


class Paused(msgspec.Struct, frozen=True, gc=False):
    """The peer asks to pause its session's recordings."""


class Resumed(msgspec.Struct, frozen=True, gc=False):
    """The peer asks to resume them."""


class StreamStopped(msgspec.Struct, frozen=True, gc=False):
    """The peer ended the stream; nothing after it counts."""


class Ignored(msgspec.Struct, frozen=True, gc=False):
    """A message, or a part of one, that cannot be used and need not be refused; counted under its reason."""

    reason: Reason


class Detected(msgspec.Struct, frozen=True, gc=False):
    """It is known what the stream speaks: what comes behind this is the dialect's."""

    dialect: Dialect


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The peer is answered at once; also before the start, and never later than the events behind it."""

    message: Outgoing


Event = Detected | Reply | StreamStarted | Frame | Dtmf | Mark | CallInfo | Paused | Resumed | StreamStopped | Ignored


MAX_JOINED = 255
"""Messages in a frame: so many have room in a record of the journal."""


def joined(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames of one moment as few: of each track, those that follow each other and are of one size are one."""
    runs: list[list[Frame]] = []
    newest: dict[int, list[Frame]] = {}
    for frame in frames:
        run = newest.get(frame.track)
        if run is not None and len(run) < MAX_JOINED:
            last = run[-1]
            follows = last.position + last.samples == frame.position and len(last.payload) == len(frame.payload)
            if follows and last.messages == frame.messages == 1:
                run.append(frame)
                continue
        newest[frame.track] = run = [frame]
        runs.append(run)
    return [run[0] if len(run) == 1 else _as_one(run) for run in runs]


def parts(frame: Frame) -> Iterator[Frame]:
    """Yield the frame of each message of a frame."""
    samples, size = frame.samples // frame.messages, len(frame.payload) // frame.messages
    for number in range(frame.messages):
        payload = frame.payload[number * size : (number + 1) * size]
        yield Frame(frame.track, frame.position + number * samples, samples, payload)


def _as_one(run: list[Frame]) -> Frame:
    first, count = run[0], len(run)
    payload = b"".join([frame.payload for frame in run])
    return Frame(first.track, first.position, first.samples * count, payload, count)
