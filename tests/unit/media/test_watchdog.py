from __future__ import annotations

from wavstream.media.closing import IDLE, Closing, out_of_time, over_limit
from wavstream.media.endpoint import MediaLimits
from wavstream.media.watchdog import WRITE_BYTES, StreamWatchdog

FRAME_RATE = over_limit("media.frames_per_second", 50, "frames")
BYTE_RATE = over_limit("media.bytes_per_second", 1000, "bytes")


def test_the_sustained_rate_may_go_on_for_ever() -> None:
    watchdog = StreamWatchdog(MediaLimits(frames_per_second=50))
    for second in range(1, 100):
        assert watchdog.look(received_bytes=0, frames=second * 50, controls=0, reading=True) is None
    assert watchdog.frames_ceiling == 99 * 50 + 500


def test_a_peer_above_the_rate_uses_up_its_burst_and_is_refused() -> None:
    watchdog = StreamWatchdog(MediaLimits(frames_per_second=50))
    verdicts = [
        watchdog.look(received_bytes=0, frames=second * 100, controls=0, reading=True) for second in range(1, 13)
    ]
    # 500 frames are saved at first, and every second costs 100 and earns 50: the tenth finds only 50 left.
    assert verdicts == [None] * 9 + [FRAME_RATE] * 3


def test_a_stalled_peer_may_deliver_ten_seconds_at_once_and_not_more() -> None:
    watchdog = StreamWatchdog(MediaLimits(frames_per_second=50))
    for _ in range(60):
        watchdog.look(received_bytes=0, frames=0, controls=0, reading=True)
    assert watchdog.frames_ceiling == 500
    assert watchdog.look(received_bytes=0, frames=500, controls=0, reading=True) is None
    assert watchdog.frames_ceiling == 550


def test_a_peer_without_messages_is_idle_though_it_answers_pings() -> None:
    watchdog = StreamWatchdog(MediaLimits(idle_timeout_s=3))
    assert watchdog.look(received_bytes=0, frames=5, controls=0, reading=True) is None
    verdicts = [
        watchdog.look(received_bytes=0, frames=5 + second, controls=second, reading=True) for second in range(1, 4)
    ]
    assert verdicts == [None, None, IDLE]


def test_silence_counts_for_nothing_while_we_do_not_read() -> None:
    watchdog = StreamWatchdog(MediaLimits(idle_timeout_s=2))
    assert [watchdog.look(received_bytes=0, frames=0, controls=0, reading=False) for _ in range(9)] == [None] * 9
    assert [watchdog.look(received_bytes=0, frames=0, controls=0, reading=True) for _ in range(2)] == [None, IDLE]


def test_without_a_limit_no_peer_is_idle() -> None:
    watchdog = StreamWatchdog(MediaLimits(idle_timeout_s=None))
    assert {watchdog.look(received_bytes=0, frames=0, controls=0, reading=True) for _ in range(9000)} == {None}


def test_bytes_have_a_limit_of_their_own_that_names_its_setting() -> None:
    watchdog = StreamWatchdog(MediaLimits(bytes_per_second=1000))
    sent = [10_000, 11_000, 12_000, 12_500, 14_001]
    verdicts = [
        watchdog.look(received_bytes=total, frames=number, controls=0, reading=True)
        for number, total in enumerate(sent, start=1)
    ]
    assert verdicts == [None] * 4 + [BYTE_RATE]
    assert "media.bytes_per_second" in BYTE_RATE.reason
    assert "1000" in BYTE_RATE.reason


def test_ten_seconds_of_bytes_may_be_saved_up_and_not_more() -> None:
    watchdog = StreamWatchdog(MediaLimits(bytes_per_second=1000, idle_timeout_s=None))
    for _ in range(60):
        watchdog.look(received_bytes=0, frames=0, controls=0, reading=True)
    assert watchdog.bytes_ceiling == 10_000


def test_much_at_once_is_within_the_allowance_and_reaches_a_ceiling_each_megabyte() -> None:
    watchdog = StreamWatchdog(MediaLimits())
    ceilings = [watchdog.bytes_ceiling]
    for received in (1_200_000, 9_500_000):
        assert watchdog.over(received_bytes=received, frames=1, controls=0) is None
        ceilings.append(watchdog.bytes_ceiling)
    assert ceilings == [WRITE_BYTES, 1_200_000 + WRITE_BYTES, 10_000_000]
    assert watchdog.look(received_bytes=9_500_000, frames=1, controls=0, reading=True) is None
    assert watchdog.bytes_ceiling == 9_500_000 + WRITE_BYTES
    assert watchdog.over(received_bytes=11_000_001, frames=2, controls=0) is not None


def test_control_frames_have_an_allowance_of_their_own_that_says_so() -> None:
    watchdog = StreamWatchdog(MediaLimits(control_frames_per_second=20))
    verdicts = [
        watchdog.look(received_bytes=0, frames=second * 60, controls=second * 60, reading=True)
        for second in range(1, 7)
    ]
    # 200 are saved at first, and every second costs 60 and earns 20.
    assert verdicts == [None] * 4 + [over_limit("control frames", 20, "pings, pongs and closes")] * 2


def test_a_stream_that_does_not_introduce_itself_is_over_whatever_it_sends() -> None:
    limits = MediaLimits(introduction_timeout_s=3)
    watchdog = StreamWatchdog(limits)
    verdicts = [
        watchdog.look(received_bytes=second, frames=second, controls=0, reading=True, opening=True)
        for second in range(1, 4)
    ]
    assert verdicts == [None, None, out_of_time("media.introduction_timeout_s", 3, "no introduction")]


def test_a_message_has_its_time_from_its_first_byte_and_the_next_one_its_own() -> None:
    watchdog = StreamWatchdog(MediaLimits(message_timeout_s=2))

    def look(unfinished: int | None, *, reading: bool = True) -> Closing | None:
        return watchdog.look(received_bytes=0, frames=0, controls=0, reading=reading, unfinished=unfinished)

    assert [look(number) for number in (7, 7, 8, 8, None, 8, 8)] == [None] * 7
    assert [look(8, reading=False) for _ in range(9)] == [None] * 9
    assert look(8) == out_of_time("media.message_timeout_s", 2, "a message is unfinished")
