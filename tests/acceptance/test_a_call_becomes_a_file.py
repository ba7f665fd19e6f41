"""Calls on real sockets; the tests listen to the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.listening import beeps, find_beeps
from tests.support.recorder import recorder
from tests.support.talking import RATE_HZ
from tests.support.truth import real_time
from wavstream.model.audio import Codec
from wavstream.simulator.caller import Leg
from wavstream.simulator.quirks import Drop, Gap, Late, Stall

A_HZ, B_HZ = 600.0, 1500.0


def leg(name: str, frequency_hz: float, *, length_s: float = 3.0, rate_hz: int = RATE_HZ, **more: object) -> Leg:
    """Return a leg that beeps each second from 0.3 s on."""
    samples = beeps(length_s, rate_hz=rate_hz, frequency_hz=frequency_hz, offset_s=0.3)
    return Leg(name, samples[:, None], rate_hz, **more)  # type: ignore[arg-type]


@real_time
async def test_two_legs_are_in_their_channels_with_every_beep_where_it_was_sent(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        samples, rate_hz, done, truth = await client.record(leg("a", A_HZ), leg("b", B_HZ))
    assert rate_hz == RATE_HZ
    assert samples.shape[1] == 2
    assert find_beeps(samples[:, 0], rate_hz, A_HZ) == pytest.approx(truth.said("a", 0.3, 1.3, 2.3), abs=truth.within_s)
    assert find_beeps(samples[:, 1], rate_hz, B_HZ) == pytest.approx(truth.said("b", 0.3, 1.3, 2.3), abs=truth.within_s)
    assert not find_beeps(samples[:, 0], rate_hz, B_HZ)
    assert not find_beeps(samples[:, 1], rate_hz, A_HZ)
    assert done["end_reason"] == "hangup"
    assert done["duration_ms"] == (len(samples) * 1000 + rate_hz // 2) // rate_hz
    assert done["integrity"]["samples"] == samples.size
    assert truth.gaps(done) == []


async def test_every_sample_of_a_leg_is_in_the_file_unchanged(tmp_path: Path) -> None:
    said = np.random.default_rng(77).integers(-32768, 32767, 3 * RATE_HZ, np.int16)
    async with recorder(tmp_path) as (client, _):
        recording = await client.start("call-77", channels="mono")
        await client.play_at_once("call-77", Leg("a", said[:, None], RATE_HZ))
        samples, _ = await client.listen(recording)
    start = int(np.argmax(samples[:, 0] != 0))
    assert np.array_equal(samples[start : start + len(said), 0], said)


@real_time
async def test_the_second_leg_joins_late_and_its_first_sample_is_there(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        late = leg("b", B_HZ, length_s=2.3, quirks=[Late(1.7)])
        samples, rate_hz, _, truth = await client.record(leg("a", A_HZ, length_s=4.0), late)
    assert truth.joined_s["b"][0] >= 1.7
    (said_s,) = truth.said("b", 0.3)
    (first, *_) = find_beeps(samples[:, 1], rate_hz, B_HZ)
    assert first == pytest.approx(said_s, abs=truth.within_s)
    joined = int(np.argmax(samples[:, 1] != 0)) / rate_hz
    assert joined == pytest.approx(said_s, abs=truth.within_s)


@real_time
async def test_a_leg_that_stalls_and_bursts_adds_nothing_and_moves_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        stalling = leg("b", B_HZ, length_s=5.0, quirks=[Stall(at_s=1.5, for_s=1.5)])
        samples, rate_hz, done, truth = await client.record(leg("a", A_HZ, length_s=5.0), stalling)
    said_s = truth.said("b", 0.3, 1.3, 2.3, 3.3, 4.3)
    assert find_beeps(samples[:, 1], rate_hz, B_HZ) == pytest.approx(said_s, abs=truth.within_s)
    end_s = max(truth.said("a", 5.0) + truth.said("b", 5.0))
    assert len(samples) / rate_hz == pytest.approx(end_s, abs=truth.within_s)
    assert truth.gaps(done) == []
    assert done["integrity"]["late_frames"] == 0


@real_time
async def test_a_leg_on_the_arrival_clock_that_sends_nothing_leaves_silence(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        # A beep is one frame: on this clock, a moment in which nothing is sent is a hole in what is being said.
        tone = beeps(6.0, rate_hz=RATE_HZ, frequency_hz=B_HZ, beep_s=0.02, offset_s=0.3)
        quiet = Leg("b", tone[:, None], RATE_HZ, quirks=[Gap(at_s=1.0, for_s=3.0)], query={"clock": "arrival"})
        samples, rate_hz, _, truth = await client.record(leg("a", A_HZ, length_s=6.0), quiet)
    # After the silence, a frame is where it arrives: on schedule, however late the leg joined.
    said_s = [*truth.said("b", 0.3), truth.scheduled(4.3), truth.scheduled(5.3)]
    assert find_beeps(samples[:, 1], rate_hz, B_HZ) == pytest.approx(said_s, abs=truth.within_s)
    silence = samples[int(1.1 * rate_hz) : int(3.9 * rate_hz), 1]
    assert not silence.any()


@real_time
async def test_a_stream_that_drops_comes_back_as_the_same_leg(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        dropping = leg("b", B_HZ, length_s=5.0, quirks=[Drop(at_s=1.5, away_s=1.0)])
        samples, rate_hz, done, truth = await client.record(leg("a", A_HZ, length_s=5.0), dropping)
    back_s = truth.scheduled(truth.joined_s["b"][1])
    said_s = [*truth.said("b", 0.3, 1.3), back_s + 0.8, back_s + 1.8]
    assert find_beeps(samples[:, 1], rate_hz, B_HZ) == pytest.approx(said_s, abs=truth.within_s)
    said_s = truth.said("a", 0.3, 1.3, 2.3, 3.3, 4.3)
    assert find_beeps(samples[:, 0], rate_hz, A_HZ) == pytest.approx(said_s, abs=truth.within_s)
    assert [row["leg"] for row in done["legs"]] == ["a", "b"]
    assert [gap["cause"] for gap in truth.gaps(done)] == ["reconnect"]


@real_time
async def test_legs_of_different_rates_and_codecs_meet_in_one_file(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        wide = leg("b", B_HZ, rate_hz=16_000)
        samples, rate_hz, done, truth = await client.record(leg("a", A_HZ, codec=Codec.PCMU), wide)
    assert rate_hz == 16_000
    assert find_beeps(samples[:, 0], rate_hz, A_HZ) == pytest.approx(truth.said("a", 0.3, 1.3, 2.3), abs=truth.within_s)
    assert find_beeps(samples[:, 1], rate_hz, B_HZ) == pytest.approx(truth.said("b", 0.3, 1.3, 2.3), abs=truth.within_s)
    assert [(row["codec"], row["rate"]) for row in done["legs"]] == [("pcmu", 8000), ("l16", 16_000)]


@real_time
async def test_mono_has_all_legs_on_one_channel(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        legs = leg("a", A_HZ), leg("b", B_HZ), leg("c", 2500.0)
        samples, rate_hz, _, truth = await client.record(*legs, channels="mono")
    assert samples.shape[1] == 1
    for name, frequency_hz in {"a": A_HZ, "b": B_HZ, "c": 2500.0}.items():
        said_s = truth.said(name, 0.3, 1.3, 2.3)
        assert find_beeps(samples[:, 0], rate_hz, frequency_hz) == pytest.approx(said_s, abs=truth.within_s)


async def test_a_recording_can_start_and_stop_in_the_middle_of_a_call(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        # What is sent follows what was sent before, and the start may take until the beep.
        said = beeps(2.0, rate_hz=RATE_HZ, frequency_hz=A_HZ, offset_s=1.5).tobytes()
        await socket.send(bytes(len(said)))
        await client.until_streaming("call-77", 1)
        first = await client.start("call-77")
        await socket.send(said)
        await client.until_received("call-77", 4_000)
        stopped = await client.act(first, "stop")
        again = await client.start("call-77")
        await socket.send(said)
        await client.until_received("call-77", 6_000)
        await client.act(again, "stop")
        assert stopped["status"] == "available"
        assert stopped["end_reason"] == "stopped"
        for recording in (first, again):
            samples, rate_hz = await client.listen(recording)
            assert len(find_beeps(samples[:, 0], rate_hz, A_HZ)) == 1


@real_time
async def test_record_1_starts_a_recording_with_the_first_stream_and_no_second_one(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        asking = {"record": "1"}
        legs = leg("a", A_HZ, query=asking), leg("b", B_HZ, query=asking)
        samples, rate_hz, _, truth = await client.record(*legs, asked_for=False)
    assert find_beeps(samples[:, 0], rate_hz, A_HZ) == pytest.approx(truth.said("a", 0.3, 1.3, 2.3), abs=truth.within_s)


async def test_auto_record_records_every_session(tmp_path: Path) -> None:
    async with recorder(tmp_path, auto_record=True) as (client, _):
        await client.play_at_once("call-78", leg("a", A_HZ, length_s=1.0))
        samples, rate_hz = await client.listen(await client.only_recording("call-78"))
    assert len(find_beeps(samples[:, 0], rate_hz, A_HZ)) == 1


async def test_a_recording_that_no_stream_comes_for_is_absent(tmp_path: Path) -> None:
    async with recorder(tmp_path, start_wait_s=0.3) as (client, _):
        recording = await client.start("call-77")
        assert recording["status"] == "accepted"
        done = await client.until(recording, "absent")
        assert done["duration_ms"] is None
        assert (done["end_reason"], done["error"].partition(",")[0]) == (
            "no_stream",
            "no stream of session 'call-77' came within 0 s",
        )
        assert (await client.http.get(recording["url"])).status_code == 404


async def test_a_recording_whose_call_streams_by_another_id_says_which(tmp_path: Path) -> None:
    async with recorder(tmp_path, start_wait_s=0.5) as (client, _):
        async with client.connect("/media/pcm/node3-CALL-77/a") as socket:
            await socket.send(bytes(320))
            await client.until_streaming("node3-CALL-77", 1)
            await client.play_at_once("call-78", leg("a", A_HZ, length_s=0.1))
            waits, other = await client.start("call-77"), await client.start("another-one")
            absent, alone = [await client.until(each, "absent") for each in (waits, other)]
        metrics = (await client.http.get("/metrics")).text
    assert [each["end_reason"] for each in (absent, alone)] == ["no_stream"] * 2
    assert "'node3-CALL-77'" in absent["error"]
    assert "call-78" not in alone["error"]
    assert 'wavstream_no_stream_total{similar="yes"} 1.0' in metrics


async def test_the_last_stream_is_lost_and_the_file_ends_where_it_did(tmp_path: Path) -> None:
    async with recorder(tmp_path, reconnect_wait_s=0.5) as (client, _):
        recording = await client.start("call-77")
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(beeps(1.0, rate_hz=RATE_HZ, frequency_hz=A_HZ, offset_s=0.3).tobytes())
        await client.until_streaming("call-77", 1)
        socket.transport.abort()
        done = await client.until(recording)
        samples, rate_hz = await client.listen(recording)
    assert done["end_reason"] == "disconnected"
    assert len(samples) / rate_hz == pytest.approx(1.0, abs=0.4)
