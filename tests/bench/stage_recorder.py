"""Stages of a slot's jobs, from the datagrams that the agent sends to the exporter of its node."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from ffrtmp_worker.activity import SlotActivity

_IDLE = "idle"
_POLL_S = 0.2
_DATAGRAM_BYTES = 1 << 20


class StageRecorder:
    """Records the time that the jobs of a slot spend in each stage, within its context."""

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        """Listen on the Unix socket `path`, which is the agent's `progress_socket`.

        Each job is written to `log` when it has ended.
        """
        self._log = log
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(_POLL_S)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._entered: list[tuple[float, str]] = []

    def __enter__(self) -> "StageRecorder":
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def jobs(self) -> list[Mapping[str, float]]:
        """Return the seconds in each stage of each job that has ended, in the order of the jobs."""
        jobs: list[dict[str, float]] = []
        current: dict[str, float] = {}
        for (start_s, stage), (end_s, following) in zip(
            self._entered, self._entered[1:], strict=False
        ):
            if stage != _IDLE:
                current[stage] = current.get(stage, 0.0) + end_s - start_s
                if following == _IDLE:
                    jobs.append(current)
                    current = {}
        return jobs

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                datagram = self._socket.recv(_DATAGRAM_BYTES)
            except TimeoutError:
                continue
            stage = msgspec.json.decode(datagram, type=SlotActivity).stage
            if not self._entered or self._entered[-1][1] != stage:
                self._entered.append((time.monotonic(), stage))
                if stage == _IDLE and len(self._entered) > 1:
                    times = (f"{name} {seconds:.2f}" for name, seconds in self.jobs()[-1].items())
                    self._log(", ".join(times))
