"""``wavstream webhooks``: lists what apps could not be told, and has it sent again. Works beside a running server.

A replay is a change of the catalog: a running server finds it within ten seconds, another one at its start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from rich.console import Console

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.dead_letters import REPLAYED_AT_ONCE
from wavstream.cli.open_catalog import open_catalog, unknown_app
from wavstream.errors import OperatorError
from wavstream.model.fact import Announcement
from wavstream.settings import Settings
from wavstream.webhooks.gateway import EVENTS


async def list_dead_letters(app_id: str | None, settings: Settings, console: Console) -> None:
    """Print every dead letter, a line each, of the app or of all; raises OperatorError if there is no such app."""
    count = 0
    async with open_catalog(settings) as catalog:
        for each in await _apps(catalog, app_id):
            async for letter in _letters(catalog, each):
                _print(_line(letter), console)
                count += 1
    if not count:
        _print("there is no dead letter: nothing was given up", console)


async def replay_dead_letters(
    app_id: str | None,
    fact_ids: Sequence[str],
    settings: Settings,
    console: Console,
    *,
    at_once: int = REPLAYED_AT_ONCE,
) -> None:
    """Have these sent again, or all there are; raise OperatorError, and do nothing, if one is not there.

    ``at_once``: so many are read, and changed, in one transaction.
    """
    replayed = 0
    async with open_catalog(settings) as catalog:
        apps = await _apps(catalog, app_id)
        wanted = {each: await _wanted(catalog, each, fact_ids, at_once) for each in apps}
        found = {fact_id for ids in wanted.values() for fact_id in ids}
        for fact_id in fact_ids:
            if fact_id not in found:
                raise OperatorError(
                    f"there is no dead letter {fact_id}: 'wavstream webhooks list' shows those there are"
                )
        for each, ids in wanted.items():
            for start in range(0, len(ids), at_once):
                part = ids[start : start + at_once]
                replayed += await catalog.replay(each, part, datetime.now(UTC))
    _print(f"{replayed} webhooks are sent again; a running server begins within ten seconds", console)


async def _apps(catalog: Catalog, app_id: str | None) -> list[str]:
    if app_id is None:
        return [app.id for app in await catalog.list_apps()]
    if await catalog.get_app(app_id) is None:
        raise unknown_app(app_id)
    return [app_id]


async def _wanted(catalog: Catalog, app_id: str, fact_ids: Sequence[str], at_once: int) -> list[str]:
    """Return those of the app that are to be sent again, the first to be given up first."""
    if not fact_ids:
        return [letter.fact.id async for letter in _letters(catalog, app_id, at_once)][::-1]
    return [each for each in dict.fromkeys(fact_ids) if await catalog.dead_letter(app_id, each) is not None]


async def _letters(catalog: Catalog, app_id: str, at_once: int = REPLAYED_AT_ONCE) -> AsyncIterator[Announcement]:
    cursor: str | None = None
    while True:
        page = await catalog.dead_letters(app_id, limit=at_once, cursor=cursor)
        for letter in page.data:
            yield letter
        cursor = page.next_cursor
        if cursor is None:
            return


def _line(letter: Announcement) -> str:
    assert letter.died_at is not None
    fact = letter.fact
    # Some of why a try failed is the receiver's own text.
    why = " ".join("".join(character if character.isprintable() else " " for character in letter.error or "").split())
    since = letter.died_at.strftime("%Y-%m-%d %H:%M UTC")
    return f"{fact.id}  {fact.app_id}  {since}  {EVENTS[fact.kind]}  {fact.session_id}  {why}"


def _print(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
