"""The app that is to be left alone: its calls, its requests, and what the server spends meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import httpx

from bench.faults.calls import Call, Result
from bench.faults.sender import Sender
from bench.faults.victim import Victim

_ASK_EVERY_S = 0.1
_LOOK_EVERY_S = 0.05
_FINISHED_S = 30.0
"""In which the calls have to have their files."""
_SILENT_S = 20.0
"""A request without an answer for so long has none."""


class Bystander:
    """Calls that are recorded, requests that are answered; and the server's memory, looked at all the time."""

    def __init__(self, victim: Victim, sender: Sender, *, key: str, calls: int) -> None:
        self._victim = victim
        self._sender = sender
        self._calls = [Call(victim, sender, key=key, label=f"bystander {number}") for number in range(calls)]
        self._headers = {"Authorization": f"Bearer {key}"}
        self._tasks: list[asyncio.Task[None]] = []
        self._asked_s: float | None = None
        self.slowest_s = 0.0
        """The slowest answer since ``begin_part``."""
        self.refused: list[str] = []
        """Answers other than 200 since then."""
        self.most_kb = 0
        """The most memory since then."""
        self.idle_kb = 0
        """Memory with its calls alone."""

    async def begin(self, *, idle_s: float) -> None:
        """Start the calls, and see what they take by themselves."""
        for call in self._calls:
            call.speak()
        await asyncio.gather(*(call.streaming() for call in self._calls))
        await asyncio.gather(*(call.start() for call in self._calls))
        self._tasks = [asyncio.create_task(self._ask()), asyncio.create_task(self._look())]
        await asyncio.sleep(idle_s)
        self.idle_kb = self.most_kb
        self.begin_part()

    def begin_part(self) -> None:
        """Forget what was seen of requests and memory."""
        self.slowest_s, self.refused, self.most_kb = 0.0, [], 0

    def end_part(self) -> None:
        """Count a request that has no answer yet."""
        if self._asked_s is not None:
            self.slowest_s = max(self.slowest_s, time.monotonic() - self._asked_s)

    async def end(self) -> list[Result]:
        """Hang up, and listen to every file."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._sender.hang_up, [leg for call in self._calls for leg in call.legs])
        # All of them together get what one may take: a server that is behind for one is behind for all.
        until_s = time.monotonic() + _FINISHED_S
        for call in self._calls:
            await call.settled(until_s)
        return [await call.check(until_s) for call in self._calls]

    async def _ask(self) -> None:
        number = 0
        while True:
            call = self._calls[number % len(self._calls)]
            number += 1
            assert call.recording is not None
            self._asked_s = asked_s = time.monotonic()
            try:
                answer = await self._victim.http.get(
                    f"/v1/recordings/{call.recording['id']}", headers=self._headers, timeout=_SILENT_S
                )
                if answer.status_code != 200:
                    self.refused.append(str(answer.status_code))
            except httpx.HTTPError as failed:
                self.refused.append(type(failed).__name__)
            self.slowest_s = max(self.slowest_s, time.monotonic() - asked_s)
            self._asked_s = None
            await asyncio.sleep(_ASK_EVERY_S)

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(OSError, ValueError):
                self.most_kb = max(self.most_kb, resident_kb(self._victim.pid))
            await asyncio.sleep(_LOOK_EVERY_S)


def resident_kb(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
