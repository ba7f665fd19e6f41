"""The generator in C sends what the simulator's own does: every sample of every leg, in order, and hangs up."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from http import HTTPStatus

import pytest

from bench.senders import CGenerator, StormGenerator
from tests.unit.simulator.receiver import Heard, receiver
from wavstream.errors import PeerError
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.generator import Generator, Traffic
from wavstream.simulator.load_worker import WorkerCounts
from wavstream.simulator.signal import make_ring, sent_by

LEGS, FRAMES = 7, 12

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def send_all(address: ServerAddress, kind: type[Generator]) -> WorkerCounts:
    traffic = Traffic([f"/media/pcm/call/{leg}" for leg in range(LEGS)], FRAMES, key="wsk_1")
    with kind(address, traffic) as generator:
        if kind is not StormGenerator:
            generator.wait_connected()
        generator.start(time.monotonic() + 0.1)
        if kind is StormGenerator:
            generator.wait_connected()
        return generator.wait_done()


@pytest.mark.parametrize("kind", [Generator, CGenerator, StormGenerator])
async def test_each_leg_sends_all_of_its_signal_and_hangs_up(kind: type[Generator]) -> None:
    async with receiver() as heard:
        counts = await asyncio.to_thread(send_all, heard.address, kind)
    assert (counts.frames, counts.lost_legs, counts.refused) == (LEGS * FRAMES, [], [])
    ring = make_ring()
    by_target = {one.target: one for one in heard.connections}
    assert len(by_target) == LEGS
    for leg in range(LEGS):
        one = by_target[f"/media/pcm/call/{leg}"]
        assert one.audio == sent_by(leg, legs=LEGS, frames=FRAMES, ring=ring).astype("<i2").tobytes()
        assert (one.close_code, one.authorization, len(one.messages)) == (1000, "Bearer wsk_1", FRAMES)


async def test_it_counts_a_leg_that_the_server_ends_early_with_its_close_code() -> None:
    async with receiver(on_message=_end(after=3)) as heard:
        counts = await asyncio.to_thread(send_all, heard.address, CGenerator)
    assert counts.lost_legs == [(leg, 1008) for leg in range(LEGS)]
    assert all(len(one.messages) >= 3 for one in heard.connections)


async def test_it_reads_past_what_the_server_says_to_a_leg() -> None:
    async with receiver(talk=b"\x01" * 70_000) as heard:
        counts = await asyncio.to_thread(send_all, heard.address, CGenerator)
    assert (counts.frames, counts.lost_legs) == (LEGS * FRAMES, [])


async def test_a_stream_that_is_refused_ends_a_load_and_is_counted_in_a_storm() -> None:
    async with receiver(status=HTTPStatus.SERVICE_UNAVAILABLE) as heard:
        with pytest.raises(PeerError, match="503"):
            await asyncio.to_thread(send_all, heard.address, CGenerator)
        counts = await asyncio.to_thread(send_all, heard.address, StormGenerator)
    assert len(counts.refused) == LEGS
    assert counts.frames == 0


def _end(*, after: int) -> Callable[[Heard], tuple[int, str] | None]:
    return lambda one: (1008, "enough") if len(one.messages) == after else None
