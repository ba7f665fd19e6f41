"""The vendors in whose words apps are told what happened: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wavstream.model.app import App
from wavstream.model.fact import Fact, FactKind
from wavstream.webhooks import gateway


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One vendor's messages."""

    events: Mapping[FactKind, str]
    """The vendor's names of events."""
    kinds: Callable[[Sequence[str]], tuple[FactKind, ...] | None]
    """From an allow-list of those names to what they mean; None: it does not choose."""
    render: Callable[[Fact, int], bytes]
    """From a fact and its sequence to the body of the webhook."""


VOCABULARIES: Mapping[str, Vocabulary] = {
    "gateway": Vocabulary(gateway.EVENTS, gateway.kinds, gateway.render),
}


def vocabulary_of(app: App | None) -> Vocabulary:
    """Return the words in which the app is told; for one that is told nothing, those of the first vendor."""
    if app is None or app.webhook is None:
        return next(iter(VOCABULARIES.values()))
    return VOCABULARIES[app.webhook.vendor]
