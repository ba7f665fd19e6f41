"""A reverse proxy as the shipped configurations are: TLS, a path of its own that it takes away, and no /metrics."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def tls_proxy(certificate: Path, to_port: int, *, path: str) -> AsyncIterator[str]:
    """Yield its https:// address, without the path."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind: asyncio.StreamWriter | None = None
        answers: asyncio.Task[None] | None = None
        with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, rest = head.split(b" ", 2)
                passed_on = target.removeprefix(path.encode())
                if passed_on == target or passed_on == b"/metrics":
                    writer.write(NOT_FOUND)
                    break
                if behind is None:
                    back, behind = await asyncio.open_connection("127.0.0.1", to_port)
                    answers = asyncio.create_task(_copy(back, writer))
                behind.write(b" ".join((method, passed_on, b"".join((rest[:-2], b"Via: 1.1 test\r\n\r\n")))))
                fields = [each.partition(b":") for each in head.lower().split(b"\r\n")]
                given = {field: value.strip() for field, _, value in fields}
                if b"upgrade" in given:
                    await _copy(reader, behind)
                    break
                behind.write(await reader.readexactly(int(given.get(b"content-length", b"0"))))
        if behind is not None and answers is not None:
            with suppress(OSError):
                behind.write_eof()
            await asyncio.wait((answers,), timeout=5)
            answers.cancel()
            behind.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()
