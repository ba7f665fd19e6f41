"""What a write is told that NATS refuses, though the subject's last message is the one that it goes behind.

A leader that died may have passed an earlier try on: until that is there, or is known not to be, its successor refuses
what goes behind the same message (10071, 10164).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wavstream.cluster.engine import EngineAway, EntryChanged, WrongSequence
from wavstream.cluster.jetstream import JetStream
from wavstream.cluster.nats_connection import Connection
from wavstream.settings.cluster import ClusterSettings

AFTER = 7
Write = Callable[[JetStream], Awaitable[object]]
WRITES: dict[str, Write] = {
    "an entry that is changed": lambda engine: engine.table.put("session.a", b"b", after=AFTER),
    "an entry that is deleted": lambda engine: engine.table.delete("session.a", after=AFTER),
    "a message of a tail": lambda engine: engine.log.publish("tail.a.1", b"b", after=AFTER),
}


class Refusing:
    """A NATS of which the last message has this sequence, and which takes nothing."""

    def __init__(self, last: int) -> None:
        self._last = last

    async def request(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Any:
        answer: dict[str, Any] = {"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence"}}
        if subject.startswith("$JS.API.STREAM.MSG.GET."):
            answer = {"message": {"seq": self._last, "data": base64.b64encode(b"a").decode()}}
        return SimpleNamespace(data=json.dumps(answer).encode())


def an_engine(last: int) -> JetStream:
    return JetStream(ClusterSettings(name="c"), cast(Connection, Refusing(last)))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_nobody_was_faster_so_it_is_written_again(write: Write) -> None:
    with pytest.raises(EngineAway, match="another message is under way there"):
        await write(an_engine(AFTER))


async def test_an_entry_that_is_made_where_none_is_may_be_under_way_too() -> None:
    with pytest.raises(EngineAway, match="under way"):
        await an_engine(0).table.put("session.a", b"b", after=0)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_somebody_was_faster(write: Write) -> None:
    with pytest.raises((EntryChanged, WrongSequence)):
        await write(an_engine(AFTER + 1))
