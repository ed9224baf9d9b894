"""Tests of the content stores for sources and artifacts.

They cover requests for ranges, aborted uploads, and the removal of unused content.
"""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from databases import only
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.content.base import PIECE_BYTES
from ffrtmp_master.store.content.database import DatabaseContent
from ffrtmp_master.store.content.factory import ContentStores
from ffrtmp_master.store.content.files import FileContent
from ffrtmp_master.store.engine import reading_engine, writing_engine
from ffrtmp_master.store.errors import NotFoundError, TooLargeError, UnprocessableError
from ffrtmp_master.store.schema import artifacts, content_pieces, contents
from ffrtmp_shared.ids import new_id
from polling import TIMEOUT_S
from sqlalchemy import func, insert, select, update

LARGE = bytes(range(256)) * (4 * 1024 * 3) + b"the end"
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()


class StoredContent:
    """A content store on one of the engines, which gives assertions access to the raw data."""

    def __init__(self, settings: Settings) -> None:
        password = settings.database_password()
        self.settings = settings
        self.reading = reading_engine(settings.database_url, password)
        self.writing = writing_engine(settings.database_url, password)
        self.contents = ContentStores(settings, password, self.reading)

    @property
    def store(self) -> Any:
        return self.contents.artifacts

    def save(self, data: bytes, expected: str | None = None, packet: int = 70_000) -> Any:
        return asyncio.run(self.store.store(packets(data, packet), expected))

    def read(self, start: int, end: int, sha256: str = LARGE_SHA256) -> bytes:
        async def read_all() -> bytes:
            return b"".join([piece async for piece in self.store.read(sha256, start, end)])

        return asyncio.run(read_all())

    def is_there(self, sha256: str) -> bool:
        try:
            asyncio.run(self.store.size_bytes(sha256))
        except NotFoundError:
            return False
        return True

    def remove_unused(self, older_than_s: float = -1) -> int:
        return asyncio.run(self.contents.remove_unused(older_than_s))

    def refer_to(self, sha256: str) -> None:
        now = reading_clock()
        row = {"job_id": new_id(), "attempt": 1, "name": "log", "size_bytes": 1, "stored_at": now}
        with self.writing.begin() as connection:
            connection.execute(insert(artifacts).values(sha256=sha256, **row))

    def bytes_held(self) -> int:
        """Return the size of all stored content, including incomplete uploads."""
        files = sum(
            path.stat().st_size
            for path in (self.settings.data_dir / "artifacts").rglob("*")
            if path.is_file()
        )
        with self.reading.begin() as connection:
            pieces = connection.execute(select(func.sum(func.length(content_pieces.c.piece))))
            return files + (pieces.scalar() or 0)


def reading_clock() -> Any:
    from ffrtmp_master.clock import utc_now

    return utc_now()


async def packets(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def interrupted(data: bytes) -> AsyncIterator[bytes]:
    yield data
    raise ConnectionError("the sender is gone")


@pytest.fixture
def content_store(migrated: Settings) -> Any:
    from msgspec.structs import replace

    opened = StoredContent(
        replace(migrated, max_artifact_bytes=len(LARGE), max_source_bytes=len(LARGE))
    )
    yield opened
    opened.contents.close()
    opened.reading.dispose()
    opened.writing.dispose()


def test_each_engine_has_its_kind_of_store(content_store: StoredContent, engine: str) -> None:
    wanted = {"sqlite": FileContent, "postgresql": DatabaseContent}[engine]
    assert isinstance(content_store.contents.artifacts, wanted)
    assert isinstance(content_store.contents.sources, wanted)


@pytest.mark.parametrize("data", [b"", b"x", LARGE[:PIECE_BYTES], LARGE])
def test_stored_content_is_read_back(content_store: StoredContent, data: bytes) -> None:
    content = content_store.save(data)
    assert content.sha256 == hashlib.sha256(data).hexdigest()
    assert content.size_bytes == len(data)
    assert content_store.read(0, len(data), content.sha256) == data
    assert content_store.save(data, expected=content.sha256) == content
    assert content_store.bytes_held() == len(data), "the same content is stored once"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 1),
        (PIECE_BYTES - 1, PIECE_BYTES + 1),
        (PIECE_BYTES, 2 * PIECE_BYTES),
        (5, len(LARGE)),
        (len(LARGE) - 1, len(LARGE)),
        (7, 7),
    ],
)
def test_ranges_are_read(content_store: StoredContent, start: int, end: int) -> None:
    content_store.save(LARGE)
    assert content_store.read(start, end) == LARGE[start:end]


def test_refused_content_leaves_no_data(content_store: StoredContent) -> None:
    with pytest.raises(TooLargeError):
        content_store.save(LARGE + b"x")
    with pytest.raises(UnprocessableError, match=LARGE_SHA256):
        content_store.save(LARGE, expected="0" * 64)
    with pytest.raises(ConnectionError):
        asyncio.run(content_store.store.store(interrupted(LARGE)))
    assert content_store.bytes_held() == 0
    assert not content_store.is_there(LARGE_SHA256)


def test_no_content_is_served_before_it_is_complete(content_store: StoredContent) -> None:
    arrived = threading.Event()
    may_continue = threading.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield LARGE[: 2 * PIECE_BYTES]
        yield LARGE[2 * PIECE_BYTES : -1]
        arrived.set()
        await asyncio.to_thread(may_continue.wait, TIMEOUT_S)
        yield LARGE[-1:]

    upload = threading.Thread(target=lambda: asyncio.run(content_store.store.store(slowly())))
    upload.start()
    assert arrived.wait(TIMEOUT_S)
    assert content_store.bytes_held() >= 2 * PIECE_BYTES
    assert not content_store.is_there(LARGE_SHA256)
    assert content_store.remove_unused() == 0, "an upload in progress is in use"
    may_continue.set()
    upload.join()
    assert content_store.read(0, len(LARGE)) == LARGE


def test_concurrent_uploads_of_the_same_content(content_store: StoredContent) -> None:
    threads = [threading.Thread(target=content_store.save, args=(LARGE,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content_store.read(0, len(LARGE)) == LARGE
    assert content_store.bytes_held() == len(LARGE)


def test_only_unreferenced_content_is_removed(content_store: StoredContent) -> None:
    used, unused = content_store.save(b"used"), content_store.save(LARGE)
    content_store.refer_to(used.sha256)
    assert content_store.remove_unused(older_than_s=3600) == 0, "its row may be about to be written"
    assert content_store.is_there(unused.sha256)
    assert content_store.remove_unused() == 1
    assert not content_store.is_there(unused.sha256)
    assert content_store.read(0, 4, used.sha256) == b"used"
    assert content_store.bytes_held() == 4


def test_uploading_again_renews_the_age_of_content(
    content_store: StoredContent, engine: str
) -> None:
    content = content_store.save(b"again")
    make_old(content_store, engine, content.sha256)
    content_store.save(b"again")
    assert content_store.remove_unused(older_than_s=3600) == 0
    make_old(content_store, engine, content.sha256)
    assert content_store.remove_unused(older_than_s=3600) == 1


def make_old(content_store: StoredContent, engine: str, sha256: str) -> None:
    if engine == "sqlite":
        long_ago_s = time.time() - 7200
        os.utime(content_store.store.path(sha256), (long_ago_s, long_ago_s))
        return
    long_ago = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 2)
    with content_store.writing.begin() as connection:
        connection.execute(update(contents).values(stored_at=long_ago))


@only("postgresql")
def test_pieces_of_an_upload_of_a_killed_master_are_removed_after_a_day(
    content_store: StoredContent,
) -> None:
    def piece(age_s: float, number: int) -> dict[str, Any]:
        upload = UUID(int=(int((time.time() - age_s) * 1000) << 80) | (7 << 76) | (2 << 62))
        return {"upload": upload, "number": number, "piece": b"12345"}

    dead = [piece(26 * 3600, 0) | {"number": number} for number in range(70)]
    alive = piece(23 * 3600, 0)
    with content_store.writing.begin() as connection:
        connection.execute(
            insert(content_pieces), [{**row, "upload": dead[0]["upload"]} for row in dead]
        )
        connection.execute(insert(content_pieces), [alive])
    whole = content_store.save(b"whole")
    content_store.refer_to(whole.sha256)
    assert content_store.remove_unused() == 1
    assert content_store.bytes_held() == 5 + len(b"whole")


Put = Callable[[bytes], str]


@pytest.fixture
def path(ready_harness: Any) -> str:
    """The path in the API of the clip, a source of 17,000 bytes."""
    return f"/v1/sources/{ready_harness.clip_sha256}"


@pytest.mark.parametrize(
    ("requested_range", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=16990-", 16990, 17000),
        ("bytes=-10", 16990, 17000),
        ("bytes=-99999", 0, 17000),
        ("bytes=16999-99999", 16999, 17000),
        ("BYTES=1-2", 1, 3),
    ],
)
def test_a_range_is_answered_with_that_part(
    ready_harness: Any, path: str, requested_range: str, first: int, end: int
) -> None:
    for caller in ("viewer", "worker1"):
        answer = ready_harness.call(caller, "GET", path, headers={"Range": requested_range})
        assert answer.status_code == 206
        assert answer.content == ready_harness.clip[first:end]
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/17000"
        assert answer.headers["content-length"] == str(end - first)


@pytest.mark.slow
@pytest.mark.parametrize(
    "requested_range",
    ["bytes=0-1,5-6", "bytes=9-5", "bytes=-", "lines=1-2", "bytes=a-b", "bytes=1", ""],
)
def test_an_unsupported_range_is_answered_with_the_whole_content(
    ready_harness: Any, path: str, requested_range: str
) -> None:
    answer = ready_harness.call("viewer", "GET", path, headers={"Range": requested_range})
    assert answer.status_code == 200
    assert answer.content == ready_harness.clip
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == "17000"


@pytest.mark.parametrize("requested_range", ["bytes=17000-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_past_the_end_is_refused(
    ready_harness: Any, path: str, requested_range: str
) -> None:
    answer = ready_harness.call("viewer", "GET", path, headers={"Range": requested_range})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */17000"
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_range_of_another_version_is_answered_with_the_whole_content(
    ready_harness: Any, path: str
) -> None:
    tag = ready_harness.call("viewer", "GET", path).headers["etag"]
    assert tag == f'"{ready_harness.clip_sha256}"'
    for condition, status in ((tag, 206), ('"other"', 200), ("Thu, 01 Jan 2026 00:00:00 GMT", 200)):
        headers = {"Range": "bytes=0-4", "If-Range": condition}
        assert ready_harness.call("viewer", "GET", path, headers=headers).status_code == status


def test_head_has_the_headers_of_get(ready_harness: Any, path: str) -> None:
    answer = ready_harness.call("viewer", "HEAD", path, headers={"Range": "bytes=0-4"})
    whole = ready_harness.call("viewer", "GET", path)
    assert (answer.status_code, answer.content) == (200, b"")
    names = ("content-length", "content-type", "etag", "accept-ranges", "content-disposition")
    assert {name: answer.headers[name] for name in names} == {
        name: whole.headers[name] for name in names
    }


def put_artifact(harness: Any, claim: Any, data: bytes, **params: str) -> Any:
    path = f"/v1/jobs/{claim['job']['id']}/artifacts/a.log"
    params = {"attempt": claim["attempt"], **params}
    return harness.call("worker1", "PUT", path, params=params, content=data)


def test_an_artifact_supports_head_and_ranges(ready_harness: Any) -> None:
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    digest = hashlib.sha256(b"0123456789").hexdigest()
    assert put_artifact(ready_harness, claim, b"0123456789", sha256=digest).is_success
    path = f"/v1/jobs/{claim['job']['id']}/attempts/1/artifacts/a.log"
    head = ready_harness.call("viewer", "HEAD", path)
    assert (head.headers["content-length"], head.headers["etag"]) == ("10", f'"{digest}"')
    part = ready_harness.call("viewer", "GET", path, headers={"Range": "bytes=2-3"})
    assert (part.status_code, part.content) == (206, b"23")
    assert part.headers["content-disposition"] == 'attachment; filename="a.log"'
    assert ready_harness.call("viewer", "HEAD", path.replace("a.log", "b")).status_code == 404


def test_an_artifact_with_another_digest_is_refused(ready_harness: Any) -> None:
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    answer = put_artifact(ready_harness, claim, b"damaged", sha256="0" * 64)
    assert answer.status_code == 422
    assert hashlib.sha256(b"damaged").hexdigest() in answer.json()["detail"]
    assert put_artifact(ready_harness, claim, b"x", sha256="no digest").status_code == 422
    path = f"/v1/jobs/{claim['job']['id']}/attempts/1/artifacts/a.log"
    assert ready_harness.call("viewer", "GET", path).status_code == 404


def test_missing_content_is_answered_with_404(ready_harness: Any, path: str) -> None:
    """Request content that is missing, as after a database is restored without its content."""
    with ready_harness.client.portal() as portal:
        contents = ready_harness.services.content_stores
        portal.call(contents.sources.remove_unused, lambda _connection, _digests: set(), -1)
    for method in ("GET", "HEAD"):
        assert ready_harness.call("viewer", method, path).status_code == 404
    ready_harness.upload()
    assert ready_harness.call("viewer", "GET", path).content == ready_harness.clip


@only("postgresql")
def test_a_master_serves_content_stored_by_another(ready_harness: Any, path: str) -> None:
    assert not list(Path(ready_harness.services.settings.data_dir / "sources").glob("*/*"))
    with ready_harness.restarted() as other:
        assert other.call("viewer", "GET", path).content == other.clip
