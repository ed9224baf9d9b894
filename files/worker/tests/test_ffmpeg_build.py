"""Tests of FFmpeg builds that suites provide, and of other files that are provided as builds."""

import errno
import hashlib
import http.server
import platform
import shutil
import struct
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import (
    DecodeSettings,
    DensitySettings,
    LadderSettings,
    LiveSettings,
    Rendition,
    Scenario,
)
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError, identify_build
from ffrtmp_worker.inputs.cache import SourceCache
from ffrtmp_worker.inputs.download import UrlAccess
from ffrtmp_worker.inputs.fetcher import SourceFetcher
from ffrtmp_worker.inputs.ffmpeg_build import BuildCache
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools

from .api_server import ApiServer
from .conftest import LOOPBACK_ALLOWED, attempt, scenario
from .rtmp_server import running

pytestmark = pytest.mark.slow

# The machine code of endless loops: repeated calls of pause(), or a branch to itself.
_ENDLESS_LOOP = {
    "x86_64": b"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7",
    "aarch64": b"\x00\x00\x00\x14",
}
_MACHINE_NUMBERS = {"x86_64": 62, "aarch64": 183}


def _elf(machine: str, code: bytes, interpreter: bytes = b"") -> bytes:
    """Return a minimal ELF program for a processor; with an `interpreter`, it needs a loader."""
    base, count = 0x400000, 2 if interpreter else 1
    start = 64 + 56 * count
    size = start + len(code) + len(interpreter)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack(
        "<HHIQQQIHHHHHH",
        2,
        _MACHINE_NUMBERS[machine],
        1,
        base + start,
        64,
        0,
        0,
        64,
        56,
        count,
        0,
        0,
        0,
    )
    if interpreter:
        at = start + len(code)
        length = len(interpreter)
        head += struct.pack("<IIQQQQQQ", 3, 4, at, base + at, base + at, length, length, 1)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return head + code + interpreter


@dataclass(kw_only=True)
class Node:
    """A node that fetches builds from its master and encodes a clip."""

    master: ApiServer
    client: MasterClient
    tools: Tools
    clip: Path
    folder: Path
    is_allowed: bool = True
    cache_max_bytes: int = 10**9

    def __post_init__(self) -> None:
        """Create an empty cache."""
        cache = SourceCache(self.folder / "cache", self.cache_max_bytes)
        urls = UrlAccess(policy=LOOPBACK_ALLOWED)
        fetcher = SourceFetcher(cache, self.tools, self.cache_max_bytes, urls)
        self.builds = BuildCache(fetcher, is_allowed=self.is_allowed, timeout_s=5)

    def given(self, content: bytes) -> FfmpegUnderTest:
        """Store a build on the master and return its description."""
        digest = hashlib.sha256(content).hexdigest()
        self.master.sources[digest] = content
        return FfmpegUnderTest(name="patched", sha256=digest)

    def scenario(self, ffmpeg: FfmpegUnderTest, **settings: object) -> Scenario:
        """Return a scenario that encodes the clip with an FFmpeg under test."""
        return msgspec.structs.replace(scenario(self.clip, **settings), ffmpeg=ffmpeg)

    def attempt(self, spec: Scenario, name: str = "attempt") -> Attempt:
        """Return an attempt at a scenario in the folder `name`."""
        return attempt(spec, self.clip, self.folder / name, self.tools)

    def equipped(self, spec: Scenario, name: str = "attempt") -> Attempt:
        """Return an attempt at a scenario that uses the scenario's FFmpeg under test."""
        return self.builds.tools_for(self.attempt(spec, name), self.client)

    def refusal(self, ffmpeg: FfmpegUnderTest, name: str = "attempt") -> AttemptFailedError:
        """Return the error with which an FFmpeg under test is refused."""
        with pytest.raises(AttemptFailedError) as caught:
            self.equipped(self.scenario(ffmpeg), name)
        return caught.value


@pytest.fixture
def node(master: ApiServer, client: MasterClient, tools: Tools, clip: Path, tmp_path: Path) -> Node:
    return Node(master=master, client=client, tools=tools, clip=clip, folder=tmp_path)


def test_the_suites_build_is_timed_and_the_farms_build_judges(
    node: Node, system_ffmpeg: Path
) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    found = kinds.run_attempt(node.equipped(node.scenario(given), "suite"))
    farm = kinds.run_attempt(node.equipped(node.scenario(FfmpegUnderTest(name="farm")), "farm"))
    version = subprocess.run(
        [system_ffmpeg, "-version"], check=True, capture_output=True, text=True
    )
    assert found.provenance.ffmpeg.version == version.stdout.split()[2]
    assert found.provenance.ffmpeg.sha256 == given.sha256
    assert farm.provenance.ffmpeg == node.tools.ffmpeg_build != found.provenance.ffmpeg
    assert found.provenance.quality_ffmpeg == node.tools.quality_ffmpeg_build
    assert isinstance(found.quality, QualityMeasurement)
    assert found.output is not None
    assert found.output.frames == 40
    suite_folder = node.folder / "suite"
    assert (suite_folder / "under-test" / "ffmpeg").stat().st_mode & 0o777 == 0o555
    # The recorded command can be run again with the same source and program, and writes the output.
    assert found.provenance.argv[0] == "under-test/ffmpeg"
    (suite_folder / "output.mp4").unlink()
    subprocess.run(found.provenance.argv, cwd=suite_folder, check=True, capture_output=True)
    repeated = hashlib.sha256((suite_folder / "output.mp4").read_bytes()).hexdigest()
    assert repeated == found.output.sha256


def test_every_kind_times_the_suites_ffmpeg(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    plain = node.scenario(given, preset="ultrafast", threads=1)
    assert plain.encode is not None
    rung = Rendition(name="full", encode=plain.encode)
    for spec in (
        msgspec.structs.replace(plain, kind="decode", encode=None, decode=DecodeSettings()),
        msgspec.structs.replace(
            plain, kind="ladder", encode=None, ladder=LadderSettings(renditions=(rung,))
        ),
    ):
        found = kinds.run_attempt(node.equipped(spec, spec.kind))
        assert found.provenance.argv[0] == "under-test/ffmpeg"
        assert found.provenance.ffmpeg.sha256 == given.sha256
        log = node.folder / spec.kind / "ffmpeg.log"
        assert log.read_text(encoding="utf-8").startswith("under-test/ffmpeg ")


def test_density_streams_use_the_suites_ffmpeg(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    plain = node.scenario(given, preset="ultrafast", threads=1)
    search = DensitySettings(window_s=8.0, verify_s=8.0, max_streams=1, max_lag_s=5.0)
    dense = kinds.run_attempt(
        node.equipped(msgspec.structs.replace(plain, kind="density", density=search), "density")
    )
    assert dense.density is not None
    assert dense.density.streams == 1
    assert dense.provenance.argv[0] == "under-test/ffmpeg"
    assert dense.provenance.ffmpeg.sha256 == given.sha256


def test_a_live_stream_uses_the_suites_encoder_and_the_farms_feeder(
    node: Node, system_ffmpeg: Path
) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    rate = RatePoint(bitrate_kbps=300)
    plain = node.scenario(given, preset="ultrafast", threads=1, rate=rate, gop_frames=25)
    spec = msgspec.structs.replace(plain, kind="live", live=LiveSettings(duration_s=10.0))
    seen: set[str] = set()
    rtmp_folder = node.folder / "rtmp"
    rtmp_folder.mkdir()

    def record(_: Progress) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                seen.add(process.exe())

    with running(rtmp_folder) as server:
        node.tools = replace(node.tools, rtmp_url=server.url)
        found = kinds.run_attempt(replace(node.equipped(spec, "live"), report=record))
    assert found.live is not None
    assert found.provenance.argv[0] == "under-test/ffmpeg"
    assert found.provenance.ffmpeg.sha256 == given.sha256
    programs = {Path(exe) for exe in seen}
    assert node.folder / "live" / "under-test" / "ffmpeg" in programs
    assert node.tools.farm_ffmpeg.resolve() in programs


def test_a_build_is_fetched_identified_and_tested_once(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    took_s = []
    for number in range(2):
        begun_s = time.monotonic()
        tools = node.equipped(node.scenario(given), str(number)).tools
        took_s.append(time.monotonic() - begun_s)
        assert tools.encoders == {"libx264"}
        assert (tools.farm_ffmpeg, tools.quality_ffmpeg) == (node.tools.ffmpeg,) * 2
    assert (
        len([request for request in node.master.seen if request.path.startswith("/v1/sources/")])
        == 1
    )
    assert took_s[1] < took_s[0] / 2


def test_nothing_is_fetched_unless_the_operator_allows_it(node: Node, system_ffmpeg: Path) -> None:
    forbidden = replace(node, is_allowed=False)
    refusal = forbidden.refusal(node.given(system_ffmpeg.read_bytes()))
    assert refusal.failure_class is FailureClass.INVALID_SETTINGS
    assert "worker_allow_ffmpeg_under_test is false here" in str(refusal)
    assert node.master.seen == []
    own = forbidden.attempt(node.scenario(FfmpegUnderTest(name="farm")), "own")
    assert forbidden.builds.tools_for(own, node.client) is own


_OTHER = "aarch64" if platform.machine() == "x86_64" else "x86_64"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"#!/bin/sh\necho ffmpeg version 9\n",
            "it is not an ELF executable, but perhaps a script",
        ),
        (b"", "it is not an ELF executable"),
        (b"\x7fELF", "it is not an ELF executable"),
        (
            _elf(_OTHER, _ENDLESS_LOOP[_OTHER]),
            f"built for 64-bit {_OTHER}, and this node is 64-bit",
        ),
        (_elf(platform.machine(), _ENDLESS_LOOP[platform.machine()]), "its version within 5 s"),
        (
            _elf(
                platform.machine(), _ENDLESS_LOOP[platform.machine()], b"/lib/no-such-loader.so\0"
            ),
            "the loader that it requires does not exist on this node",
        ),
        (Path(shutil.which("true") or "").read_bytes(), "is not FFmpeg: its output is ''"),
        (Path(shutil.which("false") or "").read_bytes(), "-version ended with code 1"),
        (Path(shutil.which("ls") or "").read_bytes(), "-version ended with code"),
    ],
    ids=["script", "empty", "cut", "arch", "hangs", "loader", "silent", "fails", "other"],
)
def test_a_file_other_than_ffmpeg_fails_the_job_with_a_reason(
    node: Node, content: bytes, reason: str
) -> None:
    refusal = node.refusal(node.given(content))
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert not refusal.failure_class.is_retryable
    assert str(refusal).startswith("FFmpeg patched cannot be used: ")
    assert reason in str(refusal)


def test_missing_libraries_of_a_build_are_named(node: Node, system_ffmpeg: Path) -> None:
    content = system_ffmpeg.read_bytes()
    assert b"libavdevice.so" in content, "the distribution's FFmpeg is linked dynamically"
    refusal = node.refusal(node.given(content.replace(b"libavdevice.so", b"libabsence.so.")))
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert "error while loading shared libraries: libabsence.so" in str(refusal)


def test_a_canceled_job_does_not_wait_for_a_hanging_build(node: Node) -> None:
    machine = platform.machine()
    spec = node.scenario(node.given(_elf(machine, _ENDLESS_LOOP[machine])))
    ends_s = time.monotonic() + 1
    canceled = replace(
        node.attempt(spec),
        stop_reason=lambda: "the job was canceled" if time.monotonic() > ends_s else "",
    )
    with pytest.raises(AttemptFailedError, match="the job was canceled") as caught:
        node.builds.tools_for(canceled, node.client)
    assert caught.value.failure_class is FailureClass.STOPPED
    assert time.monotonic() - ends_s < 3


def test_a_build_without_the_encoder_is_reported(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    spec = node.scenario(given, encoder="h264_nvenc", preset="p4", rate=RatePoint(cq=30))
    with pytest.raises(AttemptFailedError) as caught:
        node.equipped(spec)
    assert caught.value.failure_class is FailureClass.ENCODER_UNAVAILABLE
    assert "h264_nvenc does not work on this node with FFmpeg patched (" in str(caught.value)
    assert caught.value.log_tail


def test_a_build_with_another_digest_is_never_run(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(b"the expected content")
    assert given.sha256 is not None
    node.master.sources[given.sha256] = system_ffmpeg.read_bytes()
    refusal = node.refusal(given)
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert "FFmpeg patched: the content has another digest" in str(refusal)
    assert list((node.folder / "cache").iterdir()) == []
    assert list((node.folder / "attempt" / "under-test").iterdir()) == []


def test_a_build_larger_than_the_cache_is_not_stored(node: Node) -> None:
    refusal = replace(node, cache_max_bytes=1000).refusal(node.given(bytes(1001)))
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert "larger than the cache of the node (1000 bytes)" in str(refusal)
    assert list((node.folder / "cache").iterdir()) == []


def test_a_missing_build_and_a_refused_download_have_different_classes(
    node: Node,
) -> None:
    given = node.given(b"x")
    node.master.refuse(f"/v1/sources/{given.sha256}", 404, 403)
    assert node.refusal(given, "first").failure_class is FailureClass.FFMPEG_UNUSABLE
    assert node.refusal(given, "second").failure_class is FailureClass.NETWORK


def test_a_build_is_downloaded_from_its_url(node: Node, system_ffmpeg: Path) -> None:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(system_ffmpeg.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{system_ffmpeg.name}"
        digest = hashlib.sha256(system_ffmpeg.read_bytes()).hexdigest()
        right = FfmpegUnderTest(name="patched", sha256=digest, url=url)
        wrong = FfmpegUnderTest(name="patched", sha256="0" * 64, url=url)
        build = node.equipped(node.scenario(right)).tools.ffmpeg_build
        refusal = node.refusal(wrong, "wrong")
        server.shutdown()
    assert build.sha256 == digest
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert f"another digest than {'0' * 64}" in str(refusal)
    assert digest not in str(refusal), "a suite must not find out what a server returned"
    assert node.master.seen == []


def test_a_program_with_endless_output_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "endless"
    program.write_text("#!/bin/sh\nexec cat /dev/zero\n", encoding="ascii")
    program.chmod(0o755)
    with pytest.raises(UnusableFfmpegError, match="did not report its version within 2 s"):
        identify_build(program, timeout_s=2)


def test_a_file_without_execute_permission_has_its_own_error(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_bytes(b"")
    with pytest.raises(UnusableFfmpegError) as caught:
        identify_build(program)
    assert caught.value.errno == errno.EACCES
