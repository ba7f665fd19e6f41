"""Those who cannot wait: who listens hears what the file will have, and what ends a recording finds its end in time.

Both are served by what goes ahead of the file, which itself waits long for a leg that is behind. The file's bytes
depend on the journal alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.folding import noise
from tests.support.journal_script import T0_US, Script
from tests.support.speech import hello, spoken
from wavstream.journal.events import Digit
from wavstream.journal.records import ClockRecord, Item
from wavstream.model.audio import Track, TrackClock
from wavstream.model.options import FileFormat, PauseBehavior, RecordingOptions, Trim
from wavstream.model.recording import EndReason
from wavstream.recorder.file_snapshot import FileSnapshot, SharedFd
from wavstream.recorder.spool_file import SpoolFile
from wavstream.rendering.fold import Fold

HZ = 8000
CLOCK_S = 0.5
"""Between two clock records of these scripts; so canonical points are 1 s apart."""
EARLY_S = 3.0
"""How long those who cannot wait do."""
Switch = Callable[[float], bool]


def always(_: float) -> bool:
    return True


def never(_: float) -> bool:
    return False


@dataclass
class Listened:
    """A fold that was fed item by item while somebody listened, or nobody."""

    fold: Fold
    audio: bytes = b""
    heard: bytes = b""
    heard_s: dict[float, float] = field(default_factory=dict)
    """How much was heard, in seconds of the file, by the time of each clock record."""
    copies: int = 0
    """Clock records after which a copy of the fold was there."""
    ended_s: float | None = None
    """When the end was found, in the journal's time."""

    @property
    def file(self) -> NDArray[np.int16]:
        return self._samples(self.audio)

    @property
    def sound(self) -> NDArray[np.int16]:
        return self._samples(self.heard)

    def behind_s(self, from_s: float, to_s: float) -> float:
        """By how much who listens was behind the call at most, at the clock records between two moments."""
        return max(at_s - heard_s for at_s, heard_s in self.heard_s.items() if from_s <= at_s <= to_s)

    def _samples(self, audio: bytes) -> NDArray[np.int16]:
        return np.frombuffer(audio, "<i2").reshape(-1, self.fold.account().channels)


def listened(script: Script, listens: Switch = always) -> Listened:
    """Fold a script item by item; ``listens`` tells at each clock record whether somebody does from then on."""
    fold = Fold(script.recording_id)
    made = Listened(fold)
    fold.tap.switch(listens(0.0))
    for item in script.items(clock_s=CLOCK_S):
        at_s = (item.arrival_us - T0_US) / 1e6 if isinstance(item, ClockRecord) else 0.0
        if isinstance(item, ClockRecord) and listens(at_s) != fold.tap.is_on:
            fold.tap.switch(not fold.tap.is_on)
        made.audio += fold.feed([item])
        made.heard += fold.tap.heard()
        if made.ended_s is None and fold.ended is not None and not fold.complete:
            made.ended_s = at_s
        if isinstance(item, ClockRecord) and fold.ended is None:
            made.copies += fold._ahead is not None
            if fold.tap.channels:
                made.heard_s[at_s] = len(made.heard) / 2 / fold.tap.channels / fold.tap.sample_rate_hz
            else:
                made.heard_s[at_s] = 0.0
    return made


def whole(script: Script) -> tuple[bytes, Fold]:
    """Fold a script at once, as a replay of its journal does."""
    fold = Fold(script.recording_id)
    return fold.feed(script.items(clock_s=CLOCK_S)), fold


# ---- senders -----------------------------------------------------------------------------------------------------


def in_real_time(length_s: float) -> NDArray[np.float64]:
    """When each frame of 20 ms is said."""
    return np.arange(round(length_s * 50), dtype=np.float64) * 0.02


def stalled(length_s: float, *, from_s: float, for_s: float) -> NDArray[np.float64]:
    """When frames come that a stall keeps back, and then delivers all at once."""
    said_s = in_real_time(length_s)
    return np.where((said_s >= from_s) & (said_s < from_s + for_s), from_s + for_s, said_s)


def slow(length_s: float, *, by: float) -> NDArray[np.float64]:
    """When frames come on a link that is too slow for them."""
    return in_real_time(length_s) / (1 - by)


def a_call(
    options: RecordingOptions | None = None, *, length_s: float = 20.0, came_s: NDArray[np.float64] | None = None
) -> Script:
    """Return a call of leg a, on time, and leg b, whose frames come at these moments."""
    script = Script().start(options)
    script.open("a").send(noise(length_s), at_s=0.0)
    script.open("b").send(
        noise(length_s, seed=2), at_s=0.0, arrivals_s=in_real_time(length_s) if came_s is None else came_s
    )
    return script


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


SENDERS = [
    silence_left_out, a_stall, a_slow_link, a_leg_that_is_back, a_backlog, faster_than_real_time, what_is_heard_too,
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


def test_no_copy_is_made_while_nobody_listens() -> None:
    made = listened(a_call(came_s=stalled(20.0, from_s=5.0, for_s=10.0)).stop(20.0), never)
    assert (made.copies, made.heard) == (0, b"")


def test_who_listens_to_a_file_of_a_rate_that_is_decided_late_hears_it_at_that_rate() -> None:
    script = Script().start()
    script.open("a").send(noise(12.0), at_s=2.9)
    wide = script.facts("b", rate_hz=16_000)
    script.open(wide, at_s=4.2).send(noise(10.0, rate_hz=16_000, seed=2), at_s=4.2)
    made = listened(script.stop(15.0))

    assert made.fold.tap.sample_rate_hz == 16_000
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


# ---- a snapshot and what follows it ------------------------------------------------------------------------------


def joined(script: Script, folder: Path, *, at_s: float, before_s: float | None, is_mp3: bool) -> tuple[bytes, bytes]:
    """Return what somebody hears who joins then: the file so far, and what follows; and what one hears from the start.

    ``before_s``: another one listened until then, from the start.
    """
    fold, spool = Fold(script.recording_id), SpoolFile(folder / "spool")
    moment, heard, steps = b"", b"", 0
    for item in script.items(clock_s=CLOCK_S):
        now_s = (item.arrival_us - T0_US) / 1e6 if isinstance(item, ClockRecord) else 0.0
        if before_s is not None and not steps and isinstance(item, ClockRecord):
            fold.tap.switch(now_s < before_s)
        if now_s >= at_s and not steps:
            steps, tap = 1, fold.tap
            number = spool.descriptor()
            snapshot = FileSnapshot(
                sample_rate_hz=tap.sample_rate_hz, channels=tap.channels, samples=tap.samples, is_mp3=is_mp3,
                file=None if number is None else SharedFd(number), header_bytes=spool.size_bytes - spool.audio_bytes,
                audio_bytes=spool.audio_bytes, rest=tap.recent(),
            )  # fmt: skip
            moment = b"".join(snapshot.pieces(0))
            assert len(moment) == snapshot.size_bytes
            fold.tap.switch(True)
        audio = fold.feed([item])
        if audio:
            spool.append(b"" if spool.size_bytes else fold.header(), audio)
        if steps:
            heard += fold.tap.heard()
    spool.discard()
    return moment + heard, listened(script, always).heard


JOINS = np.arange(0.5, 20, 1.3).tolist()


@pytest.mark.parametrize("file_format", FileFormat)
@pytest.mark.parametrize("came_s", [None, stalled(20.0, from_s=5.0, for_s=8.0)], ids=["clean", "stall"])
def test_who_joins_hears_the_file_so_far_and_what_follows_without_a_seam(
    file_format: FileFormat, came_s: NDArray[np.float64] | None, tmp_path: Path
) -> None:
    script = a_call(RecordingOptions(format=file_format), came_s=came_s).stop(20.0)
    is_mp3 = file_format is FileFormat.MP3
    for at_s in JOINS:
        for before_s in (None, at_s, max(0.0, at_s - 1.4)):
            heard, first = joined(script, tmp_path, at_s=at_s, before_s=before_s, is_mp3=is_mp3)
            assert len(heard) == len(first) == 20 * HZ * 4
            # Leg a, which is always on time, has no seam.
            own, wanted = (np.frombuffer(sound, "<i2")[::2].astype(int) for sound in (heard, first))
            if is_mp3:
                late = round((at_s + 1) * HZ)
                assert np.array_equal(own[late:], wanted[late:])
                assert np.corrcoef(own[HZ:], wanted[HZ:])[0, 1] > 0.8
            else:
                assert np.array_equal(own, wanted)


# ---- what ends a recording ---------------------------------------------------------------------------------------

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


def test_who_listens_never_hears_more_than_the_greatest_length() -> None:
    options = RecordingOptions(max_length_s=9.7)
    for sender in SENDERS:
        made = listened(played(sender, options, pauses=False))
        assert len(made.heard) == len(made.audio) == round(9.7 * HZ) * 4


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
