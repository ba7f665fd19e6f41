"""The vendors in whose words the apps of a server are told what happened, and which of it they are told."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Set
from fnmatch import fnmatchcase

from wavstream.model.app import WebhookTarget
from wavstream.model.fact import Fact, FactKind
from wavstream.model.origin import NATIVE
from wavstream.webhooks.vocabulary import Vocabulary


class Vocabularies(Mapping[str, Vocabulary]):
    """The words of each vendor, by the name of its API; the first are those of apps that have not said whose they want.

    1. A fact is told in the words of the API that it is of. One of our own API, which has none, is told in those of the
       app's target.
    2. What a vendor has no word for is not told.
    3. A fact that has a URL of its own is told there, whatever it is: its receiver was named for it.
    4. An app that names events is told those. If it names none of a vendor, the vendor's usual ones are told, but for
       the first vendor, whose list of names says what is told and what is not.
    5. An app that names no events is told what its vendor usually tells.
    """

    def __init__(self, by_name: Mapping[str, Vocabulary]) -> None:
        self._by_name = by_name
        self._first = next(iter(by_name))

    def __getitem__(self, name: str) -> Vocabulary:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def name_of(self, fact: Fact, target: WebhookTarget | None) -> str:
        """Return in whose words a fact is told to an app with this target (rule 1)."""
        if fact.api != NATIVE:
            return fact.api
        return self._first if target is None else target.vendor

    def of(self, fact: Fact, target: WebhookTarget | None = None) -> Vocabulary:
        """Return the words in which a fact is told to an app with this target."""
        return self[self.name_of(fact, target)]

    def event_of(self, fact: Fact) -> str:
        """Return a vendor's name for a fact that was announced."""
        return self.of(fact).events[fact.kind]

    def wrong_event(self, name: str) -> str | None:
        """Return what is wrong with the name of an event that an app asks for; None: some vendor has one of it."""
        events = sorted({event for words in self._by_name.values() for event in words.events.values()})
        patterns = (pattern for words in self._by_name.values() for pattern in words.never)
        if name in events or any(fnmatchcase(name, pattern) for pattern in patterns):
            return None
        near = difflib.get_close_matches(name, events, n=1)
        return f"there is no event {name}" + (
            f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(events)}"
        )

    def is_wanted(self, fact: Fact, target: WebhookTarget | None, *, usual_of_first: Set[FactKind]) -> bool:
        """Return whether a fact is told to an app with this target; None: the app has none.

        ``usual_of_first``: what the first vendor usually tells, as this server is set.
        """
        name = self.name_of(fact, target)
        words = self[name]
        event = words.events.get(fact.kind)
        if event is None:  # rule 2
            return False
        if fact.url is not None:  # rule 3
            return True
        if target is None:
            return False
        if target.events and (name == self._first or not set(words.events.values()).isdisjoint(target.events)):
            return event in target.events  # rule 4
        return fact.kind in (usual_of_first if name == self._first else words.usual)  # rule 5
