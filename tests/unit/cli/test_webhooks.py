"""Dead letters listed and sent again, in a data folder that a server may use meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from rich.console import Console

from tests.support.command_line import CommandLine
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.cli.webhooks import replay_dead_letters
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import Fact, FactKind
from wavstream.service.data_folder import DataFolder
from wavstream.settings import Settings

START = datetime(2026, 11, 1, 10, tzinfo=UTC)

T = TypeVar("T")


def in_catalog(data_dir: Path, work: Callable[[Catalog], Awaitable[T]]) -> T:
    folder = DataFolder(data_dir)
    folder.make()

    async def run() -> T:
        catalog = await Catalog.open(folder.catalog, is_wanted=USUAL)
        try:
            return await work(catalog)
        finally:
            await catalog.database.close()

    return asyncio.run(run())


@pytest.fixture
def dead(data_dir: Path) -> None:
    """Given up: ``s1`` and, a second later, ``s2`` of the app ``shop``; ``b1`` of ``bank``."""

    async def die(catalog: Catalog) -> None:
        for app_id, fact_ids in (("shop", ("s1", "s2")), ("bank", ("b1",))):
            app = App(app_id, START, webhook=WebhookTarget(f"https://{app_id}.example/"))
            assert await catalog.apps.add(app, key_hash="h", key_lookup=app_id)
            for second, fact_id in enumerate(fact_ids):
                fact = Fact(id=fact_id, app_id=app_id, session_id="[red]77", kind=FactKind.COMMAND_DONE, at=START)
                await catalog.outbox.announce([fact])
                [told] = (await catalog.outbox.due(app_id, START, 10)).announcements
                await catalog.outbox.mark_dead(told, "bad status line:\n\x1b[2J", START.replace(second=second))

    in_catalog(data_dir, die)


def pending(data_dir: Path) -> dict[str, int]:
    """How many wait for each app."""

    async def ask(catalog: Catalog) -> dict[str, int]:
        return {each.app_id: each.pending for each in await catalog.outbox.backlog()}

    return in_catalog(data_dir, ask)


@pytest.mark.usefixtures("dead")
def test_dead_letters_are_a_line_each_whatever_the_receiver_said(wavstream: CommandLine) -> None:
    said = wavstream("webhooks", "list")
    of_one = wavstream("webhooks", "list", "--app", "shop")

    shop = [
        f"{fact_id}  shop  2026-11-01 10:00 UTC  command.result  [red]77  bad status line: [2J"
        for fact_id in ("s2", "s1")
    ]
    assert said.code == 0
    assert sorted(said.out.splitlines()) == sorted([*shop, shop[0].replace("s2  shop", "b1  bank")])
    assert of_one.out.splitlines() == shop


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize(
    ("words", "waiting"),
    [
        ((), {"shop": 2, "bank": 1}),
        (("--app", "shop"), {"shop": 2}),
        (("s1", "b1", "s1"), {"shop": 1, "bank": 1}),
        (("--app", "bank", "b1"), {"bank": 1}),
    ],
    ids=" ".join,
)
def test_those_that_are_asked_for_are_sent_again(
    wavstream: CommandLine, data_dir: Path, words: tuple[str, ...], waiting: dict[str, int]
) -> None:
    said = wavstream("webhooks", "replay", *words)

    assert (said.code, said.out.split()[0]) == (0, str(sum(waiting.values())))
    assert pending(data_dir) == waiting
    assert len(wavstream("webhooks", "list").out.splitlines()) == max(3 - sum(waiting.values()), 1)


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("replay", "s1", "s9"), "webhooks list"),
        (("replay", "--app", "shop", "b1"), "webhooks list"),
        (("replay", "--app", "shpo"), "apps list"),
        (("list", "--app", "shpo"), "apps list"),
    ],
    ids=["one of two", "another app's", "replay of no app", "list of no app"],
)
def test_what_is_not_there_is_said_and_nothing_is_sent(
    wavstream: CommandLine, data_dir: Path, words: tuple[str, ...], hint: str
) -> None:
    said = wavstream("webhooks", *words)

    assert (said.code, said.out) == (2, "")
    assert hint in said.err
    assert pending(data_dir) == {}


@pytest.mark.usefixtures("dead")
def test_more_than_one_transaction_takes_are_all_sent_again(data_dir: Path) -> None:
    console = Console()
    with console.capture() as said:
        asyncio.run(replay_dead_letters(None, (), Settings(data_dir=data_dir), console, at_once=1))

    assert said.get().split()[0] == "3"
    assert pending(data_dir) == {"shop": 2, "bank": 1}


@pytest.mark.usefixtures("used_folder")
def test_without_a_dead_letter_the_list_says_so(wavstream: CommandLine) -> None:
    said = wavstream("webhooks", "list")

    assert (said.code, said.out) == (0, "there is no dead letter: nothing was given up\n")


@pytest.mark.usefixtures("dead")
def test_what_waits_is_listed_with_when_it_is_tried_next_and_why_it_was_not_taken(
    wavstream: CommandLine, data_dir: Path
) -> None:
    async def fail(catalog: Catalog) -> None:
        for number in (1, 2):
            fact = Fact(id=f"w{number}", app_id="shop", session_id="[red]77", kind=FactKind.COMMAND_DONE, at=START)
            await catalog.outbox.announce([fact])
        [told] = (await catalog.outbox.due("shop", START, 10)).announcements
        await catalog.outbox.mark_failed(told, "answered 500\x1b[2J", START.replace(minute=5), now=START)

    in_catalog(data_dir, fail)
    said, of_none = wavstream("webhooks", "pending", "shop"), wavstream("webhooks", "pending", "bank")

    since = "2026-11-01 10:00:00 UTC  command.result  [red]77"
    assert said.code == 0
    assert said.out.splitlines() == [
        f"w1  {since}  1 tries, next 2026-11-01 10:05:00 UTC  answered 500 [2J",
        f"w2  {since}  0 tries, behind another",
    ]
    assert of_none.out == "nothing waits to be told to app bank\n"
    assert wavstream("webhooks", "pending", "nobody").code == 2
