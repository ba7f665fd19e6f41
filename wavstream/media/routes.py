"""The paths at which media WebSockets are opened, and what each says of its streams.

===============================================  =======================================================================
path                                             dialect
===============================================  =======================================================================
``/media``, ``/media/auto``                      found by what the stream looks like (``dialects.detection``)
``/media/{dialect}``                             as named
``/record/{bucket vendor}``                      ``jambonz``: a call that is recorded as its account wants, in stereo
a path of ``media.routes``                       as set there
===============================================  =======================================================================

Behind each may stand session and leg, and in front of these ``/t/{token}``, as behind ``/media`` itself. The longest
path that fits counts, so a route may take the place of one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from wavstream.dialects.base import Dialect
from wavstream.dialects.jambonz import BUCKET_VENDORS, RECORD_PARAMETERS, JambonzDialect
from wavstream.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What is known of the streams of one path."""

    dialect: type[Dialect]
    parameters: Mapping[str, str]
    """Parameters of the dialect, for what neither the URL nor a message says."""
    ping_interval_s: float | None = None
    """Between two PINGs; 0: none is sent; None: as for all streams."""


class Found(NamedTuple):
    """Where a path leads."""

    route: Route
    token: str | None
    """The segment behind ``t``, still encoded."""
    ids: tuple[str, ...]
    """The segments behind the route, still encoded: none, session, or session and leg."""


class Routes:
    """All routes of a server."""

    def __init__(
        self, dialects: Mapping[str, type[Dialect]], *, auto: type[Dialect], routes: Mapping[str, Route] = {}
    ) -> None:
        """``routes``: by their paths, ``/a/b`` without a slash at the end."""
        self._names = sorted(dialects)
        of_dialects: dict[tuple[str, ...], Route] = {
            ("media", name): Route(dialect=dialect, parameters={}) for name, dialect in dialects.items()
        }
        detecting = Route(dialect=auto, parameters={})
        recorded = Route(dialect=JambonzDialect, parameters=RECORD_PARAMETERS)
        self._routes: dict[tuple[str, ...], Route] = {
            ("media",): detecting,
            ("media", auto.name): detecting,
            **of_dialects,
            **{("record", vendor): recorded for vendor in BUCKET_VENDORS},
            **{tuple(path.split("/")[1:]): route for path, route in routes.items()},
        }
        self._longest = max(map(len, self._routes))

    def find(self, path: str) -> Found:
        """Return where the path leads; raise NotFound."""
        start, *segments = path.split("/")
        if start or not segments:
            raise self._not_found()
        if segments[:2] == ["", "record"]:
            # jambonz puts its path behind a base URL that may end with a slash; its own receiver takes that.
            del segments[0]
        token = None
        if segments[:2] == ["media", "t"] and len(segments) > 2:
            token, segments = segments[2], ["media", *segments[3:]]
        for length in range(min(self._longest, len(segments)), 0, -1):
            route = self._routes.get(tuple(segments[:length]))
            if route is None:
                continue
            ids = segments[length:]
            if token is None and ids[:1] == ["t"] and len(ids) > 1:
                token, ids = ids[1], ids[2:]
            if len(ids) > 2 or (ids and segments[:length] == ["media"]):
                break
            return Found(route, token, tuple(ids))
        raise self._not_found()

    def _not_found(self) -> NotFound:
        return NotFound(
            "no media WebSocket is opened at this path; they are opened at /media, or at /media/{dialect}, behind "
            f"which session and leg may stand. The dialects are: {', '.join(self._names)}"
        )
