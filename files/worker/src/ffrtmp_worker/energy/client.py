"""One answer of the energy reader, and asking for it."""

import socket
from pathlib import Path

import msgspec

_TIMEOUT_S = 2.0
_PIECE_BYTES = 65_536


class ZoneReading(msgspec.Struct, frozen=True, kw_only=True):
    """One zone: joules since it was first read, and its power over the reader's last interval.

    `watts` is None until the reader has taken two samples.
    """

    joules: float
    watts: float | None


class EnergyReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All zones at the moment `monotonic_s` of the host's monotonic clock.

    Joules never fall while the host is up, also when a counter wraps around or the reader is
    started anew. `gaps` counts the times in which energy could not be counted: a difference of
    joules across one is too small. Without any zone, `reason` says why.
    """

    monotonic_s: float
    zones: dict[str, ZoneReading]
    gaps: int
    reason: str


def request_reading(path: Path) -> EnergyReading:
    """Have the reader at the unix socket `path` read all counters now.

    A reader that is not there or does not answer is a reading without zones that says so.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
            opened.settimeout(_TIMEOUT_S)
            opened.connect(str(path))
            pieces = []
            while piece := opened.recv(_PIECE_BYTES):
                pieces.append(piece)
        return msgspec.json.decode(b"".join(pieces), type=EnergyReading)
    except (OSError, msgspec.DecodeError) as error:
        return EnergyReading(
            monotonic_s=0.0, zones={}, gaps=0, reason=f"the energy reader does not answer: {error}"
        )
