"""Every route of a server, asked by everyone who may not: nothing is readable, and nothing is told.

An app has a live call, a running and a finished recording and a dead letter. Each of its strangers asks every route
twice: for what is that app's, and for what nobody has. Both answers have to be the same, and neither may hold anything
of the app's. Routes are those that the server has, so a new one is asked too: one that needs no key has to be listed
here, and a new parameter in a path needs a value.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import re
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, text

from tests.support.recorder import Recorder, Wall, recorder
from tests.support.transcripts import say
from tests.support.waiting import WAIT_S
from wavstream.access.authenticator import Caller
from wavstream.access.keys import KeyDigests, make_key
from wavstream.dialects.registry import DIALECTS
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import command_done
from wavstream.service.service import Service
from wavstream.settings import GatewaySettings, WebhookSettings
from wavstream.settings.tables import MediaSettings, RouteSettings

OPEN = {
    "/openapi.json", "/openapi/{name}.json", "/docs", "/healthz", "/readyz", "/metrics",
    "/health", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/favicon.png", "/docs/begin.js",
}  # fmt: skip
"""Routes that need no key, and so may say nothing of any app."""
PAGE = {
    "/": 307, "/console": 307, "/console/": 200, "/console/{name:path}": 404, "/console/session": 200,
    "/console/sign-in": 422, "/console/sign-out": 403,
}  # fmt: skip
"""Routes of the console that need no key, and what who asks for nothing is answered."""
OPEN |= {*PAGE}
MEDIA = ("/media/{rest:path}", "/record/{rest:path}")
"""Say to anybody that a media stream is a WebSocket; those have the media plane's own tests."""
STREAM = "/v1/live"
"""Never ends for a right key: ``tests/acceptance/test_console.py`` has its strangers."""
LINKS = "/files/{link:path}"
"""A link is its own key."""
TOLD_BY_CONTRACT = {
    "/api/v1/sessions/{session_id:any_text}/commands/{command:any_text}",
    "/api/v1/sessions/{session_id:any_text}/recording/file.wav",
}
"""Where the gateway's API, by its contract, says to a right key that a live session is another app's; no more."""
SESSION, ABSENT_SESSION = "secret-call", "absent-call"
ABSENT_ID = "0" * 32
CALLER = "+4930999888777"
BODIES: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "/v1/recordings": lambda ids: {"session_id": ids["session_id"]},
    "/v1/recordings/{recording_id}/hold": lambda ids: {"by": "a stranger", "reason": "none"},
    "/v1/sessions": lambda ids: {"session_id": ids["session_id"]},
    "/v1/stream-tokens": lambda ids: {"session_id": ids["session_id"], "ttl_s": 60},
    "/v1/webhooks/dead-letters/replay": lambda ids: {"ids": [ids["letter_id"]]},
    "/v2/recordings/actions/delete": lambda ids: {"ids": [ids["recording_id"]]},
    "/api/calling/calls": lambda ids: {"command": "calling.record", "id": ids["session_id"], "params": {}},
    "/swml/calls/{call_id:any_text}": lambda ids: {"version": "1.0.0", "sections": {"main": ["hangup"]}},
    "/admin/apps/{app_id}": lambda ids: {"api_key": "key-of-whoever-registers"},
}
"""What a request of a route has to say to get as far as to what it asks for."""
MADE_ANEW = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[0-9:.]+Z|wst_[\w-]+|-\d{10}\b"
    r"|/files/[\w./%=&?~-]+"
)
"""What differs between two answers that say the same."""
SECONDS_OR_COUNTS = {"date", "content-length", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id"}


@dataclass
class World:
    """A server with one app's belongings, and the keys of those who want them."""

    client: Recorder
    service: Service
    ids: dict[str, dict[str, str]]
    """Values of path parameters: those of what the app has, and of what nobody has."""
    links: list[str] = field(default_factory=list)
    finished: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, str | None] = field(default_factory=dict)
    addresses: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def routes(self) -> list[tuple[str, str]]:
        """Return (method, path) of every HTTP route there is."""
        applications = [self.service.app, *(each.app for each in self.service.app.state.mounted)]
        every = [route for application in applications for route in _walk(application.routes)]
        return [(method, route) for method, route in every if route not in (*MEDIA, STREAM)]

    async def ask(
        self, method: str, route: str, headers: Mapping[str, str], ids: Mapping[str, str], query: str = ""
    ) -> httpx.Response:
        """Ask from an address that nobody has asked from."""
        number = next(self.addresses)
        address = f"198.18.{number >> 8}.{number & 255}"
        path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: urllib.parse.quote(ids[found[1]], safe="/"), route)
        body = BODIES.get(route)
        sent = {"json": body(ids)} if body is not None and method == "POST" else {}
        transport = httpx.ASGITransport(self.service.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url=self.client.base_url, headers=headers) as http:
            return await http.request(method, path + query, **sent)


def _walk(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _walk(included.routes)
        else:
            yield from ((method, route.path) for method in sorted(route.methods))


def shown(route: str, key: str | None, *, app: str = "shop") -> dict[str, str]:
    """Return the headers in which a caller of this route shows its key."""
    if route.startswith("/api/v1/"):
        return {"X-App-ID": app} | ({"X-API-Key": key} if key else {})
    if key is None:
        return {}
    if route.startswith("/admin/"):
        return {"X-Admin-API-Key": key}
    if route.startswith("/workspaces/"):
        return {"Authorization": f"AccessKey {key}"}
    if route.startswith(("/api/calling/", "/api/relay/", "/swml/")):
        return {"Authorization": "Basic " + base64.b64encode(f"project:{key}".encode()).decode()}
    return {"Authorization": f"Bearer {key}"}


@contextlib.asynccontextmanager
async def world_at(data_dir: Path) -> AsyncIterator[World]:
    """Run the server; the app ``shop`` has all that can be had."""
    wall = Wall()
    settings = {
        "api_key": SecretStr("key-of-the-app-default"),
        "admin_api_key": SecretStr("key-of-the-administrators"),
        "gateway": GatewaySettings(stranger_requests_per_s=100_000),
        "webhooks": WebhookSettings(allow_http=True, allow_localhost=True),
        "media": MediaSettings(key_header="X-Recorder-Key", routes={"/switch/a": RouteSettings(dialect="pcm")}),
    }
    async with recorder(data_dir, wall=wall, **settings) as (client, service):
        digests, apps, app_keys = KeyDigests(service.master), service.catalog.apps, service.catalog.app_keys
        keys = {name: make_key() for name in ("right", "other app's", "revoked", "expired")}
        target = WebhookTarget("http://127.0.0.1:9/")
        assert await apps.add(App("shop", wall(), webhook=target), **digests.kept(keys["right"]))
        assert await apps.add(App("bank", wall()), **digests.kept(keys["other app's"]))
        for name, expires_at in (("revoked", None), ("expired", wall() - timedelta(seconds=1))):
            kept = digests.kept(keys[name])
            assert await app_keys.add("shop", name, **kept, now=wall(), expires_at=expires_at)
        assert await app_keys.revoke("shop", "revoked")
        mine = Recorder(client.base_url, key=keys["right"])
        path = f"/media/pcm/{SESSION}/a?from=%2B{CALLER[1:]}&token={keys['right']}"
        async with mine.connect(path) as socket:
            await socket.send(bytes(16_000))
            await mine.until_received(SESSION, 500)
            running, done = await mine.start(SESSION), await mine.start(SESSION)
            await socket.send(bytes(16_000))
            await mine.until_received(SESSION, 1_000)
            done = await mine.act(done, "stop")
            letter = await _dead_letter(service)
            row = await service.catalog.recordings.get(done["id"])
            assert row is not None
            said = await say(service.catalog, row, "secret", wall())
            signed = await mine.http.get(f"/v1/recordings/{done['id']}.wav")
            world = World(
                client,
                service,
                ids={
                    "there": _ids(SESSION, done["id"], letter, said.id),
                    "absent": _ids(ABSENT_SESSION, *[ABSENT_ID] * 3),
                },
                links=[done["url"], signed.headers["location"]],
                finished=done,
                keys={**keys, "no key": None, "wrong": make_key()},
            )
            world.ids["there"]["running"] = running["id"]
            try:
                yield world
            finally:
                await mine.http.aclose()


def _ids(session_id: str, recording_id: str, letter_id: str, transcription_id: str) -> dict[str, str]:
    return {
        **dict.fromkeys(("session_id", "callId", "call_id", "call_control_id"), session_id),
        **dict.fromkeys(("recording_id", "recordingId", "run_id"), recording_id),
        **dict.fromkeys(("transcriptionId", "recording_transcription_id"), transcription_id),
        "letter_id": letter_id,
        "workspaceId": "workspace",
        "channelId": "channel",
        "extension": "json",
        "command": "record/stop",
        "app_id": "shop" if session_id == SESSION else "none",
        "name": "gateway",
        "link": "none",
        "path": "none",
    }


async def _dead_letter(service: Service) -> str:
    now = datetime.now(UTC)
    fact = command_done(
        app_id="shop", session_id=SESSION, operation_id="op", command="record/start", request_id="r", error=None, at=now
    )

    def die(connection: Connection) -> None:
        assert service.catalog.outbox.add(connection, [fact])
        connection.execute(text("UPDATE outbox SET state = 'dead', due_us = NULL, done_us = begun_us, error = 'none'"))

    await service.catalog.database.write(die)
    return fact.id


def told(answer: httpx.Response, ids: Mapping[str, str]) -> tuple[object, ...]:
    """Return what an answer says, without what the request said and what is different each time."""
    body = answer.text
    for name in ("session_id", "recording_id", "letter_id"):
        body = body.replace(ids[name], "ID")
    headers = {
        name: MADE_ANEW.sub("NEW", value) for name, value in answer.headers.items() if name not in SECONDS_OR_COUNTS
    }
    return answer.status_code, headers, MADE_ANEW.sub("NEW", body)


def secrets_of(world: World, said: Iterable[str]) -> list[str]:
    """Return what only the app may know, but for what the request said itself."""
    known = [CALLER, SESSION, world.finished["id"], world.ids["there"]["running"], world.finished["audio_sha256"]]
    known += [str(world.keys["right"]), world.ids["there"]["letter_id"], *world.links]
    return [each for each in known if not any(each in part for part in said)]


async def assert_nothing_is_told(
    world: World, method: str, route: str, headers: Mapping[str, str], *, query: str = ""
) -> httpx.Response:
    """Ask for what is there and for what is not; return the first answer."""
    answers = {}
    for kind, ids in world.ids.items():
        answers[kind] = answer = await world.ask(method, route, headers, ids, query)
        everything = answer.text + str(answer.headers)
        assert not [each for each in secrets_of(world, ids.values()) if each in everything], f"{method} {route}"
        assert answer.status_code < 500 or answer.status_code == 503, f"{method} {route}: {answer.text}"
    if route in TOLD_BY_CONTRACT and answers["there"].status_code == 403:
        assert method == "HEAD" or answers["there"].json() == {
            "success": False, "error": "Session belongs to another application"
        }  # fmt: skip
        assert answers["absent"].status_code == 404
        return answers["there"]
    there, absent = (told(answer, world.ids[kind]) for kind, answer in answers.items())
    assert there == absent, f"{method} {route}"
    return answers["there"]


async def assert_all_is_there(world: World) -> None:
    """Assert that nobody has changed, stopped, held or erased anything of the app's."""
    mine = Recorder(world.client.base_url, key=world.keys["right"])
    ids = world.ids["there"]
    assert (await mine.get({"id": ids["running"]}))["status"] == "ongoing"
    assert await mine.get(world.finished) == world.finished
    assert (await mine.http.get(world.links[0])).status_code == 200
    assert len((await mine.http.get(f"/v1/sessions/{SESSION}")).json()["streams"]) == 1
    assert len((await mine.http.get("/v1/recordings")).json()["data"]) == 2
    assert (await mine.http.get(f"/v1/webhooks/dead-letters/{ids['letter_id']}")).status_code == 200
    await mine.http.aclose()


def guarded(world: World) -> list[tuple[str, str]]:
    """Return the routes that ask for a key: those that read first, as a stranger sees what it has made itself."""
    routes = [(method, route) for method, route in world.routes() if route not in OPEN and route != LINKS]
    return sorted(routes, key=lambda route: route[0] not in ("GET", "HEAD"))


async def test_who_has_no_key_that_counts_is_refused_alike_for_what_is_there_and_what_is_not(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    async with world_at(tmp_path) as world:
        caller = world.service.authenticator.authenticate(world.keys["right"], client_is_loopback=False)
        assert isinstance(caller, Caller)
        token = world.service.authenticator.make_token(
            app_id="shop", session_id=None, expires_at=datetime.now(UTC) + timedelta(hours=1), key_id=caller.key_id
        )
        keys = {who: world.keys[who] for who in ("no key", "wrong", "revoked", "expired")} | {"token": token}
        right = str(world.keys["right"])
        basic = base64.b64encode(f"{right}:".encode()).decode()  # as the user, not as the password
        wrong_place = {"Cookie": f"key={right}", "Proxy-Authorization": f"Bearer {right}", "X-Key": right}
        wrong_place |= {"Authorization": f"Basic {basic}"} | shown("/api/v1/", None)
        query = f"?token={right}&key={right}&api_key={right}&access_token={right}"
        routes = guarded(world)
        for who, key in keys.items():
            with subtests.test(who):
                for method, route in routes:
                    answer = await assert_nothing_is_told(world, method, route, shown(route, key))
                    assert answer.status_code == 401, f"{method} {route}: {answer.text}"
                await assert_all_is_there(world)
        with subtests.test("wrong place"):
            for method, route in routes:
                answer = await assert_nothing_is_told(world, method, route, wrong_place, query=query)
                assert answer.status_code == 401, f"{method} {route}: {answer.text}"
            await assert_all_is_there(world)


async def test_another_apps_key_finds_nothing_of_the_app(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        for method, route in guarded(world):
            answer = await assert_nothing_is_told(
                world, method, route, shown(route, world.keys["other app's"], app="bank")
            )
            refused = answer.status_code == 401
            assert refused is route.startswith("/admin/"), f"{method} {route}: {answer.text}"
            if "X-App-ID" in shown(route, None):  # the key of one app under the name of another
                answer = await assert_nothing_is_told(world, method, route, shown(route, world.keys["other app's"]))
                assert answer.status_code == 401
        await assert_all_is_there(world)


async def test_an_app_under_a_name_that_was_used_before_finds_nothing_of_the_one_before(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        apps, key = world.service.catalog.apps, make_key()
        assert await apps.remove("shop")
        again = await apps.add(App("shop", datetime.now(UTC)), **KeyDigests(world.service.master).kept(key))
        assert again is not None
        await world.service.authenticator.refresh()
        for method, route in guarded(world):
            if route.startswith("/admin/"):
                continue
            answer = await assert_nothing_is_told(world, method, route, shown(route, key))
            assert answer.status_code != 401, f"{method} {route}: {answer.text}"
            answer = await assert_nothing_is_told(world, method, route, shown(route, world.keys["right"]))
            assert answer.status_code == 401, f"{method} {route}: {answer.text}"
        for link in world.links:
            assert (await world.client.http.get(link)).status_code == 404
        kept = await world.service.catalog.recordings.get(world.finished["id"])
        assert kept is not None
        assert (kept.status, kept.hold) == ("available", None)


async def test_routes_without_a_key_say_nothing_of_any_app(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        routes = world.routes()
        await asyncio.to_thread(world.service.app.openapi)  # which reads its own sources, once
        assert {route for _, route in routes} >= OPEN | {LINKS}
        for method, route in routes:
            if route in OPEN:
                answer = await assert_nothing_is_told_of_apps(world, method, route)
                assert answer.status_code == PAGE.get(route, 200), f"{method} {route}"
        for method in ("GET", "HEAD"):
            for link in (*_forged(world.links[0]), f"/files/{world.finished['id']}", "/files/none"):
                answer = await world.ask(method, link, {}, {})
                assert answer.status_code == 403, link
                assert not [each for each in secrets_of(world, [link]) if each in answer.text]


async def assert_nothing_is_told_of_apps(world: World, method: str, route: str) -> httpx.Response:
    answer = await world.ask(method, route, {}, world.ids["absent"])
    assert not [each for each in secrets_of(world, ()) if each in answer.text], route
    return answer


def _forged(link: str) -> Iterator[str]:
    """Yield links that are nearly right."""
    path = urllib.parse.urlsplit(link).path
    start, recording_id, seal, name = path.rsplit("/", 3)
    yield f"{start}/{ABSENT_ID}/{seal}/{name}"
    yield f"{start}/{recording_id}/{seal[:-1]}{'A' if seal[-1] != 'A' else 'B'}/{name}"
    yield f"{start}/{recording_id}/{seal}/x{name}"
    yield f"{start}/{recording_id}/{name}?expires=9999999999&signature={seal}"


async def test_whoever_has_the_right_key_finds_what_others_do_not(tmp_path: Path) -> None:
    """The same requests as above, so that they are known to ask for something."""
    same = set()
    async with world_at(tmp_path) as world:
        for method, route in guarded(world):
            if method != "GET" or route.startswith("/admin/") or "{" not in route:
                continue
            if route.endswith(("/live.wav", "/file.wav")):
                continue  # has no end: test_a_listener_ends_with_its_key
            answers = [
                told(await world.ask(method, route, shown(route, world.keys["right"]), ids), ids)
                for ids in world.ids.values()
            ]
            if answers[0] == answers[1]:
                same.add(route)
    assert same == {
        "/swml/runs/{run_id}", "/workspaces/{workspaceId}/recording-metrics",
        "/workspaces/{workspaceId}/transcriptions",
    }  # fmt: skip


# ---- media sockets ---------------------------------------------------------------------------------------------------


async def upgrade(world: World, path: str, **headers: str) -> tuple[int, str]:
    """Ask for a media socket; return the status and the body of a refusal."""
    lines = {
        "Host": f"127.0.0.1:{world.service.settings.port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        **headers,
    }
    reader, writer = await asyncio.open_connection("127.0.0.1", world.service.settings.port)
    try:
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        async with asyncio.timeout(WAIT_S):
            status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
            return status, "" if status == 101 else (await reader.read()).decode()
    finally:
        writer.close()


async def test_a_media_socket_opens_for_nobody_without_a_key_that_counts(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        authenticator, expires_at = world.service.authenticator, datetime.now(UTC) + timedelta(hours=1)
        keys = {who: str(world.keys[who]) for who in ("wrong", "revoked", "expired")}
        keys["token of another session"] = authenticator.make_token(
            app_id="shop", session_id="another", expires_at=expires_at
        )
        keys["token of a revoked key"] = authenticator.make_token(
            app_id="shop", session_id=None, expires_at=expires_at, key_id="0" * 32
        )
        keys["token of no app"] = authenticator.make_token(app_id="none", session_id=None, expires_at=expires_at)
        asked: list[tuple[str, dict[str, str]]] = [
            *((path, {}) for path in ("/media/{d}/{s}/a", "/media/{d}/{s}/a?app=shop", "/switch/a/{s}/a", "/media")),
            ("/media/{d}/{s}/a", {"X-Twilio-Signature": "c2ln"}),
            ("/media/auto/{s}/a", {"X-Twilio-Signature": "c2ln"}),
            ("/switch/a/{s}/a", {"X-Twilio-Signature": "c2ln"}),
        ]
        for key in keys.values():
            asked += [
                ("/media/{d}/{s}/a", {"Authorization": f"Bearer {key}"}),
                ("/media/{d}/{s}", {"X-API-Key": key}),
                ("/media/{d}/{s}/a", {"X-Recorder-Key": key}),
                ("/media/{d}/{s}/a", {"X-Telnyx-Streaming-Auth-Token": key}),
                ("/media/{d}/{s}/a", {"Authorization": f"Basic {base64.b64encode(f'u:{key}'.encode()).decode()}"}),
                ("/switch/a/{s}/a", {"Authorization": f"Bearer {key}"}),
                ("/switch/a/{s}", {"X-API-Key": key}),
                (f"/switch/a/{{s}}/a?token={key}", {}),
                (f"/switch/a/t/{key}/{{s}}/a", {}),
                (f"/media/{{d}}/t/{key}/{{s}}/a", {}),
                (f"/media?session_id={{s}}&token={key}", {}),
                ("/media/auto?session_id={s}", {"Authorization": f"Bearer {key}"}),
                (f"/media/{{d}}/{{s}}/a?token={key}", {}),
                (f"/media/t/{key}/{{d}}/{{s}}/a", {}),
            ]
        right = str(world.keys["right"])
        asked += [
            ("/media/{d}/{s}/a", {"Cookie": f"token={right}"}),
            (f"/media/{{d}}/{{s}}/a?key={right}", {}),
            (f"/switch/a/{{s}}/a?key={right}", {}),
            ("/media/{d}/{s}/a", {"X-Key": right, "Proxy-Authorization": f"Bearer {right}"}),
            ("/media/{d}/{s}/a", {"X-Twilio-Signature": right, "Signature": right}),
            # What comes first counts, and it is wrong.
            (f"/media/{{d}}/{{s}}/a?token={right}", {"X-Recorder-Key": "wrong-key"}),
            (f"/media/{{d}}/{{s}}/a?token={right}", {"X-Telnyx-Streaming-Auth-Token": "wrong-key"}),
            (f"/media/{{d}}/{{s}}/a?app=bank&token={right}", {}),
        ]
        # AudioHook tells it on the open socket: tests/acceptance/test_audiohook.py.
        silent = sorted(name for name, dialect in DIALECTS.items() if not dialect.refuses_in_words)
        for number, (path, headers) in enumerate(asked):
            dialect = silent[number % len(silent)]
            answers = []
            for session in (SESSION, ABSENT_SESSION):
                status, body = await upgrade(world, path.replace("{d}", dialect).replace("{s}", session), **headers)
                assert status in (401, 503), (path, body)  # 503: many wrong keys came from here by then
                answers.append(re.sub(r"401|503", "", body) if status == 401 else "")
            assert len({*answers} - {""}) <= 1, path
        await assert_all_is_there(world)
        # Right keys open all the same, for each app a session of its own.
        other = world.keys["other app's"]
        assert (await upgrade(world, f"/media/pcm/{SESSION}/x?token={other}"))[0] == 101
        assert (await upgrade(world, f"/media/pcm/other/x?token={right}"))[0] == 101
        basic = base64.b64encode(f"anybody:{right}".encode()).decode()
        token = authenticator.make_token(app_id="shop", session_id="other", expires_at=expires_at)
        for path, headers in (
            ("/media/pcm/other/x", {"X-Recorder-Key": right}),
            ("/media/pcm/other/x", {"X-Telnyx-Streaming-Auth-Token": right}),
            ("/media/pcm/other/x", {"X-Telnyx-Streaming-Auth-Token": token}),
            ("/media/pcm/other/x", {"Authorization": f"Basic {basic}"}),
            ("/switch/a/other/x", {"Authorization": f"Bearer {right}"}),
            (f"/switch/a/t/{token}/other/x", {}),
            (f"/media/pcm/t/{token}/other/x", {}),
            (f"/media/t/{token}/pcm/other/x", {}),
            (f"/media/t/{right}", {}),
            (f"/media/pcm/other/x?token={right}", {"Authorization": "Basic cHJveHk6cHJveHk="}),
        ):
            assert (await upgrade(world, path, **headers))[0] == 101, (path, [*headers])
        await assert_all_is_there(world)


async def test_a_page_of_another_origin_opens_no_media_socket_whatever_it_shows(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        path = f"/media/pcm/other/x?token={world.keys['right']}"
        for origin in ("https://evil.example", "null", "http://127.0.0.2:1"):
            status, body = await upgrade(world, path, Origin=origin)
            assert (status, "WAVSTREAM_ALLOWED_ORIGINS" in body) == (403, True)
        ours = f"http://127.0.0.1:{world.service.settings.port}"
        assert [(await upgrade(world, path, Origin=each))[0] for each in (ours, "127.0.0.1")] == [101, 101]
