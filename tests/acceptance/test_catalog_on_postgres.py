"""A server whose catalog is in PostgreSQL: calls while that is away, commands beside it, and what a start refuses."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.command_line import CommandLine
from tests.support.postgres import (
    PASSWORD,
    Postgres,
    a_folder_for_postgres,
    lent_catalog,
    running_postgres,
    shared_postgres,
)
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, ServerProcess, hear, recorder
from tests.support.speech import noise
from tests.support.talking import say
from tests.support.waiting import until
from wavstream.catalog.postgres_place import PostgresPlace

SEED = 16
CALLS = 50
KEY = "wsk_of_the_app_shop"
ADMIN_KEY = "of-the-administrators"
ADMIN = {"X-Admin-API-Key": ADMIN_KEY}


@pytest.fixture
def server() -> Iterator[Postgres]:
    """One that may be killed."""
    with a_folder_for_postgres() as folder, running_postgres(folder) as running:
        yield running


def settings(url: str) -> dict[str, Any]:
    return {
        "catalog": {"url": url},
        "admin_api_key": SecretStr(ADMIN_KEY),
        "webhooks": {"allow_http": True, "allow_localhost": True, "recording_started": True},
        "limits": {"loop_delay_s": 0, "fold_delay_s": 0},
    }


async def test_fifty_calls_go_on_while_the_database_is_away_and_nothing_is_lost_and_webhooks_are_in_order(
    tmp_path: Path, server: Postgres
) -> None:
    chance = random.Random(SEED)
    words = {f"call-{number}": noise(0.5, seed=number) for number in range(CALLS)}
    refused = 0

    async def sometimes(_: Received) -> Answer:
        nonlocal refused
        refused += (no := chance.random() < 0.05)
        return Answer(500 if no else 200)

    async with (
        Receiver(sometimes) as receiver,
        recorder(tmp_path, **settings(server.url(server.database()))) as (client, service),
        AsyncExitStack() as calls,
    ):
        app = {"webhook_url": receiver.url, "api_key": KEY, "events": ["recording.started", "recording.completed"]}
        assert (await client.http.post("/admin/apps/shop", json=app, headers=ADMIN)).status_code == 200
        client.http.headers["Authorization"] = f"Bearer {KEY}"
        made = {name: await client.start(name) for name in words}
        sockets = {}
        for name, word in words.items():
            sockets[name] = await calls.enter_async_context(client.connect(f"/media/pcm/{name}/a?token={KEY}"))
            await say(sockets[name], word[:1920])
        ending = iter(chance.sample([*words], CALLS))

        async def some_end(count: int) -> None:
            for name in itertools.islice(ending, count):
                await say(sockets[name], words[name][1920:])
                await sockets[name].close()

        await asyncio.to_thread(server.kill)
        await some_end(20)
        refusal = await client.http.get("/v1/recordings")
        assert refusal.status_code == 503
        assert "database cannot be reached" in refusal.text
        ready = await client.http.get("/readyz")
        assert ready.status_code == 503
        assert "PostgreSQL" in ready.text
        assert PASSWORD not in ready.text
        await asyncio.to_thread(server.start)
        for end in (server.kill, server.stop, server.kill):  # while what waited is written and told
            await some_end(10)
            await asyncio.sleep(chance.uniform(0, 0.3))
            await asyncio.to_thread(end)
            await asyncio.to_thread(server.start)
        await until(lambda: not [*service.sessions])

        done = {name: await until_available(client, recording) for name, recording in made.items()}
        for name, recording in done.items():
            samples, _ = hear(await client.fetch(recording))
            file, word = samples[:, 0].tobytes(), words[name]
            assert all(word[at : at + 160].tobytes() in file for at in range(0, len(word), 160)), name
        told = await until_told(receiver, CALLS)
        for name, recording in done.items():
            assert told[recording["id"]] == ["recording.started", "recording.completed"], name
        await until(lambda: no_backlog(service))
        assert (await client.http.get("/readyz")).status_code == 200


async def until_available(client: Recorder, recording: dict[str, Any]) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        answer = await client.http.get(f"/v1/recordings/{recording['id']}")
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 200 and found["status"] == "available" else None

    found = await until(there)
    assert found is not None
    return found


async def until_told(receiver: Receiver, calls: int) -> dict[str, list[str]]:
    """Return what was told of each recording, in its order, once all have ended; what is sent again counts once."""

    def told() -> dict[str, list[str]]:
        seen: dict[str, dict[str, str]] = defaultdict(dict)
        for request in receiver.requests:
            message = request.message
            seen[message["recording_id"]].setdefault(request.headers["webhook-id"], message["event"])
        kinds = {recording: [*events.values()] for recording, events in seen.items()}
        return kinds if sum("recording.completed" in each for each in kinds.values()) == calls else {}

    return await until(told)


async def no_backlog(service: Any) -> bool:
    return not await service.catalog.outbox.backlog()


# ---- commands, and several processes ---------------------------------------------------------------------------------


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PostgresPlace]:
    monkeypatch.setenv("WAVSTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    with lent_catalog() as lent:
        monkeypatch.setenv("WAVSTREAM_CATALOG__URL", lent.url)
        yield lent


@pytest.fixture
def wavstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("wavstream.service.logs.configure", lambda _: None)
    return CommandLine(monkeypatch, capsys)


def test_commands_use_the_database_that_the_server_uses_and_a_check_changes_nothing_in_it(
    place: PostgresPlace, wavstream: CommandLine, tmp_path: Path
) -> None:
    assert wavstream("apps", "add", "shop").code == 0
    assert "shop" in wavstream("apps", "list").out
    assert wavstream("apps", "rotate-key", "shop").code == 0
    assert not (tmp_path / "data" / "catalog.db").exists()

    with place.connect() as connection:
        asked = "SELECT version, master_check, (SELECT count(*) FROM app_keys) FROM access"
        before = connection.execute(asked).fetchall()
        checked = wavstream("serve", "--check")
        assert connection.execute(asked).fetchall() == before
    assert checked.code == 0, checked.err
    assert f"the catalog, {place.name}, can be used" in checked.out
    assert "1 apps" in checked.out


def test_a_command_that_needs_a_catalog_says_where_there_is_none_and_a_check_that_one_would_be_made(
    place: PostgresPlace, wavstream: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = shared_postgres().place(shared_postgres().database())
    monkeypatch.setenv("WAVSTREAM_CATALOG__URL", empty.url)
    (tmp_path / "data").mkdir(mode=0o700)
    listed = wavstream("apps", "list")
    assert listed.code == 2
    assert f"{empty.name} has no catalog yet" in listed.err
    checked = wavstream("serve", "--check")
    assert checked.code == 0, checked.err
    assert "has no tables, a start would make them" in checked.out


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret-word@h/d", "must be postgresql://"),
        ("postgresql://u:secret-word@127.0.0.1:1/d", "look at the server, and at WAVSTREAM_CATALOG__URL"),
        ("postgresql://u:secret#word@h/d", "in a password it is written %23"),
    ],
)
def test_a_start_is_refused_in_one_line_without_the_password(
    wavstream: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, said: str
) -> None:
    monkeypatch.setenv("WAVSTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WAVSTREAM_CATALOG__URL", url)
    refused = wavstream("serve", "--check")
    assert refused.code == 2
    assert said in refused.err
    assert "secret" not in refused.err + refused.out


async def test_the_workers_of_a_server_share_the_database_and_tell_an_app_once(tmp_path: Path) -> None:
    with lent_catalog() as place:
        more = {"webhooks__allow_http": True, "webhooks__allow_localhost": True, "admin_api_key": ADMIN_KEY}
        async with (
            Receiver() as receiver,
            ServerProcess(tmp_path, workers=2, catalog__url=place.url, **more) as process,
        ):
            client = await process.start()
            app = {"webhook_url": receiver.url, "api_key": KEY, "events": ["recording.completed"]}
            assert (await client.http.post("/admin/apps/shop", json=app, headers=ADMIN)).status_code == 200
            client.http.headers["Authorization"] = f"Bearer {KEY}"
            names = [f"call-{number}" for number in range(6)]
            for name in names:
                recording = await client.start(name)
                async with client.connect(f"/media/pcm/{name}/a?token={KEY}") as socket:
                    await say(socket, noise(0.5, seed=1))
                await client.until(recording)
            told = await receiver.wait_for(len(names))
            assert sorted(each.message["session_uuid"] for each in told) == names
            await client.http.aclose()
            assert await process.end(signal.SIGTERM) == 0
            assert PASSWORD not in "".join([*process.last_words, *map(str, process.said)])
    assert not (tmp_path / "catalog.db").exists()


async def test_a_second_server_is_refused_while_the_first_uses_the_database_and_spoils_nothing(tmp_path: Path) -> None:
    with lent_catalog() as place:
        url = {"catalog__url": place.url}
        async with ServerProcess(tmp_path / "first", **url) as first:
            client = await first.start()
            running = await client.start("call-1")
            async with client.connect("/media/pcm/call-1/a") as socket:
                await say(socket, noise(0.5, seed=1))
                (tmp_path / "second").mkdir()
                shutil.copy(tmp_path / "first" / "master.key", tmp_path / "second")
                async with ServerProcess(tmp_path / "second", **url) as second:
                    code, words = await second.fail()
                status = (await client.get(running))["status"]
                await first.end(signal.SIGKILL)
            async with ServerProcess(tmp_path / "second", **url) as second:
                other = await second.start()
                await other.http.aclose()
            await client.http.aclose()

    assert (code, status) == (2, "ongoing")
    assert "is used by another server, on 127.0.0.1" in words
    assert "pg_terminate_backend" in words
