"""Sockets whose messages are read some at a time: nothing is lost, and nothing comes out of order."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator
from typing import cast

import pytest

from tests.support.media_plane import (
    PATIENCE_S,
    MediaHarness,
    RawPeer,
    RememberingSink,
    client_frame,
    media_plane,
    text_frame,
)
from wavstream.dialects.events import MAX_JOINED, Mark, StreamStopped
from wavstream.journal.records import MAX_FRAMES
from wavstream.media.connection import MediaConnection
from wavstream.media.endpoint import MediaLimits
from wavstream.media.media_stream import State
from wavstream.sessions.deadlines import VISIT_US

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MOST = -(-2 * VISIT_US // 20_000)
"""Messages of 20 ms with which the kernel wakes us: what comes in two visits."""
UNHURRIED = MediaLimits(close_timeout_s=PATIENCE_S, watch_interval_s=PATIENCE_S, ping_interval_s=10 * PATIENCE_S)
"""What is looked at is looked at by the test."""


@pytest.fixture
async def plane() -> AsyncIterator[MediaHarness]:
    async with media_plane(limits=UNHURRIED) as running:
        yield running


def message(number: int, size: int = 320) -> bytes:
    """Return a binary message that is like no other."""
    return client_frame(BINARY, bytes([number % 256]) * size)


def connection(sink: RememberingSink) -> MediaConnection:
    return cast("MediaConnection", sink.handle)


async def steady(plane: MediaHarness, path: str = "/media/pcm/s/a?rate=8000") -> tuple[RawPeer, RememberingSink]:
    """Return a stream that has sent a message each 20 ms for two seconds, as far as its mark knows."""
    number = len(plane.sinks)
    peer = await plane.raw(path)
    sink = await plane.sink(number)
    low_water = connection(sink)._low_water
    for second in (1, 2):
        low_water.look(
            messages=50 * second, received_bytes=50 * 328 * second, read_us=(1 + second) * 1_000_000, may_wait=True
        )
    assert low_water.mark == 2 * VISIT_US * 328 // 20_000
    return peer, sink


async def turned(plane: MediaHarness) -> None:
    """Wait until the loop has read what it is woken for: another stream has been heard."""
    number = len(plane.sinks)
    peer = await plane.raw(f"/media/pcm/another-{number}/a?rate=8000")
    sink = await plane.sink(number)
    peer.send(message(1))
    await sink.hear(lambda sink: sink.frames)


async def test_a_steady_stream_that_no_visit_reads_wakes_us_with_what_comes_in_two(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    peer.send(b"".join(message(number) for number in range(MOST - 1)))
    await turned(plane)
    assert sink.frames == []
    peer.send(message(MOST - 1))
    await sink.hear(lambda sink: len(sink.frames) == MOST)
    (whole,) = sink.whole
    assert (whole.position, whole.samples, whole.messages) == (0, 160 * MOST, MOST)
    assert sink.audio == b"".join(bytes([number]) * 320 for number in range(MOST))


async def test_a_drain_delivers_what_is_there_no_sooner_than_it_is_told(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    peer.send(message(1) + message(2))
    await turned(plane)
    assert sink.frames == []
    assert sink.handle.drain(5_000_000) == 5_000_000  # the clock of the test is behind that
    assert [frame.payload[0] for frame in sink.frames] == [1, 2]
    assert sink.arrivals == [5_000_000] * 2
    assert sink.handle.heard_us == 5_000_000
    peer.send(b"".join(message(number) for number in range(3, 3 + MOST)))
    await sink.hear(lambda sink: len(sink.frames) == 2 + MOST)
    assert [frame.position for frame in sink.frames] == [160 * number for number in range(2 + MOST)]


async def test_what_a_drain_reads_has_come_by_the_time_of_its_read(plane: MediaHarness) -> None:
    """Another program had the core between the clock that the visit went by and the socket."""
    peer, sink = await steady(plane)
    asked_us = plane.endpoint.now_us()
    peer.send(message(1))
    await turned(plane)
    read_us = sink.handle.drain(asked_us)
    assert asked_us < read_us
    assert sink.arrivals == [read_us]


async def test_only_what_may_have_waited_for_too_long_is_to_be_read_by_a_visit(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    peer.send(message(1))
    await turned(plane)
    read_us = sink.handle.heard_us
    assert not sink.handle.is_stale(read_us + 60_000)  # it was read for a command, just before the visit
    assert sink.handle.is_stale(read_us + 100_000)


async def test_texts_and_pings_wait_in_their_places_behind_the_mark(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    mark = {"event": "mark", "name": "here"}
    peer.send(message(1) + text_frame(mark) + message(2) + client_frame(PING, b"p") + message(3))
    await turned(plane)
    assert sink.order == []
    sink.handle.drain(5_000_000)
    assert [each if isinstance(each, Mark) else each.payload[0] for each in sink.order] == [1, Mark("here"), 2, 3]  # type: ignore[union-attr]
    assert await peer.receive() == (PONG, b"p")


async def test_a_pong_below_the_mark_is_no_missing_one(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    socket = connection(sink)
    socket._ping()
    assert await peer.receive() == (PING, b"wavstream")
    peer.send(client_frame(PONG, b"wavstream"))
    await turned(plane)
    socket._miss_pong(socket._loop.time())
    assert socket.stream.state is State.LIVE
    assert socket._pong_deadline is None
    socket._ping()
    socket._miss_pong(socket._loop.time())
    assert await sink.end() is False


@pytest.mark.parametrize("closes", [True, False], ids=["with a close frame", "by the end of its socket"])
async def test_a_peer_that_goes_while_some_messages_wait_is_heard_to_its_end(plane: MediaHarness, closes: bool) -> None:
    peer, sink = await steady(plane)
    peer.send(b"".join(message(number) for number in range(MOST - 1)))
    if closes:
        peer.send(client_frame(CLOSE, (1000).to_bytes(2)))
    peer.writer.write_eof()
    assert await sink.end() is closes
    assert [frame.payload[0] for frame in sink.frames] == [*range(MOST - 1)]


async def test_a_close_frame_below_the_mark_ends_the_stream_with_the_next_visit(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    peer.send(message(1) + client_frame(CLOSE, (1000).to_bytes(2)))
    await turned(plane)
    assert sink.handle.is_stale(sink.handle.heard_us + 100_000)
    sink.handle.drain(sink.handle.heard_us)
    assert await sink.end() is True
    assert len(sink.frames) == 1
    assert await peer.receive() == (CLOSE, (1000).to_bytes(2))


async def test_nothing_is_drained_while_reading_is_paused(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    sink.handle.pause_reading()
    peer.send(message(1))
    await turned(plane)
    sink.handle.drain(5_000_000)
    assert sink.frames == []
    sink.handle.resume_reading()
    sink.handle.drain(6_000_000)
    assert len(sink.frames) == 1


async def test_a_stream_that_has_stopped_has_no_mark(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    peer.send(text_frame({"event": "stop"}) + message(1))
    await turned(plane)
    sink.handle.drain(5_000_000)
    await sink.hear(lambda sink: StreamStopped() in sink.events)
    assert connection(sink)._low_water.mark == 1
    assert sink.frames == []
    peer.send(client_frame(CLOSE, (1000).to_bytes(2)))
    await peer.gone()


async def test_a_stream_that_the_session_closes_has_no_mark_and_its_answer_is_read_at_once(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    sink.handle.close(1000, "enough")
    assert connection(sink)._low_water.mark == 1
    assert (await peer.receive())[0] == CLOSE
    peer.send(client_frame(CLOSE, (1000).to_bytes(2)))
    assert await sink.end() is True


async def test_messages_that_come_byte_by_byte_below_a_mark_are_the_same_messages(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    wire = b"".join(message(number, 20) for number in range(MOST))
    for offset in range(len(wire)):
        peer.send(wire[offset : offset + 1])
        await peer.writer.drain()
    await turned(plane)
    for _ in range(len(wire)):
        sink.handle.drain(5_000_000)
    await sink.hear(lambda sink: len(sink.frames) == MOST)
    assert sink.audio == b"".join(bytes([number]) * 20 for number in range(MOST))


async def test_frames_of_changing_size_are_joined_where_they_are_alike(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    sizes = (320, 320, 160, 160, 160, 320, 640, 0, 640, 640)
    peer.send(b"".join(message(number, size) for number, size in enumerate(sizes)))
    await turned(plane)
    sink.handle.drain(5_000_000)
    await sink.hear(lambda sink: len(sink.frames) == len(sizes) - 1)
    assert sink.audio == b"".join(bytes([number]) * size for number, size in enumerate(sizes))
    assert [whole.messages for whole in sink.whole] == [2, 3, 1, 1, 2]
    positions = [whole.position for whole in sink.whole]
    ends = [whole.position + whole.samples for whole in sink.whole]
    assert positions == [0, *ends[:-1]]


async def test_a_half_sample_among_joined_messages_is_refused_and_what_came_before_it_is_kept(
    plane: MediaHarness,
) -> None:
    peer, sink = await steady(plane)
    peer.send(message(1) + message(2) + message(3, 321) + message(4) + message(5) + message(6))
    await turned(plane)
    sink.handle.drain(5_000_000)
    assert await sink.end() is False
    assert [frame.payload[0] for frame in sink.frames] == [1, 2]
    assert await peer.closing() == (
        1007,
        "payload: 321 bytes are not a whole number of samples of 2 bytes",
    )


async def test_half_samples_of_one_size_are_refused_each_as_it_is(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    peer.send(b"".join(message(number, 321) for number in range(MOST)))
    assert await sink.end() is False
    assert sink.frames == []
    assert (await peer.closing())[0] == 1007


async def test_bytes_of_a_sample_that_two_messages_share_are_joined_as_ever(plane: MediaHarness) -> None:
    """FreeSWITCH's modules may cut a sample; behind such a message come whole ones, in one read."""
    peer = await plane.raw("/media/audio-fork/s/a?rate=8000")
    audio = bytes(range(250)) * 20
    cuts = [0, 321, 641, 961, 1281, 1601, 2000]
    peer.send(b"".join(client_frame(BINARY, audio[begin:end]) for begin, end in itertools.pairwise(cuts)))
    sink = await plane.sink()
    await sink.hear(lambda sink: len(sink.audio) == 2000)
    peer.send(b"".join(client_frame(BINARY, audio[begin : begin + 320]) for begin in range(2000, 3600, 320)))
    await sink.hear(lambda sink: len(sink.audio) == 3600)
    assert sink.audio == audio[:3600]
    assert sink.whole[-1].messages == 5
    assert all(frame.samples * 2 == len(frame.payload) for frame in sink.frames)


def media(track: str, number: int, *, time_ms: int | None = None, size: int = 160) -> bytes:
    payload = base64.b64encode(bytes([number]) * size).decode()
    fields = {"track": track, "timestamp": str(20 * number if time_ms is None else time_ms), "payload": payload}
    return client_frame(TEXT, json.dumps({"event": "media", "media": fields}).encode())


async def test_audio_in_text_is_joined_by_track_where_it_follows_without_a_hole(plane: MediaHarness) -> None:
    peer = await plane.raw("/media/twilio")
    start = {"callSid": "CA1", "streamSid": "MZ1", "tracks": ["inbound", "outbound"]}
    peer.send(text_frame({"event": "start", "start": start}))
    sink = await plane.sink()
    wire = [media(track, number) for number in range(4) for track in ("inbound", "outbound")]
    wire += [media("inbound", 9), media("inbound", 10), media("inbound", 11, size=80), media("outbound", 4)]
    peer.send(b"".join(wire))
    await sink.hear(lambda sink: len(sink.frames) == len(wire))
    found = [(whole.track, whole.position, whole.messages) for whole in sink.whole]
    assert found == [(0, 0, 4), (1, 0, 5), (0, 1440, 2), (0, 1760, 1)]


async def test_an_event_between_messages_of_one_read_stays_between_them(plane: MediaHarness) -> None:
    peer = await plane.raw("/media/twilio")
    peer.send(text_frame({"event": "start", "start": {"callSid": "CA1", "streamSid": "MZ1"}}))
    sink = await plane.sink()
    mark = {"event": "mark", "mark": {"name": "m"}}
    peer.send(media("inbound", 0) + media("inbound", 1) + text_frame(mark) + media("inbound", 2))
    await sink.hear(lambda sink: len(sink.frames) == 3)
    assert [whole.messages for whole in sink.whole] == [2, 1]
    assert sink.order[2] == Mark("m")


async def test_a_text_that_cannot_be_read_keeps_the_audio_before_it(plane: MediaHarness) -> None:
    peer = await plane.raw("/media/twilio")
    peer.send(text_frame({"event": "start", "start": {"callSid": "CA1", "streamSid": "MZ1"}}))
    sink = await plane.sink()
    deep = client_frame(TEXT, b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}")
    peer.send(media("inbound", 0) + media("inbound", 1) + deep)
    assert await sink.end() is False
    assert len(sink.frames) == 2


@pytest.mark.parametrize(
    ("path", "at_visits"), [("clock=arrival", True), ("rate=8000", False)], ids=["media time is arrival", "setting off"]
)
async def test_messages_stay_by_themselves(path: str, at_visits: bool) -> None:
    limits = MediaLimits(close_timeout_s=PATIENCE_S, watch_interval_s=PATIENCE_S, reads_at_visits=at_visits)
    async with media_plane(limits=limits) as plane:
        peer = await plane.raw(f"/media/pcm/s/a?{path}")
        sink = await plane.sink()
        peer.send(b"".join(message(number) for number in range(10)))
        await sink.hear(lambda sink: len(sink.frames) == 10)
        assert [whole.messages for whole in sink.whole] == [1] * 10
        assert not connection(sink).stream.may_wait


async def test_more_messages_than_a_record_holds_are_several_frames(plane: MediaHarness) -> None:
    assert MAX_JOINED == MAX_FRAMES
    _, sink = await steady(plane)
    wire = b"".join(message(number, 2) for number in range(600))
    connection(sink).data_received(wire)
    assert [whole.messages for whole in sink.whole] == [255, 255, 90]
    assert sink.audio == b"".join(bytes([number % 256]) * 2 for number in range(600))


async def test_joined_messages_count_each_towards_the_limits_and_the_figures(plane: MediaHarness) -> None:
    peer, sink = await steady(plane)
    stream = connection(sink)
    most = UNHURRIED.frames_per_second * 10
    stream.data_received(b"".join(message(number, 2) for number in range(most)))
    assert len(sink.frames) == most
    assert sink.ends == []
    stream.stream.count(2_000_000)
    assert plane.endpoint.counters.frames == most
    assert plane.endpoint.counters.received_bytes == 2 * most
    stream.data_received(message(1, 2) + message(2, 2))
    assert (await peer.closing())[0] == 1008
