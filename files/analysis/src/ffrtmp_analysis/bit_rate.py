"""Mean bit rates of encoded video, from the measurements of a result."""

from ffrtmp_shared.measurement import Measurement, OutputMeasurement

_BITS_PER_KBIT = 1000.0
_BITS_PER_BYTE = 8.0


def video_bits_per_s(measured: Measurement) -> float | None:
    """Return the mean bit rate of an encode in bits per second, or None if it is unknown.

    That of a live stream was measured at the player. Several streams or renditions have none.
    """
    if measured.output is not None:
        return output_bits_per_s(measured.output)
    if measured.live is not None:
        return measured.live.bitrate_mean_kbps * _BITS_PER_KBIT
    return None


def output_bits_per_s(output: OutputMeasurement) -> float:
    """Return the mean bit rate of an output in bits per second."""
    return output.video_bitrate_kbps * _BITS_PER_KBIT


def bytes_per_s(bits_per_s: float | None) -> float | None:
    """Return a bit rate in bytes per second, or None if it is unknown.

    Args:
        bits_per_s: The bit rate in bits per second.
    """
    return None if bits_per_s is None else bits_per_s / _BITS_PER_BYTE
