"""The floor: a bare uvloop protocol that shakes hands, unmasks whole frames inline, counts them and does nothing else.

No Python server that reads WebSocket frames can cost less. Run as ``floor.py PORT``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop
from websockets.utils import accept_key

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiler was there when websockets was installed
    from websockets.utils import apply_mask


class Floor(asyncio.Protocol):
    def __init__(self) -> None:
        self.frames = self.samples = 0
        self.rest = b""
        self.shaken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self.shaken:
            self.shake(data)
            return
        if self.rest:
            data, self.rest = self.rest + data, b""
        at, end = 0, len(data)
        while end - at >= 6:
            size, head = data[at + 1] & 0x7F, at + 2
            if size == 126:
                size, head = int.from_bytes(data[head : head + 2], "big"), at + 4
            elif size == 127:
                size, head = int.from_bytes(data[head : head + 8], "big"), at + 10
            if end < head + 4 + size:
                break
            payload = apply_mask(data[head + 4 : head + 4 + size], data[head : head + 4])
            if data[at] & 0x0F == 8:
                self.transport.write(b"\x88" + bytes([len(payload)]) + payload)
                self.transport.close()
                return
            self.frames += 1
            self.samples += len(payload) // 2
            at = head + 4 + size
        self.rest = data[at:]

    def shake(self, data: bytes) -> None:
        self.rest += data
        if b"\r\n\r\n" not in self.rest:
            return
        lines = self.rest.decode().split("\r\n")[1:]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.transport.write(
            f"{answer}Sec-WebSocket-Accept: {accept_key(fields['sec-websocket-key'])}\r\n\r\n".encode()
        )
        self.rest, self.shaken = b"", True


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


uvloop.run(main())
