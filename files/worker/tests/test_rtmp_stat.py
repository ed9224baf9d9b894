"""Tests of the RTMP server's statistics for a stream, and of the reasons if they are missing."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
import trustme
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.agent.settings import AgentSettings
from ffrtmp_worker.measure import rtmp_stat
from ffrtmp_worker.measure.rtmp_stat import (
    ServerMeasurement,
    ServerWatch,
    StatPage,
    StatSample,
    StatSummary,
)

from .rtmp_server import Server, running

_PAGE = b"""<?xml version="1.0" encoding="utf-8" ?>
<rtmp><pid>77</pid><naccepted>4</naccepted><bytes_in>999999</bytes_in>
<server><application><name>live</name><live>
<stream><name>other</name><time>9000</time><bytes_in>5</bytes_in></stream>
<stream><name>mine</name><time>6326</time><bw_in>0</bw_in><bytes_in>186939</bytes_in>
<client><id>2</id><time>5523</time><dropped>7</dropped><active/></client>
<client><id>1</id><time>6400</time><dropped>0</dropped><publishing/><active/></client>
<nclients>2</nclients><publishing/></stream>
</live></application></server></rtmp>"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("nginx")) as server:
        yield server


def test_a_page_is_read_for_one_stream_of_one_application() -> None:
    assert rtmp_stat.parse_stat_page(_PAGE, "live", "mine") == StatSample(
        age_s=6.326,
        bytes_in=186939,
        dropped={("77", "2"): 7, ("77", "1"): 0},
        publishers=frozenset({("77", "1")}),
    )
    assert rtmp_stat.parse_stat_page(_PAGE, "live", "min") is None
    assert rtmp_stat.parse_stat_page(_PAGE, "hls", "mine") is None


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"<html><body>hello</body></html>", "not a statistics page"),
        (_PAGE[:200], "not XML"),
        (_PAGE.replace(b">186939<", b">many<"), "many"),
        (_PAGE.replace(b">6326<", b">" + b"9" * 400 + b"<"), "instead of a count"),
        (_PAGE.replace(b">7<", b">-7<"), "'-7' instead of a count"),
        (
            b'<!DOCTYPE r [<!ENTITY a "b">]><rtmp><pid>&a;</pid></rtmp>',
            "EntitiesForbidden",
        ),
    ],
)
def test_another_page_is_rejected(page: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rtmp_stat.parse_stat_page(page, "live", "mine")


def _sample(age_s: float, bytes_in: int, client: str = "1", dropped: int = 0) -> StatSample:
    connection = ("77", client)
    return StatSample(
        age_s=age_s,
        bytes_in=bytes_in,
        dropped={connection: dropped},
        publishers=frozenset({connection}),
    )


def _added(*samples: tuple[float, StatSample]) -> StatSummary:
    found = StatSummary()
    for at_s, sample in samples:
        found.add(at_s, sample)
    return found


def test_the_bit_rate_covers_the_time_between_samples_only() -> None:
    found = _added(
        (100.0, _sample(1, 0)), (101.0, _sample(2, 10_000)), (105.0, _sample(6, 60_000, dropped=3))
    )
    assert found.summarize(105.3) == ServerMeasurement(
        server_bytes_in=60_000,
        server_bitrate_mean_kbps=100.0,
        server_dropped=3,
        server_publishers=1,
    )


def test_a_restarted_record_is_added_to_the_previous_ones() -> None:
    found = _added(
        (100.0, _sample(1, 10_000)),
        (101.0, _sample(2, 20_000, dropped=2)),
        # The number of bytes has increased, so only the other fields show that the record is new.
        (104.0, _sample(0.5, 30_000, client="2", dropped=1)),
        (105.0, _sample(1.5, 45_000, client="2", dropped=1)),
    ).summarize(105.3)
    assert found.server_bytes_in == 65_000
    assert found.server_dropped == 3
    assert found.server_publishers == 2


def test_the_number_of_connections_is_bounded() -> None:
    found = StatSummary()
    for number in range(1000):
        found.add(100.0, _sample(1, 10, client=str(number)))
    with pytest.raises(ValueError, match="more than 1000 connections"):
        found.add(100.0, _sample(1, 10, client="another"))


def test_a_stream_not_sampled_until_its_end_is_unavailable() -> None:
    reason = _reason(_added((100.0, _sample(1, 1)), (102.0, _sample(3, 9))).summarize(110.0))
    assert reason == "the stream was last seen 8.0 s before its end"
    assert "never listed any bytes" in _reason(StatSummary().summarize(110.0))
    once = _added((109.8, _sample(1, 9))).summarize(110.0)
    assert once.server_bytes_in == 9
    assert isinstance(once.server_bitrate_mean_kbps, Unavailable)


def _watched(page: StatPage, duration_s: float = 1.6) -> ServerMeasurement:
    with ServerWatch(page, "rtmp://127.0.0.1:1935/live/unknown", duration_s) as watch:
        time.sleep(duration_s)
    return watch.summarize()


@pytest.mark.slow
def test_an_unknown_stream_is_unavailable(server: Server) -> None:
    assert "never listed any bytes" in _reason(_watched(server.stat))


@pytest.mark.slow
def test_the_reason_for_an_unread_page_is_reported(server: Server, tmp_path: Path) -> None:
    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with socket.socket() as closed:
        # The socket is bound, so that no other test can use its port, but does not listen.
        closed.bind(("127.0.0.1", 0))
        unreachable = f"https://127.0.0.1:{closed.getsockname()[1]}/stat"
        for page, error in (
            (replace(server.stat, shown=None), "400 Bad Request"),
            (replace(server.stat, ca_file=tmp_path / "ca.pem"), "CERTIFICATE_VERIFY_FAILED"),
            (replace(server.stat, ca_file=tmp_path / "none.pem"), "No such file"),
            (replace(server.stat, url=server.stat.url + "istics"), "404 Not Found"),
            (replace(server.stat, url=unreachable), "refused"),
        ):
            reason = _reason(_watched(page))
            assert reason.startswith(f"{page.url} was not read: ")
            assert error in reason


class _EndlessPage(BaseHTTPRequestHandler):
    """Sends a page that never ends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"<")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.slow
def test_an_endless_page_does_not_delay_the_attempt(server: Server) -> None:
    with HTTPServer(("127.0.0.1", 0), _EndlessPage) as endless:
        thread = threading.Thread(target=endless.handle_request)
        thread.start()
        page = replace(server.stat, url=f"http://127.0.0.1:{endless.server_port}/stat")
        started = time.monotonic()
        assert "not complete after 2 s" in _reason(_watched(page, 1.2))
        assert time.monotonic() - started < 5
        thread.join()


@pytest.mark.parametrize("url", ["ftp://a/stat", "https://user@a/stat", "https://a", "https:///x"])
def test_an_invalid_statistics_url_is_rejected(url: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.rtmp_stat_url"):
        msgspec.convert({"rtmp_stat_url": url}, AgentSettings)


def _reason(found: ServerMeasurement) -> str:
    (reason,) = {getattr(found, name) for name in found.__struct_fields__}
    assert isinstance(reason, Unavailable)
    return reason.reason
