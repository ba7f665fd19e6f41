"""The usual Python answer: a ``websockets`` handler that only receives. Run as ``websockets_receiver.py PORT``."""

from __future__ import annotations

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, serve


async def receive(connection: ServerConnection) -> None:
    received = 0
    async for message in connection:
        received += len(message)


async def main() -> None:
    async with serve(receive, "127.0.0.1", int(sys.argv[1]), compression=None, backlog=4096) as server:
        await server.serve_forever()


uvloop.run(main())
