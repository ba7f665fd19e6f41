"""The port: HTTP and media WebSocket on one socket, by uvicorn, around a service."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wavstream.api.live import WIRE
from wavstream.errors import OperatorError
from wavstream.media.handshake import media_protocol
from wavstream.service.clock import UnixClock
from wavstream.service.service import Service
from wavstream.settings import Settings

log = structlog.get_logger()

BACKLOG = 4096
"""Connections that may wait to be accepted: a switch that restarts opens all its streams in the same second."""
SWITCH_INTERVAL_S = 0.001
"""How long a thread that computes keeps the others waiting. Python's 5 ms are a quarter of a frame: the fold would hold
up the event loop, and a stop be held up by it at each of its system calls (decision 12)."""
GRACE_S = 8
"""How long open requests and streams get to end at a shutdown."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, with a way to the connection (``Wire``) for answers that go on: ASGI has none to let go of a peer that
    does not read, and all that lies between costs more than sending a piece."""

    def on_message_begin(self) -> None:
        """Called by the parser at the start of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {WIRE: {"wire": self}}

    def write(self, piece: bytes) -> None:
        """A piece of a chunked body (RFC 9112, 7.1), behind what the application has sent."""
        if not self.transport.is_closing():
            self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def waiting_bytes(self) -> int:
        """What the peer has not taken."""
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn, told to note in the journals that it is going down before it closes what is open."""

    def __init__(self, service: Service, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Not uvicorn's: it ends the process by the signal as soon as the port is closed, before the journals are."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn once."""
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn on SIGTERM and SIGINT."""
        self._service.begin_shutdown()
        await super().shutdown(sockets)


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    signals: bool = False,
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: UnixClock | None = None,
) -> AsyncIterator[tuple[Service, asyncio.Task[None]]]:
    """A server that is ready; the task ends when it is told to stop by a signal, where ``signals`` are caught."""
    listener = listen(settings)
    service = Service(settings.model_copy(update={"port": listener.getsockname()[1]}), wall=wall, clock=clock)
    try:
        await service.start()
    except BaseException:
        listener.close()
        await service.stop()
        raise
    _warn_of_links(service.settings)
    server = Server(service, _config(service))
    if signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
    try:
        await asyncio.wait((task, asyncio.ensure_future(server.ready.wait())), return_when=asyncio.FIRST_COMPLETED)
        yield service, task
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        await service.stop()
        listener.close()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises OperatorError."""
    _raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    async def run() -> None:
        async with running(settings, signals=True) as (service, task):
            _freeze_gc()
            log.info("ready", url=service.settings.base_url, data=str(service.folder.root.resolve()))
            await task
        log.info("stopped: what was running goes on at the next start")

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run())


def listen(settings: Settings) -> socket.socket:
    """The listening socket; raises OperatorError if the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise OperatorError(f"{where} is taken: stop what listens there, or set WAVSTREAM_PORT") from error
        raise OperatorError(
            f"cannot listen on {where} ({error.strerror}): set WAVSTREAM_HOST to an address of this machine"
        ) from error


def _warn_of_links(settings: Settings) -> None:
    """Who listens on every address has none to give out; links then lead to whichever machine opens them."""
    if settings.public_url is None and settings.host in ("0.0.0.0", "::"):
        log.warning(
            "links open on this machine only: set WAVSTREAM_PUBLIC_URL to the address that others use",
            links=settings.base_url,
        )


def _config(service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        service.app,
        http=HttpProtocol,
        ws=media_protocol(service.endpoint),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _freeze_gc() -> None:
    """What start-up made stays for good: a full collection that looks through it stops the loop for 0.1 s."""
    gc.collect()
    gc.freeze()


def _raise_descriptor_limit() -> None:
    """A leg takes one descriptor and a recording three; the usual soft limit of 1,024 is 400 calls."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
