"""The master's HTTP API from Python's library alone: TLS, tokens, problems, pages, patience."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

T = TypeVar("T")
Json = dict[str, Any]

_PIECE_BYTES = 65536
_LONGEST_PAUSE_S = 5.0


class ApiError(Exception):
    """What was asked for failed; the message is for the operator.

    `returned` is what the module returns beside the message.
    """

    def __init__(self, message: str, **returned: Any) -> None:
        """Keep what goes with the message."""
        super().__init__(message)
        self.returned = returned

    @property
    def is_temporary(self) -> bool:
        """True when another attempt may succeed."""
        return False


class SettingsError(ApiError):
    """The call cannot work as it is set up: trying again would not help."""


class UnreachableError(ApiError):
    """No answer came. The master may be restarting: trying again may help."""

    @property
    def is_temporary(self) -> bool:
        """True: another attempt may always succeed."""
        return True


class RefusedError(ApiError):
    """The master answered with a problem document."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the status beside the message."""
        super().__init__(message)
        self.status = status

    @property
    def is_temporary(self) -> bool:
        """Whether the master may answer otherwise later (5xx, 429)."""
        return (
            self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            or self.status == HTTPStatus.TOO_MANY_REQUESTS
        )


class CorruptError(ApiError):
    """What was received is not what was announced."""


class Master:
    """Calls to one master, one after another.

    Every call raises SettingsError, UnreachableError or RefusedError.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca_file: str,
        timeout_s: float,
        *,
        client_cert: str | None = None,
        client_key: str | None = None,
    ) -> None:
        """Prepare calls to the master at `url` that trust the CA in `ca_file` alone.

        `timeout_s` is how long each step of a request may keep silent. A master that asks for a
        certificate is shown `client_cert`; its key stands in `client_key` or in the same file.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise SettingsError(f"master_url must look like https://HOST:8080, not {url!r}")
        self._url = url
        self._host = parts.hostname
        self._port = parts.port or 443
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._context = _context(ca_file)
        self._shows_certificate = client_cert is not None
        if client_cert is not None:
            _show(self._context, client_cert, client_key)
        elif client_key is not None:
            raise SettingsError("client_key needs client_cert, the certificate that it is of")
        self._kept: http.client.HTTPSConnection | None = None

    # --- calls ---

    def get(self, path: str, params: dict[str, str] | None = None) -> Any:
        """Return the JSON document at `path`."""
        return self._json("GET", path, params=params)

    def send(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send a JSON document (or nothing) and return the answer's, None when it has none."""
        return self._json(method, path, body=body, headers=headers)

    def pages(self, path: str, params: dict[str, str] | None = None) -> Iterator[Json]:
        """Give the items of a list that comes in pages."""
        cursor = ""
        while True:
            page = self.get(path, {**(params or {}), **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            cursor = page["next_cursor"]

    def exists(self, path: str) -> bool:
        """Say whether there is something at `path`."""
        try:
            self._request("HEAD", path).read()
        except RefusedError as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def upload(self, path: str, file: Path) -> None:
        """Put a file's bytes at `path`."""
        with file.open("rb") as content:
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(file.stat().st_size),
            }
            self._request("PUT", path, content=content, headers=headers).read()

    def download(self, path: str, target: IO[bytes], sha256: str, size_bytes: int) -> None:
        """Write what is at `path` to `target`.

        Raises CorruptError when its digest is not `sha256` or it has more than `size_bytes`.
        """
        answer = self._request("GET", path)
        digest = hashlib.sha256()
        received = 0
        try:
            while piece := answer.read(_PIECE_BYTES):
                received += len(piece)
                if received > size_bytes:
                    self._forget()
                    raise CorruptError(f"{path}: more came than the {size_bytes} bytes announced")
                digest.update(piece)
                target.write(piece)
        except (OSError, http.client.HTTPException) as error:
            self._forget()
            raise self._unreachable(error) from error
        if digest.hexdigest() != sha256:
            raise CorruptError(
                f"{path}: the SHA-256 of what came is {digest.hexdigest()}, the master announced "
                f"{sha256}; the file on the master is damaged"
            )

    def close(self) -> None:
        """Close the connection that is kept open."""
        self._forget()

    # --- how ---

    def _json(self, method: str, path: str, **how: Any) -> Any:
        answer = self._request(method, path, **how)
        try:
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._forget()
            raise self._unreachable(error) from error
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise SettingsError(
                f"{self._url}{path} did not answer with JSON: is master_url the farm's master?"
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: Json | None = None,
        content: IO[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        target = self._prefix + quote(path) + (f"?{urlencode(params)}" if params else "")
        all_headers = {**self._headers, **(headers or {})}
        payload: bytes | IO[bytes] | None = content
        if body is not None:
            payload = json.dumps(body).encode()
            all_headers["Content-Type"] = "application/json"
        # A kept connection may have been closed by the other side in the meantime. Only calls
        # that change nothing use one, because only they can be repeated without asking.
        if method not in ("GET", "HEAD"):
            self._forget()
        was_kept = self._kept is not None
        try:
            answer = self._exchange(method, target, payload, all_headers)
        except UnreachableError:
            if not was_kept:
                raise
            answer = self._exchange(method, target, payload, all_headers)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            text = answer.read()
            self._forget()
            raise RefusedError(answer.status, problem_message(method, path, answer.status, text))
        return answer

    def _exchange(
        self, method: str, target: str, payload: Any, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        connection = self._kept or http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._context
        )
        self._kept = connection
        try:
            connection.request(method, target, body=payload, headers=headers)
            return connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            self._forget()
            raise SettingsError(self._certificate_refused(error)) from error
        except (OSError, http.client.HTTPException) as error:
            self._forget()
            raise self._unreachable(error) from error

    def _forget(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _unreachable(self, error: Exception) -> UnreachableError:
        reason = str(error) or type(error).__name__
        if isinstance(error, http.client.RemoteDisconnected) and not self._shows_certificate:
            # Beside a master that stops, one that misses a certificate hangs up like this.
            reason += "; if it wants a client's certificate, set client_cert and client_key"
        return UnreachableError(f"the master at {self._url} did not answer: {reason}")

    def _certificate_refused(self, error: ssl.SSLCertVerificationError) -> str:
        advice = (
            f"Set ca_file (now {self._ca_file}) to the certificate of the CA that signed the "
            "master's, or give the master a certificate of the farm's CA."
        )
        if "mismatch" in error.verify_message or "not valid for" in error.verify_message:
            advice = "Set master_url to a name or address that the certificate carries."
        elif "expired" in error.verify_message:
            advice = "Renew the master's certificate, and check this host's clock."
        return f"the certificate of {self._url} is refused: {error.verify_message}. {advice}"


def _context(ca_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"ca_file {ca_file} cannot be read: {error}") from error
    return context


def _show(context: ssl.SSLContext, client_cert: str, client_key: str | None) -> None:
    try:
        context.load_cert_chain(client_cert, client_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"client_cert {client_cert} with client_key {client_key} cannot be used: {error}"
        ) from error


def problem_message(method: str, path: str, status: int, text: bytes) -> str:
    """Make a message of an error's body: the problem's detail, then each of its errors."""
    try:
        problem = json.loads(text)
        lines = [problem["detail"] or problem["title"], *problem.get("errors", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = http.client.responses.get(status, "unknown status")
        return f"{method} {path}: the master answered {status} {reason}"
    return "\n".join(str(line) for line in lines)


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Deadline:
    """A moment after which nobody waits any longer."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set the moment `seconds` from now."""
        self._clock = clock
        self._sleep = sleep
        self._at = clock() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the moment has come."""
        return self._clock() >= self._at

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the moment."""
        self._sleep(max(0.0, min(seconds, self._at - self._clock())))


def persist(call: Callable[[], T], deadline: Deadline) -> T:
    """Make a call again and again while the master is away, until the deadline.

    The last UnreachableError or temporary RefusedError is raised when the time is over.
    """
    pause_s = 0.5
    while True:
        try:
            return call()
        except UnreachableError:
            if deadline.is_over:
                raise
        except RefusedError as refused:
            if deadline.is_over or not refused.is_temporary:
                raise
        deadline.pause(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
