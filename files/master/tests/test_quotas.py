"""Tests of the limits that keep one token from filling the disk, and of the removal of sources."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import factories
import httpx
import pytest
from databases import only
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import sources
from in_process_master import MasterHarness, SetClock, running_master
from msgspec.structs import replace
from polling import TIMEOUT_S
from sqlalchemy import Connection, text

_HOUR_S = 3600.0
_MIB = 1024 * 1024


def put_source(harness: MasterHarness, content: bytes, caller: str = "submitter") -> Any:
    path = f"/v1/sources/{hashlib.sha256(content).hexdigest()}"
    return harness.call(caller, "PUT", path, content=content)


def put_artifact(harness: MasterHarness, claim: Any, name: str, content: bytes) -> httpx.Response:
    path = f"/v1/jobs/{claim['job']['id']}/artifacts/{name}"
    return harness.call("worker1", "PUT", path, params={"attempt": 1}, content=content)


@pytest.fixture
def limited(migrated: Settings, clock: SetClock) -> Iterator[MasterHarness]:
    """A master with low limits."""
    settings = replace(
        migrated,
        max_attempt_files=3,
        max_attempt_bytes=1000,
        max_token_files=4,
        max_token_bytes=10_000,
    )
    with running_master(Services(settings, clock, 3600), clock) as harness:
        harness.register("worker1")
        yield harness


def test_the_sources_of_a_token_are_limited_in_bytes(limited: MasterHarness) -> None:
    assert put_source(limited, b"a" * 6000).is_success
    refused = put_source(limited, b"b" * 6000)
    assert refused.status_code == 413
    assert "master_max_token_bytes" in refused.json()["detail"]
    assert put_source(limited, b"a" * 6000).is_success, "the content is already stored"
    assert put_source(limited, b"c" * 6000, "admin").is_success, "each token has its own limit"
    listed = limited.ok("viewer", "GET", "/v1/sources")["items"]
    assert sorted((s["uploaded_by"], s["size_bytes"]) for s in listed) == [
        ("admin", 6000),
        ("submitter", 6000),
    ]


def test_a_source_of_unknown_size_is_limited_while_it_is_received(limited: MasterHarness) -> None:
    content = b"x" * 12_000
    path = f"/v1/sources/{hashlib.sha256(content).hexdigest()}"
    pieces = iter([content[:6000], content[6000:]])
    refused = limited.call("submitter", "PUT", path, content=pieces)
    assert refused.status_code == 413
    assert "master_max_token_bytes" in refused.json()["detail"]
    assert limited.ok("viewer", "GET", "/v1/sources")["items"] == []


def test_the_sources_of_a_token_are_limited_in_number(limited: MasterHarness) -> None:
    answers = [put_source(limited, bytes([number])) for number in range(5)]
    assert [answer.status_code for answer in answers] == [204, 204, 204, 204, 413]
    assert "master_max_token_files" in answers[-1].json()["detail"]
    sha256 = hashlib.sha256(b"\0").hexdigest()
    assert limited.call("submitter", "DELETE", f"/v1/sources/{sha256}").status_code == 204
    assert put_source(limited, bytes([4])).is_success


def test_the_artifacts_of_an_attempt_are_limited(limited: MasterHarness) -> None:
    limited.submit()
    claim = limited.claim("worker1")
    assert put_artifact(limited, claim, "a", b"x" * 600).is_success
    refused = put_artifact(limited, claim, "b", b"x" * 401)
    assert refused.status_code == 413
    assert "master_max_attempt_bytes" in refused.json()["detail"]
    assert put_artifact(limited, claim, "a", b"y" * 500).is_success, "it replaces the other one"
    assert put_artifact(limited, claim, "b", b"x" * 10).is_success
    assert put_artifact(limited, claim, "c", b"x").is_success
    refused = put_artifact(limited, claim, "d", b"x")
    assert refused.status_code == 413
    assert "master_max_attempt_files" in refused.json()["detail"]
    assert limited.result(claim).is_success


def test_an_attempt_cannot_upload_changing_content_without_end(limited: MasterHarness) -> None:
    limited.submit()
    claim = limited.claim("worker1")
    statuses = [
        put_artifact(limited, claim, "a", bytes([number]) * 500).status_code for number in range(6)
    ]
    assert statuses[:4] == [200] * 4
    assert statuses[4:] == [413] * 2


def test_space_is_reserved_for_results(
    migrated: Settings, clock: SetClock, harness: MasterHarness, engine: str
) -> None:
    if engine == "sqlite":
        free_bytes = shutil.disk_usage(migrated.data_dir).free
        settings = replace(migrated, reserved_bytes=2 * free_bytes)
        remedy = "master_reserved_bytes"
    else:
        settings = replace(migrated, database_max_bytes=1000)
        remedy = "master_database_max_bytes"
    harness.register("worker1")
    harness.upload()
    run = harness.run(factories.suite(rates=3))
    claims = [harness.claim("worker1", slot) for slot in (1,)]
    with running_master(Services(settings, clock, 3600), clock) as full:
        refused = [
            put_source(full, b"new"),
            full.call("submitter", "POST", "/v1/jobs", factories.job()),
            full.call("submitter", "POST", "/v1/runs", {"suite": factories.suite()}),
            full.call("submitter", "POST", f"/v1/runs/{run['id']}/retry"),
            full.call("admin", "POST", "/v1/tokens", {"name": "t", "role": "viewer"}),
            put_artifact(full, claims[0], "ffmpeg.log", b"x"),
            full.call(
                "worker1",
                "POST",
                f"/v1/jobs/{claims[0]['job']['id']}/log",
                params={"attempt": 1},
                content=b"x",
            ),
        ]
        for response in refused:
            assert response.status_code == 507, (response.request.url, response.text)
            assert remedy in response.json()["detail"]
        assert full.heartbeat(claims[0]).is_success
        assert full.result(claims[0]).is_success
        following = full.claim("worker1")
        assert full.fail(following, "encode_failed").is_success
        assert full.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")["state"] == "failed"


@only("postgresql")
def test_running_uploads_count_towards_the_size_of_the_database(
    migrated: Settings, clock: SetClock
) -> None:
    size = text("SELECT pg_database_size(current_database())")
    with (
        running_master(Services(migrated, clock, 3600), clock) as harness,
        harness.client.portal() as portal,
    ):
        used_bytes = portal.call(
            harness.services.reader.read, lambda c: int(c.execute(size).scalar_one())
        )
    settings = replace(
        migrated, database_max_bytes=used_bytes + 2 * _MIB, max_source_bytes=16 * _MIB
    )
    with running_master(Services(settings, clock, 3600), clock) as harness:

        def put(name: bytes, size_mib: int) -> httpx.Response:
            pieces = [name * _MIB for _ in range(size_mib)]
            path = f"/v1/sources/{hashlib.sha256(b''.join(pieces)).hexdigest()}"
            # The size of an iterator is not announced.
            return harness.call("submitter", "PUT", path, content=iter(pieces))

        answers = [put(b"a", 4), put(b"b", 1)]
        assert [answer.status_code for answer in answers] == [507, 507]
        assert "master_database_max_bytes" in answers[0].json()["detail"]
        assert harness.ok("viewer", "GET", "/v1/sources")["items"] == []
    with running_master(Services(settings, clock, 3600), clock) as harness:
        assert put(b"c", 1).status_code == 204, "the refused uploads take up no space"


def test_a_source_that_a_run_needs_cannot_be_removed(ready_harness: MasterHarness) -> None:
    path = f"/v1/sources/{ready_harness.clip_sha256}"
    run = ready_harness.run()
    refused = ready_harness.call("submitter", "DELETE", path)
    assert refused.status_code == 409
    assert "unfinished run" in refused.json()["detail"]
    ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    assert ready_harness.call("viewer", "DELETE", path).status_code == 403
    assert ready_harness.call("submitter", "DELETE", path).status_code == 204
    assert ready_harness.call("viewer", "HEAD", path).status_code == 404
    assert ready_harness.call("submitter", "DELETE", path).status_code == 404
    entry = ready_harness.ok("admin", "GET", "/v1/audit")["items"][0]
    assert (entry["action"], entry["target"]) == ("source removed", ready_harness.clip_sha256)
    missing = ready_harness.call("submitter", "POST", "/v1/runs", {"suite": factories.suite()})
    assert missing.status_code == 422
    assert "is not uploaded" in missing.json()["errors"][0]


def test_a_source_of_a_single_job_cannot_be_removed(ready_harness: MasterHarness) -> None:
    body = {"scenario": factories.scenario()}
    job = ready_harness.ok("submitter", "POST", "/v1/jobs", body)
    path = f"/v1/sources/{ready_harness.clip_sha256}"
    assert ready_harness.call("admin", "DELETE", path).status_code == 409
    claim = ready_harness.claim("worker1")
    assert claim["job"]["id"] == job["id"]
    assert ready_harness.call("admin", "DELETE", path).status_code == 409
    assert ready_harness.result(claim).is_success
    assert ready_harness.call("admin", "DELETE", path).status_code == 204
    again = ready_harness.call("submitter", "POST", "/v1/jobs", body)
    assert again.status_code == 422, "the removal is noticed"


def test_a_source_that_is_submitted_during_its_removal_is_kept(
    ready_harness: MasterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/sources/{ready_harness.clip_sha256}"
    started, submitted = threading.Event(), threading.Event()
    search = sources.is_needed

    def search_first(connection: Connection, sha256: str) -> bool:
        found = search(connection, sha256)
        started.set()
        assert submitted.wait(TIMEOUT_S)
        return found

    monkeypatch.setattr(sources, "is_needed", search_first)
    with ThreadPoolExecutor(1) as threads:
        removal = threads.submit(ready_harness.call, "submitter", "DELETE", path)
        assert started.wait(TIMEOUT_S)
        again = ready_harness.call("submitter", "DELETE", path)
        # The source was uploaded just now, and the writer is not occupied by the search.
        ready_harness.ok("submitter", "POST", "/v1/jobs", {"scenario": factories.scenario()})
        submitted.set()
    assert again.status_code == 429
    assert int(again.headers["Retry-After"]) > 0
    assert removal.result().status_code == 409
    assert ready_harness.call("viewer", "HEAD", path).status_code == 200


def test_only_the_owner_and_an_admin_can_remove_a_source(harness: MasterHarness) -> None:
    put_source(harness, b"clip", "admin")
    path = f"/v1/sources/{hashlib.sha256(b'clip').hexdigest()}"
    refused = harness.call("submitter", "DELETE", path)
    assert refused.status_code == 403
    assert "uploaded by admin" in refused.json()["detail"]
    assert harness.call("admin", "DELETE", path).status_code == 204


def test_old_sources_that_no_unfinished_run_names_are_removed(
    migrated: Settings, clock: SetClock
) -> None:
    settings = replace(migrated, sources_keep_days=1.0)
    with running_master(Services(settings, clock, 3600), clock) as harness:
        harness.register("worker1")
        harness.upload()
        put_source(harness, b"unused")
        put_source(harness, b"uploaded again")
        run = harness.run()
        clock.advance(23 * _HOUR_S)
        put_source(harness, b"uploaded again")
        clock.advance(2 * _HOUR_S)
        with harness.client.portal() as portal:
            assert portal.call(harness.services.retention.run_once).sources == 1
        stored = {s["sha256"] for s in harness.ok("viewer", "GET", "/v1/sources")["items"]}
        assert stored == {harness.clip_sha256, hashlib.sha256(b"uploaded again").hexdigest()}
        harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
        with harness.client.portal() as portal:
            assert portal.call(harness.services.retention.run_once).sources == 1


def test_repeated_cancellation_does_not_fill_the_audit_log(ready_harness: MasterHarness) -> None:
    job = ready_harness.submit()
    run = ready_harness.run()
    for _ in range(3):
        ready_harness.ok("submitter", "POST", f"/v1/jobs/{job['id']}/cancel")
        ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    actions = [entry["action"] for entry in ready_harness.ok("admin", "GET", "/v1/audit")["items"]]
    assert sorted(actions) == ["job canceled", "run canceled", "run created"]
