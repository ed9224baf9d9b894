"""Download of a file from a URL that a suite names.

The name is resolved once, its addresses are checked, and the connection uses an address that was
checked. A resolver that gives another answer a moment later therefore changes nothing. Redirects
are not followed, because suites name the exact URL.
"""

import http.client
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

import httpx
import msgspec
from ffrtmp_shared.failure_classes import FailureClass

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.inputs.address_policy import AddressPolicy, RefusedAddressError

_PIECE_BYTES = 65_536
_SLACK_S = 1.0
"""Time after the end of a timer at which a read ends on its own, in seconds."""

_PLAIN_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]+)?")
_PORTS = {"http": 80, "https": 443}


class DownloadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a download.

    Attributes:
        deadline_s: The maximum duration of the whole download, in seconds.
        min_bytes_per_s: The minimum rate in each period of `rate_window_s` seconds.
        rate_window_s: The period over which the rate is computed, in seconds.
        reply_s: The maximum time for each of these: the resolution of the name, the connection,
            and the reply up to the end of its header, in seconds.
    """

    deadline_s: float = 14_400.0
    min_bytes_per_s: int = 10_000
    rate_window_s: float = 30.0
    reply_s: float = 30.0


class UrlAccess(msgspec.Struct, frozen=True, kw_only=True):
    """The way in which a worker uses the URLs of suites.

    `policy` determines the addresses to which connections are allowed, and `tls` returns the
    settings for the verification of certificates.
    """

    policy: AddressPolicy = AddressPolicy()
    limits: DownloadLimits = DownloadLimits()
    tls: Callable[[], ssl.SSLContext] = httpx.create_ssl_context


def download_url(url: str, access: UrlAccess) -> Iterator[bytes]:
    """Yield the content at `url`.

    Args:
        url: The URL, with the scheme http or https.
        access: The allowed addresses and the limits.

    Raises:
        AttemptFailedError: The URL is refused, or the content cannot be read completely. The
            message contains nothing of the content.
    """
    shown = shown_url(url)
    try:
        yield from _Download(url, access).read()
    except RefusedAddressError as error:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS, f"{shown} is refused: {error}"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise AttemptFailedError(
            FailureClass.NETWORK, f"the certificate of {shown} is not valid: {error.verify_message}"
        ) from error
    except OSError as error:
        reason = "it did not answer in time" if isinstance(error, TimeoutError) else error.strerror
        raise AttemptFailedError(
            FailureClass.NETWORK, f"{shown} could not be read: {reason or 'the connection failed'}"
        ) from error
    except (http.client.HTTPException, ValueError) as error:
        # The error may quote what the server sent, which need not be meant for the suite.
        raise AttemptFailedError(
            FailureClass.NETWORK, f"{shown} could not be read: the reply is not valid HTTP"
        ) from error


def shown_url(url: str) -> str:
    """Return a URL for messages and logs, without the parts that may contain a secret.

    These are a user and a password, and the options, which often contain a signature.
    """
    place, mark, _ = url.partition("?")
    scheme, _, rest = place.rpartition("://")
    host, slash, path = rest.rpartition("@")[2].partition("/")
    if not _PLAIN_HOST.fullmatch(host):
        host = "..."
    return f"{scheme}://{host}{slash}{path}{'?...' if mark else ''}"


class _Download:
    """One download, with a timer that ends it at its deadline."""

    def __init__(self, url: str, access: UrlAccess) -> None:
        self._url = url
        self._shown = shown_url(url)
        self._policy, self._limits, self._tls = access.policy, access.limits, access.tls
        self._end_s = time.monotonic() + access.limits.deadline_s
        self._expired = ""

    def read(self) -> Iterator[bytes]:
        parts, host, port = self._parse()
        with ExitStack() as stack:
            plain = stack.enter_context(self._connect(host, port))
            plain.settimeout(max(self._limits.rate_window_s, self._limits.reply_s) + _SLACK_S)
            # The TLS object takes the socket over, so the timers use a second one of the same
            # connection.
            ender = stack.enter_context(plain.dup())
            with self._timer(ender, self._limits.reply_s, "the header was not complete after"):
                opened = self._secure(parts, plain, host, stack)
                response = stack.enter_context(closing(_request(opened, parts)))
            left_s = max(self._end_s - time.monotonic(), 0.0)
            with self._timer(ender, left_s, "the download was not complete after"):
                yield from self._body(response)

    def _parse(self) -> tuple[SplitResult, str, int]:
        try:
            parts = urlsplit(self._url)
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError as error:
            raise self._invalid("it cannot be parsed") from error
        if port is None or not parts.hostname:
            raise self._invalid("it needs the scheme http or https and a host")
        if "@" in parts.netloc:
            raise self._invalid("it must not contain a user or a password")
        return parts, parts.hostname, port

    def _invalid(self, reason: str) -> AttemptFailedError:
        return AttemptFailedError(
            FailureClass.INVALID_SETTINGS, f"the URL {self._shown} cannot be used: {reason}"
        )

    def _connect(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of the host that accepts the connection."""
        addresses = self._policy.check(_resolve(host, port, self._limits.reply_s))
        deadline_s = time.monotonic() + self._limits.reply_s
        for place, address in enumerate(addresses):
            left_s = max(deadline_s - time.monotonic(), 0.1)
            try:
                return _connect(address, port, left_s / (len(addresses) - place))
            except OSError as error:
                if place == len(addresses) - 1:
                    reason = error.strerror or f"no answer within {self._limits.reply_s:g} s"
                    raise AttemptFailedError(
                        FailureClass.NETWORK, f"{self._shown} could not be reached: {reason}"
                    ) from error
        raise RefusedAddressError("the name has no address")

    def _secure(
        self, parts: SplitResult, plain: socket.socket, host: str, stack: ExitStack
    ) -> socket.socket:
        if parts.scheme != "https":
            return plain
        # The certificate has to be valid for the name in the URL, not for the address.
        return stack.enter_context(self._tls().wrap_socket(plain, server_hostname=host))

    def _body(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        if response.status == HTTPStatus.NOT_FOUND:
            raise AttemptFailedError(
                FailureClass.SOURCE_UNREADABLE, f"{self._shown} does not exist (404)"
            )
        if response.status != HTTPStatus.OK:
            raise AttemptFailedError(
                FailureClass.NETWORK, f"{self._shown} returned the status {response.status}"
            )
        limits = self._limits
        window_end_s, window_bytes = time.monotonic() + limits.rate_window_s, 0
        while piece := response.read1(_PIECE_BYTES):
            self._raise_if_expired()
            yield piece
            window_bytes += len(piece)
            now_s = time.monotonic()
            if now_s < window_end_s:
                continue
            if window_bytes < limits.min_bytes_per_s * limits.rate_window_s:
                raise AttemptFailedError(
                    FailureClass.NETWORK,
                    f"{self._shown} sends fewer than {limits.min_bytes_per_s} bytes per second "
                    "(worker_source_min_bytes_per_s)",
                )
            window_end_s, window_bytes = now_s + limits.rate_window_s, 0
        self._raise_if_expired()
        if response.length:
            raise AttemptFailedError(
                FailureClass.NETWORK,
                f"{self._shown} ended the connection {response.length} bytes before the end",
            )

    @contextmanager
    def _timer(self, ender: socket.socket, after_s: float, message: str) -> Iterator[None]:
        """End the connection if the block takes longer than `after_s` seconds.

        The timeout of a socket applies to each read, so that a server that sends one byte every
        second would never be abandoned.
        """

        def expire() -> None:
            self._expired = f"{message} {after_s:g} s"
            try:
                ender.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The connection ended at the same time.
                return

        timer = threading.Timer(after_s, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError):
            # The error is only the consequence of the end.
            self._raise_if_expired()
            raise
        finally:
            timer.cancel()
        self._raise_if_expired()

    def _raise_if_expired(self) -> None:
        if self._expired:
            raise AttemptFailedError(
                FailureClass.NETWORK,
                f"{self._shown} could not be read: {self._expired} (worker_source_deadline_s "
                "limits the whole download)",
            )


def _connect(address: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to an address without resolving anything. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(timeout_s)
        opened.connect((address, port))
    except OSError:
        opened.close()
        raise
    return opened


def _request(opened: socket.socket, parts: SplitResult) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(parts.netloc)
    connection.sock = opened
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Content that is compressed for the transfer would have another digest.
    connection.request(
        "GET",
        target,
        headers={"Host": parts.netloc, "Accept-Encoding": "identity", "Connection": "close"},
    )
    return connection.getresponse()


def _resolve(host: str, port: int, timeout_s: float) -> list[str]:
    """Return the addresses of a host. Raises OSError if there are none, or not in time."""
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def run() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(0, "invalid name"))
        else:
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))

    # The resolver's own timeout depends on the host's settings and may be minutes.
    threading.Thread(target=run, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty as error:
        raise OSError(0, f"the name was not resolved within {timeout_s:g} s") from error
    if isinstance(answer, OSError):
        raise answer
    return answer
