"""Who looks at what is live: pages, each with one stream of events, however many legs there are.

1. There is a board for each app that somebody looks at, and for nobody else. It is looked after for a moment longer, so
   that a page that connects again goes on.
2. A look takes what it takes; the next one comes after ``SHARE`` times that, at the soonest after ``TICK_S``. So pages
   never take more than that part of a core, and slow themselves down where there are thousands of legs.
3. Who reads slowly is given the newest of everything when he reads again (``board``, rule 1). Nobody waits for him.
4. Each worker has the board of its own sessions. The worker that has the page asks the others what changed on theirs,
   once for all pages of an app, and puts it on its own. A worker that does not answer is left out, and its sessions go.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import msgspec
import structlog

from wavstream import __version__
from wavstream.errors import LimitReached
from wavstream.listening.board import Board, Seen, event, events_of, number_of, read_number
from wavstream.listening.live import Live
from wavstream.listening.session_board import Found, SessionBoard
from wavstream.model.app import app_name
from wavstream.model.times import rfc3339
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.sessions.registry import Sessions
from wavstream.workers.boundary import Boundary
from wavstream.workers.shared_counts import MOST_WORKERS, SharedCounts
from wavstream.workers.tally import tally_of

TICK_S = 0.25
SHARE = 100
LINGER_S = 10.0
"""How long a board is kept that nobody looks at."""
PING_S = 15.0
FIND_S = 0.05
"""Between two recordings whose folds are asked what they found."""
ANSWER_WAIT_S = 1.0
_QUESTION = "live_board"
_MOST_PIECES = 8
"""Of a board that another worker is told in one answer."""

log = structlog.get_logger(__name__)

_NOTHING = Seen(0, 0)

_text = msgspec.json.Encoder().encode


class _Told(msgspec.Struct):
    """What another worker tells of its board."""

    nonce: str
    seen: tuple[int, int]
    is_new: bool
    """Whether it begins anew."""
    sessions: list[tuple[str, msgspec.Raw]]
    gone: list[str]
    meters: list[tuple[str, int, str]]


class _Other:
    """The board of another worker, as far as it has told."""

    def __init__(self) -> None:
        self.board = Board()
        self.nonce = ""
        self.seen = Seen(0, 0)

    def take(self, told: _Told) -> None:
        """Take in what it tells."""
        if told.is_new:
            self.board.clear()
        self.nonce, self.seen = told.nonce, Seen(*told.seen)
        for session_id, document in told.sessions:
            self.board.show(session_id, bytes(document))
        for session_id in told.gone:
            self.board.remove(session_id)
        for session_id, meter, row in told.meters:
            self.board.set_meter(session_id, meter, row)


class _Watch:
    """The boards of an app, and who looks at them."""

    def __init__(self, own: SessionBoard, worker: int, *, is_alone: bool) -> None:
        self.nonce = own.board.nonce
        self.own = own
        self.pages: set[Page] = set()
        self.others: dict[int, _Other] = {}
        self.boards: dict[int, Board] = {worker: own.board}
        """By worker."""
        self.is_complete = is_alone
        """Whether all who could be asked have told once."""
        self.left_out: list[int | str] = []
        self.needed_until_s = 0.0


class Page:
    """One who looks. Lives on the event loop."""

    def __init__(self, watch: _Watch, *, app_id: str, key_id: str | None, on_left: Callable[[Page], None]) -> None:
        self.app_id = app_id
        self.key_id = key_id
        """The key by which it looks; None: no key of an app."""
        self.is_over = False
        self._watch = watch
        self._on_left = on_left
        self._woken = asyncio.Event()

    async def events(self, *, last_event_id: str | None, now: Callable[[], datetime]) -> AsyncIterator[bytes]:
        """Yield events until it leaves: what there is, then what changes. Whoever takes one late misses none."""
        watch = self._watch
        yield b"retry: 2000\n\n"
        seen, is_whole = read_number(last_event_id, watch.nonce), True
        while not self.is_over:
            if seen is None or not self._can_go_on(seen):
                seen, is_whole = {}, False
                yield event("reset", number_of(watch.nonce, seen), self._about(now()))
            has_more = False
            for worker, board in [*watch.boards.items()]:
                news = board.since(seen.get(worker, _NOTHING))
                seen[worker] = news.seen
                has_more |= not news.is_whole
                number = number_of(watch.nonce, seen)
                if piece := events_of(news, number=number, now=rfc3339(now())):
                    yield piece
            if not is_whole and not has_more and watch.is_complete:
                is_whole = True
                yield event("whole", number_of(watch.nonce, seen), b"{}")
            if not has_more and not self.is_over:
                self._woken.clear()
                try:
                    async with asyncio.timeout(PING_S):
                        await self._woken.wait()
                except TimeoutError:
                    yield b": nothing new\n\n"

    def wake(self) -> None:
        """Look whether something changed."""
        self._woken.set()

    def leave(self) -> None:
        """Look no more; a second call does nothing."""
        if not self.is_over:
            self.is_over = True
            self._woken.set()
            self._on_left(self)

    def _can_go_on(self, seen: dict[int, Seen]) -> bool:
        boards = self._watch.boards
        return all(boards[worker].can_go_on(of) for worker, of in seen.items() if worker in boards)

    def _about(self, now: datetime) -> bytes:
        return _text(
            {
                "now": rfc3339(now),
                "version": __version__,
                "app_id": app_name(self.app_id),
                "workers_left_out": self._watch.left_out,
            }
        )


class LivePages:
    """All who look. Lives on the event loop."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        live: Live,
        boundary: Boundary,
        max_pages: int,
        now_us: Callable[[], int],
        quotas: Quotas | None = None,
        shared: SharedCounts | None = None,
        tick_s: float = TICK_S,
    ) -> None:
        """Bound their number by ``max_pages``; ``live`` asks folds what they have found. Answer other workers too."""
        self.tick_s = tick_s
        self._sessions = sessions
        self._live = live
        self._boundary = boundary
        self._max_pages = max_pages
        self._now_us = now_us
        self._quotas = quotas or Quotas()
        self._counts = tally_of(shared, "live_pages")
        self._watches: dict[str, _Watch] = {}
        self._meters = itertools.count(boundary.index, 1 if boundary.is_alone else MOST_WORKERS)
        self._running: asyncio.Task[None] | None = None
        self._finding: asyncio.Task[None] | None = None
        self._is_stopping = False
        boundary.answers(_QUESTION, self._answer)

    @property
    def pages(self) -> int:
        """How many look here."""
        return self._counts.own

    def look(self, app_id: str, *, key_id: str | None = None) -> Page:
        """Return a page, which has to ``leave`` again; raise LimitReached."""
        if self._is_stopping:
            raise LimitReached("the server is restarting: try again", retry_after_s=5)
        self._counts.take(app_id, functools.partial(self._check, app_id))
        watch = self._watch(app_id)
        page = Page(watch, app_id=app_id, key_id=key_id, on_left=functools.partial(self._left, watch))
        watch.pages.add(page)
        return page

    def end_without(self, is_good: Callable[[str | None], bool]) -> None:
        """End all who look by a key that is not good any more."""
        for page in [page for watch in self._watches.values() for page in watch.pages]:
            if not is_good(page.key_id):
                page.leave()

    def stop(self) -> None:
        """Make all leave, since the server goes down."""
        self._is_stopping = True
        for page in [page for watch in self._watches.values() for page in watch.pages]:
            page.leave()
        for task in (self._running, self._finding):
            if task is not None:
                task.cancel()

    # ---- within ----------------------------------------------------------------------------------------------------

    def _check(self, app_id: str, of_app: int, total: int) -> None:
        self._quotas.check(Quota.LIVE_PAGES, app_id, used=of_app, used_by_all=total)
        if total >= self._max_pages:
            raise LimitReached("as many look at what is live as may: try again later", retry_after_s=5)

    def _left(self, watch: _Watch, page: Page) -> None:
        if page in watch.pages:
            watch.pages.remove(page)
            self._counts.remove(page.app_id)

    def _watch(self, app_id: str) -> _Watch:
        """Return the watch of an app, begun if there is none (rule 1)."""
        watch = self._watches.get(app_id)
        if watch is None:
            own = SessionBoard(app_id, self._sessions, new_meter=self._meters.__next__)
            own.look(self._now_us())
            watch = _Watch(own, self._boundary.index, is_alone=self._boundary.is_alone)
            self._watches[app_id] = watch
        watch.needed_until_s = time.monotonic() + LINGER_S
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="live pages")
            self._finding = asyncio.create_task(self._find(), name="what folds found")
        return watch

    async def _run(self) -> None:
        while self._watches:
            spent_s = 0.0
            for app_id, watch in [*self._watches.items()]:
                if watch.pages:
                    watch.needed_until_s = time.monotonic() + LINGER_S
                elif time.monotonic() > watch.needed_until_s:
                    del self._watches[app_id]
                    continue
                began_s = time.thread_time()
                try:
                    watch.own.look(self._now_us())
                except Exception:  # whoever looks must not end what records
                    log.exception("live_board_failed", app_id=app_id)
                spent_s += time.thread_time() - began_s
                if watch.pages and not self._boundary.is_alone:
                    await self._ask_others(app_id, watch)
                for page in watch.pages:
                    page.wake()
            await asyncio.sleep(max(self.tick_s, SHARE * spent_s))  # rule 2

    async def _find(self) -> None:
        """Ask the folds of recordings what they have found, one after the other."""
        while self._watches:
            for watch in [*self._watches.values()]:
                board = watch.own
                for session, recording_id in [*board.running()]:
                    account = await self._live.account(recording_id)
                    if account is not None:
                        board.found(session, recording_id, Found.of(account))
                    await asyncio.sleep(FIND_S)
            await asyncio.sleep(1.0)

    # ---- among workers (rule 4) ------------------------------------------------------------------------------------

    async def _ask_others(self, app_id: str, watch: _Watch) -> None:
        known = {worker: (other.nonce, *other.seen) for worker, other in watch.others.items()}
        question = json.dumps([app_id, [*known.items()]]).encode()
        answers = await self._boundary.ask_all(_QUESTION, question, wait_s=ANSWER_WAIT_S)
        for worker, answer in answers.items():
            other = watch.others.get(worker)
            if other is None:
                other = watch.others[worker] = _Other()
                watch.boards[worker] = other.board
            other.take(_decode(answer))
        left_out = [worker for worker in self._boundary.others if worker not in answers]
        watch.left_out = [self._boundary.name_of(worker) for worker in left_out]
        for worker, other in watch.others.items():
            if worker not in answers and other.nonce:
                other.board.clear()
                other.nonce = ""
        watch.is_complete = True

    async def _answer(self, question: bytes) -> bytes:
        app_id, known = json.loads(question)
        board = self._watch(app_id).own.board
        nonce, *numbers = dict(known).get(self._boundary.index, ("", 0, 0))
        seen, told = Seen(*numbers), _Told(board.nonce, (0, 0), False, [], [], [])
        if nonce != board.nonce or not board.can_go_on(seen):
            seen, told.is_new = _NOTHING, True
        for _ in range(_MOST_PIECES):
            news = board.since(seen)
            seen = news.seen
            told.sessions += [(session_id, msgspec.Raw(document)) for session_id, document in news.sessions]
            told.gone += news.gone
            told.meters += news.meters
            if news.is_whole:
                break
        told.seen = (seen.sessions, seen.meters)
        return _text(told)


_decode = msgspec.json.Decoder(_Told).decode
