"""What each app may take of the server: its own quotas, and its share of what several apps want.

1. A quota that is set bounds the app, whoever else is there.
2. One that is not set (0) is as much as the server has. A server with one app refuses it nothing here.
3. Where there are several apps, the last fifth of what the server has is kept for those that use less than their share:
   what the server has, divided by the apps. So one app may use most of a server that is idle, and no app, nor several
   together, can shut another out.
4. Only what is new is refused. What was accepted goes on, and loses nothing: audio of an app that sends too much is
   read and recorded, and its next stream is refused.
5. A refusal names the quota, or the limit that is shared, with its value.

Pure: whoever asks says how much is in use and when it is, in seconds that never go back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from wavstream.errors import QuotaReached, TooSoon
from wavstream.model.app import app_name

_KEPT = 5
"""One part of so many is kept for apps below their share."""
_MEDIA_WINDOW_S = 4.0
_RETRY_S = 5
_NOTHING: Mapping[str, int] = MappingProxyType({})


class Quota(StrEnum):
    """What is counted for each app, by the name of its setting in ``[quotas]``."""

    SESSIONS = "sessions"
    STREAMS = "streams"
    RECORDINGS = "recordings"
    RECORDINGS_PER_SESSION = "recordings_per_session"
    LIVE_LISTENERS = "live_listeners"
    CONVERSIONS = "conversions"
    REQUESTS_PER_S = "requests_per_s"
    MEDIA_BYTES_PER_S = "media_bytes_per_s"
    DISK_BYTES = "disk_bytes"


class Quotas:
    """The quotas of all apps; without any, nothing is refused."""

    def __init__(
        self,
        *,
        server: Mapping[str, int] = _NOTHING,
        defaults: Mapping[str, int] = _NOTHING,
        of_apps: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
        streams_per_session: int = 0,
    ) -> None:
        """Take the limits of the whole server, the quotas of every app, and those of some; all by name."""
        self.apps = 1
        """Apps that there are."""
        self.server = dict(server)
        self.streams_per_session = streams_per_session
        self.refused: Counter[Quota] = Counter()
        self.streams = Tally()
        """Media streams that are open."""
        self.sockets = Tally()
        """Media WebSockets that are open, also those that have not introduced themselves."""
        self.token_sockets = Tally()
        """Of those, what was opened with a token for one session, by that session."""
        self.disk: Mapping[str, int] = _NOTHING
        """Bytes on the disk, by app, as they were at the last look."""
        self.media = Meter(_MEDIA_WINDOW_S)
        self._requests = Meter(1.0)
        self._defaults = defaults
        self._of_apps = of_apps

    def of(self, quota: Quota, app_id: str) -> int:
        """Return the app's own quota; 0: it has none."""
        return self._of_apps.get(app_name(app_id), _NOTHING).get(quota, self._defaults.get(quota, 0))

    def refusal(self, quota: Quota, app_id: str, *, used: int, used_by_all: int) -> QuotaReached | None:
        """Return why the app gets no more of this; None: it does. ``used``: by the app and ``used_by_all`` now."""
        own = self.of(quota, app_id)
        if own:
            if used < own:
                return None
            return QuotaReached(f"the app is at its quota: quotas.{quota} is {own}", retry_after_s=_RETRY_S)
        has = self.server.get(quota, 0)
        if self.apps < 2 or not has or used_by_all < has - has // _KEPT or used < max(1, has // self.apps):
            return None
        shared = "the disk" if quota is Quota.DISK_BYTES else f"limits.{quota}"
        return QuotaReached(
            f"the app has its share of {shared}, {has} for {self.apps} apps; others need the rest",
            retry_after_s=_RETRY_S,
        )

    def check(self, quota: Quota, app_id: str, *, used: int, used_by_all: int) -> None:
        """Raise QuotaReached if the app gets no more of this, and count it."""
        refusal = self.refusal(quota, app_id, used=used, used_by_all=used_by_all)
        if refusal is not None:
            self.refused[quota] += 1
            raise refusal

    def take_request(self, app_id: str, now: float) -> None:
        """Count a request; raise QuotaReached for one too many in this second."""
        requests = self._requests
        requests.turn(now)
        self.check(Quota.REQUESTS_PER_S, app_id, used=requests.current[app_id], used_by_all=requests.current.total())
        requests.current[app_id] += 1

    def give_back_request(self, app_id: str, now: float) -> None:
        """Take back a request that counts elsewhere, if its second is not over."""
        requests = self._requests
        requests.turn(now)
        if requests.current[app_id]:
            requests.current[app_id] -= 1

    def check_socket(self, app_id: str) -> None:
        """Raise QuotaReached if the app may open no media WebSocket.

        It may have twice as many as streams: a leg comes back before its old socket is seen to be dead.
        """
        own = self.of(Quota.STREAMS, app_id)
        sockets = self.sockets
        used = sockets.of(app_id)
        if own and used < 2 * own:
            return
        self.check(Quota.STREAMS, app_id, used=used, used_by_all=sockets.total)

    def check_token(self, session: str) -> None:
        """Raise TooSoon if a token for one session may open no media WebSocket; ``session``: with its app.

        It may have twice as many as the session may have streams, as an app may.
        """
        most = self.streams_per_session
        if most and self.token_sockets.of(session) >= 2 * most:
            raise TooSoon(
                f"twice limits.streams_per_session, {most}, are open with a token for this session",
                retry_after_s=_RETRY_S,
            )

    def check_stream(self, app_id: str, now: float) -> None:
        """Raise QuotaReached if the app may have no stream that is not one of its legs come back."""
        self.check(Quota.STREAMS, app_id, used=self.streams.of(app_id), used_by_all=self.streams.total)
        used, used_by_all = self.media.rate(app_id, now)
        self.check(Quota.MEDIA_BYTES_PER_S, app_id, used=used, used_by_all=used_by_all)

    def check_disk(self, app_id: str) -> None:
        """Raise QuotaReached if the app has as much on the disk as it may."""
        used_by_all = sum(self.disk.values())
        self.check(Quota.DISK_BYTES, app_id, used=self.disk.get(app_id, 0), used_by_all=used_by_all)


class Tally:
    """How many of something each app has now."""

    def __init__(self) -> None:
        self.total = 0
        self._of: Counter[str] = Counter()

    def of(self, app_id: str) -> int:
        """Return how many the app has."""
        return self._of[app_id]

    def add(self, app_id: str) -> None:
        """Count one."""
        self.total += 1
        self._of[app_id] += 1

    def remove(self, app_id: str) -> None:
        """Count one no more."""
        self.total -= 1
        self._of[app_id] -= 1
        if not self._of[app_id]:
            del self._of[app_id]


class Meter:
    """How much each app takes in a second, in windows of a fixed length."""

    def __init__(self, window_s: float) -> None:
        self.current: Counter[str] = Counter()
        """In this window so far."""
        self._last: Counter[str] = Counter()
        self._window_s = window_s
        self._ends = 0.0

    def turn(self, now: float) -> None:
        """Begin the next window, if this one is over."""
        if now >= self._ends:
            self._last = self.current if now < self._ends + self._window_s else Counter()
            self.current = Counter()
            self._ends = now + self._window_s

    def add(self, app_id: str, amount: int, now: float) -> None:
        """Count what the app has taken."""
        self.turn(now)
        self.current[app_id] += amount

    def rate(self, app_id: str, now: float) -> tuple[int, int]:
        """Return what the app, and what all take in a second: in the last window, or already in this one."""
        self.turn(now)
        used = max(self.current[app_id], self._last[app_id])
        return int(used / self._window_s), int(max(self.current.total(), self._last.total()) / self._window_s)
