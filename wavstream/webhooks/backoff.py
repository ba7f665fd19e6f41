"""When a delivery that failed is tried again, and when it is given up.

After the first tries, which outlast a restart of the receiver, one every ten minutes; none later than 24 hours after
the fact was told. No random part: the tries of different sessions are as far apart as their facts were.
"""

from __future__ import annotations

from datetime import datetime, timedelta

DELAYS_S = (1, 5, 30, 120, 600)
"""Before the second try, the third, ...; the last also before all later ones."""
GIVEN_UP_AFTER = timedelta(hours=24)


def next_try(failed: int, *, begun_at: datetime, now: datetime) -> datetime | None:
    """Return when to try again after ``failed`` tries, the last of which ended ``now``; None: not any more."""
    then = now + timedelta(seconds=DELAYS_S[min(failed, len(DELAYS_S)) - 1])
    return then if then <= begun_at + GIVEN_UP_AFTER else None
