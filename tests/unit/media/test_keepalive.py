from __future__ import annotations

import asyncio

from wavstream.media.keepalive import Keepalive, owed_frames


def test_in_twenty_milliseconds_each_group_gets_one_frame_in_its_own_turn() -> None:
    turns = [owed_frames(turn, turn + 1) for turn in range(4)]
    assert [sum(group) for group in zip(*turns, strict=True)] == [1, 1, 1, 1]
    assert [sum(turn) for turn in turns] == [1, 1, 1, 1]


def test_turns_served_late_or_one_by_one_owe_the_same_in_six_minutes() -> None:
    one_by_one = [0, 0, 0, 0]
    done = 0
    for due in range(3, 72_001, 3):
        one_by_one = [sum(pair) for pair in zip(one_by_one, owed_frames(done, due), strict=True)]
        done = due
    assert done == 72_000
    assert one_by_one == [18_000] * 4


def test_after_a_stall_of_the_loop_a_stream_gets_five_frames_at_most() -> None:
    assert owed_frames(100, 100 + 12) == [3, 3, 3, 3]
    assert owed_frames(100, 100 + 4000) == [5, 5, 5, 5]


class Peer:
    """The handle of a stream, as far as keepalive uses it."""

    dialect = "pcm"

    def __init__(self, enough: int = 0) -> None:
        self.sent = b""
        self.enough = enough
        self.done = asyncio.Event()

    def send_frames(self, frames: bytes) -> None:
        self.sent += frames
        if len(self.sent) >= self.enough:
            self.done.set()

    def send_audio(self, payload: bytes) -> None: ...
    def keep_alive(self, on: bool) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self, code: int, reason: str) -> None: ...


async def test_streams_get_their_own_frame_until_they_are_stopped_and_then_nothing_runs() -> None:
    keepalive = Keepalive()
    first, second = Peer(enough=3), Peer(enough=3)
    keepalive.start(first, b"1")
    keepalive.start(second, b"2")
    keepalive.start(second, b"twice")
    async with asyncio.timeout(10):
        await first.done.wait()
        await second.done.wait()
    assert set(first.sent) == set(b"1")
    assert set(second.sent) == set(b"2")
    keepalive.stop(first)
    keepalive.stop(first)
    first.sent, second.sent = b"", b""
    second.done.clear()
    async with asyncio.timeout(10):
        await second.done.wait()
    assert first.sent == b""
    keepalive.stop(second)
    assert keepalive._timer is None
