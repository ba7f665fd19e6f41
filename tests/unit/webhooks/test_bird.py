"""Bird's webhook: which facts it tells, its body, and a signature that its receivers' own check takes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.api.bird.conftest import CALL, CHANNEL, CREATED, recording
from tests.unit.api.bird.schemas import conforms
from wavstream.api.registry import VOCABULARIES
from wavstream.model.app import WebhookTarget
from wavstream.model.fact import Fact, FactKind, command_done, recording_fact
from wavstream.model.recording import Recording, Status
from wavstream.webhooks.bird import VOCABULARY, key_text, render, sign
from wavstream.webhooks.vocabulary import Keys, Occasion

HOOK = "https://shop.example/hooks?of=bird"
KEY = bytes(range(32))
FILE = "https://rec.example.com/files/call.mp3?expires=1&signature=k1.a"


def file_url(document: Mapping[str, Any], ext: str, ttl_s: int) -> str:
    assert (document["session_id"], ext, ttl_s) == (CALL, "mp3", 600)
    return FILE


def occasion(url: str = HOOK) -> Occasion:
    now = datetime(2026, 11, 1, 10, 0, 2, 900_000, tzinfo=UTC)
    return Occasion(sequence=1, attempt=1, url=url, now=now, file_url=file_url)


def fact_of(told: Recording) -> Fact:
    return recording_fact(told, url="https://rec.example.com/files/a.mp3", at=CREATED)


def body_of(told: Recording) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(render(fact_of(told), occasion()))
    conforms("recording", body)
    return body


def verify(headers: Mapping[str, str], body: bytes, url: str, signing_key: str) -> bool:
    """Bird's own example of a check, in Python."""
    received = base64.b64decode(headers["messagebird-signature"])
    joined = f"{headers['messagebird-request-timestamp']}\n{url}\n".encode() + hashlib.sha256(body).digest()
    return hmac.compare_digest(hmac.new(signing_key.encode(), joined, hashlib.sha256).digest(), received)


def test_a_file_that_can_be_fetched_is_told_with_a_link_of_ten_minutes() -> None:
    body = body_of(recording())

    assert (body["status"], body["url"], body["duration"]) == ("available", FILE, 61)
    assert (body["sourceId"], body["channelId"], body["origin"]) == (CALL, CHANNEL, "call-command-record-call")


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (recording(Status.ONGOING, updated_at=CREATED), "ongoing"),
        (recording(Status.PAUSED, updated_at=CREATED + timedelta(seconds=5)), "paused"),
        (recording(Status.ONGOING, updated_at=CREATED + timedelta(seconds=9)), "ongoing"),
        (recording(Status.ABSENT), "absent"),
        (recording(Status.FAILED), "failed"),
    ],
)
def test_whatever_becomes_of_a_recording_is_told_without_a_link(told: Recording, status: str) -> None:
    body = body_of(told)

    assert body["status"] == status
    assert "url" not in body


def test_a_receiver_that_checks_as_bird_says_takes_the_signature_and_no_other() -> None:
    body = render(fact_of(recording()), occasion())
    headers = sign("0123456789abcdef" * 2, body, Keys(vendor=KEY), occasion())

    assert headers["messagebird-request-timestamp"] == "1793527202"
    assert headers["messagebird-request-id"] == "01234567-89ab-cdef-0123-456789abcdef"
    assert verify(headers, body, HOOK, key_text(KEY))
    assert not verify(headers, body + b" ", HOOK, key_text(KEY))
    assert not verify(headers, body, HOOK + "x", key_text(KEY))
    assert not verify(headers, body, HOOK, key_text(bytes(32)))
    assert not verify({**headers, "messagebird-request-timestamp": "1793527203"}, body, HOOK, key_text(KEY))


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ((), False),
        (("recording.completed",), False),
        (("voice.recording",), True),
        (("recording.completed", "voice.recording"), True),
        (("voice.inbound",), False),
    ],
)
def test_the_event_is_told_only_where_the_app_names_it(events: tuple[str, ...], wanted: bool) -> None:
    target = WebhookTarget(HOOK, events)
    statuses = (Status.ONGOING, Status.PAUSED, Status.AVAILABLE, Status.ABSENT, Status.FAILED)
    told = [VOCABULARIES.is_wanted(fact_of(recording(each)), target, usual_of_first=frozenset()) for each in statuses]

    assert told == [wanted] * len(statuses)


def test_bird_has_no_word_for_the_outcome_of_a_command() -> None:
    done = command_done(
        app_id="shop", session_id=CALL, operation_id="1", command="recordCall", request_id="r", error=None, at=CREATED
    )

    assert done.kind not in VOCABULARY.events
    assert FactKind.RECORDING_TRANSCRIBED not in VOCABULARY.events


def test_tries_are_further_and_further_apart_and_end_within_eight_hours() -> None:
    now, waits = CREATED, []
    for failed in range(1, 100):
        then = VOCABULARY.retries.next_at(failed, begun_at=CREATED, now=now)
        if then is None:
            break
        waits.append(then - now)
        now = then
    assert waits == sorted(set(waits))
    assert timedelta(hours=7) < now - CREATED <= timedelta(hours=8)
