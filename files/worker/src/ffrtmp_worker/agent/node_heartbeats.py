"""Heartbeats of a node, which report the condition of its host whether or not a job runs.

The heartbeats of jobs cannot report it: they exist only while a job runs, and masters of earlier
releases reject fields that they do not know.

Every slot of a node has an agent, and the agent that holds a lock sends the heartbeats. When it
ends, the agent of another slot gets the lock.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop
from ffrtmp_shared.node_models import ClockOffset, NodeHeartbeat

from ffrtmp_worker.agent.directory_lock import DirectoryLock
from ffrtmp_worker.agent.failed_units import FailedUnits, read_failed_units

_log = logging.getLogger(__name__)

INTERVAL_S = 30.0
"""The time between two heartbeats of a node, or attempts to get the lock, in seconds."""

_STALE_AFTER_S = 300.0
# A master of an earlier release does not have the endpoint, and one that has removed the node does
# not have the node, which its agent then registers again.
_UNKNOWN = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


def clock_offset(sent_unix_s: float, round_trip_s: float, master_time: datetime) -> ClockOffset:
    """Return by how much this host's clock is ahead of the master's (Cristian's algorithm, 1989).

    The master read its clock at some moment of the round trip. Its time is compared with that of
    the middle, so the offset is wrong by at most half of the round trip.

    Args:
        sent_unix_s: The time at which the request was sent by this host's clock, as a Unix time in
            seconds.
        round_trip_s: The duration from the request to the response, in seconds.
        master_time: The time in the response.
    """
    middle_s = sent_unix_s + round_trip_s / 2
    return ClockOffset(
        offset_s=middle_s - master_time.timestamp(), uncertainty_s=max(round_trip_s, 0.0) / 2
    )


class NodeHeartbeats:
    """Sends the heartbeats of a node in a thread of its own."""

    def __init__(
        self,
        node: str,
        connect: Callable[[], MasterClient],
        loops: LoopRegistry,
        lock: DirectoryLock,
        *,
        interval_s: float = INTERVAL_S,
        read_units: Callable[[], FailedUnits | None] = read_failed_units,
        stopped: threading.Event | None = None,
    ) -> None:
        """Prepare to send heartbeats; `start` starts the thread.

        Args:
            node: The name of the node.
            connect: Creates the thread's own client.
            loops: The registry of the agent's loops.
            lock: The lock that the agents of all slots of the node share. Heartbeats are sent only
                by its holder.
            interval_s: The time between two heartbeats, in seconds.
            read_units: Returns the failed units of the host.
            stopped: The event after which no heartbeat is sent.
        """
        self._node = node
        self._connect = connect
        self._lock = lock
        self._read_units = read_units
        self._client: MasterClient | None = None
        self._clock: ClockOffset | None = None
        self._is_unknown = False
        self._loop = ThreadLoop(
            loops.add("node_heartbeat", stale_after_s=_STALE_AFTER_S + interval_s),
            self.send_next,
            Pacing(interval_s=interval_s),
            stopped=stopped,
            expected=(MasterUnreachableError, MasterRefusedError),
            last_step=self.close,
        )

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self) -> None:
        """Stop the thread after a request in progress."""
        self._loop.stop()

    def close(self) -> None:
        """Close the connection and release the lock; a further heartbeat needs both again."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._lock.release()

    def send_next(self) -> AfterPass:
        """Send a heartbeat, and measure the offset of the clock with its response.

        If no measurement precedes this one, another heartbeat follows immediately and reports it.
        While another agent of the node holds the lock, nothing is sent.
        """
        if not self._lock.try_acquire():
            return AfterPass.PAUSE
        if self._client is None:
            self._client = self._connect()
        units = self._read_units()
        heartbeat = NodeHeartbeat(
            clock=self._clock,
            failed_unit_count=None if units is None else units.count,
            failed_units=() if units is None else units.names,
        )
        # Only a measurement that has just succeeded is reported.
        self._clock = None
        sent_unix_s, sent_s = time.time(), time.monotonic()
        try:
            answer = self._client.send_node_heartbeat(self._node, heartbeat)
        except MasterRefusedError as error:
            if error.problem.status not in _UNKNOWN:
                raise
            if not self._is_unknown:
                _log.info("the master does not accept heartbeats of this node: %s", error)
            self._is_unknown = True
            return AfterPass.PAUSE
        self._is_unknown = False
        self._clock = clock_offset(sent_unix_s, time.monotonic() - sent_s, answer.time)
        return AfterPass.REPEAT if heartbeat.clock is None else AfterPass.PAUSE
