"""Who may say that a file is missing, which was looked for and not found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.support.recordings import a_recording
from wavstream.errors import LimitReached
from wavstream.model.recording import Recording, Status
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.missing_files import MissingFiles
from wavstream.recovery.recovery import Recovery
from wavstream.workers.boundary import Alone, Elsewhere

RECORDING = a_recording("r1", status=Status.AVAILABLE)


@dataclass
class Node(Alone):
    """A node, and what it knows of the recording."""

    running: bool = False
    is_taken: bool = False
    is_made: bool = False
    has_row: bool = True
    is_elsewhere: bool = False
    asked: list[str] = field(default_factory=list)

    def check_not_elsewhere(self, session_id: str) -> None:
        if self.is_elsewhere:
            raise Elsewhere(7)

    def get(self, _recording_id: str) -> object | None:
        return object() if self.is_made else None

    def files(self) -> MissingFiles:
        async def has_row(recording: Recording) -> bool:
            self.asked.append(recording.id)
            return self.has_row

        return MissingFiles(
            boundary=self,
            recovery=cast("Recovery", self),
            recorder=cast("Recorder", self),
            is_taken=lambda _session_id: self.is_taken,
            has_row=has_row,
        )


async def test_the_node_that_has_the_row_and_makes_nothing_of_it_says_that_a_file_is_missing() -> None:
    node = Node()
    await node.files().check(RECORDING)
    assert node.asked == ["r1"]


@pytest.mark.parametrize(
    "node",
    [Node(running=True), Node(is_taken=True), Node(is_made=True), Node(has_row=False)],
    ids=["journals are read", "the session is taken over", "it is made again", "another node has it"],
)
async def test_a_file_that_may_come_or_lies_at_another_node_is_asked_for_again(node: Node) -> None:
    with pytest.raises(LimitReached) as told:
        await node.files().check(RECORDING)
    assert (told.value.http_status, told.value.retry_after_s) == (503, 2)


async def test_whoever_has_the_session_by_now_is_asked_instead() -> None:
    with pytest.raises(Elsewhere):
        await Node(is_elsewhere=True, is_made=True).files().check(RECORDING)


async def test_a_server_that_is_alone_has_every_row() -> None:
    node = Node()
    alone = MissingFiles(boundary=node, recovery=cast("Recovery", node), recorder=cast("Recorder", node))
    await alone.check(RECORDING)
    node.is_made = True
    with pytest.raises(LimitReached):
        await alone.check(RECORDING)
