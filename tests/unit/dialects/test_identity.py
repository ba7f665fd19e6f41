"""Which session, leg and track a stream is of: each place beats the next, in every dialect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.vendor_peers import peer_of
from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import StreamStarted
from wavstream.dialects.identity import Identity, identify, named_track
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import BadParameter
from wavstream.model.audio import Track
from wavstream.simulator.vendors.registry import PEERS

PLACES = ("path", "query", "header", "said", "vendor")


def request(
    *, path: str | None = None, query: dict[str, str] | None = None, headers: dict[str, str] | None = None, **more: Any
) -> UpgradeRequest:
    leg = None if path is None else f"{path}-leg"
    return UpgradeRequest(session_id=path, leg=leg, query=query or {}, headers=headers or {}, **more)


def named_in(places: set[str], peer_query: dict[str, str], peer_headers: dict[str, str]) -> UpgradeRequest:
    query, headers = dict(peer_query), dict(peer_headers)
    if "query" in places:
        query |= {"session_id": "query", "leg": "query-leg"}
    if "header" in places:
        headers |= {"x-session-id": "header", "x-leg": "header-leg"}
    return request(path="path" if "path" in places else None, query=query, headers=headers)


def started(name: str, places: set[str]) -> StreamStarted:
    """Return the start of a stream as the vendor sends it, that is named at these places."""
    ids = {"session_id": "said", "leg": "said-leg"} if "said" in places else {}
    peer = peer_of(name, parameters=ids)
    query = {key: value for key, value in peer.query().items() if key not in ids}
    dialect = DIALECTS[name](named_in(places, query, dict(peer.headers())))
    events = [*dialect.opened()]
    for message in peer.opening():
        events += dialect.text(message.encode()) if isinstance(message, str) else dialect.binary(message)
    if not any(isinstance(event, StreamStarted) for event in events):  # nothing comes before its audio
        events += dialect.binary(bytes(320))
        events += [] if any(isinstance(event, StreamStarted) for event in events) else dialect.waited()
    (start,) = [event for event in events if isinstance(event, StreamStarted)]
    return start


SPEAKERS = [name for name in sorted(DIALECTS) if name in PEERS]


@pytest.mark.parametrize("name", SPEAKERS)
@pytest.mark.parametrize("first", range(3))
def test_each_place_beats_those_behind_it_in_every_dialect(name: str, first: int) -> None:
    start = started(name, set(PLACES[first:]))
    assert (start.session_id, start.leg) == (PLACES[first], f"{PLACES[first]}-leg")


@pytest.mark.parametrize("name", SPEAKERS)
def test_what_a_stream_says_itself_beats_the_vendors_ids(name: str) -> None:
    start, bare = started(name, {"said"}), started(name, set())
    assert start.session_id in ("said", bare.session_id)  # or it has no place in which it could say it
    if start.session_id == "said" != bare.session_id:
        assert start.leg == "said-leg"
    assert bare.session_id not in PLACES


@pytest.mark.parametrize("first", range(5))
def test_the_order_is_path_query_header_message_vendor(first: int) -> None:
    places = set(PLACES[first:])
    found = identify(
        named_in(places, {}, {}),
        {"session_id": "said", "leg": "said-leg"} if "said" in places else {},
        call_id="vendor",
        leg_id="vendor-leg",
    )
    assert found == Identity(PLACES[first], f"{PLACES[first]}-leg")


def test_session_and_leg_may_come_from_different_places() -> None:
    asked = request(headers={"x-leg": "b"})
    assert identify(asked, {"session_id": "call-77"}, call_id="CA5", leg_id="CA5") == Identity("call-77", "b")


def test_nothing_says_it_where_nothing_does() -> None:
    assert identify(request()) == Identity(None, None)
    assert identify(request(), call_id="", leg_id="") == Identity(None, None)


def test_of_several_names_of_the_session_the_most_specific_counts() -> None:
    names = ("session_id", "callsid", "call")
    assert identify(request(query={"call": "2", "callsid": "1"}), session_names=names).session_id == "1"
    assert identify(request(query={"call": "2"}), {"session_id": "3"}, session_names=names).session_id == "2"


@pytest.mark.parametrize("wrong", ["", "x" * 257, "a\nb"])
@pytest.mark.parametrize("place", ["query", "headers", "said"])
@pytest.mark.parametrize("field", ["session_id", "leg"])
def test_what_cannot_be_an_id_is_refused_wherever_it_stands(place: str, field: str, wrong: str) -> None:
    name = {"session_id": "x-session-id", "leg": "x-leg"}[field] if place == "headers" else field
    ids = {name: wrong}
    asked = request(query=ids) if place == "query" else request(headers=ids if place == "headers" else {})
    with pytest.raises(BadParameter) as refused:
        identify(asked, ids if place == "said" else {})
    assert refused.value.field == name


def test_an_id_may_be_a_number() -> None:
    assert identify(request(), {"session_id": 42, "leg": 7}) == ("42", "7")


@pytest.mark.parametrize("wrong", [True, 4.2, None, [], {}])
def test_what_a_message_says_may_be_of_any_type(wrong: object) -> None:
    if wrong is None:
        assert identify(request(), {"session_id": wrong}).session_id is None
        return
    with pytest.raises(BadParameter):
        identify(request(), {"session_id": wrong})


@pytest.mark.parametrize(
    ("asked", "said", "found"),
    [
        (request(), {}, None),
        (request(defaults={"track": "outbound"}), {}, Track.OUTBOUND),
        (request(defaults={"track": "outbound"}), {"track": "inbound_track"}, Track.INBOUND),
        (request(headers={"x-track": "outbound_track"}), {"track": "inbound"}, Track.OUTBOUND),
        (request(query={"track": "inbound"}, headers={"x-track": "outbound"}), {"track": "outbound"}, Track.INBOUND),
    ],
)
def test_a_track_is_named_in_the_same_order_and_last_by_the_route(
    asked: UpgradeRequest, said: dict[str, str], found: Track | None
) -> None:
    assert named_track(asked, said) == found


@pytest.mark.parametrize("track", ["both", "", 7, ["inbound"]])
def test_a_track_that_is_none_is_refused(track: object) -> None:
    with pytest.raises(BadParameter, match="inbound or outbound"):
        named_track(request(), {"track": track})
