"""Resources per frame and per minute of video, and quality per resource.

An unknown operand is None, and so is the result then. It is also None if the divisor is not
positive.
"""

_S_PER_MIN = 60.0


def video_duration_s(speed: float, wall_s: float) -> float:
    """Return the duration of the encoded video, in seconds; of several streams, their sum.

    Args:
        speed: Speed of the encode, in multiples of real time.
        wall_s: Duration of the encode, in seconds.
    """
    return speed * wall_s


def host_sum(cpu: float | None, gpu: float | None, *, needs_gpu: bool) -> float | None:
    """Return the sum of the energy or of the power of the processors and the GPUs of a host.

    Args:
        cpu: Value of the CPU packages and memory.
        gpu: Value of the GPUs, in the same unit. None also stands for a host without GPUs.
        needs_gpu: Whether the encoder uses a GPU; the sum is then unknown without its value.
    """
    if cpu is None or (needs_gpu and gpu is None):
        return None
    return cpu if gpu is None else cpu + gpu


def cpu_seconds_per_frame(cpu_s: float, frames: int) -> float | None:
    """Return the CPU time per frame, in seconds.

    Args:
        cpu_s: CPU time of all frames, user and system, in seconds.
        frames: Number of frames.
    """
    return _quotient(cpu_s, frames)


def energy_per_frame_j(energy_j: float | None, frames: int) -> float | None:
    """Return the energy per frame, in joules.

    Args:
        energy_j: Energy of all frames, in joules.
        frames: Number of frames.
    """
    return _quotient(energy_j, frames)


def energy_per_video_minute_j(energy_j: float | None, video_s: float | None) -> float | None:
    """Return the energy per minute of video, in joules.

    Args:
        energy_j: Energy of the whole video, in joules.
        video_s: Duration of the video, in seconds.
    """
    per_second = _quotient(energy_j, video_s)
    return None if per_second is None else per_second * _S_PER_MIN


def mean_power_w(energy_j: float | None, duration_s: float | None) -> float | None:
    """Return the mean power, in watts.

    Args:
        energy_j: Energy in `duration_s`, in joules.
        duration_s: Duration, in seconds.
    """
    return _quotient(energy_j, duration_s)


def quality_per_watt(vmaf: float | None, power_w: float | None) -> float | None:
    """Return the VMAF points per watt.

    VMAF saturates, so this quotient ranks a poor encode of low power high. It is meaningful only
    between encodes of similar quality.

    Args:
        vmaf: Mean VMAF of the encode, 0 to 100.
        power_w: Mean power during the encode, in watts.
    """
    return _quotient(vmaf, power_w)


def quality_per_bit_per_second(vmaf: float | None, bits_per_s: float | None) -> float | None:
    """Return the VMAF points per bit per second; see `quality_per_watt` for its limits.

    Args:
        vmaf: Mean VMAF of the encode, 0 to 100.
        bits_per_s: Mean bit rate of the encoded video, in bits per second.
    """
    return _quotient(vmaf, bits_per_s)


def quality_per_cost(vmaf: float | None, cost_per_video_minute: float | None) -> float | None:
    """Return the VMAF points per unit of currency; see `quality_per_watt` for its limits.

    Args:
        vmaf: Mean VMAF of the encode, 0 to 100.
        cost_per_video_minute: Cost of a minute of video, in units of a currency.
    """
    return _quotient(vmaf, cost_per_video_minute)


def _quotient(dividend: float | None, divisor: float | None) -> float | None:
    if dividend is None or divisor is None or divisor <= 0:
        return None
    return dividend / divisor
