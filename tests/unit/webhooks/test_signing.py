"""Signatures, checked by the package that receivers use."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from wavstream.model.app import SigningSecret
from wavstream.webhooks.signing import OVERLAP, in_use, new_secret, rotated, secret_key, signed_headers

BODY = json.dumps({"event": "recording.completed", "name": "Zoë ☎"}, ensure_ascii=False).encode()
START = datetime(2026, 11, 1, 10, tzinfo=UTC)


def test_the_receivers_package_verifies_what_was_signed_and_nothing_else() -> None:
    secret, other = new_secret(), new_secret()
    now = datetime.now(UTC)
    headers = signed_headers("msg-1", BODY, [secret_key(secret)], now)

    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    for receiver, body, changed in (
        (other, BODY, headers),
        (secret, BODY + b" ", headers),
        (secret, BODY, {**headers, "webhook-id": "msg-2"}),
        (secret, BODY, {**headers, "webhook-timestamp": str(int(now.timestamp()) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(receiver).verify(body, changed)


def test_the_signature_is_the_one_that_the_specification_computes() -> None:
    key, body = bytes(range(32)), BODY
    zone = timezone(timedelta(hours=2))
    content = b"msg-1.1793527200." + body

    headers = signed_headers("msg-1", body, [key], START.astimezone(zone))

    assert headers["webhook-timestamp"] == "1793527200"
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def test_during_a_rotation_receivers_with_the_old_and_with_the_new_secret_verify() -> None:
    old, new = new_secret(), new_secret()
    headers = signed_headers("msg-1", BODY, [secret_key(new), secret_key(old)], datetime.now(UTC))

    assert Webhook(old).verify(BODY, headers) == Webhook(new).verify(BODY, headers)


def test_the_secret_before_signs_along_for_a_day_and_the_one_before_that_never() -> None:
    first = SigningSecret("first", START)
    second = SigningSecret("second", START + timedelta(hours=1))
    third = SigningSecret("third", START + timedelta(hours=2))
    kept = rotated(rotated(rotated((), first), second), third)

    assert list(in_use((), START)) == []
    assert list(in_use(rotated((), first), START)) == [first]
    assert list(in_use(kept, third.made_at + OVERLAP - timedelta(seconds=1))) == [third, second]
    assert list(in_use(kept, third.made_at + OVERLAP)) == [third]


def test_without_a_secret_a_message_has_its_id_and_time_and_no_signature() -> None:
    assert signed_headers("msg-1", BODY, [], START) == {"webhook-id": "msg-1", "webhook-timestamp": "1793527200"}


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "c2hvcnQ" * 8, "whsec_☎" * 9, "whsec_" + "A" * 92])
def test_a_secret_that_is_none_is_refused_without_being_named(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes in base64") as raised:
        secret_key(secret)

    assert secret in ("", "whsec_") or secret not in str(raised.value)
