"""What a live session tells of its streams before anybody has recorded them."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray
from structlog.testing import capture_logs

from tests.support.sessions import Handle, LiveCall, at, introduction
from tests.support.speech import CALLER_TURNS_S, caller
from wavstream.dialects.events import Frame
from wavstream.model.audio import MediaFormat, Track, TrackClock
from wavstream.sessions.views import session_view

BOTH = (Track.INBOUND, Track.OUTBOUND)


def speech(length_s: float) -> NDArray[np.int16]:
    turns = [caller()[int(begin * 8_000) : int(end * 8_000)] for begin, end in CALLER_TURNS_S]
    said = np.concatenate(turns)
    return np.tile(said, int(length_s * 8_000) // len(said) + 1)[: int(length_s * 8_000)]


def talk(call: LiveCall, *paces: float, length_s: float = 15.0, payload: bytes = speech(60).tobytes()) -> list[str]:
    """Stream each track at its pace, in frames of 20 ms, with visits as a server makes them; return what is logged."""
    (stream,) = call.session.streams
    due = [(number * 0.02 / pace, track, number) for track, pace in enumerate(paces)
           for number in range(int(length_s * 50 * pace))]  # fmt: skip
    visits = [(number * 0.15, -1, 0) for number in range(int(length_s / 0.15))]
    with capture_logs() as lines:
        for at_s, track, number in sorted([*due, *visits]):
            if track < 0:
                call.session.tick(at(at_s))
            else:
                part = payload[number % 1_000 * 320 :][:320]
                stream.frame(Frame(track, number * 160, 160, part), at(at_s))
    return [line["suspicion"] for line in lines if line["event"] == "stream_suspicious"]


def paces(call: LiveCall, at_s: float) -> list[float | None]:
    (view,) = session_view(call.session, at(at_s)).streams
    return [each.pace for each in view.paces]


def suspicions(call: LiveCall) -> tuple[str, ...]:
    (view,) = session_view(call.session, at(15.0)).streams
    return view.suspicions


async def test_a_stream_in_real_time_has_a_pace_of_one_once_it_is_known_and_nothing_is_logged() -> None:
    call = LiveCall()
    call.open()

    assert talk(call, 1.0, length_s=5.0) == []
    assert paces(call, 5.0) == [None]

    call = LiveCall()
    call.open()
    assert talk(call, 1.0, length_s=40.0) == []
    assert paces(call, 40.0) == [1.0]
    assert suspicions(call) == ()


async def test_a_stream_of_another_rate_is_logged_once_without_a_recording() -> None:
    call = LiveCall()
    call.open()

    (told,) = talk(call, 2.0, length_s=60.0)

    assert told.startswith("twice as much audio as time: 16 kHz sent as rate=8000")
    assert paces(call, 60.0) == [2.0]
    assert len(suspicions(call)) == 1


async def test_samples_in_the_other_byte_order_are_logged_once() -> None:
    call = LiveCall()
    call.open()

    (told,) = talk(call, 1.0, length_s=60.0, payload=speech(60).byteswap().tobytes())

    assert told.endswith("should set byteorder=big")
    assert suspicions(call) == (told,)


async def test_each_track_of_a_stream_with_timestamps_has_its_own_pace() -> None:
    call = LiveCall()
    started = structs.replace(introduction(tracks=BOTH, clock=TrackClock.TIMESTAMPED), format=MediaFormat())
    call.session.open_stream(started, handle=Handle(), now_us=at(0.0))

    (told,) = talk(call, 1.0, 2.0, length_s=30.0)

    assert paces(call, 30.0) == [pytest.approx(1.0, abs=0.02), pytest.approx(2.0, abs=0.04)]
    assert told.startswith("twice as much audio as time")


async def test_a_call_on_hold_keeps_the_pace_that_it_had() -> None:
    call = LiveCall()
    call.open()
    talk(call, 1.0, length_s=40.0)
    for number in range(400):
        call.session.tick(at(40 + number * 0.15))

    assert paces(call, 100.0) == [1.0]


@pytest.mark.parametrize("quiet_s", [1.0, 5.0, 30.0])
async def test_a_stream_that_falls_silent_is_looked_at_once_more_and_then_left_alone_until_more_comes(
    quiet_s: float,
) -> None:
    call = LiveCall()
    stream = call.open()
    looks = []
    inspection = stream.inspection
    visit = inspection.visit
    payload = speech(60).tobytes()

    class Counted:
        """The inspection, with each visit noted."""

        def __getattr__(self, name: str) -> object:
            return getattr(inspection, name)

        def visit(self, now_us: int, **seen: object) -> object:
            looks.append(now_us)
            return visit(now_us, **seen)  # type: ignore[arg-type]

    stream.inspection = Counted()  # type: ignore[assignment]
    said, now_s = 0, 0.0
    for _ in range(2):
        for number in range(10):  # 0.2 s: no look ends in it, so that it goes on to be watched closely
            stream.frame(Frame(0, said * 160, 160, payload[number * 320 :][:320]), at(now_s + number * 0.02))
            said += 1
        now_s += 0.2
        looks.clear()
        for number in range(int(quiet_s / 0.15)):
            call.session.tick(at(now_s + number * 0.15))
        now_s += quiet_s
        assert 0 < len(looks) <= 11
    # What was left out is a pause, and no pace.
    assert paces(call, now_s) == [None]
