from __future__ import annotations

import numpy as np

from tests.support.sessions import LiveCall, at
from wavstream.dialects.events import Frame
from wavstream.model.audio import Track
from wavstream.model.session import Level
from wavstream.sessions.stream import Stream
from wavstream.sessions.views import session_view

LOUD = np.full(160, 16_384, "<i2").tobytes()
SILENT = bytes(320)


def level(track: Track, rms_dbfs: float | None = None, peak_dbfs: float | None = None) -> Level:
    return Level(track=track, rms_dbfs=rms_dbfs, peak_dbfs=peak_dbfs)


def levels(call: LiveCall, stream: Stream, at_s: float) -> tuple[Level, ...]:
    (view,) = session_view(call.session, at(at_s)).streams
    return view.levels


async def test_a_level_is_of_the_last_frame_and_of_none_before_the_first_or_in_a_stall() -> None:
    call = LiveCall()
    stream = call.open()
    assert levels(call, stream, 0.0) == (level(Track.INBOUND),)
    stream.frame(Frame(0, 0, 160, LOUD), at(0.1))
    assert levels(call, stream, 0.2) == (level(Track.INBOUND, -6.0, -6.0),)
    stream.frame(Frame(0, 160, 160, SILENT), at(0.2))
    assert levels(call, stream, 0.2) == (level(Track.INBOUND, -100.0, -100.0),)
    assert levels(call, stream, 1.3) == (level(Track.INBOUND),)


async def test_interleaved_tracks_have_a_level_each() -> None:
    call = LiveCall()
    stream = call.open(tracks=(Track.INBOUND, Track.OUTBOUND))
    both = np.stack([np.full(160, 16_384), np.zeros(160)], axis=1).astype("<i2").tobytes()
    stream.frame(Frame(0, 0, 160, both), at(0.1))
    assert levels(call, stream, 0.1) == (level(Track.INBOUND, -6.0, -6.0), level(Track.OUTBOUND, -100.0, -100.0))


async def test_a_stream_whose_packets_were_decoded_is_shown_with_the_codec_that_it_sends() -> None:
    call = LiveCall()
    call.open()
    call.open("b", wire_codec="opus")

    assert [view.codec for view in session_view(call.session, at(0.0)).streams] == ["l16", "opus"]
