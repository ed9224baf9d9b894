"""Measurement of a live stream, and of the stream that a player received."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Amount, Count, Real
from ffrtmp_shared.unavailable import UNKNOWN, Unavailable


class LiveMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Timing of a live stream to the RTMP server. A feeder plays the source to the encoder.

    A picture is due at its time in the source, counted from the start of the feeder. `lag_*_s` is
    the time from when the nth picture is due until the encoder has written n pictures; it is
    sampled four times a second. `end_to_end_*_s` is the time from when a picture is due until a
    player on this node receives its packet from the server; it is measured for every packet. Both
    times include the lookahead of the encoder but not the reordering of B-frames. The first second
    is excluded.

    If the player received nothing for long, `end_to_end_*_s` is unavailable, because it would
    describe only the time before. `silence_max_s` is the longest time without a packet at the
    player, and `silence_end_s` is the time from its last packet to the end of the stream.

    `below_real_time_s` is the time during which the lag grew. `stalls` is the number of times that
    the encoder wrote no picture for more than a second. `reconnects` is the number of times that
    the connection to the server was established again. `frames_lost` is the number of encoded
    frames that the player did not receive, counted from the first frame that it received to the
    last one that the encoder wrote early enough to arrive before the end. The bit
    rates are measured at the player for each whole second, in units of 1,000 bit/s. `bitrate_cv` is
    their standard deviation divided by their mean. `helpers_cpu_s` is the CPU time of the feeder
    and the player.

    `startup_s` is the time from the start of the encoder until the player received the first frame.

    The `server_*` fields are taken from the statistics of the RTMP server, which are polled once a
    second until shortly before the end. `server_bytes_in` is the number of received bytes of audio
    and video. `server_bitrate_mean_kbps` is their mean bit rate from the first poll with data to
    the last. `server_dropped` is the number of messages that were not sent to a player.
    `server_publishers` is the number of publishing connections, which is one more than the number
    of reconnects that the server observed.
    """

    duration_s: Amount
    lag_p50_s: Real
    lag_p95_s: Real
    lag_p99_s: Real
    lag_max_s: Real
    below_real_time_s: Amount
    stalls: Count
    reconnects: Count
    frames_lost: Count
    end_to_end_p50_s: Real | Unavailable
    end_to_end_p95_s: Real | Unavailable
    end_to_end_p99_s: Real | Unavailable
    end_to_end_max_s: Real | Unavailable
    bitrate_mean_kbps: Amount
    bitrate_max_kbps: Amount
    bitrate_cv: Amount
    helpers_cpu_s: Amount
    server_bytes_in: Count | Unavailable = UNKNOWN
    server_bitrate_mean_kbps: Amount | Unavailable = UNKNOWN
    server_dropped: Count | Unavailable = UNKNOWN
    server_publishers: Count | Unavailable = UNKNOWN
    silence_max_s: Amount | Unavailable = UNKNOWN
    silence_end_s: Amount | Unavailable = UNKNOWN
    startup_s: Amount | Unavailable = UNKNOWN


MAX_CHUNKS = 3601
"""Maximum number of chunks of a stream: four hours of four seconds, and one incomplete chunk."""


class ReceivedChunk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a received stream.

    `frames` is the number of frames of the encoder in this part, `duration_s` is their duration,
    and `pairs` is the number of those that were received and compared. `stall_s` is the time for
    which a viewer saw a still picture in this part. The scores are means over the compared frames.
    They are unavailable if no frame was received.
    """

    duration_s: Amount
    frames: Count
    pairs: Count
    stall_s: Amount
    vmaf_mean: Amount | Unavailable
    vmaf_neg_mean: Amount | Unavailable
    psnr_y_mean_db: Real | Unavailable
    ssim_libvmaf_mean: Real | Unavailable


class ReceivedMeasurement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="measured",
    tag_field="status",
):
    """Quality of the stream that the player received, in parts of `chunk_s` seconds.

    Each received frame is compared with the frame that the encoder read at the same position of the
    stream. The position follows from the time stamp. Lost frames are counted but not compared. The
    quality of all received frames together is in `Measurement.quality`.

    The parts start at the first frame that the player received. The last part may be shorter.
    `frames` is the number of frames from the first to the last received one, `pairs` is the number
    of compared frames, and `frames_lost` is the difference. `frames_lost_at_start` is the number of
    frames before the first received one. `file_bytes` is the size of the stored stream.

    `stall_s` is the time for which a viewer saw a still picture because frames were lost or late.
    The viewer's player shows the first frame `buffer_s` seconds after it has received it. It waits
    for late frames, which delays all later frames, and skips lost frames. `LiveMeasurement`
    contains the start-up time.
    """

    chunk_s: Amount
    buffer_s: Amount
    frames: Count
    pairs: Count
    frames_lost: Count
    frames_lost_at_start: Count
    stall_s: Amount
    file_bytes: Count
    chunks: Annotated[tuple[ReceivedChunk, ...], Meta(min_length=1, max_length=MAX_CHUNKS)]
