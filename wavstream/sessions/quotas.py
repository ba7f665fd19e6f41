"""What each app may take of the server: its own quotas, and its share of what several apps want.

1. A quota that is set bounds the app, whoever else is there.
2. One that is not set (0) is as much as the server has. A server with one app refuses it nothing here.
3. Where there are several apps, the last fifth of what the server has is kept for those that use less than their share:
   what the server has, divided by the apps. So one app may use most of a server that is idle, and no app, nor several
   together, can shut another out.
4. Only what is new is refused. What was accepted goes on, and loses nothing: audio of an app that sends too much is
   read and recorded, and its next stream is refused.
5. A refusal names the quota, or the limit that is shared, with its value.
6. Where there are several workers, what is counted is what all of them have (``workers.tally``).

Pure: whoever asks says how much is in use and when it is, in seconds that never go back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from wavstream.errors import QuotaReached, TooSoon
from wavstream.model.app import app_name
from wavstream.workers.shared_counts import SharedCounts
from wavstream.workers.tally import Meter, tally_of

_KEPT = 5
"""One part of so many is kept for apps below their share."""
_MEDIA_WINDOW_S = 4.0
_MEDIA_UNIT = 1024
"""Other workers are told of bytes in so many."""
_RETRY_S = 5
_NOTHING: Mapping[str, int] = MappingProxyType({})


class Quota(StrEnum):
    """What is counted for each app, by the name of its setting in ``[quotas]``."""

    SESSIONS = "sessions"
    STREAMS = "streams"
    RECORDINGS = "recordings"
    RECORDINGS_PER_SESSION = "recordings_per_session"
    LIVE_LISTENERS = "live_listeners"
    LIVE_PAGES = "live_pages"
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
        shared: SharedCounts | None = None,
    ) -> None:
        """Take the limits of the whole server, the quotas of every app, and those of some; all by name.

        ``shared`` has what other workers count; None: there are none.
        """
        self.apps = 1
        """Apps that there are."""
        self.server = dict(server)
        self.streams_per_session = streams_per_session
        self.refused: Counter[Quota] = Counter()
        self.streams = tally_of(shared, "streams")
        """Media streams that are open."""
        self.sockets = tally_of(shared, "sockets")
        """Media WebSockets that are open, also those that have not introduced themselves."""
        self.token_sockets = tally_of(shared, "token_sockets")
        """Of those, what was opened with a token for one session, by that session."""
        self.disk: Mapping[str, int] = _NOTHING
        """Bytes on the disk, by app, as they were at the last look."""
        media = None if shared is None else shared.of("media_bytes")
        self.media = Meter(_MEDIA_WINDOW_S, media, unit=_MEDIA_UNIT)
        self._requests = Meter(1.0, None if shared is None else shared.of("requests"), looks_back=False)
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
        self._requests.take(app_id, now, self._checker(Quota.REQUESTS_PER_S, app_id))

    def give_back_request(self, app_id: str, now: float) -> None:
        """Take back a request that counts elsewhere, if its second is not over."""
        self._requests.take_back(app_id, now)

    def take_socket(self, app_id: str, token_session: str | None = None) -> None:
        """Count a media WebSocket; raise QuotaReached if the app may open none, TooSoon if its token may not.

        An app may have twice as many as streams: a leg comes back before its old socket is seen to be dead.
        ``token_session``: the session, with its app, of a token for it alone; so it is with its streams too.
        """
        own = self.of(Quota.STREAMS, app_id)

        def check(used: int, used_by_all: int) -> None:
            if not own or used >= 2 * own:
                self.check(Quota.STREAMS, app_id, used=used, used_by_all=used_by_all)

        def check_token(used: int, _: int) -> None:
            most = self.streams_per_session
            if most and used >= 2 * most:
                text = f"twice limits.streams_per_session, {most}, are open with a token for this session"
                raise TooSoon(text, retry_after_s=_RETRY_S)

        self.sockets.take(app_id, check)
        if token_session is not None:
            try:
                self.token_sockets.take(token_session, check_token)
            except TooSoon:
                self.sockets.remove(app_id)
                raise

    def leave_socket(self, app_id: str, token_session: str | None = None) -> None:
        """Count it no more."""
        self.sockets.remove(app_id)
        if token_session is not None:
            self.token_sockets.remove(token_session)

    def take_stream(self, app_id: str, now: float) -> None:
        """Count a stream; raise QuotaReached if the app may have none that is not one of its legs come back."""
        used, used_by_all = self.media.rate(app_id, now)
        self.streams.take(app_id, self._checker(Quota.STREAMS, app_id))
        try:
            self.check(Quota.MEDIA_BYTES_PER_S, app_id, used=used, used_by_all=used_by_all)
        except QuotaReached:
            self.streams.remove(app_id)
            raise

    def _checker(self, quota: Quota, app_id: str) -> Callable[[int, int], None]:
        return lambda used, used_by_all: self.check(quota, app_id, used=used, used_by_all=used_by_all)

    def check_disk(self, app_id: str) -> None:
        """Raise QuotaReached if the app has as much on the disk as it may."""
        used_by_all = sum(self.disk.values())
        self.check(Quota.DISK_BYTES, app_id, used=self.disk.get(app_id, 0), used_by_all=used_by_all)
