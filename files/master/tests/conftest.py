"""A real master on a real SQLite file, with a clock that the tests set."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from ffrtmp_master import app
from ffrtmp_master.farm import Farm
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import credentials, migrate
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.engine import writing_engine
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.measurement import (
    EncodeMeasurement,
    Environment,
    FfmpegBuild,
    Measurement,
    OutputMeasurement,
    Provenance,
    QualityMeasurement,
)
from ffrtmp_shared.models import NodeFacts, Registration, Role
from litestar.testing import TestClient

CLIP = b"not really a clip" * 1000
CLIP_SHA256 = hashlib.sha256(CLIP).hexdigest()

HOLDERS = (
    Credential(name="viewer", role=Role.VIEWER, sha256=token_sha256("token-viewer")),
    Credential(name="submitter", role=Role.SUBMITTER, sha256=token_sha256("token-submitter")),
    Credential(name="admin", role=Role.ADMIN, sha256=token_sha256("token-admin")),
    *(
        Credential(name=name, role=Role.AGENT, sha256=token_sha256(f"token-{name}"), node=name)
        for name in ("worker1", "worker2", "worker3")
    ),
)

BUILD = FfmpegBuild(version="7.1", sha256="f" * 64)


class SetClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def registration(name: str, *encoders: str) -> Registration:
    return Registration(
        name=name,
        facts=NodeFacts(
            hostname=name,
            os="Debian 13",
            kernel="6.12",
            architecture="x86_64",
            cpu_model="cpu",
            cpu_count=2,
            memory_bytes=2**30,
        ),
        encoders=encoders or ("libx264",),
        ffmpeg=BUILD,
        quality_ffmpeg=BUILD,
        agent_version="0.1.0",
        address="192.0.2.1",
        exporters={"cpu": 9510, "ffmpeg": 9506},
    )


def measurement() -> Measurement:
    return Measurement(
        encode=EncodeMeasurement(
            wall_s=2.0,
            user_s=3.0,
            system_s=0.5,
            max_rss_kib=1000,
            frames=100,
            fps=50.0,
            speed=2.0,
            first_frame_s=0.1,
        ),
        output=OutputMeasurement(
            codec="h264",
            width=1280,
            height=720,
            pixel_format="yuv420p",
            frame_rate="25/1",
            frames=100,
            duration_s=4.0,
            file_bytes=500_100,
            video_bytes=500_000,
            video_bitrate_kbps=1000.0,
            sha256="e" * 64,
        ),
        quality=QualityMeasurement(
            vmaf_model="vmaf_v0.6.1",
            vmaf_mean=91.5,
            vmaf_harmonic_mean=91.0,
            vmaf_min=80.0,
            vmaf_p1=81.0,
            vmaf_p5=85.0,
            pairs=100,
        ),
        environment=Environment(
            kernel="6.12",
            cpu_model="cpu",
            cpu_governor="performance",
            cpu_frequency_mhz=3000.0,
            load_before=0.1,
            steal_ratio=0.0,
            memory_available_bytes=2**29,
        ),
        provenance=Provenance(
            argv=("ffmpeg", "-i", "in"),
            ffmpeg=BUILD,
            quality_ffmpeg=BUILD,
            source_sha256=CLIP_SHA256,
            agent_version="0.1.0",
        ),
    )


def suite(
    *,
    encoders: tuple[str, ...] = ("libx264",),
    rates: int = 1,
    repeats: int = 1,
    placement: str = "each",
    sha256: str = CLIP_SHA256,
) -> str:
    encodes = "".join(f"  - {{name: {name}, encoder: {name}}}\n" for name in encoders)
    points = "".join(f"  - {{bitrate_kbps: {1000 + n}}}\n" for n in range(rates))
    return (
        "name: test\n"
        "sources:\n"
        f"  - {{name: clip, file: clip.mp4, sha256: {sha256}}}\n"
        f"encodes:\n{encodes}"
        f"rate_points:\n{points}"
        f"placement: {placement}\n"
        f"repeats: {repeats}\n"
    )


class House:
    """A master and short ways to say what its callers say."""

    def __init__(self, farm: Farm, client: TestClient[Any], clock: SetClock) -> None:
        self.farm = farm
        self.client = client
        self.clock = clock
        self.clip = CLIP
        self.clip_sha256 = CLIP_SHA256
        self.suite = suite
        self.registration = registration
        self.measurement = measurement

    @contextmanager
    def restarted(self) -> Iterator["House"]:
        """Give the master that comes after this one on the same database."""
        farm = Farm(self.farm.settings, self.clock, sweep_s=3600)
        with TestClient(app.create(farm), raise_server_exceptions=False) as client:
            yield House(farm, client, self.clock)

    def call(
        self, who: str | None, method: str, path: str, body: object = None, **more: Any
    ) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer token-{who}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            more["content"] = msgspec.json.encode(body)
        return self.client.request(method, path, headers=headers, **more)

    def ok(self, who: str, method: str, path: str, body: object = None, **more: Any) -> Any:
        answer = self.call(who, method, path, body, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def register(self, name: str, *encoders: str) -> None:
        self.ok(name, "PUT", f"/v1/nodes/{name}", registration(name, *encoders))

    def upload(self) -> None:
        self.ok("submitter", "PUT", f"/v1/sources/{CLIP_SHA256}", content=CLIP)

    def run(self, text: str | None = None, **more: Any) -> Any:
        body = {"suite": text or suite(), "seed": 1}
        return self.ok("submitter", "POST", "/v1/runs", body, **more)

    def claim(self, node: str, slot: int = 1, wait_s: float = 0) -> Any:
        body = {"node": node, "slot": slot, "wait_s": wait_s}
        return self.ok(node, "POST", "/v1/claims", body)

    def heartbeat(self, claim: Any, node: str = "worker1") -> httpx.Response:
        body = {"attempt": claim["attempt"], "progress": {"stage": "encode", "frames": 5}}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/heartbeat", body)

    def result(self, claim: Any, node: str = "worker1", **more: Any) -> httpx.Response:
        body = {"attempt": claim["attempt"], "measurement": measurement(), **more}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/result", body)

    def fail(self, claim: Any, kind: str, node: str = "worker1") -> httpx.Response:
        failure = {"failure_class": kind, "message": f"it was {kind}", "log_tail": ""}
        body = {"attempt": claim["attempt"], "failure": failure}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/failure", body)

    def job(self, job_id: str) -> Any:
        return self.ok("viewer", "GET", f"/v1/jobs/{job_id}")

    def history(self, job_id: str) -> list[tuple[str | None, str, int]]:
        found = self.ok("viewer", "GET", f"/v1/jobs/{job_id}/transitions")
        return [(one["before"], one["after"], one["attempt"]) for one in found]

    def run_now(self, run_id: str) -> Any:
        return self.ok("viewer", "GET", f"/v1/runs/{run_id}")

    def sweep(self) -> None:
        with self.client.portal() as portal:
            portal.call(self.farm.expire_leases)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        listen_address="127.0.0.1",
        certificate_file=tmp_path / "certificate.pem",
        key_file=tmp_path / "key.pem",
        database_url=f"sqlite:///{tmp_path}/farm.db",
        data_dir=tmp_path,
        max_artifact_bytes=100_000,
        max_source_bytes=100_000,
    )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema and the credentials, to copy."""
    path = tmp_path_factory.mktemp("template") / "farm.db"
    engine = writing_engine(f"sqlite:///{path}")
    migrate.upgrade(engine)
    with engine.connect() as connection, connection.begin():
        credentials.make_exactly(connection, HOLDERS)
    engine.dispose()
    return path


@pytest.fixture
def migrated(settings: Settings, template: Path) -> Settings:
    """Settings whose database has the schema and the credentials."""
    shutil.copy(template, settings.database_url.removeprefix("sqlite:///"))
    return settings


@pytest.fixture
def farm(migrated: Settings, clock: SetClock) -> Farm:
    # The tests sweep when they want to.
    return Farm(migrated, clock, sweep_s=3600)


@pytest.fixture
def house(farm: Farm, clock: SetClock) -> Iterator[House]:
    with TestClient(app.create(farm), raise_server_exceptions=False) as client:
        yield House(farm, client, clock)


@pytest.fixture
def ready_house(house: House) -> House:
    """A master with one node, worker1, that has libx264, and with the clip."""
    house.register("worker1")
    house.upload()
    return house


@pytest.fixture
def make_suite() -> Callable[..., str]:
    return suite


@pytest.fixture
def make_registration() -> Callable[..., Registration]:
    return registration


@pytest.fixture
def make_measurement() -> Callable[[], Measurement]:
    return measurement
