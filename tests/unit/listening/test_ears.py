"""How loud the newest message of each track is, told of many at once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.sessions import at
from wavstream.dialects.events import Frame, StreamStarted
from wavstream.journal.events import StreamFacts
from wavstream.listening.ears import Ear, listen
from wavstream.model.audio import Codec, MediaFormat, Track, TrackClock
from wavstream.sessions.stream import Stream

RATE_HZ = 8_000


class Handle:
    """Nobody's socket."""


def a_stream(codec: Codec = Codec.L16, channels: int = 1, tracks: tuple[Track, ...] = (Track.INBOUND,)) -> Stream:
    form = MediaFormat(codec, RATE_HZ, channels)
    facts = StreamFacts(
        stream=1, leg="a", dialect="pcm", format=form, clock=TrackClock.CONTIGUOUS, tracks=tracks, first_track=0,
        channel=None,
    )  # fmt: skip
    started = StreamStarted(session_id="call", leg="a", format=form, clock=TrackClock.CONTIGUOUS, tracks=tracks)
    return Stream(facts=facts, handle=Handle(), joined_us=at(0), started=started)  # type: ignore[arg-type]


def a_frame(samples: NDArray[np.int16], *, position: int = 0, track: int = 0) -> Frame:
    return Frame(track=track, position=position, samples=len(samples), payload=samples.astype("<i2").tobytes())


def tone(amplitude: float) -> NDArray[np.int16]:
    wave: NDArray[np.float64] = amplitude * np.sin(2 * np.pi * 500 / RATE_HZ * np.arange(160))
    return wave.astype(np.int16)


def test_many_tracks_of_one_form_are_heard_at_once_and_each_by_itself() -> None:
    streams = [a_stream() for _ in range(3)]
    ears = [Ear(stream, 0, number, at(0)) for number, stream in enumerate(streams)]
    for stream, amplitude in zip(streams, (32_000, 3_200, 0), strict=True):
        stream.frame(a_frame(tone(amplitude)), at(0.02))
    listen(ears, at(0.1))
    assert [ear.peak for ear in ears] == [0, -20, -100]
    assert [ear.rms for ear in ears] == [-3, -23, -100]
    assert [ear.last_word_us is not None for ear in ears] == [True, True, False]
    assert [ear.quiet_since_us for ear in ears] == [None, None, at(0.1)]


def test_a_track_that_sends_nothing_new_stays_and_one_that_stalls_has_no_level() -> None:
    stream = a_stream()
    ear = Ear(stream, 0, 7, at(0))
    assert ear.write()
    assert ear.row == "[7,null,null,null,null,0.0,null]"
    stream.frame(a_frame(tone(3_200)), at(0.02))
    listen([ear], at(0.1))
    assert ear.write()
    assert not ear.write()
    listen([ear], at(0.2))
    assert (ear.rms, ear.write()) == (-23, False)
    listen([ear], at(2.0))
    assert (ear.rms, ear.peak, ear.quiet_since_us) == (None, None, None)
    assert ear.last_word_us == at(0.02)


def test_how_much_comes_is_told_of_the_last_two_seconds() -> None:
    stream = a_stream()
    ear = Ear(stream, 0, 0, at(0))
    for number in range(200):
        stream.frame(a_frame(tone(3_200), position=160 * number), at(number * 0.02))
        listen([ear], at(number * 0.02))
    assert ear.pace == pytest.approx(1.0, abs=0.02)
    assert ear.per_s == pytest.approx(50, abs=1)


def test_two_channels_of_one_frame_are_two_tracks() -> None:
    stream = a_stream(channels=2, tracks=(Track.INBOUND, Track.OUTBOUND))
    ears = [Ear(stream, index, index, at(0)) for index in range(2)]
    both = np.stack((tone(32_000), tone(320)), axis=1)
    stream.frame(Frame(track=0, position=0, samples=160, payload=both.astype("<i2").tobytes()), at(0.02))
    listen(ears, at(0.1))
    assert [ear.peak for ear in ears] == [0, -40]
