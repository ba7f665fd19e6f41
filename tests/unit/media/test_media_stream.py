from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from structlog.testing import capture_logs

from tests.support.media_plane import RememberingSink
from wavstream.dialects.base import Outgoing, UpgradeRequest
from wavstream.dialects.events import Dtmf, Event, Frame, Ignored, Reason, StreamStarted, StreamStopped
from wavstream.errors import BadParameter, InternalError
from wavstream.media.counters import MediaCounters
from wavstream.media.media_stream import MediaStream
from wavstream.model.audio import MediaFormat, Track, TrackClock

AUDIO = Frame(0, 0, 2, b"abcd")


def started(session_id: str | None = "s") -> StreamStarted:
    return StreamStarted(
        session_id=session_id,
        leg=None,
        format=MediaFormat(),
        clock=TrackClock.CONTIGUOUS,
        tracks=(Track.INBOUND,),
    )


class Script:
    """A dialect that gives these events for every message."""

    name: ClassVar[str] = "script"
    server_pings: ClassVar[bool] = True
    playout_ms: ClassVar[int] = 20
    ptime_ms: ClassVar[int | None] = None
    whole_sounds: ClassVar[bool] = False

    def __init__(self, request: UpgradeRequest) -> None:
        self.events: Sequence[Event] = ()
        self.owed: Sequence[Event] = ()
        self.endings = 0

    def opened(self) -> Sequence[Event]:
        return ()

    def text(self, message: bytes) -> Sequence[Event]:
        return self.events

    def binary(self, payload: bytes) -> Sequence[Event]:
        return self.events

    def ended(self) -> Sequence[Event]:
        self.endings += 1
        return self.owed

    def message(self, payload: bytes) -> Outgoing:
        return Outgoing(is_text=False, data=payload)

    def clear(self) -> Outgoing | None:
        return None


class Stage:
    """An intake with its script."""

    def __init__(self) -> None:
        self.sinks: list[RememberingSink] = []
        self.stops = 0
        self.counters = MediaCounters()
        self.dialect = Script(UpgradeRequest(session_id=None, leg=None, query={}, headers={}))
        self.intake = MediaStream(
            dialect=self.dialect, open_stream=self._open, on_stopped=self._stopped, counters=self.counters
        )

    def play(self, *events: Event, binary: bool) -> None:
        self.dialect.events = events
        (self.intake.binary if binary else self.intake.text)(b"message")

    def _open(self, event: StreamStarted) -> RememberingSink:
        self.sinks.append(RememberingSink(event, handle=None, app_id=""))  # type: ignore[arg-type]
        return self.sinks[-1]

    def _stopped(self) -> None:
        self.stops += 1


@pytest.mark.parametrize("binary", [False, True])
def test_nothing_of_a_message_counts_behind_its_stop(binary: bool) -> None:
    stage = Stage()
    stage.play(started(), AUDIO, StreamStopped(), AUDIO, Dtmf("5"), Ignored(Reason.NOT_JSON), binary=binary)
    stage.play(started(), AUDIO, binary=binary)
    assert len(stage.sinks) == 1
    assert (stage.sinks[0].frames, stage.sinks[0].events) == ([AUDIO], [StreamStopped()])
    assert (stage.sinks[0].ends, stage.stops) == ([True], 1)
    assert stage.counters.ignored == {}


@pytest.mark.parametrize("binary", [False, True])
def test_a_muted_stream_hears_of_nothing_but_its_end_and_of_that_once(binary: bool) -> None:
    stage = Stage()
    stage.play(started(), binary=binary)
    stage.intake.mute()
    stage.play(AUDIO, Dtmf("5"), StreamStopped(), binary=binary)
    stage.intake.end(clean=False)
    stage.intake.end(clean=True)
    assert (stage.sinks[0].frames, stage.sinks[0].events, stage.sinks[0].ends) == ([], [], [False])


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("event", [AUDIO, Dtmf("5"), StreamStopped()])
def test_an_event_before_the_start_is_an_error_of_ours(event: Event, binary: bool) -> None:
    with pytest.raises(InternalError):
        Stage().play(event, binary=binary)


def test_a_start_without_a_session_names_what_is_missing() -> None:
    with pytest.raises(BadParameter, match="session_id"):
        Stage().play(started(session_id=None), binary=False)


def test_audio_is_counted_when_it_is_asked_for_and_once() -> None:
    stage = Stage()
    stage.play(Ignored(Reason.BEFORE_START), started(), AUDIO, binary=False)
    stage.play(AUDIO, binary=True)
    assert stage.counters.frames == 0
    stage.intake.count()
    stage.intake.count()
    assert (stage.counters.frames, stage.counters.received_bytes, stage.counters.streams_opened) == (2, 8, 1)
    assert stage.counters.ignored == {"before_start": 1}


def test_a_message_that_is_not_used_is_counted_each_time_and_explained_once_a_stream() -> None:
    with capture_logs() as logs:
        for stage in (Stage(), Stage()):
            stage.play(started(), Ignored(Reason.BAD_MEDIA), Ignored(Reason.NOT_JSON), binary=False)
            stage.play(Ignored(Reason.BAD_MEDIA), binary=False)
            assert stage.counters.ignored == {"bad_media": 2, "not_json": 1}
    assert [log["reason"] for log in logs] == ["bad_media", "not_json"] * 2
    assert logs[0] == {
        "event": "media_message_ignored", "log_level": "warning", "dialect": "script", "session_id": "s",
        "reason": "bad_media", "explanation": Reason.BAD_MEDIA.explanation,
    }  # fmt: skip


def test_a_stream_that_is_over_before_it_started_may_start_then() -> None:
    stage = Stage()
    stage.dialect.owed = (started(), AUDIO)
    stage.intake.end(clean=False)
    stage.intake.end(clean=True)
    assert [(sink.frames, sink.ends) for sink in stage.sinks] == [([AUDIO], [False])]
    assert stage.dialect.endings == 1


def test_what_is_owed_to_nobody_or_after_a_refusal_is_forgotten() -> None:
    stage = Stage()
    stage.dialect.owed = (started(session_id=None), AUDIO)
    stage.intake.end(clean=True)
    refused = Stage()
    refused.dialect.owed = (started(), AUDIO)
    refused.intake.mute()
    refused.intake.end(clean=True)
    assert stage.sinks == refused.sinks == []
    assert (stage.dialect.endings, refused.dialect.endings) == (1, 0)
