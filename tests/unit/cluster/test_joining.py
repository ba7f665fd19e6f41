"""Which segments and batches make the journal of a session that another node had."""

from __future__ import annotations

import structlog

from tests.unit.cluster.support import batch
from wavstream.cluster.joiner import Found
from wavstream.cluster.joining import Hole, Joined, JoinedJournal, Piece, Stored, folder_of, plan, stored_of
from wavstream.cluster.ownership import Held, Owned, Start
from wavstream.cluster.tail_message import TailBatch


def owned(*starts: tuple[int, int] | None) -> Owned:
    """Return an entry; one holder for each, who has gone on with journal ``k`` there (None: with no journal)."""
    held = [
        Held(epoch=epoch, node=f"n{epoch}", shard=0, starts={} if start is None else {"k": Start(*start)})
        for epoch, start in enumerate(starts, 1)
    ]
    return Owned(session_id="s", app_id=None, held=tuple(held))


def tail(numbers: range, *, segment: int, epoch: int = 1) -> list[TailBatch]:
    return [batch(number, segment=segment, epoch=epoch) for number in numbers]


def one(joined: Joined) -> JoinedJournal:
    (journal,) = joined.journals
    return journal


def test_the_tail_goes_on_where_the_bucket_ends() -> None:
    stored = [Stored("k", 2, 1, 40, 80), Stored("k", 1, 1, 0, 40)]
    journal = one(plan(owned(None, None), stored, tail(range(70, 95), segment=3)))
    assert journal.pieces == (Piece(1, 0, 40, stored[1]), Piece(2, 40, 80, stored[0]), Piece(3, 80, 95, None))
    assert [piece.is_whole for piece in journal.pieces] == [True, True, False]
    assert [each.number for each in journal.batches] == list(range(80, 95))
    assert journal.holes == ()
    assert journal.start == Start(4, 95)
    assert journal.begins == 0


def test_what_nobody_has_is_a_hole() -> None:
    stored = [Stored("k", 1, 1, 0, 40), Stored("k", 3, 1, 80, 90)]
    batches = [each for each in tail(range(90, 100), segment=4) if each.number != 95]
    journal = one(plan(owned(None, None), stored, batches))
    assert journal.holes == (Hole(40, 80), Hole(95, 96))
    assert [(piece.segment, piece.first, piece.below) for piece in journal.pieces] == [
        (1, 0, 40),
        (3, 80, 90),
        (4, 90, 95),
        (4, 96, 100),
    ]
    assert one(plan(owned(None, None), stored[1:], [])).begins == 80


def test_a_hole_is_told_unless_each_recording_of_the_session_has_its_file() -> None:
    batches = [*tail(range(10), segment=1), *tail(range(20, 30), segment=3)]
    session = owned(None, None)
    found = Found(session, plan(session, [], batches), ())
    with structlog.testing.capture_logs() as logs:
        found.tell_holes(is_over=True)
        assert logs == []
        found.tell_holes(is_over=False)
    assert [(each["event"], each["first"], each["below"]) for each in logs] == [("journal_has_hole", 10, 20)]


def test_what_a_node_writes_that_has_lost_its_session_does_not_count() -> None:
    taken = owned(None, (5, 100), None)
    stored = [
        Stored("k", 4, 1, 80, 120),
        Stored("k", 4, 2, 80, 100),
        Stored("k", 5, 1, 120, 160),
        Stored("k", 5, 2, 100, 130),
    ]
    batches = [*tail(range(90, 140), segment=4), *tail(range(110, 140), segment=6, epoch=2)]
    journal = one(plan(taken, stored, batches))
    assert [(piece.segment, piece.first, piece.below) for piece in journal.pieces] == [
        (4, 80, 100),
        (5, 100, 130),
        (6, 130, 140),
    ]
    assert {each.epoch for each in journal.batches} == {2}
    assert journal.pieces[1].stored == stored[3]


def test_a_late_upload_of_the_first_owner_fills_a_hole_of_the_second() -> None:
    taken = owned(None, (5, 100), None)
    stored = [Stored("k", 4, 2, 80, 90), Stored("k", 4, 1, 80, 130)]
    journal = one(plan(taken, stored, []))
    assert journal.pieces == (Piece(4, 80, 100, stored[1]),)
    assert not journal.pieces[0].is_whole


def test_of_two_uploads_of_a_segment_the_other_gives_what_the_first_lacks() -> None:
    stored = [Stored("k", 1, 1, 0, 50), Stored("k", 1, 2, 40, 60)]
    journal = one(plan(owned(None, None, None), stored, []))
    assert [(piece.first, piece.below, piece.stored) for piece in journal.pieces] == [
        (0, 50, stored[0]),
        (40, 60, stored[1]),
    ]
    assert journal.holes == ()


def test_what_was_written_again_into_the_next_segment_is_taken_with_it() -> None:
    stored = [Stored("k", 1, 1, 0, 50), Stored("k", 2, 1, 45, 60)]
    journal = one(plan(owned(None, None), stored, []))
    assert all(piece.is_whole for piece in journal.pieces)
    assert len(journal.pieces) == 2


def test_an_owner_that_died_before_it_wrote_anything_is_followed_at_the_same_place() -> None:
    journal = one(plan(owned(None, (5, 100), None), [Stored("k", 4, 2, 80, 100)], []))
    assert journal.start == Start(5, 100)


def test_a_session_may_have_several_journals_and_a_tail_several_sessions() -> None:
    batches = [batch(0), batch(0, key="l"), batch(0, key="m", session="t")]
    joined = plan(owned(None, None), [Stored("n", 3, 1, 7, 9)], batches)
    assert [journal.key for journal in joined.journals] == ["k", "l", "n"]
    assert joined.starts == {"k": Start(2, 1), "l": Start(2, 1), "n": Start(4, 9)}


def test_a_session_without_anything_has_no_journal() -> None:
    assert plan(owned(None, None), [], [batch(0, session="t")]).journals == ()


def test_a_name_tells_what_a_segment_has() -> None:
    stored = Stored("k_1", 12, 3, 456, 789)
    assert stored.name == "k_1-000012.3.456.789.wsj"
    assert stored_of(stored.name) == stored
    assert stored_of("k_1-000012.wsj") is None
    assert stored_of(stored.name + ".tmp") is None
    assert folder_of("s").startswith(".journals/")


def test_a_batch_that_says_too_early_a_segment_comes_behind_what_the_bucket_has_of_lower_numbers() -> None:
    stored = [Stored("k", 1, 1, 0, 5), Stored("k", 2, 1, 2, 8)]
    journal = one(plan(owned(None, None), stored, tail(range(6, 10), segment=1)))
    assert [(piece.segment, piece.first, piece.below) for piece in journal.pieces] == [(1, 0, 5), (2, 2, 8), (2, 8, 10)]
    assert journal.start == Start(3, 10)
