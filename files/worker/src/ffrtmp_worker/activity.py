"""Current activity of a slot, sent by the agent to the FFmpeg exporter of its node."""

import logging
import socket
from pathlib import Path

import msgspec

_log = logging.getLogger(__name__)


class LastResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last result of a slot; `vmaf_mean` is None if the quality was not measured."""

    kind: str
    encoder: str
    vmaf_mean: float | None


class SlotActivity(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One datagram. `frames` counts from the start of the running encode; idle slots send 0.

    `fps` and the fields after it describe the running encode, as in the progress of its job. A
    value that is not known is None. Every datagram contains `last`, so that an exporter that was
    started later receives it too.
    """

    slot: int
    stage: str
    kind: str = ""
    encoder: str = ""
    frames: int = 0
    fps: float | None = None
    speed: float | None = None
    bitrate_bps: float | None = None
    duplicated_frames: int | None = None
    dropped_frames: int | None = None
    lag_s: float | None = None
    last: LastResult | None = None


class ActivitySender:
    """Sends datagrams to the exporter, if there is one. It never blocks and never raises."""

    def __init__(self, path: Path | None) -> None:
        """Send to the Unix socket at `path`; with None nothing is sent."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, activity: SlotActivity) -> None:
        """Send the datagram or drop it: the next one replaces it within a second anyway."""
        if self._path is None:
            return
        try:
            self._socket.sendto(msgspec.json.encode(activity), str(self._path))
        except OSError as error:
            _log.debug("could not send the slot's activity to the exporter: %s", error)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
