"""Fixtures: FFmpeg programs, clips, and a small server that implements the master's API."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
import trustme
import working_encoders
from ffrtmp_shared.agent_models import Claim
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Job
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import EncodeSettings, Scenario, Source
from ffrtmp_worker.agent.spooled_report import describe_artifact
from ffrtmp_worker.ffmpeg.build_info import identify_build
from ffrtmp_worker.ffmpeg.program_identity import ProgramIdentity
from ffrtmp_worker.inputs.address_policy import AddressPolicy
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools
from ffrtmp_worker.kinds.steps.probe_cache import ProbeCache
from ffrtmp_worker.measure.calibration import Calibration
from ffrtmp_worker.measure.measurement_cache import MeasurementCache
from session_files import make_once

from .api_server import ApiServer

_ROOT = Path(__file__).parents[3]
_MOVIE = _ROOT / "files" / "media" / "bigbuckbunny-720p.mp4"

LOOPBACK_ALLOWED = AddressPolicy(allowed=(ip_network("127.0.0.0/8"),), never=())
"""A policy that no agent has: the tests serve their files on this host."""


@pytest.fixture(scope="session")
def ffmpeg() -> Path:
    """Return an FFmpeg that has libvmaf and all encoders of the farm."""
    binary = Path(os.environ.get("FFRTMP_TEST_FFMPEG", _ROOT / ".cache" / "ffmpeg" / "ffmpeg"))
    if not binary.is_file():
        pytest.fail(f"{binary} does not exist: run make test-ffmpeg", pytrace=False)
    return binary


@pytest.fixture(scope="session")
def system_ffmpeg() -> Path:
    """Return the FFmpeg of the Linux distribution, which is older."""
    return _installed("ffmpeg")


@pytest.fixture(params=["ffmpeg", pytest.param("system_ffmpeg", marks=pytest.mark.slow)])
def each_ffmpeg(request: pytest.FixtureRequest) -> Path:
    """Return one of the two FFmpegs; tests that use this fixture run with each of them."""
    binary: Path = request.getfixturevalue(request.param)
    return binary


@pytest.fixture(scope="session")
def ffprobe() -> Path:
    return _installed("ffprobe")


@pytest.fixture(scope="session")
def clip(ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of less than two seconds, which can be encoded quickly."""
    before = ["-ss", "1", "-i", str(_MOVIE), "-frames:v", "40", "-an", "-vf", "scale=320:180"]
    coding = ["-c:v", "libx264", "-crf", "10", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
    return make_once(tmp_path_factory, "small.mp4", lambda file: make(ffmpeg, before, coding, file))


@pytest.fixture(scope="session")
def long_clip(ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip whose encode with a slow preset takes longer than any test."""
    return _picture(ffmpeg, tmp_path_factory, 60)


@pytest.fixture(scope="session")
def medium_clip(ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip whose encode with a slow preset and one thread takes a few seconds."""
    return _picture(ffmpeg, tmp_path_factory, 8)


def _picture(ffmpeg: Path, factory: pytest.TempPathFactory, duration_s: int) -> Path:
    before = ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={duration_s}"]
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    return make_once(
        factory, f"picture-{duration_s}s.mp4", lambda file: make(ffmpeg, before, coding, file)
    )


@pytest.fixture(scope="session")
def encoders_file(ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with those encoders of the FFmpeg that work on this computer."""
    return working_encoders.file_for(tmp_path_factory, ffmpeg)


@pytest.fixture(scope="session")
def tools(ffmpeg: Path, ffprobe: Path, encoders_file: Path) -> Tools:
    build = identify_build(ffmpeg)
    return Tools(
        ffmpeg=ffmpeg,
        farm_ffmpeg=ffmpeg,
        ffprobe=ffprobe,
        quality_ffmpeg=ffmpeg,
        ffmpeg_build=build,
        quality_ffmpeg_build=build,
        encoders=working_encoders.read(encoders_file),
        vmaf_threads=2,
        min_free_bytes=1,
        agent_version="0.1.0",
        ffprobe_identity=ProgramIdentity(ffprobe),
        quality_identity=ProgramIdentity(ffmpeg),
        calibration=Calibration(None, ffmpeg, build.sha256),
    )


@pytest.fixture
def caching(tools: Tools, tmp_path: Path) -> Tools:
    """Return the tools of a node with empty caches."""
    folder = tmp_path / "cache"
    folder.mkdir()
    return replace(tools, probe_cache=ProbeCache(folder), measurements=MeasurementCache(folder))


@pytest.fixture
def master(tmp_path: Path) -> Iterator[ApiServer]:
    """Run a server that implements the master's API over HTTPS."""
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with ApiServer(authority, ca_file) as server:
        yield server


@pytest.fixture
def client(master: ApiServer) -> Iterator[MasterClient]:
    with MasterClient(master.url, "token", master.ca_file) as opened:
        yield opened


def make(ffmpeg: Path, before: list[str], after: list[str], target: Path) -> None:
    """Create a test clip with FFmpeg."""
    subprocess.run(
        [str(ffmpeg), "-nostdin", "-v", "error", "-y", *before, *after, str(target)], check=True
    )


def scenario(source: Path, **settings: object) -> Scenario:
    """Return a scenario that encodes `source` with x264; `settings` override the defaults."""
    values = {
        "encoder": "libx264",
        "preset": "veryfast",
        "rate": RatePoint(bitrate_kbps=300),
    } | settings
    return Scenario(
        name=f"test/{new_id()}",
        kind="transcode",
        source=Source(name="clip", sha256=describe_artifact(source).sha256, file_name=source.name),
        encode=EncodeSettings(**values),  # type: ignore[arg-type]
        slowest_speed=0.02,
    )


def claim_of(spec: Scenario, heartbeat_s: float) -> Claim:
    """Return a claim for the third attempt of a job."""
    now = "2026-01-01T00:00:00Z"
    job = msgspec.convert(
        {
            "id": str(new_id()),
            "run_id": str(new_id()),
            "scenario": msgspec.to_builtins(spec),
            "repeat": 1,
            "position": 0,
            "state": "leased",
            "node": None,
            "leased_to": "worker-1",
            "attempt": 3,
            "max_attempts": 3,
            "created_at": now,
            "started_at": None,
            "finished_at": None,
            "lease_expires_at": now,
            "not_before": None,
            "progress": None,
            "failure": None,
        },
        Job,
    )
    return Claim(job=job, attempt=3, lease_s=60, heartbeat_s=heartbeat_s)


def stages_of(reported: Iterable[Progress]) -> list[str]:
    """Return the stages of the reported progress in order, each of them once."""
    return [stage for stage, _ in itertools.groupby(str(progress.stage) for progress in reported)]


def attempt(
    spec: Scenario,
    source: Path,
    folder: Path,
    tools: Tools,
    *,
    stop_reason: Callable[[], str] = lambda: "",
    reported: list[Progress] | None = None,
) -> Attempt:
    """Return an attempt whose source is a copy of a file.

    The progress that the attempt reports is appended to `reported`.
    """
    folder.mkdir(exist_ok=True)

    def fetch(_source: Source, target: Path) -> str:
        shutil.copyfile(source, target)
        return describe_artifact(source).sha256

    return Attempt(
        scenario=spec,
        folder=folder,
        tools=tools,
        fetch=fetch,
        report=([] if reported is None else reported).append,
        stop_reason=stop_reason,
    )


def _installed(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed", pytrace=False)
    return Path(found)
