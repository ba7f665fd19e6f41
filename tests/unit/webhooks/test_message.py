"""Where a message goes, and what it is signed with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.recordings import a_recording
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.registry import VOCABULARIES
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import Announcement, recording_fact
from wavstream.model.origin import Origin
from wavstream.model.recording import Receipt, Recording, Status
from wavstream.webhooks.message import MessageBuilder

NOW = datetime(2026, 11, 1, 10, tzinfo=UTC)
FIRST, SECOND = "https://shop.example/hooks", "https://standby.example/hooks"
KEYS = SigningKeys(b"m" * 32)
MESSAGES = MessageBuilder(
    vocabularies=VOCABULARIES,
    open_secret=lambda sealed, _: sealed,
    key_of=KEYS.of,
    file_url=lambda recording, ext, now, ttl_s: f"https://rec.example/{recording['id']}.{ext}?{now:%S}+{ttl_s}",
)


def finished(api: str, *, status_url: str | None = None) -> Recording:
    return replace(
        a_recording("0" * 32, status=Status.AVAILABLE),
        origin=Origin(api=api, status_url=status_url, control_id="rec-1"),
        started_at=NOW,
        ended_at=NOW,
        receipt=Receipt(8000, 2, 8000, "9f", 80),
    )


def announcement(recording: Recording, *, failed: int = 0) -> Announcement:
    fact = recording_fact(recording, url="https://rec.example/files/x", at=NOW)
    return Announcement(fact=fact, sequence=1, attempts=failed, begun_at=NOW, error=None)


def app(target: WebhookTarget | None) -> App:
    return App("shop", created_at=NOW, webhook=target)


def url(target: WebhookTarget | None, *, failed: int = 0, api: str = "telnyx", own: str | None = None) -> str | None:
    message = MESSAGES.make(app(target), announcement(finished(api, status_url=own), failed=failed), NOW)
    return None if message is None else message.url


def test_two_urls_take_turns_of_three_tries_each() -> None:
    target = WebhookTarget(FIRST, failover_url=SECOND)

    turns = [url(target, failed=failed) for failed in range(9)]

    assert turns == [FIRST] * 3 + [SECOND] * 3 + [FIRST] * 3


def test_one_url_is_tried_every_time() -> None:
    assert {url(WebhookTarget(FIRST), failed=failed) for failed in range(9)} == {FIRST}


def test_a_start_that_named_its_own_url_is_told_there_and_needs_no_target() -> None:
    assert url(WebhookTarget(FIRST, failover_url=SECOND), failed=4, api="signalwire", own="https://x.example/s") == (
        "https://x.example/s"
    )
    assert url(None, api="signalwire", own="https://x.example/s") == "https://x.example/s"
    assert url(None) is None


def test_a_server_without_apps_tells_the_urls_that_starts_have_named() -> None:
    told = announcement(finished("signalwire", status_url="https://x.example/s"))

    assert MESSAGES.make(None, told, NOW) is not None


@pytest.mark.parametrize("api", ["telnyx", "bird", "signalwire"])
def test_a_link_is_made_anew_for_each_try(api: str) -> None:
    told, target = announcement(finished(api)), app(WebhookTarget(FIRST))

    bodies = [MESSAGES.make(target, told, NOW.replace(second=second)) for second in (1, 2)]

    assert all(message is not None for message in bodies)
    if api != "signalwire":  # its links live as long as the file
        first, second = [message.body for message in bodies if message is not None]
        assert b"?01+600" in first
        assert b"?02+600" in second


def test_each_app_has_a_key_of_its_own_for_each_vendor() -> None:
    keys = {KEYS.of(app_id, api) for app_id in ("shop", "bank") for api in ("telnyx", "bird")}

    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
    assert KEYS.of("shop", "telnyx") == SigningKeys(b"m" * 32).of("shop", "telnyx")
    assert KEYS.of("shop", "telnyx") not in {SigningKeys(b"n" * 32).of("shop", "telnyx")}
