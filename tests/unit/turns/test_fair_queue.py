"""Who is next, as a recorded order of turns."""

from __future__ import annotations

from wavstream.turns.fair_queue import FairQueue

STOP, LIVE, BEHIND = 0, 1, 2


def put(queue: FairQueue[str], app_id: str, *keys: str, priority: int = 0) -> None:
    for key in keys:
        queue.put(f"{app_id}{key}", app_id=app_id, key=(app_id, key), priority=priority)


def order(queue: FairQueue[str], turns: int = 1_000) -> list[str]:
    """Return what was next, that many times."""
    taken: list[str] = []
    while len(taken) < turns and (item := queue.take()) is not None:
        taken.append(item)
    return taken


def test_apps_take_turns_however_much_one_of_them_has_waiting() -> None:
    queue = FairQueue[str]()
    put(queue, "A", *map(str, range(1_000)))
    put(queue, "B", "x", "y")
    put(queue, "C", "z")

    assert order(queue, 7) == ["A0", "Bx", "Cz", "A1", "By", "A2", "A3"]
    assert (len(queue), queue.waiting_of("A"), queue.waiting_of("B")) == (996, 996, 0)


def test_an_app_that_comes_late_waits_for_one_turn_of_each_other() -> None:
    queue = FairQueue[str]()
    put(queue, "A", *map(str, range(9)))
    put(queue, "B", *map(str, range(9)))
    assert order(queue, 3) == ["A0", "B0", "A1"]

    put(queue, "C", "now")

    assert order(queue, 3) == ["B1", "A2", "Cnow"]


def test_what_comes_back_after_its_turn_goes_behind_the_others_of_its_app() -> None:
    queue = FairQueue[str]()
    put(queue, "A", "0", "1", "2")
    taken = []
    for _ in range(7):
        item = queue.take()
        assert item is not None
        taken.append(item)
        put(queue, "A", item[1:])

    assert taken == ["A0", "A1", "A2", "A0", "A1", "A2", "A0"]


def test_the_urgent_goes_first_but_each_fourth_turn_is_for_what_is_less_so_and_each_sixteenth_for_the_least() -> None:
    queue = FairQueue[str](3)
    put(queue, "S", *map(str, range(100)), priority=STOP)
    put(queue, "L", *map(str, range(100)), priority=LIVE)
    put(queue, "K", *map(str, range(100)), priority=BEHIND)

    turns = "".join(item[0] for item in order(queue, 32))

    assert turns == "SSSLSSSLSSSLSSSK" + "LSSSLSSSLSSSLSSK"


def test_a_stop_does_not_wait_while_only_live_calls_and_recoveries_do() -> None:
    queue = FairQueue[str](3)
    put(queue, "L", *map(str, range(100)), priority=LIVE)
    put(queue, "K", *map(str, range(100)), priority=BEHIND)
    assert "".join(item[0] for item in order(queue, 15)) == "L" * 15
    put(queue, "S", "0", priority=STOP)

    # Two at most: that of a recovery was due.
    assert [item[0] for item in order(queue, 2)] == ["K", "S"]


def test_a_key_waits_once_and_moves_to_where_it_is_more_urgent() -> None:
    queue = FairQueue[str](3)
    put(queue, "A", "0", "1", priority=BEHIND)
    put(queue, "A", "0", priority=BEHIND)
    queue.put("A1 due", app_id="A", key=("A", "1"), priority=LIVE)
    queue.put("A1 stop", app_id="A", key=("A", "1"), priority=STOP)
    queue.put("A1 due again", app_id="A", key=("A", "1"), priority=LIVE)

    assert len(queue) == 2
    assert order(queue) == ["A1 stop", "A0"]


def test_what_is_withdrawn_is_not_taken_and_its_app_loses_nothing_else() -> None:
    queue = FairQueue[str]()
    put(queue, "A", "0", "1")
    put(queue, "B", "0")
    for key in (("A", "0"), ("B", "0"), ("nobody", "0")):
        queue.discard(key)

    assert order(queue) == ["A1"]
    assert len(queue) == 0


def test_at_an_end_only_what_is_urgent_is_taken() -> None:
    queue = FairQueue[str](3)
    put(queue, "A", "0", priority=LIVE)
    put(queue, "A", "1", priority=STOP)

    assert (queue.take(below=STOP + 1), queue.take(below=STOP + 1)) == ("A1", None)
    assert len(queue) == 1


def test_the_apps_that_wait_are_known_by_priority() -> None:
    queue: FairQueue[str] = FairQueue(2)
    queue.put("A1", app_id="A", key=1, priority=1)
    queue.put("B1", app_id="B", key=2, priority=1)
    assert (list(queue.apps(0)), list(queue.apps(1))) == ([], ["A", "B"])
    queue.take()
    assert list(queue.apps(1)) == ["B"]
