"""Tests of uploads of artifacts and sources.

They cover digests, limits, names, and the removal of partial files.
"""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from databases import only
from ffrtmp_master.store.schema import content_pieces, contents
from sqlalchemy import Connection, select

LOG = b"frame=1\n" * 500
LOG_SHA256 = hashlib.sha256(LOG).hexdigest()
LISTED = {"name": "ffmpeg.log", "sha256": LOG_SHA256, "size_bytes": len(LOG)}


def put_log(harness: Any, claim: Any, content: bytes = LOG, node: str = "worker1") -> Any:
    path = f"/v1/jobs/{claim['job']['id']}/artifacts/ffmpeg.log"
    params = {"attempt": claim["attempt"]}
    return harness.call(node, "PUT", path, params=params, content=content)


def stored_names(harness: Any, kind: str) -> list[str]:
    """Return the digests of the stored content, and the names of partial files and pieces."""
    root: Path = harness.services.settings.data_dir / kind
    files = [path.name for path in root.rglob("*") if path.is_file()]

    def in_database(connection: Connection) -> list[str]:
        of_kind = contents.c.kind == kind.removesuffix("s")
        whole = connection.execute(select(contents.c.sha256).where(of_kind)).scalars().all()
        listed = select(contents.c.upload)
        waste = select(content_pieces.c.upload).where(content_pieces.c.upload.not_in(listed))
        return [*whole, *map(str, connection.execute(waste).scalars())]

    with harness.client.portal() as portal:
        return files + portal.call(harness.services.reader.read, in_database)


def test_a_source_is_downloaded_as_uploaded(ready_harness: Any) -> None:
    path = f"/v1/sources/{ready_harness.clip_sha256}"
    for caller in ("viewer", "worker1"):
        assert ready_harness.call(caller, "GET", path).content == ready_harness.clip
        assert ready_harness.call(caller, "HEAD", path).status_code == 200
    ready_harness.upload()
    assert stored_names(ready_harness, "sources") == [ready_harness.clip_sha256]
    missing = ready_harness.call("viewer", "HEAD", f"/v1/sources/{'0' * 64}")
    assert missing.status_code == 404


def test_a_source_with_another_digest_is_refused_and_not_stored(harness: Any) -> None:
    wanted = "0" * 64
    answer = harness.call("submitter", "PUT", f"/v1/sources/{wanted}", content=harness.clip)
    assert answer.status_code == 422
    assert wanted in answer.json()["detail"]
    assert harness.clip_sha256 in answer.json()["detail"]
    assert stored_names(harness, "sources") == []
    assert harness.call("viewer", "GET", f"/v1/sources/{wanted}").status_code == 404


@pytest.mark.parametrize("announced", [True, False])
def test_an_oversized_source_is_refused_and_not_stored(harness: Any, announced: bool) -> None:
    large = b"x" * 100_001
    content = large if announced else iter([large[:60_000], large[60_000:]])
    sha256 = hashlib.sha256(large).hexdigest()
    answer = harness.call("submitter", "PUT", f"/v1/sources/{sha256}", content=content)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert "100000" in answer.json()["detail"]
    assert stored_names(harness, "sources") == []


def test_an_artifact_comes_with_the_result_and_can_be_fetched(ready_harness: Any) -> None:
    ready_harness.run()
    claim = ready_harness.claim("worker1")
    assert put_log(ready_harness, claim).json() == LISTED
    assert put_log(ready_harness, claim).is_success
    assert ready_harness.result(claim, artifacts=[LISTED]).is_success
    assert put_log(ready_harness, claim).is_success, "repeating is fine after the result as well"
    assert put_log(ready_harness, claim, b"other").status_code == 409
    path = f"/v1/jobs/{claim['job']['id']}/attempts/1/artifacts/ffmpeg.log"
    assert ready_harness.call("viewer", "GET", path).content == LOG
    missing = ready_harness.call("viewer", "GET", path.replace("ffmpeg.log", "other.log"))
    assert missing.status_code == 404
    (result,) = ready_harness.ok("viewer", "GET", "/v1/results")["items"]
    assert result["artifacts"] == [LISTED]


def test_a_result_whose_artifacts_are_not_stored_is_refused(ready_harness: Any) -> None:
    ready_harness.run()
    claim = ready_harness.claim("worker1")
    answer = ready_harness.result(claim, artifacts=[LISTED])
    assert answer.status_code == 422
    assert answer.json()["errors"] == ["artifact ffmpeg.log was not uploaded for attempt 1"]
    assert put_log(ready_harness, claim, b"other").is_success
    answer = ready_harness.result(claim, artifacts=[LISTED])
    assert answer.status_code == 422
    assert LOG_SHA256 in answer.json()["errors"][0]
    assert ready_harness.job(claim["job"]["id"])["state"] == "leased"
    assert put_log(ready_harness, claim).is_success
    assert ready_harness.result(claim, artifacts=[LISTED]).is_success


def test_an_artifact_of_a_dead_or_foreign_attempt_is_refused(ready_harness: Any) -> None:
    ready_harness.run()
    dead = ready_harness.claim("worker1")
    alive = ready_harness.claim("worker1")
    assert put_log(ready_harness, dead).status_code == 409
    assert put_log(ready_harness, alive, node="worker2").status_code == 409
    assert put_log(ready_harness, alive).is_success


@pytest.mark.slow
def test_an_artifact_that_is_too_large_is_refused(ready_harness: Any) -> None:
    ready_harness.run()
    claim = ready_harness.claim("worker1")
    assert put_log(ready_harness, claim, b"x" * 100_001).status_code == 413
    assert stored_names(ready_harness, "artifacts") == []


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fx", ".hidden", "a%20b", "x" * 129])
def test_a_name_that_could_be_a_path_is_refused(ready_harness: Any, name: str) -> None:
    ready_harness.run()
    claim = ready_harness.claim("worker1")
    path = f"/v1/jobs/{claim['job']['id']}/artifacts/{name}"
    answer = ready_harness.call("worker1", "PUT", path, params={"attempt": 1}, content=LOG)
    assert answer.status_code in (404, 405, 422)
    assert stored_names(ready_harness, "artifacts") == []


@only("sqlite")
def test_partial_uploads_of_a_killed_master_are_removed(ready_harness: Any) -> None:
    leftover = ready_harness.services.settings.data_dir / "sources" / ".upload-half"
    leftover.write_bytes(b"half")
    with ready_harness.restarted() as harness:
        assert stored_names(harness, "sources") == [harness.clip_sha256]
