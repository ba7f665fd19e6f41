"""The settings that come in tables: recording, media, limits, journal, retention, links, gateway, webhooks and more."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

from wavstream.model.given import CONTROL_CHARACTERS, mistake_in_key
from wavstream.model.hosts import port_of
from wavstream.model.ids import is_app_id
from wavstream.model.options import OF_ONE_CALL, RecordingOptions, RetentionHours, with_options

SecondsOrZero = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


def _is_one_line(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isprintable():
        raise ValueError(CONTROL_CHARACTERS)
    return secret


def _is_key(secret: SecretStr) -> SecretStr:
    if (mistake := mistake_in_key(secret.get_secret_value())) is not None:
        raise ValueError(mistake)
    return secret


def _web_address(url: str) -> str:
    if " " in url or not url.startswith(("http://", "https://")):
        raise ValueError("must be http:// or https://, a host and what follows, without blanks")
    return url


Secret = Annotated[SecretStr, Field(min_length=1), AfterValidator(_is_one_line)]
AppKeyText = Annotated[SecretStr, Field(min_length=1), AfterValidator(_is_key)]


class Table(BaseModel):
    """A table of the file: checked, frozen, without unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _app_id(text: str) -> str:
    if not is_app_id(text):
        raise ValueError("must be 1 to 64 of letters, digits, _ and -")
    return text


AppId = Annotated[str, AfterValidator(_app_id)]


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", name):
        raise ValueError("must be a name of a header, such as X-Recorder-Key")
    return name


def _route_path(path: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
        raise ValueError("a path is expected, such as /genesys or /media/a, without a slash at its end")
    return path


def _listed(given: object) -> object:
    return [entry.strip() for entry in given.split(",") if entry.strip()] if isinstance(given, str) else given


@with_options(
    without=OF_ONE_CALL,
    texts={
        "format": "Form of the file: `wav` or `mp3`.",
        "channels": "`stereo` or `mono`; stereo, since two parties mixed cannot be told apart again.",
        "track": "`both`, `inbound` or `outbound`; a single track makes a mono file.",
        "sample_rate": "Hertz, 8000 to 48000; not set: the highest of the tracks it begins with. MP3 takes the nearest "
        "rate it has.",
        "max_length_s": "Recorded seconds, 0 to 14400, after which a recording ends; 0: no limit, a call is as long as "
        "it is.",
        "initial_timeout_s": "Recorded seconds, 0.1 to 14400, without any speech from the start on, that end it; 0: "
        "never, some calls wait.",
        "end_silence_timeout_s": "Recorded seconds of silence, 0.1 to 14400, that end it once somebody spoke; 0: "
        "never, as callers are on hold.",
        "sensitivity": "0 to 100: how readily a sound is taken for speech by the timeouts and the trim; 44 suits "
        "calls.",
        "trim": "`none`, or `silence`: cut before the first speech and after the last; `none`, since silence is part "
        "of a call.",
        "beep": "Whether a tone at the start tells that the call is recorded; off, since not every law wants it.",
        "terminators": "DTMF digits, each of which ends a recording, such as `#*`; none, since most digits are meant "
        "for someone else.",
        "pause_behavior": "What a pause leaves in the file: `skip` (nothing) or `silence` (of the same length).",
        "transcription": "Whether a transcript is wanted, where `transcription.engine` makes any; off, since it takes "
        "as much CPU as the call was long.",
        "transcription_language": "Language of the transcript, as a tag such as `en-US`; not set: nobody said.",
    },
)
class RecordingDefaults(Table):
    """The options of a recording whose request does not name them."""

    def options(self) -> RecordingOptions:
        """Return these defaults as the options of a recording."""
        return RecordingOptions().changed(self.model_dump())


class RouteSettings(Table):
    """A path of its own for media streams: a table `[media.routes."/genesys"]`."""

    dialect: Annotated[str, Field(min_length=1)] = "auto"
    """What its streams speak; `auto`: found by what they look like."""
    parameters: dict[str, str] = {}
    """Parameters of the dialect, such as `rate` or `record`, for what neither the URL nor a message says; with `auto`
    also `dialect`, for streams that show nothing."""
    ping_interval_s: SecondsOrZero | None = None
    """Seconds between two PINGs of ours on its streams; 0: none. Not set: as `media.ping_interval_s`, and none to
    Asterisk, which hangs up on them before 20.18, 22.8 and 23.2."""


class MediaSettings(Table):
    """Limits of one media stream, in size and in time."""

    max_message_bytes: Annotated[int, Field(ge=1_024, le=64 * 1_048_576)] = 1_048_576
    """Bytes of the largest message taken; 1 MiB is over 30 s of 16 kHz audio, so only a mistake is larger."""
    max_text_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = 65_536
    """Bytes of the largest text message taken that is no audio, such as metadata; some dozen times the largest real
    ones. Audio in text (`twilio`) may be as long as any message."""
    handshake_timeout_s: Seconds = 10.0
    """Seconds that a WebSocket handshake may take, the check of its key included."""
    ping_interval_s: Seconds = 20.0
    """Seconds between pings; shorter than the idle timeout of common proxies, 60 s."""
    ping_timeout_s: Seconds = 20.0
    """Seconds without an answer to a ping after which the stream counts as lost."""
    close_timeout_s: Seconds = 5.0
    """Seconds that the peer gets to answer a close before the connection is dropped."""
    introduction_timeout_s: Seconds = 30.0
    """Seconds from the upgrade in which a stream has to say what it is; media servers say it at once, or send the
    audio that starts it."""
    early_audio_s: Annotated[float, Field(gt=0, le=30)] = 2.0
    """Seconds for which audio waits for the message that describes it, if it comes first; then the defaults of the URL
    and the route count."""
    message_timeout_s: Seconds = 30.0
    """Seconds from the first byte of a message to its last; one is sent in far less than a second, but for a link that
    stalls."""
    frames_per_second: Annotated[int, Field(ge=50, le=100_000)] = 2_000
    """Messages a second of one stream, sustained; forty times a 20 ms stream, so that a file may be played in fast."""
    bytes_per_second: Annotated[int, Field(ge=64_000, le=1_000_000_000)] = 1_000_000
    """Bytes a second of one stream, sustained; five times 48 kHz stereo, so that a file may be played in fast. Of this
    and of the messages a second a peer that was stalled may send ten seconds at once."""
    routes: dict[Annotated[str, AfterValidator(_route_path)], RouteSettings] = {}
    """Paths for media streams beside `/media`, with what is known of the streams that come there; in the environment as
    JSON: `WAVSTREAM_MEDIA__ROUTES='{"/genesys": {"dialect": "audiohook"}}'`."""
    key_header: Annotated[str, AfterValidator(_header_name)] | None = None
    """Header of the upgrade that carries the key of a stream, such as `X-Recorder-Key`, for media servers that send
    headers of their own choice; beside the places that every stream may have it in."""
    reads_at_visits: bool = True
    """Whether steady streams are read about every 150 ms, which costs a fraction of reading each message as it comes;
    off: each as it comes. What waits in the kernel is lost with a crash of the process, within its bound of 250 ms."""


class HttpSettings(Table):
    """Limits of one connection to the port before it is a media stream, and of all together."""

    head_bytes: Annotated[int, Field(ge=4_096, le=1_048_576)] = 32_768
    """Bytes of the largest head of a request taken, its first line included; several times what browsers send."""
    head_lines: Annotated[int, Field(ge=20, le=10_000)] = 100
    """Lines of the longest head of a request taken, its first line included; what common servers take."""
    head_timeout_s: Seconds = 10.0
    """Seconds from the first byte of a request, or from the connection, to the end of its head."""
    body_timeout_s: Seconds = 30.0
    """Seconds from there to the end of its body; the largest has 64 KiB."""
    write_timeout_s: Seconds = 60.0
    """Seconds in which a peer takes nothing of what it is sent that end its connection; one that reads slowly stays."""
    shutdown_timeout_s: Annotated[int, Field(ge=1, le=3_600)] = 7
    """Seconds that requests which are being answered, such as slow downloads, have to end when the server stops, or a
    start that is broken off. With what follows the process ends within 8 s, where nothing is recorded."""
    connections: Annotated[int, Field(ge=16)] = 20_000
    """Connections at once, streams among them; past it those that wait longest for their peers give way. Streams take
    nine tenths, so that requests find room."""
    waiting_per_address: Annotated[int, Field(ge=8)] = 6_000
    """Connections of one address (IPv6: of one /64) that wait for their peer at once, for a request or for it to read;
    more than the streams that a switch opens in one second. Streams and requests that are answered do not wait, and
    trusted proxies are not counted."""
    descriptors_kept: Annotated[int, Field(ge=16)] = 512
    """File descriptors that connections leave free, for journals and files; half of all, where there are few."""


class Limits(Table):
    """Limits of the whole server, beyond which it refuses."""

    sessions: Annotated[int, Field(ge=1)] = 5_000
    """Live sessions; more than one core carries, so that it stops a runaway switch and not a busy hour."""
    streams: Annotated[int, Field(ge=1)] = 20_000
    """Media streams open at once; far more than one core carries."""
    streams_per_session: Annotated[int, Field(ge=1)] = 16
    """Media streams of one session; a conference leg more is a loop of the switch."""
    recordings: Annotated[int, Field(ge=1)] = 10_000
    """Recordings that run, wait for their stream or are being finished; two of each session."""
    requests_per_s: Annotated[int, Field(ge=1)] = 1_000
    """Requests a second that apps share where there are several; about what one core answers. One alone has no
    limit."""
    media_bytes_per_s: Annotated[int, Field(ge=1_024)] = 33_554_432
    """Bytes of audio a second that apps share where there are several; 2,000 streams of 8 kHz. One alone has no
    limit."""
    live_listeners: Annotated[int, Field(ge=0)] = 1_000
    """Who may listen to recordings while they are made, together; each may keep 1 MiB waiting. 0: nobody."""
    live_pages: Annotated[int, Field(ge=0)] = 200
    """Pages and commands that look at what is live, together; what they cost does not grow much with them, what they
    are sent does. 0: nobody."""
    live_ranges: Annotated[int, Field(ge=1)] = 200
    """Ranges of recordings that are being made, read at once; each also counts as a listener."""
    live_ranges_per_app: Annotated[int, Field(ge=1)] = 100
    """Of these, ranges of one app's recordings: half, so that one app cannot take all."""
    downloads: Annotated[int, Field(ge=1)] = 400
    """Finished files that are being sent, together; each takes two descriptors and up to 256 KiB."""
    downloads_per_app: Annotated[int, Field(ge=1)] = 300
    """Of these, files of one app; many times what a busy one fetches at once."""
    conversions: Annotated[int, Field(ge=1)] = 200
    """Finished files that are made in the other format, or wait for it, together."""
    conversions_per_app: Annotated[int, Field(ge=1)] = 100
    """Of these, files of one app: half, so that one app cannot take all."""
    conversion_bytes: Annotated[int, Field(ge=1)] = 8_589_934_592
    """Bytes of these files, together; 8 GiB is 18 calls of four hours as stereo WAV."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 268_435_456
    """Bytes free on the disk below which new recordings are refused, so that running ones can finish; 8 MiB at
    least."""
    loop_delay_s: SecondsOrZero = 0.1
    """Seconds that the event loop is late on average, three seconds in a row, from which on streams of new calls are
    refused: then there is little headroom, and nobody has lost anything yet. 0: however late it is."""
    fold_delay_s: SecondsOrZero = 5.0
    """Seconds for which live recordings have waited for their turn, likewise; a timeout is found that much later."""
    page_size: Annotated[int, Field(ge=1, le=1_000)] = 200
    """Recordings in one page of a list, at most."""
    body_bytes: Annotated[int, Field(ge=1_024)] = 65_536
    """Bytes of the largest request body taken; the largest valid one is about 20 kB."""


class JournalSettings(Table):
    """Size, bound and sync of the journal."""

    segment_bytes: Annotated[int, Field(ge=4_096)] = 67_108_864
    """Bytes after which a new segment begins; 64 MiB is half an hour of two 8 kHz legs, the least freed at once."""
    queue_bytes: Annotated[int, Field(ge=65_536)] = 67_108_864
    """Bytes that may wait for the disk before sockets are read no further; two seconds of 1,000 legs take 32 MiB."""
    sync_interval_s: Seconds = 1.0
    """Seconds between flushes to the disk itself: what a power cut may take."""


class RetentionSettings(Table):
    """The retention of finished recordings."""

    hours: RetentionHours = 24
    """Hours from the stop; also read from RECORDING_RETENTION_HOURS. Apps and recordings may have their own."""
    sweep_interval_s: Seconds = 30.0
    """Seconds between sweeps that remove what has expired; it is not handed out any more from the first second."""


class LinkSettings(Table):
    """The signed links that the API redirects to."""

    ttl_s: Annotated[int, Field(ge=1, le=604_800)] = 600
    """Seconds that a signed link opens its file; long enough to begin a download, too short to be passed on."""


class GatewaySettings(Table):
    """The voice gateway's API."""

    strict_body: bool = True
    """Whether a field that a command does not have is refused; on, since a misspelt command_uid protects nobody."""
    stop_cooldown: Literal["heavy", "seek"] = "heavy"
    """`heavy`: a stop shares the 2 s cooldown of the start, as that API says first; `seek`: it has 100 ms."""
    requests_per_s: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Requests a second of one app from one address; as that API documents it."""
    stranger_requests_per_s: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """Requests a second from one address without a valid key; as that API documents it."""


class FacadeSettings(Table):
    """The APIs of vendors: Telnyx, Bird and SignalWire."""

    unavailable: Literal["report", "refuse"] = "report"
    """What becomes of a start that asks for what is not available (a transcript): `report`: its recording says so;
    `refuse`: an error."""
    unknown_calls: Literal["refuse", "wait"] = "refuse"
    """What becomes of a start on a call that neither streams nor was announced: an error, or it waits for the stream as
    our own API does; with an opener it always waits."""
    public_links: bool = False
    """Whether Telnyx's `public_recording_urls` have links that live as long as the file; off, as at Telnyx."""


class WebhookSettings(Table):
    """The events that apps are sent, and the allowed targets of webhooks."""

    recording_started: bool = False
    """Whether apps that name no events are told `recording.started` too; off, since a command has its own result."""
    recording_failed: bool = False
    """Whether they are told `recording.failed` too; off, since not every receiver knows it."""
    allow_http: bool = False
    """Whether targets may be http; off, since a webhook names callers. Also read from ALLOW_HTTP_WEBHOOKS."""
    allow_localhost: bool = False
    """Whether targets may be on this machine or its network; off, since only this server might reach what is there.
    Also read from ALLOW_LOCALHOST_WEBHOOKS."""


class OpenerSettings(Table):
    """How the media server is asked to stream a call that is to be recorded and does not stream yet."""

    kind: Literal["none", "webhook", "esl", "ari"] = "none"
    """`none`: nobody. `webhook`: who listens at `url`. `esl`: FreeSWITCH's event socket. `ari`: Asterisk's ARI."""
    dialect: Annotated[str, Field(min_length=1)] = "audio-stream"
    """The dialect that the media server will speak: the path of the media URL that it is given (by `ari`: none)."""
    url: Annotated[str, AfterValidator(_web_address)] | None = None
    """Where `webhook` posts to; for `ari` the base of Asterisk's REST interface, such as `http://10.0.0.5:8088/ari`."""
    secret: Secret | None = None
    """Secret, `whsec_...`. What the posts of `webhook` are signed with; not set: they are not signed."""
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Host of FreeSWITCH's event socket."""
    port: Annotated[int, BeforeValidator(port_of), Field(ge=1, le=65_535)] = 8021
    """Port of FreeSWITCH's event socket."""
    password: Secret | None = None
    """Secret. Of the event socket; not set: `ClueCon`, with which FreeSWITCH is delivered. Of ARI: needed."""
    user: str | None = None
    """User of the event socket, if its `userauth` limits what may be done; for `ari` of `ari.conf`, and needed."""
    app: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "wavstream"
    """What the applications of `ari` are called in Asterisk, each with an ending of its own."""
    connection: Annotated[str, Field(min_length=1)] = "wavstream"
    """Section of Asterisk's `websocket_client.conf` that has the address of the media socket."""
    token_in_uri: bool = False
    """Whether `ari` puts the call's stream token into the address that Asterisk asks for; else its connection's own key
    counts. For several apps; some versions crash on addresses of 280 bytes and more."""
    command: Literal["uuid_audio_stream", "uuid_audio_fork"] = "uuid_audio_stream"
    """Command of the module that streams; `dialect` has to fit it."""
    mix: Literal["mono", "mixed", "stereo"] = "stereo"
    """What of the channel is streamed: what its party says, that and what it hears in one, or each in its own."""
    rate: Annotated[int, Field(ge=8_000, le=48_000, multiple_of=8_000)] = 8_000
    """Hertz of the stream."""
    silence: Literal["none", "aleg", "both"] = "none"
    """Who is played silence by FreeSWITCH meanwhile, to keep the channel alive; bridged parties may not hear others."""
    channel: str | None = None
    """Pattern with a group `channel` that finds it in a session id; not set: the UUID at its end, for `ari` all."""
    apps: Annotated[tuple[Annotated[str, AfterValidator(_app_id)], ...], NoDecode, BeforeValidator(_listed)] = ()
    """Ids of the apps that may have calls streamed, commas between them; not set: all, but with `esl` or `ari` and
    without `owner_variable` only the one app that there is, since whoever knows a call's id could record it."""
    owner_variable: str | None = None
    """Channel variable that has to be the id of the app that asks; not set: it is not looked at."""


class LogSettings(Table):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important level written: `debug`, `info`, `warning` or `error`."""
    format: Literal["console", "json"] = "console"
    """`console` for people, `json` for one object a line."""
