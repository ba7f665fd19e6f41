from __future__ import annotations

from wavstream.service.deadlines import HttpLimits, Owed, PeerDeadlines, Refusal

LIMITS = HttpLimits(head_timeout_s=10, body_timeout_s=30, write_timeout_s=60)


def looks(
    deadlines: PeerDeadlines,
    begin: int,
    end: int,
    *,
    reading: bool = True,
    unsent: int = 0,
    taken: int = 0,
    step: int = 0,
) -> list[Refusal | None]:
    """Look once a second; ``taken`` grows by ``step`` with each look."""
    return [
        deadlines.look(float(second), reading=reading, unsent_bytes=unsent, taken_bytes=taken + step * second)
        for second in range(begin, end)
    ]


def test_the_first_head_has_its_time_from_the_connection_on() -> None:
    assert looks(PeerDeadlines(LIMITS, 0.0), 1, 11) == [None] * 9 + [Refusal.HEAD_TIMEOUT]


def test_the_first_byte_of_a_head_puts_nothing_off_and_a_body_has_its_own_time() -> None:
    deadlines = PeerDeadlines(LIMITS, 0.0)
    looks(deadlines, 1, 10)
    deadlines.expect(Owed.HEAD)
    assert looks(deadlines, 10, 11) == [Refusal.HEAD_TIMEOUT]
    deadlines.expect(Owed.BODY)
    assert looks(deadlines, 11, 41) == [None] * 29 + [Refusal.BODY_TIMEOUT]


def test_nothing_is_owed_while_a_request_is_answered() -> None:
    deadlines = PeerDeadlines(LIMITS, 0.0)
    deadlines.expect(Owed.NOTHING)
    assert set(looks(deadlines, 1, 10_000)) == {None}


def test_time_in_which_we_do_not_read_is_not_the_peers() -> None:
    deadlines = PeerDeadlines(LIMITS, 0.0)
    assert set(looks(deadlines, 1, 1000, reading=False)) == {None}
    assert looks(deadlines, 1000, 1010) == [None] * 9 + [Refusal.HEAD_TIMEOUT]


def test_a_process_that_stood_still_for_a_minute_blames_nobody() -> None:
    deadlines = PeerDeadlines(LIMITS, 0.0)
    assert looks(deadlines, 60, 61, unsent=1) == [None]
    assert deadlines.look(180.0, reading=True, unsent_bytes=1, taken_bytes=0) is None


def test_a_peer_that_takes_nothing_is_cut_off_and_one_that_takes_a_byte_now_and_then_is_not() -> None:
    stuck, slow = PeerDeadlines(LIMITS, 0.0), PeerDeadlines(LIMITS, 0.0)
    for deadlines in (stuck, slow):
        deadlines.expect(Owed.NOTHING)
    assert looks(stuck, 1, 61, unsent=1)[-1] is Refusal.WRITE_TIMEOUT
    for minute in range(60):
        assert set(looks(slow, 50 * minute + 1, 50 * minute + 51, unsent=1, taken=minute)) == {None}


def test_time_without_anything_to_send_is_not_counted() -> None:
    deadlines = PeerDeadlines(LIMITS, 0.0)
    deadlines.expect(Owed.NOTHING)
    assert set(looks(deadlines, 1, 50, unsent=1)) == {None}
    assert set(looks(deadlines, 50, 4000)) == {None}
    assert set(looks(deadlines, 4000, 4050, unsent=1)) == {None}
    assert not looks(deadlines, 4050, 4051, unsent=1, step=1)[0]
    assert not deadlines.is_stalled
