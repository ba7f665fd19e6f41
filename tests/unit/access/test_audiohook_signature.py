"""Signatures of AudioHook: what is signed, by whom, when, and how often."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace

import pytest

from wavstream.access import audiohook_signature
from wavstream.access.audiohook_signature import MAX_AGE_S, SKEW_S, AudioHookClient, HookUpgrade
from wavstream.errors import LimitReached, Unauthenticated
from wavstream.simulator.vendors.audiohook import signature

KEY, SECRET, NOW_S = "the-api-key-of-genesys", b"a secret of thirty-two bytes, yes", 1_700_000_000
TARGET = "/media/audiohook?record=1"
URL = f"wss://rec.example.com{TARGET}"
IDS = {
    "audiohook-organization-id": "o1",
    "audiohook-session-id": "e1",
    "audiohook-correlation-id": "r1",
    "x-api-key": KEY,
}
CLIENT = {"api_key": KEY, "app": "shop", "public_url": "https://rec.example.com"}


def client(secret: bytes | None = SECRET, **changed: str) -> AudioHookClient:
    return AudioHookClient(secret=secret, **{**CLIENT, **changed})


def upgrade(
    *, url: str = URL, secret: bytes = SECRET, created: int = NOW_S, nonce: str = "", **changed: object
) -> HookUpgrade:
    headers = IDS | dict(signature(KEY, secret, url, IDS, created=created, nonce=nonce))
    signed = HookUpgrade(KEY, TARGET, ("rec.example.com",), {name.lower(): value for name, value in headers.items()})
    return replace(signed, **changed)  # type: ignore[arg-type]


def test_the_example_of_the_documentation_is_right() -> None:
    api_key = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
    headers = {
        "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
        "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
        "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
        "x-api-key": api_key,
        "signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
        "signature-input": 'sig1=("@request-target" "@authority" "audiohook-organization-id" "audiohook-session-id" '
        f'"audiohook-correlation-id" "x-api-key");keyid="{api_key}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";'
        'alg="hmac-sha256";created=1641013200;expires=3282026430',
    }
    secret = base64.b64decode("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=")
    genesys = AudioHookClient(api_key=api_key, secret=secret, app="shop", public_url="https://x")
    asked = HookUpgrade(api_key, "/api/v1/voicebiometrics/ws", ("audiohook.example.com",), headers)
    assert genesys.owns(asked)
    genesys.check(asked, 1641013200)
    with pytest.raises(Unauthenticated, match="older"):
        genesys.check(asked, 1641013200 + 3600)


@pytest.mark.parametrize(
    ("url", "public_url", "hosts"),
    [
        (URL, "https://rec.example.com", ("10.0.0.7:8080",)),
        (URL, "http://10.0.0.7:8080", ("10.0.0.7:8080", "REC.example.com:443")),
        (f"wss://rec.example.com/voice{TARGET}", "https://rec.example.com/voice", ("10.0.0.7",)),
        (f"ws://10.0.0.7:8080{TARGET}", "https://rec.example.com", ("10.0.0.7:8080",)),
    ],
)
def test_whatever_url_led_here_was_signed(url: str, public_url: str, hosts: tuple[str, ...]) -> None:
    client(public_url=public_url).check(upgrade(url=url, hosts=hosts), NOW_S)


@pytest.mark.parametrize("late_s", [-SKEW_S, 0, MAX_AGE_S + SKEW_S])
def test_clocks_may_be_a_little_apart(late_s: int) -> None:
    client().check(upgrade(), NOW_S + late_s)


@pytest.mark.parametrize(
    ("late_s", "why"), [(-SKEW_S - 1, "in the future"), (MAX_AGE_S + SKEW_S + 1, "older"), (10**9, "older")]
)
def test_a_signature_of_another_time_is_refused(late_s: int, why: str) -> None:
    with pytest.raises(Unauthenticated, match=why):
        client().check(upgrade(), NOW_S + late_s)


def changed(name: str, value: str | None) -> HookUpgrade:
    """Return a signed request with a header that was changed, or taken away."""
    good = upgrade()
    headers = {key: each for key, each in {**good.headers, name: value}.items() if each is not None}
    return replace(good, headers=headers)


SIGNED = upgrade(nonce="n" * 24).headers
INPUT, PROOF = SIGNED["signature-input"], SIGNED["signature"]


@pytest.mark.parametrize(
    "asked",
    [
        upgrade(secret=b"another"),
        upgrade(target="/media/audiohook?record=0"),
        upgrade(url=f"wss://other.example.com{TARGET}"),
        upgrade(nonce="short"),
        upgrade(nonce="x" * 257),
        *(changed(name, value) for name in IDS if name != "x-api-key" for value in ("other", None)),
        changed("signature", None),
        changed("signature-input", None),
        changed("signature", PROOF.replace("sig1", "sig2")),
        changed("signature", "sig1=:!!:"),
        changed("signature", "sig1=:AAA:"),
        changed("signature-input", INPUT.replace("hmac-sha256", "rsa-v1_5-sha256")),
        changed("signature-input", INPUT.replace(f'keyid="{KEY}"', 'keyid="other"')),
        changed("signature-input", INPUT.replace(' "x-api-key"', "")),
        changed("signature-input", INPUT.replace('"x-api-key"', '"x-api-key" "x-api-key"')),
        changed("signature-input", INPUT.replace('"x-api-key"', '"x-api-key" "@method"')),
        changed("signature-input", INPUT.replace('"x-api-key"', '"x-api-key" "not-there"')),
        changed("signature-input", INPUT.replace(f"created={NOW_S}", "created=-1")),
        changed("signature-input", INPUT.replace(f";created={NOW_S}", "")),
        changed("signature-input", INPUT.replace(f"expires={NOW_S + 30}", f"expires={NOW_S - 30}")),
        changed("signature-input", f"{INPUT}, {INPUT}"),
        changed("signature-input", "sig1=" + '("a"' * 2000),
        changed("signature-input", "\ud800"),
    ],
)
def test_what_is_not_signed_as_it_came_is_refused(asked: HookUpgrade) -> None:
    with pytest.raises(Unauthenticated, match=r"AudioHook is not right|is not signed"):
        client().check(asked, NOW_S)


def test_who_signs_nothing_is_told_to_and_a_key_without_a_secret_needs_no_signature() -> None:
    asked = HookUpgrade(KEY, TARGET, (), IDS)
    with pytest.raises(Unauthenticated, match="sign it"):
        client().check(asked, NOW_S)
    client(secret=None).check(asked, NOW_S)
    assert not client().owns(replace(asked, api_key="other\ud800"))


def test_a_signature_opens_one_stream() -> None:
    genesys, asked = client(), upgrade()
    genesys.check(asked, NOW_S)
    for late_s in (0, MAX_AGE_S + SKEW_S):
        with pytest.raises(Unauthenticated, match="used before"):
            genesys.check(asked, NOW_S + late_s)


def test_what_is_remembered_is_bounded_forgotten_in_time_and_of_right_signatures_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audiohook_signature, "_MAX_NONCES", 2)
    genesys = client()
    for _ in range(9):
        with pytest.raises(Unauthenticated):
            genesys.check(upgrade(secret=b"another"), NOW_S)
    genesys.check(upgrade(created=NOW_S + SKEW_S), NOW_S)
    genesys.check(upgrade(), NOW_S)
    with pytest.raises(LimitReached, match="remembers"):
        genesys.check(upgrade(), NOW_S)
    later_s = NOW_S + MAX_AGE_S + 2 * SKEW_S + 1
    genesys.check(upgrade(created=later_s), later_s)


def test_the_hmac_is_over_one_line_for_each_component() -> None:
    lines = [
        f'"@request-target": {TARGET}', '"@authority": rec.example.com', '"audiohook-organization-id": o1',
        '"audiohook-session-id": e1', '"audiohook-correlation-id": r1', f'"x-api-key": {KEY}',
        f'"@signature-params": {INPUT.removeprefix("sig1=")}',
    ]  # fmt: skip
    digest = base64.b64encode(hmac.digest(SECRET, "\n".join(lines).encode(), "sha256")).decode()
    assert f"sig1=:{digest}:" == PROOF
