"""Attacks on every listener, with and without a token, while other clients continue to work.

FFRTMP_HOSTILE_REQUESTS is the number of generated requests; `make test-hostile` sets it.
"""

import os
from http.client import HTTPException

import pytest
from hypothesis import HealthCheck, given, settings
from raw_connection import RawConnection

from .attacks import ATTACKS, source_of
from .bystander import Bystander
from .generated_requests import GeneratedRequest, requests
from .listeners import ApiListener, Listener

_REQUESTS = os.environ.get("FFRTMP_HOSTILE_REQUESTS")
_FEW_REQUESTS = 300
_MEMORY_MARGIN_BYTES = 64 * 2**20

# The database of a master has the schema and the credentials only if a test names `migrated`.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("engine", "migrated")]


@pytest.mark.parametrize(
    ("engine", "listener"),
    [("sqlite", "api"), ("postgresql", "api"), ("sqlite", "exporter")],
    indirect=True,
)
def test_no_attack_stops_other_clients_or_uses_memory(listener: Listener) -> None:
    bystander = Bystander(listener)
    before = listener.resident_bytes()
    for attack in ATTACKS:
        with bystander.watching():
            statuses = attack(listener)
        errors = [status for status in statuses if status is not None and status >= 500]
        assert errors == [], attack.__name__
        bystander.check(attack.__name__)
        used_bytes = listener.resident_bytes() - before
        assert used_bytes < _MEMORY_MARGIN_BYTES, (attack.__name__, used_bytes)


def test_no_generated_request_causes_a_server_error(api: ApiListener) -> None:
    tokens = (api.tokens.viewer, api.tokens.agent)
    if api.target.address[0] == "127.0.0.1":
        tokens += ("token-submitter", "token-admin")
    client = _Client(api)
    bystander = Bystander(api)
    before = api.resident_bytes()

    @settings(
        max_examples=int(_REQUESTS) if _REQUESTS else _FEW_REQUESTS,
        derandomize=not _REQUESTS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(request=requests(tokens))
    def attempt(request: GeneratedRequest) -> None:
        status = client.status_of(request)
        assert status is None or status < 500, (status, request)

    with bystander.watching():
        attempt()
    client.close()
    assert client.answered > 0
    bystander.check("generated requests")
    assert api.resident_bytes() - before < _MEMORY_MARGIN_BYTES


class _Client:
    """A client that keeps its connection until the server closes it."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._context = listener.context()
        self._connection: RawConnection | None = None
        self.answered = 0

    def status_of(self, request: GeneratedRequest) -> int | None:
        """Return the status of the answer, or None if the connection was closed without one."""
        connection = self._connection or self._connect()
        connection.send(request.encode())
        try:
            answer = connection.answer(request.method)
        except (OSError, HTTPException):
            self.close()
            return None
        self.answered += 1
        if answer.headers.get("connection") == "close":
            self.close()
        return answer.status

    def close(self) -> None:
        if self._connection is not None:
            self._connection.stream.close()
            self._connection = None

    def _connect(self) -> RawConnection:
        plain = self._listener.target.connect_without_tls(source_of(self._listener))
        host = self._listener.target.address[0]
        self._connection = RawConnection(self._context.wrap_socket(plain, server_hostname=host))
        return self._connection
