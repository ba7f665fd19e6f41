"""Takes webhooks and prints a line of JSON for each: when it came, by the monotonic clock, and its content."""

from __future__ import annotations

import asyncio
import json
import sys
import time


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            message = json.loads(await reader.readexactly(size))
            print(json.dumps({"at_s": time.monotonic(), "message": message}), flush=True)
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(take, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
