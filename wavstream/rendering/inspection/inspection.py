"""One sequence of frames, looked at now and then: its pace, and what it makes suspicious.

Live sessions and folds look at the same stream by these rules, but not at the same moments: of the pace they may differ
by a hundredth. How closely whoever looks has to do so:

1. A sequence is watched *closely*, so that no pause in it is overlooked, until its first look is over, and again from a
   look on whose pace is not that of real time. A look that is slower than real time and was not watched closely may
   have had a pause, and is taken for one that had.
2. Else it is looked at every two or three seconds until its pace is known, then every half minute.
3. Its audio is asked for its byte order until that is clear; and where its pace is odd, whether there are two channels
   in one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.model.pace import KNOWN_US, Pace
from wavstream.rendering.inspection.mistakes import wrong_byte_order, wrong_pace
from wavstream.rendering.inspection.texture import ByteOrder, Interleaving

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wavstream.model.audio import MediaFormat

_ODD = 0.05
_SETTLING_S, _SETTLED_S = 3, 30


class Inspection:
    """What is known of one sequence of frames."""

    __slots__ = ("_channels", "_dialect", "_form", "_order", "_was_odd", "is_close", "pace")

    def __init__(self, form: MediaFormat, dialect: str) -> None:
        self.pace = Pace()
        self.is_close = True
        """Whether whoever looks has to tell ``pace`` of each pause (rule 1)."""
        self._form = form
        self._dialect = dialect
        self._order = ByteOrder(form)
        self._channels = Interleaving(form)
        self._was_odd = False
        """Whether a look had a pace that may be wrong."""

    def look(self, arrival_us: int, media_us: int, *payloads: NDArray[np.uint8] | bytes) -> None:
        """Take in that so much audio had come by then (see ``Pace.look``), and what of it is new, (bytes,) each."""
        for payload in payloads:
            if not self._order.is_known:
                self._order.take(payload)
            if self._was_odd and not self._channels.is_known:
                self._channels.take(payload)
        if not self.is_close:
            self.pace.pause()
        found = self.pace.look(arrival_us, media_us)
        if found is not None:
            self.is_close = abs(found - 1) > _ODD
            self._was_odd |= self.is_close

    @property
    def listens(self) -> bool:
        """Whether it is of use to be given audio (rule 3)."""
        return not self._order.is_known or (self._was_odd and not self._channels.is_known)

    @property
    def next_look_s(self) -> int:
        """In how many seconds to look again, about; 1 also for who watches closely (rule 2)."""
        if self.is_close:
            return 1
        next_s = _SETTLING_S if self.pace.watched_us < KNOWN_US else _SETTLED_S
        return next_s if self._order.is_known else min(next_s, 1 + self._order.pieces.skip)

    @property
    def wrong_order(self) -> str | None:
        """What to do about its byte order; None: nothing."""
        return wrong_byte_order(self._form, self._dialect) if self._order.is_swapped else None

    @property
    def wrong_pace(self) -> str | None:
        """What its pace is due to, if that is a mistake, and what to do about it; None: it is none."""
        if not self._was_odd:  # tells cheaply of nearly every track
            return None
        return wrong_pace(self.pace.value, self._form, self._dialect, has_two_channels=self._channels.is_two)

    @property
    def suspicions(self) -> tuple[str, ...]:
        """What was probably described wrongly, and who has to set what: a sentence or two each."""
        return tuple(text for text in (self.wrong_order, self.wrong_pace) if text is not None)
