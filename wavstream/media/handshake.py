"""A media WebSocket up to its upgrade: route, RFC 6455, room, key; then 101, or a problem that says what to change.

uvicorn makes this protocol for every WebSocket request, hands it the request head, and only then connects it to the
socket. The check of the key is a task, so the stream begins in a later turn of the loop, when the socket listens to
what is set here.

Where there are several workers, or nodes:

1. A stream whose path names a session of another worker goes there before anything of it is looked at or counted.
2. One that comes from another worker, because its first message named a session of ours, has its 101 already
   (``is_answered``). Its head is read again, for its key counts here; a refusal is a close frame, behind the dialect's
   own words where it has some. That worker read what the peer had sent, and the peer need not be there any more: what
   it sent is recorded.
3. In a cluster, where nobody has the session yet, its key is looked at first: strangers do not claim sessions.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.http11 import Request, Response

from wavstream.access.authenticator import Caller
from wavstream.access.origin import client_address
from wavstream.dialects.base import Dialect
from wavstream.errors import LimitReached, PeerError, Unauthenticated
from wavstream.media.closing import closing_for
from wavstream.media.endpoint import MediaEndpoint
from wavstream.media.opening import Opening
from wavstream.media.relayed import connection_for
from wavstream.media.request import MediaCredentials, Peer, other_version, read_request, refusal, shown_target
from wavstream.media.unauthorized import Unauthorized, has_place, last_words, who_tells
from wavstream.media.wire import Core, Wire
from wavstream.workers.boundary import Elsewhere, RelayedPeer

IS_ANSWERED = "is_answered"
"""In uvicorn's application state, of a connection that was handed over with its answer."""
RELAYED = "relayed"
"""There too: who is behind one that another node relays."""
_MAX_EARLY_BYTES = 64 * 1024
_RETRY_AFTER_S = 5
_VERSION = "13"
"""Of the protocol (RFC 6455, 4.1); there is no other."""

log = structlog.get_logger(__name__)


def media_protocol(endpoint: MediaEndpoint) -> type[asyncio.Protocol]:
    """Return the class for uvicorn's option ``ws``."""

    class MediaHandshake(Handshake):
        def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
            super().__init__(endpoint, server_state.connections, app_state)

    return MediaHandshake


class Handshake(asyncio.Protocol):
    """One request for a media WebSocket."""

    def __init__(self, endpoint: MediaEndpoint, connections: set[Any], app_state: dict[str, Any]) -> None:
        self._endpoint = endpoint
        self._connections = connections
        # No extensions: permessage-deflate costs more CPU than all the rest of a frame, and audio gains little by it.
        self._core = Core(max_message_bytes=endpoint.limits.max_message_bytes)
        self._peer = Peer(None)
        self._is_answered: bool = app_state.get(IS_ANSWERED, False)
        self._relayed: RelayedPeer | None = app_state.get(RELAYED)
        self._unclaimed: int | None = None  # rule 3: whom it is handed to once its key is good
        self._head = b""
        self._has_ended = False
        """Whether the peer of an answered one has sent all that it sends."""
        self._lost: list[Exception | None] = []
        """Why the socket of an answered one is gone, if it is."""
        self._early = bytearray()
        self._decided = False
        self._request_read = False
        self._authentication: asyncio.Task[Caller] | None = None
        self._ping_interval_s: float | None = None
        """Of the route."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket of the request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass of it
        self._connections.add(self)
        timeout_s = self._endpoint.limits.handshake_timeout_s
        self._deadline = asyncio.get_running_loop().call_later(timeout_s, self._time_out)

    def data_received(self, data: bytes) -> None:
        """Read the request head; keep what comes behind it for the stream."""
        if self._request_read:
            if self._decided:
                return
            self._early += data
            if len(self._early) <= _MAX_EARLY_BYTES:
                return
            if self._is_answered:
                self._transport.pause_reading()
            else:
                self._refuse(PeerError("the peer must wait for the answer to its upgrade"))
            return
        self._head += data
        self._core.receive_data(data)
        for request in self._core.events_received():
            assert isinstance(request, Request)
            self._request_read = True
            self._consider(request)
        if self._core.handshake_exc is not None and not self._decided:
            self._decide()
            self._log_refusal(None, str(self._core.handshake_exc))
            self._write_out()

    def eof_received(self) -> bool:
        """Keep the socket of a stream that is over until it is known whose it is (rule 2)."""
        self._has_ended = True
        return self._is_answered and not self._decided

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up: the peer is gone, before its answer or after a refusal."""
        if self._is_answered and not self._decided:
            self._lost.append(exc)
            return
        self._decide()
        self._deadline.cancel()
        self._connections.discard(self)
        self._core.forget_refusal()

    def shutdown(self) -> None:
        """Refuse the request: uvicorn stops, and waits for every connection."""
        self._refuse(LimitReached("the server is stopping", retry_after_s=_RETRY_AFTER_S))

    def _consider(self, request: Request) -> None:
        try:
            peer_host = self._peer_host()
            lines = request.headers.get_all("X-Forwarded-For")
            address = client_address(peer_host, lines, self._endpoint.trusted_proxies)
            self._peer = Peer(address, path=shown_target(request.path))
            asked = read_request(
                request,
                routes=self._endpoint.routes,
                peer_host=peer_host,
                trusted_proxies=self._endpoint.trusted_proxies,
                allowed_origins=self._endpoint.allowed_origins,
                key_header=self._endpoint.key_header,
            )
            self._peer = self._peer._replace(session_id=asked.upgrade.session_id, leg=asked.upgrade.leg)
            if asked.upgrade.session_id is not None:
                self._check_here(asked.upgrade.session_id)
            response = self._core.accept(request)
            if response.status_code != 101:
                if request.headers.get_all("Sec-WebSocket-Version") not in ([], [_VERSION]):
                    response = other_version(_VERSION)
                self._decide()
                self._log_refusal(response.status_code, "it is no upgrade to a WebSocket of version 13")
                self._answer(response)
                return
            self._endpoint.check_room()
            dialect = asked.route.dialect(asked.upgrade)
            self._ping_interval_s = asked.route.ping_interval_s
        except Elsewhere as elsewhere:
            self._transport.pause_reading()
            # What came behind the head is given to us behind it, in this turn.
            asyncio.get_running_loop().call_soon(self._hand_over, elsewhere.worker)
            return
        except Exception as error:  # noqa: BLE001 - logged there
            self._refuse(error)
            return
        self._authentication = asyncio.create_task(self._authenticate(asked.credentials), name="key of a media stream")
        session_id = asked.upgrade.session_id
        self._authentication.add_done_callback(lambda done: self._authenticated(dialect, session_id, response, done))

    def _peer_host(self) -> str | None:
        if self._relayed is not None:
            return self._relayed.host
        peer = self._transport.get_extra_info("peername")
        return peer[0] if isinstance(peer, tuple) else None

    def _check_here(self, session_id: str) -> None:
        """Raise Elsewhere if another has the session; note that it is to be claimed (rule 3)."""
        try:
            self._endpoint.boundary.check_here(session_id)
        except Elsewhere as elsewhere:
            if not elsewhere.is_nobodys:
                raise
            self._unclaimed = elsewhere.worker

    def _hand_over(self, worker: int) -> None:
        """Let another worker answer (rule 1)."""
        if self._decided or self._transport.is_closing():
            return
        descriptor = self._transport.get_extra_info("socket").fileno()
        received = self._head + self._early
        self._connections.discard(self)  # its place is there from now on
        try:
            self._endpoint.boundary.hand_over(
                worker, descriptor, received, is_answered=self._is_answered, relayed=self._relayed
            )
        except LimitReached as error:
            self._connections.add(self)
            self._refuse(error)
            return
        self._decide()
        self._transport.abort()

    async def _authenticate(self, credentials: MediaCredentials) -> Caller:
        """Return whose stream it is; raise PeerError or DependencyError."""
        found = self._endpoint.authenticator.authenticate_stream(
            credentials.token,
            client_is_loopback=credentials.client_is_loopback,
            app=credentials.app,
            session_id=credentials.session_id,
            signed=credentials.signed,
            hook=credentials.hook,
            address=credentials.address,
        )
        caller = found if isinstance(found, Caller) else await found
        # What the stream may ask for by and by has the options of the app as it was read last.
        await self._endpoint.app_cache.get(caller.app_id)
        return caller

    def _authenticated(
        self, dialect: Dialect, session_id: str | None, response: Response, done: asyncio.Task[Caller]
    ) -> None:
        self._authentication = None  # it has us: a ring would be left for the collector
        if done.cancelled():
            return
        if isinstance(failed := done.exception(), Exception):  # not raised here, or it had this frame, and that has it
            self._give_up(failed, dialect, response)
            return
        try:
            caller = done.result()
            token_session = None if caller.session_id is None else f"{caller.app_id}/{caller.session_id}"
            try:
                self._endpoint.sessions.check_load(caller.app_id, session_id)
            except LimitReached:
                if self._unclaimed is None:
                    raise  # else a node that has room may claim it
            if self._decided or (self._transport.is_closing() and not self._lost):
                return
            if self._unclaimed is not None:
                self._transport.pause_reading()
                self._hand_over(self._unclaimed)
                return
            self._endpoint.take_socket(caller.app_id, token_session)
        except Exception as error:  # noqa: BLE001 - logged there
            self._give_up(error, dialect, response)
        else:
            self._open(dialect, response, caller.app_id, token_session)

    def _give_up(self, error: Exception, dialect: Dialect, response: Response) -> None:
        if isinstance(error, Unauthenticated):
            self._turn_away(dialect, response, error)
        else:
            self._refuse(error, dialect)

    def _open(self, dialect: Dialect, response: Response, app_id: str, token_session: str | None) -> None:
        self._decide()
        self._connections.discard(self)
        connection = connection_for(self._relayed)(
            self._endpoint,
            transport=self._transport,
            core=self._core,
            dialect=dialect,
            app_id=app_id,
            peer=self._peer,
            token_session=token_session,
            ping_interval_s=self._ping_interval_s,
            connections=self._connections,
        )
        self._core.send_response(response)
        if self._is_answered:
            self._core.data_to_send()
        protocol: asyncio.Protocol = connection
        if self._peer.session_id is None and not self._endpoint.boundary.is_alone:
            protocol = Opening(
                connection,
                self._head,
                transport=self._transport,
                boundary=self._endpoint.boundary,
                wire=Wire(self._core, self._transport),
                relayed=self._relayed,
                max_message_bytes=self._endpoint.limits.max_message_bytes,
            )
        self._transport.set_protocol(protocol)
        self._transport.resume_reading()
        connection.opened()
        if self._early:
            protocol.data_received(bytes(self._early))
        if self._lost:
            connection.connection_lost(self._lost[0])
        elif self._has_ended:
            protocol.eof_received()
            self._transport.close()

    def _turn_away(self, dialect: Dialect, response: Response, error: Unauthenticated) -> None:
        """Refuse a peer without a key that counts, as its vendor wants it: with a 401, or on the open WebSocket."""
        speaker = who_tells(dialect)
        if speaker is None or self._decided or self._lost or not has_place(self._endpoint):
            self._refuse(error, dialect)
            return
        self._decide()
        self._connections.discard(self)
        self._log_refusal(error.http_status, str(error))
        self._endpoint.counters.refused[error.http_status] += 1
        self._core.send_response(response)
        if self._is_answered:
            self._core.data_to_send()
        unauthorized = Unauthorized(
            self._endpoint,
            transport=self._transport,
            core=self._core,
            dialect=speaker,
            reason=str(error),
            connections=self._connections,
        )
        self._transport.set_protocol(unauthorized)
        self._transport.resume_reading()
        unauthorized.begin(bytes(self._early))

    def _time_out(self) -> None:
        self._refuse(LimitReached("the key could not be checked in time", retry_after_s=_RETRY_AFTER_S))

    def _refuse(self, error: Exception, dialect: Dialect | None = None) -> None:
        """Refuse the request; ``dialect``: of the stream, where it is known."""
        if self._decided:
            return
        self._decide()
        response = refusal(error)
        if isinstance(error, PeerError):
            self._log_refusal(response.status_code, str(error))
        elif self._endpoint.refusal_log.tells("media_handshake_failed"):
            peer = self._peer
            log.error(
                "media_handshake_failed", address=peer.address, session_id=peer.session_id, leg=peer.leg, exc_info=error
            )
        if self._peer.session_id is not None:
            self._endpoint.boundary.refused(self._peer.session_id)
        if self._is_answered:
            self._close(error, dialect)
        else:
            self._answer(response)

    def _log_refusal(self, status: int | None, reason: str) -> None:
        if self._endpoint.refusal_log.tells(f"media_handshake_refused {status}"):
            peer = self._peer
            log.info(
                "media_handshake_refused",
                address=peer.address,
                session_id=peer.session_id,
                leg=peer.leg,
                path=peer.path,
                status=status,
                reason=reason,
            )

    def _decide(self) -> None:
        self._decided = True
        self._deadline.cancel()
        if self._authentication is not None:
            self._authentication.cancel()

    def _answer(self, response: Response) -> None:
        self._endpoint.counters.refused[response.status_code] += 1
        self._core.send_response(response)
        self._write_out()

    def _close(self, error: Exception, dialect: Dialect | None) -> None:
        """Refuse a stream that is answered already. What its peer still sends is dropped, or it would read nothing."""
        if self._lost:
            self._connections.discard(self)
            return
        closing = closing_for(error)
        self._endpoint.counters.closed[closing.code] += 1
        self._transport.write(last_words(closing, None if dialect is None else who_tells(dialect)))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._arm_abort()

    def _write_out(self) -> None:
        self._transport.write(b"".join(self._core.data_to_send()))
        self._transport.close()
        self._arm_abort()

    def _arm_abort(self) -> None:
        # A peer that reads nothing keeps what was written waiting, and with it the descriptor.
        timeout_s = self._endpoint.limits.close_timeout_s
        self._deadline = asyncio.get_running_loop().call_later(timeout_s, self._transport.abort)
