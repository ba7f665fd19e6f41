"""A download whose reader takes its time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from tests.support.waiting import WAIT_S


async def rest_of(link: str, meanwhile: Callable[[], Awaitable[object]]) -> tuple[int, int]:
    """Begin to fetch a file and do ``meanwhile``, then read what still comes; how much came of how much."""
    address = urlsplit(link)
    mine = socket.socket()
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    mine.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(mine, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=mine, limit=4_096)
    writer.write(f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (length,) = (int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length"))
    await meanwhile()
    got = 0
    async with asyncio.timeout(WAIT_S):
        while data := await reader.read(65_536):
            got += len(data)
    writer.close()
    return got, length
