"""A worker's place: what its supervisor hears of it, and what it does when that is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

from tests.support.waiting import until
from tests.support.workers import Inboxes
from wavstream.errors import DiskFull, OperatorError, WavstreamError
from wavstream.service.listeners import Listeners
from wavstream.service.worker_place import BEAT, MESSAGE_BYTES, READY, WorkerPlace, WorkerStart
from wavstream.settings import Settings
from wavstream.workers.shared_counts import SharedCounts


class Given:
    """A place, and the supervisor's end of what is between the two."""

    def __init__(self, data_dir: Path) -> None:
        self.supervisor, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.supervisor.setblocking(False)
        self._control = control
        self._inboxes = Inboxes(1)
        self._counts = SharedCounts.create(1)
        start = WorkerStart(
            settings=Settings(data_dir=data_dir), index=0, is_again=False, listeners=Listeners(), lock=-1,
            inbox=self._inboxes.receiving[0], others=tuple(self._inboxes.sending), counts=self._counts,
            catalog=None, control=control,
        )  # fmt: skip
        self.place = WorkerPlace(start)

    def heard(self) -> bytes | None:
        try:
            return self.supervisor.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return None

    def close(self) -> None:
        self._inboxes.close()
        self._control.close()
        self.supervisor.close()
        os.close(self._counts)


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Given]:
    with closing(Given(tmp_path)) as made:
        yield made


@pytest.fixture
def told() -> Iterator[list[int]]:
    """Note the signals that this process gives itself."""
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGTERM, note)
    yield seen
    signal.signal(signal.SIGTERM, before)


def as_it_should(given: Given) -> None:
    """Read all that the worker has said, and go."""
    while given.heard() is not None:
        pass
    given.supervisor.close()


def killed(given: Given) -> None:
    """Go with a beat unread, which the worker's end is told as an error."""
    given.supervisor.close()


@pytest.mark.parametrize("go", [as_it_should, killed])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_worker_whose_supervisor_is_gone_ends_as_on_sigterm(
    given: Given, told: list[int], go: Callable[[Given], None], loop: str
) -> None:
    async def live() -> None:
        given.place.begin()
        go(given)
        await until(lambda: told)

    factory = asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(live())
    assert told == [signal.SIGTERM]


async def test_a_worker_beats_for_as_long_as_its_loop_turns_and_says_when_it_is_ready(given: Given) -> None:
    given.place.begin()
    heard = [await until(given.heard) for _ in range(2)]
    given.place.ready()
    assert [*heard, await until(given.heard)] == [BEAT, BEAT, READY]
    await given.place.boundary.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [(OperatorError("the port is taken"), b"refused 2 the port is taken"), (DiskFull("\udcff"), b"refused 1 ?")],
)
def test_a_worker_that_cannot_start_says_why(given: Given, error: WavstreamError, said: bytes) -> None:
    given.place.refuse(error)
    assert given.heard() == said


async def test_a_worker_whose_supervisor_reads_nothing_goes_on(given: Given) -> None:
    for _ in range(100_000):
        given.place._say(BEAT)
    given.place.begin()
    assert given.heard() == BEAT
