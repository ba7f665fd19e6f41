"""The place that a path names, and pages of an app's recordings of which only those at that place are shown.

The catalog knows the ids that the media server told of a call. The workspace and the channel that a command named are
not among them, and stay with the recording as it was said. So the catalog is asked for what it knows, and the rest is
looked for in what it answers.

1. A workspace that is not among those of the app does not exist; where none are listed the key alone decides.
2. What is known of a recording must be what the path says. What nobody said of it, as of one that another API started,
   is no reason to hide it.
3. A page that is cut short by rule 2 is filled from what follows. The token of the next page is that of the last
   recording shown, so nothing is shown twice or passed over.
4. No request reads more than ``MOST_READ`` recordings. A page may then have fewer than its limit, and a token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from fastapi import Path

from wavstream.api.bird.options import AnyId
from wavstream.api.facade import FacadeDependencies, owns_account
from wavstream.catalog.pages import Page
from wavstream.errors import NotFound
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import from_uuid
from wavstream.model.recording import Recording
from wavstream.sessions.commands import Commands
from wavstream.webhooks.bird import CHANNEL, WORKSPACE, account_of

API = "bird"
"""The name of this facade: in the accounts of an app, and in what a recording says of its origin."""

T = TypeVar("T")

MOST_READ = 5_000
_READ_AT_ONCE = 200

WorkspaceId = Annotated[AnyId, Path(alias=WORKSPACE)]
ChannelId = Annotated[AnyId, Path(alias=CHANNEL)]
CallId = Annotated[AnyId, Path(alias="callId")]
RecordingId = Annotated[str, Path(alias="recordingId")]


class Place(NamedTuple):
    """Where a request looks."""

    workspace_id: str
    channel_id: str | None = None
    """None: in all channels."""

    def has(self, vendor_ids: Mapping[str, str], said: Mapping[str, Any]) -> bool:
        """Return whether a call of which that is known may be here (rule 2)."""
        return all(
            wanted is None or account_of(name, vendor_ids, said) in (None, wanted)
            for name, wanted in ((WORKSPACE, self.workspace_id), (CHANNEL, self.channel_id))
        )

    def has_recording(self, recording: Recording) -> bool:
        """Return whether the recording may be here (rule 2)."""
        return self.has(recording.call.vendor_ids, recording.origin.said)


async def check_workspace(parts: FacadeDependencies, app_id: str, workspace_id: str) -> None:
    """Raise NotFound for a workspace that is not the app's (rule 1)."""
    if not await owns_account(parts, app_id, API, workspace_id):
        raise NotFound("no such workspace: its id must be among those of the app whose key this is")


async def find_recording(parts: FacadeDependencies, app_id: str, workspace_id: str, recording_id: str) -> Recording:
    """Return a recording of the workspace by its id in Bird's spelling or ours; raises NotFound."""
    await check_workspace(parts, app_id, workspace_id)
    recording = await parts.commands.get(app_id=app_id, recording_id=from_uuid(recording_id))
    if not Place(workspace_id).has_recording(recording):
        raise NotFound("no such recording in this workspace")
    return recording


def channel_of(recording: Recording) -> str | None:
    """Return the channel of the recording's call; None: nobody said."""
    return account_of(CHANNEL, recording.call.vendor_ids, recording.origin.said)


@dataclass(frozen=True, slots=True)
class Matching(Generic[T]):
    """Some of a list, newest first."""

    data: list[T]
    next_token: str | None
    """None: there are no more."""

    def answer(self, shown: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
        """Return the page as Bird answers it, each of it as ``shown`` makes it."""
        answer: dict[str, Any] = {"results": [shown(each) for each in self.data]}
        return answer if self.next_token is None else answer | {"nextPageToken": self.next_token}


async def matching_page(
    commands: Commands,
    *,
    app_id: str,
    filters: RecordingFilters,
    wanted: Callable[[Recording], bool],
    limit: int,
    token: str | None,
) -> Matching[Recording]:
    """Return a page of those recordings that are wanted; raise InvalidFields for a token that is not ours."""

    async def read(size: int, cursor: str | None) -> Page[Recording]:
        return await commands.list(app_id=app_id, filters=filters, limit=size, cursor=cursor)

    return await matching(read, wanted=wanted, limit=limit, token=token)


async def matching(
    read_page: Callable[[int, str | None], Awaitable[Page[T]]],
    *,
    wanted: Callable[[T], bool],
    limit: int,
    token: str | None,
) -> Matching[T]:
    """Return a page of what is wanted of a list, pages of which are read by their limit and their token."""
    found: list[T] = []
    read, size = 0, limit
    while True:
        page = await read_page(size, token)
        for place, each in enumerate(page.data, 1):
            if not wanted(each):
                continue
            found.append(each)
            if len(found) == limit:
                if place == len(page.data):
                    return Matching(found, page.next_cursor)
                # rule 3: the same page, cut behind the last one that is shown.
                cut = await read_page(place, token)
                return Matching(found, cut.next_cursor)
        read += len(page.data)
        token = page.next_cursor
        if token is None or read >= MOST_READ:  # rule 4
            return Matching(found, token)
        size = _READ_AT_ONCE
