"""A test webhook goes where real ones go, signed as they are, and its answer is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.support.command_line import CommandLine
from tests.support.receiver import Answer, Receiver, always
from tests.unit.cli.test_webhooks import START
from wavstream.access.secret_box import SecretBox
from wavstream.api.registry import VOCABULARIES
from wavstream.model.app import App, SigningSecret, WebhookTarget
from wavstream.service.data_folder import DataFolder
from wavstream.webhooks.signing import new_secret


async def add_app(data_dir: Path, receiver: Receiver, vendor: str, secret: str, failover: str | None = None) -> None:
    folder = DataFolder(data_dir)
    async with folder.make_catalog() as catalog:
        box = SecretBox(await folder.load_master_key(None, catalog.app_keys))
        target = WebhookTarget(
            receiver.url,
            vendor=vendor,
            secrets=(SigningSecret(box.seal(secret, owner="shop"), START),),
            failover_url=failover,
        )
        assert await catalog.apps.add(App("shop", START, webhook=target), key_hash="h", key_lookup="l")


@pytest.fixture(autouse=True)
def on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_WEBHOOKS__ALLOW_HTTP", "true")
    monkeypatch.setenv("WAVSTREAM_WEBHOOKS__ALLOW_LOCALHOST", "true")


@pytest.mark.parametrize("vendor", list(VOCABULARIES))
async def test_a_test_webhook_of_each_vendor_is_taken(wavstream: CommandLine, data_dir: Path, vendor: str) -> None:
    secret = new_secret()
    async with Receiver() as receiver:
        await add_app(data_dir, receiver, vendor, secret)
        said = await asyncio.to_thread(wavstream, "webhooks", "test", "shop")
        [request] = await receiver.wait_for(1)
        url = receiver.url

    assert said.code == 0
    assert f"POST {url}" in said.out
    assert "taken: answered 2xx" in said.out
    assert b"webhook-test" in request.body or vendor == "signalwire"
    if vendor == "gateway":
        assert Webhook(secret).verify(request.body, dict(request.headers))["session_uuid"] == "webhook-test"


async def test_an_answer_that_is_no_2xx_is_said_for_each_url(wavstream: CommandLine, data_dir: Path) -> None:
    async with Receiver(always(Answer(500))) as receiver, Receiver() as other:
        await add_app(data_dir, receiver, "gateway", new_secret(), failover=other.url)
        url = other.url
        said = await asyncio.to_thread(wavstream, "webhooks", "test", "shop")

    assert said.code == 1
    assert "not taken: answered 500" in said.out
    assert f"POST {url}" in said.out
    assert "1 of the URLs" in said.err


def test_an_app_without_a_url_has_nothing_to_test(wavstream: CommandLine) -> None:
    wavstream("apps", "add", "shop")

    said = wavstream("webhooks", "test", "shop")

    assert (said.code, "has no webhook URL" in said.err) == (2, True)
