"""What the RTMP server counts of a stream, from the statistics page of Nginx's RTMP module."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import msgspec
from defusedxml import ElementTree
from ffrtmp_shared.credentials import ClientCertificate, client_context
from ffrtmp_shared.measurement import Unavailable

_PERIOD_S = 1.0
_TIMEOUT_S = 2.0
_MAX_BYTES = 8_000_000

_LAST_S = 0.3
"""So long before its end a stream is looked at for the last time: an answer takes a while."""

_STALE_S = 2.5
"""What was seen longer than this before the end of a stream says too little of its end."""

_SAME_S = 0.5
"""Two looks at one record of a stream agree on when it began, but for the time of an answer."""

Client = tuple[str, str]
"""The server's process, and its number for the connection."""


@dataclass(frozen=True)
class StatPage:
    """Where an RTMP server says what it counts, whom it is believed, and what it is shown."""

    url: str
    ca_file: Path
    shown: ClientCertificate | None = None


class StatSample(msgspec.Struct, frozen=True, kw_only=True):
    """What the page said of a stream once.

    The record of the stream is `age_s` old; it ends with the stream's last connection.
    `bytes_in` are those of its audio and video since then. `dropped` are messages that the server
    did not send to a connection, `publishers` the connections that publish.
    """

    age_s: float
    bytes_in: int
    dropped: dict[Client, int]
    publishers: frozenset[Client]


class ServerMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """The server's side of a stream, as in the live part of a measurement."""

    server_bytes_in: int | Unavailable
    server_bitrate_mean_kbps: float | Unavailable
    server_dropped: int | Unavailable
    server_publishers: int | Unavailable


def parse_stat_page(page: bytes, application: str, stream: str) -> StatSample | None:
    """Return what a page says of a stream of an application; None where it does not name it.

    Raises ValueError when the page is no such page.
    """
    try:
        root = ElementTree.fromstring(page)
    except ElementTree.ParseError as error:
        raise ValueError(f"the page is no XML: {error}") from error
    if root.tag != "rtmp":
        raise ValueError(f"the page is no statistics of the RTMP module, but <{root.tag}>")
    process = root.findtext("pid", "")
    for one in root.iterfind("server/application"):
        if one.findtext("name") != application:
            continue
        for found in one.iterfind("live/stream"):
            if found.findtext("name") != stream:
                continue
            clients = [(process, c.findtext("id", "")) for c in found.iterfind("client")]
            each = list(zip(clients, found.iterfind("client"), strict=True))
            return StatSample(
                age_s=int(found.findtext("time", "")) / 1000,
                bytes_in=int(found.findtext("bytes_in", "")),
                dropped={client: int(c.findtext("dropped", "")) for client, c in each},
                publishers=frozenset(
                    client for client, c in each if c.find("publishing") is not None
                ),
            )
    return None


class StatSummary:
    """Adds up the looks at a stream, whose record begins anew when all its connections break."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, int]] = []
        self._record: tuple[float, int] | None = None
        self._bytes = 0
        self._dropped: dict[Client, int] = {}
        self._publishers: set[Client] = set()

    def add(self, at_s: float, look: StatSample) -> None:
        """Take what was seen at `at_s`, in seconds of any clock."""
        began_s, earlier = at_s - look.age_s, 0
        if self._record is not None and abs(began_s - self._record[0]) < _SAME_S:
            earlier = min(self._record[1], look.bytes_in)
        self._record = began_s, look.bytes_in
        self._bytes += look.bytes_in - earlier
        if self._bytes:
            self._looks.append((at_s, self._bytes))
        # A connection's count only grows, so the last one is all of it.
        self._dropped |= look.dropped
        self._publishers |= look.publishers

    def summarize(self, until_s: float) -> ServerMeasurement:
        """Return the figures of a stream that ended at `until_s`, or why there are none.

        The mean bit rate is that from the first look that saw bytes to the last.
        """
        if not self._looks:
            return _none("the RTMP server's statistics never had a byte of the stream")
        (first_s, first_bytes), (last_s, last_bytes) = self._looks[0], self._looks[-1]
        if until_s - last_s > _STALE_S:
            return _none(f"the stream was last seen {until_s - last_s:.1f} s before its end")
        return ServerMeasurement(
            server_bytes_in=last_bytes,
            server_bitrate_mean_kbps=(
                (last_bytes - first_bytes) * 8 / 1000 / (last_s - first_s)
                if last_s - first_s >= _PERIOD_S / 2
                else Unavailable(reason="the stream was seen once, which makes no bit rate")
            ),
            server_dropped=sum(self._dropped.values()),
            server_publishers=len(self._publishers),
        )


class ServerWatch:
    """Looks at a stream on the server's page once a second, until shortly before its end.

    It has a thread of its own: what the stream's processes say is heard meanwhile.
    """

    def __init__(self, page: StatPage | None, stream_url: str, duration_s: float) -> None:
        """Watch the stream that is sent to `stream_url` for `duration_s` from now on."""
        self._page = page
        _, _, path = stream_url.removeprefix("rtmp://").partition("/")
        self._application, _, self._stream = path.partition("/")
        self._until_s = time.monotonic() + duration_s
        self._is_over = threading.Event()
        self._sum = StatSummary()
        self._failure = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        if self._page is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Look no more; a page that is waited for is given up soon."""
        self._is_over.set()
        if self._page is not None:
            self._thread.join(2 * _TIMEOUT_S)

    def summarize(self) -> ServerMeasurement:
        """Return what was seen, after the end."""
        if self._page is None:
            return _none("this node knows no statistics page of the RTMP server (rtmp_stat_url)")
        found = self._sum.summarize(self._until_s)
        if isinstance(found.server_bytes_in, Unavailable) and self._failure:
            return _none(f"{self._page.url} was not read: {self._failure}")
        return found

    def _run(self) -> None:
        page = self._page
        if page is None:
            return
        try:
            context = client_context(page.ca_file, page.shown)
        except OSError as error:
            self._failure = str(error)
            return
        with httpx.Client(verify=context, timeout=_TIMEOUT_S) as http:
            while not self._is_over.wait(self._pause_s()):
                self._sample(http, page)

    def _pause_s(self) -> float | None:
        """Return the time until the next look, so that the last one is shortly before the end."""
        left_s = self._until_s - _LAST_S - time.monotonic()
        return left_s % _PERIOD_S if left_s > 0 else None

    def _sample(self, http: httpx.Client, page: StatPage) -> None:
        asked_s = time.monotonic()
        try:
            look = parse_stat_page(_read(http, page.url, asked_s), self._application, self._stream)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self._failure = str(error) or type(error).__name__
            return
        self._failure = ""
        if look is not None:
            self._sum.add((asked_s + time.monotonic()) / 2, look)


def _read(http: httpx.Client, url: str, asked_s: float) -> bytes:
    """Return the page; raises ValueError for an answer that is none, too large or too slow."""
    page = bytearray()
    with http.stream("GET", url) as answer:
        if not answer.is_success:
            raise ValueError(f"it answered with {answer.status_code} {answer.reason_phrase}")
        for piece in answer.iter_bytes():
            page += piece
            if len(page) > _MAX_BYTES:
                raise ValueError(f"the page is longer than {_MAX_BYTES} bytes")
            if time.monotonic() - asked_s > _TIMEOUT_S:
                raise ValueError(f"the page was not whole after {_TIMEOUT_S:g} s")
    return bytes(page)


def _none(reason: str) -> ServerMeasurement:
    unknown = Unavailable(reason=reason[:1024])
    return ServerMeasurement(
        server_bytes_in=unknown,
        server_bitrate_mean_kbps=unknown,
        server_dropped=unknown,
        server_publishers=unknown,
    )
