"""What a vendor's webhooks are: its words for facts, how it signs them, and how long it tries.

A vendor is one module of this room with one constant, ``VOCABULARY``, and one line in ``registry``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from wavstream.model.fact import Fact, FactKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One try to tell a fact."""

    sequence: int
    """The fact's place in its line, from 1."""
    attempt: int
    """From 1."""
    url: str
    """Where it goes."""
    now: datetime
    """Aware, UTC."""
    file_url: Callable[[Mapping[str, Any], str, int], str]
    """From the document of a recording in a fact, a file format and seconds: a link that opens the file so long."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the webhooks of one app can be signed with."""

    secrets: tuple[bytes, ...] = ()
    """The secrets of its target that are in use, the newest first."""
    vendor: bytes = b""
    """32 bytes that are this app's for this vendor."""


@dataclass(frozen=True, slots=True)
class Retries:
    """When a message that was not taken is tried again."""

    delays_s: tuple[float, ...]
    """Before the second try, the third, ...; the last also before all later ones."""
    given_up_after: timedelta
    """Since the fact was told; no try is later."""
    tries: int | None = None
    """How many there are at most; None: as many as fit."""

    def next_at(self, failed: int, *, begun_at: datetime, now: datetime) -> datetime | None:
        """Return when to try again after ``failed`` tries, the last of which ended ``now``; None: not any more."""
        if self.tries is not None and failed >= self.tries:
            return None
        then = now + timedelta(seconds=self.delays_s[min(failed, len(self.delays_s)) - 1])
        return then if then <= begun_at + self.given_up_after else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """One vendor's messages."""

    events: Mapping[FactKind, str]
    """The vendor's names of events; what has none is not told."""
    usual: frozenset[FactKind]
    """What an app is told, at its own target, that names no event of this vendor."""
    never: tuple[str, ...] = ()
    """Patterns of the names of the vendor's other events, which never happen here; an app may name them."""
    render: Callable[[Fact, Occasion], bytes]
    """From a fact to the body of the webhook."""
    sign: Callable[[str, bytes, Keys, Occasion], dict[str, str]]
    """From the message's id, its body and the keys to the headers that show who sent it."""
    retries: Retries
    key_text: Callable[[bytes], str] | None = None
    """From the key that is the app's for this vendor to what its receivers check signatures with; None: the receivers
    check with the secret of the app's target."""
