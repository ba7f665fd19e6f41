"""A recording makes Asterisk stream, over ARI."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.server import Server, ServerConnection, serve

from tests.support.ari_server import Asterisk, Call, Connection
from tests.support.waiting import begun, until
from wavstream.errors import InvalidFields, NotFound, OpenerFailed, OperatorError
from wavstream.sessions.openers.ari import AriOpener
from wavstream.sessions.openers.ari_link import AriLink
from wavstream.sessions.openers.base import Mix, OpenRequest

CHANNEL = "1767.12"
SILENCE = np.zeros(8000, np.int16)
REQUEST = OpenRequest(
    app_id="shop",
    session_id=CHANNEL,
    recording_id="5f0c",
    media_url=f"ws://rec.example.com:8080/media/asterisk/{CHANNEL}",
    stream_token="wst_abc-_1",
    expires_at=datetime(2026, 11, 1, tzinfo=UTC),
)
NOW_OR_NEVER_S = 0.3
"""For the tests in which it is waited out."""


class Ear:
    """A media server of ours that only listens."""

    def __init__(self) -> None:
        self.sockets: list[ServerConnection] = []
        self.server: Server | None = None

    async def __aenter__(self) -> Ear:
        self.server = await serve(self._hear, "127.0.0.1", 0, compression=None, ping_interval=None)
        return self

    async def __aexit__(self, *_: Any) -> None:
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()

    @property
    def uri(self) -> str:
        assert self.server is not None
        return f"ws://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}/media/asterisk"

    async def _hear(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        async for _ in socket:
            pass


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    async with Ear() as ear:
        yield ear


@pytest.fixture
async def asterisk(ear: Ear) -> AsyncIterator[Asterisk]:
    call = Call(SILENCE, SILENCE, {"recorded_by": "shop"})
    async with Asterisk({CHANNEL: call}, {"wavstream": Connection(ear.uri)}) as asterisk:
        yield asterisk


@contextlib.asynccontextmanager
async def opener_of(
    asterisk: Asterisk,
    *,
    password: str | None = None,
    answer_timeout_s: float = 30.0,
    url: str | None = None,
    **chosen: Any,
) -> AsyncIterator[AriOpener]:
    link = AriLink(
        url=url or asterisk.url,
        user=asterisk.user,
        password=password or asterisk.password,
        answer_timeout_s=answer_timeout_s,
        retry_waits_s=(0.0, 0.01),
    )
    opener = AriOpener(link, retry_waits_s=[0.01] * 100, **chosen)
    async with link, opener:
        yield opener


@pytest.fixture
async def opener(asterisk: Asterisk) -> AsyncIterator[AriOpener]:
    async with opener_of(asterisk) as opener:
        yield opener


async def close(opener: AriOpener, app_id: str = "shop", session_id: str = CHANNEL) -> None:
    await opener.close(app_id=app_id, session_id=session_id)


def queries(asterisk: Asterisk) -> list[dict[str, str]]:
    asked = [parse_qs(urlsplit(uri).query) for uri in asterisk.uris]
    return sorted(({name: value for name, (value,) in each.items()} for each in asked), key=lambda each: each["track"])


async def test_both_directions_of_a_channel_are_streamed_and_ended_without_a_trace(
    asterisk: Asterisk, opener: AriOpener, ear: Ear
) -> None:
    await opener.open(REQUEST)
    assert queries(asterisk) == [
        {"session_id": CHANNEL, "leg": "a", "track": "inbound"},
        {"session_id": CHANNEL, "leg": "a", "track": "outbound"},
    ]
    assert sorted(len(inside) for inside in asterisk.bridges.values()) == [2, 2]
    assert sorted(channel.spy for channel in asterisk.channels.values()) == ["", "", "in", "out"]
    await close(opener)
    assert (asterisk.channels, asterisk.bridges) == ({}, {})
    assert list(asterisk.calls) == [CHANNEL]
    for socket in ear.sockets:
        await socket.wait_closed()
        assert socket.close_code == 1000
    await close(opener)  # there is nothing any more


@pytest.mark.parametrize(("mix", "spy"), [(Mix.MONO, "in"), (Mix.MIXED, "both")])
async def test_a_single_stream_has_the_party_alone_or_all_that_is_said(asterisk: Asterisk, mix: Mix, spy: str) -> None:
    async with opener_of(asterisk, mix=mix, rate_hz=16_000) as opener:
        await opener.open(REQUEST)
        assert sorted(channel.spy for channel in asterisk.channels.values()) == ["", spy]
        assert [query["track"] for query in queries(asterisk)] == ["inbound"]
        await close(opener)


async def test_an_id_is_never_more_than_a_value_of_the_query(asterisk: Asterisk) -> None:
    session = "a,leg=z)d(both)/ü&x=1.1767.12"
    async with opener_of(asterisk, channel=r".*[.](?P<channel>1767[.]12)", gives_token=True) as opener:
        await opener.open(replace(REQUEST, session_id=session))
        assert [(each["session_id"], each["leg"], each["token"]) for each in queries(asterisk)] == [
            (session, "a", "wst_abc-_1")
        ] * 2
        await close(opener, session_id=session)
    assert asterisk.channels == {}


async def test_a_channel_may_be_named_in_any_way_that_asterisk_names_one(asterisk: Asterisk, opener: AriOpener) -> None:
    name = "PJSIP/alice-00000001;2"
    asterisk.calls[name] = Call(SILENCE, SILENCE)
    await opener.open(replace(REQUEST, session_id=name))
    assert f"POST channels/PJSIP%2Falice-00000001%3B2/snoop/{next(iter(asterisk.channels))}" in asterisk.asked


@pytest.mark.parametrize("session", ["", "a b", "..", "x" * 150, "a?b", "a\nb", "ü"])
async def test_a_session_that_names_no_channel_is_a_wrong_field(
    asterisk: Asterisk, opener: AriOpener, session: str
) -> None:
    with pytest.raises(InvalidFields, match="does not name a channel of Asterisk"):
        await opener.open(replace(REQUEST, session_id=session))
    assert [asked for asked in asterisk.asked if asked.startswith("POST")] == []


async def test_a_channel_that_is_not_there_is_not_found_and_leaves_nothing(
    asterisk: Asterisk, opener: AriOpener
) -> None:
    with pytest.raises(NotFound, match="no channel of this session"):
        await opener.open(replace(REQUEST, session_id="1767.99"))
    await asterisk.empty()


@pytest.mark.parametrize(("app", "may"), [("shop", True), ("bank", False)])
async def test_only_the_app_that_the_channels_variable_names_may_have_it(
    asterisk: Asterisk, app: str, may: bool
) -> None:
    asterisk.calls["1767.13"] = Call(SILENCE, SILENCE)
    async with opener_of(asterisk, owner_variable="recorded_by") as opener:
        if may:
            await opener.open(replace(REQUEST, app_id=app))
        else:
            with pytest.raises(NotFound):
                await opener.open(replace(REQUEST, app_id=app))
        for nobodys in ("1767.13", "1767.99"):
            with pytest.raises(NotFound):
                await opener.open(replace(REQUEST, app_id=app, session_id=nobodys))
        asterisk.failing["/variable"] = (500, "Unable to read provided function")
        with pytest.raises(OpenerFailed, match=r"whose the channel is: 500 \(Unable to read"):
            await opener.open(replace(REQUEST, app_id=app))


@pytest.mark.parametrize(
    ("path", "status", "message", "kind", "says"),
    [
        ("/channels/externalMedia", 501, "not supported", OperatorError, "20.16, 21.11, 22.6, 23.0 or later"),
        ("/channels/externalMedia", 500, "Allocation failed", OpenerFailed, r"no \[wavstream\], or chan_websocket"),
        ("/channels/externalMedia", 400, "Provided format was not found", OpenerFailed, r"400 \(Provided"),
        ("/channels/externalMedia", 409, "already exists", OpenerFailed, "409"),
        ("-in-snoop", 500, "Snoop channel could not be created", OpenerFailed, r"listens \(snoop\): 500"),
        ("-out", 409, "Bridge with the same bridgeId already exists", OpenerFailed, "a bridge: 409"),
        ("/addChannel", 422, "Channel not in Stasis application", OpenerFailed, "did not connect the channels: 422"),
    ],
)  # fmt: skip
async def test_what_asterisk_refuses_says_who_has_to_look_at_what_and_leaves_nothing(
    asterisk: Asterisk, opener: AriOpener, path: str, status: int, message: str, kind: type[Exception], says: str
) -> None:
    asterisk.failing[path] = (status, message)
    with pytest.raises(kind, match=says):
        await opener.open(REQUEST)
    asterisk.failing.clear()
    await asterisk.empty()
    await opener.open(REQUEST)
    await close(opener)


async def test_a_connection_that_is_not_in_asterisks_settings_is_told_by_its_name(asterisk: Asterisk) -> None:
    async with opener_of(asterisk, connection="other") as opener:
        with pytest.raises(OpenerFailed, match=r"has no \[other\]"):
            await opener.open(REQUEST)
        await asterisk.empty()


async def test_an_asterisk_that_cannot_reach_us_is_told_to_the_log_and_leaves_nothing(
    asterisk: Asterisk, opener: AriOpener
) -> None:
    asterisk.connections["wavstream"] = Connection("ws://127.0.0.1:9/media/asterisk")
    with pytest.raises(OpenerFailed, match=r"could not connect to us \(No route to destination\): websocket_client"):
        await opener.open(REQUEST)
    await asterisk.empty()


@pytest.mark.parametrize(("wrong", "says"), [("password", "ari.conf has others"), ("read_only", "read_only = no")])
async def test_a_user_that_may_not_is_for_the_operator(asterisk: Asterisk, wrong: str, says: str) -> None:
    asterisk.is_read_only = wrong == "read_only"
    async with opener_of(asterisk, password="wrong" if wrong == "password" else None) as opener:
        with pytest.raises(OperatorError, match=says):
            await opener.open(REQUEST)
        if wrong == "password":
            assert says in str(opener.trouble)


async def test_an_asterisk_that_does_not_answer_is_given_up(asterisk: Asterisk) -> None:
    async with opener_of(asterisk, answer_timeout_s=NOW_OR_NEVER_S) as opener:
        await asterisk.connected()
        await until(lambda: "GET channels" in asterisk.asked)
        asterisk.silent = True
        with pytest.raises(OpenerFailed, match=r"in time|within 0\.3 s"):
            await opener.open(REQUEST)
        asterisk.silent = False
        asterisk._silence.set()


async def test_an_address_without_an_asterisk_is_found_at_the_start_told_once_and_again_when_it_is_there(
    asterisk: Asterisk,
) -> None:
    await asterisk.stop()
    with capture_logs() as logs:
        async with opener_of(asterisk, answer_timeout_s=NOW_OR_NEVER_S) as opener:
            with pytest.raises(OpenerFailed, match="cannot be reached"):
                await opener.open(REQUEST)
            assert "look at it, and at [opener]" in str(opener.trouble)
            await asterisk.start()
            await asterisk.connected()
            await until(lambda: opener.trouble is None)
            await opener.open(REQUEST)
            await close(opener)
    told = [entry["event"] for entry in logs if entry["event"].startswith("ari_")]
    assert told == ["ari_unreachable", "ari_connected"]


async def test_a_wrong_path_is_told_as_one(asterisk: Asterisk) -> None:
    wrong = asterisk.url.removesuffix("/ari")
    async with opener_of(asterisk, url=wrong, answer_timeout_s=NOW_OR_NEVER_S) as opener:
        with pytest.raises(OpenerFailed, match=r"opener\.url has to end with ARI's path, mostly /ari"):
            await opener.open(REQUEST)


async def test_a_call_that_hangs_up_leaves_nothing_in_asterisk(asterisk: Asterisk, opener: AriOpener) -> None:
    await opener.open(REQUEST)
    await asterisk.end_call(CHANNEL)
    await asterisk.empty()
    assert opener._taps == set()


async def test_a_stream_that_we_end_leaves_nothing_in_asterisk(asterisk: Asterisk, opener: AriOpener, ear: Ear) -> None:
    await opener.open(REQUEST)
    for socket in ear.sockets:
        await socket.close(1001)
    await asterisk.empty()


async def test_what_a_server_opened_before_its_restart_is_ended_by_the_next_one(asterisk: Asterisk) -> None:
    async with opener_of(asterisk) as before:
        await before.open(REQUEST)
        names = set(asterisk.channels)
    async with opener_of(asterisk) as after:
        await after.open(replace(REQUEST, app_id="bank"))
        await close(after)
        assert len(asterisk.channels) == 4
        assert not names & set(asterisk.channels)


async def test_a_call_that_hangs_up_after_a_restart_leaves_nothing(asterisk: Asterisk) -> None:
    async with opener_of(asterisk) as before:
        await before.open(REQUEST)
    async with opener_of(asterisk) as after:
        await until(lambda: len(after._taps) == 2)
        watched = f"POST applications/{after._link.app}/subscription"
        await until(lambda: asterisk.asked.count(watched) == 2)
        await asterisk.end_call(CHANNEL)
        await asterisk.empty()


async def test_what_a_call_left_that_hung_up_while_nobody_was_connected_is_removed(asterisk: Asterisk) -> None:
    async with opener_of(asterisk) as before:
        await before.open(REQUEST)
    await asterisk.end_call(CHANNEL)
    assert len(asterisk.channels) == 2
    async with opener_of(asterisk):
        await asterisk.empty()


async def test_a_connection_that_breaks_is_made_again_and_what_happened_meanwhile_is_seen(
    asterisk: Asterisk, opener: AriOpener
) -> None:
    await opener.open(REQUEST)
    await asterisk.stop()
    await asterisk.end_call(CHANNEL)
    await asterisk.start()
    await asterisk.empty()
    await until(lambda: opener._taps == set())


async def test_each_link_is_an_application_of_its_own(asterisk: Asterisk) -> None:
    async with opener_of(asterisk), opener_of(asterisk):
        await until(lambda: len(asterisk.apps) == 2)
        assert all(re.fullmatch("wavstream-[0-9a-f]{8}", app) for app in asterisk.apps)


async def test_an_opening_that_is_given_up_leaves_nothing(asterisk: Asterisk, opener: AriOpener) -> None:
    goes_on = asterisk.late["channels/externalMedia"] = asyncio.Event()  # else it may be over before it is given up
    opening = await begun(opener.open(REQUEST))
    await until(lambda: asterisk.channels)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asterisk.empty()
    goes_on.set()


async def test_a_bridge_that_asterisk_makes_when_its_opening_was_given_up_is_removed(
    asterisk: Asterisk, opener: AriOpener
) -> None:
    asterisk.late["bridges/"] = asyncio.Event()
    opening = await begun(opener.open(REQUEST))
    await until(lambda: len([each for each in asterisk.asked if each.startswith("POST bridges/")]) == 2)
    opening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await opening
    await until(lambda: len([each for each in asterisk.asked if each.startswith("DELETE bridges/")]) >= 2)
    asterisk.late["bridges/"].set()
    await until(lambda: asterisk.made == 2)
    await asterisk.empty()


async def test_a_tap_whose_stream_broke_while_nobody_listened_is_removed_and_one_that_streams_is_not(
    asterisk: Asterisk,
) -> None:
    async with opener_of(asterisk, mix=Mix.MONO) as first:
        await first.open(REQUEST)
    (streaming,) = asterisk.bridges
    silent = "wavstream-0123456789abcdef-01234567-in"
    asterisk.bridges[silent] = []
    asterisk.channels[f"{silent}-snoop"] = replace(asterisk.channels[f"{streaming}-snoop"], tasks=[])
    async with opener_of(asterisk, answer_timeout_s=NOW_OR_NEVER_S):
        await until(lambda: silent not in asterisk.bridges and f"{silent}-snoop" not in asterisk.channels)
        assert asterisk.bridges.keys() == {streaming}
        assert asterisk.channels.keys() == {f"{streaming}-snoop", f"{streaming}-media"}


async def test_a_tap_that_cannot_be_removed_keeps_no_other_from_it(asterisk: Asterisk) -> None:
    dead = [f"wavstream-0123456789abcdef-0123456{number}-in" for number in range(3)]
    asterisk.bridges |= {each: [] for each in dead}
    asterisk.failing[dead[0]] = (500, "no")
    async with opener_of(asterisk):
        await until(lambda: asterisk.bridges.keys() == {dead[0]})


async def test_an_asterisk_that_cannot_list_what_there_is_yet_is_asked_again(asterisk: Asterisk) -> None:
    asterisk.bridges["wavstream-0123456789abcdef-01234567-in"] = []
    asterisk.failing["ari/bridges"] = (503, "not yet")
    async with opener_of(asterisk):
        await until(lambda: "GET bridges" in asterisk.asked)
        asterisk.failing.clear()
        await asterisk.empty()


async def test_a_stop_that_asterisk_does_not_take_fails_and_is_tried_again_behind_it(
    asterisk: Asterisk, opener: AriOpener
) -> None:
    await opener.open(REQUEST)
    asterisk.failing["-media"] = (500, "no")
    with pytest.raises(OpenerFailed, match=r"did not end a stream: 500 \(no\)"):
        await close(opener)
    asterisk.failing.clear()
    await asterisk.empty()


async def test_what_cannot_be_removed_in_the_end_is_told_to_the_log(asterisk: Asterisk) -> None:
    with capture_logs() as logs:
        async with opener_of(asterisk, answer_timeout_s=5.0) as opener:
            await opener.open(REQUEST)
            asterisk.failing["-media"] = (500, "no")
            await asterisk.end_call(CHANNEL)
            await until(lambda: [entry["reason"] for entry in logs if entry["event"] == "ari_taps_left"])
    assert {entry["reason"] for entry in logs if entry["event"] == "ari_taps_left"} == {
        "Asterisk did not end a stream: 500 (no)"
    }


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"rate_hz": 40_000}, "opener.rate: Asterisk has no format of 40000 Hz; it has: 8000, 16000"),
        ({"connection": "a/b"}, "opener.connection"),
        ({"channel": "("}, "not a regular expression"),
        ({"channel": ".*"}, "group of this name"),
        ({"owner_variable": "a b"}, "not the name of a channel variable"),
    ],
)
def test_settings_that_cannot_be_keep_the_server_from_starting(chosen: dict[str, Any], says: str) -> None:
    link = AriLink(url="http://127.0.0.1:8088/ari", user="u", password="p")
    with pytest.raises(OperatorError, match=says):
        AriOpener(link, **chosen)


def test_a_user_with_a_colon_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"opener\.user"):
        AriLink(url="http://127.0.0.1:8088/ari", user="a:b", password="p")
