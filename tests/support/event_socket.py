"""A FreeSWITCH with an event socket and the two streaming modules, as far as its clients can tell.

Answers are those of mod_event_socket, mod_commands, mod_audio_stream and mod_audio_fork, down to what each leaves out:
``uuid_break`` prints nothing when it works, ``uuid_broadcast`` says OK to anything, a start says the same of a channel
that is not there and of one that streams already.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

STREAMING = ("uuid_audio_stream", "uuid_audio_fork")
GOODBYE = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
HEARTBEAT = "Event-Name: HEARTBEAT\nEvent-Info: System%20Ready\nContent-Length: 10\n\n+OK I live"


@dataclass
class Channel:
    stream: list[str] | None = None
    """What was started: URL, mix, rate."""
    silence: str | None = None
    """On which legs silence is played."""
    variables: dict[str, str] = field(default_factory=dict)


@dataclass
class FreeSwitch:
    password: str = "ClueCon"
    users: dict[str, str] = field(default_factory=dict)
    """Passwords by user@domain."""
    channels: dict[str, Channel] = field(default_factory=dict)
    modules: set[str] = field(default_factory=lambda: set(STREAMING))
    allowed: set[str] | None = None
    """What ``esl-allowed-api`` lets the user run; None: everything."""
    lets_in: bool = True
    chatty: bool = False
    """Whether an event comes before every answer."""
    commands: list[str] = field(default_factory=list)
    """Every API command that arrived, as it arrived."""
    losing: list[str] = field(default_factory=list)
    """Names of commands; each ends the connection once, after it was run and before its answer."""
    turning_away: int = 0
    """How many connections from now on are shut with the message that accepts them."""
    port: int = 0
    connections: int = 0
    """How many there have been."""

    def __post_init__(self) -> None:
        self._turns: asyncio.Semaphore | None = None
        self._arrived = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, after a stop on the same port again."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End all connections and listen no more."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def say_goodbye(self) -> None:
        """Say to the clients what a shutdown of the module says."""
        for writer in list(self._writers):
            self._send(writer, "text/disconnect-notice", GOODBYE)
            writer.close()

    def hold(self) -> None:
        """Commands arrive from now on, and nothing happens."""
        self._turns = asyncio.Semaphore(0)

    def let(self, count: int) -> None:
        """Run and answer ``count`` of the commands that are held."""
        assert self._turns is not None
        for _ in range(count):
            self._turns.release()

    async def heard(self, count: int) -> list[str]:
        """All commands, as soon as ``count`` have arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.commands) >= count)
        return list(self.commands)

    async def connected(self, count: int) -> None:
        """When there have been ``count`` connections."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.connections >= count)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            async with self._arrived:
                self.connections += 1
                self._arrived.notify_all()
            if not self.lets_in:
                writer.write(b"Content-Type: text/rude-rejection\nContent-Length 24\n\nAccess Denied, go away.\n")
                return
            writer.write(b"Content-Type: auth/request\n\n")
            allowed = [f"auth {self.password}", *(f"userauth {user}:{key}" for user, key in self.users.items())]
            if await self._line(reader) not in allowed:
                writer.write(b"Content-Type: command/reply\nReply-Text: -ERR invalid\n\n")
                self._send(writer, "text/disconnect-notice", GOODBYE)
                return
            accepted = b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
            if self.turning_away:
                self.turning_away -= 1
                writer.write(accepted + b"Content-Type: text/disconnect-notice\nContent-Length: 0\n\n")
                return
            writer.write(accepted)
            while True:
                await self._run(await self._line(reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _line(self, reader: asyncio.StreamReader) -> str:
        return (await reader.readuntil(b"\n\n")).decode().removesuffix("\n\n")

    async def _run(self, line: str, writer: asyncio.StreamWriter) -> None:
        verb, _, command = line.partition(" ")
        assert verb == "api", line
        async with self._arrived:
            self.commands.append(command)
            self._arrived.notify_all()
        if self._turns is not None:
            await self._turns.acquire()
        name, *words = command.split(" ")
        if self.allowed is not None and name not in self.allowed:
            writer.write(b"Content-Type: command/reply\nReply-Text: -ERR permission denied\n\n")
            return
        answer = self._answer(name, words) or "-ERR no reply\n"
        if name in self.losing:
            self.losing.remove(name)
            raise ConnectionAbortedError
        if self.chatty:
            self._send(writer, "text/event-plain", HEARTBEAT)
        self._send(writer, "api/response", answer)

    def _answer(self, name: str, words: list[str]) -> str:
        channel = self.channels.get(words[0])
        match name, words:
            case "uuid_getvar", [_, variable]:
                return "-ERR No such channel!\n" if channel is None else channel.variables.get(variable, "_undef_")
            case "uuid_exists", [_]:
                return "false" if channel is None else "true"
            case "uuid_broadcast", [_, "silence_stream://-1", legs]:
                if channel is not None:
                    channel.silence = legs
                return "+OK Message Sent\n"
            case "uuid_break", [_, *_both]:
                if channel is None:
                    return "-ERR No Such Channel!\n"
                channel.silence = None
                return ""
            case module, [_, *arguments] if module in self.modules:
                return self._streaming(channel, arguments)
            case _:
                return f"-ERR {name} Command not found!\n"

    def _streaming(self, channel: Channel | None, arguments: list[str]) -> str:
        match arguments:
            case ["start", *stream] if len(stream) == 3:
                if channel is None or channel.stream is not None:
                    return "-ERR Operation Failed\n"
                channel.stream = stream
            case ["stop"]:
                if channel is None or channel.stream is None:
                    return "-ERR Operation Failed\n"
                channel.stream = None
            case _:
                return "-USAGE: <uuid> [start | stop | send_text | pause | resume ] [wss-url] [mono | mixed | stereo]\n"
        return "+OK Success\n"

    def _send(self, writer: asyncio.StreamWriter, content_type: str, body: str) -> None:
        raw = body.encode()
        writer.write(f"Content-Type: {content_type}\nContent-Length: {len(raw)}\n\n".encode() + raw)
