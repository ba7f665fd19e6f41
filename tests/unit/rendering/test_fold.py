"""One recording from a journal: the plain cases, start and stop."""

from __future__ import annotations

import io
import wave

import numpy as np

from tests.support.folding import folded, noise
from tests.support.journal_script import T0_US, Script
from tests.support.records import frame_record
from wavstream.journal import events
from wavstream.model.audio import Channel, MediaFormat, Track, TrackClock
from wavstream.model.options import ChannelLayout, RecordingOptions
from wavstream.rendering.fold import Fold


def test_two_legs_on_time_are_copied_to_the_bit() -> None:
    script = Script().start()
    a, b = noise(6.0), noise(5.0, seed=2)
    script.open("a").send(a, at_s=0.0)
    script.open("b").send(b, at_s=0.5)
    made = folded(script.stop(6.0))
    assert made.samples.shape == (48000, 2)
    assert (made.left == a).all()
    assert (made.right[4000:44000] == b).all()
    assert not made.right[:4000].any()
    assert not made.right[44000:].any()


def test_the_file_is_whole_with_its_header() -> None:
    script = Script().start(RecordingOptions(channels=ChannelLayout.MONO))
    script.open("a").send(noise(3.0), at_s=0.0)
    fold = Fold("rec-1")
    assert len(fold.header()) == 80
    audio = fold.feed(script.stop(3.0).items())
    with wave.open(io.BytesIO(fold.header() + audio)) as reader:
        assert reader.readframes(99999) == audio == noise(3.0).tobytes()


def test_a_growing_file_has_a_right_header_too() -> None:
    script = Script().start()
    script.open("a").send(noise(9.0), at_s=0.0)
    fold = Fold("rec-1")
    audio = fold.feed(script.items())
    assert fold.ended is None
    with wave.open(io.BytesIO(fold.header() + audio)) as reader:
        assert reader.getnframes() * 4 == len(audio) > 6.4 * 8000 * 4


def test_the_last_sample_stays_when_it_is_later_than_the_stop() -> None:
    script = Script().start()
    script.open("a").send(noise(1.0), at_s=0.01)
    made = folded(script.stop(1.0))
    assert made.account.samples == 8080
    assert (made.left[80:] == noise(1.0)).all()


def test_silence_is_written_up_to_the_end_and_no_further() -> None:
    script = Script().start()
    script.open("a").send(noise(1.0), at_s=0.0).close(1.0, clean=False)
    assert folded(script.stop(31.0, end_s=1.5)).account.samples == 12000


def test_frames_after_the_stop_are_not_in_the_file() -> None:
    script = Script().start()
    script.open("a").send(noise(4.0), at_s=0.0)
    made = folded(script.stop(3.0))
    assert made.account.samples == 151 * 160  # the frame of the same instant comes first


def test_a_recording_without_a_sample_has_no_audio() -> None:
    script = Script().start()
    script.open("a")
    made = folded(script.stop(5.0))
    assert not made.fold.has_audio
    assert made.fold.ended is not None
    assert not folded(Script().start().stop(5.0)).fold.has_audio


def test_other_recordings_of_the_session_are_not_heard_of() -> None:
    script = Script(recording_id="rec-2").start().stop(1.0)
    script.recording_id = "rec-1"
    script.start(at_s=0.5).open("a", at_s=0.5).send(noise(2.0), at_s=0.5)
    made = folded(script.stop(2.5))
    assert (made.left == noise(2.0)).all()
    assert made.fold.started is not None
    assert made.fold.started.id == "rec-1"


def test_a_recording_that_starts_late_in_a_call_knows_its_streams() -> None:
    script = Script()
    a, b = script.open("a"), script.open("b", at_s=0.5)
    a.send(noise(9.0), at_s=0.0)
    b.send(noise(8.0, seed=2), at_s=0.5)
    streams = (
        events.StreamSnapshot(facts=a.facts, joined_us=T0_US, position=32160, floor_us=T0_US),
        events.StreamSnapshot(facts=b.facts, joined_us=T0_US + 500_000, position=28160, floor_us=T0_US + 500_000),
    )
    script.start(at_s=4.005, streams=streams, leg_order=("a", "b"))
    made = folded(script.stop(8.5))
    assert (made.left[120 : 120 + 8000] == noise(9.0)[32160 : 32160 + 8000]).all()
    assert (made.right[120 : 120 + 8000] == noise(8.0, seed=2)[28160 : 28160 + 8000]).all()
    assert made.integrity.lost_ms == 0
    assert [leg.joined_ms for leg in made.account.legs] == [15, 15]


def test_frames_said_before_the_start_are_cut_and_not_lost() -> None:
    script = Script()
    a = script.open("a").send(noise(4.0), at_s=0.0, ptime_ms=200)
    streams = (events.StreamSnapshot(facts=a.facts, joined_us=T0_US, position=8000, floor_us=T0_US - 180_000),)
    script.start(at_s=1.0, streams=streams)
    made = folded(script.stop(4.0))
    assert made.account.before_start_ms == 180
    assert made.integrity.lost_ms == 0
    assert (made.left[:1000] == noise(4.0)[8000 + 1440 : 8000 + 2440]).all()


def test_the_receipt_tells_each_leg() -> None:
    script = Script().start()
    script.open("a").send(noise(5.0), at_s=0.0)
    script.open("b", at_s=1.0).send(noise(2.0), at_s=1.02).close(3.5)
    account = folded(script.stop(5.0)).account
    told = [(leg.leg, leg.track, leg.channel, leg.joined_ms, leg.left_ms) for leg in account.legs]
    assert told == [
        ("a", Track.INBOUND, Channel.LEFT, 0, 5000),
        ("b", Track.INBOUND, Channel.RIGHT, 1020, 3500),
    ]
    receipt = account.receipt(audio_sha256="00", size_bytes=80 + 160000)
    assert (receipt.duration_ms, receipt.integrity.samples) == (5000, 80000)


def test_a_stop_that_is_folded_alone_brings_the_rest() -> None:
    script = Script().start()
    script.open("a").send(noise(3.0), at_s=0.0)
    *before, stop = script.stop(3.0).items()
    fold = Fold("rec-1")
    early = fold.feed(before)
    assert fold.ended is None
    assert (np.frombuffer(early + fold.feed([stop]), "<i2")[::2] == noise(3.0)).all()
    assert fold.ended is not None


def test_an_unknown_track_number_is_ignored() -> None:
    script = Script().start()
    script.open("a").send(noise(1.0), at_s=0.0)
    facts = events.StreamFacts(
        stream=77, leg="z", dialect="pcm", format=MediaFormat(), clock=TrackClock.CONTIGUOUS,
        tracks=(Track.INBOUND,), first_track=99,
    )  # fmt: skip
    script.add(1000, 1, frame_record(track=facts.first_track, arrival_us=T0_US, position=0, payload=b"ab"))
    assert (folded(script.stop(1.0)).left == noise(1.0)).all()
