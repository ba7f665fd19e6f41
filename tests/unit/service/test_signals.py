"""Who is told of a signal, in which part of a server's life."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from wavstream.service.signals import NUMBERS, StopSignals, end_quietly, interrupt_on_sigint


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        if threading.current_thread() is threading.main_thread():
            raise SystemExit(code)  # nothing behind it is run

    monkeypatch.setattr(os, "_exit", end)
    return codes


def test_before_there_is_a_loop_the_process_ends_at_once(ended: list[int]) -> None:
    StopSignals(start_timeout_s=60).catch()
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended == [0]


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_start_is_cancelled_and_what_serves_then_is_asked_to_stop(
    number: signal.Signals, ended: list[int]
) -> None:
    stop, told = StopSignals(start_timeout_s=60), list[int]()
    stop.catch()
    start = asyncio.create_task(asyncio.sleep(3600))
    stop.cancel(start)
    os.kill(os.getpid(), number)
    with pytest.raises(asyncio.CancelledError):
        await start
    stop.stop(told.append)
    assert told == [number]  # it came before there was anybody who could be told
    os.kill(os.getpid(), number)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == [number, number]
    assert ended == []


async def test_a_start_that_cannot_be_cancelled_ends_with_the_process(ended: list[int]) -> None:
    stop, was_ended = StopSignals(start_timeout_s=0.0), asyncio.Event()
    stop.catch()

    async def migrate() -> None:
        while not ended:
            try:
                await asyncio.to_thread(threading.Event().wait, 0.01)
            except asyncio.CancelledError:
                continue
        was_ended.set()

    start = asyncio.create_task(migrate())
    stop.cancel(start)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(60):
        await was_ended.wait()
    assert ended == [0]
    await asyncio.gather(start, return_exceptions=True)


def test_a_command_hears_of_ctrl_c_once_it_has_begun() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_quietly()
    assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    interrupt_on_sigint()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_process_that_was_told_to_hear_no_sigterm_goes_on_so() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_quietly()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
