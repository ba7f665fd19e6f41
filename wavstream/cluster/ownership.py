"""Whose a session is: the table of all sessions as one node sees it, and the changes that it may ask for.

1. A session has one entry, made by the node that it reaches first. Whoever takes it raises the epoch by one and says
   which revision he has read; so of two that take it at once, one does. An epoch has one node, for ever.
2. The entry has all who held it, the present one last: each with its epoch, its node, the shard of its tail and, for
   each journal that it found, the number of the first batch that it writes itself (``starts``). Numbers count the
   batches of a journal over all its segments. A batch of an earlier epoch with that number or a higher one does not
   count, wherever it turns up (``joining``): so what a node writes that has lost its session does no harm.
3. ``starts`` is in the entry before the first of those batches is in a tail or in the bucket. Until it is, the one who
   took it has added nothing, and whoever takes it from him must fence those before him once more (``to_fence``).
4. A watch tells changes late. What is older than what is known here already is passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from wavstream.cluster.engine import Entry

PREFIX = "session."
"""Of the keys of these entries."""


class Start(NamedTuple):
    """From where on somebody writes a journal."""

    segment: int
    number: int
    """Of its first batch."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One node's time with a session."""

    epoch: int
    node: str
    shard: int
    """Its tail is in the messages of ``tail_subject(node, shard)``."""
    starts: dict[str, Start] = {}
    """By journal; one that is not here was begun by this node itself, with segment 1 and number 0."""
    is_joined: bool = False
    """Whether it had read what those before it left, and ``starts`` is known (rule 3); of the first it always is."""
    tail_from: int = 0
    """Messages of its tail up to this sequence have nothing of this session that is not in the bucket."""
    tail_below: int | None = None
    """The sequence of the fence that ended its tail; None: none is known."""


class Owned(msgspec.Struct, frozen=True, kw_only=True):
    """A session's entry (rule 2)."""

    session_id: str
    app_id: str | None
    held: tuple[Held, ...]

    @property
    def holder(self) -> Held:
        """Who has it."""
        return self.held[-1]

    @property
    def node(self) -> str:
        """The node that has it."""
        return self.held[-1].node

    @property
    def epoch(self) -> int:
        """From 1."""
        return self.held[-1].epoch

    @property
    def shard(self) -> int:
        """Of the tail of the node that has it."""
        return self.held[-1].shard

    def to_fence(self) -> tuple[Held, ...]:
        """Return those before the present holder whose tails are still to be fenced (rule 3)."""
        if self.holder.is_joined:
            return ()
        open_ones: list[Held] = []
        for held in reversed(self.held[:-1]):
            open_ones.append(held)
            if held.is_joined:
                break
        return tuple(reversed(open_ones))


class Write(NamedTuple):
    """A change of an entry, as ``Table.put`` takes it."""

    key: str
    value: bytes
    after: int


class Kind(Enum):
    """What a change of an entry means to this node."""

    GAINED = "gained"
    """It is ours, in an epoch in which it was not before."""
    LOST = "lost"
    """It was ours, and another has it."""
    FREED = "freed"
    """It was ours, and nobody has it."""
    OTHER = "other"


class Change(NamedTuple):
    """What has become of a session."""

    kind: Kind
    session_id: str
    before: Owned | None
    now: Owned | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Owned).decode


def key_of(session_id: str) -> str:
    """Return the key of a session's entry."""
    return PREFIX + hash_of(session_id)


def hash_of(session_id: str) -> str:
    """Return 32 hex digits that stand for the session where its id may not, in keys and object names."""
    return hashlib.blake2b(session_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def shard_of(session_id: str, shards: int) -> int:
    """Return the shard of a session's tail, from 0."""
    return int(hash_of(session_id)[:8], 16) % shards


def tail_subject(node: str, shard: int) -> str:
    """Return the subject of a shard's tail."""
    return f"tail.{node}.{shard}"


def heir(session_id: str, nodes: Sequence[str]) -> str:
    """Return which of these nodes takes a session that nobody asks for: the same for whoever asks (rendezvous)."""
    session = session_id.encode(errors="surrogatepass")
    return max(nodes, key=lambda name: hashlib.blake2b(name.encode() + b"\0" + session, digest_size=8).digest())


def decode_owned(value: bytes) -> Owned:
    """Return what a session's entry says; raise msgspec.DecodeError if no wavstream has written it."""
    return _decode(value)


class Ownership:
    """The table as the node ``own`` sees it."""

    def __init__(self, own: str) -> None:
        self.own = own
        self._entries: dict[str, Entry] = {}
        """Not decoded: there are many, and few are asked for."""
        self._keys_of: dict[str, set[str]] = {}
        """The keys of each node's sessions."""

    def apply(self, entry: Entry) -> Change | None:
        """Take what the watch tells, or what an own write was answered; return what changed, None: nothing.

        One that was deleted has revision 0: the engine tells nothing that is older than what it answered to ourselves.
        Where it was ours and we have not deleted it, the engine has lost it: make it again (``again``).
        """
        key, known = entry.key, self._entries.get(entry.key)
        if entry.revision and known is not None and entry.revision <= known.revision:
            return None  # rule 4
        before = None if known is None else _decode(known.value)
        now = _decode(entry.value) if entry.revision else None
        if known is not None and before is not None:
            del self._entries[key]
            self._keys_of[before.node].discard(key)
        if now is not None:
            self._entries[key] = entry
            self._keys_of.setdefault(now.node, set()).add(key)
        elif before is None:
            return None
        session_id = (now or before or _nobody).session_id
        return Change(self._kind(before, now), session_id, before, now)

    def owner(self, session_id: str) -> Owned | None:
        """Return who has the session; None: nobody, as far as is known here."""
        entry = self._entries.get(key_of(session_id))
        return None if entry is None else _decode(entry.value)

    def revision(self, session_id: str) -> int:
        """Return the revision of the session's entry; 0: there is none."""
        entry = self._entries.get(key_of(session_id))
        return 0 if entry is None else entry.revision

    def is_own(self, session_id: str) -> bool:
        """Return whether the session is this node's."""
        return key_of(session_id) in self._keys_of.get(self.own, ())

    def of_node(self, name: str) -> Iterator[Owned]:
        """Yield the sessions that a node has; changes meanwhile are not seen."""
        for key in tuple(self._keys_of.get(name, ())):
            entry = self._entries.get(key)
            if entry is not None:
                yield _decode(entry.value)

    def counts(self) -> Mapping[str, int]:
        """Return how many sessions each node has."""
        return {name: len(keys) for name, keys in self._keys_of.items() if keys}

    def __len__(self) -> int:
        return len(self._entries)

    # ---- what may be asked for -------------------------------------------------------------------------------------

    def claim(self, session_id: str, app_id: str | None, shard: int) -> Write:
        """Return what makes a session ours that nobody has."""
        first = Held(epoch=1, node=self.own, shard=shard, is_joined=True)
        return Write(key_of(session_id), _encode(Owned(session_id=session_id, app_id=app_id, held=(first,))), 0)

    def again(self, owned: Owned) -> Write:
        """Return what makes an entry again that the engine has lost."""
        return Write(key_of(owned.session_id), _encode(owned), 0)

    def take(self, owned: Owned, shard: int) -> Write:
        """Return what makes a session ours that somebody has, who may be ourselves before a restart (rule 1)."""
        next_one = Held(epoch=owned.epoch + 1, node=self.own, shard=shard)
        return self._change(msgspec.structs.replace(owned, held=(*owned.held, next_one)))

    def joined(self, owned: Owned, starts: Mapping[str, Start], tails: Mapping[int, tuple[int, int]]) -> Write:
        """Return what says from where on we write the session's journals (rule 3).

        ``tails``: by epoch of those before, which part of their tails was read: behind which sequence, and its fence's.
        """
        before = tuple(_with_tail(held, tails.get(held.epoch)) for held in owned.held[:-1])
        ours = msgspec.structs.replace(owned.holder, starts=dict(starts), is_joined=True)
        return self._change(msgspec.structs.replace(owned, held=(*before, ours)))

    def stored(self, owned: Owned) -> Write:
        """Return what says that all that those before us had is in the bucket: their tails need not be read again."""
        before = tuple(msgspec.structs.replace(held, tail_from=held.tail_below or 0) for held in owned.held[:-1])
        return self._change(msgspec.structs.replace(owned, held=(*before, owned.holder)))

    def _change(self, owned: Owned) -> Write:
        return Write(key_of(owned.session_id), _encode(owned), self.revision(owned.session_id))

    def _kind(self, before: Owned | None, now: Owned | None) -> Kind:
        was_ours = before is not None and before.node == self.own
        if now is not None and now.node == self.own:
            return Kind.OTHER if was_ours and before is not None and before.epoch == now.epoch else Kind.GAINED
        if was_ours:
            return Kind.FREED if now is None else Kind.LOST
        return Kind.OTHER


_nobody = Owned(session_id="", app_id=None, held=())


def _with_tail(held: Held, tail: tuple[int, int] | None) -> Held:
    return held if tail is None else msgspec.structs.replace(held, tail_from=tail[0], tail_below=tail[1])


def starts_of(owned: Owned, journal_key: str) -> Iterable[tuple[int, Start]]:
    """Return the epochs that have gone on with a journal, each with where."""
    return ((held.epoch, held.starts[journal_key]) for held in owned.held if journal_key in held.starts)
