"""Streams that are opened without a dialect, on real sockets, as each vendor sends them; and routes of the settings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.recorder import Recorder, ServerProcess, close_code, recorder
from tests.support.tones import tone
from tests.support.vendor_peers import peer_of
from tests.support.waiting import WAIT_S, until
from wavstream.dialects import detection
from wavstream.settings.tables import MediaSettings, RouteSettings
from wavstream.simulator.vendors.base import Peer
from wavstream.simulator.vendors.registry import PEERS
from wavstream.workers.boundary import owner_of

SOON = MediaSettings(early_audio_s=0.1)
LENGTH_S = 0.4
SHOWN = {row.dialect for row in (*detection._BY_UPGRADE, *detection._BY_TEXT, *detection._HINTS)} | {"pcm"}
FOUND = [name for name in sorted(PEERS) if name in SHOWN and name != "livekit"]
"""LiveKit sends samples and nothing else, unless somebody is muted."""


def dial(client: Recorder, path: str, peer: Peer) -> connect:
    query = "&".join(f"{name}={value}" for name, value in peer.query().items())
    if query:
        path += ("&" if "?" in path else "?") + query
    return connect(
        client.base_url.replace("http", "ws", 1) + path,
        compression=None,
        additional_headers=dict(peer.headers()),
        subprotocols=[Subprotocol(peer.subprotocol)] if peer.subprotocol else None,
        ping_interval=None,
    )


async def talk(socket: ClientConnection, peer: Peer) -> None:
    """Say what opens the stream, wait for the answer if the vendor does, and send audio."""
    for message in peer.opening():
        await socket.send(message)
    while not peer.is_ready:
        answer = await asyncio.wait_for(socket.recv(), WAIT_S)
        for message in peer.received(answer):
            await socket.send(message)
    ptime = peer.stream.rate_hz // 50
    samples = tone(440, LENGTH_S, rate_hz=peer.stream.rate_hz).reshape(-1, 1)
    for first in range(0, len(samples), ptime):
        for message in peer.audio(first, samples[first : first + ptime]):
            await socket.send(message)


async def streaming(client: Recorder, session_id: str | None = None) -> dict[str, Any]:
    """Wait for a stream, of this session or of whichever there is, that has sent all its audio; return the session."""

    async def found() -> dict[str, Any] | None:
        listed = (await client.http.get("/v1/sessions")).json()["data"]
        for one in listed:
            if session_id in (None, one["session_id"]):
                session: dict[str, Any] = (await client.http.get(f"/v1/sessions/{one['session_id']}")).json()
                if any(stream["received_ms"] >= 300 for stream in session.get("streams", ())):
                    return session
        return None

    session = await until(found)
    assert session is not None
    return session


async def spoken(client: Recorder) -> Mapping[str, float]:
    """Return how many streams of each dialect have started."""
    lines = (await client.http.get("/metrics")).text.splitlines()
    name = 'wavstream_streams_spoken_total{dialect="'
    counts = (line.removeprefix(name).split('"} ') for line in lines if line.startswith(name))
    return {dialect: float(count) for dialect, count in counts if float(count)}


@pytest.mark.parametrize("name", FOUND)
async def test_what_a_vendor_sends_is_found_and_shown_under_its_name(tmp_path: Path, name: str) -> None:
    peer = peer_of(name)
    async with recorder(tmp_path, media=SOON) as (client, _), dial(client, "/media/auto/call-77/a", peer) as socket:
        await talk(socket, peer)
        session = await streaming(client, "call-77")
        # What audio-stream sends without compression is what audio-fork sends.
        assert [stream["dialect"] for stream in session["streams"]] in (
            [name],
            ["audio-fork"] * (name == "audio-stream"),
        )
        assert sum((await spoken(client)).values()) == 1
        assert list(await spoken(client)) == [session["streams"][0]["dialect"]]


@pytest.mark.parametrize("name", FOUND)
async def test_the_vendors_id_of_the_call_is_the_session_where_nothing_names_one(tmp_path: Path, name: str) -> None:
    peer = peer_of(name)
    async with recorder(tmp_path, media=SOON) as (client, _), dial(client, "/media", peer) as socket:
        task = asyncio.create_task(talk(socket, peer))
        closed = asyncio.create_task(close_code(socket))
        found = asyncio.create_task(streaming(client))
        await asyncio.wait((closed, found), return_when=asyncio.FIRST_COMPLETED)
        if closed.done():  # there is none on the wire
            assert closed.result() == (1008, "session_id: missing; put it into the path, or into the first message")
            found.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return
        session = found.result()
        closed.cancel()
        assert session["session_id"]
        assert [stream["dialect"] for stream in session["streams"]] == [name]
        await task


async def test_a_stream_at_media_may_be_named_by_query_header_and_token(tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key="of-the-only-app-there-is") as (client, _):
        client.http.headers["Authorization"] = "Bearer of-the-only-app-there-is"
        token = (await client.http.post("/v1/stream-tokens", json={"ttl_s": 60})).json()["token"]
        peer = peer_of("twilio")
        async with dial(client, f"/media/t/{token}?session_id=by-query", peer) as socket:
            await talk(socket, peer)
            session = await streaming(client, "by-query")
        assert session["streams"][0]["dialect"] == "twilio"
        of_one = (await client.http.post("/v1/stream-tokens", json={"session_id": "call-7", "ttl_s": 60})).json()[
            "token"
        ]
        async with dial(client, f"/media/t/{of_one}/auto/call-7/b", peer) as socket:
            await talk(socket, peer_of("twilio"))
            session = await streaming(client, "call-7")
        assert session["streams"][0]["leg"] == "b"


async def test_a_refusal_is_logged_under_the_dialect_that_was_found(tmp_path: Path) -> None:
    start = {"event": "start", "start": {"streamSid": "MZ1", "callSid": "CA1", "mediaFormat": {"encoding": "opus"}}}
    with capture_logs() as lines:
        async with recorder(tmp_path) as (client, _), client.connect("/media") as socket:
            await socket.send(json.dumps(start))
            code, reason = await close_code(socket)
    assert code == 1008
    (line,) = [line for line in lines if line["event"] == "media_stream_refused"]
    assert (line["dialect"], line["reason"]) == ("twilio", reason)


async def test_a_vendor_that_has_no_dialect_is_told_so(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/auto/call-77/a") as socket:
        await socket.send(json.dumps({"command": "connect", "applicationKey": "k", "callId": "c"}))
        code, reason = await close_code(socket)
    assert code == 1008
    assert (reason or "").startswith("dialect: Sinch's connect: there is no dialect for it")


@pytest.mark.parametrize("dialect", ["audio-fork", "audio-stream", "auto"])
@pytest.mark.parametrize("first", ["audio", "text"])
async def test_little_audio_without_a_description_starts_when_it_has_waited(
    tmp_path: Path, dialect: str, first: str
) -> None:
    """Less than 64 KiB: it was closed after 30 s without an introduction."""
    path = f"/media/{dialect}/call-77/a"
    async with recorder(tmp_path, media=SOON) as (client, _), client.connect(path) as socket:
        recording = await client.start("call-77")
        if first == "text":
            await socket.send("no JSON, and nothing in it")
        for _ in range(20):
            await socket.send(tone(440, 0.02).tobytes())
        session = await streaming(client, "call-77")
        assert session["streams"][0]["received_ms"] == 400
        await client.act(recording, "stop")
        samples, rate_hz = await client.listen(recording)
    assert rate_hz == 8_000
    assert np.abs(samples).max() > 7_000


async def test_a_stream_that_says_nothing_at_all_is_no_stream(tmp_path: Path) -> None:
    media = MediaSettings(early_audio_s=0.1, introduction_timeout_s=1.0)
    async with recorder(tmp_path, media=media) as (client, _), client.connect("/media/auto/call-77/a") as socket:
        code, reason = await close_code(socket)
        assert await spoken(client) == {}
    assert code == 1008
    assert "no introduction" in (reason or "")


async def test_connected_and_then_nothing_is_closed_with_the_reason(tmp_path: Path) -> None:
    media = MediaSettings(early_audio_s=0.1, introduction_timeout_s=2.0)
    async with recorder(tmp_path, media=media) as (client, _), client.connect("/media/auto/call-77/a") as socket:
        await socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        code, reason = await close_code(socket)
        assert await spoken(client) == {}
    assert (code, "no introduction" in (reason or "")) == (1008, True)


async def test_a_route_has_its_dialect_its_parameters_and_what_counts_where_nothing_is_shown(tmp_path: Path) -> None:
    routes = {
        "/switch": RouteSettings(dialect="pcm", parameters={"codec": "pcmu", "record": "1"}),
        "/any": RouteSettings(parameters={"dialect": "pcm", "codec": "pcma"}),
    }
    media = MediaSettings(early_audio_s=0.1, routes=routes)
    async with recorder(tmp_path, media=media) as (client, _):
        for path, codec in (
            ("/switch/call-1/a", "pcmu"),
            ("/any/call-2/a", "pcma"),
            ("/switch/call-3/a?codec=l16", "l16"),
        ):
            async with client.connect(path) as socket:
                for _ in range(40):
                    await socket.send(bytes(320))
                session = await streaming(client, path.split("/")[2])
            (stream,) = session["streams"]
            assert (stream["dialect"], stream["codec"], len(session["recordings"])) == (
                "pcm", codec, int(path.startswith("/switch"))
            )  # fmt: skip
        async with dial(client, "/any/call-4/a", peer := peer_of("twilio")) as socket:
            await talk(socket, peer)
            session = await streaming(client, "call-4")
        assert session["streams"][0]["dialect"] == "twilio"


async def test_no_ping_is_sent_where_the_route_says_so(tmp_path: Path) -> None:
    routes = {"/quiet": RouteSettings(dialect="pcm", ping_interval_s=0), "/fast": RouteSettings(dialect="pcm")}
    media = MediaSettings(ping_interval_s=0.1, routes=routes)
    async with recorder(tmp_path, media=media) as (client, _):
        quiet, fast = await client_of_pings(client, "/quiet/a/a"), await client_of_pings(client, "/fast/b/a")
        await until(lambda: fast.pings >= 5)
        assert quiet.pings == 0
        await quiet.close()
        await fast.close()


class Pinged:
    """A peer that counts the PINGs it gets, and answers them."""

    def __init__(self, socket: ClientConnection) -> None:
        self.pings = 0
        self._socket = socket
        answer = socket.protocol.recv_frame

        def counting(frame: Any) -> None:
            self.pings += frame.opcode == 9
            answer(frame)

        socket.protocol.recv_frame = counting  # type: ignore[method-assign]

    async def close(self) -> None:
        await self._socket.close()


async def client_of_pings(client: Recorder, path: str) -> Pinged:
    return Pinged(await client.connect(path))


async def test_a_stream_at_media_goes_to_the_worker_that_its_first_message_names(tmp_path: Path) -> None:
    names = [next(f"call-{n}" for n in range(99) if owner_of(f"call-{n}", 2) == worker) for worker in (0, 1)]
    async with ServerProcess(tmp_path, workers=2, http__shutdown_timeout_s=1, media__early_audio_s=0.1) as server:
        client = await server.start()
        peers = []
        for round_ in range(3):  # whichever worker accepts the connection
            for session_id in names:
                peer = peer_of("twilio")
                start = json.loads(str(peer.opening()[1]))
                start["start"]["customParameters"] = {"session_id": session_id, "leg": f"t{round_}"}
                socket = await client.connect("/media")
                await socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
                await socket.send(json.dumps(start))
                await talk_on(socket, peer)
                peers.append(socket)
                # Nothing but the query says it, and nothing says what it is: it goes there when it has waited.
                silent = await client.connect(f"/media?session_id={session_id}&leg=w{round_}")
                for _ in range(20):
                    await silent.send(tone(440, 0.02).tobytes())
                peers.append(silent)
        for session_id in names:

            async def there(session_id: str = session_id) -> list[tuple[str, str]] | None:
                answer = await client.http.get(f"/v1/sessions/{session_id}")
                streams = answer.json()["streams"] if answer.status_code == 200 else []
                is_whole = len(streams) == 6 and all(stream["received_ms"] == 400 for stream in streams)
                return sorted((stream["leg"], stream["dialect"]) for stream in streams) if is_whole else None

            assert await until(there) == [
                *((f"t{number}", "twilio") for number in range(3)),
                *((f"w{number}", "audio-fork") for number in range(3)),
            ]
        assert await spoken(client) == {"twilio": 6.0, "audio-fork": 6.0}
        for socket in peers:
            await socket.close()
        await client.http.aclose()


async def talk_on(socket: ClientConnection, peer: Peer) -> None:
    samples = tone(440, LENGTH_S).reshape(-1, 1)
    for first in range(0, len(samples), 160):
        for message in peer.audio(first, samples[first : first + 160]):
            await socket.send(message)
