"""A recording makes FreeSWITCH stream, over its event socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.event_socket import Channel, FreeSwitch
from tests.support.waiting import begun, until
from wavstream.errors import DependencyError, InvalidFields, NotFound, OperatorError
from wavstream.sessions.openers.base import Mix, OpenRequest
from wavstream.sessions.openers.esl import EslOpener, SilencePlayback, StreamCommand
from wavstream.sessions.openers.switch_link import SwitchLink

CHANNEL = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
OTHER = "0b9c0f5e-6d2b-4c8e-9a41-2f6a7c1d8e90"
SESSION = f"acW68-{CHANNEL}"
URL = f"ws://rec.example.com:8080/media/audio-stream/{SESSION}"
REQUEST = OpenRequest(
    app_id="shop",
    session_id=SESSION,
    recording_id="5f0c",
    media_url=URL,
    stream_token="wst_abc-_1",
    expires_at=datetime(2026, 11, 1, tzinfo=UTC),
)
GIVES_UP_S = 0.5
"""For the tests in which it is waited out."""


@pytest.fixture
async def switch() -> AsyncIterator[FreeSwitch]:
    switch = FreeSwitch(channels={CHANNEL: Channel()})
    await switch.start()
    yield switch
    await switch.stop()


@contextlib.asynccontextmanager
async def linked(
    switch: FreeSwitch, *, password: str = "ClueCon", user: str | None = None, answer_timeout_s: float = 60.0
) -> AsyncIterator[SwitchLink]:
    async with SwitchLink(
        host="127.0.0.1",
        port=switch.port,
        password=password,
        user=user,
        answer_timeout_s=answer_timeout_s,
        retry_waits_s=(0.0, 0.01),
    ) as link:
        yield link


@pytest.fixture
async def link(switch: FreeSwitch) -> AsyncIterator[SwitchLink]:
    async with linked(switch) as link:
        yield link


async def close(opener: EslOpener, session_id: str = SESSION) -> None:
    await opener.close(app_id="shop", session_id=session_id)


# ---- what is asked -------------------------------------------------------------------------------------------------


async def test_the_channel_is_told_where_to_stream_and_then_to_stop(switch: FreeSwitch, link: SwitchLink) -> None:
    opener = EslOpener(link)

    await opener.open(REQUEST)

    address = f"{URL}?rate=8000&channels=2&token=wst_abc-_1"
    assert switch.commands == [f"uuid_audio_stream {CHANNEL} start {address} stereo 8k"]
    assert switch.channels[CHANNEL].stream == [address, "stereo", "8k"]

    await close(opener)

    assert switch.commands[1:] == [f"uuid_audio_stream {CHANNEL} stop"]
    assert switch.channels[CHANNEL].stream is None


async def test_a_channel_is_streamed_for_the_app_that_its_variable_names_and_for_no_other(
    switch: FreeSwitch, link: SwitchLink
) -> None:
    opener = EslOpener(link, owner_variable="recorded_by")
    for owner in ({}, {"recorded_by": "bank"}, {"recorded_by": "shop2"}, {"recorded_by": ""}):
        switch.channels[CHANNEL].variables = owner
        with pytest.raises(NotFound):
            await opener.open(REQUEST)
    del switch.channels[CHANNEL]
    with pytest.raises(NotFound):
        await opener.open(REQUEST)
    assert set(switch.commands) == {f"uuid_getvar {CHANNEL} recorded_by"}

    switch.channels[CHANNEL] = Channel(variables={"recorded_by": "shop"})
    await opener.open(REQUEST)
    assert switch.channels[CHANNEL].stream is not None


async def test_a_variable_that_would_be_more_than_a_name_is_refused(link: SwitchLink) -> None:
    with pytest.raises(OperatorError, match=r"opener\.owner_variable"):
        EslOpener(link, owner_variable="a b")


async def test_a_fork_is_played_silence_for_as_long_as_it_streams(switch: FreeSwitch, link: SwitchLink) -> None:
    opener = EslOpener(
        link, command=StreamCommand.AUDIO_FORK, mix=Mix.MIXED, rate_hz=24_000, silence=SilencePlayback.BOTH
    )
    request = replace(REQUEST, media_url=f"{URL}?keepalive=0", stream_token=None)

    await opener.open(request)

    assert switch.channels[CHANNEL] == Channel(
        stream=[f"{URL}?keepalive=0&rate=24000&channels=1", "mixed", "24000"], silence="both"
    )

    await close(opener)

    assert switch.channels[CHANNEL] == Channel()
    assert switch.commands == [
        f"uuid_audio_fork {CHANNEL} start {URL}?keepalive=0&rate=24000&channels=1 mixed 24000",
        f"uuid_broadcast {CHANNEL} silence_stream://-1 both",
        f"uuid_audio_fork {CHANNEL} stop",
        f"uuid_break {CHANNEL} both",
    ]


async def test_a_stop_that_is_asked_during_the_start_comes_after_all_of_it(
    switch: FreeSwitch, link: SwitchLink
) -> None:
    opener = EslOpener(link, silence=SilencePlayback.ALEG)
    switch.hold()
    opening = asyncio.create_task(opener.open(REQUEST))
    await switch.heard(1)
    closing = await begun(close(opener))

    switch.let(4)
    await asyncio.gather(opening, closing)

    assert switch.channels[CHANNEL] == Channel()
    assert [command.split(" ")[0] for command in switch.commands] == [
        "uuid_audio_stream",
        "uuid_broadcast",
        "uuid_audio_stream",
        "uuid_break",
    ]


async def test_a_channel_may_have_any_name_where_a_pattern_finds_it(switch: FreeSwitch, link: SwitchLink) -> None:
    switch.channels["call.7"] = Channel()

    await EslOpener(link, channel="fs:(?P<channel>.+)").open(replace(REQUEST, session_id="fs:call.7"))

    assert switch.channels["call.7"].stream is not None


@pytest.mark.parametrize("pattern", ["(", ".*"])
async def test_a_pattern_that_finds_no_channel_is_the_operators_to_mend(pattern: str, link: SwitchLink) -> None:
    with pytest.raises(OperatorError, match=r"opener\.channel"):
        EslOpener(link, channel=pattern)


# ---- what cannot be asked ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "session_id",
    [
        "call-77",
        f"{CHANNEL} stop",
        f"{CHANNEL}\n\napi shutdown",
        f"a\n{CHANNEL}",
        f"a-{CHANNEL}\n",
        f"a-{CHANNEL[:-1]}g",
        "",
    ],
)
async def test_a_session_id_without_a_channel_is_refused_and_nothing_is_sent(
    session_id: str, switch: FreeSwitch, link: SwitchLink
) -> None:
    opener = EslOpener(link)

    with pytest.raises(InvalidFields, match="/session_id"):
        await opener.open(replace(REQUEST, session_id=session_id))
    with pytest.raises(InvalidFields, match="/session_id"):
        await close(opener, session_id)

    assert switch.commands == []


@pytest.mark.parametrize("channel", ["a b", "a\tb", "a\n\napi shutdown", "a'b", 'a"b', "a\\b", "a\u2028b", "a\x00", ""])
async def test_whatever_the_pattern_finds_stays_one_word(channel: str, switch: FreeSwitch, link: SwitchLink) -> None:
    with pytest.raises(InvalidFields):
        await EslOpener(link, channel="(?s:(?P<channel>.*))").open(replace(REQUEST, session_id=channel))

    assert switch.commands == []


@pytest.mark.parametrize(
    "url", ["ws://h/a b", "ws://h/a\n\napi shutdown", "ws://h/'a", 'ws://h/"a', "ws://h/\\a", "http://h/a", "ws://h/ü"]
)
async def test_a_url_that_freeswitch_would_take_apart_is_refused_and_not_repeated(
    url: str, switch: FreeSwitch, link: SwitchLink
) -> None:
    with pytest.raises(OperatorError, match="media URL") as refused:
        await EslOpener(link).open(replace(REQUEST, media_url=url))

    assert "wst_" not in str(refused.value)
    assert switch.commands == []


@pytest.mark.parametrize("token", ["a b", "a\nb", "a'b"])
async def test_neither_is_a_token(token: str, switch: FreeSwitch, link: SwitchLink) -> None:
    with pytest.raises(OperatorError, match="media URL"):
        await EslOpener(link).open(replace(REQUEST, stream_token=token))

    assert switch.commands == []


async def test_a_command_is_one_line(switch: FreeSwitch, link: SwitchLink) -> None:
    with pytest.raises(ValueError, match="one line"):
        await link.api("status\n\napi shutdown")


# ---- what freeswitch answers ---------------------------------------------------------------------------------------


async def test_a_channel_that_is_not_there_is_not_found(switch: FreeSwitch, link: SwitchLink) -> None:
    with pytest.raises(NotFound, match="no channel"):
        await EslOpener(link).open(replace(REQUEST, session_id=OTHER))


async def test_a_channel_that_streams_already_is_told_from_one_that_is_not_there(
    switch: FreeSwitch, link: SwitchLink
) -> None:
    opener = EslOpener(link)
    await opener.open(REQUEST)

    with pytest.raises(DependencyError, match=r"-ERR Operation Failed.*streams already"):
        await opener.open(REQUEST)


async def test_without_its_module_the_operator_must_act_at_the_start_and_at_the_stop(
    switch: FreeSwitch, link: SwitchLink
) -> None:
    switch.modules.remove("uuid_audio_fork")
    opener = EslOpener(link, command=StreamCommand.AUDIO_FORK)

    with pytest.raises(OperatorError, match="does not know uuid_audio_fork"):
        await opener.open(REQUEST)
    with pytest.raises(OperatorError, match="does not know uuid_audio_fork"):
        await close(opener)


async def test_a_user_that_may_not_run_the_command_is_the_operators_to_mend(
    switch: FreeSwitch, link: SwitchLink
) -> None:
    switch.allowed = {"uuid_exists"}

    with pytest.raises(OperatorError, match="does not let this user"):
        await EslOpener(link).open(REQUEST)


async def test_a_stream_is_there_although_its_silence_may_not_be_played(switch: FreeSwitch, link: SwitchLink) -> None:
    switch.allowed = {"uuid_audio_stream"}

    await EslOpener(link, silence=SilencePlayback.ALEG).open(REQUEST)

    assert switch.channels[CHANNEL].stream is not None


async def test_a_stream_is_there_although_nobody_knows_of_its_silence(switch: FreeSwitch, link: SwitchLink) -> None:
    switch.losing = ["uuid_broadcast"]

    await EslOpener(link, silence=SilencePlayback.ALEG).open(REQUEST)

    assert switch.channels[CHANNEL].stream is not None


@pytest.mark.parametrize("silence", list(SilencePlayback))
async def test_the_stop_of_a_channel_that_has_hung_up_is_no_error(
    silence: SilencePlayback, switch: FreeSwitch, link: SwitchLink
) -> None:
    opener = EslOpener(link, silence=silence)
    await opener.open(REQUEST)
    del switch.channels[CHANNEL]

    await close(opener)


async def test_an_event_between_two_answers_is_not_taken_for_one(switch: FreeSwitch, link: SwitchLink) -> None:
    switch.chatty = True

    with pytest.raises(NotFound):
        await EslOpener(link).open(replace(REQUEST, session_id=OTHER))


async def test_many_commands_are_under_way_at_once_and_each_gets_its_own_answer(
    switch: FreeSwitch, link: SwitchLink
) -> None:
    names = [f"c{number}" for number in range(50)]
    switch.channels |= {name: Channel() for name in names[::2]}
    switch.hold()
    asked = [asyncio.create_task(link.api(f"uuid_exists {name}")) for name in names]
    await switch.heard(1)

    switch.let(50)

    assert await asyncio.gather(*asked) == ["true", "false"] * 25
    assert switch.commands == [f"uuid_exists {name}" for name in names]
    assert switch.connections == 1


# ---- the connection ------------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_the_operators_to_mend_and_the_next_try_may_work(switch: FreeSwitch) -> None:
    async with linked(switch, password="wrong") as link:
        with pytest.raises(OperatorError, match="password"):
            await EslOpener(link).open(REQUEST)
        with pytest.raises(OperatorError, match="password"):
            await EslOpener(link).open(REQUEST)

        switch.password = "wrong"

        async def opened() -> bool:
            with contextlib.suppress(OperatorError):
                await EslOpener(link).open(REQUEST)
            return switch.channels[CHANNEL].stream is not None

        await until(opened)


async def test_a_host_that_the_acl_rejects_is_the_operators_to_mend(switch: FreeSwitch) -> None:
    switch.lets_in = False

    async with linked(switch) as link:
        with pytest.raises(OperatorError, match="ACL"):
            await EslOpener(link).open(REQUEST)


async def test_a_user_of_the_directory_has_a_password_of_its_own(switch: FreeSwitch) -> None:
    switch.users = {"wavstream@example.com": "its own: @1"}

    async with linked(switch, password="its own: @1", user="wavstream@example.com") as link:
        assert await link.api(f"uuid_exists {CHANNEL}") == "true"


@pytest.mark.parametrize(
    ("password", "user"),
    [("two\nlines", None), ("nul\x00", None), ("p", "wavstream"), ("p", "a@b:c"), ("p", "a@b@c"), ("p", "a\n@b")],
)
def test_a_password_or_user_that_cannot_be_sent_is_refused_at_once(password: str, user: str | None) -> None:
    with pytest.raises(OperatorError, match="password must be"):
        SwitchLink(host="127.0.0.1", port=1, password=password, user=user)


async def test_a_command_waits_for_a_freeswitch_that_starts(switch: FreeSwitch) -> None:
    await switch.stop()
    async with linked(switch) as link:
        opening = await begun(EslOpener(link).open(REQUEST))
        await switch.start()

        await opening

    assert switch.channels[CHANNEL].stream is not None


async def test_a_command_waits_no_longer_than_it_may(switch: FreeSwitch) -> None:
    await switch.stop()
    async with linked(switch, answer_timeout_s=GIVES_UP_S) as link:
        with pytest.raises(DependencyError, match=r"cannot be reached: .+"):
            await EslOpener(link).open(REQUEST)
    await switch.start()


async def test_after_a_restart_of_freeswitch_commands_go_to_the_new_one(switch: FreeSwitch, link: SwitchLink) -> None:
    opener = EslOpener(link)
    await opener.open(REQUEST)
    await switch.stop()
    switch.channels[CHANNEL] = Channel()
    await switch.start()

    await opener.open(REQUEST)

    assert switch.channels[CHANNEL].stream is not None


async def test_after_a_goodbye_it_connects_again(switch: FreeSwitch, link: SwitchLink) -> None:
    await link.api(f"uuid_exists {CHANNEL}")

    switch.say_goodbye()
    await switch.connected(2)

    assert await link.api(f"uuid_exists {CHANNEL}") == "true"


async def test_a_start_whose_answer_is_lost_fails_and_is_not_run_twice(switch: FreeSwitch, link: SwitchLink) -> None:
    switch.losing = ["uuid_audio_stream"]

    with pytest.raises(DependencyError, match="was lost before it had answered"):
        await EslOpener(link).open(REQUEST)
    await switch.connected(2)

    assert len(switch.commands) == 1


async def test_a_stop_whose_answer_is_lost_is_run_again(switch: FreeSwitch, link: SwitchLink) -> None:
    opener = EslOpener(link)
    await opener.open(REQUEST)
    switch.losing = ["uuid_audio_stream"] * 2

    await close(opener)

    assert switch.commands[1:] == [f"uuid_audio_stream {CHANNEL} stop"] * 3
    assert switch.connections == 3


async def test_a_freeswitch_that_has_gone_silent_is_left_for_a_new_connection(switch: FreeSwitch) -> None:
    async with linked(switch, answer_timeout_s=GIVES_UP_S) as link:
        await link.api(f"uuid_exists {CHANNEL}")
        switch.hold()

        with pytest.raises(DependencyError, match=r"has not answered within 0\.5 s"):
            await link.api(f"uuid_exists {CHANNEL}")

        await switch.connected(2)
        switch.let(2)
        assert await link.api(f"uuid_exists {OTHER}") == "false"


async def test_a_freeswitch_that_is_slow_is_kept_and_an_answer_that_comes_too_late_is_nobody_elses(
    switch: FreeSwitch,
) -> None:
    async with linked(switch, answer_timeout_s=GIVES_UP_S) as link:
        switch.hold()
        quick, late = (asyncio.create_task(link.api(f"uuid_exists {name}")) for name in (CHANNEL, OTHER))
        await switch.heard(1)
        switch.let(1)
        assert await quick == "true"
        with pytest.raises(DependencyError, match="has not answered"):
            await late

        switch.let(2)

        assert await link.api(f"uuid_exists {CHANNEL}") == "true"
        assert switch.connections == 1


async def test_a_connection_that_ends_as_it_begins_takes_no_command_with_it(switch: FreeSwitch) -> None:
    switch.turning_away = 3
    async with linked(switch) as link:
        assert await link.api(f"uuid_exists {CHANNEL}") == "true"

    assert switch.connections == 4


async def test_a_stop_that_waits_while_the_server_stops_ends(switch: FreeSwitch) -> None:
    switch.hold()
    async with linked(switch) as link:
        closing = asyncio.create_task(close(EslOpener(link)))
        await switch.heard(1)

    with pytest.raises(DependencyError, match="stopping"):
        await closing
