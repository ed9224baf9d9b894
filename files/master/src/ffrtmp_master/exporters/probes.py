"""Probes of components: their outcomes, and the schedule on which they run."""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop

from ffrtmp_master.exporters import probe_connections
from ffrtmp_master.exporters.components import Component, ComponentKey, ProbeKind
from ffrtmp_master.exporters.probe_connections import (
    BeforeTls,
    ProbeFailedError,
    ProbeFailure,
    Visit,
)
from ffrtmp_master.exporters.probe_readings import HTTP_PROBES, Reading, UnexpectedContentError

_log = logging.getLogger(__name__)

_TICK_S = 0.5
_STALE_AFTER_S = 60.0
# Probes that run at the same time, in each of the two lanes.
_LANE_WIDTH = 32
_RESOLVER_THREADS = 8


class ProbeOutcome(NamedTuple):
    """The outcome of the last probe of a component.

    Attributes:
        failure: The reason of a failure; None if the component works.
        duration_s: The duration of the probe, in seconds.
        certificate_end_s: The expiry of the certificate, as a Unix time in seconds.
        reading: The content of the responses.
    """

    failure: ProbeFailure | None
    duration_s: float
    certificate_end_s: float | None = None
    reading: Reading = Reading()


@dataclass(frozen=True)
class ProbeTiming:
    """The times of probes, in seconds.

    Attributes:
        interval_s: The time between the starts of two probes of a component.
        timeout_s: The longest duration of a probe.
    """

    interval_s: float = 30.0
    timeout_s: float = 5.0


@dataclass
class _Target:
    """A component that is probed."""

    component: Component
    next_at_s: float
    outcome: ProbeOutcome | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Prober:
    """Probes components on a schedule, in one thread.

    Each component has its own schedule, and each probe has a deadline. Components whose last probe
    failed are probed in a lane of their own, so that any number of hanging components delay only
    each other.
    """

    def __init__(
        self,
        components: Callable[[], Iterable[Component]],
        context: Callable[[], ssl.SSLContext],
        timing: ProbeTiming,
        loops: LoopRegistry,
        on_outcome: Callable[[Component, ProbeOutcome], None] = lambda _component, _outcome: None,
    ) -> None:
        """Create a prober that is not running.

        Args:
            components: Returns the components to probe; those that it no longer returns are
                forgotten.
            context: Returns the TLS context of connections.
            timing: The times of probes.
            loops: The registry of the exporter's loops.
            on_outcome: Called in the thread of the prober with each outcome.
        """
        self._components = components
        self._context = context
        self._timing = timing
        self._on_outcome = on_outcome
        self._lock = threading.Lock()
        self._targets: dict[ComponentKey, _Target] = {}
        self._lanes = (asyncio.Semaphore(_LANE_WIDTH), asyncio.Semaphore(_LANE_WIDTH))
        self._runner = asyncio.Runner(loop_factory=_new_event_loop)
        self._loop = ThreadLoop(
            loops.add("probes", stale_after_s=_STALE_AFTER_S),
            self._run_tick,
            Pacing(interval_s=0.0),
            last_step=self._runner.close,
        )

    def start(self) -> None:
        """Start to probe."""
        self._loop.start()

    def stop(self) -> None:
        """End all probes."""
        self._loop.stop()

    def outcomes(self) -> list[tuple[Component, ProbeOutcome]]:
        """Return the last outcome of each component that has been probed."""
        with self._lock:
            return [
                (target.component, target.outcome)
                for target in self._targets.values()
                if target.outcome is not None
            ]

    def _run_tick(self) -> AfterPass:
        self._runner.run(self._tick())
        return AfterPass.REPEAT

    async def _tick(self) -> None:
        """Start the probes that are due, and let probes run for a moment."""
        running_loop = asyncio.get_running_loop()
        self._update_targets()
        now_s = time.monotonic()
        for target in self._targets.values():
            if target.task is None and target.next_at_s <= now_s:
                target.next_at_s = now_s + self._timing.interval_s
                target.task = running_loop.create_task(self._probe(target))
        running = [target.task for target in self._targets.values() if target.task is not None]
        if not running:
            await asyncio.sleep(_TICK_S)
            return
        ended, _ = await asyncio.wait(running, timeout=_TICK_S)
        errors = [task.exception() for task in ended if not task.cancelled()]
        for error in filter(None, errors):
            raise error

    def _update_targets(self) -> None:
        now_s = time.monotonic()
        wanted = {component.key: component for component in self._components()}
        with self._lock:
            for key in self._targets.keys() - wanted.keys():
                target = self._targets.pop(key)
                if target.task is not None:
                    target.task.cancel()
            for key, component in wanted.items():
                known = self._targets.setdefault(key, _Target(component, next_at_s=now_s))
                known.component = component

    async def _probe(self, target: _Target) -> None:
        last = target.outcome
        is_failing = last is not None and last.failure is not None
        try:
            async with self._lanes[is_failing]:
                outcome = await self._outcome_of(target.component)
            if last is None or outcome.failure != last.failure:
                _log_change(target.component, outcome)
            with self._lock:
                target.outcome = outcome
            self._on_outcome(target.component, outcome)
        finally:
            target.task = None

    async def _outcome_of(self, component: Component) -> ProbeOutcome:
        started_s = time.monotonic()
        certificate_end_s = None
        try:
            async with asyncio.timeout(self._timing.timeout_s):
                try:
                    visit = await self._visit(component)
                    reading = _read(component, visit)
                except ProbeFailedError as error:
                    certificate_end_s = error.certificate_end_s
                    if error.failure is ProbeFailure.CERTIFICATE_REJECTED:
                        certificate_end_s = await probe_connections.read_certificate_end_s(
                            component.host, component.port, _before_tls(component)
                        )
                    raise
        except TimeoutError:
            failure = ProbeFailure.TIMEOUT
        except ProbeFailedError as error:
            failure = error.failure
            _log.debug("%s at %s: %s", component.component, component.instance, error)
        # One component must not end the probes of the others, whatever it responds.
        except Exception:
            _log.exception("the probe of %s at %s failed", component.component, component.instance)
            failure = ProbeFailure.UNEXPECTED_RESPONSE
        else:
            duration_s = time.monotonic() - started_s
            return ProbeOutcome(None, duration_s, visit.certificate_end_s, reading)
        return ProbeOutcome(failure, time.monotonic() - started_s, certificate_end_s)

    async def _visit(self, component: Component) -> Visit:
        if component.probe is ProbeKind.POSTGRESQL:
            return await probe_connections.visit_postgresql(
                component.host, component.port, self._context()
            )
        return await probe_connections.visit_http(
            component.host,
            component.port,
            HTTP_PROBES[component.probe].targets,
            self._context(),
        )


def _before_tls(component: Component) -> BeforeTls | None:
    is_postgresql = component.probe is ProbeKind.POSTGRESQL
    return probe_connections.request_postgresql_tls if is_postgresql else None


def _new_event_loop() -> asyncio.AbstractEventLoop:
    event_loop = asyncio.new_event_loop()
    # Lookups of names cannot be canceled, and must not use up the threads of the service.
    event_loop.set_default_executor(ThreadPoolExecutor(_RESOLVER_THREADS))
    return event_loop


def _read(component: Component, visit: Visit) -> Reading:
    if component.probe is ProbeKind.POSTGRESQL:
        return Reading()
    try:
        return HTTP_PROBES[component.probe].read(visit.bodies)
    except UnexpectedContentError as error:
        raise ProbeFailedError(ProbeFailure.UNEXPECTED_RESPONSE, str(error)) from error


def _log_change(component: Component, outcome: ProbeOutcome) -> None:
    if outcome.failure is None:
        _log.info("%s at %s works", component.component, component.instance)
    else:
        _log.warning(
            "%s at %s does not work: %s", component.component, component.instance, outcome.failure
        )
