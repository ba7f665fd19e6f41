"""An engine in memory, which is away when a test says so: subjects and a table that several nodes of a test share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable

from wavstream.cluster.engine import EngineAway, Entry, EntryChanged, Log, Logged, Table, WrongSequence


class MemoryLog(Log):
    """Subjects."""

    def __init__(self, *, max_payload_bytes: int = 1_048_576) -> None:
        self.subjects: defaultdict[str, list[Logged]] = defaultdict(list)
        self.is_away = False
        self.loses_answers = 0
        """How many writes count and are not answered."""
        self.reads = 0
        self._max_payload_bytes = max_payload_bytes
        self._sequence = 0

    @property
    def max_payload_bytes(self) -> int:
        return self._max_payload_bytes

    async def publish(self, subject: str, payload: bytes, *, after: int | None) -> int:
        self._check()
        last = self.subjects[subject][-1] if self.subjects[subject] else Logged(0, b"")
        if after is not None and after != last.sequence:
            if payload == last.payload:  # it was sent again
                return last.sequence
            raise WrongSequence(subject)
        self._sequence += 1
        self.subjects[subject].append(Logged(self._sequence, payload))
        if self.loses_answers:
            self.loses_answers -= 1
            raise EngineAway("the answer was lost")
        return self._sequence

    async def last(self, subject: str) -> int:
        self._check()
        return self.subjects[subject][-1].sequence if self.subjects[subject] else 0

    async def newest(self, subject: str) -> Logged:
        self._check()
        return self.subjects[subject][-1] if self.subjects[subject] else Logged(0, b"")

    async def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Logged]:
        self._check()
        self.reads += 1
        for logged in list(self.subjects[subject]):
            if logged.sequence > after:
                yield logged

    def _check(self) -> None:
        if self.is_away:
            raise EngineAway("it is away")


class MemoryTable(Table):
    """Entries, whose changes are told at once."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.is_away = False
        self._revision = 0
        self._watches: list[tuple[str, Callable[[Entry], None]]] = []

    async def get(self, key: str) -> Entry:
        self._check()
        return self.entries.get(key, Entry(key, b"", 0))

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        self._check()
        if self.entries.get(key, Entry(key, b"", 0)).revision != after:
            raise EntryChanged(key)
        self._revision += 1
        self.entries[key] = Entry(key, value, self._revision)
        self._tell(self.entries[key])
        return self._revision

    async def delete(self, key: str, *, after: int) -> None:
        self._check()
        if self.entries.get(key, Entry(key, b"", 0)).revision != after:
            raise EntryChanged(key)
        del self.entries[key]
        self._tell(Entry(key, b"", 0))

    async def watch(self, prefix: str, on_change: Callable[[Entry], None]) -> None:
        self._check()
        self._watches.append((prefix, on_change))
        for entry in list(self.entries.values()):
            if entry.key.startswith(prefix):
                on_change(entry)

    def _check(self) -> None:
        if self.is_away:
            raise EngineAway("it is away")

    def _tell(self, entry: Entry) -> None:
        for prefix, on_change in self._watches:
            if entry.key.startswith(prefix):
                on_change(entry)
