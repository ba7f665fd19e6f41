"""Who is next where several apps wait for the same thread.

1. What is more urgent goes first. But while something less urgent waits, each fourth turn is for that, and each
   sixteenth for what is less urgent still: no app can keep another's calls waiting with its stops, and a recovery goes
   on beside any load.
2. Within a priority the apps take turns, however much each of them has waiting.
3. What one app has waiting takes turns too: what comes back after its turn goes to the end.
4. The same key never waits twice. Asked again it keeps its place; asked more urgently it moves there, and what was
   asked less urgently is dropped, since the urgent task does that too.

A turn has to be short, whoever's it is: then who has little to do waits at most for one turn of each other app.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

SHARE = 4
"""One of so many turns is for what is less urgent."""

T = TypeVar("T")


class FairQueue(Generic[T]):
    """What waits, by priority (0 is the most urgent), app and key. For one thread at a time."""

    def __init__(self, priorities: int = 1) -> None:
        self._waiting: list[OrderedDict[str, OrderedDict[Hashable, T]]] = [OrderedDict() for _ in range(priorities)]
        """By priority; the app that is next, and of each app what is next, stands first."""
        self._places: dict[Hashable, tuple[int, str]] = {}
        self._passed = [0] * priorities
        """Turns in a row that more urgent tasks had while this priority waited."""

    def __len__(self) -> int:
        return len(self._places)

    def put(self, item: T, *, app_id: str, key: Hashable, priority: int = 0) -> None:
        """Let the item wait, unless its key does already (rule 4)."""
        place = self._places.get(key)
        if place is not None:
            if place[0] <= priority:
                return
            self.discard(key)
        self._places[key] = (priority, app_id)
        self._waiting[priority].setdefault(app_id, OrderedDict())[key] = item

    def take(self, *, below: int | None = None) -> T | None:
        """Return what is next, of the priorities below ``below`` if given; None: nothing waits."""
        priority = self._next_priority(len(self._waiting) if below is None else below)
        if priority is None:
            return None
        apps = self._waiting[priority]
        app_id, items = next(iter(apps.items()))
        key, item = items.popitem(last=False)
        del self._places[key]
        if items:
            apps.move_to_end(app_id)  # rule 2
        else:
            del apps[app_id]
        return item

    def priority_of(self, key: Hashable) -> int | None:
        """Return at which priority a key waits; None: it does not."""
        place = self._places.get(key)
        return None if place is None else place[0]

    def discard(self, key: Hashable) -> None:
        """Let it wait no more, if it does."""
        place = self._places.pop(key, None)
        if place is not None:
            priority, app_id = place
            items = self._waiting[priority][app_id]
            del items[key]
            if not items:
                del self._waiting[priority][app_id]

    def apps(self, priority: int) -> Collection[str]:
        """Return the apps that have something of this priority waiting."""
        return self._waiting[priority].keys()

    def waiting_of(self, app_id: str) -> int:
        """Return how much of one app waits."""
        return sum(len(apps[app_id]) for apps in self._waiting if app_id in apps)

    def _next_priority(self, below: int) -> int | None:
        chosen: int | None = None
        for priority, apps in enumerate(self._waiting[:below]):
            if not apps:
                self._passed[priority] = 0
            elif chosen is None or self._passed[priority] >= SHARE**priority - 1:  # rule 1
                chosen = priority
        if chosen is not None:
            self._passed[chosen] = 0
            for priority in range(chosen + 1, len(self._waiting)):
                self._passed[priority] += bool(self._waiting[priority])
        return chosen
