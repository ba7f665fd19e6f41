"""Why a recording got no stream: which sessions streamed meanwhile whose ids nearly are the one that it waited for.

Who starts a recording and who streams are two systems, and each writes the id of a call in its own way: another case, a
node's name in front, a suffix, a mistyped digit. Then the recording waits in vain while its call streams beside it.

1. Only sessions of the same app are looked at: no app learns of another's calls. Only similar ids are named.
2. Ids are alike if they are the same without case and punctuation, if one begins or ends with the other, or if difflib
   says that they are close.
3. A look costs a few milliseconds at most, whatever is compared: so many ids are looked at, and so many of these by
   difflib. Of looks there is one in ``LOOK_EVERY_US``, else thousands of recordings that wait in vain would hold up
   the event loop.
4. Apps take turns to look, so that one with thousands of such recordings does not keep another from its look. Whoever
   has to wait asks again, and comes later; who never gets a look is told that nobody looked, and not that there was
   nothing.
"""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

IDS_OF_APP = 256
"""Ids kept of each app, of sessions that are over, at most 64 kB."""
APPS = 256
"""Apps that ids are kept of."""
LOOK_EVERY_US = 100_000
_ASKS_EVERY_US = 1_000_000
"""An app that has not asked for so long does not wait for a look any more; ticks of a session are 150 ms apart."""
_LOOKED_AT = 1_000
_CLOSELY = 24
"""Looked at by difflib, each for up to 0.2 ms; the newest."""
_LONGEST_CLOSELY = 64
_NAMED = 3
_CLOSE = 0.8
_LEAST_COMMON = 4
"""Characters that an id has to have to be told as the beginning or end of another."""


class StreamedIds:
    """The ids of sessions that streamed and are over, the newest of each app."""

    def __init__(self) -> None:
        self._by_app: OrderedDict[str, OrderedDict[str, int]] = OrderedDict()
        self._looked_us: int | None = None
        self._asked: dict[str, int] = {}
        """The apps that wait for a look, in turn, and when each asked last."""

    def note(self, app_id: str, session_id: str, until_us: int) -> None:
        """Keep the id of a session whose last stream ended then."""
        ids: OrderedDict[str, int] = self._by_app.setdefault(app_id, OrderedDict())
        self._by_app.move_to_end(app_id)
        ids[session_id] = until_us
        ids.move_to_end(session_id)
        if len(ids) > IDS_OF_APP:
            ids.popitem(last=False)
        if len(self._by_app) > APPS:
            self._by_app.popitem(last=False)

    def since(self, app_id: str, since_us: int) -> list[str]:
        """Return the ids of the app's sessions that streamed at that moment or later, the newest first."""
        ids: OrderedDict[str, int] = self._by_app.get(app_id) or OrderedDict()
        return [session_id for session_id, until_us in reversed(ids.items()) if until_us >= since_us]

    def may_look(self, app_id: str, now_us: int) -> bool:
        """Return whether ids may be compared now, for this app; True takes the turn (rules 3 and 4)."""
        self._asked[app_id] = now_us  # one that waits already keeps its place
        if self._looked_us is not None and now_us - self._looked_us < LOOK_EVERY_US:
            return False
        self._asked = {each: asked_us for each, asked_us in self._asked.items() if now_us - asked_us < _ASKS_EVERY_US}
        if next(iter(self._asked)) != app_id:
            return False
        del self._asked[app_id]
        self._looked_us = now_us
        return True


def similar_ids(wanted: str, streamed: Iterable[str]) -> list[str]:
    """Return those of the ids, best the newest first, that are like the one that was waited for (rule 2)."""
    bare = _bare(wanted)
    others = [each for each, _ in zip(dict.fromkeys(streamed), range(_LOOKED_AT), strict=False) if each != wanted]
    alike = [each for each in others if _is_alike(bare, _bare(each))]
    if len(alike) < _NAMED and len(wanted) <= _LONGEST_CLOSELY:
        near = {_bare(each): each for each in others[:_CLOSELY] if len(each) <= _LONGEST_CLOSELY and each not in alike}
        alike += [near[each] for each in difflib.get_close_matches(bare, near, n=_NAMED, cutoff=_CLOSE)]
    return alike[:_NAMED]


def no_stream_error(*, session_id: str, waited_us: int, similar: Sequence[str] | None) -> str:
    """Return what is wrong, for a person who sees the recording that got no stream; None: nobody looked (rule 4)."""
    waited = f"no stream of session {session_id!r} came within {waited_us / 1e6:.0f} s"
    if similar is None:
        return f"{waited}; which sessions streamed meanwhile was not looked at: look at what the media server sends"
    if not similar:
        return f"{waited}, and no session of the app with a similar id streamed: look at what the media server sends"
    named = " and ".join(repr(each) for each in similar)
    return f"{waited}; meanwhile {named} streamed: start the recording with the id that the media server sends"


def _bare(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum()) or text


def _is_alike(wanted: str, other: str) -> bool:
    if wanted == other:
        return True
    short, long = sorted((wanted, other), key=len)
    return len(short) >= _LEAST_COMMON and (long.startswith(short) or long.endswith(short))
