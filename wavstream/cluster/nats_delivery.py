"""The messages of a stream's subjects, in order and without a hole, as JetStream hands them out.

1. Each delivery has a consumer of its own, which lives in the memory of one server of NATS. When that server dies, or
   stands still, nothing comes any more: heartbeats tell silence from that. What hands out is then made anew by whoever
   reads, from where it was.
2. A consumer counts what it hands out. A number that does not follow its predecessor is a hole: the delivery is over.
3. NATS sends no more than is answered (flow control): its question is in the row of messages, and is answered when that
   was read up to there. So what waits here stays small, however slow the reader is.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from wavstream.cluster.engine import EngineAway
from wavstream.cluster.nats_connection import Connection, Inbox, NotAnswered

API = "$JS.API"
HEARTBEAT_S = 0.5
SILENT_S = 1.75
_IDLE_S = 10.0
"""A consumer that nobody listens to any more is gone by then."""
_NANO = 1_000_000_000
NOT_ENABLED = (10039, 10076)
_CONTROL = "100"
_MARKERS = ("DEL", "PURGE")


class Refused(Exception):
    """JetStream understood, and said no."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.status = int(answer.get("code") or 0)
        self.code = int(answer.get("err_code") or 0)
        self.said = str(answer.get("description") or "no reason given")
        super().__init__(f"{self.said} ({self.code})")


class Delivered(NamedTuple):
    """A message as it is in the stream."""

    sequence: int
    subject: str
    payload: bytes
    headers: dict[str, str]
    behind: int
    """How many more there are now."""

    @property
    def is_deletion(self) -> bool:
        """Whether it says that an entry of a bucket is deleted."""
        return self.headers.get("KV-Operation") in _MARKERS or "Nats-Marker-Reason" in self.headers


async def ask(connection: Connection, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what JetStream answers to a request of its API; raise Refused, EngineAway, NotAnswered."""
    payload = b"" if body is None else json.dumps(body).encode()
    answered = await connection.request(f"{API}.{what}", payload)
    return answer_of(answered.data)


def answer_of(data: bytes) -> dict[str, Any]:
    """Return an answer; raise Refused, and EngineAway for an error that passes by itself.

    An account without JetStream is refused as what is away for a while, and is not.
    """
    try:
        answer = json.loads(data)
        error = answer.get("error")
    except (ValueError, AttributeError) as broken:
        raise EngineAway("NATS gave an answer that cannot be read") from broken
    if error is None:
        return dict(answer)
    refused = Refused(error)
    if refused.status == 503 and refused.code not in NOT_ENABLED:
        raise EngineAway(f"NATS is away: {refused}") from refused
    raise refused


class Delivery:
    """What a stream has of a subject, and what comes. ``open`` makes it; it has to be closed."""

    def __init__(self, connection: Connection, inbox: Inbox) -> None:
        self._connection = connection
        self._inbox = inbox
        self._count = 0
        self.at_first = 0
        """How many messages there were when it was opened."""

    @classmethod
    async def open(
        cls, connection: Connection, *, stream: str, subject: str, policy: str, since: int | None = None
    ) -> Delivery:
        """Begin; ``policy`` and ``since`` as JetStream has them. Raise EngineAway, Refused."""
        delivery = cls(connection, await connection.inbox())
        config = {
            "deliver_subject": delivery._inbox.subject,
            "deliver_policy": policy,
            "filter_subject": subject,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_S * _NANO),
            "inactive_threshold": int(_IDLE_S * _NANO),
            "mem_storage": True,
            "num_replicas": 1,
        }
        if since is not None:
            config["opt_start_seq"] = since
        try:
            made = await ask(connection, f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
        except NotAnswered as error:
            await delivery._inbox.close()
            raise EngineAway(str(error)) from error
        except BaseException:
            await delivery._inbox.close()
            raise
        delivery.at_first = int(made.get("num_pending") or 0)
        return delivery

    async def next(self) -> Delivered | None:
        """Return the next message; None: NATS says that there is nothing more now. Raise EngineAway (rules 1, 2)."""
        messages = self._inbox.messages
        while True:
            if messages.empty():
                try:
                    async with asyncio.timeout(SILENT_S):
                        message = await messages.get()
                except TimeoutError as error:
                    raise EngineAway("NATS has stopped to hand out messages") from error
            else:  # of the thousands of a tail most: a timeout for each costs as much as reading it
                message = messages.get_nowait()
            if message is None:
                raise EngineAway("the connection to NATS was lost")
            headers = message.headers or {}
            if headers.get("Status") == _CONTROL and not message.data:
                if await self._is_idle(message, headers):
                    return None
                continue
            return self._taken(message, headers)

    async def close(self) -> None:
        """Take nothing more; what hands out ends by itself then."""
        await self._inbox.close()

    def _taken(self, message: Msg, headers: dict[str, str]) -> Delivered:
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<number>.<time>.<behind>; or with the domain and the
        # account before the stream, and a random word at the end.
        words = message.reply.split(".")
        at = 5 if len(words) == 9 else 7
        if len(words) < 9 or words[1] != "ACK":
            raise EngineAway("NATS handed out a message that cannot be read")
        sequence, number, behind = int(words[at]), int(words[at + 1]), int(words[at + 3])
        if number != self._count + 1:  # rule 2
            raise EngineAway("NATS has left out messages")
        self._count = number
        return Delivered(sequence, message.subject, message.data, headers, behind)

    async def _is_idle(self, message: Msg, headers: dict[str, str]) -> bool:
        if message.reply:
            await self._connection.send(message.reply)  # rule 3
            return False
        if stalled := headers.get("Nats-Consumer-Stalled"):
            await self._connection.send(stalled)
            return False
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._count:  # rule 2
            raise EngineAway("NATS has left out messages")
        return True
