"""Tests of the memory for request bodies that are received at the same time."""

import signal
from contextlib import ExitStack
from pathlib import Path

import factories
import msgspec
import pytest
from databases import only
from ffrtmp_master.server.request_bounds import MAX_BODY_BYTES
from ffrtmp_master.settings import Settings
from master_process import MasterProcess
from raw_connection import RawConnection, Target, head

pytestmark = [only("sqlite"), pytest.mark.slow]

_TOKEN = {"Authorization": "Bearer token-submitter"}


def test_large_bodies_are_limited_together(migrated: Settings, tmp_path: Path) -> None:
    begun = head("POST", "/v1/runs/plan", _TOKEN | {"Content-Length": str(MAX_BODY_BYTES)})
    chunked = head("POST", "/v1/runs/plan", _TOKEN | {"Transfer-Encoding": "chunked"})
    unknown = head("POST", "/v1/runs/plan", {"Content-Length": str(MAX_BODY_BYTES)})
    with MasterProcess(tmp_path, migrated).serving() as master, ExitStack() as stack:
        target = Target(master.url, master.ca_file)

        def connect() -> RawConnection:
            return stack.enter_context(target.connected())

        # Requests without a token do not use the budget.
        for _ in range(20):
            connection = connect()
            connection.send(unknown)
            assert connection.status() == 401
        held = [connect() for _ in range(migrated.bodies_max_bytes // MAX_BODY_BYTES)]
        for number, connection in enumerate(held):
            connection.send(chunked if number % 2 else begun)
        refused: list[int | None] = []
        while not refused or refused[-1] != 429:
            connection = connect()
            connection.send(begun)
            connection.stream.settimeout(1)
            refused.append(connection.status())
            assert len(refused) < 10
        # Small requests are served meanwhile.
        with master.http("worker1") as client:
            registered = client.put("/v1/nodes/worker1", json=_registration())
            assert registered.status_code == 200
        for connection in held:
            connection.stream.close()
        master.end(signal.SIGTERM)


def _registration() -> object:
    return msgspec.to_builtins(factories.registration("worker1"))
