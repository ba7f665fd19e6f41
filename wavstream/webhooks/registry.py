"""The vendors in whose words apps are told what happened: one line each."""

from __future__ import annotations

from collections.abc import Mapping, Set

from wavstream.model.app import WebhookTarget
from wavstream.model.fact import Fact, FactKind
from wavstream.model.origin import NATIVE
from wavstream.webhooks import gateway
from wavstream.webhooks.vocabulary import Vocabulary

VOCABULARIES: Mapping[str, Vocabulary] = {
    "gateway": gateway.VOCABULARY,
}


def words_of(fact: Fact, target: WebhookTarget | None) -> str:
    """Return in whose words a fact is told: those of the API that it is of, and else those of the app's target."""
    if fact.api != NATIVE:
        return fact.api
    return next(iter(VOCABULARIES)) if target is None else target.vendor


def vocabulary_of(fact: Fact, target: WebhookTarget | None) -> Vocabulary:
    """Return the words in which a fact is told."""
    return VOCABULARIES[words_of(fact, target)]


def event_of(fact: Fact) -> str:
    """Return a vendor's name for a fact that was announced."""
    return vocabulary_of(fact, None).events[fact.kind]


def is_wanted(fact: Fact, target: WebhookTarget | None, *, usual_of_first: Set[FactKind]) -> bool:
    """Return whether a fact is told to an app with this target; None: the app has none.

    1. What a vendor has no word for is not told.
    2. A fact that has a URL of its own is told as the vendor usually does: its receiver has chosen nothing.
    3. An app that names events is told those. If it names none of a vendor, the vendor's usual ones are told, but for
       the first vendor, whose list of names says what is told and what is not.
    4. An app that names no events is told what its vendor usually tells; ``usual_of_first``, of the first vendor.
    """
    name = words_of(fact, target)
    words = VOCABULARIES[name]
    event = words.events.get(fact.kind)
    if event is None:  # rule 1
        return False
    if fact.url is not None:  # rule 2
        return fact.kind in words.usual
    if target is None:
        return False
    is_first = name == next(iter(VOCABULARIES))
    if target.events and (is_first or not set(words.events.values()).isdisjoint(target.events)):  # rule 3
        return event in target.events
    return fact.kind in (usual_of_first if is_first else words.usual)  # rule 4
