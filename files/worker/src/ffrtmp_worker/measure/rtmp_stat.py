"""Counters of a stream on the RTMP server, from the statistics page of Nginx's RTMP module."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import msgspec
from defusedxml import ElementTree
from ffrtmp_shared.credentials import ClientCertificate, client_context
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop
from ffrtmp_shared.unavailable import Unavailable

_PERIOD_S = 1.0
_TIMEOUT_S = 2.0
MAX_PAGE_BYTES = 8_000_000
"""Maximum size of the statistics page."""

_STALE_AFTER_S = 60.0
MAX_CLIENTS = 1000
"""Maximum number of connections of a stream of a benchmark, over its whole duration."""

_MAX_DIGITS = 18

_LAST_S = 0.3
"""Time from the last poll to the end of the stream, in seconds, to allow for the response."""

_STALE_S = 2.5
"""Maximum age of the last sample at the end of a stream, in seconds."""

_SAME_S = 0.5
"""Maximum difference between the starts calculated from two samples of a record, in seconds.

If the starts differ by more, the server has started a new record. The starts calculated for the
same record differ because of the response times.
"""

Client = tuple[str, str]
"""A connection: the ID of the server's process, and the number of the connection in it."""


@dataclass(frozen=True)
class StatPage:
    """The statistics page of an RTMP server, with the CA and the client certificate for TLS."""

    url: str
    ca_file: Path
    shown: ClientCertificate | None = None


class StatSample(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of a stream in one response of the statistics page.

    `age_s` is the age of the server's record of the stream, which exists until the last connection
    of the stream ends. `bytes_in` is the number of bytes of audio and video since the start of the
    record. `dropped` is the number of messages for each connection that the server did not send.
    `publishers` are the connections that publish the stream.
    """

    age_s: float
    bytes_in: int
    dropped: dict[Client, int]
    publishers: frozenset[Client]


class ServerMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a stream at the server, as in the live part of a measurement."""

    server_bytes_in: int | Unavailable
    server_bitrate_mean_kbps: float | Unavailable
    server_dropped: int | Unavailable
    server_publishers: int | Unavailable


def parse_stat_page(page: bytes, application: str, stream: str) -> StatSample | None:
    """Return the counters of a stream from a statistics page.

    Args:
        page: The XML of the page.
        application: The name of the RTMP application.
        stream: The name of the stream in the application.

    Returns:
        The counters, or None if the page does not list the stream.

    Raises:
        ValueError: The page is not a statistics page.
    """
    try:
        root = ElementTree.fromstring(page)
    except ElementTree.ParseError as error:
        raise ValueError(f"the page is not XML: {error}") from error
    if root.tag != "rtmp":
        raise ValueError(f"the page is not a statistics page of the RTMP module, but <{root.tag}>")
    process = root.findtext("pid", "")
    for application_node in root.iterfind("server/application"):
        if application_node.findtext("name") != application:
            continue
        for stream_node in application_node.iterfind("live/stream"):
            if stream_node.findtext("name") != stream:
                continue
            clients = [
                ((process, node.findtext("id", "")), node)
                for node in stream_node.iterfind("client")
            ]
            return StatSample(
                age_s=_count(stream_node.findtext("time", "")) / 1000,
                bytes_in=_count(stream_node.findtext("bytes_in", "")),
                dropped={client: _count(node.findtext("dropped", "")) for client, node in clients},
                publishers=frozenset(
                    client for client, node in clients if node.find("publishing") is not None
                ),
            )
    return None


def _count(text: str) -> int:
    """Return a count. Raises ValueError if the text is not one or is too long."""
    if not (text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise ValueError(f"the page contains {text[:40]!r} instead of a count")
    return int(text)


class StatSummary:
    """Summary of the samples of a stream.

    If all connections of the stream break, the server starts a new record with new counters. The
    summary adds the counters of all records.
    """

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []
        self._record: tuple[float, int] | None = None
        self._bytes = 0
        self._dropped: dict[Client, int] = {}
        self._publishers: set[Client] = set()

    def add(self, at_s: float, sample: StatSample) -> None:
        """Add a sample that was taken at `at_s`, in seconds on any clock.

        Raises ValueError if the stream had more connections than `MAX_CLIENTS`.
        """
        if len(self._dropped.keys() | sample.dropped.keys()) > MAX_CLIENTS:
            raise ValueError(f"the stream has more than {MAX_CLIENTS} connections, the limit")
        start_s, counted_bytes = at_s - sample.age_s, 0
        if self._record is not None and abs(start_s - self._record[0]) < _SAME_S:
            counted_bytes = min(self._record[1], sample.bytes_in)
        self._record = start_s, sample.bytes_in
        self._bytes += sample.bytes_in - counted_bytes
        if self._bytes:
            self._samples.append((at_s, self._bytes))
        # The count of a connection never decreases, so the latest one is its total.
        self._dropped |= sample.dropped
        self._publishers |= sample.publishers

    def summarize(self, until_s: float) -> ServerMeasurement:
        """Return the figures of a stream that ended at `until_s`, or why they are unavailable.

        The mean bit rate is computed from the first sample with bytes to the last sample.
        """
        if not self._samples:
            return _none("the RTMP server's statistics page never listed any bytes of the stream")
        (first_s, first_bytes), (last_s, last_bytes) = self._samples[0], self._samples[-1]
        if until_s - last_s > _STALE_S:
            return _none(f"the stream was last seen {until_s - last_s:.1f} s before its end")
        return ServerMeasurement(
            server_bytes_in=last_bytes,
            server_bitrate_mean_kbps=(
                (last_bytes - first_bytes) * 8 / 1000 / (last_s - first_s)
                if last_s - first_s >= _PERIOD_S / 2
                else Unavailable(
                    reason="the stream was sampled only once, which is too little for a bit rate"
                )
            ),
            server_dropped=sum(self._dropped.values()),
            server_publishers=len(self._publishers),
        )


class ServerWatch:
    """Context manager that polls the statistics page once a second, until shortly before the end.

    The page is polled in a separate thread, so that reading the pipes of the stream's processes is
    not delayed.
    """

    def __init__(
        self,
        page: StatPage | None,
        stream_url: str,
        duration_s: float,
        loops: LoopRegistry | None = None,
    ) -> None:
        """Create a watch of a stream that starts now.

        Args:
            page: The statistics page, or None if the server has none.
            stream_url: The URL that the stream is sent to.
            duration_s: The duration of the stream, in seconds.
            loops: The registry of the agent's loops, if the watch belongs to one.
        """
        self._page = page
        _, _, path = stream_url.removeprefix("rtmp://").partition("/")
        self._application, _, self._stream = path.partition("/")
        self._until_s = time.monotonic() + duration_s
        self._stopped = threading.Event()
        self._summary = StatSummary()
        self._failure = ""
        self._http: httpx.Client | None = None
        self._loop = ThreadLoop(
            (loops or LoopRegistry()).add("rtmp_stat", stale_after_s=_STALE_AFTER_S),
            self._poll,
            # The step waits itself, because the last poll has to be shortly before the end.
            Pacing(interval_s=0.0, retry_pause_s=_PERIOD_S, retry_pause_max_s=_PERIOD_S),
            stopped=self._stopped,
            expected=(OSError, httpx.HTTPError, httpx.InvalidURL, ValueError),
        )

    def __enter__(self) -> Self:
        """Start polling."""
        if self._page is not None:
            self._loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop polling; wait only a few seconds for a pending request."""
        self._loop.stop(2 * _TIMEOUT_S)
        if self._http is not None:
            self._http.close()

    def summarize(self) -> ServerMeasurement:
        """Return the figures of the stream at the server; call this after the stream has ended."""
        if self._page is None:
            return _none("no statistics page of the RTMP server is configured (rtmp_stat_url)")
        found = self._summary.summarize(self._until_s)
        if isinstance(found.server_bytes_in, Unavailable) and self._failure:
            return _none(f"{self._page.url} was not read: {self._failure}")
        return found

    def _poll(self) -> AfterPass:
        """Wait until the next poll is due, and read the page."""
        page, pause_s = self._page, self._pause_s()
        if page is None or pause_s is None or self._stopped.wait(pause_s):
            return AfterPass.END
        try:
            self._sample(page)
        except Exception as error:
            self._failure = str(error) or type(error).__name__
            raise
        self._failure = ""
        return AfterPass.REPEAT

    def _pause_s(self) -> float | None:
        """Return the time until the next poll, or None after the last one."""
        left_s = self._until_s - _LAST_S - time.monotonic()
        return left_s % _PERIOD_S if left_s > 0 else None

    def _sample(self, page: StatPage) -> None:
        if self._http is None:
            context = client_context(page.ca_file, page.shown)
            self._http = httpx.Client(verify=context, timeout=_TIMEOUT_S)
        requested_s = time.monotonic()
        content = _read(self._http, page.url, requested_s)
        sample = parse_stat_page(content, self._application, self._stream)
        if sample is not None:
            self._summary.add((requested_s + time.monotonic()) / 2, sample)


def _read(http: httpx.Client, url: str, requested_s: float) -> bytes:
    """Return the page. Raises ValueError for an error status, a large page or a slow response."""
    page = bytearray()
    with http.stream("GET", url) as response:
        if not response.is_success:
            raise ValueError(f"the response was {response.status_code} {response.reason_phrase}")
        for piece in response.iter_bytes():
            page += piece
            if len(page) > MAX_PAGE_BYTES:
                raise ValueError(f"the page is longer than {MAX_PAGE_BYTES} bytes")
            if time.monotonic() - requested_s > _TIMEOUT_S:
                raise ValueError(f"the page was not complete after {_TIMEOUT_S:g} s")
    return bytes(page)


def _none(reason: str) -> ServerMeasurement:
    unavailable = Unavailable(reason=reason[:1024])
    return ServerMeasurement(
        server_bytes_in=unavailable,
        server_bitrate_mean_kbps=unavailable,
        server_dropped=unavailable,
        server_publishers=unavailable,
    )
