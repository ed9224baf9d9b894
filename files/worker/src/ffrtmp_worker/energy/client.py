"""Client of the energy reader."""

import socket
import time
from pathlib import Path

import msgspec

_TIMEOUT_S = 2.0
_CHUNK_BYTES = 65_536
MAX_ANSWER_BYTES = 1024 * 1024
"""The maximum size of the reader's answer."""


class ZoneReading(msgspec.Struct, frozen=True, kw_only=True):
    """Reading of one zone: energy since its first reading, and power over the last interval.

    `watts` is None until the reader has taken two samples.
    """

    joules: float
    watts: float | None


class EnergyReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reading of all zones at the time `monotonic_s` of the host's monotonic clock.

    Joules never decrease while the host is up, even if a counter wraps around or the reader is
    restarted. `gaps` is the number of periods in which energy could not be counted. If `gaps`
    differs between two readings, the difference between their joules is too small. If
    there are no zones, `reason` explains why.
    """

    monotonic_s: float
    zones: dict[str, ZoneReading]
    gaps: int
    reason: str


def loop_file(reader_socket: Path) -> Path:
    """Return the path of the file with the state of the reader's loop, next to its socket."""
    return reader_socket.with_suffix(".loops")


def request_reading(path: Path) -> EnergyReading:
    """Request a reading of all counters from the reader at the Unix socket `path`.

    If the reader does not answer, return a reading without zones whose `reason` is the error.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
            opened.settimeout(_TIMEOUT_S)
            opened.connect(str(path))
            answer = _receive(opened)
        return msgspec.json.decode(answer, type=EnergyReading)
    except (OSError, msgspec.DecodeError) as error:
        return EnergyReading(
            monotonic_s=0.0, zones={}, gaps=0, reason=f"the energy reader does not answer: {error}"
        )


def _receive(opened: socket.socket) -> bytes:
    """Read the whole answer. Raises OSError if it is too large or takes too long."""
    answer = bytearray()
    deadline_s = time.monotonic() + _TIMEOUT_S
    while chunk := opened.recv(_CHUNK_BYTES):
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES or time.monotonic() > deadline_s:
            raise OSError(f"the answer exceeds {MAX_ANSWER_BYTES} bytes or {_TIMEOUT_S:g} s")
    return bytes(answer)
