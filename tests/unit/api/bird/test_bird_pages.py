"""Pages of which some recordings are not shown: what they read, and where the next one begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api.bird.conftest import recording
from wavstream.api.bird.pages import MOST_READ, Matching, Place, matching_page
from wavstream.catalog.pages import Page
from wavstream.model.filters import RecordingFilters
from wavstream.model.recording import Recording
from wavstream.sessions.commands import Commands


@dataclass
class ListOf(Commands):
    """Commands that list these recordings; a cursor is the place of the next."""

    rows: list[Recording]
    read: int = 0
    asked: list[int] = field(default_factory=list)

    def check_here(self, session_id: str) -> None:
        """Return: it is."""

    async def list(self, *, limit: int, cursor: str | None, **_: Any) -> Page[Recording]:
        begin = int(cursor or 0)
        shown = self.rows[begin : begin + limit]
        self.read += len(shown)
        self.asked.append(limit)
        end = begin + len(shown)
        return Page(tuple(shown), str(end) if end < len(self.rows) else None)


ROW = recording()


def rows_of(wanted: list[bool]) -> list[Recording]:
    return [recording(session_id="wanted" if each else "other", id=f"{n:032x}") for n, each in enumerate(wanted)]


async def page_of(commands: ListOf, limit: int, token: str | None) -> Matching[Recording]:
    return await matching_page(
        commands,
        app_id="shop",
        filters=RecordingFilters(),
        wanted=lambda each: each.session_id == "wanted",
        limit=limit,
        token=token,
    )


@given(wanted=st.lists(st.booleans(), max_size=40), limit=st.integers(1, 7))
async def test_all_pages_together_have_what_is_wanted_once_and_all_but_the_last_are_full(
    wanted: list[bool], limit: int
) -> None:
    commands = ListOf(rows_of(wanted))
    found, token, sizes = [], None, []
    while True:
        page = await page_of(commands, limit, token)
        found += page.data
        sizes.append(len(page.data))
        if (token := page.next_token) is None:
            break
    assert found == [each for each in commands.rows if each.session_id == "wanted"]
    assert all(size == limit for size in sizes[:-1])


async def test_a_page_on_which_all_are_shown_is_read_once() -> None:
    commands = ListOf([ROW] * 30)
    page = await matching_page(
        commands, app_id="shop", filters=RecordingFilters(), wanted=lambda _: True, limit=10, token=None
    )
    assert (len(page.data), page.next_token, commands.asked) == (10, "10", [10])


async def test_what_hardly_matches_is_looked_for_in_several_requests_none_of_which_reads_all() -> None:
    commands = ListOf([ROW] * (MOST_READ + 1_000) + rows_of([True]))
    first = await page_of(commands, 10, None)
    assert first.data == []
    assert first.next_token is not None
    assert commands.read < MOST_READ + 500
    second = await page_of(commands, 10, first.next_token)
    assert ([each.session_id for each in second.data], second.next_token) == (["wanted"], None)


@pytest.mark.parametrize(
    ("place", "vendor_ids", "said", "expected"),
    [
        (Place("w"), {}, {}, True),
        (Place("w"), {"workspaceId": "w"}, {}, True),
        (Place("w"), {"workspaceId": "v"}, {}, False),
        (Place("w"), {}, {"workspaceId": "v"}, False),
        (Place("w"), {"workspaceId": "w"}, {"workspaceId": "v"}, True),  # the media server knows
        (Place("w", "c"), {"workspaceId": "w"}, {}, True),
        (Place("w", "c"), {"channelId": "d"}, {}, False),
        (Place("w"), {"channelId": "d"}, {}, True),
    ],
)
def test_a_place_has_what_is_not_known_to_be_elsewhere(
    place: Place, vendor_ids: dict[str, str], said: dict[str, str], expected: bool
) -> None:
    assert place.has(vendor_ids, said) is expected
