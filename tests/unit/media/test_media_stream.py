from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest
from structlog.testing import capture_logs

from tests.support.media_plane import RememberingSessions, RememberingSink, endpoint_of, only_key_is_good
from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.events import Dtmf, Event, Frame, Ignored, Outgoing, Reason, StreamStarted, StreamStopped
from wavstream.errors import BadParameter, InternalError, LimitReached
from wavstream.media.endpoint import MediaCounters
from wavstream.media.media_stream import MediaStream, State
from wavstream.media.request import Peer
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


class Script(Dialect):
    """A dialect that gives these events for every message."""

    name: ClassVar[str] = "script"
    format_names: ClassVar[FormatNames] = FormatNames("Nobody", "rate", "byteorder=little", "byteorder=big")

    def __init__(self, request: UpgradeRequest) -> None:
        self.events: Sequence[Event] = ()
        self.owed: Sequence[Event] = ()
        self.endings = 0

    def text(self, message: bytes) -> Sequence[Event]:
        return self.events

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        return self.events

    def ended(self) -> Sequence[Event]:
        self.endings += 1
        return self.owed

    def message(self, payload: bytes) -> Outgoing:
        return Outgoing(is_text=False, data=payload)


class Stage:
    """A stream with its script; its session may use the handle, of which it remembers the calls, as it opens."""

    def __init__(self, at_open: Callable[[MediaStream], None] = lambda stream: None) -> None:
        self.sessions = RememberingSessions(at_open=lambda handle: at_open(self.stream))
        self.endpoint = endpoint_of(self.sessions, authenticate=only_key_is_good)
        self.dialect = Script(UpgradeRequest(session_id=None, leg=None, query={}, headers={}))
        self.stream = MediaStream(
            self.endpoint,
            dialect=self.dialect,
            app_id="",
            handle=object(),  # type: ignore[arg-type]
            peer=Peer("192.0.2.7", leg="b"),
        )

    @property
    def counters(self) -> MediaCounters:
        return self.endpoint.counters

    @property
    def sinks(self) -> list[RememberingSink]:
        return self.sessions.sinks

    def play(self, *events: Event, binary: bool) -> None:
        self.dialect.events = events
        receive = self.stream.receive_binary if binary else self.stream.receive_text
        for event in receive(b"message"):
            self.stream.deliver(event, 0)

    def end(self, state: State = State.ENDED, *, clean: bool) -> None:
        self.stream.end(state, clean=clean, arrival_us=0)


@pytest.mark.parametrize("binary", [False, True])
def test_nothing_of_a_message_counts_behind_its_stop(binary: bool) -> None:
    stage = Stage()
    stage.play(started(), AUDIO, StreamStopped(), AUDIO, Dtmf("5"), Ignored(Reason.NOT_JSON), binary=binary)
    stage.play(started(), AUDIO, binary=binary)
    assert len(stage.sinks) == 1
    assert (stage.sinks[0].frames, stage.sinks[0].events) == ([AUDIO], [StreamStopped()])
    assert (stage.sinks[0].ends, stage.stream.state) == ([True], State.STOPPED)
    assert stage.counters.ignored == {}


@pytest.mark.parametrize("binary", [False, True])
def test_a_closing_stream_hears_of_nothing_but_its_end_and_of_that_once(binary: bool) -> None:
    stage = Stage()
    stage.play(started(), binary=binary)
    stage.stream.enter(State.CLOSING)
    stage.play(AUDIO, Dtmf("5"), StreamStopped(), binary=binary)
    stage.end(clean=False)
    stage.end(clean=True)
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
    stage.stream.count(0)
    stage.stream.count(0)
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
        "event": "media_message_ignored",
        "log_level": "warning",
        "dialect": "script",
        "session_id": "s",
        "app_id": "",
        "leg": "b",
        "reason": "bad_media",
        "explanation": Reason.BAD_MEDIA.explanation,
    }


def test_a_stream_that_is_over_before_it_started_may_start_then() -> None:
    stage = Stage()
    stage.dialect.owed = (started(), AUDIO)
    stage.end(clean=False)
    stage.end(clean=True)
    assert [(sink.frames, sink.ends) for sink in stage.sinks] == [([AUDIO], [False])]
    assert stage.dialect.endings == 1


def test_what_is_owed_to_nobody_or_after_a_refusal_is_forgotten() -> None:
    stage = Stage()
    stage.dialect.owed = (started(session_id=None), AUDIO)
    stage.end(clean=True)
    refused = Stage()
    refused.dialect.owed = (started(), AUDIO)
    refused.stream.enter(State.FAILED)
    refused.end(clean=True)
    assert stage.sinks == refused.sinks == []
    assert (stage.dialect.endings, refused.dialect.endings) == (1, 0)


def at(state: State) -> Stage:
    """Return a stream in this state."""
    stage = Stage()
    if state is State.OPENING:
        return stage
    stage.play(started(), binary=False)
    if state in (State.FAILED, State.ENDED):
        stage.end(state, clean=False)
    elif state is State.STOPPED:
        stage.play(StreamStopped(), binary=False)
    elif state is State.CLOSING:
        stage.stream.enter(state)
    assert stage.stream.state is state
    return stage


LATER = (State.STOPPED, State.CLOSING, State.FAILED, State.ENDED)


@pytest.mark.parametrize("to", LATER)
@pytest.mark.parametrize("state", State)
def test_a_stream_only_goes_on_to_later_states(state: State, to: State) -> None:
    stage = at(state)
    stage.stream.enter(to)
    assert stage.stream.state is max(state, to)


@pytest.mark.parametrize("state", State)
def test_only_a_live_stream_delivers_and_only_one_that_is_not_over_asks_its_dialect(state: State) -> None:
    stage = at(state)
    events = [sink.events.copy() for sink in stage.sinks]
    if state is State.OPENING:
        stage.play(Ignored(Reason.BEFORE_START), binary=True)
        assert stage.counters.ignored == {"before_start": 1}
        return
    stage.dialect.events = (AUDIO, Dtmf("5"))
    for receive in (stage.stream.receive_binary, stage.stream.receive_text):
        assert receive(b"message") == (stage.dialect.events if state is State.LIVE else ())
    stage.stream.deliver(AUDIO, 0)
    stage.stream.deliver(Dtmf("5"), 0)
    assert stage.sinks[0].frames == ([AUDIO] if state is State.LIVE else [])
    assert stage.sinks[0].events == events[0] + ([Dtmf("5")] if state is State.LIVE else [])


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        (State.LIVE, [True]),
        (State.STOPPED, [True]),
        (State.CLOSING, [True]),
        (State.FAILED, [False]),
        (State.ENDED, [False]),
    ],
)
def test_a_sink_is_told_of_the_end_once_in_whatever_state_that_comes(state: State, ends: list[bool]) -> None:
    stage = at(state)
    stage.end(clean=True)
    stage.end(clean=True)
    assert (stage.sinks[0].ends, stage.stream.state) == (ends, State.ENDED)


def test_a_session_that_closes_its_stream_as_it_opens_hears_nothing_but_the_end() -> None:
    stage = Stage(at_open=lambda stream: stream.enter(State.CLOSING))
    stage.play(started(), AUDIO, Dtmf("5"), StreamStopped(), binary=False)
    assert (stage.stream.state, stage.sinks[0].ends) == (State.CLOSING, [])
    stage.end(clean=True)
    assert (stage.sinks[0].frames, stage.sinks[0].events, stage.sinks[0].ends) == ([], [], [True])


def test_a_stream_that_no_session_takes_has_nobody_to_tell_of_its_end() -> None:
    stage = Stage()
    stage.sessions.refuse = LimitReached("full", retry_after_s=1)
    with pytest.raises(LimitReached):
        stage.play(started(), AUDIO, binary=False)
    stage.end(State.FAILED, clean=False)
    assert (stage.sinks, stage.stream.state) == ([], State.FAILED)


def test_a_session_that_fails_on_what_is_owed_is_still_told_of_the_end() -> None:
    stage = Stage()
    stage.sessions.sink_raises = ValueError("disk")
    stage.dialect.owed = (started(), AUDIO)
    with pytest.raises(ValueError, match="disk"):
        stage.end(clean=False)
    assert (stage.sinks[0].ends, stage.stream.state) == ([False], State.ENDED)
