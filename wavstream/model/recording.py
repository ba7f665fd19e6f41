"""A recording: one set of options applied to a session from a start to a stop.

States: accepted -> ongoing <-> paused -> completed (stopped, the file is being finished)
-> available | absent (no audio) | failed; available -> expired | deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from wavstream.model.audio import Channel, Track
from wavstream.model.call import CallFacts
from wavstream.model.ids import session_alias
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.times import Moment, unix_us


class Status(StrEnum):
    """Where a recording is in its life."""

    ACCEPTED = "accepted"
    """Asked for; its session does not stream yet."""
    ONGOING = "ongoing"
    PAUSED = "paused"
    COMPLETED = "completed"
    """Stopped; the file is being finished."""
    AVAILABLE = "available"
    ABSENT = "absent"
    """Ended without audio: there is no file."""
    FAILED = "failed"
    EXPIRED = "expired"
    DELETED = "deleted"

    @property
    def is_running(self) -> bool:
        """Whether it still takes audio, or will."""
        return self in (Status.ACCEPTED, Status.ONGOING, Status.PAUSED)

    @property
    def is_unfinished(self) -> bool:
        """Whether its file is still to be made, or is being made."""
        return self.is_running or self is Status.COMPLETED

    @property
    def is_erased(self) -> bool:
        """Whether there is nothing left but a row that says so."""
        return self in (Status.EXPIRED, Status.DELETED)


class EndReason(StrEnum):
    """Why a recording ended."""

    STOPPED = "stopped"
    """By command."""
    HANGUP = "hangup"
    """The last stream of the session ended."""
    MAX_LENGTH = "max_length"
    """It became as long as it may."""
    SILENCE = "silence"
    """Nobody spoke for the time set, after somebody had."""
    NO_INPUT = "no_input"
    """Nobody had spoken within the time set."""
    TERMINATOR = "terminator"
    """A party pressed one of the keys that end it."""
    DISCONNECTED = "disconnected"
    """The last stream was lost and did not come back within the reconnect wait, or nothing came from any for long."""
    NO_STREAM = "no_stream"
    """It waited for the first stream of its session, and none came."""
    RECOVERED = "recovered"
    """The server was restarted and no stream came back within the reconnect wait."""
    FAILED = "failed"

    @property
    def is_automatic(self) -> bool:
        """Whether the recording ends so by itself, at a moment that only its audio or its keys tell."""
        return self in (EndReason.MAX_LENGTH, EndReason.SILENCE, EndReason.NO_INPUT, EndReason.TERMINATOR)


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Who wants the recording kept, and why."""

    by: str
    reason: str
    since: Moment
    """Aware, UTC."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Where the file of a recording lies once it has left this machine."""

    url: str
    """The store, as its setting has it: ``s3://bucket/prefix``. The key in it is the recording's ``object_key``."""
    since: Moment
    """Aware, UTC."""
    etag: str | None = None
    """What the store calls this content; another one later is another content."""


@dataclass(frozen=True, slots=True)
class LegReceipt:
    """One track of one leg, as it was recorded."""

    leg: str
    track: Track
    channel: Channel | None
    """None: nowhere (redundant), or a mono file."""
    dialect: str
    codec: str
    rate: int
    """Hertz."""
    joined_ms: int
    """From the start of the recording to the leg's first sample."""
    left_ms: int
    """From the start of the recording to the leg's end."""
    pace: float | None = None
    """How much audio came in how much time: 1 is real time; null: not known, as before 10 s of steady audio."""
    suspicions: tuple[str, ...] = ()
    """What was probably described wrongly of its stream, and who has to set what: a sentence or two each."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Silence that the call did not have."""

    leg: str
    track: Track
    start_ms: int
    length_ms: int
    cause: str
    """``stall`` (sent nothing for a while), ``reconnect`` (the stream was away), ``loss`` (media time jumped),
    ``silence`` (it jumped, and what lacks was never sent), ``damage`` (it came, and the journal lost it) or ``pause``
    (it was said before a pause, and came in it)."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch of the call that is not in the file."""

    start_ms: int
    """In the call, from the start of the recording."""
    length_ms: int
    behavior: PauseBehavior | None = field(default=None, compare=False)
    """What it left in the file: ``skip`` (nothing) or ``silence`` of its length; null: an earlier version did not
    say."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Silence cut away."""

    start: int = 0
    """Milliseconds."""
    end: int = 0
    """Milliseconds."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Another machine went on with the call: the one that had it was gone."""

    at_ms: int
    """When it had the call, from the beginning of the file."""
    from_node: str
    to_node: str
    replicated_through_ms: int
    """Up to when it had what had come, from the beginning of the file: what came later is not in the file."""
    missing_ms: dict[str, int] = field(default_factory=dict)
    """By leg that came back: the silence between what was copied of it and what came next. What was said in it is
    lost, and what was never said is in it too: the leg was away."""


@dataclass(frozen=True, slots=True)
class Integrity:
    """The account of every accepted sample: it is in the file, or it is counted here."""

    samples: int = 0
    """In the file, over all channels."""
    lost_ms: int = 0
    late_frames: int = 0
    """Arrived after their place was written, in part or whole."""
    late_ms: int = 0
    duplicate_frames: int = 0
    """Came again, and were dropped."""
    reordered_frames: int = 0
    """Came after a frame that follows them, and were put in their place."""
    clock_restarts: int = 0
    """Times that a stream's timestamps were impossible and its audio went on by arrival."""
    redundant_frames: int = 0
    """Outbound audio that another leg's inbound track carries too."""
    redundant_ms: int = 0
    paused_ms: int = 0
    """Audio of all tracks withheld by pauses."""
    after_limit_ms: int = 0
    """Audio of all tracks between the end that the recording found by itself and its stop."""
    clipped_samples: int = 0
    gaps: tuple[Gap, ...] = ()
    gaps_omitted: int = 0
    """Gaps beyond those that are listed."""
    pauses: tuple[Pause, ...] = ()
    pauses_omitted: int = 0
    """Pauses beyond those that are listed."""
    facts_omitted: int = 0
    """Ids and other facts of the call that it had no room for, each time that they were told."""
    events_omitted: int = 0
    """Digits and marks that came faster than a stream may send them."""
    drift_ppm: dict[str, int] = field(default_factory=dict)
    """By leg: how fast its clock ran against ours."""
    trimmed_ms: Trimmed = Trimmed()
    paused_audio_in_journal: bool = False
    """True where another recording of the session kept running during a pause of this one."""
    take_overs: tuple[TakeOver, ...] = ()
    """In a cluster: each time that another node went on with the call."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a fold says of the file it made."""

    sample_rate: int
    """Hertz."""
    channels: int
    samples: int
    """Of each channel."""
    audio_sha256: str
    """Of the bytes after the file's fixed-size header, hex."""
    size_bytes: int
    """Of the whole file."""
    legs: tuple[LegReceipt, ...] = ()
    integrity: Integrity = Integrity()

    @property
    def duration_ms(self) -> int:
        """Length of the file, rounded to the nearest millisecond."""
        return (self.samples * 1000 + self.sample_rate // 2) // self.sample_rate if self.sample_rate else 0


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the catalog. All times are aware UTC."""

    id: str
    app_id: str
    session_id: str
    status: Status
    options: RecordingOptions
    object_key: str
    """Where the finished file lies in storage: fixed from the start, until it is erased and nothing is left of it."""
    file_name: str
    """What a browser calls the download."""
    created_at: datetime
    call: CallFacts = CallFacts()
    end_reason: EndReason | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    expires_at: datetime | None = None
    """From the stop, never extended by reads; None: before the stop, or where the files are another store's to keep."""
    kept_since: datetime | None = None
    """The stop from which ``expires_at`` counts, by the same clock; None: there is none, or its row is of a sidecar."""
    receipt: Receipt | None = None
    error: str | None = None
    """Why it failed, or what it waited for in vain, for a person."""
    hold: LegalHold | None = None
    """Who keeps it from being deleted; the catalog's row is what counts."""
    request_id: str | None = None
    """The id that its caller gave to the command which started it; None: it was started without one."""
    keepalive: bool = False
    """Whether the streams that take audio are sent silence while it runs, unless they say otherwise."""
    opened: bool = False
    """Whether the media server was asked for its session's stream, by it or by one that it shares the stream with."""
    origin: Origin = Origin()
    """Who asked for it."""
    updated_at: datetime | None = None
    """When its status changed last, where its file is made at the stop; None: it has the first status, or its row is
    older than this field."""

    skipped_us: int = 0
    """Microseconds of the pauses that are over and are not in the file."""
    stored: StoredObject | None = None
    """Where its file was uploaded to; None: it lies on this machine. The catalog's row is what counts."""

    def became(self, status: Status, at: datetime, **changes: Any) -> Recording:
        """Return the recording with another status, since ``at``, and other fields changed with it."""
        skipped_us = self.skipped_us
        if self.status is Status.PAUSED and self.options.pause_behavior is PauseBehavior.SKIP:
            skipped_us += max(0, unix_us(at) - unix_us(self.changed_at))
        return replace(self, status=status, updated_at=at, skipped_us=skipped_us, **changes)

    def erased(self, status: Status, at: datetime) -> Recording:
        """Return what is kept of a recording that is erased: nothing of whom it is about, and nothing that was said.

        What stays: its id, app, times and statuses, form, size and hash. The session's id becomes its alias, by which
        whoever knows the id still finds it.
        """
        receipt, integrity = self.receipt, Integrity()
        if receipt is not None:
            integrity = replace(integrity, samples=receipt.integrity.samples)
        return replace(
            self.became(status, at),
            session_id=self.session_id if self.status.is_erased else session_alias(self.app_id, self.session_id),
            options=replace(
                self.options,
                file_name=None,
                client_state=None,
                metadata={},
                terminators="",
                transcription_language=None,
            ),
            file_name=f"{self.id}.{self.options.format}",
            call=CallFacts(),
            receipt=None if receipt is None else replace(receipt, legs=(), integrity=integrity),
            error=None,
            request_id=None,
            origin=Origin(api=self.origin.api),
        )

    @property
    def changed_at(self) -> datetime:
        """When its status changed last, or the nearest that is known."""
        return self.updated_at or self.ended_at or self.started_at or self.created_at
