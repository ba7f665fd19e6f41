"""Waits for states that can only be asked for (in another process, on a disk, in a thread), and for tasks to begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

WAIT_S = 60.0
"""Bound on every wait for an event; nothing is asserted about how long it took."""
_EVERY_S = 0.01

T = TypeVar("T")


@overload
async def until(look: Callable[[], Coroutine[Any, Any, T]]) -> T: ...


@overload
async def until(look: Callable[[], T]) -> T: ...


async def until(look: Callable[[], Any]) -> Any:
    """Return what ``look`` answers, or what that yields when awaited, as soon as it is true."""
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = look()
            seen = await answer if isinstance(answer, Coroutine) else answer
            if seen:
                return seen
            await asyncio.sleep(_EVERY_S)


async def begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Return the work as a task that has gone as far as it goes without waiting."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)  # the loop runs what is ready in order, so this comes back behind the task's first step
    return task
