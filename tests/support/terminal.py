"""Terminals in which a test types what a page says, with an empty home, and reads what a person would see."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.support.waiting import WAIT_S

ROOT = Path(__file__).parents[2]


class Terminal:
    """A shell, until the test leaves its ``with``. Everything that it started is ended then."""

    def __init__(self, shell: asyncio.subprocess.Process) -> None:
        self._shell = shell
        self.seen = ""
        """What it has printed so far."""

    async def run(self, block: str) -> str:
        """Type the commands and wait for their end; return what they printed. The last one must succeed."""
        before = len(self.seen)
        self.type(f'{block}\necho "[ended $?]"\n')
        ended = await self.until(r"\[ended (\d+)\]$", after=before)
        said = self.seen[before : ended.start()]
        assert ended[1] == "0", said
        return said

    def type(self, block: str) -> None:
        """Type commands of which the last one stays in the foreground."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{block}\n".encode())

    async def until(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Wait until it has printed that."""
        regex = re.compile(pattern, re.MULTILINE)
        assert self._shell.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while (found := regex.search(self.seen, after)) is None:
                    data = await self._shell.stdout.read(65_536)
                    assert data, f"the shell has ended: {self.seen}"
                    self.seen += data.decode()
                return found
        raise AssertionError(f"{pattern!r} was not printed, but: {self.seen}")


@contextlib.asynccontextmanager
async def terminal(folder: Path, variables: Mapping[str, str], *, tools: Path | None = None) -> AsyncIterator[Terminal]:
    """Open a shell in the folder. ``tools`` has commands that stand before those of the machine."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    path = [str(tools)] if tools else []
    path += [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
    shell = await asyncio.create_subprocess_exec(
        *("bash", "--noprofile", "--norc"), cwd=folder, start_new_session=True,
        env={"PATH": ":".join(path), "HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "400", **variables},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Terminal(shell)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # a session of its own: all that it started, and nothing else
        await shell.communicate()


def tool(folder: Path, name: str, module: str) -> None:
    """Make a command that runs a module of the tests."""
    folder.mkdir(exist_ok=True)
    command = folder / name
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m {module} "$@"\n', "utf-8")
    command.chmod(0o755)
