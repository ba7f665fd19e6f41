from __future__ import annotations

import json
from ipaddress import ip_network

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from tests.support.routes import ROUTES
from wavstream.access.twilio_signature import SignedUpgrade
from wavstream.errors import NotFound
from wavstream.media.request import MediaCredentials, MediaRequest, read_request, refusal


def read(path: str, *, peer_host: str | None = "127.0.0.1", **headers: str) -> MediaRequest:
    fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return read_request(Request(path, fields), routes=ROUTES, peer_host=peer_host)


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/media/pcm", (None, None)),
        ("/media/pcm/call-77", ("call-77", None)),
        ("/media/pcm/call-77/a", ("call-77", "a")),
        ("/media/pcm/v3%3Aabc%2Fd/caller%20%C3%A4", ("v3:abc/d", "caller ä")),
        ("/media/pcm/" + "x" * 256, ("x" * 256, None)),
    ],
)
def test_ids_come_from_the_path(path: str, ids: tuple[str | None, str | None]) -> None:
    upgrade = read(path).upgrade
    assert (upgrade.session_id, upgrade.leg) == ids


def test_a_session_that_the_query_alone_names_is_known_before_the_upgrade() -> None:
    asked = read("/media/asterisk?session_id=call%2077&leg=a")
    assert (asked.upgrade.session_id, asked.credentials.session_id, asked.upgrade.leg) == ("call 77", "call 77", None)
    assert read("/media/asterisk/s?session_id=t").credentials.session_id == "s"
    assert read("/media/asterisk?session_id=").upgrade.session_id is None  # the dialect refuses it


@pytest.mark.parametrize("segment", ["", "x" * 257, "%00", "%0A", "%FF", "%C2%A0%E2%80%A8"])
def test_an_id_that_cannot_be_one_is_not_found(segment: str) -> None:
    with pytest.raises(NotFound, match="1 to 256 printable"):
        read(f"/media/pcm/{segment}")


def test_the_dialect_sees_the_query_and_headers_without_the_key() -> None:
    asked = read("/media/pcm/s?rate=16000&token=t&app=a&x=&from=+49%2030", Authorization="Bearer k", X_Vendor="v")
    assert asked.upgrade.query == {"rate": "16000", "x": "", "from": "+49 30"}
    assert asked.upgrade.headers == {"x-vendor": "v"}


def test_a_signature_of_twilio_comes_with_the_url_that_was_asked_for() -> None:
    headers = {"Host": "10.0.0.7:8080", "X_Forwarded_Host": "rec.example.com, inner", "X_Twilio_Signature": "c2ln"}
    asked = read("/media/twilio/call%2077?x=1", **headers)
    signed = asked.credentials.signed
    assert signed == SignedUpgrade("c2ln", "/media/twilio/call%2077?x=1", ("10.0.0.7:8080",))
    assert asked.upgrade.headers["x-twilio-signature"] == ""  # detection needs to know that it is there
    assert read("/media/twilio").credentials.signed is None


@pytest.mark.parametrize(
    ("query", "authorization", "token"),
    [
        ("", "", None),
        ("?token=", "", None),
        ("?token=", "Basic dTpw", "p"),
        ("?token=q", "", "q"),
        ("", "Bearer h", "h"),
        ("", "bearer  h ", "h"),
        ("?token=q", "Bearer h", "h"),
        ("?token=q", "Basic aGk=", "q"),
        ("?token=q", "Basic dTpw", "q"),
        ("", "Basic dTpw", "p"),
        ("", "basic  dTpwOmI= ", "p:b"),
        ("", "Basic dTo=", None),
        ("", "Basic aGk=", None),
        ("", "Basic !", None),
        ("", "Basic /w==", None),
        ("?token=q", "Bearer", "q"),
    ],
)
def test_the_key_is_in_the_header_or_else_in_the_query_or_else_a_password(
    query: str, authorization: str, token: str | None
) -> None:
    assert read(f"/media/pcm/s{query}", Authorization=authorization).credentials.token == token


@pytest.mark.parametrize(
    ("path", "headers", "token", "app"),
    [
        ("/media/t/p%2Fq/pcm/s/a", {}, "p/q", None),
        ("/media/t/p/pcm/s/a?token=q&app=shop", {}, "p", "shop"),
        ("/media/pcm/s/a?token=q", {"X_API_Key": "k", "X_App_ID": "shop"}, "k", "shop"),
        ("/media/t/p/pcm/s/a", {"X_API_Key": "k"}, "k", None),
        ("/media/t/p/pcm/s/a", {"Authorization": "Basic dTpw"}, "p", None),
        ("/media/t/p/pcm/s/a", {"Authorization": "Bearer b", "X_API_Key": "k"}, "b", None),
    ],
)
def test_the_key_may_be_in_the_path_or_in_the_headers_of_the_gateway(
    path: str, headers: dict[str, str], token: str, app: str | None
) -> None:
    asked = read(path, **headers)
    assert (asked.credentials.token, asked.credentials.app) == (token, app)
    assert (asked.upgrade.session_id, asked.upgrade.leg) == ("s", "a")
    assert not asked.upgrade.headers.keys() & {"x-api-key", "x-app-id"}


PLACES: list[tuple[str, dict[str, str]]] = [
    ("own", {"X_Recorder_Key": "own"}),
    ("bearer", {"Authorization": "Bearer bearer"}),
    ("api", {"X_API_Key": "api"}),
    ("telnyx", {"X_Telnyx_Streaming_Auth_Token": "telnyx"}),
    ("path", {"path": "/media/t/path/pcm/s/a"}),
    ("query", {"query": "?token=query"}),
    ("basic", {"Authorization": "Basic dTpiYXNpYw=="}),
]
"""Where a key may stand, in the order in which they count."""


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_of_all_the_places_of_a_key_the_first_counts(first: int) -> None:
    expected, _ = PLACES[first]
    said: dict[str, str] = {}
    for _, place in reversed(PLACES[first:]):
        said |= place
    path, query = said.pop("path", "/media/pcm/s/a"), said.pop("query", "")
    fields = Headers({name.replace("_", "-"): value for name, value in said.items()})
    asked = read_request(Request(path + query, fields), routes=ROUTES, peer_host=None, key_header="X-Recorder-Key")
    assert asked.credentials.token == expected
    assert (asked.credentials.hook is not None) is (expected == "api")
    shown = {**asked.upgrade.query, **asked.upgrade.headers}
    assert not {key for key, _ in PLACES} & {*shown.values()}
    assert not any("Basic" in value or "Bearer" in value for value in shown.values())


@pytest.mark.parametrize("path", ["/media/audiohook", "/media", "/media/auto/c1/a?x=1"])
def test_a_request_that_audiohook_may_have_signed_comes_as_it_was_asked_for(path: str) -> None:
    asked = read(path, X_API_KEY="k", Signature="sig1=:AA==:", Signature_Input="sig1=()", Audiohook_Session_Id="e1")
    hook = asked.credentials.hook
    assert hook is not None
    assert (hook.api_key, hook.target, hook.headers["signature"]) == ("k", path, "sig1=:AA==:")
    assert asked.upgrade.headers == {"audiohook-session-id": "e1"}
    assert "sig1" not in repr(asked)


@pytest.mark.parametrize("path", ["/media/t/token/morse/s", "/media/t/token/pcm/s/a/b"])
def test_a_key_in_the_path_comes_before_a_dialect_and_at_most_two_ids(path: str) -> None:
    with pytest.raises(NotFound):
        read(path)


@pytest.mark.parametrize(
    ("peer_host", "headers", "loopback"),
    [
        ("127.0.0.1", {}, True),
        ("127.8.9.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("::ffff:10.0.0.1", {}, False),
        ("10.0.0.1", {}, False),
        (None, {}, False),
        ("", {}, False),
        ("127.0.0.1", {"X_Forwarded_For": "203.0.113.9"}, False),
        ("127.0.0.1", {"Forwarded": "for=203.0.113.9"}, False),
    ],
)
def test_a_client_is_on_this_machine_if_no_proxy_speaks_for_another(
    peer_host: str | None, headers: dict[str, str], loopback: bool
) -> None:
    asked = read("/media/pcm/s", peer_host=peer_host, Host="127.0.0.1:8080", **headers)
    assert asked.credentials.client_is_loopback is loopback


@pytest.mark.parametrize(
    ("peer_host", "address", "hosts"),
    [("10.2.0.1", "203.0.113.9", ("rec.example.com", "inner")), ("198.51.100.7", "198.51.100.7", ("inner",))],
)
def test_only_a_trusted_proxy_names_the_client_and_the_host_that_was_asked_for(
    peer_host: str, address: str, hosts: tuple[str, ...]
) -> None:
    headers = Headers([("X-Forwarded-For", "8.8.8.8"), ("X-Forwarded-For", "203.0.113.9"), ("Host", "inner")])
    headers["X-Forwarded-Host"], headers["X-Twilio-Signature"] = "rec.example.com, between", "c2ln"
    request = Request("/media/twilio/s", headers)
    proxies = (ip_network("10.2.0.0/16"),)
    asked = read_request(request, routes=ROUTES, peer_host=peer_host, trusted_proxies=proxies).credentials
    assert asked.address == address
    assert asked.signed == SignedUpgrade("c2ln", "/media/twilio/s", hosts)


def test_a_key_is_not_shown_with_the_credentials() -> None:
    shown = repr(MediaCredentials(app="a", token="hidden", session_id=None, client_is_loopback=True))
    assert "hidden" not in shown


def test_a_refusal_is_a_problem_with_the_length_of_its_body() -> None:
    response = refusal(NotFound("there is no dialect of this name"))
    assert response.headers["Content-Length"] == str(len(response.body or b""))
    assert json.loads(response.body or b"") == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "there is no dialect of this name",
    }
