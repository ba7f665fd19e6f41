"""``wavstream webhooks``: list what waits and the dead letters, and have these sent again.

All of it works beside a running server. A replay is a change of the catalog: a running server finds it within ten
seconds, a stopped one at its next start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from rich.console import Console

from wavstream.api.registry import VOCABULARIES
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.dead_letters import REPLAYED_AT_ONCE
from wavstream.cli.apps import find_app
from wavstream.cli.data_folder import found_folder
from wavstream.errors import OperatorError
from wavstream.model.app import app_name
from wavstream.model.fact import Announcement
from wavstream.settings import Settings

_MOST_SHOWN = 200


async def list_dead_letters(app_id: str | None, settings: Settings, console: Console) -> None:
    """Print the dead letters, a line each, of the app or of all; raise OperatorError if there is no such app."""
    count = 0
    async with found_folder(settings).open_catalog() as catalog:
        for each in await _apps(catalog, app_id):
            async for letter in _letters(catalog, each):
                _print(_line(letter), console)
                count += 1
    if not count:
        _print("there is no dead letter: nothing was given up", console)


async def list_pending(app_name_: str, settings: Settings, console: Console) -> None:
    """Print what the app is still to be told, a line each; raise OperatorError if there is no such app."""
    async with found_folder(settings).open_catalog() as catalog:
        app = await find_app(catalog, app_name_)
        waiting = await catalog.outbox.pending(app.id, _MOST_SHOWN + 1)
    for told, next_at in waiting[:_MOST_SHOWN]:
        fact = told.fact
        event = VOCABULARIES.of(fact, app.webhook).events.get(fact.kind, fact.kind)
        then = "behind another" if next_at is None else f"next {_second(next_at)}"
        tries = f"{told.attempts} tries, {then}"
        why = _one_line(told.error or "")
        _print(
            f"{fact.id}  {_second(fact.at)}  {event}  {_one_line(fact.session_id)}  {tries}  {why}".rstrip(), console
        )
    if not waiting:
        _print(f"nothing waits to be told to app {app_name_}", console)
    if len(waiting) > _MOST_SHOWN:
        _print(f"and more: these are the first {_MOST_SHOWN}", console)


async def replay_dead_letters(
    app_id: str | None,
    fact_ids: Sequence[str],
    settings: Settings,
    console: Console,
    *,
    at_once: int = REPLAYED_AT_ONCE,
) -> None:
    """Have these sent again, or all; raise OperatorError, and change nothing, if one does not exist.

    ``at_once``: so many are read, and changed, in one transaction.
    """
    replayed = 0
    async with found_folder(settings).open_catalog() as catalog:
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
                replayed += await catalog.dead_letters.replay(each, part, datetime.now(UTC))
    _print(f"{replayed} webhooks are sent again; a running server begins within ten seconds", console)


async def _apps(catalog: Catalog, app_id: str | None) -> list[str]:
    if app_id is None:
        return [app.id for app in await catalog.apps.list()]
    return [(await find_app(catalog, app_id)).id]


async def _wanted(catalog: Catalog, app_id: str, fact_ids: Sequence[str], at_once: int) -> list[str]:
    """Return the ids of the app's dead letters to send again, in the order in which they died."""
    if not fact_ids:
        return [letter.fact.id async for letter in _letters(catalog, app_id, at_once)][::-1]
    return [each for each in dict.fromkeys(fact_ids) if await catalog.dead_letters.get(app_id, each) is not None]


async def _letters(catalog: Catalog, app_id: str, at_once: int = REPLAYED_AT_ONCE) -> AsyncIterator[Announcement]:
    cursor: str | None = None
    while True:
        page = await catalog.dead_letters.page(app_id, limit=at_once, cursor=cursor)
        for letter in page.data:
            yield letter
        cursor = page.next_cursor
        if cursor is None:
            return


def _line(letter: Announcement) -> str:
    assert letter.died_at is not None
    fact = letter.fact
    why = _one_line(letter.error or "")
    since = letter.died_at.strftime("%Y-%m-%d %H:%M UTC")
    return f"{fact.id}  {app_name(fact.app_id)}  {since}  {VOCABULARIES.event_of(fact)}  {fact.session_id}  {why}"


def _one_line(text: str) -> str:
    """Return text of a receiver's, which must not write to the terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _second(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _print(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
