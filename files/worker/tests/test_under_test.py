"""FFmpegs that a suite gives: real ones, and what is none."""

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
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.models import Progress
from ffrtmp_shared.scenario import (
    DecodeSettings,
    DensitySettings,
    LadderSettings,
    LiveSettings,
    RatePoint,
    Rendition,
    Scenario,
)
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError, identify_build
from ffrtmp_worker.inputs.cache import SourceCache
from ffrtmp_worker.inputs.fetcher import SourceFetcher
from ffrtmp_worker.inputs.ffmpeg_build import BuildCache
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools

from .api_server import ApiServer
from .conftest import attempt, scenario
from .rtmp_server import running

pytestmark = pytest.mark.slow

# What a program does for ever: pause() over and over, or a branch to itself.
_FOREVER = {
    "x86_64": b"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7",
    "aarch64": b"\x00\x00\x00\x14",
}
_NUMBERS = {"x86_64": 62, "aarch64": 183}


def _elf(machine: str, code: bytes, interpreter: bytes = b"") -> bytes:
    """Write the smallest program for a processor; with `interpreter`, one that needs a loader."""
    base, count = 0x400000, 2 if interpreter else 1
    start = 64 + 56 * count
    size = start + len(code) + len(interpreter)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack(
        "<HHIQQQIHHHHHH", 2, _NUMBERS[machine], 1, base + start, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    if interpreter:
        at = start + len(code)
        length = len(interpreter)
        head += struct.pack("<IIQQQQQQ", 3, 4, at, base + at, base + at, length, length, 1)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return head + code + interpreter


@dataclass(kw_only=True)
class Node:
    """A node that runs what its master has, and the clip that it encodes."""

    master: ApiServer
    client: MasterClient
    tools: Tools
    clip: Path
    folder: Path
    is_allowed: bool = True
    cache_max_bytes: int = 10**9

    def __post_init__(self) -> None:
        """Begin with an empty cache."""
        cache = SourceCache(self.folder / "cache", self.cache_max_bytes)
        fetcher = SourceFetcher(cache, self.tools, self.cache_max_bytes)
        self.builds = BuildCache(fetcher, is_allowed=self.is_allowed, patience_s=5)

    def given(self, content: bytes) -> FfmpegUnderTest:
        """Let the master have a program."""
        digest = hashlib.sha256(content).hexdigest()
        self.master.sources[digest] = content
        return FfmpegUnderTest(name="patched", sha256=digest)

    def scenario(self, ffmpeg: FfmpegUnderTest, **settings: object) -> Scenario:
        """Return an encode of the clip with an FFmpeg."""
        return msgspec.structs.replace(scenario(self.clip, **settings), ffmpeg=ffmpeg)

    def attempt(self, what: Scenario, name: str = "attempt") -> Attempt:
        """Return an attempt at a scenario in the folder `name`."""
        return attempt(what, self.clip, self.folder / name, self.tools)

    def equipped(self, what: Scenario, name: str = "attempt") -> Attempt:
        """Return the same with its FFmpeg."""
        return self.builds.tools_for(self.attempt(what, name), self.client)

    def refusal(self, ffmpeg: FfmpegUnderTest, name: str = "attempt") -> AttemptFailedError:
        """Return why an FFmpeg is not used."""
        with pytest.raises(AttemptFailedError) as caught:
            self.equipped(self.scenario(ffmpeg), name)
        return caught.value


@pytest.fixture
def node(master: ApiServer, client: MasterClient, tools: Tools, clip: Path, tmp_path: Path) -> Node:
    return Node(master=master, client=client, tools=tools, clip=clip, folder=tmp_path)


def test_what_is_timed_is_the_suites_and_what_judges_is_the_farms(
    node: Node, system_ffmpeg: Path
) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    found = kinds.run_attempt(node.equipped(node.scenario(given), "theirs"))
    ours = kinds.run_attempt(node.equipped(node.scenario(FfmpegUnderTest(name="ours")), "ours"))
    said = subprocess.run([system_ffmpeg, "-version"], check=True, capture_output=True, text=True)
    assert found.provenance.ffmpeg.version == said.stdout.split()[2]
    assert found.provenance.ffmpeg.sha256 == given.sha256
    assert ours.provenance.ffmpeg == node.tools.ffmpeg_build != found.provenance.ffmpeg
    assert found.provenance.quality_ffmpeg == node.tools.quality_ffmpeg_build
    assert isinstance(found.quality, QualityMeasurement)
    assert found.output is not None
    assert found.output.frames == 40
    theirs = node.folder / "theirs"
    assert (theirs / "under-test" / "ffmpeg").stat().st_mode & 0o777 == 0o555
    # By hand, in a folder with the same source and program: the same command, the same file.
    assert found.provenance.argv[0] == "under-test/ffmpeg"
    (theirs / "output.mp4").unlink()
    subprocess.run(found.provenance.argv, cwd=theirs, check=True, capture_output=True)
    again = hashlib.sha256((theirs / "output.mp4").read_bytes()).hexdigest()
    assert again == found.output.sha256


def test_every_kind_times_the_suites_ffmpeg(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    plain = node.scenario(given, preset="ultrafast", threads=1)
    assert plain.encode is not None
    rung = Rendition(name="full", encode=plain.encode)
    ask = msgspec.structs.replace
    for what in (
        ask(plain, kind="decode", encode=None, decode=DecodeSettings()),
        ask(plain, kind="ladder", encode=None, ladder=LadderSettings(renditions=(rung,))),
    ):
        found = kinds.run_attempt(node.equipped(what, what.kind))
        assert found.provenance.argv[0] == "under-test/ffmpeg"
        assert found.provenance.ffmpeg.sha256 == given.sha256
        log = node.folder / what.kind / "ffmpeg.log"
        assert log.read_text(encoding="utf-8").startswith("under-test/ffmpeg ")


def test_streams_are_of_the_suites_ffmpeg(node: Node, system_ffmpeg: Path) -> None:
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


def test_a_live_is_encoded_by_the_suites_ffmpeg_and_fed_by_the_farms(
    node: Node, system_ffmpeg: Path
) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    rate = RatePoint(bitrate_kbps=300)
    plain = node.scenario(given, preset="ultrafast", threads=1, rate=rate, gop_frames=25)
    what = msgspec.structs.replace(plain, kind="live", live=LiveSettings(duration_s=10.0))
    seen: set[str] = set()
    rtmp_folder = node.folder / "rtmp"
    rtmp_folder.mkdir()

    def look(_: Progress) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                seen.add(process.exe())

    with running(rtmp_folder) as server:
        node.tools = replace(node.tools, rtmp_url=server.url)
        found = kinds.run_attempt(replace(node.equipped(what, "live"), report=look))
    assert found.live is not None
    assert found.provenance.argv[0] == "under-test/ffmpeg"
    assert found.provenance.ffmpeg.sha256 == given.sha256
    programs = {Path(exe) for exe in seen}
    assert node.folder / "live" / "under-test" / "ffmpeg" in programs
    assert node.tools.farm_ffmpeg.resolve() in programs


def test_a_build_is_fetched_started_and_proved_once(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    took_s = []
    for number in range(2):
        begun_s = time.monotonic()
        tools = node.equipped(node.scenario(given), str(number)).tools
        took_s.append(time.monotonic() - begun_s)
        assert tools.encoders == {"libx264"}
        assert (tools.farm_ffmpeg, tools.quality_ffmpeg) == (node.tools.ffmpeg,) * 2
    assert len([seen for seen in node.master.seen if seen.path.startswith("/v1/sources/")]) == 1
    assert took_s[1] < took_s[0] / 2


def test_nothing_is_fetched_where_the_operator_does_not_allow_it(
    node: Node, system_ffmpeg: Path
) -> None:
    closed = replace(node, is_allowed=False)
    refusal = closed.refusal(node.given(system_ffmpeg.read_bytes()))
    assert refusal.failure_class is FailureClass.INVALID_SETTINGS
    assert "worker_allow_ffmpeg_under_test is false here" in str(refusal)
    assert node.master.seen == []
    own = closed.attempt(node.scenario(FfmpegUnderTest(name="ours")), "own")
    assert closed.builds.tools_for(own, node.client) is own


_OTHER = "aarch64" if platform.machine() == "x86_64" else "x86_64"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"#!/bin/sh\necho ffmpeg version 9\n",
            "it is not an ELF executable, but perhaps a script",
        ),
        (b"", "it is not an ELF executable"),
        (b"\x7fELF", "it is not an ELF executable"),
        (_elf(_OTHER, _FOREVER[_OTHER]), f"built for 64-bit {_OTHER}, and this node is 64-bit"),
        (_elf(platform.machine(), _FOREVER[platform.machine()]), "its version within 5 s"),
        (
            _elf(platform.machine(), _FOREVER[platform.machine()], b"/lib/no-such-loader.so\0"),
            "the loader that it names is not on this node",
        ),
        (Path(shutil.which("true") or "").read_bytes(), "is not FFmpeg: its output is ''"),
        (Path(shutil.which("false") or "").read_bytes(), "-version ended with code 1"),
        (Path(shutil.which("ls") or "").read_bytes(), "-version ended with code"),
    ],
    ids=["script", "empty", "cut", "arch", "hangs", "loader", "silent", "fails", "other"],
)
def test_what_is_no_ffmpeg_fails_the_job_and_says_why(
    node: Node, content: bytes, said: str
) -> None:
    refusal = node.refusal(node.given(content))
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert not refusal.failure_class.is_retryable
    assert str(refusal).startswith("FFmpeg patched cannot be used: ")
    assert said in str(refusal)


def test_a_build_whose_libraries_are_not_here_names_them(node: Node, system_ffmpeg: Path) -> None:
    content = system_ffmpeg.read_bytes()
    assert b"libavdevice.so" in content, "the distribution's FFmpeg is linked dynamically"
    refusal = node.refusal(node.given(content.replace(b"libavdevice.so", b"libabsence.so.")))
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert "error while loading shared libraries: libabsence.so" in str(refusal)


def test_a_build_that_hangs_is_left_when_the_job_is_canceled(node: Node) -> None:
    here = platform.machine()
    what = node.scenario(node.given(_elf(here, _FOREVER[here])))
    ends_s = time.monotonic() + 1
    canceled = replace(
        node.attempt(what),
        stop_reason=lambda: "the job was canceled" if time.monotonic() > ends_s else "",
    )
    with pytest.raises(AttemptFailedError, match="the job was canceled") as caught:
        node.builds.tools_for(canceled, node.client)
    assert caught.value.failure_class is FailureClass.STOPPED
    assert time.monotonic() - ends_s < 3


def test_a_build_without_the_encoder_says_so(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(system_ffmpeg.read_bytes())
    what = node.scenario(given, encoder="h264_nvenc", preset="p4", rate=RatePoint(cq=30))
    with pytest.raises(AttemptFailedError) as caught:
        node.equipped(what)
    assert caught.value.failure_class is FailureClass.ENCODER_UNAVAILABLE
    assert "h264_nvenc does not work on this node with FFmpeg patched (" in str(caught.value)
    assert caught.value.log_tail


def test_other_content_than_its_digest_is_never_run(node: Node, system_ffmpeg: Path) -> None:
    given = node.given(b"what was promised")
    assert given.sha256 is not None
    node.master.sources[given.sha256] = system_ffmpeg.read_bytes()
    refusal = node.refusal(given)
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert "FFmpeg patched: what came has the digest" in str(refusal)
    assert list((node.folder / "cache").iterdir()) == []
    assert list((node.folder / "attempt" / "under-test").iterdir()) == []


def test_a_build_larger_than_the_cache_is_not_kept(node: Node) -> None:
    refusal = replace(node, cache_max_bytes=1000).refusal(node.given(bytes(1001)))
    assert refusal.failure_class is FailureClass.FFMPEG_UNUSABLE
    assert "larger than the 1000 bytes of the cache" in str(refusal)
    assert list((node.folder / "cache").iterdir()) == []


def test_a_build_that_the_master_lacks_is_the_jobs_fault_and_a_master_that_refuses_is_not(
    node: Node,
) -> None:
    given = node.given(b"x")
    node.master.refuse(f"/v1/sources/{given.sha256}", 404, 403)
    assert node.refusal(given, "first").failure_class is FailureClass.FFMPEG_UNUSABLE
    assert node.refusal(given, "second").failure_class is FailureClass.NETWORK


def test_a_build_comes_from_its_url_too(node: Node, system_ffmpeg: Path) -> None:
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
    assert f"the digest {digest}, not {'0' * 64}" in str(refusal)
    assert node.master.seen == []


def test_a_program_that_writes_without_end_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "endless"
    program.write_text("#!/bin/sh\nexec cat /dev/zero\n", encoding="ascii")
    program.chmod(0o755)
    with pytest.raises(UnusableFfmpegError, match="did not report its version within 2 s"):
        identify_build(program, timeout_s=2)


def test_what_may_not_be_executed_is_told_from_what_is_no_program(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_bytes(b"")
    with pytest.raises(UnusableFfmpegError) as caught:
        identify_build(program)
    assert caught.value.errno == errno.EACCES
