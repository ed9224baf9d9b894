"""Size of the frames that this computer can encode within its memory."""

import psutil

from ffrtmp_cli.errors import CommandError

# An encoder of AV1 holds about 150 frames, in 4:2:0 with up to 16 bits and its own data for each.
_BYTES_PER_PIXEL = 450
_MEMORY_RATIO = 0.7
_SMALLEST_HEIGHT = 90


def fitting_size(width: int, height: int, available_bytes: int | None = None) -> tuple[int, int]:
    """Return the largest size whose encode fits into the free memory.

    Args:
        width: Width of the clip, in pixels.
        height: Height of the clip, in pixels.
        available_bytes: The available memory in bytes; by default, that of this computer.

    Returns:
        Width and height, both even: those of the clip, or half or a quarter of them and so on.

    Raises:
        CommandError: Not even a small size fits.
    """
    if available_bytes is None:
        available_bytes = psutil.virtual_memory().available
    limit = available_bytes * _MEMORY_RATIO
    divisor = 1
    while (size := divided(width, height, divisor))[0] * size[1] * _BYTES_PER_PIXEL > limit:
        divisor *= 2
        if height // divisor < _SMALLEST_HEIGHT:
            raise CommandError(
                f"{available_bytes // 2**20} MiB of memory are free, too few to encode a clip of "
                f"{width}x{height} pixels: close other programs, or use a smaller clip"
            )
    return size


def divided(width: int, height: int, divisor: int) -> tuple[int, int]:
    """Return a size divided by a number and rounded down to even numbers."""
    return width // divisor // 2 * 2, height // divisor // 2 * 2
