"""What ends a recording by itself finds its end in time, also beside a leg that is behind, and always the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.folding import noise
from tests.support.journal_script import T0_US, Script
from tests.support.listened import (
    CLOCK_S,
    EARLY_S,
    Switch,
    a_call,
    always,
    in_real_time,
    listened,
    never,
    slow,
    stalled,
    whole,
)
from tests.support.speech import hello, spoken
from wavstream.journal.events import Digit
from wavstream.journal.records import Item
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.rendering.fold import Fold

HZ = 8000

TIMEOUT = RecordingOptions(end_silence_timeout_s=5.0)


def words(*at_s: float, length_s: float) -> NDArray[np.int16]:
    """Return silence with words in it."""
    voice, word = np.zeros(round(length_s * HZ), np.int16), spoken()
    for at in at_s:
        voice[round(at * HZ) : round(at * HZ) + len(word)] = word
    return voice


LAST_WORD_S = 8.0 + len(spoken()) / HZ


def listens_and_stays_silent(script: Script) -> None:
    script.open("b").send(noise(1.0, seed=2) // 500, at_s=0.0)


def stalls_for_good(script: Script) -> None:
    script.open("b").send(words(2.0, length_s=9.0), at_s=0.0)


def stalls_and_speaks(script: Script) -> None:
    came_s = stalled(30.0, from_s=9.0, for_s=12.0)
    script.open("b").send(words(2.0, 12.0, length_s=30.0), at_s=0.0, arrivals_s=came_s)


def is_lost(script: Script) -> None:
    script.open("b").send(words(2.0, length_s=9.0), at_s=0.0).close(9.0, clean=False)


def is_on_a_slow_link(script: Script) -> None:
    script.open("b").send(words(2.0, length_s=20.0), at_s=0.0, arrivals_s=slow(20.0, by=0.3))


BESIDES = [listens_and_stays_silent, stalls_for_good, stalls_and_speaks, is_lost, is_on_a_slow_link]


def with_silence_at_the_end(besides: Callable[[Script], None], options: RecordingOptions = TIMEOUT) -> Script:
    script = Script().start(options)
    script.open("a").send(words(1.0, 8.0, length_s=30.0), at_s=0.0)
    besides(script)
    return script.stop(30.0)


@pytest.mark.parametrize("besides", BESIDES)
def test_silence_ends_a_recording_in_time_also_beside_a_leg_that_is_behind(besides: Callable[[Script], None]) -> None:
    made = listened(with_silence_at_the_end(besides), never)

    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.SILENCE
    assert (made.fold.ended.end_us - T0_US) / 1e6 == pytest.approx(LAST_WORD_S + 5.0, abs=0.15)
    assert made.ended_s is not None
    assert made.ended_s <= LAST_WORD_S + 5.0 + EARLY_S + 1 + CLOCK_S


@pytest.mark.parametrize("besides", BESIDES)
def test_the_end_is_the_same_in_a_replay_in_any_cutting_and_whoever_listens(besides: Callable[[Script], None]) -> None:
    script = with_silence_at_the_end(besides)
    audio, fold = whole(script)
    for listens in (never, always, lambda at_s: 6 < at_s < 11):
        made = listened(script, listens)
        assert (made.audio, made.fold.ended, made.fold.account()) == (audio, fold.ended, fold.account())
    items: list[Item] = script.items(clock_s=CLOCK_S)
    for step in (7, 61, 500):
        cut = Fold("rec-1")
        assert b"".join(cut.feed(items[at : at + step]) for at in range(0, len(items), step)) == audio
        assert (cut.ended, cut.account()) == (fold.ended, fold.account())


def test_what_comes_after_an_end_that_was_found_is_counted() -> None:
    made = listened(with_silence_at_the_end(stalls_and_speaks), never)

    end_s = len(made.file) / HZ
    assert made.fold.account().integrity.after_limit_ms == pytest.approx(
        2 * (30 - end_s) * 1000 + (end_s - 9) * 1000, abs=3
    )
    assert not made.file[9 * HZ :, 1].any()


@pytest.mark.parametrize("listens", [never, always])
def test_the_greatest_length_is_exact_with_a_leg_that_is_ten_seconds_behind(listens: Switch) -> None:
    script = a_call(RecordingOptions(max_length_s=12.3), came_s=stalled(20.0, from_s=5.0, for_s=10.0)).stop(20.0)
    made = listened(script, listens)

    assert made.fold.ended is not None
    assert (made.fold.ended.reason, made.fold.ended.end_us) == (EndReason.MAX_LENGTH, T0_US + 12_300_000)
    assert len(made.file) == round(12.3 * HZ)
    assert made.ended_s is not None
    assert made.ended_s <= 12.3 + EARLY_S + 1 + CLOCK_S
    assert np.array_equal(made.file[:, 0], noise(20.0)[: len(made.file)])
    assert len(made.heard) in (0, len(made.audio))


def test_a_word_of_a_backlog_is_no_silence_to_those_who_wait_for_less_than_it_is_long() -> None:
    script = Script().start(TIMEOUT)
    script.open("a").send(words(1.0, length_s=30.0), at_s=0.0)
    voice = words(8.0, length_s=30.0)
    script.open("b").send(voice[: 5 * HZ], at_s=0.0).close(5.0, clean=False)
    came_s = np.maximum(9.0 + in_real_time(25.0) / 6, in_real_time(25.0) + 5.0)
    script.open("b", at_s=8.9).send(voice[5 * HZ :], at_s=9.0, arrivals_s=came_s)
    made = listened(script.stop(30.0), never)

    assert made.fold.ended is not None
    assert (made.fold.ended.end_us - T0_US) / 1e6 == pytest.approx(LAST_WORD_S + 5.0, abs=0.15)
    assert made.ended_s is not None
    assert made.ended_s <= LAST_WORD_S + 5.0 + EARLY_S + 1 + CLOCK_S


def test_nobody_has_said_anything_for_the_time_set_beside_a_leg_that_sends_nothing() -> None:
    script = Script().start(RecordingOptions(initial_timeout_s=4.0))
    script.open("a").send(np.zeros(20 * HZ, np.int16), at_s=0.0)
    script.open("b")
    made = listened(script.stop(20.0), never)

    assert made.fold.ended is not None
    assert (made.fold.ended.reason, made.fold.ended.end_us) == (EndReason.NO_INPUT, T0_US + 4_000_000)
    assert made.ended_s is not None
    assert made.ended_s <= 4.0 + EARLY_S + 1 + CLOCK_S


def test_a_leg_that_is_behind_and_had_spoken_in_time_is_not_ended_for_its_silence() -> None:
    script = Script().start(RecordingOptions(initial_timeout_s=4.0))
    script.open("a").send(np.zeros(20 * HZ, np.int16), at_s=0.0)
    voice = np.zeros(20 * HZ, np.int16)
    voice[3 * HZ : 3 * HZ + len(hello())] = hello()
    script.open("b").send(voice, at_s=0.0, arrivals_s=stalled(20.0, from_s=2.5, for_s=2.5))
    made = listened(script.stop(20.0), never)

    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.STOPPED


@pytest.mark.parametrize("listens", [never, always])
def test_a_key_that_is_pressed_while_another_leg_is_behind_ends_the_file_there(listens: Switch) -> None:
    script = a_call(RecordingOptions(terminators="#"), came_s=stalled(20.0, from_s=5.0, for_s=10.0))
    script.event(12.0, Digit(stream=1, digit="#"), rank=2).stop(20.0)
    made = listened(script, listens)

    assert made.fold.ended is not None
    assert made.fold.ended.reason is EndReason.TERMINATOR
    assert len(made.file) == pytest.approx(12 * HZ, abs=160)
    assert np.array_equal(made.file[:, 0], noise(20.0)[: len(made.file)])
    assert np.array_equal(made.file[: 5 * HZ, 1], noise(20.0, seed=2)[: 5 * HZ])
    assert made.fold.account().integrity.after_limit_ms == pytest.approx(8000 + 15_000, abs=40)
