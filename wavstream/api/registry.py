"""The APIs of vendors that are served beside ours: one line each."""

from __future__ import annotations

from wavstream.api.facade import Facade

FACADES: tuple[Facade, ...] = ()
"""No address of one begins like another's."""
