"""Tests that long transfers end soon after their token has been revoked."""

import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from databases import only
from ffrtmp_master.api import events, logs, stream_authorization
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from in_process_master import MasterHarness, SetClock
from listening_master import listening_master
from polling import TIMEOUT_S, wait_until

pytestmark = only("sqlite")

# The interval is shortened, so that the tests need not wait for it.
_INTERVAL_S = 0.3
_LIMIT_S = 10.0
_SOURCE_BYTES = 64 * 2**20


class Site:
    """A master with a client whose token can be revoked."""

    def __init__(self, harness: MasterHarness, url: str) -> None:
        self.harness = harness
        self.url = url

    def client(self, role: str, **more: str) -> httpx.Client:
        body = {"name": "guest", "role": role, **more}
        token = self.harness.ok("admin", "POST", "/v1/tokens", body)["token"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S)

    def revoke(self) -> None:
        assert self.harness.call("admin", "DELETE", "/v1/tokens/guest").is_success


@pytest.fixture
def site(migrated: Settings, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    # Masters cache tokens for up to 2 s.
    assert stream_authorization.CHECK_INTERVAL_S + stream_authorization.QUIET_S + 2 < 15
    monkeypatch.setattr(stream_authorization, "CHECK_INTERVAL_S", _INTERVAL_S)
    for module in (events, logs):
        monkeypatch.setattr(module, "QUIET_S", _INTERVAL_S)
    settings = msgspec.structs.replace(migrated, max_source_bytes=_SOURCE_BYTES)
    services = Services(settings, clock, maintenance_interval_s=3600)
    with (
        listening_master(services) as at,
        httpx.Client(base_url=at.url, timeout=TIMEOUT_S) as client,
    ):
        harness = MasterHarness(services, client, clock)  # type: ignore[arg-type]
        harness.register("worker1")
        yield Site(harness, at.url)


def test_a_stream_of_events_ends_although_there_is_traffic(site: Site) -> None:
    stopped = threading.Event()

    def cause_events() -> None:
        with httpx.Client(base_url=site.url, timeout=TIMEOUT_S) as client:
            busy = MasterHarness(site.harness.services, client, site.harness.clock)  # type: ignore[arg-type]
            while not stopped.is_set():
                busy.submit()

    traffic = threading.Thread(target=cause_events)
    with site.client("viewer") as guest, guest.stream("GET", "/v1/events") as answer:
        lines = answer.iter_lines()
        traffic.start()
        try:
            for line in lines:
                if line.startswith("data"):
                    break
            site.revoke()
            start_s = time.monotonic()
            for _ in lines:
                assert time.monotonic() - start_s < _LIMIT_S
        finally:
            stopped.set()
            traffic.join()


def test_a_quiet_stream_of_events_ends(site: Site) -> None:
    with site.client("viewer") as guest, guest.stream("GET", "/v1/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": following"
        site.revoke()
        start_s = time.monotonic()
        assert all("event" not in line for line in lines)
        assert time.monotonic() - start_s < _LIMIT_S


@pytest.mark.slow
def test_a_followed_log_ends_although_it_grows(site: Site) -> None:
    harness = site.harness
    job = harness.submit()
    claim = harness.claim("worker1")
    assert harness.heartbeat(claim).is_success
    path = f"/v1/jobs/{job['id']}/log"
    stopped = threading.Event()

    def grow() -> None:
        headers = {"Authorization": "Bearer token-worker1"}
        with httpx.Client(base_url=site.url, headers=headers, timeout=TIMEOUT_S) as client:
            while not stopped.is_set():
                stored = client.post(f"{path}?attempt=1", content=b"line\n")
                assert stored.is_success

    traffic = threading.Thread(target=grow)
    traffic.start()
    try:
        with (
            site.client("viewer") as guest,
            guest.stream("GET", path, params={"follow": "true"}) as answer,
        ):
            lines = answer.iter_lines()
            assert next(lines) == "line"
            site.revoke()
            start_s = time.monotonic()
            for _ in lines:
                assert time.monotonic() - start_s < _LIMIT_S
    finally:
        stopped.set()
        traffic.join()


@pytest.mark.slow
def test_a_download_is_cut_off(site: Site) -> None:
    content = bytes(_SOURCE_BYTES)
    sha256 = hashlib.sha256(content).hexdigest()
    put = site.harness.call("submitter", "PUT", f"/v1/sources/{sha256}", content=content)
    assert put.is_success
    received = 0
    with (
        site.client("viewer") as guest,
        guest.stream("GET", f"/v1/sources/{sha256}") as answer,
    ):
        pieces = answer.iter_raw()
        received += len(next(pieces))
        site.revoke()
        time.sleep(2 * _INTERVAL_S)
        with pytest.raises(httpx.RemoteProtocolError):
            for piece in pieces:
                received += len(piece)
    assert received < _SOURCE_BYTES


@pytest.mark.slow
def test_an_upload_is_refused(site: Site) -> None:
    revoked = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"x" * 1000
        site.revoke()
        revoked.set()
        for _ in range(20):
            time.sleep(_INTERVAL_S / 4)
            yield b"x" * 1000

    sha256 = hashlib.sha256(b"x" * 21_000).hexdigest()
    with site.client("submitter") as guest:
        answer = guest.put(f"/v1/sources/{sha256}", content=slowly())
    assert revoked.is_set()
    assert answer.status_code == 401
    assert site.harness.call("viewer", "GET", f"/v1/sources/{sha256}").status_code == 404


@pytest.mark.slow
def test_a_parked_claim_gets_no_job(site: Site) -> None:
    outcome: dict[str, Any] = {}
    site.harness.register("worker3")

    def wait_for_job() -> None:
        with site.client("agent", node="worker3") as guest:
            body = {"node": "worker3", "slot": 1, "wait_s": 20}
            outcome["answer"] = guest.post("/v1/claims", json=body)

    waiting = threading.Thread(target=wait_for_job)
    waiting.start()
    wait_until(lambda: len(site.harness.services.parked_claims), "the claim is parked")
    time.sleep(2 * _INTERVAL_S)
    site.revoke()
    job = site.harness.submit()
    waiting.join()
    assert outcome["answer"].status_code == 401
    assert site.harness.job(job["id"])["state"] == "queued"
