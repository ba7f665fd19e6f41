"""What somebody who looks is given: everything once, what changed since, and never more than the newest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wavstream.listening.board import MOST_GONE, SESSIONS_IN_A_PIECE, Board, Seen, number_of, read_number

NOTHING = Seen(0, 0)


class Looker:
    """Somebody who looks, and what he has by now."""

    def __init__(self) -> None:
        self.seen = NOTHING
        self.sessions: dict[str, bytes] = {}
        self.meters: dict[int, str] = {}
        self.pieces = 0

    def look(self, board: Board) -> None:
        """Take all there is."""
        if not board.can_go_on(self.seen):
            self.seen = NOTHING
            self.sessions.clear()
            self.meters.clear()
        while True:
            news = board.since(self.seen)
            self.pieces += 1
            self.seen = news.seen
            for session_id in news.gone:
                self.sessions.pop(session_id, None)
            self.sessions.update(news.sessions)
            self.meters.update((meter, row) for _, meter, row in news.meters)
            if news.is_whole:
                return


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("show"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("remove"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("meter"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("look"), st.integers(0, 2), st.just(0)),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_whoever_looks_however_rarely_has_in_the_end_what_there_is(steps: list[tuple[str, int, int]]) -> None:
    board, lookers = Board(), [Looker() for _ in range(3)]
    shown: dict[str, bytes] = {}
    rows: dict[int, str] = {}
    for what, number, value in steps:
        session_id = f"call-{number}"
        if what == "show":
            shown[session_id] = b"%d" % value
            board.show(session_id, shown[session_id])
        elif what == "remove":
            shown.pop(session_id, None)
            rows.pop(number, None)
            board.remove(session_id)
        elif what == "meter":
            board.set_meter(session_id, number, f"[{number},{value}]")
            if session_id in shown:
                rows[number] = f"[{number},{value}]"
        else:
            lookers[number].look(board)
    for looker in lookers:
        looker.look(board)
        assert looker.sessions == shown
        assert rows.items() <= looker.meters.items()


def test_what_did_not_change_is_not_told_again() -> None:
    board, looker = Board(), Looker()
    board.show("a", b"1")
    board.set_meter("a", 0, "[0,1]")
    looker.look(board)
    board.show("a", b"1")
    board.set_meter("a", 0, "[0,1]")
    news = board.since(looker.seen)
    assert (news.sessions, news.gone, news.meters, news.is_whole) == ((), (), (), True)
    assert board.since(looker.seen) is news


def test_many_sessions_come_in_pieces_and_then_their_meters() -> None:
    board, looker = Board(), Looker()
    for number in range(3 * SESSIONS_IN_A_PIECE + 1):
        board.show(f"call-{number}", b"{}")
        board.set_meter(f"call-{number}", number, f"[{number}]")
    looker.look(board)
    assert (len(looker.sessions), len(looker.meters), looker.pieces) == (151, 151, 4)


def test_who_did_not_look_for_longer_than_is_remembered_begins_anew() -> None:
    board, looker = Board(), Looker()
    board.show("first", b"{}")
    looker.look(board)
    for number in range(MOST_GONE + 2):
        board.show(f"call-{number}", b"{}")
        board.remove(f"call-{number}")
    assert not board.can_go_on(looker.seen)
    looker.look(board)
    assert {*looker.sessions} == {"first"}
    assert board.can_go_on(looker.seen)


def test_a_number_is_read_back_and_one_of_another_time_is_none() -> None:
    seen = {0: Seen(3, 4), 12: Seen(5, 6)}
    assert read_number(number_of("ab12", seen), "ab12") == seen
    for wrong in (None, "", "ab12.x", "ab12.0-1", "ab12.0-1-", "ff.0-1-2", "ab12." + "1" * 30, ".".join(["ab12"] * 99)):
        assert read_number(wrong, "ab12") is None or wrong == "ab12"
