"""Queries of VictoriaMetrics over HTTP."""

import json
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

Fetch = Callable[[str], bytes]
"""Returns the body of the response to a GET request for a path with its query."""

_TIMEOUT_S = 30
_BODY_BYTES_MAX = 64 << 20
_SERIES_MAX = 500


class QueryError(Exception):
    """A query that the database did not answer, with the reason."""


@dataclass(frozen=True)
class Series:
    """A series: its labels, and pairs of a Unix time in seconds and a value."""

    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]


class Database:
    """A VictoriaMetrics, or another database with Prometheus' API for queries."""

    def __init__(self, fetch: Fetch) -> None:
        """Query the database with `fetch`."""
        self._fetch = fetch

    def at(self, expr: str, at_s: float) -> list[Series]:
        """Return the values of a query at a Unix time in seconds. Raises QueryError."""
        parameters = {"query": expr, "time": f"{at_s:.3f}"}
        return self._result("/api/v1/query", parameters, lambda item: [item["value"]])

    def between(self, expr: str, begin_s: float, end_s: float, step_s: float) -> list[Series]:
        """Return the values of a query in a period.

        Args:
            expr: The query.
            begin_s: The begin of the period, as a Unix time in seconds.
            end_s: The end of the period, as a Unix time in seconds.
            step_s: The time between two values in seconds.

        Raises:
            QueryError: The database did not answer, or its answer is not valid.
        """
        period = {"start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:.3f}"}
        parameters = {"query": expr, **period}
        return self._result("/api/v1/query_range", parameters, lambda item: item["values"])

    def _result(
        self,
        path: str,
        parameters: Mapping[str, str],
        values: Callable[[dict[str, Any]], list[list[Any]]],
    ) -> list[Series]:
        body = self._fetch(f"{path}?{urlencode(parameters)}")
        try:
            found = json.loads(body)["data"]["result"]
            return [_series(item, values(item)) for item in found[:_SERIES_MAX]]
        except (ValueError, KeyError, TypeError) as error:
            raise QueryError(f"the answer is not that of a database: {body[:200]!r}") from error


def _series(item: dict[str, Any], values: list[list[Any]]) -> Series:
    points = ((float(at_s), float(value)) for at_s, value in values)
    return Series(item["metric"], tuple(point for point in points if math.isfinite(point[1])))


def https_fetch(
    url: str,
    *,
    ca_file: Path | None = None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
    token_file: Path | None = None,
) -> Fetch:
    """Return a function that reads from a database.

    Args:
        url: The URL of the database, which may end with a path.
        ca_file: The CA certificates that verify it; None for those that the system trusts.
        certificate_file: The client certificate; None without one.
        key_file: The key of the client certificate.
        token_file: The file with the bearer token; None without one.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    if certificate_file is not None:
        context.load_cert_chain(certificate_file, key_file)
    headers = {}
    if token_file is not None:
        headers["Authorization"] = f"Bearer {token_file.read_text(encoding='utf-8').strip()}"
    client = httpx.Client(verify=context, timeout=_TIMEOUT_S, headers=headers, trust_env=False)

    def fetch(path: str) -> bytes:
        body = bytearray()
        try:
            with client.stream("GET", url.rstrip("/") + path) as answer:
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > _BODY_BYTES_MAX:
                        raise QueryError(f"the answer exceeds {_BODY_BYTES_MAX} bytes")
        except httpx.HTTPError as error:
            raise QueryError(f"{url} does not answer: {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise QueryError(f"{url} answers with {answer.status_code}: {bytes(body[:200])!r}")
        return bytes(body)

    return fetch
