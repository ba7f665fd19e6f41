"""The options of a recording, heard in the finished file."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from tests.support.listening import beeps, find_beeps, loudest_shift
from tests.support.recorder import hear, recorder
from tests.support.speech import RATE_HZ, silence, spoken
from tests.support.talking import FRAME, say
from tests.support.truth import Truth, again_if_too_slow, real_time
from tests.support.waiting import WAIT_S
from wavstream.simulator.caller import Leg

LONG_S = 12.0


async def played(socket: ClientConnection, length_s: float) -> NDArray[np.int16]:
    """Return the first sound that the server plays to a stream, (samples,)."""
    heard = b""
    async with asyncio.timeout(WAIT_S):
        while len(heard) < 2 * length_s * RATE_HZ:
            message = await socket.recv()
            assert isinstance(message, bytes)
            heard += message
    return np.frombuffer(heard, "<i2")


@dataclass(frozen=True, slots=True)
class Ended:
    """A recording that nobody stopped."""

    answer: dict[str, Any]
    heard: NDArray[np.int16]
    """The only channel of its file, (samples,); empty where there is no file."""
    session: dict[str, Any]
    """Its session afterwards."""
    link_status: int


WORD = spoken()
NOISE = np.random.default_rng(7).integers(1, 9000, 9 * RATE_HZ, np.int16)
CALLS: dict[str, tuple[list[NDArray[np.int16]], dict[str, object]]] = {
    "silence": ([silence(1), WORD, silence(LONG_S)], {"end_silence_timeout_s": 5}),
    "late word": ([silence(8), WORD, silence(LONG_S)], {"end_silence_timeout_s": 5}),
    "nobody": ([silence(LONG_S)], {"initial_timeout_s": 3}),
    "in time": ([silence(2), WORD, silence(LONG_S)], {"initial_timeout_s": 3, "max_length_s": 8}),
    "limit": ([NOISE], {"max_length_s": 4}),
    "trimmed wav": (
        [silence(4), WORD, silence(2), WORD, silence(LONG_S)],
        {"trim": "silence", "format": "wav", "end_silence_timeout_s": 5},
    ),
    "trimmed mp3": (
        [silence(4), WORD, silence(2), WORD, silence(LONG_S)],
        {"trim": "silence", "format": "mp3", "end_silence_timeout_s": 5},
    ),
    "wholly silent": ([silence(LONG_S)], {"trim": "silence", "initial_timeout_s": 2}),
}


pytestmark = pytest.mark.xdist_group("options")
"""Most tests listen to the same calls, of which one process has enough."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """All these calls, at once: each is streamed, recorded, and not stopped."""
    async with recorder(tmp_path_factory.mktemp("data")) as (client, _):
        one_speaks = asyncio.Lock()

        async def call(name: str) -> Ended:
            sounds, options = CALLS[name]
            session = name.replace(" ", "-")
            async with client.connect(f"/media/pcm/{session}/a") as socket:
                recording = await client.start(session, channels="mono", **options)
                # All of a call is there before its end is found, 2 s after it began.
                async with one_speaks:
                    await say(socket, *sounds)
                answer = await client.until(recording, "available", "absent")
                after = (await client.http.get(f"/v1/sessions/{session}")).json()
            link = await client.http.get(answer["url"])
            heard = hear(link.content)[0][:, 0] if link.status_code == 200 else silence(0)
            return Ended(answer, heard, after, link.status_code)

        made = await asyncio.gather(*map(call, CALLS))
    return dict(zip(CALLS, made, strict=True))


def test_a_recording_that_ended_by_itself_leaves_its_call_alone(ended: dict[str, Ended]) -> None:
    for call in ended.values():
        assert (call.session["recordings"], len(call.session["streams"])) == ([], 1)


def test_silence_after_the_last_word_ends_a_recording_five_seconds_after_it(ended: dict[str, Ended]) -> None:
    answer, heard = ended["silence"].answer, ended["silence"].heard
    assert answer["end_reason"] == "silence"
    assert np.array_equal(heard[RATE_HZ : RATE_HZ + len(WORD)], WORD)
    assert answer["duration_ms"] == pytest.approx(1000 + len(WORD) / 8 + 5000, abs=100)
    assert answer["integrity"]["after_limit_ms"] == pytest.approx(1000 * (LONG_S - 5), abs=120)


def test_a_silence_timeout_waits_for_the_first_word(ended: dict[str, Ended]) -> None:
    assert ended["late word"].answer["duration_ms"] > 8000 + 5000


def test_nobody_who_speaks_ends_a_recording_as_no_input(ended: dict[str, Ended]) -> None:
    answer = ended["nobody"].answer
    assert (answer["end_reason"], answer["status"], answer["duration_ms"]) == ("no_input", "available", 3000)


def test_who_speaks_in_time_is_recorded_on(ended: dict[str, Ended]) -> None:
    answer = ended["in time"].answer
    assert (answer["end_reason"], answer["duration_ms"]) == ("max_length", 8000)


def test_a_recording_is_as_long_as_it_may_to_the_sample(ended: dict[str, Ended]) -> None:
    assert np.array_equal(ended["limit"].heard, NOISE[: 4 * RATE_HZ])


@pytest.mark.parametrize("file_format", ["wav", "mp3"])
def test_trim_leaves_the_first_and_the_last_word_whole(ended: dict[str, Ended], file_format: str) -> None:
    answer, heard = ended[f"trimmed {file_format}"].answer, ended[f"trimmed {file_format}"].heard
    first = loudest_shift(heard[: RATE_HZ + len(WORD)], WORD)
    last = loudest_shift(heard[first + len(WORD) :], WORD) + first + len(WORD)
    assert (last - first) == 2 * RATE_HZ + len(WORD)
    assert first == pytest.approx(RATE_HZ // 5, abs=RATE_HZ // 20)
    assert len(heard) - last - len(WORD) == pytest.approx(RATE_HZ // 5, abs=RATE_HZ // 10)
    trimmed = answer["integrity"]["trimmed_ms"]
    assert trimmed["start"] == 4000 - first * 1000 // RATE_HZ
    assert trimmed["end"] == pytest.approx(4800, abs=100)


def test_a_wholly_silent_recording_that_is_trimmed_is_absent(ended: dict[str, Ended]) -> None:
    call = ended["wholly silent"]
    answer = (call.answer["status"], call.answer["end_reason"], call.answer["size_bytes"])
    assert (*answer, call.link_status) == ("absent", "no_input", 0, 404)


async def test_a_terminator_ends_the_file_where_it_was_pressed(tmp_path: Path) -> None:
    said = np.random.default_rng(7).integers(1, 9000, 8 * RATE_HZ, np.int16)
    async with recorder(tmp_path) as (client, _):
        async with client.connect("/media/pcm/call-77/a") as socket:
            recording = await client.start("call-77", channels="mono", terminators="#*")
            await say(socket, said[: 2 * RATE_HZ])
            await socket.send('{"event":"dtmf","digit":"5"}')
            await say(socket, said[2 * RATE_HZ : 4 * RATE_HZ])
            await socket.send('{"event":"dtmf","digit":"#"}')
            await say(socket, said[4 * RATE_HZ :])
            done = await client.until(recording)
        samples, _ = await client.listen(done)
    heard = samples[:, 0]
    assert done["end_reason"] == "terminator"
    assert abs(len(heard) - 4 * RATE_HZ) <= FRAME
    assert np.array_equal(heard[: 4 * RATE_HZ - FRAME], said[: 4 * RATE_HZ - FRAME])


async def test_a_beep_is_at_the_start_of_all_channels(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        async with client.connect("/media/pcm/call-77/a") as socket:
            recording = await client.start("call-77", beep=True)
            await say(socket, silence(2))
            await client.until_received("call-77", 2000)
            done = await client.act(recording, "stop")
        samples, rate_hz = await client.listen(done)
    for channel in samples.T:
        assert find_beeps(channel, rate_hz, 1400.0) == [pytest.approx(0.0, abs=0.005)]
        assert not channel[rate_hz // 5 :].any()


async def test_whoever_joins_hears_the_beep_once_and_the_file_has_it_only_at_its_start(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        recording = await client.start("call-77", beep=True)
        async with client.connect("/media/pcm/call-77/a") as a:
            await say(a, silence(1))
            await client.until_received("call-77", 1000)
            async with client.connect("/media/pcm/call-77/b?channels=2&echo=1") as b:
                await say(b, silence(2))
                heard = [await played(a, 0.2), await played(b, 0.4)]
                await say(a, silence(1))
                returned = heard[1] * np.tile(np.array([0, 1], np.int16), len(heard[1]) // 2)
                await say(b, returned, silence(2))
                await client.until_received("call-77", 2000, legs=2)
                b.transport.abort()
            async with client.connect("/media/pcm/call-77/b") as back:
                await say(back, silence(1))
                await client.until_received("call-77", 1000, legs=2)
                done = await client.act(recording, "stop")
                await back.close()
            nothing = [message async for message in back]
        samples, rate_hz = await client.listen(done)
    for tone in (heard[0], heard[1][::2], heard[1][1::2]):
        assert find_beeps(tone, RATE_HZ, 1400.0) == [0.0]
    assert nothing == []
    assert [find_beeps(channel, rate_hz, 1400.0) for channel in samples.T] == [[0.0], [0.0]]


@real_time
async def test_recordings_of_one_session_overlap_each_with_its_own_options(tmp_path: Path) -> None:
    # A beep each 1.25 s; each command has a second in which nothing is said to take effect.
    tone = beeps(6.0, rate_hz=RATE_HZ, frequency_hz=800.0, every_s=1.25, offset_s=0.25)
    options = {"client_state": "bXkgY2FsbA==", "metadata": {"agent": "12"}, "retention_hours": 3}
    async with recorder(tmp_path) as (client, _):

        async def call(session_id: str) -> tuple[dict[str, Any], dict[str, Any], Truth]:
            playing = asyncio.create_task(client.play(session_id, Leg("a", tone[:, None], query={"record": "1"})))
            await client.until_received(session_id, 500)
            long = await client.only_recording(session_id)
            other = await client.start(
                session_id, format="mp3", channels="mono", sample_rate=16000, file_name="other", **options
            )
            await client.until_received(session_id, 1750)
            await client.act(long, "pause")
            await client.until_received(session_id, 3000)
            await client.act(long, "resume")
            await client.until_received(session_id, 4250)
            other = await client.act(other, "stop")
            truth = await playing
            return await client.until(long), other, truth

        long, other, truth = await again_if_too_slow(call)
        whole, rate_hz = await client.listen(long)
        part, other_hz = await client.listen(other)

    heard = find_beeps(whole[:, 0], rate_hz, 800.0)
    assert heard[:2] == pytest.approx([0.25, 1.5], abs=truth.within_s)
    assert np.diff(heard[2:]) == pytest.approx([1.25], abs=2 * truth.within_s)
    assert long["integrity"]["paused_audio_in_journal"]
    assert (other_hz, part.shape[1]) == (16000, 1)
    assert other["duration_ms"] == pytest.approx(len(part) / 16, abs=0.5)
    assert np.diff(find_beeps(part[:, 0], 16000, 800.0)) == pytest.approx([1.25, 1.25], abs=2 * truth.within_s)
    assert {name: other[name] for name in options} == options
    assert (other["file_name"][:6], other["file_name"][-4:]) == ("other-", ".mp3")


@pytest.mark.parametrize("track", ["inbound", "outbound"])
async def test_one_track_is_recorded_alone(tmp_path: Path, track: str) -> None:
    pitches = {"inbound": 600.0, "outbound": 1100.0}
    both = np.stack([beeps(3.0, rate_hz=RATE_HZ, frequency_hz=hz, offset_s=0.5) for hz in pitches.values()], axis=1)
    async with recorder(tmp_path) as (client, _):
        async with client.connect("/media/pcm/call-77/a?channels=2") as socket:
            recording = await client.start("call-77", track=track)
            await say(socket, both)
            await client.until_received("call-77", 3000)
            done = await client.act(recording, "stop")
        samples, rate_hz = await client.listen(done)
    assert (done["channels"], samples.shape[1]) == ("mono", 1)
    assert [name for name, hz in pitches.items() if find_beeps(samples[:, 0], rate_hz, hz)] == [track]
