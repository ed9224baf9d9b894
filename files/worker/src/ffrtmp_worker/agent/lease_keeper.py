"""Renewal of a lease while its attempt runs."""

import logging
from collections.abc import Callable
from typing import Self

from ffrtmp_shared.agent_models import Claim, Heartbeat
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop
from ffrtmp_shared.stages import Stage

from ffrtmp_worker.agent.report_values import conforming_progress

_log = logging.getLogger(__name__)

_LOST = (404, 409, 410)
# Minimum time between two heartbeats, in seconds. A new stage is otherwise reported immediately.
_STAGE_PAUSE_S = 1.0
# Missed heartbeats after which the loop counts as stalled.
_STALE_AFTER_BEATS = 6


class LeaseKeeper:
    """Context manager that renews a lease by sending heartbeats from a separate thread.

    `ended` is the reason why the attempt has to end (the job was canceled or the lease was lost),
    or an empty string. If the master does not answer, or if its response is unexpected, the attempt
    continues and the heartbeat is repeated, because the master may answer before the lease expires.
    """

    def __init__(
        self, claim: Claim, connect: Callable[[], MasterClient], loops: LoopRegistry
    ) -> None:
        """Prepare to renew a lease.

        Args:
            claim: the claim that the lease belongs to.
            connect: a function that creates the thread's own client.
            loops: the registry of the agent's loops.
        """
        self._claim = claim
        self._connect = connect
        self._client: MasterClient | None = None
        self._is_over = False
        self._progress = Progress(stage=Stage.FETCH)
        beat_s = claim.heartbeat_s
        self._loop = ThreadLoop(
            loops.add("heartbeat", stale_after_s=_STALE_AFTER_BEATS * beat_s),
            self._send_heartbeat,
            Pacing(interval_s=beat_s, wakeup_pause_s=_STAGE_PAUSE_S, retry_pause_max_s=beat_s),
            expected=(MasterUnreachableError, MasterRefusedError),
            context={"job": claim.job.id},
        )
        self.ended = ""
        self.is_lost = False

    def __enter__(self) -> Self:
        """Start the thread. The first heartbeat is sent immediately and sets the job to running."""
        self._loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sending heartbeats."""
        self._is_over = True
        self._loop.stop()
        if self._client is not None:
            self._client.close()

    def set_progress(self, progress: Progress) -> None:
        """Set the progress that the following heartbeats report.

        If the attempt has entered another stage, a heartbeat follows at once, so that the farm
        shows the current stage and not that of the last regular heartbeat.
        """
        before, self._progress = self._progress, conforming_progress(progress)
        if self._progress.stage != before.stage:
            self._loop.wake()

    def _send_heartbeat(self) -> AfterPass:
        """Send a heartbeat; any error that does not mean that the lease is lost is raised."""
        if self._client is None:
            self._client = self._connect()
        heartbeat = Heartbeat(attempt=self._claim.attempt, progress=self._progress)
        try:
            answer = self._client.heartbeat(self._claim.job.id, heartbeat)
        except MasterRefusedError as error:
            if error.problem.status not in _LOST or self._is_over:
                raise
            _log.warning("a heartbeat was refused: %s", error, extra={"job": self._claim.job.id})
            self.is_lost = True
            self.ended = "the lease was lost"
            return AfterPass.END
        if answer.cancel:
            self.ended = "the job was canceled"
        return AfterPass.PAUSE
