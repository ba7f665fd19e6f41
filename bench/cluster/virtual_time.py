"""A loop whose time passes as fast as there is nothing to do, and processes in it that can be killed.

1. Where the loop would wait, its time is set on instead. What would run in a thread runs at once, in no time.
2. A task belongs to the process of whoever started it. A process that is killed runs no further than its next await.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_current: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class _Skips(selectors.SelectSelector):
    """Waits for nothing: the loop's time is set on (rule 1)."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        """Set the time on by what was to be waited for."""
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will come")
        self.loop.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        selector = _Skips()
        selector.loop = self
        super().__init__(selector)
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self.now_s

    def _write_to_self(self) -> None:
        """Wake nobody: nobody sleeps."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run it at once."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is told to who asked for it, as a thread would
            done.set_exception(error)
        return done


class Process:
    """What dies together (rule 2)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.context = contextvars.copy_context()
        self.context.run(_current.set, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it in this process."""
        return asyncio.get_running_loop().create_task(work, context=self.context.copy())

    def kill(self) -> None:
        """End all that it does, in the middle of whatever that is."""
        self.is_dead = True
        for task in tuple(self.tasks):
            task.cancel()


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None) -> Any:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    process = context.get(_current) if context is not None else _current.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda task: process.tasks.pop(task, None))
        if process.is_dead:
            task.cancel()
    return task


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
