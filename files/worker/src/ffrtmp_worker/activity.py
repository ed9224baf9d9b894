"""Current activity of a slot, sent by the agent to the FFmpeg exporter of its node."""

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from ffrtmp_shared.loop_registry import LoopReading, LoopRegistry

_log = logging.getLogger(__name__)


REPEAT_AFTER_S = 10.0
"""Age of the last datagram after which it is sent again, in seconds."""


class LastResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last result of a slot; `vmaf_mean` is None if the quality was not measured."""

    kind: str
    encoder: str
    vmaf_mean: float | None


class SpoolCounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reports in the spool of a slot.

    `pending` reports will be delivered. Of these, `deferred` reports wait because the master
    answered them with errors. `rejected` reports are kept on the node and will not be delivered.
    """

    pending: int = 0
    deferred: int = 0
    rejected: int = 0


class SlotActivity(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A datagram about the activity of a slot.

    `frames` is the number of frames since the start of the running encode, or 0 if the slot is
    idle. The fields from `fps` to `lag_s` describe the running encode, as in the progress of its
    job; an unknown value is None. Every datagram contains `last`, `spool`, and the states of the
    agent's `loops`, so that an exporter that is started later also receives them.
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
    loops: tuple[LoopReading, ...] = ()
    spool: SpoolCounts = SpoolCounts()


class ActivitySender:
    """Sends datagrams to the exporter, if there is one. Sending never blocks and never fails."""

    def __init__(
        self,
        path: Path | None,
        loops: LoopRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a sender.

        Args:
            path: The Unix socket of the exporter. If it is None, nothing is sent.
            loops: The agent's loops, whose states are added to every datagram.
            clock: The time in seconds, to detect an old datagram.
        """
        self._clock = clock
        self._path = path
        self._loops = loops
        self._last = SlotActivity(slot=0, stage="idle")
        self._sent_at_s = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, activity: SlotActivity) -> None:
        """Send the datagram. If that fails, drop it: the next one follows within a second."""
        self._last, self._sent_at_s = activity, self._clock()
        self._send(msgspec.structs.replace(activity, loops=self._loops.read()))

    def repeat(self) -> None:
        """Send the last datagram again, with the present states of the loops, if it is old."""
        if self._clock() - self._sent_at_s >= REPEAT_AFTER_S:
            self.send(self._last)

    def send_end(self, slot: int) -> None:
        """Report that the agent of the slot stops, so that its loops do not count as stalled."""
        self._send(SlotActivity(slot=slot, stage="idle"))

    def _send(self, activity: SlotActivity) -> None:
        if self._path is None:
            return
        try:
            self._socket.sendto(msgspec.json.encode(activity), str(self._path))
        except OSError as error:
            _log.debug("could not send the slot's activity to the exporter: %s", error)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
