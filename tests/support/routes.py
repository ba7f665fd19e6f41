"""The media routes of a server without settings of its own."""

from __future__ import annotations

from wavstream.dialects.detection import AutoDialect
from wavstream.dialects.registry import DIALECTS
from wavstream.media.routes import Routes

ROUTES = Routes(DIALECTS, auto=AutoDialect)
