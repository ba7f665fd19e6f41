"""Streams for sessions of another worker: by their path, or by their first message, the socket goes there whole."""

from __future__ import annotations

import asyncio
import base64
import json
import os

import pytest

from tests.support.handing_over import Doors, doors, session_of
from tests.support.media_plane import RawPeer, client_frame, text_frame, upgrade
from tests.support.waiting import until
from wavstream.dialects.events import StreamStopped
from wavstream.errors import LimitReached, Unauthenticated
from wavstream.media.endpoint import MediaLimits
from wavstream.media.request import MediaCredentials
from wavstream.workers.boundary import NOBODY, Elsewhere, WorkerUnavailable

HERE, THERE = session_of(0), session_of(1)
AUDIO = [os.urandom(320) for _ in range(50)]


def frames(pieces: list[bytes]) -> bytes:
    return b"".join(client_frame(2, piece) for piece in pieces)


def twilio_start(session_id: str) -> bytes:
    connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    start = {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {
            "accountSid": "AC1",
            "streamSid": "MZ1",
            "callSid": session_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {},
        },
    }
    return text_frame(connected) + text_frame(start)


def twilio_media(number: int, payload: bytes) -> bytes:
    media = {
        "track": "inbound",
        "chunk": str(number + 1),
        "timestamp": str(20 * number),
        "payload": base64.b64encode(payload).decode(),
    }
    return text_frame({"event": "media", "sequenceNumber": str(number + 2), "streamSid": "MZ1", "media": media})


async def nothing_left(both: Doors, worker: int = 0) -> None:
    """Wait until nothing of a stream is counted at this worker."""
    await until(lambda: both.counted(worker) == (0, 0, 0))
    endpoint = both.planes[worker][0]
    assert not endpoint.counters.closed
    assert not endpoint.counters.refused
    assert not endpoint.counters.streams_opened


def audiohook_open(session_id: str) -> bytes:
    media = [{"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}]
    parameters = {"conversationId": session_id, "participant": {"id": "p1"}, "media": media}
    fields = {"version": "2", "type": "open", "id": "e1", "seq": 1, "serverseq": 0, "position": "PT0S"}
    return text_frame({**fields, "parameters": parameters})


@pytest.mark.parametrize("worker", [0, 1])
async def test_what_answers_the_start_is_said_once_by_the_worker_that_has_the_session(worker: int) -> None:
    async with doors() as both:
        peer = await both.doors[0].dial(upgrade("/media/audiohook"))
        assert (await peer.head()).startswith("HTTP/1.1 101 ")
        peer.send(audiohook_open(session_of(worker)), frames([bytes(1600)]))
        sink = await both.sink(worker)
        await sink.hear(lambda sink: sink.frames)
        peer.send(text_frame({"version": "2", "type": "ping", "id": "e1", "seq": 2, "serverseq": 1, "parameters": {}}))
        said = [json.loads((await peer.receive())[1]) for _ in range(2)]
        assert [(each["type"], each["seq"], each["clientseq"]) for each in said] == [("opened", 1, 1), ("pong", 2, 2)]


async def test_a_stream_whose_path_names_a_session_of_another_worker_is_there_whole() -> None:
    async with doors() as both:
        request = upgrade(f"/media/pcm/{THERE}/a?rate=8000")
        peer = await both.doors[0].dial(request + frames(AUDIO[:3]))
        assert (await peer.head()).startswith("HTTP/1.1 101 ")
        peer.send(frames(AUDIO[3:]))
        sink = await both.sink(1)
        await sink.hear(lambda sink: len(sink.frames) == len(AUDIO))
        assert sink.audio == b"".join(AUDIO)
        assert sink.started.session_id == THERE
        assert both.counted(1) == (1, 1, 1)
        await nothing_left(both)


async def test_a_wrong_key_is_refused_by_the_worker_that_has_the_session_and_counted_there_alone() -> None:
    async with doors() as both:
        status, _, _ = await both.doors[0].ask(upgrade(f"/media/pcm/{THERE}/a?token=wrong"))
        assert status == 401
        assert both.planes[1][0].counters.refused == {401: 1}
        assert not both.planes[0][0].counters.refused


@pytest.mark.parametrize("step", [None, 1])
async def test_a_stream_whose_first_message_names_it_is_there_from_its_first_byte(step: int | None) -> None:
    wire = twilio_start(THERE) + b"".join(twilio_media(number, piece[:160]) for number, piece in enumerate(AUDIO))
    async with doors() as both:
        peer = await both.doors[0].dial(upgrade("/media/twilio"))
        assert (await peer.head()).startswith("HTTP/1.1 101 ")
        for start in range(0, len(wire), step or len(wire)):
            peer.send(wire[start : start + (step or len(wire))])
            if step:
                await asyncio.sleep(0)
        sink = await both.sink(1)
        await sink.hear(lambda sink: len(sink.frames) == len(AUDIO))
        assert sink.audio == b"".join(piece[:160] for piece in AUDIO)
        await nothing_left(both)
        # No second answer, and the socket works in both directions.
        peer.send(client_frame(9, b"are you there"))
        assert await peer.receive() == (10, b"are you there")
        peer.send(client_frame(8, (1000).to_bytes(2)))
        assert (await peer.closing())[0] == 1000
        assert await sink.end() is True


async def test_a_stream_whose_first_message_names_a_session_of_ours_stays() -> None:
    async with doors() as both:
        peer = await both.doors[0].dial(upgrade("/media/twilio") + twilio_start(HERE) + twilio_media(0, AUDIO[0][:160]))
        sink = await both.sink(0)
        await sink.hear(lambda sink: sink.frames)
        (connection,) = both.doors[0].front.open
        await until(lambda: connection.hand_over is None)
        peer.send(twilio_media(1, AUDIO[1][:160]))
        await sink.hear(lambda sink: len(sink.frames) == 2)
        assert both.counted(0) == (1, 1, 1)


async def test_pings_before_the_start_are_answered_and_change_nothing() -> None:
    async with doors() as both:
        peer = await both.doors[0].dial(upgrade("/media/twilio"))
        await peer.head()
        peer.send(client_frame(9, b"1"))
        assert await peer.receive() == (10, b"1")
        peer.send(client_frame(9, b"2"), twilio_start(THERE), twilio_media(0, AUDIO[0][:160]), client_frame(9, b"3"))
        sink = await both.sink(1)
        await sink.hear(lambda sink: sink.frames)
        pongs = [await peer.receive() for _ in range(4)]
        assert pongs[-1] == (10, b"3")
        assert {opcode for opcode, _ in pongs} == {10}


async def test_a_start_that_is_held_back_goes_with_the_audio_before_it() -> None:
    async with doors() as both:
        peer = await both.doors[0].dial(upgrade("/media/audio-stream?rate=8000"))
        await peer.head()
        peer.send(frames(AUDIO[:5]))
        await until(lambda: both.counted(0) == (1, 1, 1))
        peer.send(client_frame(1, json.dumps({"session_id": THERE, "leg": "a"}).encode()), frames(AUDIO[5:10]))
        sink = await both.sink(1)
        await sink.hear(lambda sink: len(sink.audio) >= 3200)
        assert sink.audio == b"".join(AUDIO[:10])
        await nothing_left(both)


@pytest.mark.parametrize("how", ["a close frame", "the end", "both"])
async def test_a_stream_that_ends_before_its_start_was_given_is_recorded_there(how: str) -> None:
    async with doors() as both:
        peer = await both.doors[0].dial(upgrade(f"/media/audio-stream?rate=8000&session_id={THERE}"))
        await peer.head()
        peer.send(frames(AUDIO[:5]))
        if how != "the end":
            peer.send(client_frame(8, (1000).to_bytes(2)))
        if how != "a close frame":
            peer.writer.write_eof()
        sink = await both.sink(1)
        assert await sink.end() is (how != "the end")
        assert sink.audio == b"".join(AUDIO[:5])
        await nothing_left(both)
        await until(lambda: both.counted(1) == (0, 0, 0))


@pytest.mark.parametrize("ends", ["stop", "eof", "reset"])
async def test_a_short_stream_whose_peer_is_gone_when_the_other_worker_reads_it_loses_nothing(ends: str) -> None:
    wire = twilio_start(THERE) + b"".join(twilio_media(number, piece[:160]) for number, piece in enumerate(AUDIO))
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(_: object) -> str:
        asked.set()
        await go_on.wait()
        return "default"

    async with doors(authenticate=lambda said: slow(said) if said.token == "slow" else "default") as both:
        go_on.set()
        peer = await both.doors[0].dial(upgrade("/media/twilio?token=slow"))
        await peer.head()
        asked.clear()
        go_on.clear()
        peer.send(wire)
        await asked.wait()  # at the other worker
        if ends == "stop":
            peer.send(text_frame({"event": "stop", "streamSid": "MZ1", "stop": {"callSid": THERE}}))
        if ends == "reset":
            peer.writer.transport.abort()
        else:
            peer.writer.write_eof()
        await asyncio.sleep(0.05)
        go_on.set()
        sink = await both.sink(1)
        assert await sink.end() is (ends == "stop")
        assert sink.audio == b"".join(piece[:160] for piece in AUDIO)
        assert [type(each) is StreamStopped for each in sink.events] == [True] * (ends == "stop")
        await until(lambda: both.counted(1) == (0, 0, 0))


async def test_a_refusal_of_a_stream_that_was_answered_is_a_close_frame() -> None:
    async with doors(authenticate=lambda said: "default") as both:
        both.planes[1][1].check_load = lambda app_id, session_id: (_ for _ in ()).throw(  # type: ignore[method-assign]
            LimitReached("no headroom", retry_after_s=5)
        )
        peer = await both.doors[0].dial(upgrade("/media/twilio") + twilio_start(THERE))
        await peer.head()
        peer.send(*(twilio_media(number, piece[:160]) for number, piece in enumerate(AUDIO)))
        assert await peer.closing() == (1013, "no headroom")
        peer.writer.close()
        await nothing_left(both)
        await until(lambda: not both.doors[1].front.open)


async def test_a_refusal_by_the_other_worker_has_the_words_of_the_dialect_before_it() -> None:
    async with doors(authenticate=lambda said: "default") as both:
        both.planes[1][1].check_load = lambda app_id, session_id: (_ for _ in ()).throw(  # type: ignore[method-assign]
            LimitReached("no headroom", retry_after_s=5)
        )
        peer = await both.doors[0].dial(upgrade("/media/audiohook"))
        await peer.head()
        peer.send(audiohook_open(THERE))
        answer = json.loads((await peer.receive())[1])
        assert (answer["type"], answer["parameters"]) == ("disconnect", {"reason": "error", "info": "no headroom"})
        assert await peer.closing() == (1013, "no headroom")


async def test_a_key_that_the_other_worker_does_not_take_is_told_in_the_words_of_the_dialect() -> None:
    asked: list[MediaCredentials] = []

    def once(said: MediaCredentials) -> str:
        asked.append(said)
        if len(asked) > 1:
            raise Unauthenticated("the signature was used before")
        return "default"

    async with doors(authenticate=once) as both:
        peer = await both.doors[0].dial(upgrade("/media/audiohook"))
        await peer.head()
        peer.send(audiohook_open(THERE))
        answer = json.loads((await peer.receive())[1])
        assert (answer["type"], answer["seq"], answer["clientseq"]) == ("disconnect", 1, 1)
        assert answer["parameters"] == {"reason": "unauthorized", "info": "the signature was used before"}
        assert await peer.receive() == (8, (1008).to_bytes(2) + b"the signature was used before")
        peer.send(client_frame(8, (1008).to_bytes(2)))
        await peer.gone()
        await nothing_left(both)
        await until(lambda: both.counted(1) == (0, 0, 0))
        assert both.planes[1][0].counters.turned_away == 0


async def test_a_worker_that_takes_nothing_is_told_to_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with doors() as both:

        def full(*_: object, **__: object) -> None:
            raise WorkerUnavailable(1)

        monkeypatch.setattr(both.workers[0], "hand_over", full)
        status, headers, _ = await both.doors[0].ask(upgrade(f"/media/pcm/{THERE}/a"))
        assert (status, headers["retry-after"]) == (503, "2")
        peer = await both.doors[0].dial(upgrade("/media/twilio") + twilio_start(THERE))
        await peer.head()
        assert (await peer.closing())[0] == 1013
        await until(lambda: both.counted(0) == (0, 0, 0))


async def test_a_stream_that_says_too_much_before_its_start_cannot_go_and_is_told_so() -> None:
    limits = MediaLimits(max_message_bytes=10_000, bytes_per_second=100_000_000)
    noise = client_frame(9, b"x" * 100) * 20
    async with doors(media=limits) as both:
        peer = await both.doors[0].dial(upgrade("/media/twilio"))
        await peer.head()
        for _ in range(60):
            peer.send(text_frame({"event": "unknown", "filling": "x" * 9_000}))
        peer.send(noise, twilio_start(THERE))
        assert (await peer.closing())[0] == 1013
        assert not both.planes[1][1].sinks


async def test_500_streams_in_a_moment_are_all_where_they_belong() -> None:
    async with doors() as both:

        async def play(number: int) -> RawPeer:
            worker = number % 2
            session_id = session_of(worker, f"storm-{number}")
            door = both.doors[number // 2 % 2]
            if number % 3:
                peer = await door.dial(upgrade(f"/media/pcm/{session_id}/a?rate=8000") + frames(AUDIO[:2]))
            else:
                head = upgrade("/media/twilio") + twilio_start(session_id)
                peer = await door.dial(head + twilio_media(0, AUDIO[0]))
                peer.send(twilio_media(1, AUDIO[1]))
            await peer.head()
            return peer

        peers = await asyncio.gather(*map(play, range(500)))
        for _, sessions in both.planes:
            await until(lambda s=sessions: len(s.sinks) == 250)  # type: ignore[misc, arg-type]
            for sink in sessions.sinks:
                await sink.hear(lambda sink: len(sink.frames) == 2)
                assert sink.audio == b"".join(AUDIO[:2])
        assert len(peers) == 500
        assert both.counted(0) == both.counted(1) == (250, 250, 250)


async def test_a_stream_whose_session_was_let_go_of_while_it_opened_is_told_to_connect_again() -> None:
    async with doors() as both:
        peer = await both.doors[0].dial(upgrade(f"/media/twilio/{HERE}/a"))
        assert (await peer.head()).startswith("HTTP/1.1 101 ")

        def gone(_session_id: str) -> None:
            raise Elsewhere(NOBODY)

        both.planes[0][0].boundary.check_here = gone  # type: ignore[method-assign, assignment]
        peer.send(twilio_start(HERE))
        code, reason = await peer.closing()
        assert (code, "connect again" in reason) == (1013, True)
