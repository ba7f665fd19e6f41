"""Processes to kill: real ones, but forked from one that has all imports behind it, which take seconds of a core."""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.waiting import WAIT_S

ROOT = Path(__file__).parents[2]


class Process:
    """A process of our own: a command of the command line, or a script."""

    def __init__(self, process_id: int, stderr: asyncio.StreamReader, told: asyncio.StreamReader) -> None:
        self.pid = process_id
        self.stderr = stderr
        self._told = told
        self._code: int | None = None
        self.telling: asyncio.Task[None] | None = None
        """Tells its exit code, where nobody else does."""
        self._waiting = asyncio.Lock()

    def send_signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        if self._code is None:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for its end, and read what it still says; the exit code, of a signal the negative number."""
        async with asyncio.timeout(WAIT_S), self._waiting:
            if self._code is None:
                await self.stderr.read()
                self._code = int(await self._told.read())
        return self._code


async def start(*words: str, environment: dict[str, str] | None = None) -> Process:
    """Start ``wavstream`` with these words, or the script that is the first word with the others as its arguments.

    ``environment``: on top of this process's own.
    """
    pipes = [os.pipe() for _ in range(2)]
    _order(words, environment, [write for _, write in pipes])
    stderr, told = [await _reader(read) for read, _ in pipes]
    async with asyncio.timeout(WAIT_S):
        return Process(int(await told.readline()), stderr, told)


async def entered(*command: str, words: Sequence[str], environment: dict[str, str]) -> Process:
    """Start ``wavstream`` with these words by a command that takes it elsewhere, where none can be forked to."""
    process = await asyncio.create_subprocess_exec(
        *command, sys.executable, "-m", "wavstream", *words,
        stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stderr is not None
    told = asyncio.StreamReader()

    async def tell() -> None:
        told.feed_data(str(await process.wait()).encode())
        told.feed_eof()

    made = Process(process.pid, process.stderr, told)
    made.telling = asyncio.create_task(tell())
    return made


def run(*words: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run ``wavstream`` with these words to its end; its exit code, and what it said on standard error."""

    async def work() -> tuple[int, str]:
        process = await start("wavstream", *words, environment=environment)
        said = await asyncio.wait_for(process.stderr.read(), WAIT_S)
        return await process.wait(), said.decode()

    return asyncio.run(work())


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb"))
    return reader


def _order(words: tuple[str, ...], environment: dict[str, str] | None, descriptors: list[int]) -> None:
    umask = os.umask(0o077)
    os.umask(umask)
    order = {
        "words": words,
        "environment": {**os.environ, **(environment or {})},
        "folder": str(Path.cwd()),
        "umask": umask,
    }
    socket.send_fds(_nursery(), [json.dumps(order).encode()], descriptors)
    for each in descriptors:
        os.close(each)


@functools.cache
def _nursery() -> socket.socket:
    """Start the process that others are forked from: once, and only where one is asked for."""
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.nursery", str(other.fileno())], pass_fds=[other.fileno()], cwd=ROOT
    )
    other.close()

    def end() -> None:
        mine.close()
        process.wait()

    atexit.register(end)
    return mine
