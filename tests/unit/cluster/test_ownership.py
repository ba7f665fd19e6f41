"""Whose a session is, and what a node may ask for."""

from __future__ import annotations

from collections import Counter

import pytest

from wavstream.cluster.engine import Entry, EntryChanged
from wavstream.cluster.ownership import (
    Change,
    Kind,
    Ownership,
    Start,
    Write,
    decode_owned,
    heir,
    key_of,
    shard_of,
    tail_subject,
)


class Table:
    """The engine's table, as far as a put goes."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.revision = 0

    def put(self, write: Write) -> Entry:
        known = self.entries.get(write.key)
        if write.after != (0 if known is None else known.revision):
            raise EntryChanged(write.key)
        self.revision += 1
        entry = self.entries[write.key] = Entry(write.key, write.value, self.revision)
        return entry


def kind(change: Change | None) -> Kind | None:
    return None if change is None else change.kind


def test_of_two_that_claim_a_session_at_once_one_has_it() -> None:
    table, ours, theirs = Table(), Ownership("a"), Ownership("b")
    claims = ours.claim("s", "app", 3), theirs.claim("s", "app", 5)
    entry = table.put(claims[0])
    with pytest.raises(EntryChanged):
        table.put(claims[1])
    assert kind(ours.apply(entry)) is Kind.GAINED
    assert kind(theirs.apply(entry)) is Kind.OTHER
    for seen in (ours, theirs):
        owned = seen.owner("s")
        assert owned is not None
        assert (owned.node, owned.epoch, owned.shard, owned.app_id) == ("a", 1, 3, "app")
    assert ours.is_own("s")
    assert not theirs.is_own("s")


def test_whoever_takes_a_session_has_the_next_epoch_and_the_other_has_lost_it() -> None:
    table, ours, theirs, third = Table(), Ownership("a"), Ownership("b"), Ownership("c")
    entry = table.put(ours.claim("s", None, 0))
    for seen in (ours, theirs, third):
        seen.apply(entry)
    owned = theirs.owner("s")
    assert owned is not None
    takes = theirs.take(owned, 1), third.take(owned, 2)
    entry = table.put(takes[0])
    with pytest.raises(EntryChanged):
        table.put(takes[1])
    assert [kind(seen.apply(entry)) for seen in (ours, theirs, third)] == [Kind.LOST, Kind.GAINED, Kind.OTHER]
    taken = decode_owned(entry.value)
    assert (taken.node, taken.epoch, taken.shard) == ("b", 2, 1)
    assert [held.node for held in taken.held] == ["a", "b"]
    assert list(third.of_node("a")) == []
    assert third.counts() == {"b": 1}


def test_one_who_took_a_session_and_has_joined_nothing_leaves_the_fences_to_the_next() -> None:
    table, nodes = Table(), {name: Ownership(name) for name in "abc"}

    def put(write: Write) -> None:
        entry = table.put(write)
        for seen in nodes.values():
            seen.apply(entry)

    def fences() -> list[str]:
        owned = nodes["a"].owner("s")
        assert owned is not None
        return [held.node for held in owned.to_fence()]

    put(nodes["a"].claim("s", None, 0))
    assert fences() == []
    for name, before in (("b", ["a"]), ("c", ["a", "b"])):
        owned = nodes[name].owner("s")
        assert owned is not None
        put(nodes[name].take(owned, 0))
        assert fences() == before
    owned = nodes["c"].owner("s")
    assert owned is not None
    put(nodes["c"].joined(owned, {"k": Start(4, 70)}, {1: (10, 20), 2: (0, 25)}))
    owned = nodes["a"].owner("s")
    assert owned is not None
    assert owned.holder.starts == {"k": Start(4, 70)}
    assert [(held.tail_from, held.tail_below) for held in owned.held] == [(10, 20), (0, 25), (0, None)]
    put(nodes["a"].take(owned, 0))
    assert fences() == ["c"]
    owned = nodes["a"].owner("s")
    assert owned is not None
    put(nodes["a"].joined(owned, {}, {3: (30, 40)}))
    owned = nodes["a"].owner("s")
    assert owned is not None
    put(nodes["a"].stored(owned))
    owned = nodes["a"].owner("s")
    assert owned is not None
    assert [(held.tail_from, held.tail_below) for held in owned.held] == [(20, 20), (25, 25), (40, 40), (0, None)]
    assert owned.held[2].starts == {"k": Start(4, 70)}


def test_what_the_watch_tells_late_changes_nothing() -> None:
    table, seen = Table(), Ownership("a")
    first = table.put(seen.claim("s", None, 0))
    seen.apply(first)
    owned = seen.owner("s")
    assert owned is not None
    second = table.put(seen.take(owned, 0))
    assert kind(seen.apply(second)) is Kind.GAINED
    assert seen.apply(first) is None
    assert seen.apply(second) is None
    assert seen.revision("s") == second.revision


def test_a_session_that_is_over_is_nobodys_and_an_entry_that_was_lost_is_made_again_as_it_was() -> None:
    table, ours, theirs = Table(), Ownership("a"), Ownership("b")
    entry = table.put(ours.claim("s", "app", 7))
    for seen in (ours, theirs):
        seen.apply(entry)
    gone = Entry(entry.key, b"", 0)
    freed = ours.apply(gone)
    assert kind(freed) is Kind.FREED
    assert freed is not None
    assert freed.before is not None
    assert freed.session_id == "s"
    assert kind(theirs.apply(gone)) is Kind.OTHER
    assert ours.apply(gone) is None
    assert len(ours) == 0
    assert ours.owner("s") is None
    again = ours.again(freed.before)
    assert again == Write(entry.key, entry.value, 0)


def test_every_session_has_one_heir_who_changes_for_those_of_a_node_that_goes() -> None:
    nodes = ("a", "b", "c")
    sessions = [f"session-{number}" for number in range(3000)]
    heirs = {session: heir(session, nodes) for session in sessions}
    assert all(heir(session, ("c", "a", "b")) == heirs[session] for session in sessions)
    assert min(Counter(heirs.values()).values()) > 800
    for session in sessions:
        assert heirs[session] == "b" or heir(session, ("a", "c")) == heirs[session]


def test_shards_and_subjects_have_names_that_the_engine_takes() -> None:
    assert tail_subject("node-1", 3) == "tail.node-1.3"
    shards = Counter(shard_of(f"{number}", 16) for number in range(3200))
    assert sorted(shards) == list(range(16))
    assert key_of("Ä b.c") == "session." + key_of("Ä b.c")[8:]
    assert len(key_of("Ä b.c")) == len("session.") + 32
