"""Renewal of a lease while its attempt runs."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.models import Claim, Heartbeat, Progress

from ffrtmp_worker.agent.report_values import conforming_progress

_log = logging.getLogger(__name__)

_LOST = (404, 409, 410)


class LeaseKeeper:
    """Context manager that renews a lease by sending heartbeats from a separate thread.

    `ended` is the reason why the attempt has to end (the job was canceled or the lease was lost),
    or an empty string. If the master does not answer, the attempt continues, because the master
    may answer again before the lease expires.
    """

    def __init__(self, claim: Claim, connect: Callable[[], MasterClient]) -> None:
        """Prepare to renew the lease of `claim`; `connect` creates the thread's own client."""
        self._claim = claim
        self._connect = connect
        self._over = threading.Event()
        self._progress = Progress(stage="fetch")
        self._thread = threading.Thread(
            target=self._renew_until_stopped, name="heartbeat", daemon=True
        )
        self.ended = ""
        self.is_lost = False

    def __enter__(self) -> Self:
        """Start the thread. The first heartbeat is sent immediately and sets the job to running."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop sending heartbeats."""
        self._over.set()
        self._thread.join()

    def set_progress(self, progress: Progress) -> None:
        """Set the progress that the following heartbeats report."""
        self._progress = conforming_progress(progress)

    def _renew_until_stopped(self) -> None:
        with self._connect() as client:
            while not self._over.is_set():
                self._send_heartbeat(client)
                if self.is_lost:
                    return
                self._over.wait(self._claim.heartbeat_s)

    def _send_heartbeat(self, client: MasterClient) -> None:
        job = self._claim.job.id
        try:
            answer = client.heartbeat(
                job, Heartbeat(attempt=self._claim.attempt, progress=self._progress)
            )
        except MasterUnreachableError as error:
            _log.warning("a heartbeat got no answer: %s", error, extra={"job": job})
        except MasterRefusedError as error:
            _log.warning("a heartbeat was refused: %s", error, extra={"job": job})
            if error.problem.status in _LOST and not self._over.is_set():
                self.is_lost = True
                self.ended = "the lease was lost"
        else:
            if answer.cancel:
                self.ended = "the job was canceled"
