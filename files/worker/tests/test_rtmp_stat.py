"""What the RTMP server says of a stream, and what is said when it does not."""

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
from ffrtmp_shared.measurement import Unavailable
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
    ("page", "what"),
    [
        (b"<html><body>hello</body></html>", "not a statistics page"),
        (_PAGE[:200], "not XML"),
        (_PAGE.replace(b">186939<", b">many<"), "many"),
        (
            b'<!DOCTYPE r [<!ENTITY a "b">]><rtmp><pid>&a;</pid></rtmp>',
            "EntitiesForbidden",
        ),
    ],
)
def test_what_is_no_such_page_is_refused(page: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        rtmp_stat.parse_stat_page(page, "live", "mine")


def _look(age_s: float, bytes_in: int, client: str = "1", dropped: int = 0) -> StatSample:
    who = ("77", client)
    return StatSample(
        age_s=age_s, bytes_in=bytes_in, dropped={who: dropped}, publishers=frozenset({who})
    )


def _added(*looks: tuple[float, StatSample]) -> StatSummary:
    found = StatSummary()
    for at_s, look in looks:
        found.add(at_s, look)
    return found


def test_the_bit_rate_is_that_between_the_looks_and_not_of_the_wait_before() -> None:
    found = _added(
        (100.0, _look(1, 0)), (101.0, _look(2, 10_000)), (105.0, _look(6, 60_000, dropped=3))
    )
    assert found.summarize(105.3) == ServerMeasurement(
        server_bytes_in=60_000,
        server_bitrate_mean_kbps=100.0,
        server_dropped=3,
        server_publishers=1,
    )


def test_a_record_that_begins_anew_is_added_and_not_taken_for_the_whole() -> None:
    found = _added(
        (100.0, _look(1, 10_000)),
        (101.0, _look(2, 20_000, dropped=2)),
        # By its bytes alone it could be the same.
        (104.0, _look(0.5, 30_000, client="2", dropped=1)),
        (105.0, _look(1.5, 45_000, client="2", dropped=1)),
    ).summarize(105.3)
    assert found.server_bytes_in == 65_000
    assert found.server_dropped == 3
    assert found.server_publishers == 2


def test_what_was_not_seen_to_the_end_is_not_told() -> None:
    reason = _reason(_added((100.0, _look(1, 1)), (102.0, _look(3, 9))).summarize(110.0))
    assert reason == "the stream was last seen 8.0 s before its end"
    assert "never listed any bytes" in _reason(StatSummary().summarize(110.0))
    once = _added((109.8, _look(1, 9))).summarize(110.0)
    assert once.server_bytes_in == 9
    assert isinstance(once.server_bitrate_mean_kbps, Unavailable)


def _watched(page: StatPage, duration_s: float = 1.6) -> ServerMeasurement:
    with ServerWatch(page, "rtmp://127.0.0.1:1935/live/nobody", duration_s) as watch:
        time.sleep(duration_s)
    return watch.summarize()


def test_a_stream_that_the_server_does_not_know_has_no_figures(server: Server) -> None:
    assert "never listed any bytes" in _reason(_watched(server.stat))


def test_why_a_page_was_not_read_is_said(server: Server, tmp_path: Path) -> None:
    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with socket.socket() as deaf:
        # Bound and not listening: no other test can get this port meanwhile.
        deaf.bind(("127.0.0.1", 0))
        nobody = f"https://127.0.0.1:{deaf.getsockname()[1]}/stat"
        for page, why in (
            (replace(server.stat, shown=None), "400 Bad Request"),
            (replace(server.stat, ca_file=tmp_path / "ca.pem"), "CERTIFICATE_VERIFY_FAILED"),
            (replace(server.stat, ca_file=tmp_path / "none.pem"), "No such file"),
            (replace(server.stat, url=server.stat.url + "istics"), "404 Not Found"),
            (replace(server.stat, url=nobody), "refused"),
        ):
            reason = _reason(_watched(page))
            assert reason.startswith(f"{page.url} was not read: ")
            assert why in reason


class _Dripping(BaseHTTPRequestHandler):
    """A page that never ends."""

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


def test_a_page_that_never_ends_holds_nothing_up(server: Server) -> None:
    with HTTPServer(("127.0.0.1", 0), _Dripping) as dripping:
        thread = threading.Thread(target=dripping.handle_request)
        thread.start()
        page = replace(server.stat, url=f"http://127.0.0.1:{dripping.server_port}/stat")
        begun = time.monotonic()
        assert "not complete after 2 s" in _reason(_watched(page, 1.2))
        assert time.monotonic() - begun < 5
        thread.join()


@pytest.mark.parametrize("url", ["ftp://a/stat", "https://user@a/stat", "https://a", "https:///x"])
def test_an_address_that_is_none_is_refused_in_the_settings(url: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.rtmp_stat_url"):
        msgspec.convert({"rtmp_stat_url": url}, AgentSettings)


def _reason(found: ServerMeasurement) -> str:
    (reason,) = {getattr(found, name) for name in found.__struct_fields__}
    assert isinstance(reason, Unavailable)
    return reason.reason
