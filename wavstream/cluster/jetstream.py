"""The engine over NATS JetStream: the log is one stream with many subjects, the table a bucket of its key-value store.

What is written twice after an answer that did not come is told by its message id, which says who wrote, behind what,
and what (rule 3 of ``engine``): of an entry its checksum, of a message of the log, which is long, a count. A NATS of
several servers answers a second one as it did the first. One server alone refuses it, so what is refused is looked at:
the last message there may be ours, or an earlier one be under way.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import structlog

from wavstream.cluster.engine import EngineAway, Entry, EntryChanged, Logged, WrongSequence
from wavstream.cluster.nats_connection import RETRY_S, Connection, NotAnswered
from wavstream.cluster.nats_delivery import Delivery, Refused, answer_of, ask
from wavstream.cluster.nats_streams import NO_STREAM, Places, make, prepare
from wavstream.cluster.nats_watch import Watch
from wavstream.errors import OperatorError
from wavstream.settings.cluster import ClusterSettings

START_S = 30.0
"""A NATS of three servers that is started with us chooses its leaders within 5 to 15 s."""
LOOK_S = 5.0
"""One that is only looked at runs."""
SAID_AFTER_S = 1.0
HEADERS_BYTES = 1024
"""What a message's headers may be long."""
MARKER_LIFE = "1h"
_SAID_AGAIN_S = 60.0
_TRIES = 3
_WRONG_SEQUENCE = (10071, 10164)
_NOT_FOUND = 404

log = structlog.get_logger(__name__)


class Found(NamedTuple):
    """The last message of a subject."""

    sequence: int
    payload: bytes
    is_deletion: bool
    message_id: str


_NOTHING = Found(0, b"", False, "")


class _Beaten(Exception):
    """Another message is the last of the subject."""

    def __init__(self, found: Found) -> None:
        super().__init__()
        self.found = found


class JetStream:
    """A connection to NATS, and what a cluster has there. ``connect`` makes it."""

    def __init__(self, settings: ClusterSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection
        self._places = Places.of(settings.name)
        self._writer = os.urandom(6).hex()
        self._away_since_s: float | None = None
        self._is_said = False
        self._said_s = -_SAID_AGAIN_S
        self._made_anew: asyncio.Task[None] | None = None
        self.log = JetStreamLog(self, self._places)
        self.table = JetStreamTable(self, self._places)

    @classmethod
    async def connect(cls, settings: ClusterSettings, *, node: str, wait_s: float = START_S) -> JetStream:
        """Connect, and make what is absent; raise OperatorError with one line that says what to do.

        ``wait_s``: for a NATS that is being started.
        """
        return cls(settings, await cls._connect(settings, node=node, wait_s=wait_s, makes=True))

    @classmethod
    async def look(cls, settings: ClusterSettings, *, node: str, wait_s: float = LOOK_S) -> str | None:
        """Return the server of NATS that was reached, and make nothing there; raise OperatorError as ``connect``."""
        connection = await cls._connect(settings, node=node, wait_s=wait_s, makes=False)
        reached = connection.server
        await connection.close()
        return reached

    @staticmethod
    async def _connect(settings: ClusterSettings, *, node: str, wait_s: float, makes: bool) -> Connection:
        connection = Connection(settings, name=f"wavstream {node}")
        try:
            await connection.open(wait_s=wait_s)
            await prepare(connection, settings, wait_s=wait_s, makes=makes)
        except EngineAway as error:
            await connection.close()
            raise OperatorError(f"{error}: look at its servers, and at WAVSTREAM_CLUSTER__NATS_URL") from error
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Disconnect, for good."""
        await self.table.stop()
        if self._made_anew is not None:
            self._made_anew.cancel()
            await asyncio.gather(self._made_anew, return_exceptions=True)
        await self._connection.close()

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self._connection

    @property
    def is_away(self) -> bool:
        """Whether what was asked last got no answer."""
        return self._away_since_s is not None

    async def publish(
        self, stream: str, subject: str, payload: bytes, *, after: int | None, said: str, headers: dict[str, str]
    ) -> int:
        """Write a message and return its sequence; raise _Beaten for a wrong ``after``, EngineAway.

        ``said`` tells this payload from others behind the same sequence, and is the same when it is written again.
        """
        message_id = f"{self._writer}:{subject}:{after}:{said}"
        headers = {**headers, "Nats-Msg-Id": message_id}
        if after is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(after)
        try:
            answered = await self._connection.request(subject, payload, headers)
            return int(self._heard(answer_of(answered.data))["seq"])
        except NotAnswered as error:
            self._make_anew()
            raise self._away(error) from None
        except EngineAway as error:
            raise self._away(error) from None
        except Refused as refused:
            if refused.code not in _WRONG_SEQUENCE:
                raise self._away(EngineAway(f"NATS refuses: {refused}")) from refused
        found = await self.last(stream, subject)
        if found.message_id == message_id:
            return found.sequence
        if found.sequence == after:  # nobody was faster: an earlier try, of a leader that died, is on its way there
            raise EngineAway("NATS refuses: another message is under way there")
        raise _Beaten(found)

    async def last(self, stream: str, subject: str) -> Found:
        """Return the last message of a subject; sequence 0: there is none. Raise EngineAway."""
        try:
            answer = self._heard(await ask(self._connection, f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}))
        except EngineAway as error:
            raise self._away(error) from None
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                if refused.code == NO_STREAM:  # the stream itself
                    self._make_anew()
                    raise self._away(EngineAway(f"NATS refuses: {refused}")) from refused
                self._heard({})
                return _NOTHING
            raise self._away(EngineAway(f"NATS refuses: {refused}")) from refused
        message = answer["message"]
        headers = base64.b64decode(message.get("hdrs") or "")
        is_deletion = b"KV-Operation: " in headers or b"Nats-Marker-Reason: " in headers
        said = re.search(rb"Nats-Msg-Id: (\S+)", headers)
        message_id = said[1].decode() if said else ""
        return Found(int(message["seq"]), base64.b64decode(message.get("data") or ""), is_deletion, message_id)

    async def deliver(self, stream: str, subject: str, policy: str, since: int | None = None) -> Delivery:
        """Begin to read a subject; raise EngineAway."""
        try:
            return await Delivery.open(self._connection, stream=stream, subject=subject, policy=policy, since=since)
        except Refused as refused:
            if refused.code == NO_STREAM:
                self._make_anew()
            raise EngineAway(f"NATS refuses: {refused}") from refused

    async def made_at(self, stream: str) -> str:
        """Return when a stream was made, which tells it from another of its name; raise EngineAway."""
        try:
            return str((await ask(self._connection, f"STREAM.INFO.{stream}"))["created"])
        except Refused as refused:
            if refused.code == NO_STREAM:
                self._make_anew()
            raise EngineAway(f"NATS refuses: {refused}") from refused

    # ---- whether it answers ------------------------------------------------------------------------------------

    def _heard(self, answer: dict[str, object]) -> dict[str, Any]:
        if self._away_since_s is not None:
            if self._is_said:
                away_s = round(asyncio.get_running_loop().time() - self._away_since_s, 1)
                log.info("cluster_engine_back", server=self._connection.server, away_s=away_s)
            self._away_since_s, self._is_said = None, False
        return answer

    def _away(self, error: EngineAway) -> EngineAway:
        now_s = asyncio.get_running_loop().time()
        if self._away_since_s is None:
            self._away_since_s = now_s
        elif (
            not self._is_said
            and now_s - self._away_since_s >= SAID_AFTER_S
            and now_s - self._said_s >= _SAID_AGAIN_S  # one whose disk is full answers looks, and no writes
        ):
            self._is_said, self._said_s = True, now_s
            log.warning("cluster_engine_away", error=str(error))
        return error

    def _make_anew(self) -> None:
        """Make the stream and the bucket again, which somebody has removed or NATS has lost."""
        if self._made_anew is None or self._made_anew.done():
            self._made_anew = asyncio.create_task(self._make(), name="streams")

    async def _make(self) -> None:
        try:
            for stream in await make(self._connection, self._settings):
                log.error("cluster_stream_made_anew", stream=stream)
        except (EngineAway, Refused):  # tried again by whoever writes next
            await asyncio.sleep(SAID_AFTER_S)
        except OperatorError as error:
            log.error("cluster_stream_wrong", error=str(error))
            await asyncio.sleep(_SAID_AGAIN_S)


class JetStreamLog:
    """The tails."""

    def __init__(self, engine: JetStream, places: Places) -> None:
        self._engine = engine
        self._places = places
        self._count = 0
        self._last: dict[str, tuple[int | None, bytes, str]] = {}
        """By subject what was written last: behind which sequence, what, and its number."""

    @property
    def max_payload_bytes(self) -> int:
        """The longest message that it takes."""
        return int(self._engine.connection.info.get("max_payload", 1_000_000)) - HEADERS_BYTES

    async def publish(self, subject: str, payload: bytes, *, after: int | None) -> int:
        """Write a message behind a sequence and return its own; raise WrongSequence, EngineAway."""
        stream, there = self._places.tails, self._places.subjects + subject
        said = self._said(subject, payload, after)
        try:
            return await self._engine.publish(stream, there, payload, after=after, said=said, headers={})
        except _Beaten:
            raise WrongSequence(subject) from None

    def _said(self, subject: str, payload: bytes, after: int | None) -> str:
        """Return the number of this message: that of the last one, if it is that one again, behind the same sequence.

        A checksum of what is written would tell the same, and took 43 us of each 123 kB.
        """
        last = self._last.get(subject)
        if last is None or after is None or last[:2] != (after, payload):
            self._count += 1
            last = self._last[subject] = after, payload, f"{self._count}"
        return last[2]

    async def last(self, subject: str) -> int:
        """Return the sequence of the subject's last message; 0: none. Raise EngineAway."""
        return (await self.newest(subject)).sequence

    async def newest(self, subject: str) -> Logged:
        """Return the subject's last message; sequence 0: none. Raise EngineAway."""
        found = await self._engine.last(self._places.tails, self._places.subjects + subject)
        return Logged(found.sequence, found.payload)

    async def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Logged]:
        """Yield what the subject has behind a sequence, to what is its last message now; raise EngineAway."""
        end, tries = await self.last(subject), 0
        while after < end:
            delivery = await self._deliver(subject, after)
            try:
                while after < end:
                    message = await delivery.next()
                    if message is None:  # who hands out may be behind; or it is too old by now
                        if await self.last(subject) < end:
                            return
                        continue
                    after = message.sequence
                    yield Logged(message.sequence, message.payload)
                    tries = 0
            except EngineAway:
                tries += 1
                if tries == _TRIES:
                    raise
                await asyncio.sleep(RETRY_S)
            finally:
                await delivery.close()

    async def _deliver(self, subject: str, after: int) -> Delivery:
        subject = self._places.subjects + subject
        return await self._engine.deliver(self._places.tails, subject, "by_start_sequence", since=after + 1)


class JetStreamTable:
    """The entries."""

    def __init__(self, engine: JetStream, places: Places) -> None:
        self._engine = engine
        self._places = places
        self._watches: list[Watch] = []

    async def get(self, key: str) -> Entry:
        """Return the entry; revision 0: there is none. Raise EngineAway."""
        found = await self._found(key)
        return Entry(key, b"", 0) if found.is_deletion else Entry(key, found.payload, found.sequence)

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        """Make or change an entry and return its revision; raise EntryChanged, EngineAway."""
        return await self._write(key, value, after=after, headers={})

    async def delete(self, key: str, *, after: int) -> None:
        """Delete an entry; raise EntryChanged, EngineAway."""
        await self._write(key, b"", after=after, headers={"KV-Operation": "DEL", "Nats-TTL": MARKER_LIFE})

    async def watch(self, prefix: str, on_change: Callable[[Entry], None]) -> None:
        """Tell of all entries of which the key begins so, and of each change; raise EngineAway if it cannot begin."""
        watch = Watch(self._deliver, self.get, prefix=prefix, keys=self._places.keys, on_change=on_change)
        self._watches.append(watch)
        try:
            async with asyncio.timeout(START_S):
                await watch.begin()
        except TimeoutError as error:
            self._watches.remove(watch)
            await watch.stop()
            raise EngineAway(watch.why) from error

    async def stop(self) -> None:
        """Watch no more."""
        for watch in self._watches:
            await watch.stop()

    async def _write(self, key: str, value: bytes, *, after: int, headers: dict[str, str]) -> int:
        subject, said = self._places.keys + key, f"{zlib.crc32(value):x}:{len(value)}"
        bucket = self._places.bucket
        try:
            revision = await self._engine.publish(bucket, subject, value, after=after, said=said, headers=headers)
        except _Beaten as beaten:
            if after or not beaten.found.is_deletion:
                raise EntryChanged(key) from None
            # What is made where there was one before is behind what marks that as deleted.
            after = beaten.found.sequence
            try:
                revision = await self._engine.publish(bucket, subject, value, after=after, said=said, headers=headers)
            except _Beaten:
                raise EntryChanged(key) from None
        for watch in self._watches:
            watch.wrote(key, revision, is_there=not headers)
        return revision

    async def _found(self, key: str) -> Found:
        return await self._engine.last(self._places.bucket, self._places.keys + key)

    async def _deliver(self, prefix: str) -> tuple[Delivery, str]:
        bucket = await self._engine.made_at(self._places.bucket)
        subject = f"{self._places.keys}{prefix}>"
        return await self._engine.deliver(self._places.bucket, subject, "last_per_subject"), bucket
