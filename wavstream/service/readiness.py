"""Whether the server can take calls: what each worker has to say of it, and which of them is not there."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from wavstream.workers.boundary import Boundary

_QUESTION = "not_ready_because"
_WAIT_S = 1.0
"""Shorter than whoever asks for readiness waits."""


class Readiness:
    """What ``/readyz`` says, on every worker the same. Lives on the event loop."""

    def __init__(self, boundary: Boundary, own: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """``own`` says why this worker cannot take calls; answer other workers too, from now on."""
        self._boundary = boundary
        self._own = own
        boundary.answers(_QUESTION, self._answer)

    async def not_ready_because(self) -> list[str]:
        """Return why no calls should be sent here, a sentence each; what all workers say is said once."""
        if self._boundary.is_alone:
            return [*await self._own()]
        others = await self._boundary.ask_all(_QUESTION, wait_s=_WAIT_S)
        said: dict[int, list[str]] = {worker: json.loads(answer) for worker, answer in others.items()}
        said[self._boundary.index] = [*await self._own()]
        by_all = [reason for reason in said[self._boundary.index] if all(reason in own for own in said.values())]
        of_one = [
            f"worker {worker}: {reason}"
            for worker, reasons in sorted(said.items())
            for reason in reasons
            if reason not in by_all
        ]
        away = [worker for worker in self._boundary.others if worker not in said]
        return by_all + of_one + [f"worker {worker} does not answer: it is being started" for worker in away]

    async def _answer(self, _question: bytes) -> bytes:
        return json.dumps([*await self._own()]).encode()
