"""Listeners of a recording that is folded slice by slice, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.support.journals import a_started_recording, call, noise
from tests.support.recorder_harness import MAX_LISTENERS, RecorderHarness, written
from tests.support.sessions import at
from tests.support.waiting import until
from wavstream.api.live import LiveAudio, heard
from wavstream.errors import LimitReached, TooSoon
from wavstream.journal.journal import Journal
from wavstream.listening.listener import Listener, State
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions
from wavstream.model.recording import EndReason, Recording, Status

MONO = RecordingOptions(channels=ChannelLayout.MONO)
VOICE = noise(12.0)


class Ear:
    """Takes what a listener is given when it is told to."""

    def __init__(self, listener: Listener | None) -> None:
        assert listener is not None
        self.listener = listener
        self.heard = b""
        self._audio = listener.audio()

    async def take(self, samples: int) -> None:
        """Until so many samples were heard."""
        async with asyncio.timeout(30):
            while len(self.heard) < 2 * samples:
                self.heard += await anext(self._audio)

    async def take_all(self) -> None:
        async with asyncio.timeout(30):
            async for piece in self._audio:
                self.heard += piece

    @property
    def samples(self) -> np.ndarray:
        return np.frombuffer(self.heard, "<i2")


class Wire:
    """A connection that takes everything, or nothing."""

    def __init__(self) -> None:
        self.sent = b""
        self.is_stuck = False
        self.is_aborted = False

    def write(self, piece: bytes) -> None:
        self.sent += piece

    def waiting_bytes(self) -> int:
        return 1 if self.is_stuck else 0

    def abort(self) -> None:
        self.is_aborted = True


class Call:
    """A recorded call of ``VOICE``, written to the journal up to a row; the rest follows when a test says so."""

    def __init__(self, harness: RecorderHarness, options: RecordingOptions = MONO) -> None:
        self.harness = harness
        self.journal: Journal = harness.journal()
        self.recording: Recording = replace(a_started_recording(), options=options)
        self._rows = call(self.recording, samples=VOICE, stop=EndReason.HANGUP)

    async def begin(self) -> None:
        await self.harness.begin(self.journal, self.recording)

    async def go_on(self, share: float) -> None:
        """Write that share of what is left, and have it folded by those who listen."""
        count = round(len(self._rows) * share)
        rows, self._rows = self._rows[:count], self._rows[count:]
        self.harness.write(self.journal, rows)
        await written(self.harness, self.journal)
        self.harness.live.written([self.journal], at(1e6))
        self.harness.recorder.fold([self.journal])

    async def stop(self) -> Recording:
        await self.go_on(1.0)
        stopped = replace(self.recording, status=Status.COMPLETED, ended_at=self.recording.created_at)
        return await self.harness.end(stopped)

    def listen(self) -> Listener | None:
        return self.harness.live.listen(self.recording.id)


@pytest.mark.parametrize("file_format", FileFormat)
async def test_whoever_joins_at_any_moment_hears_the_same_from_the_start_to_the_stop(
    harness: RecorderHarness, file_format: FileFormat
) -> None:
    live = Call(harness, replace(MONO, format=file_format))
    await live.begin()
    ears = []
    for _ in range(6):
        ears.append(Ear(live.listen()))
        assert await ears[-1].listener.begin()
        await live.go_on(0.3)
    finished = await live.stop()
    for ear in ears:
        await ear.take_all()
    assert finished.receipt is not None
    assert {len(ear.samples) for ear in ears} == {finished.receipt.samples}
    assert np.array_equal(ears[0].samples, VOICE)  # it was there before the first was written, so nothing was coded
    for ear in ears:
        start = len(VOICE) // 2 if file_format is FileFormat.MP3 else 0
        # MP3 alters noise, but does not move it.
        like = np.corrcoef(ear.samples[:start], VOICE[:start])[0, 1] if start else 1.0
        assert like > 0.5
        assert file_format is FileFormat.MP3 or np.array_equal(ear.samples, VOICE)


async def test_what_does_not_fit_into_the_queue_is_read_in_the_file(
    harness: RecorderHarness,
) -> None:
    harness.live.queue_bytes = 1
    live = Call(harness)
    await live.begin()
    ear = Ear(live.listen())
    await ear.listener.begin()
    for _ in range(3):
        await live.go_on(0.4)
    await ear.take(8_000)
    await live.go_on(0.5)
    await live.stop()
    await ear.take_all()
    assert np.array_equal(ear.samples, VOICE)
    assert not ear.listener.was_cut


async def test_a_wire_gets_what_follows_and_the_file_what_it_has_no_room_for(
    harness: RecorderHarness,
) -> None:
    harness.live.queue_bytes = 1  # a wire that takes everything has room for any piece
    live = Call(harness)
    await live.begin()
    await live.go_on(0.4)
    ear, wire = Ear(live.listen()), Wire()
    ear.listener.wire = wire
    await ear.listener.begin()
    taking = asyncio.create_task(ear.take_all())
    await until(lambda: ear.listener.state is State.WIRED)
    await live.go_on(0.5)
    await until(lambda: wire.sent)
    before, wired = ear.heard, wire.sent
    wire.is_stuck = True
    await live.stop()
    await taking
    assert np.array_equal(np.frombuffer(before + wired + ear.heard[len(before) :], "<i2"), VOICE)


async def test_who_does_not_take_anything_for_a_while_is_slow_whatever_it_is_offered(harness: RecorderHarness) -> None:
    live = Call(harness)
    await live.begin()
    await live.go_on(0.6)
    await until(lambda: harness.job(live.recording.id).tap.samples)
    reader, follower, wired = (Ear(live.listen()) for _ in range(3))
    wired.listener.wire = wire = Wire()
    for ear in (reader, follower, wired):
        await ear.listener.begin()
    listeners = [ear.listener for ear in (reader, follower, wired)]
    now_s = asyncio.get_running_loop().time()
    assert not any(listener.is_slow(now_s + 100) for listener in listeners)

    await reader.take(1)  # a piece of the file was given, and is not taken as long as nobody asks for the next
    following = [asyncio.create_task(ear.take_all()) for ear in (follower, wired)]
    await until(lambda: wired.listener.state is State.WIRED and follower.listener._caught_up_s)
    following[0].cancel()
    await live.go_on(0.5)
    await until(lambda: wire.sent)
    wire.is_stuck = True

    assert not any(listener.is_slow(now_s) for listener in listeners)
    assert [listener.is_slow(now_s + 100) for listener in listeners] == [True, True, True]
    for listener in listeners:
        listener.cut_off()
    assert wire.is_aborted
    assert harness.live.listeners == 0
    await asyncio.gather(*following, return_exceptions=True)


async def test_no_more_listen_at_once_than_may(harness: RecorderHarness) -> None:
    calls = [Call(harness), Call(harness)]
    for each in calls:
        await each.begin()
    listeners = [calls[number % 2].listen() for number in range(MAX_LISTENERS)]
    with pytest.raises(LimitReached) as refused:
        calls[0].listen()
    assert refused.value.retry_after_s > 0
    assert listeners[0] is not None
    listeners[0].leave()
    assert calls[1].listen() is not None


async def test_who_asks_for_a_range_has_a_place_until_it_leaves_and_beyond_them_is_told_the_limit(
    harness: RecorderHarness,
) -> None:
    live = Call(harness)
    await live.begin()
    await live.go_on(0.5)

    def ask(asked: str | None) -> Coroutine[Any, Any, Response | None]:
        headers = [] if asked is None else [(b"range", asked.encode())]
        return heard(Request({"type": "http", "method": "GET", "headers": headers}), live.listen())

    answers = [await ask("bytes=0-9") for _ in range(3)]
    with pytest.raises(TooSoon, match=r"limits\.live_ranges_per_app is 3"):
        await ask("bytes=0-9")
    answers.append(await ask(None))  # who listens to everything is bounded as a listener
    assert (harness.reads.under_way, harness.live.listeners) == (3, 4)

    for answer in answers[:3]:
        assert isinstance(answer, LiveAudio)
        answer._listener.leave()
    assert (harness.reads.under_way, harness.live.listeners) == (0, 1)
    assert await ask("bytes=0-9") is not None


async def test_a_recording_is_folded_as_usual_once_nobody_listens_any_more(harness: RecorderHarness) -> None:
    live = Call(harness)
    await live.begin()
    listener = live.listen()
    assert listener is not None
    await listener.begin()
    listener.leave()
    listener.leave()
    rendering = harness.job(live.recording.id)
    assert not rendering.is_followed
    assert (await live.stop()).status is Status.AVAILABLE
    assert live.listen() is None


async def test_a_listener_knows_the_form_of_a_recording_that_names_its_rate_before_anything_is_recorded(
    harness: RecorderHarness,
) -> None:
    live = Call(harness, replace(MONO, format=FileFormat.MP3, sample_rate=15_000))
    await live.begin()
    ear = Ear(live.listen())
    await ear.listener.begin()
    form = await ear.listener.form()
    assert harness.job(live.recording.id).tap.samples == 0
    await live.stop()
    await ear.take_all()
    tap = ear.listener._tap
    assert form == (tap.sample_rate_hz, tap.channels) == (16_000, 1)


async def test_a_recording_without_audio_is_an_empty_file_to_its_listener(harness: RecorderHarness) -> None:
    live = Call(harness)
    live._rows = call(live.recording, length_s=0.0, stop=EndReason.HANGUP)
    await live.begin()
    ear = Ear(live.listen())
    await ear.listener.begin()
    assert (await live.stop()).status is Status.ABSENT
    assert await ear.listener.form() == (8_000, 1)
    await ear.take_all()
    assert ear.heard == b""


async def test_what_is_heard_while_the_loop_is_busy_comes_in_its_order(harness: RecorderHarness) -> None:
    live = Call(harness)
    await live.begin()
    ear = Ear(live.listen())
    await ear.listener.begin()
    audience = harness.live._audiences[live.recording.id]
    for piece in (b"first ", b"second ", b"third "):
        harness.live._heard(audience, piece)
    harness.live._tell()
    await ear.take(9)
    assert ear.heard == b"first second third "
