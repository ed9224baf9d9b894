"""Tests of the container exporter with podman's service, and with answers in Docker's format."""

import http.server
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import promtool
import pytest
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_worker.exporters import docker_engine
from ffrtmp_worker.exporters.docker_engine import Containers, DockerEngine
from ffrtmp_worker.exporters.docker_stats import DockerCollector, Poller
from polling import wait_until
from prometheus_client import CollectorRegistry, generate_latest

from .podman_engine import IMAGE, Engine

_MIB = 1024 * 1024
_BUSY = "while :; do :; done"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    # The folder has a short name, because the length of a Unix socket's path is limited.
    made = Engine(tmp_path_factory.mktemp("engine"))
    made.start()
    yield made
    made.close()


def _scrape(socket: Path) -> str:
    registry = CollectorRegistry()
    registry.register(DockerCollector(DockerEngine(socket).read))
    text = generate_latest(registry).decode()
    assert promtool.complaints(text) == ""
    return text


def _value(text: str, sample: str) -> float | None:
    found = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{sample} ")]
    return float(found[0]) if found else None


@pytest.mark.slow
def test_a_container_from_its_start_to_its_removal(engine: Engine) -> None:
    engine.run("ffrtmp-unit-busy", _BUSY, "--memory", "64m")
    name = 'container="ffrtmp-unit-busy"'
    cpu = f'ffrtmp_docker_container_cpu_seconds_total{{{name},mode="user"}}'
    before = _value(_scrape(engine.socket), cpu)
    time.sleep(1)
    text = _scrape(engine.socket)
    after = _value(text, cpu)
    assert before is not None
    assert after is not None
    assert 0.2 < after - before < 10
    assert _value(text, "ffrtmp_docker_up") == 1
    assert f'image="localhost/{IMAGE}:latest"' in text
    assert _value(text, f'ffrtmp_docker_container_state{{{name},state="running"}}') == 1
    assert _value(text, f'ffrtmp_docker_container_state{{{name},state="exited"}}') == 0
    memory = _value(text, f"ffrtmp_docker_container_memory_bytes{{{name}}}")
    assert memory is not None
    assert 0 < memory < 64 * _MIB
    assert _value(text, f"ffrtmp_docker_container_memory_limit_bytes{{{name}}}") == 64 * _MIB
    assert _value(text, f"ffrtmp_docker_container_restarts_total{{{name}}}") == 0

    engine.podman("stop", "--time", "0", "ffrtmp-unit-busy")
    text = _scrape(engine.socket)
    assert _value(text, f'ffrtmp_docker_container_state{{{name},state="exited"}}') == 1
    # The CPU time of a stopped container is missing. It must not be 0 seconds.
    assert _value(text, cpu) is None

    engine.podman("rm", "ffrtmp-unit-busy")
    assert "ffrtmp-unit-busy" not in _scrape(engine.socket)


@pytest.mark.slow
def test_restarts_are_counted(engine: Engine) -> None:
    engine.run("ffrtmp-unit-failing", "exit 3", "--restart", "on-failure:2")
    sample = 'ffrtmp_docker_container_restarts_total{container="ffrtmp-unit-failing"}'
    wait_until(
        lambda: _value(_scrape(engine.socket), sample) == 2,
        lambda: _scrape(engine.socket),
        interval_s=0.2,
    )


def test_a_restarted_engine_is_read_again(engine: Engine) -> None:
    client = DockerEngine(engine.socket)
    assert client.read().reason == ""
    engine.stop()
    assert client.read().reason == "unreachable"
    engine.socket.unlink()
    assert client.read().reason == "no_socket"
    engine.start()
    assert client.read().reason == ""


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers a request with the response that is configured for the end of its path."""

    def do_GET(self) -> None:
        server: Any = self.server
        for end, (status, content) in server.answers.items():
            if self.path.split("?")[0].endswith(end):
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
        time.sleep(server.hang_s)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answers: dict[str, tuple[int, Any]]
    hang_s = 6.0


@contextmanager
def _answering(folder: Path, answers: dict[str, tuple[int, Any]]) -> Iterator[Path]:
    socket = folder / "answers.sock"
    with _Server(str(socket), _Answers) as server:
        server.answers = answers
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield socket
        server.shutdown()


_VERSION = (200, {"Version": "28.2.2", "ApiVersion": "1.50"})
_LISTED = [
    {"Id": "a" * 64, "Names": ["/encoder"], "Image": "encoder:1", "State": "running"},
    {"Id": "b" * 64, "Names": ["/going"], "Image": "encoder:1", "State": "running"},
]
_STATS = {
    "cpu_stats": {
        "cpu_usage": {
            "total_usage": 3_000_000_000,
            "usage_in_usermode": 2_500_000_000,
            "usage_in_kernelmode": 500_000_000,
        },
        "throttling_data": {"periods": 9, "throttled_periods": 3, "throttled_time": 250_000_000},
    },
    "memory_stats": {
        "usage": 900,
        "limit": 4000,
        "stats": {"inactive_file": 7, "total_inactive_file": 300},
    },
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 10},
            {"major": 8, "minor": 16, "op": "Read", "value": 5},
            {"major": 8, "minor": 0, "op": "Write", "value": 40},
            {"major": 8, "minor": 0, "op": "Total", "value": 50},
        ]
    },
    "networks": {
        "eth0": {"rx_bytes": 11, "tx_bytes": 22, "rx_dropped": 1, "tx_dropped": 2, "rx_packets": 3}
    },
}


def test_answers_in_dockers_format(tmp_path: Path) -> None:
    answers: dict[str, tuple[int, Any]] = {
        "/version": _VERSION,
        "/containers/json": (200, _LISTED),
        # This container was removed after the list had been read.
        f"{'b' * 64}/json": (404, {"message": "No such container"}),
        f"{'b' * 64}/stats": (404, {"message": "No such container"}),
        "/json": (200, {"RestartCount": 4}),
        "/stats": (200, _STATS),
    }
    with _answering(tmp_path, answers) as socket:
        text = _scrape(socket)
    label = 'container="encoder"'
    for sample, value in {
        f'cpu_seconds_total{{{label},mode="user"}}': 2.5,
        f'cpu_seconds_total{{{label},mode="system"}}': 0.5,
        f"cpu_throttled_seconds_total{{{label}}}": 0.25,
        # As in `docker stats`, the cached files are not included.
        f"memory_bytes{{{label}}}": 600.0,
        f"memory_limit_bytes{{{label}}}": 4000.0,
        f'block_io_bytes_total{{{label},direction="read"}}': 15.0,
        f'block_io_bytes_total{{{label},direction="write"}}': 40.0,
        f'network_bytes_total{{{label},direction="receive",interface="eth0"}}': 11.0,
        f'network_bytes_total{{{label},direction="transmit",interface="eth0"}}': 22.0,
        f'network_dropped_packets_total{{{label},direction="transmit",interface="eth0"}}': 2.0,
        f"restarts_total{{{label}}}": 4.0,
    }.items():
        assert _value(text, f"ffrtmp_docker_container_{sample}") == value, (sample, text)
    assert "going" not in text
    assert 'engine="28.2.2",id="aaaaaaaaaaaa"' in text


def test_missing_values_of_a_container_have_no_sample(tmp_path: Path) -> None:
    bare = {"cpu_stats": {}, "memory_stats": {}, "blkio_stats": {}}
    answers: dict[str, tuple[int, Any]] = {
        "/version": _VERSION,
        "/containers/json": (200, _LISTED[:1]),
        "/json": (200, {"RestartCount": 0}),
        "/stats": (200, bare),
    }
    with _answering(tmp_path, answers) as socket:
        text = _scrape(socket)
    samples = {line.split("{")[0] for line in text.splitlines() if 'container="encoder"' in line}
    assert samples == {
        "ffrtmp_docker_container_info",
        "ffrtmp_docker_container_state",
        "ffrtmp_docker_container_restarts_total",
    }


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ((500, {"message": "broken"}), "http_error"),
        ((403, b"denied by a proxy"), "http_error"),
        ((200, b"not JSON"), "unknown_answer"),
        ((200, {"Other": 1}), "unknown_answer"),
    ],
)
def test_invalid_answers_are_classified(
    version: tuple[int, Any], reason: str, tmp_path: Path
) -> None:
    with _answering(tmp_path, {"/version": version}) as socket:
        text = _scrape(socket)
    assert _value(text, "ffrtmp_docker_up") == 0
    assert _value(text, f'ffrtmp_docker_failure_info{{reason="{reason}"}}') == 1
    assert "container=" not in text


def test_an_endless_answer_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "_ANSWER_BYTES_MAX", 1000)
    with _answering(tmp_path, {"/version": (200, {"Version": "1" * 2000})}) as socket:
        assert DockerEngine(socket).read().reason == "unknown_answer"


@pytest.mark.parametrize(
    ("oldest", "newest", "asked"),
    [
        ("1.24", "1.50", "/v1.41/"),
        ("1.44", "1.52", "/v1.44/"),
        ("1.12", "1.40", "/v1.40/"),
        ("", "", "/v1.41/"),
    ],
)
def test_the_version_of_the_api_is_negotiated(
    oldest: str, newest: str, asked: str, tmp_path: Path
) -> None:
    version = {"Version": "29.0.0", "ApiVersion": newest, "MinAPIVersion": oldest}
    answers: dict[str, tuple[int, Any]] = {
        f"{asked}containers/json": (200, _LISTED[:1]),
        f"{asked}containers/{'a' * 64}/json": (200, {"RestartCount": 0}),
        f"{asked}containers/{'a' * 64}/stats": (200, _STATS),
        "/version": (200, version),
        "json": (400, {"message": "client version is not supported"}),
    }
    with _answering(tmp_path, answers) as socket:
        found = DockerEngine(socket).read()
    assert found.reason == ""
    assert [container.name for container in found.containers] == ["encoder"]
    assert found.containers[0].values["memory_bytes"] == 600.0


@pytest.mark.parametrize(
    ("second", "inspected", "names"),
    [
        ({"Names": None, "State": "removing"}, (200, {}), ["encoder", "b" * 12]),
        ({"Names": [], "State": "dead"}, (200, {}), ["encoder", "b" * 12]),
        ({"Names": ["/web/database", "/db"]}, (200, {}), ["encoder", "db"]),
        ({"Names": ["/broken"]}, (500, {"message": "broken"}), ["encoder", "broken"]),
        ({"Names": ["/odd"]}, (200, {"RestartCount": "many"}), ["encoder", "odd"]),
        ({"Names": 5}, (200, {}), ["encoder"]),
    ],
)
def test_one_unusual_container_does_not_hide_the_others(
    second: dict[str, Any], inspected: tuple[int, Any], names: list[str], tmp_path: Path
) -> None:
    answers: dict[str, tuple[int, Any]] = {
        "/version": _VERSION,
        "/containers/json": (200, [_LISTED[0], {**_LISTED[1], **second}]),
        f"{'b' * 64}/json": inspected,
        f"{'b' * 64}/stats": (200, {"cpu_stats": None, "memory_stats": {"stats": {"x": 1.5}}}),
        "/json": (200, {"RestartCount": 4}),
        "/stats": (200, _STATS),
    }
    with _answering(tmp_path, answers) as socket:
        found = DockerEngine(socket).read()
    assert [container.name for container in found.containers] == names
    assert found.containers[0].values["restarts"] == 4.0
    assert "restarts" not in found.containers[-1].values or len(names) == 1


def test_states_that_the_engine_does_not_have_are_one_state(tmp_path: Path) -> None:
    answers: dict[str, tuple[int, Any]] = {
        "/version": _VERSION,
        "/containers/json": (200, [{**_LISTED[0], "State": "made up"}]),
        "/json": (200, {"RestartCount": 0}),
    }
    with _answering(tmp_path, answers) as socket:
        text = _scrape(socket)
    assert "made up" not in text
    assert _value(text, 'ffrtmp_docker_container_state{container="encoder",state="other"}') == 1


def test_the_age_of_the_last_read_is_exported() -> None:
    found = Containers(version="1", containers=(), reason="", read_at_s=1234.0)
    broken = Containers(version="", containers=(), reason="timeout", read_at_s=1240.0)
    answers: list[Containers | Exception] = [ValueError("a defect"), found, broken]

    def read() -> Containers:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    poller = Poller(read, 60, LoopRegistry())
    last = "ffrtmp_exporter_source_last_success_timestamp_seconds"
    assert not poller.is_complete()
    for is_up, last_success_s in ((0, None), (1, 1234), (0, 1234)):
        with suppress(ValueError):
            poller.read_once()
        assert poller.is_complete()
        registry = CollectorRegistry()
        registry.register(poller)
        assert registry.get_sample_value("ffrtmp_exporter_source_up") == is_up
        assert registry.get_sample_value(last) == last_success_s


@pytest.mark.slow
def test_a_hanging_engine_does_not_delay_a_scrape(tmp_path: Path) -> None:
    with _answering(tmp_path, {"/version": _VERSION}) as socket:
        poller = Poller(DockerEngine(socket).read, 0.1, LoopRegistry())
        assert poller.latest().reason == "not_read_yet"
        poller.start()
        started = time.monotonic()
        for _ in range(100):
            poller.latest()
        assert time.monotonic() - started < 1
        wait_until(lambda: poller.latest().reason == "timeout", "the hanging engine is reported")
