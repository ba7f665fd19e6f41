"""The first words of a connection between two nodes: who calls whom and why, proved by a key that both have. Pure.

1. Who calls sends ``MAGIC`` and a nonce. Who is called answers with a nonce of its own and a proof over both. Then the
   caller sends its ``Header``, with a proof over both nonces and the header. The key itself is never sent, and what
   was heard on one connection is of no use on another.
2. Who is called proves itself first: a header has what a peer of ours has sent, keys included, behind it, and is given
   to nobody who does not know the key.
3. Each part has a fixed length, or says it before, and there is a most. Nothing is kept of what is longer.
4. The key is made of the master key, for this alone. Nodes with different master keys refuse each other.
5. A header names whom it is for: an address may have become another node's meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import IntEnum

import msgspec

MAGIC = b"wavstream node 1\n"
NONCE_BYTES = 16
PROOF_BYTES = 32
CALL_BYTES = len(MAGIC) + NONCE_BYTES
ANSWER_BYTES = NONCE_BYTES + PROOF_BYTES
LENGTH_BYTES = 4
MOST_HEADER_BYTES = 4_096
MOST_RECEIVED_BYTES = 32 * 1024 * 1024
"""Of what was read of a connection before it is relayed; more than a message or a request may have."""
_PURPOSE = b"wavstream: between the nodes of a cluster"


class BadPreamble(Exception):
    """It is no node of this cluster that speaks, or not to this one."""


class Purpose(IntEnum):
    """What a connection is for."""

    QUESTIONS = 0
    """It stays, for what the caller asks and tells."""
    RELAY = 1
    """It is the connection of a peer, from now on."""


class Verdict(IntEnum):
    """What whoever is called says to a header: one byte."""

    TAKEN = 1
    NOT_MINE = 2
    """The session is not this node's, as far as it knows."""
    NO_ROOM = 3
    """It takes nothing now: it starts, stops, or is full."""


GO = b"\x01"
"""What the caller says when it has the verdict: only then what it has handed over is read (``door``, rule 3)."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Who calls whom, and what comes behind this."""

    sender: str
    """The caller's name."""
    to: str
    purpose: Purpose
    session_id: str = ""
    """Whose connection is relayed; empty: none is."""
    host: str | None = None
    """The address of its peer; None: it came by a unix socket."""
    hops: int = 0
    is_answered: bool = False
    """Whether an upgrade was answered already."""
    received_bytes: int = 0
    """How many bytes of it follow that were read already."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Header).decode


def key_of(master: bytes) -> bytes:
    """Return the key between nodes that have this master key (rule 4)."""
    return hmac.new(master, _PURPOSE, hashlib.sha256).digest()


def call(nonce: bytes) -> bytes:
    """Return the caller's first words."""
    return MAGIC + nonce


def read_call(words: bytes) -> bytes:
    """Return the caller's nonce; raise BadPreamble."""
    if len(words) != CALL_BYTES or not words.startswith(MAGIC):
        raise BadPreamble("it does not speak as a node of this version does")
    return words[len(MAGIC) :]


def answer(key: bytes, *, called: bytes, caller: bytes) -> bytes:
    """Return what is said to a call; ``called`` and ``caller`` are the two nonces."""
    return called + _proof(key, b"called", called, caller)


def read_answer(key: bytes, words: bytes, *, caller: bytes) -> bytes:
    """Return the nonce of whoever was called; raise BadPreamble unless it has the key (rule 2)."""
    called, proof = words[:NONCE_BYTES], words[NONCE_BYTES:]
    if len(words) != ANSWER_BYTES or not hmac.compare_digest(proof, _proof(key, b"called", called, caller)):
        raise BadPreamble("it has another master key")
    return called


def pack_header(key: bytes, header: Header, *, called: bytes, caller: bytes) -> bytes:
    """Return a header as it is sent: its length, itself, its proof."""
    body = _encode(header)
    if len(body) > MOST_HEADER_BYTES:
        raise BadPreamble(f"the header has {len(body)} bytes")
    return len(body).to_bytes(LENGTH_BYTES) + body + _proof(key, b"caller", called, caller, body)


def header_bytes(length: bytes) -> int:
    """Return how many bytes of header and proof follow this length; raise BadPreamble (rule 3)."""
    size = int.from_bytes(length)
    if not 0 < size <= MOST_HEADER_BYTES:
        raise BadPreamble(f"a header of {size} bytes")
    return size + PROOF_BYTES


def read_header(key: bytes, words: bytes, *, called: bytes, caller: bytes, own: str) -> Header:
    """Return the header of which these are the bytes, with its proof; raise BadPreamble."""
    body, proof = words[:-PROOF_BYTES], words[-PROOF_BYTES:]
    if not hmac.compare_digest(proof, _proof(key, b"caller", called, caller, body)):
        raise BadPreamble("it has another master key")
    try:
        header = _decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadPreamble(f"its header cannot be read: {error}") from error
    if header.to != own:  # rule 5
        raise BadPreamble(f"it looks for node {header.to!r}, and this is {own!r}")
    if not 0 <= header.received_bytes <= MOST_RECEIVED_BYTES or header.hops < 0:
        raise BadPreamble("its header has a length that cannot be")
    return header


def _proof(key: bytes, role: bytes, *parts: bytes) -> bytes:
    # Each part has its length before it, so no two lists of parts make the same bytes.
    message = b"".join(len(part).to_bytes(LENGTH_BYTES) + part for part in (role, *parts))
    return hmac.new(key, message, hashlib.sha256).digest()
