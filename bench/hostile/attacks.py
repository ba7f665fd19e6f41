"""The attacks: each reaches for a bound, as a peer without a key, with an app's key, or with a stream token.

An attack says what the server answered; what must hold meanwhile (other calls, other answers, memory, no 500, no
traceback) is measured beside it. Only what is the bound itself is said here, in ``Tally.broken``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable

from bench.hostile.peer import ANSWER_S, Peer, Stream, Tally, at_once, close_of, drop, message

Attack = Callable[[Peer, Tally], Awaitable[None]]

_SOUND = bytes(range(1, 251)) * 2
_MOST_TAKEN_BYTES = 8 * 1_048_576
"""What sockets of a connection buffer on both sides, and some: a server that has taken more has read on."""


# ---- without a key -------------------------------------------------------------------------------------------------


async def _connected(peer: Peer, tally: Tally) -> Stream | None:
    """Return a new connection; None: there is none, which is counted."""
    try:
        return await peer.connect()
    except (OSError, TimeoutError):
        tally.got("not connected")
        return None


async def half_sent_heads(peer: Peer, tally: Tally) -> None:
    """Send the beginning of a request or of an upgrade, and nothing more; the sockets stay."""
    begun = (b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET /media/pcm/x/a HTTP/1.1\r\nUpgrade: websocket\r\nConn", b"P", b"")

    async def attempt(number: int) -> None:
        if (stream := await _connected(peer, tally)) is None:
            return
        reader, writer = stream
        writer.write(begun[number % len(begun)])
        peer.held.append((reader, writer))
        tally.got("held")

    await at_once(peer.many(2_000), attempt)


async def huge_heads(peer: Peer, tally: Tally) -> None:
    """Send one header without an end, and thousands of lines."""

    async def attempt(number: int) -> None:
        if (stream := await _connected(peer, tally)) is None:
            return
        reader, writer = stream
        piece = b"a" * 65_536 if number % 2 else b"X-Line: 1\r\n" * 6_000
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
        sent = 0
        answer = asyncio.create_task(reader.read(1_024))
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(3 * ANSWER_S):
                while sent < _MOST_TAKEN_BYTES * 4:
                    writer.write(piece)
                    sent += len(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        # What comes behind a refusal is dropped for a moment, so that it can be read: only one that is missing tells.
        status, is_over = "no answer", False
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                status = (await answer)[9:12].decode(errors="replace")
                is_over = not await reader.read(1)
        if sent > _MOST_TAKEN_BYTES and status != "431":
            tally.broken.append(f"{sent:,} bytes of one head were taken")
        tally.got(f"{status}, {'closed' if is_over or writer.is_closing() else 'left open'}")
        answer.cancel()
        await drop(writer)

    await at_once(peer.many(16), attempt)


async def slow_bodies(peer: Peer, tally: Tally) -> None:
    """Announce a body and send it byte by byte; the sockets stay."""

    async def attempt(number: int) -> None:
        if (stream := await _connected(peer, tally)) is None:
            return
        reader, writer = stream
        key = peer.key if number % 2 else None
        writer.write(peer.head("POST", "/v1/recordings", key=key, body=bytes(60_000)) + b"{")
        peer.held.append((reader, writer))
        tally.got("held")

    await at_once(peer.many(300), attempt)


async def large_bodies(peer: Peer, tally: Tally) -> None:
    """Send bodies far beyond the limit, with a length and in chunks."""

    async def attempt(number: int) -> None:
        key = peer.key if number % 2 else None
        if number % 4 < 2:
            status, _ = await peer.request("POST", "/v1/recordings", key=key, body=b"{" + b" " * 4_000_000)
        else:
            head = peer.head("POST", "/v1/recordings", key=key, headers="Transfer-Encoding: chunked\r\n")
            status, _ = await peer.ask(head + b"10000\r\n" + bytes(65_536) + b"\r\n" + b"10000\r\n" + bytes(65_536))
        tally.got(status)

    await at_once(peer.many(60), attempt)


async def connections(peer: Peer, tally: Tally) -> None:
    """Open thousands of connections from one address and leave them idle."""
    opened = []

    async def attempt(_: int) -> None:
        try:
            opened.append(await peer.connect())
        except (OSError, TimeoutError):
            tally.got("not connected")

    await at_once(peer.many(4_000), attempt, together=200)
    await asyncio.sleep(1)
    for reader, writer in opened:
        tally.got("closed" if reader.at_eof() else "open")
        await drop(writer)


async def wrong_keys(peer: Peer, tally: Tally) -> None:
    """Try hundreds of keys at a time, on the API and on media sockets."""

    async def attempt(number: int) -> None:
        key = "".join(peer.drawn.choices("abcdefghijkmnpqrstuvwxyz23456789", k=40))
        key = peer.key[:4] + key[: len(peer.key) - 4]
        if number % 3:
            status, _ = await peer.request("GET", "/v1/recordings", key=key)
        else:
            status, _ = await peer.ask(peer.upgrade(f"/media/pcm/{peer.session()}/a", key=key))
        if status in ("200", "101"):
            tally.broken.append(f"a wrong key was answered {status}")
        tally.got(status)

    async def right_ones() -> None:
        """Use keys that the server has not seen since it started, in the midst of the wrong ones."""
        while peer.fresh_keys:
            await asyncio.sleep(0.3)
            status, _ = await peer.request("GET", "/v1/recordings", key=peer.fresh_keys.pop())
            if status != "200":
                tally.broken.append(f"a right key was answered {status} because of wrong ones")
            tally.got(f"{status} to a right key")

    await asyncio.gather(at_once(peer.many(600), attempt, together=200), right_ones())


async def foreign_origins(peer: Peer, tally: Tally) -> None:
    """Open media sockets as a page of another site does, with a right token and with none."""

    async def attempt(number: int) -> None:
        key = peer.token if number % 2 else None
        origin = peer.drawn.choice(
            ("https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example")
        )
        upgrade = peer.upgrade(f"/media/pcm/{peer.session()}/a", key=key, headers=f"Origin: {origin}\r\n")
        status, _ = await peer.ask(upgrade)
        if status == "101":
            tally.broken.append(f"a page of {origin} opened a media socket")
        tally.got(status)

    await at_once(peer.many(40), attempt, together=4)


async def odd_upgrades(peer: Peer, tally: Tally) -> None:
    """Send upgrades of other versions, and upgrades with bytes changed at random."""

    async def attempt(number: int) -> None:
        path = f"/media/{peer.drawn.choice(('pcm', 'twilio', 'audio-fork', 'audio-stream'))}/{peer.session()}/a"
        upgrade = peer.upgrade(path, key=peer.token, version=peer.drawn.choice(("13", "13", "8", "12", "x", "")))
        if number % 5 == 0:
            upgrade = upgrade.replace(b"HTTP/1.1", b"HTTP/1.0")
        changed = bytearray(upgrade)
        for _ in range(peer.drawn.randrange(4) if number % 3 else 0):
            changed[peer.drawn.randrange(len(changed))] = peer.drawn.randrange(256)
        status, _ = await peer.ask(bytes(changed) + peer.drawn.randbytes(number % 7), wait_s=1.0)
        if number % 5 == 0 and status == "101":
            tally.broken.append("an upgrade of HTTP/1.0 was accepted")
        tally.got(status)

    await at_once(peer.many(300), attempt, together=30)


async def malformed_http(peer: Peer, tally: Tally) -> None:
    """Send what no client sends."""
    odd = (
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET  HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/recordings HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /%00%ff HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n", b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"GET /v1/recordings?limit=" + b"9" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /files/x.wav HTTP/1.1\r\nHost: x\r\nRange: bytes=" + b"0-1," * 500 + b"2-3\r\n\r\n",
    )  # fmt: skip

    async def attempt(number: int) -> None:
        data = odd[number % len(odd)] if number % 2 else peer.drawn.randbytes(peer.drawn.randrange(1, 400))
        tally.got((await peer.ask(data, wait_s=0.5))[0])

    await at_once(peer.many(300), attempt, together=60)


# ---- with a stream token -------------------------------------------------------------------------------------------


async def fuzzed_frames(peer: Peer, tally: Tally) -> None:
    """Send frames that break RFC 6455, or nearly, behind good ones."""

    async def attempt(number: int) -> None:
        async with peer.stream(f"/media/{('pcm', 'twilio', 'audio-fork')[number % 3]}/{peer.session()}/a") as stream:
            if stream is None:
                tally.got("refused")
                return
            reader, writer = stream
            writer.write(message(_SOUND))
            for _ in range(peer.drawn.randrange(1, 6)):
                writer.write(_odd_frame(peer))
            tally.got(await close_of(reader, wait_s=0.7))

    await at_once(peer.many(300), attempt, together=60)


def _odd_frame(peer: Peer) -> bytes:
    drawn = peer.drawn
    payload = drawn.randbytes(drawn.choice((0, 1, 3, 125, 126, 700)))
    return drawn.choice(
        (
            message(payload, opcode=drawn.randrange(16), final=drawn.random() < 0.5, bits=drawn.randrange(8) << 4),
            message(b"\xff\xfe", opcode=1),
            message(payload[:200], opcode=9),
            message(b"\x03", opcode=8),
            b"\x82\xff" + (1 << 62).to_bytes(8) + bytes(4),
            b"\x82\x05hello",
            message(payload, opcode=2, final=False) + message(b"\x03\xe8bye", opcode=8),
            drawn.randbytes(40),
            b"",
        )
    )


async def deep_json(peer: Peer, tally: Tally) -> None:
    """Send JSON that is nested too deep to be read: on every dialect, and to the API."""
    depths = (1_000, 20_000, 200_000)
    dialects = ("pcm", "twilio", "audio-fork", "audio-stream")

    async def attempt(number: int) -> None:
        depth, opening, closing = depths[number % 3], *(("[", "]"), ('{"a":', "}"))[number % 2]
        deep = '{"event":"start","metadata":' + opening * depth + "1" + closing * depth + "}"
        if number % 5 == 4:
            deep = deep[:60_000]
            status, _ = await peer.request("POST", "/v1/recordings", key=peer.key, body=deep.encode())
            tally.got(status)
            return
        async with peer.stream(f"/media/{dialects[number % 4]}/{peer.session()}/a") as stream:
            if stream is None:
                tally.got("refused")
                return
            reader, writer = stream
            writer.write(message(deep.encode()[:1_000_000], opcode=1) + message(_SOUND))
            tally.got(await close_of(reader, wait_s=1.0))

    await at_once(peer.many(60), attempt, together=12)


async def many_texts(peer: Peer, tally: Tally) -> None:
    """Send hundreds of texts with large and ever new facts on one stream, on several streams."""

    async def attempt(number: int) -> None:
        dialect = ("audio-stream", "audio-fork", "pcm")[number % 3]
        async with peer.stream(f"/media/{dialect}/{peer.session()}/a") as stream:
            if stream is None:
                tally.got("refused")
                return
            reader, writer = stream
            writer.write(message(_SOUND))
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(2 * ANSWER_S):
                    for text in range(peer.many(120)):
                        # Of every size, from a few facts to all that one message can have.
                        facts = {f"id{text}-{each}": "x" * 200 for each in range((20, 200, 2_000)[number // 3])}
                        writer.write(message(json.dumps({"call_id": f"c{text}", **facts}).encode(), opcode=1))
                        writer.write(message(_SOUND))
                        await writer.drain()
            tally.got(await close_of(reader, wait_s=2.0))

    await at_once(peer.many(9), attempt)


async def many_marks(peer: Peer, tally: Tally) -> None:
    """Send events as fast as they are taken, pauses and resumes among them, into a recording."""
    session = peer.session()
    async with peer.stream(f"/media/pcm/{session}/a?record=1") as stream:
        if stream is None:
            tally.got("refused")
            return
        reader, writer = stream
        events = [{"event": "mark", "name": "m" * 200}, {"event": "pause"}, {"event": "resume"}]
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                for number in range(peer.many(8_000)):
                    writer.write(message(json.dumps(events[number % 3]).encode(), opcode=1))
                    if number % 50 == 0:
                        await writer.drain()
        tally.got(await close_of(reader, wait_s=1.0))


async def fast_streams(peer: Peer, tally: Tally) -> None:
    """Send audio thousands of times faster than it can have been said, into recordings."""

    async def attempt(_: int) -> None:
        async with peer.stream(f"/media/pcm/{peer.session()}/a?record=1") as stream:
            if stream is None:
                tally.got("refused")
                return
            reader, writer = stream
            piece, sent, began_s = message(bytes(1_000_000)), 0, time.monotonic()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(6):
                    while sent < peer.many(300) * 1_000_000 and not reader.at_eof():
                        writer.write(piece)
                        await writer.drain()
                        sent += len(piece)
            speed = sent / 16_000 / (time.monotonic() - began_s)
            ended = await close_of(reader, wait_s=1.0)
            tally.got(f"{ended}, {'over' if speed > 1_000 else 'below'} 1000 x")

    await at_once(4, attempt)


async def close_codes(peer: Peer, tally: Tally) -> None:
    """Close streams with ever new codes: labels of metrics are not to be a peer's choice."""
    before = await _metric_lines(peer)

    async def attempt(number: int) -> None:
        async with peer.stream(f"/media/pcm/{peer.session()}/a") as stream:
            if stream is None:
                tally.got("refused")
                return
            reader, writer = stream
            writer.write(message(_SOUND) + message((3_000 + number).to_bytes(2), opcode=8))
            tally.got((await close_of(reader, wait_s=2.0)).split()[0])

    await at_once(peer.many(200), attempt, together=20)
    grown = await _metric_lines(peer) - before
    if grown > 40:
        tally.broken.append(f"/metrics has {grown} lines more")


async def _metric_lines(peer: Peer) -> int:
    status, head = await peer.request("GET", "/metrics")
    if status != "200":
        return 0
    # The first read may not have had all; it grows by whole lines, so ask until it is closed.
    reader, writer = await peer.connect()
    writer.write(peer.head("GET", "/metrics"))
    body = await reader.read(-1)
    await drop(writer)
    return body.count(b"\n") or head.count(b"\n")


# ---- with an app's key ---------------------------------------------------------------------------------------------


async def unread_downloads(peer: Peer, tally: Tally) -> None:
    """Ask for a file and do not read it; the sockets stay."""
    status, head = await peer.request("GET", f"/v1/recordings/{peer.recording}.wav", key=peer.key)
    path = f"/v1/recordings/{peer.recording}.wav"
    for line in head.decode(errors="replace").split("\r\n"):
        if status.startswith("30") and line.lower().startswith("location: http"):
            path = "/" + line.partition("//")[2].partition("/")[2]

    async def attempt(_: int) -> None:
        if (stream := await _connected(peer, tally)) is None:
            return
        reader, writer = stream
        reader._limit = 1_024  # type: ignore[attr-defined]
        writer.write(peer.head("GET", path, key=peer.key))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.held.append((reader, writer))
        tally.got("held")

    await at_once(peer.many(150), attempt)


async def recordings_of_a_session(peer: Peer, tally: Tally) -> None:
    """Start hundreds of recordings of one session, while it streams."""
    session = peer.session()
    async with peer.stream(f"/media/pcm/{session}/a") as stream:
        if stream is not None:
            stream[1].write(message(_SOUND))

        async def attempt(_: int) -> None:
            body = json.dumps({"session_id": session}).encode()
            tally.got((await peer.request("POST", "/v1/recordings", key=peer.key, body=body))[0])

        await at_once(peer.many(1_000), attempt, together=20)
        if stream is not None:
            for _ in range(100):
                stream[1].write(message(_SOUND))
                await asyncio.sleep(0.01)


async def many_sessions(peer: Peer, tally: Tally) -> None:
    """Start recordings of sessions that do not exist yet."""

    async def attempt(_: int) -> None:
        body = json.dumps({"session_id": peer.session()}).encode()
        tally.got((await peer.request("POST", "/v1/recordings", key=peer.key, body=body))[0])

    await at_once(peer.many(1_500), attempt, together=20)


async def many_streams(peer: Peer, tally: Tally) -> None:
    """Open streams of one session and of many, and leave them."""
    opened = []

    async def attempt(number: int) -> None:
        session = "evil-crowd" if number % 3 == 0 else peer.session()
        if (stream := await _connected(peer, tally)) is None:
            return
        reader, writer = stream
        writer.write(peer.upgrade(f"/media/pcm/{session}/leg{number}", key=peer.token) + b"")
        opened.append(writer)
        tally.got((await reader.read(12) or b"closed").decode(errors="replace")[9:12] or "closed")

    await at_once(peer.many(1_000), attempt, together=40)
    for writer in opened:
        await drop(writer)


async def unread_listeners(peer: Peer, tally: Tally) -> None:
    """Listen to a recording hundreds of times, and read nothing."""
    session = peer.session()
    async with peer.stream(f"/media/pcm/{session}/a?record=1") as stream:
        if stream is None:
            tally.got("refused")
            return
        stream[1].write(message(_SOUND))
        recording = await _recording_of(peer, session)
        opened = []

        async def attempt(_: int) -> None:
            reader, writer = await peer.connect()
            writer.write(peer.head("GET", f"/v1/recordings/{recording}/live.wav", key=peer.key))
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(ANSWER_S):
                    tally.got((await reader.read(12)).decode(errors="replace")[9:12] or "closed")
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            opened.append(writer)

        await at_once(peer.many(300), attempt)
        for _ in range(100):
            stream[1].write(message(_SOUND))
            await asyncio.sleep(0.02)
        for writer in opened:
            await drop(writer)


async def live_ranges(peer: Peer, tally: Tally) -> None:
    """Ask for ranges of an MP3 that is still being made, over and over."""
    session = peer.session()
    body = json.dumps({"session_id": session, "format": "mp3"}).encode()
    await peer.request("POST", "/v1/recordings", key=peer.key, body=body)
    async with peer.stream(f"/media/pcm/{session}/a") as stream:
        if stream is None:
            tally.got("refused")
            return
        for _ in range(peer.many(100)):
            # Five minutes in all, of which every answer has to make a part anew.
            stream[1].write(message(_SOUND * 96))
            await asyncio.sleep(0.01)
        await asyncio.sleep(3 * min(peer.scale, 1))
        path = f"/api/v1/sessions/{session}/recording/file.wav"

        async def attempt(number: int) -> None:
            ranges = f"Range: bytes={number}-\r\nX-App-ID: evil\r\nX-API-Key: {peer.key}\r\n"
            tally.got((await peer.request("GET", path, headers=ranges))[0])

        await at_once(peer.many(120), attempt, together=20)


async def conversions(peer: Peer, tally: Tally) -> None:
    """Ask for the other format of a long file, many times at once."""

    async def attempt(_: int) -> None:
        status, head = await peer.request("GET", f"/v1/recordings/{peer.recording}.mp3", key=peer.key)
        for line in head.decode(errors="replace").split("\r\n"):
            if status.startswith("30") and line.lower().startswith("location: http"):
                path = "/" + line.partition("//")[2].partition("/")[2]
                status = f"{status}, {(await peer.request('GET', path))[0]}"
        tally.got(status)

    await at_once(peer.many(60), attempt, together=30)


async def request_flood(peer: Peer, tally: Tally) -> None:
    """Ask for lists as fast as they are answered."""

    async def attempt(_: int) -> None:
        tally.got((await peer.request("GET", "/v1/recordings?limit=200", key=peer.key))[0])

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(6):
            await at_once(peer.many(4_000), attempt, together=40)


async def _recording_of(peer: Peer, session: str) -> str:
    for _ in range(50):
        _, answer = await peer.request("GET", f"/v1/recordings?session_id={session}", key=peer.key)
        body = answer.partition(b"\r\n\r\n")[2]
        with contextlib.suppress(ValueError, LookupError):
            return str(json.loads(body)["data"][0]["id"])
        await asyncio.sleep(0.1)
    return "none"


ATTACKS: dict[str, tuple[str, Attack]] = {
    "half-sent heads": ("nobody", half_sent_heads),
    "slow bodies": ("nobody, app", slow_bodies),
    "unread downloads": ("app", unread_downloads),
    "huge heads": ("nobody", huge_heads),
    "large bodies": ("nobody, app", large_bodies),
    "connections": ("nobody", connections),
    "wrong keys": ("nobody", wrong_keys),
    "foreign origins": ("nobody, token", foreign_origins),
    "odd upgrades": ("token", odd_upgrades),
    "malformed HTTP": ("nobody", malformed_http),
    "fuzzed frames": ("token", fuzzed_frames),
    "deep JSON": ("token, app", deep_json),
    "many texts": ("token", many_texts),
    "many events": ("token", many_marks),
    "fast streams": ("token", fast_streams),
    "close codes": ("token", close_codes),
    "unread listeners": ("app", unread_listeners),
    "live ranges of an MP3": ("app", live_ranges),
    "conversions": ("app", conversions),
    "request flood": ("app", request_flood),
    "many streams": ("token", many_streams),
    "recordings of a session": ("app", recordings_of_a_session),
    "many sessions": ("app", many_sessions),
}
"""By name: who attacks, and how."""
HOLDING = {"half-sent heads", "slow bodies", "unread downloads"}
"""Attacks that leave sockets, which must be gone at the end."""
