"""One connection to NATS, made again for ever; what is on its way when it is lost fails at once.

1. The reconnecting of nats-py is off. It keeps what is written meanwhile and sends it later, it ends for good at some
   errors, and it waits for a server that stands still before it lets go of it. A connection that is lost is dropped
   here, and a new client is made, at the next server.
2. A server that has not answered a ping within ``PING_WAIT_S``, nor said anything else, is lost, also where its
   connection still stands. One that is slow is kept, and its late answers count.
3. Whatever fails is EngineAway: nobody knows then whether the server has got the message.
4. With ``tls://`` nothing is said to a server that offers no TLS.
5. Cancellations that nats-py loses are raised again (``nats_client``), else whoever cancels waits for ever.
6. Whatever nats-py brings about, an error that is none of its own or a wait that does not end, the connection is made
   again: each look at it is a task of its own, which is left behind if it is not over in time.
7. A right that a user lacks is no answer: NATS drops what was sent, and says so beside. Who waits in vain is told that.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg

from wavstream.cluster.engine import EngineAway
from wavstream.cluster.nats_client import CONNECT_S, FAILURES, NoTls, UsedOnce, cancellations_kept, lasting, words_of
from wavstream.cluster.nats_credentials import Shown, shown
from wavstream.errors import OperatorError
from wavstream.settings.cluster import ClusterSettings

REQUEST_S = 2.0
"""A leader that lives answers within milliseconds; one that died is replaced after 4 to 5 s, whoever waits."""
PING_EVERY_S = 1.0
PING_WAIT_S = 2.0
RETRY_S = 0.25
LOOK_S = 30.0
"""Within which a look is over, whatever its servers do (rule 6)."""
_NEVER_S = 10**6

log = structlog.get_logger(__name__)


class NotAnswered(EngineAway):
    """Nobody listens to the subject: NATS has no JetStream, or not this stream."""


class Inbox:
    """What comes for one asker, in order."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.messages: asyncio.Queue[Msg | None] = asyncio.Queue()
        """None: the connection is lost, and nothing follows."""
        self._end: Callable[[], Any] | None = None

    async def close(self) -> None:
        """Take nothing more."""
        if self._end is not None:
            with suppress(*FAILURES):
                await self._end()


class Connection:
    """The connection. ``open`` before all else."""

    def __init__(self, settings: ClusterSettings, *, name: str) -> None:
        """``name`` is shown in the monitoring of NATS."""
        self._settings = settings
        self._name = name
        self._servers = itertools.cycle(settings.servers)
        self._client: UsedOnce | None = None
        self._why = "it was not connected yet"
        self._waiting: set[asyncio.Timeout] = set()
        self._inboxes: set[Inbox] = set()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._look: asyncio.Task[None] | None = None
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""
        return self._client is not None

    @property
    def server(self) -> str | None:
        """Host and port of the server; None: there is no connection."""
        url = None if self._client is None else self._client.connected_url
        return None if url is None else url.netloc

    @property
    def info(self) -> dict[str, Any]:
        """What the server said of itself; empty: there is no connection."""
        return {} if self._client is None else self._client.said

    @property
    def complaint(self) -> str:
        """What the server said last that was no answer, such as a right that this node lacks; empty: nothing."""
        return "" if self._client is None else self._client.complaint

    async def open(self, *, wait_s: float) -> None:
        """Connect, and keep connected; raise EngineAway after ``wait_s``, OperatorError where waiting will not help."""
        give_up = asyncio.get_running_loop().time() + wait_s
        while True:
            try:
                await self._connect()
                break
            except EngineAway:
                if asyncio.get_running_loop().time() > give_up:
                    raise
                await asyncio.sleep(RETRY_S)
        self._keeper = asyncio.create_task(self._keep(), name="nats")

    async def request(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None, *, wait_s: float = REQUEST_S
    ) -> Msg:
        """Return the answer; raise EngineAway, NotAnswered."""
        if (client := self._client) is None:
            raise EngineAway(f"NATS cannot be reached: {self._why}")
        waits = asyncio.timeout(wait_s)
        try:
            async with waits:
                self._waiting.add(waits)
                try:
                    return await client.ask(subject, payload, headers)
                finally:
                    self._waiting.discard(waits)
        except nats.errors.NoRespondersError as error:
            raise NotAnswered(f"NATS has nobody who answers at {subject}") from error
        except TimeoutError as error:
            why = f"it did not answer within {wait_s:g} s{client.complaint_of(subject)}"
            why = self._why if client is not self._client else why
            raise EngineAway(f"NATS is away: {why}") from error
        except FAILURES as error:
            raise EngineAway(f"NATS is away: {words_of(error)}") from error

    async def inbox(self) -> Inbox:
        """Return a new inbox; raise EngineAway."""
        if (client := self._client) is None:
            raise EngineAway(f"NATS cannot be reached: {self._why}")
        inbox = Inbox(client.new_inbox())

        async def put(message: Msg) -> None:
            inbox.messages.put_nowait(message)

        try:
            with cancellations_kept():
                async with asyncio.timeout(REQUEST_S):
                    subscription = await client.subscribe(inbox.subject, cb=put)
        except FAILURES as error:
            raise EngineAway(f"NATS is away: {words_of(error)}") from error
        self._inboxes.add(inbox)

        async def end() -> None:
            self._inboxes.discard(inbox)
            if client is self._client:
                async with asyncio.timeout(REQUEST_S):
                    await subscription.unsubscribe()

        inbox._end = end
        return inbox

    async def send(self, subject: str, payload: bytes = b"") -> None:
        """Send without an answer; raise EngineAway."""
        if (client := self._client) is None:
            raise EngineAway(f"NATS cannot be reached: {self._why}")
        try:
            with cancellations_kept():
                async with asyncio.timeout(REQUEST_S):
                    await client.publish(subject, payload)
        except FAILURES as error:
            raise EngineAway(f"NATS is away: {words_of(error)}") from error

    async def close(self) -> None:
        """Disconnect, for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._look is not None:
            await asyncio.wait([self._look], timeout=REQUEST_S)
        if self._client is not None:
            self._drop(self._client, "it was closed")
        await asyncio.gather(*self._ends, return_exceptions=True)

    # ---- within ------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Connect to the first server that lets us; raise EngineAway, or OperatorError if one never will."""
        told: Shown = await shown(self._settings)
        for server in itertools.islice(self._servers, len(self._settings.servers)):
            client = UsedOnce(told, wants_tls=server.startswith("tls://"))
            try:
                with cancellations_kept():
                    async with asyncio.timeout(CONNECT_S):
                        await client.connect(
                            [server],
                            name=self._name,
                            allow_reconnect=False,
                            connect_timeout=int(CONNECT_S),
                            ping_interval=_NEVER_S,  # rule 2 is kept here
                            error_cb=client.on_error,
                            closed_cb=client.on_closed,
                            **told.options,
                        )
            except (*FAILURES, NoTls) as error:
                self._end(client)
                self._why = f"{server}: {words_of(error)}"
                if (to_do := lasting(error)) is not None:
                    raise OperatorError(f"NATS at {server} refuses this node: {words_of(error)}: {to_do}") from error
                continue
            except BaseException:
                self._end(client)
                raise
            if self._client is not None:  # this look was left behind (rule 6)
                self._end(client)
                return
            client.is_up = True
            client.when_closed = functools.partial(self._drop, client, "the connection was lost")
            self._client = client
            self._lost.clear()
            return
        raise EngineAway(f"NATS cannot be reached: {self._why}")

    async def _keep(self) -> None:
        while True:
            wait_s = PING_EVERY_S if await self._looked_after() else RETRY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._lost.wait()
            self._lost.clear()

    async def _looked_after(self) -> bool:
        """Connect, or ask whether the server is there; return False if it is to be tried again soon (rule 6)."""
        client = self._client
        work = self._connect() if client is None else self._ping(client)
        self._look = task = asyncio.create_task(work, name="nats look")
        try:
            await asyncio.wait([task], timeout=LOOK_S)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_heard)
        error: BaseException | None = TimeoutError("a call of nats-py does not return")
        if task.done():
            error = asyncio.CancelledError("a call of nats-py") if task.cancelled() else task.exception()
        if error is None or isinstance(error, OperatorError):
            return True  # a password that is being changed there is tried less often
        if not isinstance(error, EngineAway):
            log.error("nats_client_failed", exc_info=error)
            if client is not None:
                self._drop(client, words_of(error))
        return False

    async def _ping(self, client: UsedOnce) -> None:
        heard = client.stats["in_msgs"]
        try:
            with cancellations_kept():
                async with asyncio.timeout(PING_WAIT_S):
                    await client.rtt(timeout=int(2 * PING_WAIT_S))
        except TimeoutError:
            if client.stats["in_msgs"] == heard:  # else it is only slow, and to begin anew would make it slower
                self._drop(client, "it does not answer")
        except FAILURES as error:
            self._drop(client, words_of(error))

    def _drop(self, client: UsedOnce, why: str) -> None:
        """Let go of a client, at once."""
        if client is not self._client:
            return
        self._client, self._why = None, why
        now = asyncio.get_running_loop().time()
        for waits in self._waiting:
            if not waits.expired():  # one that has just expired, and has not been told yet, cannot be changed any more
                waits.reschedule(now)
        for inbox in self._inboxes:
            inbox.messages.put_nowait(None)
        self._inboxes.clear()
        self._lost.set()
        self._end(client)

    def _end(self, client: UsedOnce) -> None:
        client.when_closed = None
        client.abort()
        task = asyncio.create_task(client.let_go(), name="nats end")
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)


def _heard(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
