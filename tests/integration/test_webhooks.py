"""The outbox delivered: a real catalog, real HTTP on loopback, and time that the test moves."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from structlog.testing import capture_logs

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.support.processes import Process, start
from tests.support.receiver import WAIT_S, Answer, Received, Receiver, always
from tests.support.recordings import a_recording
from tests.support.virtual_clock import START, VirtualClock
from tests.support.wanted import USUAL
from wavstream.access.secret_box import SecretBox
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.registry import VOCABULARIES
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.clock_corrections import ClockCorrections
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.clock import ClockJump
from wavstream.errors import DependencyError
from wavstream.model.app import App, SigningSecret, WebhookTarget
from wavstream.model.fact import Announcement, Fact, command_done, recording_fact
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Receipt, Recording, Status
from wavstream.webhooks.app_queue import (
    MAX_CONCURRENT_DELIVERIES,
    MAX_UNSETTLED,
    Clock,
    Delivery,
    Outcomes,
    system_clock,
)
from wavstream.webhooks.client import KEEPALIVE_S, WebhookClient
from wavstream.webhooks.dispatcher import RESCAN_S, Dispatcher
from wavstream.webhooks.message import MessageBuilder
from wavstream.webhooks.resolver import PublicResolver
from wavstream.webhooks.signing import new_secret, rotated

DATABASES = BOTH

SEAL = SecretBox(b"m" * 32)
REFUSE = always(Answer(500))
TAKE = always(Answer(200))


def fact(number: int, *, app_id: str = "shop", session_id: str = "s", at: datetime = START) -> Fact:
    return command_done(
        app_id=app_id, session_id=session_id, operation_id=f"{app_id}-{session_id}-{number}", command="record/start",
        request_id=f"c{number}", error=None, at=at,
    )  # fmt: skip


async def add_app(catalog: Catalog, app_id: str, url: str) -> None:
    app = App(app_id, START, webhook=WebhookTarget(url))
    assert await catalog.apps.add(app, key_hash="h", key_lookup=f"lookup of {app_id}")


@asynccontextmanager
async def delivering(
    catalog: Catalog,
    clock: VirtualClock | None = None,
    *,
    stop_s: float = WAIT_S,
    client: type[WebhookClient] = WebhookClient,
    retry_s: float = 1.0,
) -> AsyncIterator[Dispatcher]:
    """With a clock, what is written from here on is not found by looking now and then unless the clock moves."""
    resolver, tls = PublicResolver(), ssl.create_default_context()

    def connect() -> WebhookClient:
        return client(
            resolver=resolver, tls=tls, allow_http=True, allow_localhost=True, max_connections=100, timeout_s=3600
        )

    dispatcher = Dispatcher(
        Delivery(
            outbox=catalog.outbox,
            apps=catalog.apps,
            connect=connect,
            messages=MessageBuilder(
                vocabularies=VOCABULARIES,
                open_secret=lambda sealed, app_id: SEAL.open(sealed, owner=app_id),
                key_of=SigningKeys(b"m" * 32).of,
                file_url=lambda recording, ext, now, ttl_s: f"https://rec.example/{recording['id']}.{ext}",
            ),
            clock=system_clock() if clock is None else Clock(clock.now, clock.call_later),
            retry_s=retry_s,
        )
    )
    dispatcher.start()
    if clock is not None:
        await clock.armed(RESCAN_S)
    yield dispatcher
    await dispatcher.stop(stop_s)
    await resolver.close()


@pytest.fixture
async def receiver(catalog: Catalog) -> AsyncIterator[Receiver]:
    """Of the app ``shop``."""
    async with Receiver() as started:
        await add_app(catalog, "shop", started.url)
        yield started


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def uids(requests: list[Received]) -> list[str]:
    return [request.message["command_uid"] for request in requests]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state in another place of this process that can only be asked for."""
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await asyncio.sleep(0.001)


async def nothing_waits(catalog: Catalog) -> bool:
    return await catalog.outbox.backlog() == []


# ---- what is told, and when --------------------------------------------------------------------------------------


async def test_a_finished_recording_is_told_when_its_row_says_so(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    ongoing = Recording(
        id="r1", app_id="shop", session_id="s", status=Status.ONGOING, options=RecordingOptions(), object_key="k",
        file_name="f.wav", created_at=START,
    )  # fmt: skip
    done = replace(ongoing, status=Status.AVAILABLE, receipt=Receipt(8000, 2, 61_600 * 8, "9f", 80))
    told = recording_fact(done, url="https://rec.example/r1.wav", at=START)
    seen: list[Recording | None] = []

    async def look(_: Received) -> Answer:
        seen.append(await catalog.recordings.get("r1"))
        return Answer()

    receiver.answer = look
    async with delivering(catalog, clock):
        assert await catalog.recordings.save(ongoing)
        assert await catalog.recordings.save(done, [told])
        await receiver.wait_for(1)
        assert await catalog.recordings.save(done, [told])
        await catalog.outbox.announce([fact(1)])
        requests = await receiver.wait_for(2)

    assert seen[0] == done
    assert [(each["event"], each["sequence"]) for each in receiver.messages] == [
        ("recording.completed", 1), ("command.result", 2),
    ]  # fmt: skip
    assert requests[0].message["duration"] == 62
    assert requests[0].headers["webhook-id"] == told.id


async def test_a_change_that_is_refused_is_not_told(catalog: Catalog, receiver: Receiver) -> None:
    deleted = Recording(
        id="r1", app_id="shop", session_id="s", status=Status.DELETED, options=RecordingOptions(), object_key="k",
        file_name="f.wav", created_at=START,
    )  # fmt: skip
    late = replace(deleted, status=Status.AVAILABLE)
    await catalog.recordings.save(deleted)

    assert not await catalog.recordings.save(late, [recording_fact(late, url="u", at=START)])
    assert await nothing_waits(catalog)


async def test_a_receiver_verifies_what_it_gets_before_during_and_after_a_rotation(
    catalog: Catalog, receiver: Receiver
) -> None:
    old, new = new_secret(), new_secret()
    now = datetime.now(UTC)
    first = rotated((), SigningSecret(SEAL.seal(old, owner="shop"), now - timedelta(days=9)))
    both = rotated(first, SigningSecret(SEAL.seal(new, owner="shop"), now))
    after = rotated(first, SigningSecret(SEAL.seal(new, owner="shop"), now - timedelta(days=2)))
    verified = []
    for number, secrets in enumerate((first, both, after)):
        await catalog.apps.change(App("shop", START, webhook=WebhookTarget(receiver.url, secrets=secrets)))
        async with delivering(catalog):
            await catalog.outbox.announce([fact(number, at=now)])
            request = (await receiver.wait_for(number + 1))[number]
        for secret in (old, new):
            try:
                verified.append(Webhook(secret).verify(request.body, dict(request.headers))["command_uid"])
            except WebhookVerificationError:
                verified.append("")

    assert verified == ["c0", "", "c1", "c1", "", "c2"]


async def test_a_changed_target_is_used_by_the_next_try(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    receiver.answer = REFUSE
    async with delivering(catalog, clock), Receiver() as other:
        await catalog.outbox.announce([fact(1)])
        await clock.armed(1)
        await catalog.apps.change(App("shop", START, webhook=WebhookTarget(other.url)))
        clock.advance(1)
        requests = await other.wait_for(1)

    assert requests[0].headers["webhook-id"] == receiver.requests[0].headers["webhook-id"]


async def test_what_an_app_wants_no_more_becomes_a_dead_letter(catalog: Catalog, receiver: Receiver) -> None:
    await catalog.outbox.announce([fact(1)])
    await catalog.apps.change(App("shop", START))
    async with delivering(catalog):
        await until(lambda: nothing_waits(catalog))

    assert receiver.requests == []
    [letter] = (await catalog.dead_letters.page("shop", limit=10)).data
    assert letter.error == "the app has no webhook URL"


async def test_a_message_that_cannot_be_signed_or_made_is_not_sent_and_waits(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    other_key = SigningSecret(SecretBox(b"n" * 32).seal(new_secret(), owner="shop"), START)
    await catalog.apps.change(App("shop", START, webhook=WebhookTarget(receiver.url, secrets=(other_key,))))
    await add_app(catalog, "bank", receiver.url)
    async with delivering(catalog, clock):
        await catalog.outbox.announce([fact(1), replace(fact(1, app_id="bank"), body={})])
        await until(lambda: failed(catalog, 2))

    assert receiver.requests == []
    errors = [(await only_due(catalog, app_id)).error or "" for app_id in ("shop", "bank")]
    assert "master key" in errors[0]
    assert "could not be made" in errors[1]


async def only_due(catalog: Catalog, app_id: str) -> Announcement:
    [announcement] = (await catalog.outbox.due(app_id, START + timedelta(hours=1), 10)).announcements
    return announcement


# ---- order and tries ---------------------------------------------------------------------------------------------


async def test_facts_of_a_session_arrive_in_order_while_tries_fail(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    receiver.answer = REFUSE
    async with delivering(catalog, clock):
        await catalog.outbox.announce([fact(1), fact(2), fact(3)])
        await clock.armed(1)
        clock.advance(1)
        await clock.armed(5)
        receiver.answer = TAKE
        clock.advance(5)
        requests = await receiver.wait_for(5)

    assert uids(requests) == ["c1", "c1", "c1", "c2", "c3"]
    assert [each["sequence"] for each in receiver.messages] == [1, 1, 1, 2, 3]
    assert len({request.headers["webhook-id"] for request in requests}) == 3


@pytest.mark.parametrize("by", [timedelta(hours=-1), timedelta(days=3)])
async def test_a_clock_that_jumps_between_two_tries_neither_holds_up_the_next_nor_has_it_given_up(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock, by: timedelta
) -> None:
    receiver.answer = REFUSE
    async with delivering(catalog, clock) as dispatcher:
        await catalog.outbox.announce([fact(1)])
        await clock.armed(1)
        before = clock.now()
        clock.time += by
        dispatcher.clock_jumped(by)
        moved = ClockJump(by=by, since=START, until=before)
        await ClockCorrections(catalog.database).move(moved, None)
        dispatcher.look_again()
        if by < timedelta(0):
            await clock.armed(1)
            clock.advance(1)
        await clock.armed(5)  # the second try has failed, and there is a third
        receiver.answer = TAKE
        clock.advance(5)
        requests = await receiver.wait_for(3)

    assert uids(requests) == ["c1", "c1", "c1"]
    assert (await catalog.dead_letters.page("shop", limit=9)).data == ()


async def test_a_session_whose_fact_is_not_taken_does_not_hold_up_another(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    async def refuse_one(request: Received) -> Answer:
        return Answer(500 if request.message["session_uuid"] == "bad" else 200)

    receiver.answer = refuse_one
    async with delivering(catalog, clock):
        await catalog.outbox.announce([fact(n, session_id=session) for n in range(3) for session in ("bad", "good")])
        await clock.armed(1)
        await receiver.wait_for(4)

    told = [(each["session_uuid"], each["command_uid"]) for each in receiver.messages]
    assert sorted(told) == [("bad", "c0"), ("good", "c0"), ("good", "c1"), ("good", "c2")]


async def test_a_message_is_tried_for_a_day_then_kept_and_the_next_has_its_turn(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    tries: list[float] = []

    async def refuse_first(request: Received) -> Answer:
        if request.message["command_uid"] == "c2":
            return Answer()
        tries.append((clock.now() - START).total_seconds())
        return Answer(503)

    receiver.answer = refuse_first
    async with delivering(catalog, clock):
        await catalog.outbox.announce([fact(1), fact(2)])
        for delay_s in [1, 5, 30, 120, *[600] * 143]:
            await clock.armed(delay_s)
            clock.advance(delay_s)
        requests = await receiver.wait_for(149)

    assert tries[:7] == [0, 1, 6, 36, 156, 756, 1356]
    assert (len(tries), tries[-1]) == (148, 156 + 143 * 600)
    assert uids(requests) == ["c1"] * 148 + ["c2"]
    [letter] = (await catalog.dead_letters.page("shop", limit=10)).data
    assert (letter.fact.id, letter.attempts, letter.error) == (fact(1).id, 148, "answered 503")


async def test_the_log_says_once_that_an_apps_webhooks_fail_and_once_that_they_arrive_again(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    receiver.answer = REFUSE
    with capture_logs() as logs:
        async with delivering(catalog, clock) as dispatcher:
            await catalog.outbox.announce([fact(1)])
            await clock.armed(1)
            await catalog.outbox.announce([fact(1, session_id="t")])
            await receiver.wait_for(2)
            await until(lambda: failed(catalog, 2))
            receiver.answer = TAKE
            # Another session's is taken while the first is still to be tried again: that says nothing of the first.
            await catalog.outbox.announce([fact(1, session_id="u")])
            await receiver.wait_for(3)
            await until(lambda: is_true(dispatcher.outcomes.delivered == 1))
            said_before = [entry["event"] for entry in logs]
            clock.advance(1)
            await until(lambda: nothing_waits(catalog))

    assert said_before == ["webhooks_failing"]
    assert logs == [
        {
            "event": "webhooks_failing", "log_level": "warning", "app_id": "shop", "webhook_id": fact(1).id,
            "error": "answered 500",
        },
        {"event": "webhooks_recovered", "log_level": "info", "app_id": "shop", "webhook_id": fact(1).id},
    ]  # fmt: skip


async def test_the_failure_of_the_next_webhook_is_logged_once_the_first_was_given_up(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    receiver.answer = REFUSE
    clock.time = START + timedelta(hours=24, seconds=-1)
    with capture_logs() as logs:
        async with delivering(catalog, clock):
            await catalog.outbox.announce([fact(1)])
            await clock.armed(1)
            clock.advance(1)
            await until(lambda: nothing_waits(catalog))
            await catalog.outbox.announce([fact(2, at=clock.now())])
            await clock.armed(1)

    assert [(entry["event"], entry["webhook_id"]) for entry in logs] == [
        ("webhooks_failing", fact(1).id),
        ("webhook_given_up", fact(1).id),
        ("webhooks_failing", fact(2).id),
    ]


async def test_a_dead_letter_that_is_replayed_arrives_with_its_id_and_sequence(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    receiver.answer = REFUSE
    clock.time = START + timedelta(hours=24)
    async with delivering(catalog, clock) as dispatcher:
        await catalog.outbox.announce([fact(1)])
        await until(lambda: nothing_waits(catalog))
        receiver.answer = TAKE
        assert await catalog.dead_letters.replay("shop", [fact(1).id], clock.now()) == 1
        first, again = await receiver.wait_for(2)

    assert again.headers["webhook-id"] == first.headers["webhook-id"] == fact(1).id
    assert again.body == first.body
    assert (await catalog.dead_letters.page("shop", limit=10)).data == ()
    assert dispatcher.outcomes == Outcomes(delivered=1, failed=1, dead=1)
    times = {sample.name: sample.value for sample in dispatcher.outcomes.times.family("times", "").samples}
    assert times["times_count"] == 1


async def test_a_slow_receiver_of_one_app_does_not_hold_up_another_apps(catalog: Catalog, receiver: Receiver) -> None:
    go_on = asyncio.Event()

    async def slow(_: Received) -> Answer:
        await go_on.wait()
        return Answer()

    receiver.answer = slow
    async with delivering(catalog), Receiver() as quick:
        await add_app(catalog, "bank", quick.url)
        await catalog.outbox.announce([fact(1, session_id=f"s{n}") for n in range(3 * MAX_CONCURRENT_DELIVERIES)])
        await receiver.wait_for(MAX_CONCURRENT_DELIVERIES)
        await catalog.outbox.announce(
            [fact(1, app_id="bank", session_id=f"s{n}") for n in range(3 * MAX_CONCURRENT_DELIVERIES)]
        )
        await quick.wait_for(3 * MAX_CONCURRENT_DELIVERIES)
        assert len(receiver.requests) == MAX_CONCURRENT_DELIVERIES
        go_on.set()
        await receiver.wait_for(3 * MAX_CONCURRENT_DELIVERIES)

    assert receiver.connections == MAX_CONCURRENT_DELIVERIES


async def test_while_all_tries_of_an_app_are_busy_nothing_is_asked_for_in_vain(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    go_on = asyncio.Event()

    async def refuse_one_and_hold_the_others(request: Received) -> Answer:
        if request.message["session_uuid"] == "bad":
            return Answer(500)
        await go_on.wait()
        return Answer()

    receiver.answer = refuse_one_and_hold_the_others
    async with delivering(catalog, clock):
        await catalog.outbox.announce([fact(1, session_id="bad")])
        await clock.armed(1)
        await catalog.outbox.announce([fact(1, session_id=f"s{n}") for n in range(3 * MAX_CONCURRENT_DELIVERIES)])
        await receiver.wait_for(1 + MAX_CONCURRENT_DELIVERIES)
        clock.advance(1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert [alarm.at for alarm in clock.alarms if alarm.at <= clock.now()] == []
        go_on.set()
        await receiver.wait_for(2 + 3 * MAX_CONCURRENT_DELIVERIES)


async def test_what_waits_behind_busy_tries_is_not_told_once_its_recording_is_erased(
    catalog: Catalog, receiver: Receiver
) -> None:
    go_on = asyncio.Event()

    async def slow(_: Received) -> Answer:
        await go_on.wait()
        return Answer()

    receiver.answer = slow
    count = MAX_CONCURRENT_DELIVERIES + 2
    receipt = Receipt(sample_rate=8000, channels=1, samples=8000, audio_sha256="", size_bytes=16_044)
    made = [
        replace(
            a_recording(f"r{n}", status=Status.AVAILABLE, app_id="shop", session_id=f"s{n}"),
            started_at=START, ended_at=START, receipt=receipt,
        )
        for n in range(count)
    ]  # fmt: skip
    for n, each in enumerate(made):  # so that all are read at once
        at = START + timedelta(milliseconds=n)
        await catalog.recordings.save(each, [recording_fact(each, url="https://rec.example/f", at=at)])
    async with delivering(catalog) as dispatcher:
        await receiver.wait_for(MAX_CONCURRENT_DELIVERIES)
        erased = made[-2:-1]
        assert await catalog.erasures.begin(erased, Status.DELETED, by="x", now=START)
        await dispatcher.forget(erased[0].id)
        go_on.set()
        await until(lambda: nothing_waits(catalog))
    told = {request.message["session_uuid"] for request in receiver.requests}
    assert told == {f"s{n}" for n in range(count)} - {erased[0].session_id}


async def test_outcomes_on_their_way_to_the_disk_do_not_keep_the_next_from_being_sent(
    catalog: Catalog, database: FaultyDatabase, receiver: Receiver
) -> None:
    disk = asyncio.Event()
    database.gates = {"Outbox.mark_delivered": disk}
    sessions = MAX_UNSETTLED + MAX_CONCURRENT_DELIVERIES
    await catalog.outbox.announce([fact(1, session_id=f"s{n}") for n in range(sessions)])
    async with delivering(catalog):
        await receiver.wait_for(MAX_UNSETTLED)
        disk.set()
        await receiver.wait_for(sessions)
        await until(lambda: nothing_waits(catalog))
    assert len({request.message["session_uuid"] for request in receiver.requests}) == len(receiver.requests)


async def test_a_receiver_that_is_down_for_an_hour_gets_all_of_it_and_costs_a_timer_meanwhile(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    receiver.answer = REFUSE
    sessions = 40
    async with delivering(catalog, clock):
        await catalog.outbox.announce([fact(n, session_id=f"s{s}") for s in range(sessions) for n in range(3)])
        tried = 0
        for delay_s in (1, 5, 30, 120, 600, 600, 600, 600, 600, 600):
            tried += sessions
            await receiver.wait_for(tried)
            await until(lambda tried=tried: failed(catalog, tried))  # type: ignore[misc]
            await clock.armed(delay_s)
            clock.advance(delay_s)
        receiver.answer = TAKE
        await until(lambda: nothing_waits(catalog))

    assert clock.most_alarms <= 3
    taken = [each for each in receiver.messages if each["sequence"] > 1]
    assert len(taken) == 2 * sessions


async def failed(catalog: Catalog, tries: int) -> bool:
    count = text("SELECT sum(attempts) FROM outbox")
    return await catalog.database.write(lambda connection: connection.execute(count).scalar_one() == tries)


# ---- restarts ----------------------------------------------------------------------------------------------------


async def test_what_was_written_while_nobody_delivered_is_delivered_at_the_start(
    catalog: Catalog, receiver: Receiver
) -> None:
    await catalog.outbox.announce([fact(1), fact(2)])
    async with delivering(catalog):
        assert uids(await receiver.wait_for(2)) == ["c1", "c2"]


async def test_a_restart_keeps_to_the_time_of_the_next_try(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    receiver.answer = REFUSE
    async with delivering(catalog, clock):
        await catalog.outbox.announce([fact(1)])
        await clock.armed(1)
        clock.advance(1)
        await clock.armed(5)
    async with delivering(catalog, clock) as dispatcher:
        await clock.armed(5)
        assert (len(receiver.requests), dispatcher.pending) == (2, 1)
        clock.advance(5)
        await receiver.wait_for(3)


async def test_what_was_delivered_long_ago_is_deleted(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    async def rows() -> int:
        count = text("SELECT count(*) FROM outbox")
        return await catalog.database.write(lambda connection: connection.execute(count).scalar_one())

    async with delivering(catalog, clock):
        await catalog.outbox.announce([fact(1)])
        await until(lambda: nothing_waits(catalog))
        assert await rows() == 1
    clock.advance(90_000)
    async with delivering(catalog, clock):
        assert await rows() == 0


async def test_what_is_told_while_the_connections_of_a_quiet_app_are_closed_is_delivered(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    closing, go_on = asyncio.Event(), asyncio.Event()

    class SlowToClose(WebhookClient):
        async def __aexit__(self, *error: Any) -> None:
            closing.set()
            await go_on.wait()
            await super().__aexit__(*error)

    async with delivering(catalog, clock, client=SlowToClose):
        await catalog.outbox.announce([fact(1)])
        await clock.armed(KEEPALIVE_S)
        await until(lambda: nothing_waits(catalog))
        clock.advance(KEEPALIVE_S)
        await closing.wait()
        await catalog.outbox.announce([fact(2)])
        go_on.set()
        await until(lambda: nothing_waits(catalog))

    assert uids(receiver.requests) == ["c1", "c2"]


async def test_what_another_process_wrote_is_found_by_looking_now_and_then(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock, database: FaultyDatabase
) -> None:
    async with delivering(catalog, clock):
        other = await Catalog.open(database.where, is_wanted=USUAL)
        await other.outbox.announce([fact(1)])
        await other.database.close()
        clock.advance(RESCAN_S)
        await receiver.wait_for(1)


async def test_a_stop_waits_for_the_answer_to_what_was_sent(catalog: Catalog, receiver: Receiver) -> None:
    answering, stopping = asyncio.Event(), asyncio.Event()

    async def slow(_: Received) -> Answer:
        answering.set()
        await stopping.wait()
        return Answer()

    receiver.answer = slow
    async with delivering(catalog):
        await catalog.outbox.announce([fact(1), fact(2)])
        await answering.wait()
        asyncio.get_running_loop().call_soon(stopping.set)

    assert uids(receiver.requests) == ["c1"]
    due = await catalog.outbox.due("shop", datetime.now(UTC), 10)
    assert [each.fact.id for each in due.announcements] == [fact(2).id]


async def test_what_was_sent_but_not_answered_before_the_stop_is_sent_again_with_its_id(
    catalog: Catalog, receiver: Receiver
) -> None:
    never = asyncio.Event()

    async def silent(_: Received) -> Answer:
        await never.wait()
        return Answer()

    receiver.answer = silent
    async with delivering(catalog, stop_s=0):
        await catalog.outbox.announce([fact(1)])
        await receiver.wait_for(1)
    receiver.answer = TAKE
    async with delivering(catalog):
        first, again = await receiver.wait_for(2)
    never.set()

    assert (again.headers["webhook-id"], again.body) == (first.headers["webhook-id"], first.body)


async def test_an_outbox_that_cannot_be_read_for_a_while_is_read_again(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    async with delivering(catalog, clock) as dispatcher:
        await catalog.outbox.announce([fact(1)])
        await receiver.wait_for(1)
        await until(lambda: nothing_waits(catalog))
        await catalog.outbox.announce([])
        await rename(catalog, "outbox", "away")
        dispatcher.wake("shop")
        await clock.armed(1)
        await rename(catalog, "away", "outbox")
        await catalog.outbox.announce([fact(2)])
        clock.advance(1)
        assert uids(await receiver.wait_for(2)) == ["c1", "c2"]


async def test_an_outcome_that_cannot_be_written_down_for_a_while_is_written_down_and_nothing_is_sent_again(
    catalog: Catalog, receiver: Receiver, clock: VirtualClock
) -> None:
    async def take_outbox_away(_: Received) -> Answer:
        await rename(catalog, "outbox", "away")
        return Answer()

    receiver.answer = take_outbox_away
    async with delivering(catalog, clock, retry_s=0.01) as dispatcher:
        await catalog.outbox.announce([fact(1)])
        await receiver.wait_for(1)
        await until(lambda: is_true(dispatcher.outcomes.delivered == 1))
        await rename(catalog, "away", "outbox")
        await until(lambda: nothing_waits(catalog))
        dispatcher.wake("shop")

    assert len(receiver.requests) == 1


async def is_true(condition: bool) -> bool:
    return condition


async def rename(catalog: Catalog, table: str, to: str) -> None:
    """Again if it shared its transaction with a write that the missing table makes fail, which undoes both."""
    statement = text(f"ALTER TABLE {table} RENAME TO {to}")
    async with asyncio.timeout(WAIT_S):
        while True:
            with suppress(DependencyError):
                await catalog.database.write(lambda connection: connection.execute(statement))
                return


# ---- kill -9 -----------------------------------------------------------------------------------------------------


def where(told: str) -> Path | PostgresPlace:
    """Return where the catalog is that a process was told of."""
    return PostgresPlace(told, turns_of="tests") if "://" in told else Path(told)


WRITER = """
import asyncio, os, signal, sys
from tests.integration.test_webhooks import USUAL, fact, where
from wavstream.catalog.catalog import Catalog

async def main() -> None:
    catalog = await Catalog.open(where(sys.argv[1]), is_wanted=USUAL)
    await catalog.outbox.announce([fact(n, session_id=f"s{n % 5}") for n in range(20)])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
DELIVERER = """
import asyncio, sys
from tests.integration.test_webhooks import USUAL, delivering, where
from wavstream.catalog.catalog import Catalog

async def main() -> None:
    async with delivering(await Catalog.open(where(sys.argv[1]), is_wanted=USUAL)):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_process_killed_after_the_commit_and_while_it_delivers_loses_nothing_and_changes_no_id(
    catalog: Catalog, receiver: Receiver, database: FaultyDatabase
) -> None:
    there = database.where if isinstance(database.where, Path) else database.where.url
    assert await (await start(WRITER, str(there))).wait() == -signal.SIGKILL
    for already in (0, 6, 12):
        process = await start(DELIVERER, str(there))
        kill_at = already + 4

        async def kill(request: Received, process: Process = process, at: int = kill_at) -> Answer:
            if len(receiver.requests) == at:
                process.send_signal(signal.SIGKILL)
                await process.wait()
            return Answer()

        receiver.answer = kill
        await receiver.wait_for(kill_at)
        assert await process.wait() == -signal.SIGKILL
    receiver.answer = TAKE
    async with delivering(catalog):
        await until(lambda: nothing_waits(catalog))

    expected = {fact(n, session_id=f"s{n % 5}").id for n in range(20)}
    assert {request.headers["webhook-id"] for request in receiver.requests} == expected
    bodies = {(request.headers["webhook-id"], request.body) for request in receiver.requests}
    assert len(bodies) == 20, "each has one body, whenever it was sent"
    for session in range(5):
        first_seen = list(
            dict.fromkeys(each["sequence"] for each in receiver.messages if each["session_uuid"] == f"s{session}")
        )
        assert first_seen == [1, 2, 3, 4]
