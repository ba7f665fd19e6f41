"""What the event socket says does not depend on how its bytes are cut, and nothing it sends is too much for us."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from wavstream.sessions.openers.event_socket import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    AuthAccepted,
    AuthRejected,
    AuthRequested,
    Disconnected,
    EventSocket,
    Reply,
    SocketEvent,
)

LINE = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=30)
GREETING = b"Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: +OK accepted\n\n"
GREETED: list[SocketEvent] = [AuthRequested(), AuthAccepted()]


def message(content_type: str, body: str) -> bytes:
    raw = body.encode()
    return f"Content-Type: {content_type}\nContent-Length: {len(raw)}\n\n".encode() + raw


def answer(text: str) -> tuple[bytes, list[SocketEvent]]:
    return message("api/response", f"{text}\n"), [Reply(text.strip())]


def reply(text: str) -> tuple[bytes, list[SocketEvent]]:
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode(), [Reply(text.strip())]


def event(body: str) -> tuple[bytes, list[SocketEvent]]:
    return message("text/event-plain", f"Event-Name: X\n\n{body}\n\nContent-Type: api/response\n\n"), []


MESSAGE = st.builds(answer, LINE) | st.builds(reply, LINE) | st.builds(event, LINE)


@given(messages=st.lists(MESSAGE, max_size=8), data=st.data())
def test_answers_come_out_whole_and_in_order_however_they_are_cut(
    messages: list[tuple[bytes, list[SocketEvent]]], data: st.DataObject
) -> None:
    raw = GREETING + b"".join(part for part, _ in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    event_socket = EventSocket()

    events = [
        event
        for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)
        for event in event_socket.feed(raw[begin:end])
    ]

    assert events == GREETED + [event for _, expected in messages for event in expected]


@given(raw=st.binary(max_size=300), greeted=st.booleans())
@example(raw=b"Content-Length: 99999999999999999999\n\n", greeted=True)
@example(raw=b"Content-Type: api/response\nContent-Length: -1\n\n", greeted=True)
@example(raw=b"Content-Type: api/response\nContent-Length: \xc2\xb2\n\n", greeted=True)
@example(raw=b"Content-Type: text/rude-rejection\nContent-Length 24\n\nAccess Denied, go away.\n", greeted=False)
def test_whatever_is_sent_means_the_same_byte_by_byte(raw: bytes, greeted: bool) -> None:
    raw = GREETING + raw if greeted else raw
    at_once, by_bytes = EventSocket(), EventSocket()

    assert at_once.feed(raw) == [event for byte in raw for event in by_bytes.feed(bytes([byte]))]


def test_a_rejection_a_wrong_password_and_a_goodbye_are_the_last_that_is_read() -> None:
    for last, kind in [
        (b"Content-Type: text/rude-rejection\nContent-Length 24\n\n", AuthRejected),
        (b"Content-Type: rude/rejection\n\n", AuthRejected),
        (b"Content-Type: command/reply\nReply-Text: -ERR invalid\n\n", AuthRejected),
        (message("text/disconnect-notice", "Disconnected, goodbye.\n"), Disconnected),
    ]:
        event_socket = EventSocket()

        (event,) = event_socket.feed(last + GREETING)

        assert type(event) is kind
        assert event_socket.feed(GREETING) == []


def test_a_head_or_a_body_that_is_too_long_ends_the_connection_and_the_longest_does_not() -> None:
    for head_bytes, body_bytes, taken in [
        (MAX_HEAD_BYTES, 1, True),
        (MAX_HEAD_BYTES + 1, 1, False),
        (100, MAX_BODY_BYTES, True),
        (100, MAX_BODY_BYTES + 1, False),
    ]:
        head = f"Content-Type: api/response\nContent-Length: {body_bytes}\nX: ".encode()
        event_socket = EventSocket()
        event_socket.feed(GREETING)

        (event,) = event_socket.feed(head.ljust(head_bytes, b"x") + b"\n\n" + b"y" * body_bytes)

        assert isinstance(event, Reply if taken else Disconnected)


def test_a_head_that_never_ends_is_not_waited_for() -> None:
    (event,) = EventSocket().feed(b"x" * (MAX_HEAD_BYTES + 2))

    assert isinstance(event, Disconnected)
