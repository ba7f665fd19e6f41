"""Workers talk to each other: several of them in one process, over real inboxes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from contextlib import closing

import pytest

from tests.support.waiting import WAIT_S, begun, until
from tests.support.workers import Inboxes, connection, workers
from wavstream.workers import inbox
from wavstream.workers.boundary import Elsewhere, RelayedPeer, WorkerUnavailable, owner_of
from wavstream.workers.inbox import PART_BYTES


class Taken:
    """Keeps what is handed over."""

    def __init__(self) -> None:
        self.connections: list[tuple[socket.socket, bytes, bool]] = []

    def __call__(
        self, descriptor: int, received: bytes, *, is_answered: bool, relayed: RelayedPeer | None = None
    ) -> None:
        self.connections.append((socket.socket(fileno=descriptor), received, is_answered))

    def close(self) -> None:
        for taken, _, _ in self.connections:
            taken.close()


async def echo(body: bytes) -> bytes:
    return b"heard " + body


async def broken(_body: bytes) -> bytes:
    raise ZeroDivisionError


def test_the_owner_of_a_session_is_the_same_everywhere_and_sessions_are_spread() -> None:
    counted = Counter(owner_of(f"call-{number}", 4) for number in range(4_000))
    assert set(counted) == {0, 1, 2, 3}
    assert min(counted.values()) > 900
    assert [owner_of(name, 3) for name in ("call-77", "a", "\udcff", "")] == [0, 2, 1, 0]


async def test_a_session_of_another_worker_is_elsewhere() -> None:
    async with workers(2) as (zero, one):
        name = next(name for name in map(str, range(100)) if owner_of(name, 2) == 1)
        one.check_here(name)
        with pytest.raises(Elsewhere) as raised:
            zero.check_here(name)
        assert raised.value.worker == zero.owner(name) == 1


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 5_000_000])
async def test_a_question_of_any_size_is_answered(size: int) -> None:
    async with workers(3) as (zero, one, two):
        for each in (one, two):
            each.answers("echo", echo)
        body = os.urandom(size)
        assert await zero.ask(2, "echo", body) == b"heard " + body
        assert await zero.ask_all("echo", body) == {1: b"heard " + body, 2: b"heard " + body}


async def test_answers_that_take_their_time_go_to_their_own_questions() -> None:
    async with workers(2) as (zero, one):
        gates = {name: asyncio.Event() for name in (b"first", b"second")}

        async def answer(body: bytes) -> bytes:
            await gates[body].wait()
            return body

        one.answers("wait", answer)
        first, second = [await begun(zero.ask(1, "wait", name)) for name in gates]
        gates[b"second"].set()
        assert await second == b"second"
        gates[b"first"].set()
        assert await first == b"first"


@pytest.mark.parametrize("question", ["broken", "unknown"])
async def test_a_question_that_cannot_be_answered_finds_its_worker_unavailable(question: str) -> None:
    async with workers(2) as (zero, one):
        one.answers("broken", broken)
        one.answers("echo", echo)
        with pytest.raises(WorkerUnavailable):
            await zero.ask(1, question)
        assert await zero.ask_all(question) == {}
        assert await zero.ask(1, "echo") == b"heard "


async def test_who_does_not_answer_in_time_is_unavailable_and_what_it_answers_later_is_nothing() -> None:
    inboxes = Inboxes(2)
    with closing(inboxes):
        zero, one = inboxes.worker(0, wait_s=0.05), inboxes.worker(1)
        asked: list[bytes] = []

        async def note(body: bytes) -> bytes:
            asked.append(body)
            return body

        one.answers("note", note)
        zero.open()
        with pytest.raises(WorkerUnavailable, match="worker 1"):
            await zero.ask(1, "note", b"late")
        one.open()  # nobody waits for the first any more
        assert await zero.ask(1, "note", b"in time") == b"in time"
        assert asked == [b"in time"]
        await zero.close()
        await one.close()


async def test_what_is_told_is_heard_in_order_by_all_others() -> None:
    async with workers(3) as (zero, one, two):
        heard: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
        for each in (zero, one, two):

            async def hear(body: bytes, mine: list[bytes] = heard[each.index]) -> bytes:
                mine.append(body)
                return b""

            each.answers("news", hear)
        news = [bytes([number]) for number in range(200)]
        for body in news:
            one.tell_all("news", body)
        await until(lambda: len(heard[0]) == len(heard[2]) == len(news))
        assert heard == {0: news, 1: [], 2: news}


@pytest.mark.parametrize("is_answered", [False, True])
async def test_a_connection_is_handed_over_with_what_was_read(is_answered: bool) -> None:
    taken = Taken()
    peer, accepted = connection()
    with closing(peer), closing(taken):
        async with workers(2) as (zero, one):
            one.takes(taken)
            read = b"GET / HTTP/1.1\r\n" * 10_000  # in several parts
            with accepted:
                zero.hand_over(1, accepted.fileno(), read, is_answered=is_answered)
            await until(lambda: taken.connections)
        [(there, received, said)] = taken.connections
        assert (received, said) == (read, is_answered)
        assert not os.get_inheritable(there.fileno())
        peer.sendall(b"more")
        there.settimeout(WAIT_S)
        assert there.recv(100) == b"more"
        there.close()
        peer.settimeout(WAIT_S)
        assert peer.recv(100) == b""  # the worker that handed it over keeps nothing of it


async def test_what_is_sent_to_a_worker_that_is_started_again_waits_for_it() -> None:
    inboxes, taken = Inboxes(2), Taken()
    peer, accepted = connection()
    with closing(inboxes), closing(peer), closing(taken):
        zero, dead = inboxes.worker(0), inboxes.worker(1)
        zero.open()
        dead.open()
        await dead.close()
        with accepted:
            zero.hand_over(1, accepted.fileno(), b"read", is_answered=False)
        question = await begun(zero.ask(1, "echo", b"?"))
        successor = inboxes.worker(1)
        successor.takes(taken)
        successor.answers("echo", echo)
        successor.open()
        assert await question == b"heard ?"
        assert [received for _, received, _ in taken.connections] == [b"read"]
        for each in (zero, successor):
            await each.close()


async def test_who_dies_in_the_middle_of_a_message_leaves_nothing_of_it() -> None:
    inboxes, taken = Inboxes(2), Taken()
    peer, accepted = connection()
    with closing(inboxes), closing(peer), closing(taken):
        half = [*inbox._parts(inbox.Message(0, inbox.Kind.CONNECTION, body=b"x" * 3 * PART_BYTES))][:2]
        for part in half:
            inbox._send(inboxes.sending[1], part, None)
        zero, one = inboxes.worker(0), inboxes.worker(1)
        one.takes(taken)
        one.open()
        with accepted:
            zero.hand_over(1, accepted.fileno(), b"whole", is_answered=False)
        await until(lambda: taken.connections)
        assert [received for _, received, _ in taken.connections] == [b"whole"]
        await one.close()


async def test_the_end_of_a_message_whose_beginning_the_dead_worker_has_read_is_dropped() -> None:
    inboxes, taken = Inboxes(2), Taken()
    peer, accepted = connection()
    with closing(inboxes), closing(peer), closing(taken):
        zero, one = inboxes.worker(0), inboxes.worker(1)
        with accepted:
            zero.hand_over(1, accepted.fileno(), b"x" * 2 * PART_BYTES, is_answered=False)
        first, _ = inbox._receive(inboxes.receiving[1])
        assert first
        one.takes(taken)
        one.answers("echo", echo)
        one.open()
        zero.open()
        assert await zero.ask(1, "echo", b"next") == b"heard next"
        assert not taken.connections
        peer.settimeout(WAIT_S)
        assert peer.recv(100) == b""
        await zero.close()
        await one.close()


async def test_an_inbox_that_nobody_empties_takes_so_much_and_what_waits_too_long_ends() -> None:
    inboxes = Inboxes(2)
    peer, accepted = connection()
    with closing(inboxes), closing(peer):
        zero = inboxes.worker(0, wait_s=0.2)
        large = b"x" * 1_000_000

        def hand_over_many() -> None:
            for _ in range(inbox.QUEUE_BYTES // len(large) + 50):
                zero.hand_over(1, accepted.fileno(), large, is_answered=False)

        with pytest.raises(WorkerUnavailable):
            hand_over_many()
        accepted.close()
        outbound = zero._outbound[1]
        await until(lambda: not outbound._queue)
        assert outbound._queued_bytes == 0
        while True:  # the kernel's part is there still
            try:
                _, descriptor = inbox._receive(inboxes.receiving[1])
            except BlockingIOError:
                break
            if descriptor is not None:
                os.close(descriptor)
        peer.settimeout(WAIT_S)
        assert peer.recv(100) == b""  # no copy of it is left anywhere
        await zero.close()


async def test_what_an_inbox_does_not_take_at_once_arrives_in_order() -> None:
    async with workers(2) as (zero, one):
        heard: list[bytes] = []

        async def hear(body: bytes) -> bytes:
            heard.append(body[:1])
            return b""

        one.answers("news", hear)
        news = [bytes([number]) + b"x" * 1_000_000 for number in range(12)]
        for body in news:
            zero.tell(1, "news", body)
        await until(lambda: len(heard) == len(news))
        assert heard == [body[:1] for body in news]
