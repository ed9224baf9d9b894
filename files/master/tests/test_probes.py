"""Tests of the probes of components, with real servers that work, hang, or are wrong."""

import asyncio
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from certificates import HOST, Site
from ffrtmp_master.exporters.components import Component, ProbeKind
from ffrtmp_master.exporters.probe_connections import (
    ProbeFailedError,
    ProbeFailure,
    visit_http,
)
from ffrtmp_master.exporters.probes import ProbeOutcome, Prober, ProbeTiming
from ffrtmp_shared import __version__
from ffrtmp_shared.connection_table import ConnectionBounds
from ffrtmp_shared.credentials import ClientCertificate, client_context
from ffrtmp_shared.exporter import own_collectors
from ffrtmp_shared.exporter_server import ExporterServer
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.server_certificates import CertificateFiles, ServerCertificates
from ffrtmp_shared.source_age import SourceAge
from polling import TIMEOUT_S, wait_until
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_QUICK = ProbeTiming(interval_s=0.05, timeout_s=2.0)


class Source(Collector):
    """The age of the data of an exporter that last read its source at a certain time."""

    def __init__(self, last_success_unix_s: float) -> None:
        self.age = SourceAge("the master")
        self.age.succeed(last_success_unix_s)

    def collect(self) -> Iterable[Metric]:
        return self.age.metrics()


class Watched:
    """A running prober, and the outcomes of its probes in their order."""

    def __init__(self, site: Site, components: Sequence[Component], timing: ProbeTiming) -> None:
        self.components = list(components)
        self.outcomes: dict[str, list[ProbeOutcome]] = {}
        self.changed = threading.Condition()
        certificate = ClientCertificate(site.certificate_file, site.key_file)
        context = client_context(site.ca_file, certificate)
        self.prober = Prober(
            lambda: self.components, lambda: context, timing, LoopRegistry(), self._add
        )

    def _add(self, component: Component, outcome: ProbeOutcome) -> None:
        with self.changed:
            self.outcomes.setdefault(component.instance, []).append(outcome)
            self.changed.notify_all()

    def wait(self, is_met: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(is_met, TIMEOUT_S)

    def first_of(self, component: Component) -> ProbeOutcome:
        self.wait(lambda: component.instance in self.outcomes)
        return self.outcomes[component.instance][0]


@contextmanager
def watched(site: Site, *components: Component, timing: ProbeTiming = _QUICK) -> Iterator[Watched]:
    found = Watched(site, components, timing)
    found.prober.start()
    try:
        yield found
    finally:
        found.prober.stop()


def exporter_at(port: int, host: str = HOST) -> Component:
    return Component(component="cpu", probe=ProbeKind.EXPORTER, host=host, port=port)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextmanager
def running_exporter(site: Site, *, is_ready: bool = True) -> Iterator[ExporterServer]:
    """An exporter whose source was last read at the Unix time 1234."""
    with ExporterServer(
        title="x",
        page=MetricPage({"source": Source(1234.0), **own_collectors()}),
        certificates=ServerCertificates(
            CertificateFiles(site.certificate_file, site.key_file, site.ca_file)
        ),
        address=(HOST, 0),
        limits=ConnectionBounds(total=32, per_address=8),
        loop=LoopRegistry().add("listener", stale_after_s=60),
        is_ready=lambda: is_ready,
    ) as server:
        yield server


class _Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status, body = 200, b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


@contextmanager
def serving(
    issued: trustme.LeafCert, body: bytes, status: int = 200, protocol: str = "HTTP/1.1"
) -> Iterator[int]:
    """Serve a page over TLS on the port that is yielded."""
    values = {"body": body, "status": status, "protocol_version": protocol}
    handler = type("Handler", (_Pages,), values)
    server = http.server.ThreadingHTTPServer((HOST, 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def listening(*, is_silent: bool = True) -> Iterator[int]:
    """Accept connections by the kernel alone, or close each one at once; yield the port."""
    with socket.create_server((HOST, 0), backlog=256) as listener:
        ended = threading.Event()

        def close_each() -> None:
            while not ended.is_set():
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        if not is_silent:
            threading.Thread(target=close_each, daemon=True).start()
        yield listener.getsockname()[1]
        ended.set()


# --- outcomes ------------------------------------------------------------------------------------


def test_an_exporter_reports_its_release_the_age_of_its_data_and_its_certificate(
    site: Site,
) -> None:
    not_after = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    site.renew(not_after=not_after)
    with running_exporter(site) as server:
        component = exporter_at(server.port)
        with watched(site, component) as found:
            outcome = found.first_of(component)
    assert outcome.failure is None
    assert outcome.reading.version == __version__
    assert outcome.reading.data_unix_s == 1234.0
    assert outcome.certificate_end_s == not_after.timestamp()
    assert 0 < outcome.duration_s < _QUICK.timeout_s


@pytest.mark.slow
def test_a_renewed_certificate_is_seen_by_the_next_probe(site: Site) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    site.renew(not_after=soon)
    with running_exporter(site) as server:
        component = exporter_at(server.port)
        with watched(site, component) as found:
            found.first_of(component)
            later = soon + timedelta(days=80)
            site.renew(not_after=later)
            found.wait(
                lambda: (
                    found.outcomes[component.instance][-1].certificate_end_s == later.timestamp()
                )
            )


def test_an_exporter_that_is_not_ready_fails(site: Site) -> None:
    with running_exporter(site, is_ready=False) as server:
        component = exporter_at(server.port)
        with watched(site, component) as found:
            outcome = found.first_of(component)
    assert outcome.failure is ProbeFailure.UNEXPECTED_STATUS
    assert outcome.certificate_end_s is not None


@pytest.mark.slow
def test_each_cause_of_a_failure_has_a_word(site: Site, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    issued = site.authority.issue_cert(HOST)
    with ExitStack() as stack:
        enter = stack.enter_context
        with socket.create_server((HOST, 0)) as closed:
            refused = closed.getsockname()[1]
        expected = {
            exporter_at(refused): ProbeFailure.CONNECTION_REFUSED,
            exporter_at(443, "name.invalid"): ProbeFailure.NAME_NOT_RESOLVED,
            exporter_at(
                enter(serving(trustme.CA().issue_cert(HOST), b""))
            ): ProbeFailure.CERTIFICATE_REJECTED,
            exporter_at(
                enter(serving(site.authority.issue_cert("other.example"), b""))
            ): ProbeFailure.CERTIFICATE_REJECTED,
            exporter_at(enter(listening(is_silent=False))): ProbeFailure.CONNECTION_FAILED,
            exporter_at(enter(serving(issued, b"", 404))): ProbeFailure.UNEXPECTED_STATUS,
            exporter_at(
                enter(serving(issued, b'ffrtmp_x_build_info{version="} 1\n'))
            ): ProbeFailure.UNEXPECTED_RESPONSE,
            exporter_at(
                enter(serving(issued, b"x" * (5 * 1024 * 1024)))
            ): ProbeFailure.UNEXPECTED_RESPONSE,
            Component(
                component="alertmanager",
                probe=ProbeKind.ALERTMANAGER,
                host=HOST,
                port=enter(serving(issued, b"<html>")),
            ): ProbeFailure.UNEXPECTED_RESPONSE,
            exporter_at(enter(listening())): ProbeFailure.TIMEOUT,
        }
        with watched(site, *expected, timing=ProbeTiming(60.0, 1.0)) as found:
            outcomes = {component: found.first_of(component).failure for component in expected}
    # A server that ends the connection during the handshake may be seen in either way.
    if outcomes[list(expected)[4]] is ProbeFailure.TLS_FAILED:
        expected[list(expected)[4]] = ProbeFailure.TLS_FAILED
    assert outcomes == expected


def test_the_expiry_of_an_expired_certificate_is_still_reported(site: Site) -> None:
    not_after = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    with serving(site.authority.issue_cert(HOST, not_after=not_after), b"") as port:
        component = exporter_at(port)
        with watched(site, component) as found:
            outcome = found.first_of(component)
    assert outcome.failure is ProbeFailure.CERTIFICATE_REJECTED
    assert outcome.certificate_end_s == not_after.timestamp()


def test_a_connection_that_ends_after_the_first_of_two_responses_is_a_failure(site: Site) -> None:
    context = client_context(site.ca_file)
    with serving(site.authority.issue_cert(HOST), b"x", protocol="HTTP/1.0") as port:
        assert asyncio.run(visit_http(HOST, port, ("/a",), context)).bodies == (b"x",)
        with pytest.raises(ProbeFailedError, match="ends the connection") as raised:
            asyncio.run(visit_http(HOST, port, ("/a", "/b"), context))
    assert raised.value.failure is ProbeFailure.UNEXPECTED_RESPONSE
    assert raised.value.certificate_end_s is not None


@pytest.mark.slow
def test_a_response_that_arrives_in_drips_has_a_deadline(site: Site) -> None:
    """The timeout of each read would never end such a response."""

    class Dripping(_Pages):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.05)

    server = http.server.ThreadingHTTPServer((HOST, 0), Dripping)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    site.authority.issue_cert(HOST).configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    component = exporter_at(server.server_port)
    with watched(site, component, timing=ProbeTiming(60.0, 0.5)) as found:
        outcome = found.first_of(component)
    server.shutdown()
    thread.join()
    server.server_close()
    assert outcome.failure is ProbeFailure.TIMEOUT
    assert outcome.duration_s < 5


# --- schedule ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hanging_components_do_not_delay_the_others(site: Site) -> None:
    """More components hang than probes may run at the same time, with a deadline of a minute."""
    timing = ProbeTiming(interval_s=0.05, timeout_s=1.0)
    with running_exporter(site) as server, ExitStack() as stack:
        hanging = [exporter_at(stack.enter_context(listening())) for _ in range(80)]
        good = exporter_at(server.port)
        with watched(site, *hanging, good, timing=timing) as found:
            found.wait(lambda: all(component.instance in found.outcomes for component in hanging))
            # Now 80 components hang in their own lane, in which a round takes at least two seconds.
            begun_s, before = time.monotonic(), len(found.outcomes[good.instance])
            found.wait(lambda: len(found.outcomes[good.instance]) >= before + 3)
            took_s = time.monotonic() - begun_s
        assert {outcome.failure for outcome in found.outcomes[good.instance]} == {None}
    assert took_s < 2.5


@pytest.mark.slow
def test_a_component_that_is_removed_is_forgotten(site: Site) -> None:
    with running_exporter(site) as server, listening() as silent:
        good, hanging = exporter_at(server.port), exporter_at(silent)
        with watched(site, good, hanging, timing=ProbeTiming(0.05, 60.0)) as found:
            found.first_of(good)
            assert [component for component, _ in found.prober.outcomes()] == [good]
            found.components = []
            wait_until(lambda: not found.prober.outcomes(), "the components are forgotten")
            # A component that is added is probed, although the one that hung was canceled.
            found.outcomes.clear()
            found.components = [good]
            assert found.first_of(good).failure is None


@pytest.mark.slow
def test_a_component_that_works_again_is_noticed(site: Site) -> None:
    with running_exporter(site) as server:
        component = exporter_at(server.port)
        with watched(site, component) as found:
            assert found.first_of(component).failure is None
            server.stop()
            found.wait(
                lambda: (
                    found.outcomes[component.instance][-1].failure
                    is ProbeFailure.CONNECTION_REFUSED
                )
            )


def test_an_address_of_ipv6_is_reached(site: Site) -> None:
    """The connection is refused; an address without brackets would not be a URL."""
    context = client_context(site.ca_file)
    with socket.socket(socket.AF_INET6) as bound:
        bound.bind(("::1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(Exception, match=r".*") as raised:
            asyncio.run(visit_http("::1", port, ("/",), context))
    assert getattr(raised.value, "failure", None) is ProbeFailure.CONNECTION_REFUSED
    assert exporter_at(port, "::1").instance == f"[::1]:{port}"
