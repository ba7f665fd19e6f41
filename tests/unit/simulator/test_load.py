"""The load generator: its signals, its messages, and the check that finds every wrong sample."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from tests.unit.simulator.receiver import receiver
from wavstream.errors import OperatorError
from wavstream.simulator import control
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import CPU, Control
from wavstream.simulator.generator import Generator, Traffic
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest, LoadResult
from wavstream.simulator.load_report import as_json, load_table, percentile
from wavstream.simulator.load_worker import WorkerCounts, WorkerLeg, send_frame
from wavstream.simulator.signal import FRAME_SAMPLES, ChannelCheck, Ring, Signal, check_channel, make_ring, sent_by

LEGS = 4


@pytest.fixture(scope="module")
def ring() -> Ring:
    return make_ring()


@pytest.fixture(scope="module")
def signal(ring: Ring) -> Signal:
    return sent_by(1, legs=LEGS, frames=50, ring=ring)


def silence(samples: int) -> Signal:
    return np.zeros(samples, np.int16)


def test_every_leg_has_a_signal_of_its_own_at_every_moment(ring: Ring) -> None:
    first = np.stack([sent_by(leg, legs=1_000, frames=1, ring=ring) for leg in range(1_000)])
    assert len(np.unique(first, axis=0)) == 1_000


def test_a_signal_is_the_same_in_every_process_and_never_silent(ring: Ring, signal: Signal) -> None:
    assert np.array_equal(sent_by(1, legs=LEGS, frames=50, ring=make_ring()), signal)
    assert np.count_nonzero(ring) == ring.size


def test_a_channel_that_holds_the_signal_is_exact_wherever_it_starts_and_ends(signal: Signal) -> None:
    check = check_channel(np.concatenate([silence(77), signal, silence(500)]), signal)
    assert check == ChannelCheck(offset=77, matched=8_000, lost=0, extra=0, holes=0)
    assert check.is_exact


@pytest.mark.parametrize(
    ("cut", "again", "hole", "expected"),
    [
        (1, 0, 0, {"lost": 1}),
        (160, 0, 0, {"lost": 160}),
        (0, 1, 0, {"extra": 1}),
        (0, 320, 0, {"extra": 320}),
        (0, 0, 1, {"holes": 1}),
        (160, 0, 160, {"lost": 160, "holes": 160}),
    ],
)
def test_a_loss_a_repeat_and_a_hole_are_counted_to_the_sample(
    cut: int, again: int, hole: int, expected: dict[str, int], signal: Signal
) -> None:
    channel = np.concatenate([signal[:4_000], silence(hole), signal[4_000 + cut - again :]])
    check = check_channel(channel, signal)
    found = {"lost": check.lost, "extra": check.extra, "holes": check.holes}
    assert found == {"lost": 0, "extra": 0, "holes": 0, **expected}


def test_a_loss_at_the_start_and_one_at_the_end_are_counted(signal: Signal) -> None:
    assert check_channel(signal[5:], signal).lost == 5
    assert check_channel(signal[:-5], signal).lost == 5
    assert check_channel(silence(800), signal).lost == 8_000


def test_one_wrong_sample_is_foreign_and_the_right_one_lost(signal: Signal) -> None:
    wrong = signal.copy()
    wrong[5_000] ^= 1
    check = check_channel(wrong, signal)
    assert (check.lost, check.extra) == (1, 1)


def test_another_legs_signal_is_not_this_ones(ring: Ring, signal: Signal) -> None:
    other = sent_by(2, legs=LEGS, frames=50, ring=ring)
    check = check_channel(other, signal)
    assert check.lost + check.matched == 8_000
    assert check.matched < 10


def test_a_recording_that_was_stopped_must_hold_what_was_required_of_it(signal: Signal) -> None:
    assert check_channel(signal[:3_000], signal, required=2_900).is_exact
    assert check_channel(signal[:3_000], signal, required=3_100).lost == 100


async def test_the_generator_sends_each_leg_its_signal_and_hangs_up_with_1000(ring: Ring) -> None:
    frames = 10

    def generate(server: ServerAddress) -> WorkerCounts:
        targets = [f"/media/pcm/s/{leg}" for leg in range(LEGS)]
        with Generator(server, Traffic(targets, frames, processes=2, key="secret")) as generator:
            generator.wait_connected()
            generator.start(time.monotonic())
            return generator.wait_done()

    async with receiver() as heard:
        counts = await asyncio.to_thread(generate, heard.address)
    assert counts.frames == LEGS * frames
    assert counts.lost_legs == []
    by_leg = {int(one.target.rpartition("/")[2]): one for one in heard.connections}
    for leg, one in by_leg.items():
        assert one.audio == sent_by(leg, legs=LEGS, frames=frames, ring=ring).astype("<i2").tobytes()
        assert {len(message) for message in one.messages} == {FRAME_SAMPLES * 2}
        assert one.authorization == "Bearer secret"
        assert one.close_code == 1000
    assert len(by_leg) == LEGS


def test_a_process_of_the_generator_ends_with_its_parent_without_a_word() -> None:
    command = [sys.executable, "-m", "wavstream.simulator.load_worker"]
    gone = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False)

    assert (gone.returncode, gone.stdout, gone.stderr) == (1, b"", b"")


def test_a_full_socket_delays_frames_and_loses_none() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        ours.setblocking(False)
        theirs.setblocking(False)
        frames = [bytes([n]) * 3_000 for n in range(100)]
        leg, counts, heard = WorkerLeg(0, 0, ours), WorkerCounts(), b""
        for frame in frames:
            send_frame(leg, frame, counts)
        assert counts.held_back > 50
        while leg.unsent:
            heard += theirs.recv(65_536)
            send_frame(leg, b"", counts)
        theirs.setblocking(True)
        while len(heard) < 300_000:
            heard += theirs.recv(65_536)
    assert heard == b"".join(frames)


async def test_a_leg_that_the_server_ends_is_reported_with_its_close_code() -> None:
    def generate(server: ServerAddress) -> WorkerCounts:
        with Generator(server, Traffic(["/media/pcm/s/a", "/media/pcm/s/b"], 20)) as generator:
            generator.wait_connected()
            generator.start(time.monotonic())
            return generator.wait_done()

    async with receiver(on_message=lambda one: (1008, "no") if one.target.endswith("b") else None) as heard:
        counts = await asyncio.to_thread(generate, heard.address)
    assert counts.lost_legs == [(1, 1008)]


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"legs": 3}, "even number"),
        ({"legs": 0}, "even number"),
        ({"dialect": "morse"}, "pcm"),
        ({"duration_s": 0.0}, "1 to 604800"),
        ({"call_s": 30.0}, "--duration"),
        ({"ramp_s": 20.0}, "--ramp"),
        ({"processes": 0}, "1 to 32"),
        ({"url": "nowhere"}, "ws://HOST:PORT"),
        ({}, "is the server running"),
    ],
)
def test_a_load_that_cannot_run_says_what_to_change(options: dict[str, object], advice: str) -> None:
    request = LoadRequest(**{"url": "ws://127.0.0.1:1", "legs": 2, **options})  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match=advice):
        run_load(request)


def test_the_report_shows_a_loss_and_is_not_good(tmp_path: Path) -> None:
    result = LoadResult(legs=2, duration_s=1, burst=False, lost_samples=160, stop_ms=[1.0, 2.0])
    with (tmp_path / "table.txt").open("w") as file:
        Console(file=file, width=120).print(load_table(result))
    assert "160 samples" in (tmp_path / "table.txt").read_text()
    assert json.loads(as_json(result))["is_good"] is False
    assert json.loads(as_json(result))["stop_ms"] == {"p50": 1.0, "p99": 2.0, "p100": 2.0}


@pytest.mark.parametrize(("busy_s", "waits_s"), [(0.0, 0.5), (1.2, 2.0), (60.0, 5.0)])
def test_a_server_is_waited_for_until_it_rests_but_no_longer_than_its_streams_may_be_silent(
    monkeypatch: pytest.MonkeyPatch, busy_s: float, waits_s: float
) -> None:
    now_s = 0.0

    def sleep(time_s: float) -> None:
        nonlocal now_s
        now_s += time_s

    server = Control(ServerAddress.parse("http://127.0.0.1:1"))
    monkeypatch.setattr(control, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now_s))
    monkeypatch.setattr(server, "metrics", lambda: {CPU: min(now_s, busy_s)})
    assert server.metrics_at_rest(within_s=5.0) == {CPU: min(now_s, busy_s)}
    assert now_s == waits_s


def test_a_percentile_is_the_first_value_that_so_many_do_not_exceed() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert percentile([], 0.5) is None
