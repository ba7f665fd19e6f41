"""Which task goes first, and which are done at the end."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import until
from wavstream.recorder.render_thread import Priority, RenderThread


@pytest.fixture
async def thread() -> AsyncIterator[RenderThread]:
    thread = RenderThread(asyncio.get_running_loop(), retry_s=0.0)
    yield thread
    await thread.stop()


def held(thread: RenderThread) -> threading.Event:
    """Keep the thread in a job until the event is set."""
    entered, release = threading.Event(), threading.Event()

    def job() -> None:
        entered.set()
        release.wait(30)

    thread.run(job, Priority.URGENT, app_id="shop")
    assert entered.wait(30)
    return release


async def test_urgent_jobs_overtake_due_ones_and_those_the_backlog(thread: RenderThread) -> None:
    ran: list[str] = []
    done = threading.Event()
    release = held(thread)

    for lane in (Priority.BACKLOG, Priority.DUE, Priority.URGENT):
        for number in (1, 2):
            thread.run(functools.partial(ran.append, f"{lane.name} {number}"), lane, app_id="shop")
    thread.run(done.set, Priority.BACKLOG, app_id="shop")
    waiting = thread.waiting
    release.set()

    assert done.wait(30)
    assert ran == ["URGENT 1", "URGENT 2", "DUE 1", "DUE 2", "BACKLOG 1", "BACKLOG 2"]
    assert (waiting, thread.waiting) == (7, 0)


async def test_a_stop_runs_what_is_urgent_and_drops_the_rest() -> None:
    thread = RenderThread(asyncio.get_running_loop(), retry_s=0.0)
    ran: list[Priority] = []
    release = held(thread)
    for lane in Priority:
        thread.run(functools.partial(ran.append, lane), lane, app_id="shop")

    stopping = asyncio.create_task(thread.stop())
    await until(lambda: thread._is_stopping)
    release.set()
    await stopping

    assert ran == [Priority.URGENT]


async def test_a_task_that_raises_is_logged_and_costs_itself_only(thread: RenderThread) -> None:
    done = threading.Event()

    with capture_logs() as logs:
        thread.run(lambda: 1 // 0, Priority.DUE, app_id="shop")  # type: ignore[arg-type]
        thread.run(done.set, Priority.DUE, app_id="shop")
        assert done.wait(30)

    assert [(line["event"], line["log_level"]) for line in logs] == [("render_task_failed", "error")]
