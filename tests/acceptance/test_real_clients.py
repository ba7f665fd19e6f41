"""Clients that real senders are built on: the package ws of Node, websocket-client, and aiohttp.

Each offers a subprotocol and, or not, compression, which the server declines; sends text, whole and fragmented binary
messages and a ping; and closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp
import numpy as np
import pytest
import websocket

from tests.support.listening import loudest_shift
from tests.support.recorder import recorder
from tests.support.speech import caller
from tests.support.waiting import WAIT_S

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / "build" / "node" / "node_modules"
METADATA = '{"rate":8000,"mix":"mono","note":"grüße"}'
SUBPROTOCOL = "audio.drachtio.org"
MESSAGE_BYTES = 320
PING = "are you there"
DEFLATE = "permessage-deflate; client_max_window_bits"
AUDIO = caller()[22_720:38_720].tobytes()
"""Two seconds in whole messages, every other of which is sent in three fragments where the client can do that."""


class Said(NamedTuple):
    """What the server said to a client."""

    extensions: str
    protocol: str | None
    pong: str
    code: int | None


def fragments(number: int, message: bytes) -> list[bytes]:
    return [message[:101], message[101:200], message[200:]] if number % 2 else [message]


async def by_ws(url: str, compress: bool, folder: Path) -> Said:
    file = folder / "audio"
    file.write_bytes(AUDIO)
    order = {
        "url": url, "compress": compress, "protocols": [SUBPROTOCOL], "text": METADATA, "file": str(file),
        "bytes": MESSAGE_BYTES,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "node", str(ROOT / "tests" / "node" / "stream.cjs"), json.dumps(order),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
    )  # fmt: skip
    told, _ = await asyncio.wait_for(process.communicate(), WAIT_S)
    return Said(**json.loads(told))


async def by_websocket_client(url: str, compress: bool, _: Path) -> Said:
    def stream() -> Said:
        # It knows no compression; who puts the header there by hand must not be held to it.
        header = [f"Sec-WebSocket-Extensions: {DEFLATE}"] if compress else []
        socket = websocket.create_connection(url, WAIT_S, subprotocols=[SUBPROTOCOL], header=header)
        socket.send(METADATA)
        for number, at in enumerate(range(0, len(AUDIO), MESSAGE_BYTES)):
            parts = fragments(number, AUDIO[at : at + MESSAGE_BYTES])
            for part, each in enumerate(parts):
                opcode = websocket.ABNF.OPCODE_CONT if part else websocket.ABNF.OPCODE_BINARY
                is_last = part == len(parts) - 1
                socket.send_frame(websocket.ABNF.create_frame(each, opcode, int(is_last)))
        socket.ping(PING)
        pong = socket.recv_data_frame(True)[1]
        socket.send_close(1000)
        closed = socket.recv_data_frame(True)[1]
        assert socket.sock is not None
        socket.sock.close()
        headers = socket.getheaders() or {}
        extensions, protocol = headers.get("sec-websocket-extensions", ""), socket.getsubprotocol()
        return Said(extensions, protocol, pong.data.decode(), int.from_bytes(closed.data[:2], "big"))

    return await asyncio.to_thread(stream)


async def by_aiohttp(url: str, compress: bool, _: Path) -> Said:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=[SUBPROTOCOL], compress=15 if compress else 0, autoping=False) as socket,
    ):
        await socket.send_str(METADATA)
        for at in range(0, len(AUDIO), MESSAGE_BYTES):
            await socket.send_bytes(AUDIO[at : at + MESSAGE_BYTES])
        await socket.ping(PING.encode())
        pong = await asyncio.wait_for(socket.receive(), WAIT_S)
        await socket.close()
        assert pong.type is aiohttp.WSMsgType.PONG
        extensions = "permessage-deflate" if socket.compress else ""
        return Said(extensions, socket.protocol, bytes(pong.data).decode(), socket.close_code)


has_ws = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE_MODULES / "ws").exists(), reason="Node's ws is not installed: make node"
)
Client = Callable[[str, bool, Path], Awaitable[Said]]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "offers-compression"])
@pytest.mark.parametrize("client", [pytest.param(by_ws, marks=has_ws), by_websocket_client, by_aiohttp])
async def test_a_client_streams_and_closes_and_all_that_it_sent_is_in_the_file(
    tmp_path: Path, client: Client, compress: bool
) -> None:
    async with recorder(tmp_path / "data") as (server, service):
        recording = await server.start("call-77")
        url = server.base_url.replace("http", "ws", 1) + "/media/audio-fork/call-77/a"
        said = await client(url, compress, tmp_path)
        samples, rate_hz = await server.listen(recording)
        done = await server.get(recording)
        assert service.endpoint.counters.ignored == {}
    assert said == Said(extensions="", protocol=SUBPROTOCOL, pong=PING, code=1000)
    assert rate_hz == 8000
    sent = np.frombuffer(AUDIO, np.int16)
    start = loudest_shift(samples[:, 0], sent)
    assert np.array_equal(samples[start : start + len(sent), 0], sent)
    assert not samples[:start].any()
    assert not samples[start + len(sent) :].any()
    assert done["end_reason"] == "hangup"
