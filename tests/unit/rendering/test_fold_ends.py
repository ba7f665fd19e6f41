"""Recordings that end by themselves: at their limit, when nobody speaks, at a key; each to the sample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.folding import folded, noise
from tests.support.journal_script import T0_US, Leg, Script
from tests.support.recordings import a_recording
from tests.support.speech import hello, spoken, white_noise
from wavstream.journal.events import Digit, RecordingStarted, StreamSnapshot
from wavstream.journal.records import Item
from wavstream.model.audio import Track, TrackClock
from wavstream.model.options import ChannelLayout, FileFormat, PauseBehavior, RecordingOptions, Trim
from wavstream.model.recording import EndReason
from wavstream.rendering.fold import Fold
from wavstream.rendering.mixer.mix import beep

RATE_HZ = 8000


def a_call(options: RecordingOptions, voice: NDArray[np.int16], *, stop_s: float | None = None) -> Script:
    script = Script().start(options)
    script.open("a").send(voice, at_s=0.0)
    return script if stop_s is None else script.stop(stop_s)


def digit(script: Script, at_s: float, key: str, *, stream: int = 1) -> Script:
    return script.event(at_s, Digit(stream=stream, digit=key), rank=2)


def ended(script: Script) -> tuple[EndReason, float]:
    fold = folded(script).fold
    assert fold.ended is not None
    return fold.ended.reason, (fold.ended.end_us - T0_US) / 1e6


def test_a_limit_ends_the_file_at_its_sample_and_what_follows_is_counted() -> None:
    voice = noise(9.0)
    made = folded(a_call(RecordingOptions(max_length_s=3), voice, stop_s=9.0))

    assert np.array_equal(made.left, voice[: 3 * RATE_HZ])
    assert made.integrity.after_limit_ms == 6000
    assert ended(a_call(RecordingOptions(max_length_s=3), voice, stop_s=9.0)) == (EndReason.MAX_LENGTH, 3.0)


def test_a_limit_is_found_before_anyone_stops_the_recording() -> None:
    fold = Fold("rec-1")
    fold.feed(a_call(RecordingOptions(max_length_s=3), noise(6.0)).items())

    assert fold.ended is not None
    assert fold.ended.reason is EndReason.MAX_LENGTH
    assert not fold.complete


def test_a_stop_before_the_limit_is_a_stop() -> None:
    assert ended(a_call(RecordingOptions(max_length_s=3), noise(2.5), stop_s=2.5)) == (EndReason.STOPPED, 2.5)


def test_a_limit_wins_over_a_stop_that_comes_while_the_fold_is_behind() -> None:
    script = a_call(RecordingOptions(max_length_s=3), noise(4.0), stop_s=4.0)
    fold = Fold("rec-1")
    audio = fold.feed(script.items(clock_s=60.0))

    assert fold.ended is not None
    assert (fold.ended.reason, fold.complete, len(audio)) == (EndReason.MAX_LENGTH, True, 2 * 2 * 3 * RATE_HZ)


@pytest.mark.parametrize("behavior", PauseBehavior)
def test_the_limit_counts_what_is_in_the_file(behavior: PauseBehavior) -> None:
    options = RecordingOptions(max_length_s=4, pause_behavior=behavior)
    script = a_call(options, noise(10.0)).pause(1.0, journaled=True).resume(3.0).stop(10.0)

    assert len(folded(script).samples) == 4 * RATE_HZ
    assert ended(script)[1] == (6.0 if behavior is PauseBehavior.SKIP else 4.0)


@pytest.mark.parametrize("clock", [TrackClock.CONTIGUOUS, TrackClock.ARRIVAL])
def test_a_terminator_ends_the_file_where_it_was_pressed(clock: TrackClock) -> None:
    script = Script().start(RecordingOptions(terminators="#*"))
    voice = noise(6.0)
    script.open(script.facts("a", clock=clock)).send(voice, at_s=0.0)
    made = folded(digit(script, 4.0, "#").stop(6.0))

    assert np.array_equal(made.left[: 4 * RATE_HZ - 160], voice[: 4 * RATE_HZ - 160])
    assert abs(len(made.samples) - 4 * RATE_HZ) <= 160
    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.TERMINATOR
    assert made.integrity.after_limit_ms == pytest.approx(2000, abs=20)


def test_a_terminator_of_a_sender_faster_than_real_time_ends_the_file_where_it_was_pressed() -> None:
    script = Script().start(RecordingOptions(terminators="#"))
    voice = noise(6.0)
    leg = script.open("a").send(voice[: 4 * RATE_HZ], at_s=0.0, speed=10.0)
    digit(script, 0.399, "#")
    leg.send(voice[4 * RATE_HZ :], at_s=0.4, speed=10.0)
    made = folded(script.stop(0.6))

    assert np.array_equal(made.left, voice[: 4 * RATE_HZ])


def test_another_key_ends_nothing() -> None:
    assert ended(digit(a_call(RecordingOptions(terminators="#"), noise(3.0)), 1.0, "5").stop(3.0))[1] == 3.0


def test_nobody_spoke_for_the_time_set() -> None:
    quiet = np.zeros(8 * RATE_HZ, np.int16)
    options = RecordingOptions(initial_timeout_s=3.0)
    assert ended(a_call(options, quiet, stop_s=8.0)) == (EndReason.NO_INPUT, 3.0)


def test_silence_after_speech_ends_the_file_and_silence_before_it_does_not() -> None:
    word = spoken()
    voice = np.concatenate((np.zeros(7 * RATE_HZ, np.int16), word, np.zeros(8 * RATE_HZ, np.int16)))
    reason, end_s = ended(a_call(RecordingOptions(end_silence_timeout_s=5.0), voice, stop_s=len(voice) / RATE_HZ))

    assert reason is EndReason.SILENCE
    assert end_s == pytest.approx(7 + len(word) / RATE_HZ + 5, abs=0.1)


@pytest.mark.parametrize("file_format", FileFormat)
def test_trim_leaves_the_words_and_a_fifth_of_a_second_around_them(file_format: FileFormat) -> None:
    word = spoken()
    voice = np.concatenate((np.zeros(4 * RATE_HZ, np.int16), word, np.zeros(6 * RATE_HZ, np.int16)))
    options = RecordingOptions(format=file_format, trim=Trim.SILENCE, channels=ChannelLayout.MONO)
    script = a_call(options, voice, stop_s=len(voice) / RATE_HZ)
    fold = Fold("rec-1")
    audio = fold.feed(script.items())
    account = fold.account()
    kept, trimmed = fold.kept_bytes, account.integrity.trimmed_ms

    assert kept is not None
    assert kept < len(audio)
    assert trimmed.start == pytest.approx(3800, abs=60)
    assert trimmed.end == pytest.approx(5800, abs=100)
    assert trimmed.start + trimmed.end + account.samples * 1000 // RATE_HZ == pytest.approx(len(voice) / 8, abs=2)


def test_a_wholly_silent_recording_that_is_trimmed_has_no_audio() -> None:
    made = folded(a_call(RecordingOptions(trim=Trim.SILENCE), np.zeros(3 * RATE_HZ, np.int16), stop_s=3.0))
    assert (made.fold.has_audio, len(made.samples)) == (False, 0)


def test_a_beep_is_on_all_channels_and_nobody_takes_it_for_speech() -> None:
    options = RecordingOptions(beep=True, initial_timeout_s=2.0)
    made = folded(a_call(options, np.zeros(4 * RATE_HZ, np.int16), stop_s=4.0))

    assert made.left[:1600].any()
    assert np.array_equal(made.left, made.right)
    assert not made.left[1600:].any()
    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.NO_INPUT


@pytest.mark.parametrize(
    ("tracks", "beeps"), [((Track.INBOUND, Track.OUTBOUND), (True, False)), ((Track.INBOUND,), (False, True))]
)
def test_a_beep_that_the_stream_brings_back_is_not_mixed_there_again(
    tracks: tuple[Track, ...], beeps: tuple[bool, bool]
) -> None:
    script = Script()
    facts = script.facts("a", channels=len(tracks), tracks=tracks)
    snapshot = StreamSnapshot(facts=facts, joined_us=T0_US, position=0, floor_us=None)
    started = RecordingStarted(
        recording=a_recording("rec-1", RecordingOptions(beep=True)), streams=(snapshot,), leg_order=("a",),
        returns_beep=(facts.stream,),
    )  # fmt: skip
    script.event(0.0, started)
    Leg(script, facts).send(np.zeros((2 * RATE_HZ, len(tracks)), np.int16), at_s=0.0)
    made = folded(script.stop(2.0))

    assert (bool(made.left[:1600].any()), bool(made.right[:1600].any())) == beeps


@pytest.mark.parametrize("at", [800, 861])
@pytest.mark.parametrize(("speaks", "reason"), [(False, EndReason.NO_INPUT), (True, EndReason.STOPPED)])
def test_a_beep_that_the_stream_brings_back_is_no_speech_but_a_word_behind_it_is(
    at: int, speaks: bool, reason: EndReason
) -> None:
    script = Script().start(RecordingOptions(beep=True, initial_timeout_s=2.0))
    heard = np.zeros((4 * RATE_HZ, 2), np.int16)
    # Half as loud, and not quite as clean as it was played.
    heard[at : at + 1600, 1] = beep(RATE_HZ) // 2 + white_noise(0.2, -40)
    if speaks:
        heard[at + 1600 :, 1][: len(hello())] = hello()
    facts = script.facts("a", channels=2, tracks=(Track.INBOUND, Track.OUTBOUND))
    script.open(facts).send(heard, at_s=0.0)
    assert ended(script.stop(4.0))[0] is reason


def test_frames_are_counted_until_the_stop_that_follows() -> None:
    items: list[Item] = a_call(RecordingOptions(max_length_s=1), noise(4.0), stop_s=4.0).items()
    fold = Fold("rec-1")
    for item in items:
        fold.feed([item])
    assert fold.account().integrity.after_limit_ms == 3000


@pytest.mark.parametrize("at_s", [1.31, 1.5, 4.0])
@pytest.mark.parametrize("is_new", [True, False], ids=["a leg that joins", "a leg that was there"])
def test_a_beep_that_comes_back_to_a_leg_that_joins_later_is_not_in_the_file_again(is_new: bool, at_s: float) -> None:
    script = Script().start(RecordingOptions(beep=True))
    script.open("left").send(np.zeros(10 * RATE_HZ, np.int16), at_s=0.0)
    facts = script.facts("b", channels=2, tracks=(Track.INBOUND, Track.OUTBOUND))
    if not is_new:
        script.open("b").send(np.zeros(RATE_HZ, np.int16), at_s=0.0).close(1.0)
    sound = np.zeros((5 * RATE_HZ, 2), np.int16)
    at = round(at_s * RATE_HZ)
    sound[at : at + 1600, 1] = beep(RATE_HZ) // 2 + white_noise(0.2, -50)
    script.open(facts, at_s=3.0).send(sound, at_s=3.0)
    made = folded(script.stop(10.0))

    assert all(channel[:1600].any() for channel in (made.left, made.right))
    again = made.left[3 * RATE_HZ + at - 200 : 3 * RATE_HZ + at + 1800]
    assert bool(np.abs(again).max() < 300) is is_new
    assert bool(made.integrity.redundant_ms) is is_new


def test_a_voice_that_a_leg_that_joins_later_hears_is_in_the_file() -> None:
    script = Script().start(RecordingOptions(beep=True))
    script.open("left").send(np.zeros(10 * RATE_HZ, np.int16), at_s=0.0)
    facts = script.facts("b", channels=2, tracks=(Track.INBOUND, Track.OUTBOUND))
    sound = np.zeros((5 * RATE_HZ, 2), np.int16)
    sound[RATE_HZ : RATE_HZ + len(spoken()), 1] = spoken()
    script.open(facts, at_s=3.0).send(sound, at_s=3.0)
    made = folded(script.stop(10.0))

    assert np.array_equal(made.left[4 * RATE_HZ : 4 * RATE_HZ + len(spoken())], spoken())
    assert made.integrity.redundant_ms == 0
