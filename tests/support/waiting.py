"""Waits for states that can only be asked for (in another process, on a disk, in a thread), and for tasks to begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

WAIT_S = 60.0
"""Bound on every wait for an event; nothing is asserted about how long it took."""
_EVERY_S = 0.01
_MOST_S = 0.05
"""Where each look is a question to a server, which takes 4 ms of a core: they come to be so far from each other."""

T = TypeVar("T")


@overload
async def until(look: Callable[[], Coroutine[Any, Any, T]]) -> T: ...


@overload
async def until(look: Callable[[], T]) -> T: ...


async def until(look: Callable[[], Any]) -> Any:
    """Return what ``look`` answers, or what that yields when awaited, as soon as it is true."""
    every_s = _EVERY_S
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = look()
            if isinstance(answer, Coroutine):
                answer = await answer
                every_s = min(1.3 * every_s, _MOST_S)
            if answer:
                return answer
            await asyncio.sleep(every_s)


async def begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Return the work as a task that has gone as far as it goes without waiting."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)  # the loop runs what is ready in order, so this comes back behind the task's first step
    return task
