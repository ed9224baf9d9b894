"""Tests of the source cache and of the retrieval of sources, on a real disk."""

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.scenario import Source, SyntheticSource
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.probe import probe_video
from ffrtmp_worker.inputs.cache import SourceCache
from ffrtmp_worker.inputs.download import UrlAccess
from ffrtmp_worker.inputs.fetcher import SourceFetcher
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure.output import source_problems

from .conftest import LOOPBACK_ALLOWED


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _yield_chunks(content: bytes, downloads: list[str]) -> Iterator[bytes]:
    downloads.append("once")
    yield content[:3]
    yield content[3:]


def _no_stop() -> None:
    """Do nothing, so that the attempt is never stopped."""


def test_a_source_is_downloaded_once(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    downloads: list[str] = []
    for number in range(3):
        target = tmp_path / f"source-{number}"
        cache.fetch(
            _sha256(b"moving pictures"),
            target,
            _yield_chunks(b"moving pictures", downloads),
            _no_stop,
        )
        assert target.read_bytes() == b"moving pictures"
    assert len(downloads) == 1


def test_wrong_content_fails_the_job_and_leaves_no_file(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    with pytest.raises(AttemptFailedError) as caught:
        cache.fetch(_sha256(b"right"), tmp_path / "source", _yield_chunks(b"wrong", []), _no_stop)
    assert caught.value.failure_class is FailureClass.SOURCE_CHECKSUM
    # A suite must not find out what a server returned.
    assert _sha256(b"wrong") not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "source").exists()


def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    source, downloads = _sha256(b"moving pictures"), list[str]()
    cache.fetch(source, tmp_path / "first", _yield_chunks(b"moving pictures", downloads), _no_stop)
    cached = tmp_path / "cache" / source
    cached.chmod(0o644)
    cached.write_bytes(b"moving pixtures")
    cache.fetch(source, tmp_path / "second", _yield_chunks(b"moving pictures", downloads), _no_stop)
    assert (tmp_path / "second").read_bytes() == b"moving pictures"
    assert len(downloads) == 2


def test_least_recently_used_files_are_removed_first(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 250)
    contents = [bytes([number]) * 100 for number in range(3)]
    for age, content in zip((300, 100, 0), contents, strict=True):
        source = _sha256(content)
        cache.fetch(source, tmp_path / source, _yield_chunks(content, []), _no_stop)
        if age:
            cached = tmp_path / "cache" / source
            used = cached.stat().st_atime - age
            os.utime(cached, (used, used))
    kept = {file.name for file in (tmp_path / "cache").iterdir()}
    assert kept == {_sha256(content) for content in contents[1:]}
    assert (tmp_path / _sha256(contents[0])).read_bytes() == contents[0]


def test_a_source_above_the_limit_is_still_usable(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1)
    cache.fetch(_sha256(b"large"), tmp_path / "source", _yield_chunks(b"large", []), _no_stop)
    assert (tmp_path / "source").read_bytes() == b"large"


def test_a_stop_ends_a_download(tmp_path: Path) -> None:
    def stop() -> None:
        raise AttemptFailedError(FailureClass.STOPPED, "enough")

    cache = SourceCache(tmp_path / "cache", 1000)
    with pytest.raises(AttemptFailedError, match="enough"):
        cache.fetch(_sha256(b"right"), tmp_path / "source", _yield_chunks(b"right", []), stop)
    assert list((tmp_path / "cache").iterdir()) == []


# --- retrieval of sources ------------------------------------------------------------------


def _fetch(
    tools: Tools, folder: Path, source: Source, target: str, max_bytes: int = 10_000_000
) -> str:
    """Fetch a source as an agent does, while the master is unreachable."""
    cache = SourceCache(folder / "cache", max_bytes)
    fetcher = SourceFetcher(cache, tools, max_bytes, UrlAccess(policy=LOOPBACK_ALLOWED))
    with MasterClient("https://127.0.0.1:1", "token", folder / "ca.pem") as unreachable:
        return fetcher.fetch(unreachable, source, folder / target, _no_stop)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path


@pytest.mark.parametrize("content", ["still", "motion", "noise", "animation"])
def test_a_synthetic_clip_is_as_described_and_reproducible(
    content: str, tools: Tools, folder: Path
) -> None:
    synthetic = SyntheticSource(
        content=content,  # type: ignore[arg-type]
        width=160,
        height=90,
        frame_rate="30000/1001",
        duration_s=1.001,
    )
    source = Source(name="synthetic", file_name="synthetic", synthetic=synthetic)
    digest = _fetch(tools, folder, source, "first.mov")
    found = probe_video(tools.ffprobe, folder / "first.mov")
    assert (found.width, found.height, found.frames) == (160, 90, 30)
    assert found.frame_rate_text == "30000/1001"
    assert source_problems(found) == []
    assert digest == _sha256((folder / "first.mov").read_bytes())
    for file in (folder / "cache").iterdir():
        file.unlink()
    assert _fetch(tools, folder, source, "second.mov") == digest


def test_a_synthetic_clip_is_generated_once_and_again_if_damaged(
    tools: Tools, folder: Path
) -> None:
    synthetic = SyntheticSource(
        content="motion", width=64, height=64, frame_rate="25", duration_s=0.2
    )
    source = Source(name="synthetic", file_name="synthetic", synthetic=synthetic)
    digest = _fetch(tools, folder, source, "first.mov")
    (cached,) = (f for f in (folder / "cache").iterdir() if not f.suffix)
    before = cached.stat().st_ino
    assert _fetch(tools, folder, source, "second.mov") == digest
    assert cached.stat().st_ino == before
    cached.chmod(0o644)
    cached.write_bytes(b"damaged")
    assert _fetch(tools, folder, source, "third.mov") == digest
    assert _sha256((folder / "third.mov").read_bytes()) == digest


@pytest.mark.slow
def test_a_stop_ends_the_generation_of_a_clip(tools: Tools, folder: Path) -> None:
    synthetic = SyntheticSource(
        content="noise", width=1920, height=1080, frame_rate="60", duration_s=600.0
    )
    source = Source(name="synthetic", file_name="synthetic", synthetic=synthetic)
    started = time.monotonic()

    def stop() -> None:
        if time.monotonic() - started > 1:
            raise AttemptFailedError(FailureClass.STOPPED, "enough")

    fetcher = SourceFetcher(SourceCache(folder / "cache", 1000), tools, 1000)
    with (
        MasterClient("https://127.0.0.1:1", "token", folder / "ca.pem") as unreachable,
        pytest.raises(AttemptFailedError, match="enough"),
    ):
        fetcher.fetch(unreachable, source, folder / "synthetic.mov", stop)
    assert time.monotonic() - started < 20
    assert list((folder / "cache").iterdir()) == []


class _Files(http.server.BaseHTTPRequestHandler):
    """Answers requests with a clip, a missing file, a redirect or an error."""

    def do_GET(self) -> None:
        if self.path == "/clip.mp4":
            self.send_response(200)
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b"moving pictures")
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        else:
            self.send_error(404 if self.path == "/nothing" else 503)

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_clip_from_a_url_is_verified_and_cached(url: str, tools: Tools, folder: Path) -> None:
    digest = _sha256(b"moving pictures")
    source = Source(name="clip", file_name="clip.mp4", sha256=digest, url=f"{url}/clip.mp4")
    assert _fetch(tools, folder, source, "clip.mp4") == digest
    assert (folder / "clip.mp4").read_bytes() == b"moving pictures"
    missing = Source(name="clip", file_name="clip.mp4", sha256=digest, url=f"{url}/nothing")
    assert _fetch(tools, folder, missing, "again.mp4") == digest, "it is in the cache"


@pytest.mark.parametrize(
    ("path", "max_bytes", "failure"),
    [
        ("/nothing", 100, FailureClass.SOURCE_UNREADABLE),
        ("/busy", 100, FailureClass.NETWORK),
        ("/elsewhere", 100, FailureClass.NETWORK),
        ("/clip.mp4", 100, FailureClass.SOURCE_CHECKSUM),
        ("/clip.mp4", 10, FailureClass.SOURCE_UNREADABLE),
    ],
)
def test_url_errors_are_classified_and_leave_no_file(
    url: str,
    tools: Tools,
    folder: Path,
    *,
    path: str,
    max_bytes: int,
    failure: FailureClass,
) -> None:
    source = Source(name="clip", file_name="c.mp4", sha256=_sha256(b"other"), url=url + path)
    with pytest.raises(AttemptFailedError) as caught:
        _fetch(tools, folder, source, "clip.mp4", max_bytes)
    assert caught.value.failure_class is failure
    assert list((folder / "cache").iterdir()) == []


def test_an_unreachable_host_is_a_network_failure(tools: Tools, folder: Path) -> None:
    source = Source(
        name="clip", file_name="c.mp4", sha256=_sha256(b"x"), url="http://127.0.0.1:9/c.mp4"
    )
    with pytest.raises(AttemptFailedError) as caught:
        _fetch(tools, folder, source, "clip.mp4")
    assert caught.value.failure_class is FailureClass.NETWORK
