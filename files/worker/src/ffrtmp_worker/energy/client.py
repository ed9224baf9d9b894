"""Client of the energy reader."""

import socket
import time
from enum import StrEnum
from pathlib import Path

import msgspec

_TIMEOUT_S = 2.0
_CHUNK_BYTES = 65_536
MAX_ANSWER_BYTES = 1024 * 1024
"""The maximum size of the reader's answer. A host with eight packages has one of about 1 KiB."""


class EnergyFailure(StrEnum):
    """Causes for which there is no reading, as fixed words for the labels of metrics."""

    READER_UNREACHABLE = "reader_unreachable"
    """The reader is not running, or the process may not use its socket."""
    READER_TIMEOUT = "reader_timeout"
    INVALID_ANSWER = "invalid_answer"
    NO_COUNTER = "no_counter"
    """The kernel offers no energy counter that the reader may read."""
    COUNTER_UNREADABLE = "counter_unreadable"
    """A counter that was found before cannot be read any more."""


class ZoneReading(msgspec.Struct, frozen=True, kw_only=True):
    """Reading of one zone: energy since its first reading, and power over the last interval.

    `watts` is None until the reader has taken two samples.
    """

    joules: float
    watts: float | None


class EnergyReading(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Reading of all zones at the time `monotonic_s` of the host's monotonic clock.

    Joules never decrease while the host is up, even if a counter wraps around or the reader is
    restarted. `gaps` is the number of periods in which energy could not be counted. If `gaps`
    differs between two readings, the difference between their joules is too small. If
    there are no zones, `reason` explains why, and `failure` is the cause as a fixed word.
    """

    monotonic_s: float
    zones: dict[str, ZoneReading]
    gaps: int
    reason: str
    failure: EnergyFailure | None = None


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
    except TimeoutError as error:
        return _unavailable(str(error), EnergyFailure.READER_TIMEOUT)
    except OSError as error:
        return _unavailable(str(error), EnergyFailure.READER_UNREACHABLE)
    except (ValueError, msgspec.DecodeError) as error:
        return _unavailable(f"not valid: {error}", EnergyFailure.INVALID_ANSWER)


def _receive(opened: socket.socket) -> bytes:
    """Read the whole answer. Raises ValueError if it is too large, and TimeoutError."""
    answer = bytearray()
    deadline_s = time.monotonic() + _TIMEOUT_S
    while chunk := opened.recv(_CHUNK_BYTES):
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            raise ValueError(f"the answer exceeds {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{_TIMEOUT_S:g} s have passed")
    return bytes(answer)


def _unavailable(detail: str, failure: EnergyFailure) -> EnergyReading:
    reason = f"the energy reader does not answer: {detail}"
    return EnergyReading(monotonic_s=0.0, zones={}, gaps=0, reason=reason, failure=failure)
