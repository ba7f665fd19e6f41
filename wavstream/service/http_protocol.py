"""One HTTP connection: uvicorn's protocol, with bounds on what its peer sends, and on how long it keeps us waiting.

1. A head is bounded while it is read: the parser gets no piece larger than a head may be, and after each it is asked
   what it made of it. It keeps what it does not tell of (the value of a header that goes on and on), so all that it was
   given of a head counts. So does what it takes and tells nothing of, later: a trailer, or what stands at a chunk.
2. Trailers are dropped: nothing here reads them, and uvicorn would add them to the headers of a request that runs.
3. What the peer owes, and until when, is said by ``deadlines``; who gives way to others by ``access.connections``.
4. HTTP/1.0 has no upgrades (RFC 9110, 7.8): the request is answered as if it had not asked for one.
5. Of a target in absolute form, the authority is whom the request is for; ``Host`` is not asked (RFC 9112, 3.2.2).
6. A refusal is an answer that the peer gets to read: our side ends behind it, and what the peer still sends is read and
   dropped for a moment. Closing at once would have the kernel throw the answer away.
7. Where there are several workers, a request for a session of another goes there with its connection: what was read of
   it and of all behind it is kept until it is answered (``unanswered``), and is read there first.
8. A connection that another node relays ends with its answer: its next request may be for a third node.
"""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from wavstream.access.connections import Place
from wavstream.access.origin import authority_of
from wavstream.api.elsewhere import CONNECTION
from wavstream.api.live import WIRE
from wavstream.api.problems import problem
from wavstream.media.handshake import IS_ANSWERED, RELAYED
from wavstream.service.counted_transport import CountedTransport, chunk
from wavstream.service.deadlines import Owed, PeerDeadlines, Refusal
from wavstream.service.front import Front
from wavstream.service.unanswered import Unanswered
from wavstream.workers.boundary import RelayedPeer, WorkerUnavailable

_MAX_PIPELINED = 8
"""Requests that wait for the answers before them: uvicorn stops to read at the second, but one read holds thousands."""
_MAX_DROPPED_BYTES = 4 * 1024 * 1024
"""More than the kernels of both sides hold when a refusal is sent; who sends more does not read."""
_LINE_BYTES = 4
"""Colon, space and line end of a header; about as much of the request line."""

_ANSWERS = {
    Refusal.HEAD_TOO_LARGE: (431, "The head of the request is larger than http.head_bytes or http.head_lines allow."),
    Refusal.HEAD_TIMEOUT: (408, "The head of the request did not come within http.head_timeout_s."),
    Refusal.BODY_TIMEOUT: (408, "The body of the request did not come within http.body_timeout_s."),
    Refusal.MALFORMED: (400, "Invalid HTTP request received."),
}


class _TooMuch(Exception):
    """The head is larger than it may be."""


class HttpProtocol(HttpToolsProtocol):
    """One connection; also a listener's ``Wire``, for answers that are sent while they grow.

    ASGI cannot abort a peer that does not read, and its layers cost more than sending a piece.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        *,
        front: Front,
        received: bytes = b"",
        is_answered: bool = False,
        relayed: RelayedPeer | None = None,
    ) -> None:
        """``received``: what another worker has read of it; for the others see ``Boundary.hand_over``."""
        super().__init__(config, server_state, {IS_ANSWERED: is_answered, RELAYED: relayed})
        self._relayed = relayed
        self._front = front
        self._received = received
        self._unanswered = None if front.boundary.is_alone else Unanswered(front.unanswered_bytes)
        """None: everything is answered here."""
        self._answering: RequestResponseCycle | None = None
        """The request that is being answered; ``cycle`` is the newest."""
        self._limits = front.limits
        self._head_bytes = 0
        """Of the message that is being read, as far as the parser has told."""
        self._head_lines = 0
        self._given_bytes = 0
        """What the parser was given: of a head since it began, of all else since the parser last told something."""
        self._piece_bytes = 0
        """What it is given at the moment."""
        self._has_told = False
        """Whether it has told something of that."""
        self._has_head = False
        """Whether the head of that message is whole: what comes now is body or trailers."""
        self._is_over = False
        """Whether what comes is dropped (rule 6)."""
        self._dropped_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        """Set while there is a socket."""
        self._is_stopping = False
        """Whether the server stopped before there was one."""

    # ---- the socket ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._counted = CountedTransport(cast("asyncio.Transport", transport))
        super().connection_made(cast("asyncio.Transport", self._counted))
        self._deadlines = PeerDeadlines(self._limits, time.monotonic())
        if self._relayed is not None:
            self.client = None if self._relayed.host is None else (self._relayed.host, 0)
        host = self.client[0] if self.client else None
        give_way = functools.partial(self._refuse, Refusal.GAVE_WAY)
        self._place = Place.of(host, trusted=self._front.trusted_proxies, give_way=give_way)
        self._front.connections.wait(self._place)
        self._timer = self.loop.call_later(self._limits.look_s, self._look)
        if self._is_stopping:
            self.transport.abort()
        elif self._received:
            received, self._received = self._received, b""
            self.data_received(received)  # before the socket is read

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that the peer is gone."""
        self._leave()
        super().connection_lost(exc)
        self._let_go()

    def shutdown(self) -> None:
        """End the connection, or with the answer that is under way: uvicorn stops, and waits for every connection."""
        if self._timer is None:
            self._is_stopping = True
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Give the parser what came, a piece at a time (rule 1)."""
        if self._is_over:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > _MAX_DROPPED_BYTES:
                self.transport.abort()
            return
        if self._unanswered is not None:
            self._unanswered.add(data)
        self._unset_keepalive_if_required()
        if self._deadlines.owed is Owed.NOTHING and not self._is_answering():
            self._deadlines.expect(Owed.HEAD)
        size = self._limits.head_bytes
        for start in range(0, len(data), size):
            piece = data[start : start + size] if len(data) > size else data
            self._has_told, self._piece_bytes = False, len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                self._upgraded(data[start + upgrade.args[0] :])
                return
            except httptools.HttpParserError as error:
                too_much = isinstance(error.__context__, _TooMuch)
                self._refuse(Refusal.HEAD_TOO_LARGE if too_much else Refusal.MALFORMED)
                return
            self._given_bytes = 0 if self._has_told and self._has_head else self._given_bytes + len(piece)
            if self._given_bytes > size:
                self._refuse(Refusal.HEAD_TOO_LARGE)
                return

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's annotation leaves the None out
        return cycle is not None and not cycle.response_complete

    def _leave(self) -> None:
        self._front.connections.work(self._place)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_go(self) -> None:
        """Break the rings that its parser, requests and place make with it (``service.garbage``)."""
        self.parser = self.cycle = self.scope = self._answering = None  # type: ignore[assignment]
        self.pipeline.clear()
        self._place.let_go()

    # ---- the parser ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request, whose scope has the connection in it."""
        super().on_message_begin()
        if self._unanswered is not None:
            self._unanswered.begin()
        self.scope["extensions"] = {WIRE: {"wire": self}, CONNECTION: {"connection": self}}
        # What the parser has told already of this piece is of the message before.
        self._given_bytes = -self._piece_bytes if self._has_told else 0
        self._has_told, self._has_head = True, False
        self._head_bytes = self._head_lines = 0
        self._deadlines.expect(Owed.HEAD)
        self._count(_LINE_BYTES)
        self._head_lines = 1

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or drop a trailer (rule 2)."""
        self._head_lines += 1
        self._count(len(name) + len(value) + _LINE_BYTES)
        if not self._has_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, and to wait for a body."""
        self._has_told = self._has_head = True
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise httptools.HttpParserError("too many requests ahead of their answers")
        if (authority := authority_of(self.url)) is not None:  # rule 5
            self.headers[:] = [(b"host", authority), *(each for each in self.headers if each[0] != b"host")]
        self._deadlines.expect(Owed.BODY)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Note that the parser goes on."""
        self._has_told = True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._has_told = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing while the request is answered."""
        self._has_told = True
        if self._unanswered is not None:
            self._unanswered.complete()
        self._deadlines.expect(Owed.NOTHING)
        if self._is_answering():
            self._front.connections.work(self._place)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        if self._unanswered is not None:
            self._unanswered.answer()
        super().on_response_complete()
        self._place.was_answered = True
        if not self._is_answering() and not self.transport.is_closing():
            self._front.connections.wait(self._place)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        if self._relayed is not None:
            cycle.keep_alive = False  # rule 8
        super()._start_asgi_task(cycle, app)

    def _count(self, size_bytes: int) -> None:
        self._has_told = True
        self._head_bytes += size_bytes
        if self._head_bytes > self._limits.head_bytes or self._head_lines > self._limits.head_lines:
            raise _TooMuch

    # ---- the upgrade -----------------------------------------------------------------------------------------------

    def _should_upgrade(self) -> bool:
        return self.parser.get_http_version() == "1.1" and super()._should_upgrade()  # rule 4

    def _upgraded(self, early: bytes) -> None:
        """Hand the connection to the WebSocket plane, with what came behind the head."""
        if not self._should_upgrade():
            # It is answered as the request that it is. What comes behind it may be of another protocol.
            self._is_over = True
            if self._is_answering():
                self.cycle.keep_alive = False
            return
        if self._is_answering():
            self._refuse(Refusal.MALFORMED)  # the answer before it would end up in the stream
            return
        self._leave()
        self.transport = self._counted.inner
        self.handle_websocket_upgrade()
        self._let_go()
        if early:
            cast("asyncio.Protocol", self.transport.get_protocol()).data_received(early)

    # ---- another worker --------------------------------------------------------------------------------------------

    async def hand_over(self, worker: int) -> None:
        """Hand the connection to a worker, which answers the request that is being answered here, and all behind it.

        Return too if the peer is gone, or was told something else. Raise WorkerUnavailable: it is to be answered here.
        """
        cycle = self._answering
        assert cycle is not None
        assert self._unanswered is not None
        transport = self._counted.inner
        if transport.get_write_buffer_size():  # what was answered before
            transport.set_write_buffer_limits(high=0)
            await self.flow.drain()
            if not transport.is_closing():
                transport.set_write_buffer_limits()
        if cycle.disconnected or transport.is_closing():
            return
        was_told_to_go_on = not cycle.waiting_for_100_continue
        received = self._unanswered.read(without_expect=was_told_to_go_on)
        if received is None:
            cycle.keep_alive = False
            raise WorkerUnavailable(worker)
        transport.pause_reading()
        self.connections.discard(self)  # its place is there from now on
        try:
            descriptor = transport.get_extra_info("socket").fileno()
            self._front.boundary.hand_over(worker, descriptor, received, is_answered=False, relayed=self._relayed)
        except WorkerUnavailable:
            self.connections.add(self)
            if not self.flow.read_paused:
                transport.resume_reading()
            raise
        cycle.disconnected = self._is_over = True  # uvicorn writes nothing more
        self._leave()
        transport.abort()

    # ---- time ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Look at what the peer owes."""
        self._timer = self.loop.call_later(self._limits.look_s, self._look)
        unsent_bytes = self._counted.get_write_buffer_size()
        was_stalled = self._deadlines.is_stalled
        answering = self._is_answering()
        refusal = self._deadlines.look(
            time.monotonic(),
            # A request behind one that is being answered may wait for that answer, and is not read.
            reading=not self.flow.read_paused and not (answering and self._deadlines.owed is Owed.HEAD),
            unsent_bytes=unsent_bytes,
            taken_bytes=self._counted.taken_bytes() if unsent_bytes else 0,
        )
        if refusal is not None:
            self._refuse(refusal)
        elif self._is_over and self._deadlines.is_stalled:
            self.transport.abort()
        elif self._deadlines.is_stalled and not was_stalled:
            self._front.connections.wait(self._place)
        elif was_stalled and not self._deadlines.is_stalled and answering and self._deadlines.owed is Owed.NOTHING:
            self._front.connections.work(self._place)

    def _refuse(self, refusal: Refusal) -> None:
        """End the connection, with an answer where one can still be given."""
        if self._is_over and refusal in _ANSWERS:
            return
        self._front.refuse(refusal, self.client[0] if self.client else None)
        is_silent = refusal is Refusal.HEAD_TIMEOUT and not self._given_bytes and not self._has_told
        self._is_over = True
        if refusal is Refusal.GAVE_WAY and not self._deadlines.is_stalled:
            self.transport.close()  # what was answered arrives, unless nobody reads it
            return
        if refusal not in _ANSWERS or is_silent or self.transport.is_closing():
            self.transport.abort()
            return
        if self._is_answering():
            # An answer that has begun cannot become another one.
            begun = self.cycle.response_started or bool(self.pipeline)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if begun:
                self.transport.abort()
                return
        self._answer(*_ANSWERS[refusal])

    def _answer(self, status: int, text: str) -> None:
        """Answer with a problem, and end the connection when the peer has had time to read it (rule 6)."""
        answer = problem(status, text, headers={"connection": "close"})
        lines = [b"%b: %b\r\n" % line for line in (*self.server_state.default_headers, *answer.raw_headers)]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", answer.body)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(self._limits.linger_s, self.transport.abort)

    def cut_off(self) -> None:
        """End the connection, and with it a request that takes longer than the stop of the server may."""
        if self._is_answering() and not self.cycle.response_started and not self.pipeline:
            self.cycle.disconnected = True
            self._answer(503, "The server stopped before the request was answered: ask again.")
        else:
            self.transport.abort()

    # ---- the wire of a listener ------------------------------------------------------------------------------------

    def write(self, piece: bytes) -> None:
        """Send a piece of a chunked body (RFC 9112, 7.1), behind what the application has sent."""
        if not self.transport.is_closing():
            self.transport.write(chunk(piece))

    def waiting_bytes(self) -> int:
        """Return the bytes that the peer has not taken."""
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()
