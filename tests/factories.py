"""Factories of test data: nodes, suites, scenarios, measurements and credentials."""

from typing import Any

import msgspec
from ffrtmp_master.store.credentials import Credential
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.models import Role
from ffrtmp_shared.node_models import NodeFacts, Registration
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import KINDS_OF_EVERY_NODE, EncodeSettings, Scenario, Source
from measurement_factory import BUILD, CLIP, CLIP_SHA256, measurement

__all__ = ["BUILD", "CLIP", "CLIP_SHA256", "measurement"]

NODES = ("worker1", "worker2", "worker3")

HOLDERS = (
    Credential(name="viewer", role=Role.VIEWER, sha256=token_sha256("token-viewer")),
    Credential(name="submitter", role=Role.SUBMITTER, sha256=token_sha256("token-submitter")),
    Credential(name="admin", role=Role.ADMIN, sha256=token_sha256("token-admin")),
    *(
        Credential(name=name, role=Role.AGENT, sha256=token_sha256(f"token-{name}"), node=name)
        for name in NODES
    ),
)
"""The credentials of the tests; the token of each holder is `token-` followed by its name."""


def registration(
    name: str,
    *encoders: str,
    labels: dict[str, str] | None = None,
    memory_bytes: int = 2**30,
    gpus: tuple[str, ...] = (),
    more_kinds: tuple[str, ...] = (),
    ffmpeg_under_test: bool = False,
    exporters: dict[str, int] | None = None,
) -> Registration:
    """Return the registration of a node with some encoders, by default only libx264."""
    return Registration(
        name=name,
        facts=NodeFacts(
            hostname=name,
            os="Debian 13",
            kernel="6.12",
            architecture="x86_64",
            cpu_model="cpu",
            cpu_count=2,
            memory_bytes=memory_bytes,
            gpus=gpus,
        ),
        encoders=encoders or ("libx264",),
        ffmpeg=BUILD,
        quality_ffmpeg=BUILD,
        agent_version="0.1.0",
        address="192.0.2.1",
        exporters=exporters or {"cpu": 9510, "ffmpeg": 9506},
        labels=labels or {},
        kinds=(*KINDS_OF_EVERY_NODE, *more_kinds),
        ffmpeg_under_test=ffmpeg_under_test,
    )


def suite(
    *,
    encoders: tuple[str, ...] = ("libx264",),
    rates: int = 1,
    repeats: int = 1,
    placement: str = "each",
    sha256: str = CLIP_SHA256,
    more: str = "",
) -> str:
    """Return the text of a suite with one job for each encoder, rate and repeat.

    It has no control encodes, unless `more` contains the key.
    """
    control = "" if "control:" in more else "control: false\n"
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
        f"{more}"
        f"{control}"
    )


def scenario(encoder: str = "libx264", name: str = "clip/one") -> Scenario:
    """Return a scenario that transcodes the clip."""
    return Scenario(
        name=name,
        kind="transcode",
        source=Source(name="clip", sha256=CLIP_SHA256, file_name="clip.mp4"),
        encode=EncodeSettings(
            encoder=encoder,
            preset="10" if encoder == "libsvtav1" else "medium",
            rate=RatePoint(bitrate_kbps=1000),
        ),
        slowest_speed=0.1,
    )


def job(encoder: str = "libx264", **more: Any) -> dict[str, Any]:
    """Return the request body that submits a job without a run, whose source has a URL."""
    transcode = scenario(encoder)
    source = msgspec.structs.replace(transcode.source, url="https://clips.example/clip.mp4")
    return {"scenario": msgspec.structs.replace(transcode, source=source), **more}
