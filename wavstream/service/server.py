"""The port: HTTP and media WebSocket on one socket, by uvicorn, around a service."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import functools
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import structlog
import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from wavstream.clock import UnixClock, uptime_us
from wavstream.errors import WavstreamError
from wavstream.media.handshake import media_protocol
from wavstream.service.acceptor import Acceptor
from wavstream.service.entrance import Entrance
from wavstream.service.exposure import is_this_machine, listens_beyond_loopback
from wavstream.service.garbage import Garbage
from wavstream.service.http_protocol import HttpProtocol
from wavstream.service.listeners import Listeners
from wavstream.service.logs import SUMMARY, configure, loop_exception
from wavstream.service.memory import give_memory_back
from wavstream.service.migration import lines_of_stores
from wavstream.service.service import Service
from wavstream.service.signals import StopSignals
from wavstream.service.supervisor import Supervisor, worker_count
from wavstream.service.worker_place import WorkerPlace, WorkerStart
from wavstream.settings import Settings

log = structlog.get_logger(__name__)

SWITCH_INTERVAL_S = 0.001
"""How long a thread that computes keeps the others waiting. Python's 5 ms are a quarter of a frame: the fold would
delay the event loop that much, and a stop at each of its system calls (decision 12)."""


_CUT_OFF_S = 1.0
"""For requests that are cut off, to end; each is at some await, so it takes a turn of the loop or two."""


class _Application:
    """The application, whose requests end without a word when they are cut off: uvicorn takes that for a mistake."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI); nothing but ``Server._wait_tasks_to_complete`` cancels the task of a request."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)


class Server(uvicorn.Server):
    """uvicorn, whose shutdown notes its start in the journals before it closes what is open."""

    def __init__(self, service: Service, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._service = service
        self.server_state.connections = service.front.open

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: uvicorn would end the process as soon as the port is closed, before the journals are."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and say so; called once by uvicorn, whose own accepting has no bounds."""
        assert sockets is not None
        await _import_the_rest()
        make = functools.partial(HttpProtocol, self.config, self.server_state, front=self._service.front)
        front = self._service.front
        entrance = Entrance(self._service.settings.http, front=front, protocol=make)
        front.boundary.takes(entrance.take)
        self.servers: list[Any] = [Acceptor(each, front=front, entrance=entrance) for each in sockets]
        self.started = True
        self.ready.set()

    async def on_tick(self, counter: int) -> bool:
        """Write what was summed up; called by uvicorn ten times a second."""
        self._service.front.refusal_log.end_period()
        SUMMARY.end_period()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down, the journals first; called by uvicorn on SIGTERM and SIGINT."""
        await self._service.leave()
        await super().shutdown(sockets)

    async def _wait_tasks_to_complete(self) -> None:
        """Wait for the answers that are under way, as long as is set, and cut off the others; called by uvicorn.

        uvicorn's own limit cancels them, and writes an error and a traceback for each: of what is as it was set.
        """
        timeout_s = self._service.settings.http.shutdown_timeout_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await super()._wait_tasks_to_complete()
        left = [each for each in self.server_state.connections if isinstance(each, HttpProtocol)]
        tasks = {*self.server_state.tasks}
        if left or tasks:
            log.warning("requests_cut_off", count=max(len(left), len(tasks)), timeout_s=timeout_s)
        for connection in left:
            connection.cut_off()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CUT_OFF_S)


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    signals: StopSignals | None = None,
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: UnixClock | None = None,
    steady_us: Callable[[], int] | None = None,
    place: WorkerPlace | None = None,
) -> AsyncIterator[tuple[Service, asyncio.Task[None]]]:
    """Run a server, and yield it with its task once it is ready; ``signals`` end the start, or the task.

    ``place``: it is one worker of several; None: it is one process.
    """
    listeners = Listeners.open(settings) if place is None else place.listeners
    chosen = settings.model_copy(update={"port": listeners.port or settings.port})
    service = Service(chosen, wall=wall, clock=clock, steady_us=steady_us, place=place)
    start = asyncio.create_task(service.start(), name="start")
    if signals is not None:
        signals.cancel(start)
    try:
        await start
        if place is None:
            await asyncio.to_thread(service.folder.note_places, [*listeners.places, *lines_of_stores(settings.storage)])
    except BaseException:
        listeners.close()
        await service.stop()
        raise
    if service.begins_server:
        _warn_of_links(service.settings)
    server = Server(service, _config(service))
    if signals is not None:
        signals.stop(lambda number: server.handle_exit(number, None))
    task = asyncio.create_task(server.serve(sockets=listeners.sockets), name="uvicorn")
    try:
        await wait_until_ready(server.ready, task)
        yield service, task
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        if place is not None:
            await place.boundary.close()
        await service.stop()
        listeners.close()


async def wait_until_ready(ready: asyncio.Event, serving: asyncio.Task[None]) -> None:
    """Return when the server is ready or has ended before it was; nothing of the wait is left behind."""
    waiting = asyncio.create_task(ready.wait(), name="ready")
    try:
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raise OperatorError if the server cannot start."""
    count = worker_count(settings)
    if count > 1:
        _raise_descriptor_limit()
        Supervisor(settings, count, work=_serve_as_worker).run()
        return
    _serve(settings, None)
    log.info("server_stopped")


def _serve_as_worker(start: WorkerStart) -> int:
    """Serve in the place of a worker, until the supervisor says so or is gone; return the exit code."""
    configure(start.settings.log, worker=start.index)
    place = WorkerPlace(start)
    try:
        _serve(start.settings, place)
    except WavstreamError as error:
        place.refuse(error)
        return error.exit_code
    return 0


def _serve(settings: Settings, place: WorkerPlace | None) -> None:
    signals = StopSignals(start_timeout_s=settings.http.shutdown_timeout_s)
    signals.catch()
    _raise_descriptor_limit()
    give_memory_back()
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(loop_exception)
        if place is not None:
            place.begin()
        async with running(settings, signals=signals, steady_us=uptime_us, place=place) as (service, task):
            with Garbage(lambda: service.endpoint.counters.open_sockets):
                if service.cluster is not None:
                    service.cluster.open()
                if place is not None:
                    place.ready()
                    await task
                    return
                log.info(
                    "server_ready",
                    url=service.settings.base_url,
                    data_dir=str(service.folder.root.resolve()),
                    kept_hours=service.settings.recording_options.retention_hours,
                )
                await task

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(run())
        except asyncio.CancelledError:  # of the start
            if signals.asked is None:
                raise


def _warn_of_links(settings: Settings) -> None:
    """Warn if others can reach the server, and its links lead to the machine that opens them."""
    host = urlsplit(settings.base_url).hostname or ""
    if settings.public_url is None and listens_beyond_loopback(settings) and is_this_machine(host):
        log.warning(
            "links_open_locally_only",
            links=settings.base_url,
            to_do="set WAVSTREAM_PUBLIC_URL to the address that others use",
        )


async def _import_the_rest() -> None:
    """Have libraries import now what they import where they first need it: it holds up every stream for 20 to 45 ms."""
    await asyncio.to_thread(np.unique, np.zeros(1))  # numpy.ma, in the first fold
    await run_in_threadpool(int)  # anyio's code for asyncio, for the first download
    codecs.lookup("idna")  # for the first name of a receiver that is looked up


def _config(service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        _Application(service.app),
        ws=media_protocol(service.endpoint),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _raise_descriptor_limit() -> None:
    """Raise the soft limit, usually 1,024, to the hard one: a leg takes one descriptor, a recording three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
