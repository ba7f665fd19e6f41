"""One sequence of frames, looked at about once a second: its pace, and what it makes suspicious.

A live session and a fold look at the same stream with the same rules, but not at the same moments: of the pace they may
differ by a hundredth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.model.pace import Pace
from wavstream.rendering.inspection.mistakes import wrong_byte_order, wrong_pace
from wavstream.rendering.inspection.texture import Texture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wavstream.model.audio import MediaFormat

_ODD = 0.1


class Inspection:
    """What is known of one sequence of frames."""

    __slots__ = ("_dialect", "_form", "_is_linear", "_was_odd", "pace", "texture")

    def __init__(self, form: MediaFormat, dialect: str) -> None:
        self.pace = Pace()
        self.texture = Texture(form)
        self._form = form
        self._dialect = dialect
        self._is_linear = form.codec.sample_bytes == 2
        self._was_odd = False
        """Whether a look had a pace that may be wrong."""

    def look(self, arrival_us: int, media_us: int, payload: NDArray[np.uint8] | bytes) -> None:
        """Take in that so much audio had come by then (see ``Pace.look``), and what the newest of it is, (bytes,)."""
        # G.711 has no byte order: its samples are asked only what an odd pace is due to.
        if (self._is_linear or self._was_odd) and not self.texture.is_enough:
            self.texture.take(payload)
        found = self.pace.look(arrival_us, media_us)
        if found is not None and abs(found - 1) > _ODD:
            self._was_odd = True

    @property
    def wrong_order(self) -> str | None:
        """What to do about its byte order; None: nothing."""
        return wrong_byte_order(self._form, self._dialect) if self.texture.is_swapped else None

    @property
    def wrong_pace(self) -> str | None:
        """What its pace is due to, if that is a mistake, and what to do about it; None: it is none."""
        if not self._was_odd:  # tells cheaply of nearly every track
            return None
        return wrong_pace(self.pace.value, self._form, self._dialect, has_two_channels=self.texture.has_two_channels)

    @property
    def suspicions(self) -> tuple[str, ...]:
        """What was probably described wrongly, and who has to set what: a sentence or two each."""
        return tuple(text for text in (self.wrong_order, self.wrong_pace) if text is not None)
