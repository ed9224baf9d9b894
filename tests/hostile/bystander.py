"""An ordinary client in a process of its own, which measures how long its requests take.

The client sends its requests on new connections, because an attack may hinder new clients only.
"""

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

from .listeners import Listener, exchange

_PAUSE_S = 0.02
_MEASURED = 15
# Requests take a few milliseconds. On a busy machine with two processors, the attacking process
# alone delays them by several times that.
_FLOOR_S = 0.25


class Durations(NamedTuple):
    """The durations of requests in seconds by name, and the statuses that were not 2xx."""

    by_name: dict[str, list[float]]
    failed: list[tuple[str, int | None]]

    def median_s(self, name: str) -> float:
        """Return the median duration of a request."""
        return statistics.median(self.by_name[name])


class Bystander:
    """Measures requests while an attack is in progress."""

    def __init__(self, listener: Listener) -> None:
        self._usual = _measure(listener, _MEASURED)
        self._listener = listener
        self.found: Durations | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Measure during the context, and at least as many requests as before it."""
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=_measure_until_told, args=(self._listener, theirs)
        )
        process.start()
        try:
            yield
        finally:
            ours.send("end")
            self.found = ours.recv() if ours.poll(60) else None
            process.terminate()
            process.join()

    def check(self, attack: str) -> None:
        """Assert that no request failed or took more than twice its usual time.

        `attack` names the attack in the message.
        """
        assert self.found is not None, f"{attack}: the ordinary client got no answers"
        assert not self.found.failed, (attack, self.found.failed[:5])
        for name in self._usual.by_name:
            usual_s, during_s = self._usual.median_s(name), self.found.median_s(name)
            assert during_s <= max(2 * usual_s, _FLOOR_S), (attack, name, usual_s, during_s)


def _measure(listener: Listener, count: int) -> Durations:
    found = Durations({name: [] for name in listener.ordinary_requests()}, [])
    for _ in range(count):
        _measure_once(listener, found)
    assert not found.failed, found.failed
    return found


def _measure_once(listener: Listener, found: Durations) -> None:
    for name, request in listener.ordinary_requests().items():
        start_s = time.monotonic()
        try:
            status = exchange(listener, None, request)
        except OSError:
            status = None
        found.by_name[name].append(time.monotonic() - start_s)
        if status is None or not 200 <= status < 300:
            found.failed.append((name, status))
    time.sleep(_PAUSE_S)


def _measure_until_told(listener: Listener, pipe: Connection) -> None:
    found = Durations({name: [] for name in listener.ordinary_requests()}, [])
    measured = 0
    while measured < _MEASURED or not pipe.poll():
        _measure_once(listener, found)
        measured += 1
    pipe.send(found)
