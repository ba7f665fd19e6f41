"""``wavstream watch``: what is live, as text in a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from wavstream.cli.watching import Picture, meter

NOW = "2026-11-01T10:00:00.000000Z"
NOW_S = 1_793_527_200
LEG: dict[str, Any] = {
    "leg": "a", "state": "streaming", "codec": "l16", "rate": 8000, "tracks": [{"track": "inbound", "meter": 4}],
    "silent_because": None,
}  # fmt: skip


def picture(*sessions: dict[str, Any]) -> Picture:
    made = Picture()
    made.take("reset", {"now": NOW})
    made.take("sessions", {"now": NOW, "sessions": [*sessions], "gone": []})
    return made


def session(session_id: str, **leg: object) -> dict[str, Any]:
    return {"session_id": session_id, "recordings": [{"status": "ongoing"}], "legs": [{**LEG, **leg}]}


def drawn(picture: Picture) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    console.print(picture.table())
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_leg_has_its_level_and_when_a_word_was_heard_by_the_servers_clock() -> None:
    made = picture(session("call-77"))
    made.take("meters", {"now": NOW, "legs": [[4, -30, -10, 1.0, 50, 9.0, NOW_S - 12]]})
    text = drawn(made)
    assert "call-77" in text
    assert "█" * 10 in text
    assert "12 s ago" in text
    assert "ongoing" in text


@pytest.mark.parametrize(
    "name", ["[red]x[/red]", "\x1b[2Jx", "\u202eevil", "a\nb", "[link=file:///etc/passwd]x[/link]"]
)
def test_what_a_peer_is_called_writes_nothing_to_the_terminal(name: str) -> None:
    why = {"code": "frames_stopped", "text": name, "docs": "x.md"}
    text = drawn(picture(session(name, leg=name, silent_because=why)))
    assert "\x1b" not in text
    assert "\u202e" not in text
    if name.startswith("["):
        assert name in text


def test_a_server_that_is_away_is_said_beside_what_was_last_known_until_it_tells_more() -> None:
    made = picture(session("call-77"))
    made.take("lost", {})
    assert "the server does not answer" in " ".join(drawn(made).split())
    assert "call-77" in drawn(made)
    made.take("reset", {"now": NOW})
    assert "nothing is live" in drawn(made)


def test_a_level_is_a_bar_and_what_comes_from_nowhere_is_none() -> None:
    assert meter(None, None).plain == "---"
    assert meter(-100, -100).plain.strip() == ""
    assert meter(0, 0).plain == "█" * 20
