"""Which apps may ask an opener, where the opener itself cannot tell whose a channel is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from wavstream.errors import Forbidden
from wavstream.sessions.openers.base import Opener, OpenRequest


class OnlyFor:
    """An opener for some apps: those that are named, or the only one that there is."""

    def __init__(
        self, opener: Opener, *, apps: Collection[str], is_only_app: Callable[[str], Awaitable[bool]] | None
    ) -> None:
        """Serve the named ``apps``; where none is, whom ``is_only_app`` says, or everybody (None)."""
        self._opener = opener
        self._apps = apps
        self._is_only_app = is_only_app

    @property
    def trouble(self) -> str | None:
        """Why the opener cannot be asked now; None: it can."""
        return self._opener.trouble

    async def open(self, request: OpenRequest) -> None:
        """Open the stream; raise Forbidden where the app may not, and what the opener raises."""
        if self._apps:
            if request.app_id not in self._apps:
                raise Forbidden("this app may not have calls streamed: opener.apps does not name it")
        elif self._is_only_app is not None and not await self._is_only_app(request.app_id):
            raise Forbidden(
                "there are several apps, and nothing says whose the media server's calls are: opener.apps has to name "
                "the apps that may have them streamed, or opener.owner_variable the variable that tells"
            )
        await self._opener.open(request)

    async def close(self, *, app_id: str, session_id: str) -> None:
        """Close the stream: what was opened may be closed, whatever was changed since."""
        await self._opener.close(app_id=app_id, session_id=session_id)
