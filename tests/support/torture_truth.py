"""What can be known of a leg from what arrived of it: where its truth ends, and why.

A leg that counts what it sends does not tell the silence that it leaves out. Its truth is gone where

1. silence was left out while something that was said before was still on its way: it may have been anywhere in that;
2. nothing between two silences (or a silence and the end) came on time: it may have been said at any time of that;
3. a delay came in a step and lasts to the end of a socket: so does silence.

Where timestamps count silence, that they do so is known once a pause on the wire was as long as the hole in them, and
nothing else is needed.
Whatever the clock:

4. a delay that a socket has from its first frame to its last is not seen at all;
5. who is not on time again while the file waits is not waited for.

6. Where less than 0.2 s came on time between the last silence and a delay that lasts to the end, or less than that
   after it began, nothing tells the two apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import Track

if TYPE_CHECKING:
    from tests.support.torture_links import Link
    from tests.support.torture_senders import Ints, Sender

ON_TIME_US = 40_000
"""More than a link's jitter."""
_WAITS_US = 27_000_000
_SILENCE_US = 5_000
_TELLS_US = 100_000
_WORD_US = 200_000

INSIDE_DELAY = "silence inside a delay"
NEVER_ON_TIME = "nothing on time between silences"
ALWAYS_LATE = "a stream that is never on time"
LASTING_STEP = "a step of delay that lasts"
BEYOND_HOLD = "behind for longer than the hold"


def unknowable(sender: Sender, link: Link, arrivals: list[Ints], streams: list[Ints]) -> list[str]:
    """Return why the truth of a leg cannot be known; empty: it can. Arrivals and sockets are those of each track."""
    why: set[str] = set()
    for sent, arrival_us, stream in zip(sender.tracks, arrivals, streams, strict=True):
        if not len(arrival_us):
            continue
        due_us = sent.due_us
        late_us = arrival_us - due_us
        is_told = sender.is_marked and link.lasts_from_us is None
        waits_us = int(late_us.max()) if is_told else _catches_up_after_us(late_us, arrival_us, due_us, stream)
        if waits_us > _WAITS_US:  # rule 5
            why.add(BEYOND_HOLD)
        # What is played to a party may be sent before it is heard.
        if sent.track is Track.INBOUND:
            joins = np.flatnonzero(np.concatenate(([True], stream[1:] != stream[:-1])))
            if int(np.minimum.reduceat(late_us, joins).max()) > ON_TIME_US:  # rule 4
                why.add(ALWAYS_LATE)
        silent_us = due_us[1:] - due_us[:-1] - sender.ptime_us
        is_silence = silent_us > _SILENCE_US
        if not sender.is_marked:
            if (is_silence & (late_us[:-1] > ON_TIME_US)).any():  # rule 1
                why.add(INSIDE_DELAY)
            if _is_silent_in_the_last_delay(late_us, sender.ptime_us):  # rule 1
                why.add(INSIDE_DELAY)
            if _ends_at_a_level(late_us, stream):  # rule 3
                why.add(LASTING_STEP)
            begins = np.flatnonzero(np.concatenate(([True], is_silence | (stream[1:] != stream[:-1]))))
            if int(np.minimum.reduceat(late_us, begins).max()) > ON_TIME_US:  # rule 2
                why.add(NEVER_ON_TIME)
            last = late_us[int(begins[-1]) :]
            on_time_us = int(np.count_nonzero(last <= ON_TIME_US)) * sender.ptime_us
            is_short = len(last) * sender.ptime_us - on_time_us < _WORD_US
            if int(last[-1]) > ON_TIME_US and (on_time_us < _WORD_US or is_short):  # rule 6
                why.add(NEVER_ON_TIME)
    if link.lasts_from_us is not None and not _is_told(sender, arrivals, link.lasts_from_us):  # rule 3
        why.add(LASTING_STEP)
    return sorted(why)


def _catches_up_after_us(late_us: Ints, arrival_us: Ints, due_us: Ints, stream: Ints) -> int:
    """Return how long after it was said anything that was late was followed by something on time, at most."""
    longest_us = 0
    for socket in np.unique(stream):
        late, arrival, due = late_us[stream == socket], arrival_us[stream == socket], due_us[stream == socket]
        on_time = np.flatnonzero(late <= ON_TIME_US)
        behind = np.flatnonzero(late > ON_TIME_US)
        # The end of a socket ends the wait.
        known_us = np.append(arrival[on_time], arrival[-1])[np.searchsorted(on_time, behind)]
        longest_us = max(longest_us, int((known_us - due[behind]).max(initial=0)))
    return longest_us


def _is_silent_in_the_last_delay(late_us: Ints, ptime_us: int) -> bool:
    """Return whether what came in the delay at the end is less audio than half of the delay."""
    on_time = np.flatnonzero(late_us <= ON_TIME_US)
    last = late_us[on_time[-1] + 1 :] if len(on_time) else late_us
    return len(last) > 0 and 2 * len(last) * ptime_us < int(last.max())


def _ends_at_a_level(late_us: Ints, stream: Ints) -> bool:
    """Return whether what came last on a socket was all late, by as much."""
    for socket in np.unique(stream):
        late = late_us[stream == socket]
        on_time = np.flatnonzero(late <= ON_TIME_US)
        last = late[on_time[-1] + 1 :] if len(on_time) else late[:0]
        if len(last) and int(last.max() - last.min()) <= ON_TIME_US:
            return True
    return False


def _is_told(sender: Sender, arrivals: list[Ints], before_us: int) -> bool:
    """Return whether it was seen by then that the timestamps count silence."""
    if not sender.is_marked:
        return False
    for sent, arrival_us in zip(sender.tracks, arrivals, strict=True):
        count = int(np.count_nonzero(arrival_us < before_us))
        hole_us = np.diff(sent.due_us[:count]) - sender.ptime_us
        pause_us = np.diff(arrival_us[:count]) - sender.ptime_us
        if ((hole_us >= _TELLS_US) & (np.abs(pause_us - hole_us) <= ON_TIME_US)).any():
            return True
    return False
