"""Client of the master's HTTP API that needs only Python's standard library."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any
from urllib.parse import quote, urlencode

from . import options, tls
from .deadline import Deadline
from .errors import (
    CorruptError,
    RefusedError,
    SettingsError,
    UnreachableError,
)

Json = dict[str, Any]

_CUTS_MAX = 3
_PIECE_BYTES = 65536
_DOCUMENT_MAX_BYTES = 256 * 1024 * 1024
_PROBLEM_MAX_BYTES = 256 * 1024
_DOCUMENT_TIMEOUT_S = 600.0


class Master:
    """A client of one master. It is not thread-safe.

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
        shown: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Create a client. The connection is opened by the first request.

        Args:
            url: URL of the master.
            token: Token that authenticates every request.
            ca_file: Certificate of the only CA that the client trusts.
            timeout_s: Timeout of each network operation, in seconds.
            client_cert: Certificate to present if the master requests one.
            client_key: Private key of `client_cert`, if it is not in the same file.
            shown: Names in the messages, for settings that the operator sets by another name than
                that of the modules' option.

        Raises:
            SettingsError: The URL is invalid, or a file cannot be used.
        """
        given = {"master_url": url, "token": token, "timeout_s": timeout_s}
        parts = options.split_master_url(url)
        problems = list(options.problems(given, shown))
        if parts is None or problems:
            raise SettingsError(". ".join(problems))
        self._shown = shown
        self._url = url
        self._host = parts.hostname or ""
        self._port = parts.port or 443
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._context = tls.create_context(ca_file, client_cert, client_key, shown)
        self._has_client_certificate = client_cert is not None
        self._connection: http.client.HTTPSConnection | None = None

    def _name(self, option: str) -> str:
        """Return the name by which the operator sets an option."""
        return self._shown.get(option, option)

    # --- calls ---

    def get(self, path: str, params: dict[str, str] | None = None) -> Any:
        """Return the JSON document at `path`."""
        return self._json("GET", path, params=params)

    def text(self, path: str, params: dict[str, str], max_bytes: int, timeout_s: float) -> str:
        """Return the text at `path`, such as an export.

        Args:
            path: Path of the URL.
            params: Query parameters.
            max_bytes: Maximum size of the text, in bytes.
            timeout_s: Maximum duration of the response, in seconds.

        Raises:
            CorruptError: The text is too large, takes too long, or is not valid UTF-8.
        """
        answer = self._request("GET", path, params=params)
        content = self._document(path, answer, max_bytes, timeout_s)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise CorruptError(f"{path}: the master returned text that is not UTF-8") from error

    def send(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send a request.

        Args:
            method: HTTP method.
            path: Path of the URL.
            body: JSON document to send, if any.
            headers: Additional headers.

        Returns:
            The JSON document of the response, or None if it is empty.
        """
        return self._json(method, path, body=body, headers=headers)

    def pages(self, path: str, params: dict[str, str] | None = None) -> Iterator[Json]:
        """Yield the items of all pages of a list."""
        cursor = ""
        while True:
            page = self.get(path, {**(params or {}), **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            if page["next_cursor"] == cursor:
                raise CorruptError(f"{path}: the master returned the same page again")
            cursor = page["next_cursor"]

    def exists(self, path: str) -> bool:
        """Return whether `path` exists on the master."""
        try:
            self.head(path)
        except RefusedError as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def head(self, path: str) -> None:
        """Raise RefusedError if `path` does not exist."""
        self._request("HEAD", path).read()

    def upload(self, path: str, file: Path) -> None:
        """Upload a file to `path`."""
        with file.open("rb") as content:
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(file.stat().st_size),
            }
            self._request("PUT", path, content=content, headers=headers).read()

    def stream(self, path: str, params: dict[str, str] | None = None) -> Iterator[bytes]:
        """Yield the parts of the body at `path` as they arrive, such as those of a log.

        A part must arrive within the timeout of the client, or UnreachableError is raised. The
        caller limits the size.
        """
        answer = self._request("GET", path, params=params)
        try:
            while piece := self._read_available(answer):
                yield piece
        finally:
            # A body that was not read to its end cannot be followed by another response.
            self._disconnect()

    def download(self, path: str, target: IO[bytes], sha256: str, size_bytes: int) -> None:
        """Download `path` to `target`. If the connection is cut, the rest is requested.

        Args:
            path: Path of the URL.
            target: File to write to, which must be seekable.
            sha256: Expected digest.
            size_bytes: Expected size, in bytes.

        Raises:
            CorruptError: The digest is not `sha256`, or more than `size_bytes` were received.
            UnreachableError: The connection was cut repeatedly.
        """
        digest = hashlib.sha256()
        received = farthest = cuts = 0
        while True:
            try:
                for piece, is_restart in self._pieces_from(path, received):
                    if is_restart:
                        digest, received = hashlib.sha256(), 0
                        target.seek(0)
                        target.truncate()
                    received += len(piece)
                    if received > size_bytes:
                        self._disconnect()
                        raise CorruptError(
                            f"{path}: received more than the {size_bytes} bytes reported by the "
                            "master"
                        )
                    digest.update(piece)
                    target.write(piece)
                break
            except UnreachableError as error:
                cuts = 0 if received > farthest else cuts + 1
                farthest = max(farthest, received)
                if received == 0 or cuts >= _CUTS_MAX:
                    raise UnreachableError(
                        f"{path}: the connection was cut after {received} of {size_bytes} bytes: "
                        f"{error}"
                    ) from error
        if digest.hexdigest() != sha256:
            raise CorruptError(
                f"{path}: the SHA-256 of the received file is {digest.hexdigest()}, but the master "
                f"reported {sha256}; the file on the master is damaged"
            )

    def _pieces_from(self, path: str, offset: int) -> Iterator[tuple[bytes, bool]]:
        """Yield the body at `path` from an offset, each piece with whether the body restarted.

        It restarts if the server does not support ranges.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._request("GET", path, headers=headers)
        is_restart = offset > 0 and answer.status != HTTPStatus.PARTIAL_CONTENT
        while piece := self._read(answer, _PIECE_BYTES):
            yield piece, is_restart
            is_restart = False

    def close(self) -> None:
        """Close the open connection, if there is one."""
        self._disconnect()

    # --- requests ---

    def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = self._request(method, path, **options)
        text = self._document(path, answer)
        if not text:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SettingsError(
                f"{self._url}{path} did not answer with JSON: is "
                f"{self._name('master_url')} the farm's master?"
            ) from error

    def _document(
        self,
        path: str,
        answer: http.client.HTTPResponse,
        max_bytes: int = _DOCUMENT_MAX_BYTES,
        timeout_s: float = _DOCUMENT_TIMEOUT_S,
    ) -> bytes:
        """Return the body of a response, whose size and duration are limited."""
        deadline = Deadline(timeout_s)
        pieces = []
        received = 0
        while piece := self._read(answer, _PIECE_BYTES):
            pieces.append(piece)
            received += len(piece)
            if received > max_bytes or deadline.is_over:
                self._disconnect()
                raise CorruptError(
                    f"{self._url}{path} returned more than {max_bytes} bytes, or its "
                    f"response took longer than {timeout_s:g} s: is {self._name('master_url')} the "
                    "farm's master?"
                )
        return b"".join(pieces)

    def _read(self, answer: http.client.HTTPResponse, size_bytes: int) -> bytes:
        """Return the next piece of a body, which is empty at its end."""
        try:
            piece = answer.read(size_bytes)
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            raise self._unreachable(error) from error
        if not piece and answer.length:
            self._disconnect()
            raise self._unreachable(http.client.IncompleteRead(piece, answer.length))
        return piece

    def _read_available(self, answer: http.client.HTTPResponse) -> bytes:
        """Return the part of a body that has arrived, which is empty at its end."""
        try:
            piece = answer.read1(_PIECE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            raise self._unreachable(error) from error
        if not piece and answer.length:
            raise self._unreachable(http.client.IncompleteRead(piece, answer.length))
        return piece

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
        # If the master has closed an idle connection in the meantime, a request that reuses the
        # connection fails and must be repeated. Only requests that change nothing can be repeated
        # safely, so all others use a new connection.
        if method not in ("GET", "HEAD"):
            self._disconnect()
        was_reused = self._connection is not None
        try:
            answer = self._exchange(method, target, payload, all_headers)
        except UnreachableError:
            if not was_reused:
                raise
            answer = self._exchange(method, target, payload, all_headers)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            text = self._read(answer, _PROBLEM_MAX_BYTES)
            self._disconnect()
            raise RefusedError(answer.status, problem_message(method, path, answer.status, text))
        return answer

    def _exchange(
        self, method: str, target: str, payload: Any, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        connection = self._connection or http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._context
        )
        self._connection = connection
        try:
            connection.request(method, target, body=payload, headers=headers)
            return connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            self._disconnect()
            reason = error.verify_message
            raise tls.rejection(self._url, self._ca_file, reason, self._shown) from error
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            raise self._unreachable(error) from error
        except ValueError:
            # The message of http.client contains the rejected header, which may be the token.
            self._disconnect()
            raise SettingsError(
                f"{method} {target[:80]} cannot be sent: a header or the host name contains a "
                "character that HTTP does not allow"
            ) from None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _unreachable(self, error: Exception) -> UnreachableError:
        reason = str(error) or type(error).__name__
        if isinstance(error, http.client.RemoteDisconnected) and not self._has_client_certificate:
            # The master also closes the connection like this if the client certificate is missing.
            reason += (
                "; if it requires a client certificate, set "
                f"{self._name('client_cert')} and {self._name('client_key')}"
            )
        return UnreachableError(f"the master at {self._url} did not answer: {reason}")


def problem_message(method: str, path: str, status: int, text: bytes) -> str:
    """Return a message for an error response: the detail of the problem, then its errors.

    Args:
        method: HTTP method of the request.
        path: Path of the request.
        status: HTTP status of the response.
        text: Body of the response.
    """
    try:
        problem = json.loads(text)
        lines = [problem["detail"] or problem["title"], *problem.get("errors", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = http.client.responses.get(status, "unknown status")
        return f"{method} {path}: the master answered {status} {reason}"
    return "\n".join(str(line) for line in lines)


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
