"""The usual Python answer: a ``websockets`` handler that only receives.

Run as ``websockets_receiver.py PORT [uvloop]``; without the word on asyncio's own loop, as its documentation shows it.
"""

from __future__ import annotations

import asyncio
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


(uvloop if sys.argv[2:] == ["uvloop"] else asyncio).run(main())
