"""What a receipt tells of a stream that was described wrongly, from the journal alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.folding import folded
from tests.support.journal_script import T0_US, Leg, Script
from tests.support.speech import CALLER_TURNS_S, caller, noise, silence
from wavstream.journal.events import StreamSnapshot
from wavstream.model.audio import Codec, Track, TrackClock
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import LegReceipt
from wavstream.rendering.fold import Fold

BOTH = (Track.INBOUND, Track.OUTBOUND)


def speech(length_s: float, rate_hz: int = 8_000) -> NDArray[np.int16]:
    """Speech with hardly a pause."""
    turns = [caller(rate_hz)[int(begin * rate_hz) : int(end * rate_hz)] for begin, end in CALLER_TURNS_S]
    said = np.concatenate(turns)
    return np.tile(said, int(length_s * rate_hz) // len(said) + 1)[: int(length_s * rate_hz)]


def legs(script: Script, stop_s: float) -> list[LegReceipt]:
    return [*folded(script.stop(stop_s)).account.legs]


def swapped(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    return samples.byteswap()


@pytest.mark.parametrize("codec", [Codec.L16, Codec.L16BE, Codec.PCMU])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_legs_in_real_time_have_a_pace_of_one_and_nothing_suspicious(codec: Codec, rate_hz: int) -> None:
    script = Script().start()
    for name in ("a", "b"):
        script.open(script.facts(name, codec=codec, rate_hz=rate_hz)).send(speech(15, rate_hz), at_s=0.0)

    assert [(leg.pace, leg.suspicions) for leg in legs(script, 15.0)] == [(1.0, ()), (1.0, ())]


def test_a_call_of_less_than_ten_seconds_has_no_pace() -> None:
    script = Script().start()
    script.open("a").send(speech(9), at_s=0.0, speed=2.0)

    (leg,) = legs(script, 9.0)

    assert (leg.pace, leg.suspicions) == (None, ())


@pytest.mark.parametrize(
    ("described_hz", "sent_hz", "pace"),
    [(8_000, 16_000, 2.0), (16_000, 8_000, 0.5), (8_000, 24_000, 3.0), (8_000, 48_000, 6.0), (48_000, 16_000, 0.33)],
)
def test_another_rate_than_described_is_named(described_hz: int, sent_hz: int, pace: float) -> None:
    script = Script().start()
    leg = script.open(script.facts("a", rate_hz=described_hz))
    leg.send(speech(14, sent_hz), at_s=0.0, speed=sent_hz / described_hz)

    (told,) = legs(script, 15.0)

    assert told.pace == pytest.approx(pace, rel=0.02)
    (said,) = told.suspicions
    assert f"{sent_hz // 1000} kHz sent as rate={described_hz}" in said
    assert "channels" not in said


def test_two_channels_that_are_called_one_are_named_alone() -> None:
    both = np.stack([speech(14), np.roll(speech(14), 30_000)], axis=1).reshape(-1)
    script = Script().start()
    script.open("a").send(both, at_s=0.0, speed=2.0)

    (told,) = legs(script, 15.0)

    assert told.suspicions == (
        "twice as much audio as time: two channels sent as one. Whoever opens the stream should set channels=2",
    )


def test_a_stream_of_two_channels_has_one_pace_and_one_suspicion_on_each_track() -> None:
    script = Script().start()
    facts = script.facts("a", channels=2, tracks=BOTH)
    script.open(facts).send(speech(14).reshape(-1, 2), at_s=0.0, speed=0.5)

    first, second = legs(script, 15.0)

    assert first.pace == second.pace == 0.5
    assert first.suspicions == second.suspicions
    assert "one channel sent as two" in first.suspicions[0]


def test_sixteen_bit_samples_that_are_called_mu_law_are_named() -> None:
    payload = np.frombuffer(speech(14).astype("<i2").tobytes(), np.uint8)
    script = Script().start()
    facts = script.facts("a", codec=Codec.PCMU)
    leg = script.open(facts)
    table = np.arange(-128, 128, dtype=np.int16)
    leg.send(table[payload], at_s=0.0, speed=2.0)

    (told,) = legs(script, 15.0)

    assert told.pace == 2.0
    assert "16-bit samples sent as codec=pcmu" in told.suspicions[0]


def test_timestamps_say_when_a_frame_was_said_and_not_how_much_audio_it_is() -> None:
    script = Script().start()
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED, tracks=BOTH))
    samples = speech(14, 16_000)
    for number in range(700):
        for track in (0, 1):
            leg.position = number * 160  # 20 ms later, though it has 320 samples
            frame = samples[number * 320 :][:320] if track == 0 else samples[number * 160 :][:160]
            leg.frame(frame, at_us=number * 20_000, track=track)

    inbound, outbound = legs(script, 15.0)

    assert (inbound.pace, outbound.pace) == (2.0, 1.0)


def test_a_recording_that_starts_in_the_middle_of_a_call_counts_from_there() -> None:
    script = Script()
    facts = script.facts("a")
    snapshot = StreamSnapshot(facts=facts, joined_us=T0_US - 60_000_000, position=480_000, floor_us=T0_US - 60_000_000)
    script.start(streams=(snapshot,), leg_order=("a",))
    Leg(script, facts, position=480_000).send(speech(14), at_s=0.0)

    assert [leg.pace for leg in legs(script, 14.0)] == [1.0]


def test_audio_that_a_pause_keeps_out_of_the_journal_counts_for_the_pace() -> None:
    script = Script().start()
    leg = script.open("a").send(speech(4), at_s=0.0)
    script.pause(4.0)
    leg.withhold(6 * 8_000, at_s=4.0)
    script.resume(10.0)
    leg.send(speech(4), at_s=10.0)

    assert [leg.pace for leg in legs(script, 14.0)] == [1.0]


def test_what_two_streams_of_a_leg_make_suspicious_is_told_once() -> None:
    script = Script().start()
    for begin_s in (0.0, 20.0):
        leg = script.open("a", at_s=begin_s)
        leg.send(swapped(speech(14)), at_s=begin_s)
        leg.close(begin_s + 14, clean=False)

    (told,) = legs(script, 35.0)

    assert told.pace == 1.0
    assert len(told.suspicions) == 1


def test_a_byte_order_that_is_wrong_is_told_of_speech_and_of_neither_noise_nor_silence() -> None:
    for samples, is_told in (
        (swapped(speech(14)), True),
        (speech(14), False),
        (noise(14.0), False),
        (swapped(noise(14.0)), False),
        (silence(14), False),
    ):
        script = Script().start()
        script.open("a").send(samples, at_s=0.0)
        (told,) = legs(script, 14.0)
        assert bool(told.suspicions) is is_told


def test_the_receipt_does_not_depend_on_how_the_journal_was_cut() -> None:
    script = Script().start(RecordingOptions())
    script.open("a").send(swapped(speech(30)), at_s=0.0, speed=2.0)
    script.open("b").send(speech(15), at_s=0.3, ptime_ms=60)
    script.stop(15.0)
    told = []
    for batch_s in (0.05, 0.15, 1.0, 100.0):
        fold = Fold("rec-1")
        for item in script.items(batch_s=batch_s):
            fold.feed([item])
        told.append(fold.account().legs)

    assert all(legs == told[0] for legs in told)
    assert told[0][0].pace == 2.0
