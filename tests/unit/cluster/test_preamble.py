"""The first words between two nodes: proved by the key of both, bounded, and refused in one sentence."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavstream.cluster import preamble
from wavstream.cluster.preamble import BadPreamble, Header, Purpose

KEY, OTHER_KEY = preamble.key_of(b"a" * 32), preamble.key_of(b"b" * 32)
CALLER, CALLED = os.urandom(preamble.NONCE_BYTES), os.urandom(preamble.NONCE_BYTES)
HEADER = Header(
    sender="a",
    to="b",
    purpose=Purpose.RELAY,
    session_id="call-1 \N{SNOWMAN}",
    host="192.0.2.7",
    hops=1,
    is_answered=True,
    received_bytes=4_711,
)


def sent(header: Header = HEADER, *, key: bytes = KEY) -> tuple[bytes, bytes]:
    """Return the length and what is behind it."""
    words = preamble.pack_header(key, header, called=CALLED, caller=CALLER)
    return words[: preamble.LENGTH_BYTES], words[preamble.LENGTH_BYTES :]


def read(words: bytes, *, key: bytes = KEY, called: bytes = CALLED, own: str = "b") -> Header:
    return preamble.read_header(key, words, called=called, caller=CALLER, own=own)


def test_a_header_is_read_as_it_was_sent() -> None:
    length, words = sent()
    assert preamble.header_bytes(length) == len(words)
    assert read(words) == HEADER


def test_the_key_is_in_no_word_and_differs_from_the_master_key() -> None:
    answer = preamble.answer(KEY, called=CALLED, caller=CALLER)
    for words in (preamble.call(CALLER), answer, *sent()):
        assert KEY not in words
    assert preamble.key_of(b"a" * 32) != b"a" * 32


def test_who_is_called_proves_itself_first_and_only_for_this_call() -> None:
    answer = preamble.answer(KEY, called=CALLED, caller=CALLER)
    assert preamble.read_call(preamble.call(CALLER)) == CALLER
    assert preamble.read_answer(KEY, answer, caller=CALLER) == CALLED
    for key, caller in ((OTHER_KEY, CALLER), (KEY, os.urandom(16))):
        with pytest.raises(BadPreamble, match="another master key"):
            preamble.read_answer(key, answer, caller=caller)


def test_a_header_of_another_key_of_another_connection_or_for_another_node_is_refused() -> None:
    _, words = sent()
    with pytest.raises(BadPreamble, match="another master key"):
        read(sent(key=OTHER_KEY)[1])
    with pytest.raises(BadPreamble, match="another master key"):
        read(words, called=os.urandom(16))
    with pytest.raises(BadPreamble, match="looks for node 'b'"):
        read(words, own="c")


@pytest.mark.parametrize("length", [0, preamble.MOST_HEADER_BYTES + 1, 2**32 - 1])
def test_a_header_that_cannot_be_is_not_read(length: int) -> None:
    with pytest.raises(BadPreamble):
        preamble.header_bytes(length.to_bytes(4))


@pytest.mark.parametrize("received_bytes", [-1, preamble.MOST_RECEIVED_BYTES + 1])
def test_no_more_is_announced_than_may_be(received_bytes: int) -> None:
    with pytest.raises(BadPreamble):
        read(sent(Header(sender="a", to="b", purpose=Purpose.RELAY, received_bytes=received_bytes))[1])


@given(words=st.binary(max_size=200), at=st.integers(0, 199), by=st.integers(1, 255))
def test_whatever_comes_is_read_or_refused_and_nothing_that_was_changed_is_read(words: bytes, at: int, by: int) -> None:
    right = sent()[1]
    changed = bytearray(right)
    changed[at % len(right)] ^= by
    for each in (words, bytes(changed), right + words, words + right, right[:at]):
        if each != right:
            with pytest.raises(BadPreamble):
                read(each)
    for reads in (preamble.read_call, lambda answer: preamble.read_answer(KEY, answer, caller=CALLER)):
        with pytest.raises(BadPreamble):
            reads(words)
