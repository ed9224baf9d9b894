"""The cache of sources, on a real disk."""

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
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.scenario import Source, SyntheticSource
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.probe import probe_video
from ffrtmp_worker.inputs.cache import SourceCache
from ffrtmp_worker.inputs.fetcher import SourceFetcher
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure.output import source_problems


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _gives(content: bytes, asked: list[str]) -> Iterator[bytes]:
    asked.append("once")
    yield content[:3]
    yield content[3:]


def _no_stop() -> None:
    """Go on."""


def test_a_source_is_downloaded_once(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    asked: list[str] = []
    for number in range(3):
        target = tmp_path / f"source-{number}"
        cache.fetch(
            _sha256(b"moving pictures"), target, _gives(b"moving pictures", asked), _no_stop
        )
        assert target.read_bytes() == b"moving pictures"
    assert len(asked) == 1


def test_wrong_content_is_the_jobs_fault_and_leaves_nothing(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    with pytest.raises(AttemptFailedError) as caught:
        cache.fetch(_sha256(b"right"), tmp_path / "source", _gives(b"wrong", []), _no_stop)
    assert caught.value.failure_class is FailureClass.SOURCE_CHECKSUM
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "source").exists()


def test_a_damaged_file_is_fetched_anew(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    source, asked = _sha256(b"moving pictures"), list[str]()
    cache.fetch(source, tmp_path / "first", _gives(b"moving pictures", asked), _no_stop)
    cached = tmp_path / "cache" / source
    cached.chmod(0o644)
    cached.write_bytes(b"moving pixtures")
    cache.fetch(source, tmp_path / "second", _gives(b"moving pictures", asked), _no_stop)
    assert (tmp_path / "second").read_bytes() == b"moving pictures"
    assert len(asked) == 2


def test_the_longest_unused_go_first_and_users_keep_theirs(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 250)
    contents = [bytes([number]) * 100 for number in range(3)]
    for age, content in zip((300, 100, 0), contents, strict=True):
        source = _sha256(content)
        cache.fetch(source, tmp_path / source, _gives(content, []), _no_stop)
        if age:
            cached = tmp_path / "cache" / source
            used = cached.stat().st_atime - age
            os.utime(cached, (used, used))
    kept = {file.name for file in (tmp_path / "cache").iterdir()}
    assert kept == {_sha256(content) for content in contents[1:]}
    assert (tmp_path / _sha256(contents[0])).read_bytes() == contents[0]


def test_a_source_above_the_limit_still_serves(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1)
    cache.fetch(_sha256(b"large"), tmp_path / "source", _gives(b"large", []), _no_stop)
    assert (tmp_path / "source").read_bytes() == b"large"


def test_a_stop_ends_a_download(tmp_path: Path) -> None:
    def stop() -> None:
        raise AttemptFailedError(FailureClass.STOPPED, "enough")

    cache = SourceCache(tmp_path / "cache", 1000)
    with pytest.raises(AttemptFailedError, match="enough"):
        cache.fetch(_sha256(b"right"), tmp_path / "source", _gives(b"right", []), stop)
    assert list((tmp_path / "cache").iterdir()) == []


# --- where sources come from ---------------------------------------------------------------


def _fetch(
    tools: Tools, folder: Path, source: Source, target: str, max_bytes: int = 10_000_000
) -> str:
    """Fetch as an agent does, from anywhere but the master."""
    fetcher = SourceFetcher(SourceCache(folder / "cache", max_bytes), tools, max_bytes)
    with MasterClient("https://127.0.0.1:1", "token", folder / "ca.pem") as nobody:
        return fetcher.fetch(nobody, source, folder / target, _no_stop)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path


@pytest.mark.parametrize("content", ["still", "motion", "noise", "animation"])
def test_a_made_clip_is_what_it_says_and_always_the_same(
    content: str, tools: Tools, folder: Path
) -> None:
    made = SyntheticSource(
        content=content,  # type: ignore[arg-type]
        width=160,
        height=90,
        frame_rate="30000/1001",
        duration_s=1.001,
    )
    source = Source(name="made", file_name="made", synthetic=made)
    digest = _fetch(tools, folder, source, "first.mov")
    found = probe_video(tools.ffprobe, folder / "first.mov")
    assert (found.width, found.height, found.frames) == (160, 90, 30)
    assert found.frame_rate_text == "30000/1001"
    assert source_problems(found) == []
    assert digest == _sha256((folder / "first.mov").read_bytes())
    for file in (folder / "cache").iterdir():
        file.unlink()
    assert _fetch(tools, folder, source, "second.mov") == digest


def test_a_made_clip_is_made_once_and_anew_when_it_is_damaged(tools: Tools, folder: Path) -> None:
    made = SyntheticSource(content="motion", width=64, height=64, frame_rate="25", duration_s=0.2)
    source = Source(name="made", file_name="made", synthetic=made)
    digest = _fetch(tools, folder, source, "first.mov")
    (cached,) = (f for f in (folder / "cache").iterdir() if not f.suffix)
    before = cached.stat().st_ino
    assert _fetch(tools, folder, source, "second.mov") == digest
    assert cached.stat().st_ino == before
    cached.chmod(0o644)
    cached.write_bytes(b"damaged")
    assert _fetch(tools, folder, source, "third.mov") == digest
    assert _sha256((folder / "third.mov").read_bytes()) == digest


def test_a_stop_ends_the_making_of_a_clip(tools: Tools, folder: Path) -> None:
    made = SyntheticSource(
        content="noise", width=1920, height=1080, frame_rate="60", duration_s=600.0
    )
    source = Source(name="made", file_name="made", synthetic=made)
    begun = time.monotonic()

    def stop() -> None:
        if time.monotonic() - begun > 1:
            raise AttemptFailedError(FailureClass.STOPPED, "enough")

    fetcher = SourceFetcher(SourceCache(folder / "cache", 1000), tools, 1000)
    with (
        MasterClient("https://127.0.0.1:1", "token", folder / "ca.pem") as nobody,
        pytest.raises(AttemptFailedError, match="enough"),
    ):
        fetcher.fetch(nobody, source, folder / "made.mov", stop)
    assert time.monotonic() - begun < 20
    assert list((folder / "cache").iterdir()) == []


class _Files(http.server.BaseHTTPRequestHandler):
    """Serves one clip, one that is not there, and one that is elsewhere."""

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
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_clip_at_a_url_is_checked_and_kept(url: str, tools: Tools, folder: Path) -> None:
    digest = _sha256(b"moving pictures")
    source = Source(name="clip", file_name="clip.mp4", sha256=digest, url=f"{url}/clip.mp4")
    assert _fetch(tools, folder, source, "clip.mp4") == digest
    assert (folder / "clip.mp4").read_bytes() == b"moving pictures"
    gone = Source(name="clip", file_name="clip.mp4", sha256=digest, url=f"{url}/nothing")
    assert _fetch(tools, folder, gone, "again.mp4") == digest, "it is in the cache"


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
def test_what_a_url_does_not_give_is_classified_and_leaves_nothing(
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


def test_a_host_that_does_not_answer_is_the_networks_fault(tools: Tools, folder: Path) -> None:
    source = Source(
        name="clip", file_name="c.mp4", sha256=_sha256(b"x"), url="http://127.0.0.1:9/c.mp4"
    )
    with pytest.raises(AttemptFailedError) as caught:
        _fetch(tools, folder, source, "clip.mp4")
    assert caught.value.failure_class is FailureClass.NETWORK
