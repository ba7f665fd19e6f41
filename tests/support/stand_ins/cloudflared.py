"""``cloudflared tunnel --url URL``: prints the tunnel's name, and carries what comes to it over TLS to the URL.

It listens on the port in TUNNEL_PORT of 127.0.0.1 in the place of Cloudflare, and adds the headers that it adds. A
connection carries one request.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.certificates import make_certificate

NAME = "four-random-words.trycloudflare.com"
ADDED = b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nCf-Connecting-Ip: 203.0.113.9\r\nCf-Ray: 8f\r\n"


def certificate() -> ssl.SSLContext:
    """Return TLS with a certificate of its own making for the name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(make_certificate(Path(folder), NAME))
    return context


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on bytes until there are no more."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main(url: str) -> None:
    """Serve until the process ends."""
    target = urlsplit(url)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(target.hostname, target.port)
        there[1].write(await reader.readuntil(b"\r\n") + ADDED)
        await asyncio.gather(carry(reader, there[1]), carry(there[0], writer), return_exceptions=True)

    port = int(os.environ["TUNNEL_PORT"])
    async with await asyncio.start_server(connected, "127.0.0.1", port, ssl=certificate()) as server:
        print(f"INF |  https://{NAME}  |", file=sys.stderr, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[sys.argv.index("--url") + 1]))
