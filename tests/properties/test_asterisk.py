"""Whatever Asterisk's side sends, in either form, is taken or refused by its field, and holds a bounded amount."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from wavstream.dialects.asterisk import AsteriskDialect
from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.early import HELD_BYTES
from wavstream.dialects.events import Event, Frame, Ignored, StreamStarted
from wavstream.errors import MediaError

NAMES = st.sampled_from(
    ["MEDIA_START", "MEDIA_START", "MEDIA_START", "DTMF_END", "MEDIA_XOFF", "STATUS", "ERROR", "QUEUE_DRAINED", "NEW"]
)
FORMATS = st.sampled_from(["ulaw", "alaw", "slin", "slin16", "slin44", "slin192", "g729", ""])
JSON = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9) | st.just([1])
VARIABLES = st.dictionaries(st.sampled_from(["session_id", "call", "leg", "track", "record", "x"]), JSON, max_size=4)
IN_JSON = st.fixed_dictionaries(
    {"event": NAMES | JSON},
    optional={
        "format": FORMATS | JSON,
        "channel_id": st.just("1767.13") | JSON,
        "channel": JSON,
        "connection_id": JSON,
        "optimal_frame_size": st.sampled_from([0, 160, 320, "640"]) | JSON,
        "digit": st.sampled_from("0123456789*#ABCDx") | JSON,
        "channel_variables": VARIABLES | JSON,
        "error_text": JSON,
    },
).map(msgspec.json.encode)
TOKENS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["format", "channel_id", "channel", "optimal_frame_size", "digit", "error_text", ""]),
    st.sampled_from([":", ":", ":", "", "::"]),
    FORMATS | st.sampled_from(["1767.13", "WebSocket/a:b;1", "160", "5"]) | st.text(max_size=5),
)
IN_PLAIN_TEXT = st.builds(
    lambda name, tokens: " ".join([name, *tokens]).encode(), NAMES | st.text(max_size=9), st.lists(TOKENS, max_size=5)
)
MESSAGES = st.lists(
    (IN_JSON | IN_PLAIN_TEXT | st.binary(max_size=20)).map(lambda text: ("text", text))
    | st.integers(0, 40_000).map(lambda size: ("binary", bytes(size)))
    | st.just(("waited", b"")),
    max_size=10,
)
QUERIES = st.fixed_dictionaries(
    {}, optional={"format": FORMATS, "two_way": st.just("1"), "track": st.sampled_from(["inbound", "outbound"])}
)


@given(st.none() | st.just("call-77"), QUERIES, MESSAGES)
def test_any_messages_of_asterisk_start_once_stay_in_order_and_never_end_a_stream_that_started(
    session_id: str | None, query: dict[str, str], messages: list[tuple[str, bytes]]
) -> None:
    dialect = AsteriskDialect(UpgradeRequest(session_id=session_id, leg=None, query=query, headers={}))
    events: list[Event] = []
    refused: MediaError | None = None
    has_waited = False
    try:
        events += dialect.opened()
        for kind, message in messages:
            has_started = any(isinstance(event, StreamStarted) for event in events)
            if kind == "text":
                events += dialect.text(message)
            elif kind == "binary":
                events += dialect.binary(message)
            elif not has_started and not has_waited:
                has_waited = True
                events += dialect.waited()
            assert dialect._early.held_bytes < HELD_BYTES
        events += dialect.ended()
    except MediaError as error:
        refused = error
    assert refused is None or refused.field
    told: list[Any] = [event for event in events if not isinstance(event, Ignored)]
    starts = [event for event in told if isinstance(event, StreamStarted)]
    assert told[:1] == starts
    assert refused is None or not starts
    position = 0
    for frame in (event for event in told if isinstance(event, Frame)):
        assert frame.position == position
        assert frame.samples * starts[0].format.step_bytes == len(frame.payload) > 0
        position += frame.samples
