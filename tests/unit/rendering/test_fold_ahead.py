"""Who listens hears what the file will have, ahead of it; the file's bytes depend on the journal alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.folding import noise
from tests.support.journal_script import Script
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
from tests.support.torture import draw_call
from wavstream.model.audio import Track, TrackClock
from wavstream.model.options import FileFormat, PauseBehavior, RecordingOptions, Trim

HZ = 8000


def silence_left_out(script: Script) -> None:
    for turn in range(3):
        script.open(script.facts(f"arrival-{turn}", clock=TrackClock.ARRIVAL), at_s=turn)
    leg = script.open("words")
    for number, at_s in enumerate((0.4, 3.1, 9.7, 14.0)):
        leg.send(noise(0.4, seed=20 + number), at_s=at_s)


def a_stall(script: Script) -> None:
    script.open("b").send(noise(20.0, seed=2), at_s=0.0, arrivals_s=stalled(20.0, from_s=5.0, for_s=9.0))


def a_slow_link(script: Script) -> None:
    script.open("b").send(noise(16.0, seed=2), at_s=0.0, arrivals_s=slow(16.0, by=0.2))


def a_leg_that_is_back(script: Script) -> None:
    leg = script.open("b").send(noise(4.0, seed=2), at_s=0.0)
    leg.close(4.0, clean=False)
    script.open("b", at_s=9.0).send(noise(10.0, seed=3), at_s=9.1, arrivals_s=np.maximum(9.1, in_real_time(10.0) + 4.0))


def a_backlog(script: Script) -> None:
    script.open("b", at_s=6.0).send(noise(14.0, seed=2), at_s=6.0, arrivals_s=np.maximum(6.0, in_real_time(14.0) + 4.5))


def faster_than_real_time(script: Script) -> None:
    script.open("b").send(noise(20.0, seed=2), at_s=0.5, speed=8.0)


def what_is_heard_too(script: Script) -> None:
    facts = script.facts("b", clock=TrackClock.TIMESTAMPED, tracks=(Track.INBOUND, Track.OUTBOUND))
    came_s = stalled(20.0, from_s=7.0, for_s=6.0)
    leg = script.open(facts).send(noise(20.0, seed=2), at_s=0.0, arrivals_s=came_s)
    leg.position = 0
    leg.send(noise(20.0, seed=4), at_s=0.0, arrivals_s=came_s, track=1)


def what_was_said_before_the_start(script: Script) -> None:
    script.open("b").send(noise(20.0, seed=2), at_s=0.0, arrivals_s=np.maximum(0.0, in_real_time(20.0) - 2.5))


SENDERS = [
    silence_left_out, a_stall, a_slow_link, a_leg_that_is_back, a_backlog, faster_than_real_time, what_is_heard_too,
    what_was_said_before_the_start,
]  # fmt: skip


def played(sender: Callable[[Script], None], options: RecordingOptions, *, pauses: bool = True) -> Script:
    script = Script().start(options)
    script.open("a").send(noise(20.0), at_s=0.0)
    sender(script)
    if pauses:
        script.pause(8.2, journaled=True).resume(10.9).pause(13.0, journaled=True).resume(13.4)
    return script.stop(20.3)


# ---- who listens -------------------------------------------------------------------------------------------------


def test_who_listens_to_a_clean_call_hears_the_file() -> None:
    made = listened(a_call().stop(20.0))
    assert made.heard == made.audio
    assert len(made.file) == 20 * HZ


def test_who_listens_to_a_clean_call_is_a_canonical_point_behind_and_costs_no_copy() -> None:
    made = listened(a_call().stop(20.0))
    # At each second record nothing is decided.
    assert made.behind_s(6.0, 20.0) <= 1.0 + CLOCK_S
    assert min(made.heard_s[at] - at for at in (7.0, 12.0, 18.0)) >= -0.05
    assert made.copies <= 6
    assert made.fold._ahead is None


def test_a_call_that_begins_is_heard_two_seconds_later() -> None:
    made = listened(a_call().stop(20.0))
    assert made.heard_s[4.0] >= 3.9


def test_a_leg_that_joins_is_heard_two_seconds_later() -> None:
    script = Script().start()
    script.open("a").send(noise(30.0), at_s=0.0)
    script.open("b", at_s=20.0).send(noise(10.0, seed=2), at_s=20.0)
    made = listened(script.stop(30.0))

    assert made.heard == made.audio
    assert made.heard_s[23.0] >= 22.9
    assert made.file[20 * HZ : 22 * HZ, 1].all()
    assert made.behind_s(20.0, 30.0) <= 2 + 1 + CLOCK_S


def test_who_listens_goes_on_without_a_leg_that_stalls_and_the_file_has_it_where_it_was_said() -> None:
    said = noise(30.0, seed=2)
    made = listened(a_call(length_s=30.0, came_s=stalled(30.0, from_s=10.0, for_s=10.0)).stop(30.0))

    assert np.array_equal(made.file[:, 1], said)
    assert made.behind_s(6.0, 30.0) <= EARLY_S + 1 + CLOCK_S
    assert len(made.sound) == len(made.file)
    assert np.array_equal(made.sound[:, 0], made.file[:, 0])
    assert np.array_equal(made.sound[: 10 * HZ], made.file[: 10 * HZ])
    assert np.array_equal(made.sound[21 * HZ :], made.file[21 * HZ :])
    assert not made.sound[10 * HZ : 16 * HZ, 1].any()


def test_a_backlog_longer_than_those_wait_who_cannot_is_not_heard_ahead_of_the_call() -> None:
    said = noise(40.0, seed=2)
    script = Script().start()
    script.open("b").send(said[: 10 * HZ], at_s=0.0).close(10.0, clean=False)
    came_s = np.maximum(17.0 + in_real_time(30.0) / 6, in_real_time(30.0) + 10.0)
    script.open("b", at_s=16.9).send(said[10 * HZ :], at_s=17.0, arrivals_s=came_s)
    made = listened(script.stop(40.0))

    assert np.array_equal(made.file[:, 1], said)
    assert len(made.sound) == len(made.file)
    assert np.array_equal(made.sound[25 * HZ :], made.file[25 * HZ :])
    assert all(heard_s <= at_s for at_s, heard_s in made.heard_s.items())
    assert made.fold._ahead is None


def test_what_a_leg_hears_is_heard_as_the_file_has_it() -> None:
    script = Script().start()
    script.open("a").send(noise(20.0) * (np.arange(20 * HZ) % 19_000 < 9000), at_s=0.0)
    facts = script.facts("b", clock=TrackClock.TIMESTAMPED, tracks=(Track.INBOUND, Track.OUTBOUND))
    leg = script.open(facts).send(noise(20.0, seed=2), at_s=0.0)
    leg.position = 0
    leg.send(noise(20.0, seed=3) // 3 * (np.arange(20 * HZ) % 15_000 < 9000), at_s=0.0, track=1)
    made = listened(script.stop(20.0))

    assert made.heard == made.audio
    assert made.fold.account().integrity.redundant_ms > 1000


def test_no_copy_is_made_while_nobody_listens() -> None:
    made = listened(a_call(came_s=stalled(20.0, from_s=5.0, for_s=10.0)).stop(20.0), never)
    assert (made.copies, made.heard) == (0, b"")


def test_who_listens_to_a_file_of_a_rate_that_is_decided_late_hears_it_at_that_rate() -> None:
    script = Script().start()
    script.open("a").send(noise(12.0), at_s=2.9)
    wide = script.facts("b", rate_hz=16_000)
    script.open(wide, at_s=4.2).send(noise(10.0, rate_hz=16_000, seed=2), at_s=4.2)
    made = listened(script.stop(15.0))

    assert made.rates_hz == {16_000}
    assert len(made.heard) == len(made.audio)


# ---- the file ----------------------------------------------------------------------------------------------------

OPTIONS = {
    "wav": RecordingOptions(),
    "mp3": RecordingOptions(format=FileFormat.MP3),
    "resampled": RecordingOptions(sample_rate=16_000),
    "skip": RecordingOptions(pause_behavior=PauseBehavior.SKIP, beep=True),
    "trim": RecordingOptions(trim=Trim.SILENCE, beep=True),
    "silence": RecordingOptions(end_silence_timeout_s=4.0, pause_behavior=PauseBehavior.SKIP),
    "length": RecordingOptions(max_length_s=9.7, pause_behavior=PauseBehavior.SKIP),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("sender", SENDERS)
def test_listening_changes_no_byte_of_the_file(sender: Callable[[Script], None], options: RecordingOptions) -> None:
    script = played(sender, options)
    audio, fold = whole(script)
    random = np.random.default_rng(7)
    turns = random.uniform(0, 20, (3, 4))
    switches: list[Switch] = [always, *((lambda at_s, of=of: bool((of < at_s).sum() % 2)) for of in turns)]
    for listens in (never, *switches):
        made = listened(script, listens)
        assert made.audio == audio
        assert (made.fold.ended, made.fold.account()) == (fold.ended, fold.account())


@pytest.mark.parametrize("number", range(12))
def test_listening_to_a_call_of_the_torture_bench_changes_no_byte_and_nothing_is_heard_that_is_not_in_the_file(
    number: int,
) -> None:
    call = draw_call(31, number, longest_s=30.0)
    audio, fold = whole(call.script)
    random = np.random.default_rng(number)
    turns = random.uniform(0, 30, 6)
    made = listened(call.script)
    assert (made.audio, made.fold.account()) == (audio, fold.account())
    assert len(made.heard) == len(audio)
    made = listened(call.script, lambda at_s: bool((turns < at_s).sum() % 2))
    assert (made.audio, made.fold.account()) == (audio, fold.account())


def test_who_listens_never_hears_more_than_the_greatest_length() -> None:
    options = RecordingOptions(max_length_s=9.7)
    for sender in SENDERS:
        made = listened(played(sender, options, pauses=False))
        assert len(made.heard) == len(made.audio) == round(9.7 * HZ) * 4
