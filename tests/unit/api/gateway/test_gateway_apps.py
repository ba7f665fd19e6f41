"""Apps over HTTP: registered, read, listed and removed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.api.gateway.conftest import ADMIN, KEY, MASTER, SHOP, Gateway
from wavstream.access.keys import KeyDigests
from wavstream.access.secret_box import SecretBox
from wavstream.webhooks.signing import new_secret

APP = "/admin/apps/shop"
HOOKS = "https://shop.example/hooks"


async def secrets(gateway: Gateway) -> list[str]:
    """Return what the webhooks of ``shop`` are signed with, the newest first."""
    app = await gateway.catalog.apps.get("shop")
    assert app is not None
    assert app.webhook is not None
    return [SecretBox(MASTER).open(secret.sealed, owner="shop") for secret in app.webhook.secrets]


async def test_an_app_is_registered_and_its_key_is_not_given_out(gateway: Gateway, admin: httpx.AsyncClient) -> None:
    said = {"webhook_url": HOOKS, "api_key": KEY, "rate_limit": 200, "events": ["recording.completed", "call.new"]}
    answer = await admin.post(APP, json=said)
    assert answer.status_code == 200
    secret = answer.json().pop("webhook_secret")
    assert (
        answer.json().items()
        >= {
            "success": True,
            "app_id": "shop",
            "webhook_url": HOOKS,
            "rate_limit": 200,
            "events": ["recording.completed", "call.new"],
        }.items()
    )
    read = await admin.get(APP)
    assert read.json() == {name: value for name, value in answer.json().items() if name != "webhook_secret"}
    assert (await admin.get("/admin/apps")).json()["apps"] == [{k: v for k, v in read.json().items() if k != "success"}]
    assert KEY not in answer.text + read.text
    found = await gateway.catalog.apps.find_by_lookup(KeyDigests(MASTER).kept(KEY)["key_lookup"])
    assert found is not None
    assert found[1] == KeyDigests(MASTER).of(KEY)
    assert found[0].webhook is not None
    assert found[0].webhook.events == ("recording.completed", "call.new")
    assert await secrets(gateway) == [secret]


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("recording.complete", "there is no event recording.complete; did you mean recording.completed?"),
        ("voice.recordings", "there is no event voice.recordings; did you mean voice.recording?"),
        ("nothing like it", "there is no event nothing like it; there are: "),
    ],
)
async def test_an_event_that_does_not_exist_is_refused_with_the_one_that_is_nearest(
    admin: httpx.AsyncClient, name: str, detail: str
) -> None:
    said = {"webhook_url": HOOKS, "api_key": KEY, "events": ["command.result", name]}
    answer = await admin.post(APP, json=said)
    assert answer.status_code == 400
    (mistake,) = answer.json()["detail"]["errors"]
    assert mistake["pointer"] == "/events/1"
    assert mistake["detail"].startswith(detail)
    assert (await admin.get(APP)).status_code == 404


async def test_events_of_the_gateway_that_never_happen_here_may_be_named(admin: httpx.AsyncClient) -> None:
    events = ["call.new", "dtmf", "playback.finished", "conference.join", "call.recording.saved", "voice.recording"]
    answer = await admin.post(APP, json={"webhook_url": HOOKS, "api_key": KEY, "events": events})
    assert (answer.status_code, answer.json()["events"]) == (200, events)


async def test_a_registration_writes_over_all_but_the_key_and_the_secret(
    gateway: Gateway, admin: httpx.AsyncClient
) -> None:
    said: dict[str, Any] = {"webhook_url": HOOKS, "api_key": KEY, "rate_limit": 200, "events": ["command.result"]}
    more = {"retention_hours": 72, "recording": {"format": "mp3"}}
    made = (await admin.post(APP, json=said | more)).json()["webhook_secret"]
    again = await admin.post(APP, json={"webhook_url": HOOKS + "/v2"})
    assert "webhook_secret" not in again.json()
    assert again.json().items() >= {"rate_limit": 0, "events": [], "retention_hours": None, "recording": {}}.items()
    assert await secrets(gateway) == [made]
    found = await gateway.catalog.apps.find_by_lookup(KeyDigests(MASTER).kept(KEY)["key_lookup"])
    assert found is not None
    assert (found[0].id, found[0].retention_hours, found[0].recording) == ("shop", None, {})


async def test_a_secret_of_ones_own_is_used_and_the_one_before_stays_for_a_while(
    gateway: Gateway, admin: httpx.AsyncClient
) -> None:
    own, next_one = new_secret(), new_secret()
    for secret, signing in ((own, [own]), (own, [own]), (next_one, [next_one, own])):
        answer = await admin.post(APP, json={"webhook_url": HOOKS, "api_key": KEY, "webhook_secret": secret})
        assert "webhook_secret" not in answer.json()
        assert await secrets(gateway) == signing


async def test_an_app_has_a_second_url_and_ids_at_vendors(gateway: Gateway, admin: httpx.AsyncClient) -> None:
    more = {"webhook_event_failover_url": HOOKS + "/standby", "vendor_accounts": {"bird": ["w-1", "w-2"]}}

    answer = await admin.post(APP, json={"webhook_url": HOOKS, "api_key": KEY, **more})

    assert answer.json().items() >= more.items()
    app = await gateway.catalog.apps.get("shop")
    assert app is not None
    assert app.webhook is not None
    assert (app.webhook.failover_url, app.vendor_accounts) == (HOOKS + "/standby", {"bird": ("w-1", "w-2")})


async def test_another_key_opens_and_the_one_before_does_not(
    gateway: Gateway, admin: httpx.AsyncClient, shop: httpx.AsyncClient
) -> None:
    path = "/api/v1/sessions/call-77/commands/record/stop"
    assert (await shop.post(path)).status_code == 202
    await admin.post(APP, json={"api_key": "another-key-of-the-shop"})
    assert (await shop.post(path)).status_code == 401
    assert (await shop.post(path, headers={"X-API-Key": "another-key-of-the-shop"})).status_code == 202


async def test_a_removed_app_is_gone_at_once(
    gateway: Gateway, admin: httpx.AsyncClient, shop: httpx.AsyncClient
) -> None:
    path = "/api/v1/sessions/call-77/commands/record/stop"
    assert (await shop.post(path)).status_code == 202
    removed = await admin.delete(APP)
    assert (removed.status_code, removed.json()) == (200, {"success": True, "app_id": "shop"})
    assert (await shop.post(path)).status_code == 401
    for answer in (await admin.get(APP), await admin.delete(APP)):
        assert (answer.status_code, answer.json()) == (404, {"success": False, "error": "App not found"})


async def test_two_apps_cannot_have_one_key(admin: httpx.AsyncClient, shop: httpx.AsyncClient) -> None:
    answer = await admin.post("/admin/apps/bank", json={"api_key": KEY})
    assert (answer.status_code, answer.json()["success"]) == (409, False)
    assert (await admin.get("/admin/apps/bank")).status_code == 404


@pytest.mark.parametrize(
    ("pointer", "body"),
    [
        ("/api_key", {}),
        ("/webhook_event_failover_url", {"api_key": KEY, "webhook_event_failover_url": HOOKS}),
        (
            "/webhook_event_failover_url",
            {"api_key": KEY, "webhook_url": HOOKS, "webhook_event_failover_url": "ftp://x"},
        ),
        ("/vendor_accounts/acme", {"api_key": KEY, "vendor_accounts": {"acme": ["1"]}}),
        ("/vendor_accounts/bird/0", {"api_key": KEY, "vendor_accounts": {"bird": [""]}}),
        ("/api_key", {"api_key": "x" * 15}),
        ("/api_key", {"api_key": "x" * 40}),
        ("/api_key", {"api_key": "change-me-change-me"}),
        ("/api_key", {"api_key": "sixteen or more s"}),
        ("/api_key", {"api_key": "sechzehn-oder-mähr"}),
        ("/api_key", {"api_key": "wst_sixteen-or-more"}),
        ("/rate_limit", {"api_key": KEY, "rate_limit": 10_001}),
        ("/rate_limit", {"api_key": KEY, "rate_limit": -1}),
        ("/rate_limit", {"api_key": KEY, "rate_limit": "5"}),
        ("/events", {"api_key": KEY, "events": "recording.completed"}),
        ("/retention_hours", {"api_key": KEY, "retention_hours": 0}),
        ("/recording", {"api_key": KEY, "recording": {"format": "flac"}}),
        ("/recording", {"api_key": KEY, "recording": {"session_id": "call-77"}}),
        ("/webhook_secret", {"api_key": KEY, "webhook_secret": "whsec_c2hvcnQ=", "webhook_url": HOOKS}),
        ("/webhook_secret", {"api_key": KEY, "webhook_secret": "whsec_" + "A" * 32}),
        ("/webhook_url", {"api_key": KEY, "webhook_url": "http://shop.example/hooks"}),
        ("/webhook_url", {"api_key": KEY, "webhook_url": "https://127.0.0.1/hooks"}),
        ("/webhook_url", {"api_key": KEY, "webhook_url": "https://[::1]/hooks"}),
        ("/webhook_url", {"api_key": KEY, "webhook_url": "shop.example"}),
        ("/webhook_url", {"api_key": KEY, "webhook_url": "https://localhost:9000/hooks"}),
        ("/url", {"api_key": KEY, "url": HOOKS}),
        ("/a~1b", {"api_key": KEY, "a/b": HOOKS}),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_registered(
    gateway: Gateway, admin: httpx.AsyncClient, pointer: str, body: dict[str, Any]
) -> None:
    answer = await admin.post(APP, json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request body")
    assert [error["pointer"] for error in answer.json()["detail"]["errors"]] == [pointer]
    assert await gateway.catalog.apps.list() == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"[" * 50_000])
async def test_a_body_that_is_no_app_is_refused(admin: httpx.AsyncClient, body: bytes) -> None:
    answer = await admin.post(APP, content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request body")
    pointer = "" if body else "/api_key"
    assert [error["pointer"] for error in answer.json()["detail"]["errors"]] == [pointer]


async def test_targets_on_this_machine_and_without_tls_can_be_allowed(gateway: Gateway) -> None:
    async with gateway.client(ADMIN, allow_http_webhooks=True, allow_localhost_webhooks=True) as admin:
        answer = await admin.post(APP, json={"api_key": KEY, "webhook_url": "http://127.0.0.1:9000/hooks"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "Missing X-Admin-API-Key header"),
        ({"X-Admin-API-Key": "wrong"}, 401, "Invalid admin API key"),
        (SHOP, 401, "Missing X-Admin-API-Key header"),
    ],
)
async def test_only_the_admin_key_opens(gateway: Gateway, headers: dict[str, str], status: int, message: str) -> None:
    async with gateway.client(headers) as client:
        answers = [await client.request(method, APP) for method in ("POST", "GET", "DELETE")]
        answers.append(await client.get("/admin/apps"))
    for answer in answers:
        assert (answer.status_code, answer.json()) == (status, {"success": False, "error": message})


async def test_without_an_admin_key_set_nothing_can_be_administered(gateway: Gateway) -> None:
    async with gateway.client(ADMIN, admin_key=None) as client:
        answer = await client.get("/admin/apps")
    assert (answer.status_code, answer.json()) == (503, {"success": False, "error": "ADMIN_API_KEY not configured"})


@pytest.mark.parametrize("app_id", ["sh%20op", "x" * 65, "sh.op"])
async def test_an_id_that_no_app_can_have_is_refused(admin: httpx.AsyncClient, app_id: str) -> None:
    answer = await admin.post(f"/admin/apps/{app_id}", json={"api_key": KEY})
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid app_id format")
