"""Encoded requests of agents and submitters, created before a measurement starts."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
from ffrtmp_shared.host_environment import Environment
from ffrtmp_shared.measurement import (
    EncodeMeasurement,
    Measurement,
    OutputMeasurement,
    QualityMeasurement,
)
from ffrtmp_shared.node_models import NodeFacts, Registration
from ffrtmp_shared.provenance import FfmpegBuild, Provenance

ENCODER = "libx264"

_BUILD = FfmpegBuild(version="7.1", sha256="f" * 64)
_PROGRESS = b'{"attempt":1,"progress":{"stage":"encode","frames":5,"fps":50.0,"speed":2.0}}'

SOURCE = b"no clip: these jobs encode nothing"
"""The content of the jobs' source, which must be uploaded to the master."""

SOURCE_SHA256 = hashlib.sha256(SOURCE).hexdigest()

_MEASUREMENT = Measurement(
    encode=EncodeMeasurement(
        wall_s=2.0,
        user_s=3.0,
        system_s=0.5,
        max_rss_kib=100_000,
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
        argv=("ffmpeg", "-i", "source", "-c:v", ENCODER, "output"),
        ffmpeg=_BUILD,
        quality_ffmpeg=_BUILD,
        source_sha256=SOURCE_SHA256,
        agent_version="0.1.0",
    ),
)


class JobFields(msgspec.Struct, frozen=True):
    """The fields that the load reads in a job."""

    id: str


class ClaimFields(msgspec.Struct, frozen=True):
    """The fields that the load reads in a claim."""

    job: JobFields
    attempt: int


class StoredFields(msgspec.Struct, frozen=True):
    """The fields that the load reads in the answer to a result."""

    job_id: str
    state: str
    repeated: bool
    next: ClaimFields | None = None


read_job = msgspec.json.Decoder(JobFields).decode
read_claim = msgspec.json.Decoder(ClaimFields).decode
read_stored = msgspec.json.Decoder(StoredFields).decode


def _without_unavailable(value: Any) -> Any:
    """Remove unavailable values at all levels.

    They are optional, and a no-op job reports few values.
    """
    if not isinstance(value, dict):
        return value
    return {
        name: _without_unavailable(field)
        for name, field in value.items()
        if not (isinstance(field, dict) and field.get("status") == "unavailable")
    }


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """Return a complete HTTP request."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def submission(token: str, **fields: Any) -> bytes:
    """Return the request that submits a job whose scenario has the additional `fields`."""
    scenario = {
        "name": "clip/x264/1500k",
        "kind": "transcode",
        "source": {"name": "clip", "sha256": SOURCE_SHA256, "file_name": "clip.mp4"},
        "encode": {"encoder": ENCODER, "preset": "medium", "rate": {"bitrate_kbps": 1500}},
        "slowest_speed": 0.02,
    }
    return request("POST", "/v1/jobs", token, msgspec.json.encode({"scenario": scenario, **fields}))


def registration(node: str, token: str) -> bytes:
    """Return the request that registers a node."""
    document = Registration(
        name=node,
        facts=NodeFacts(
            hostname=node,
            os="Debian 13",
            kernel="6.12",
            architecture="x86_64",
            cpu_model="cpu",
            cpu_count=2,
            memory_bytes=2**30,
        ),
        encoders=(ENCODER,),
        ffmpeg=_BUILD,
        quality_ffmpeg=_BUILD,
        agent_version="0.1.0",
        address="192.0.2.1",
        exporters={"cpu": 9510, "ffmpeg": 9506},
    )
    return request("PUT", f"/v1/nodes/{node}", token, msgspec.json.encode(document))


@dataclass(frozen=True)
class Agent:
    """The identity of an agent: its node and slot, and the token of the node."""

    node: str
    token: str
    slot: int = 1


class AgentCalls:
    """The requests of an agent, which can only report first attempts of jobs."""

    def __init__(self, agent: Agent, wait_s: float) -> None:
        """Create the constant parts of the requests; a claim waits up to `wait_s` for a job."""
        claim = {"node": agent.node, "slot": agent.slot, "wait_s": wait_s}
        self.claim = request("POST", "/v1/claims", agent.token, msgspec.json.encode(claim))
        measured = msgspec.json.encode(_without_unavailable(msgspec.to_builtins(_MEASUREMENT)))
        result = b'{"attempt":1,"measurement":' + measured + b"}"
        next_claim = msgspec.json.encode({"slot": agent.slot, "wait_s": wait_s})
        and_next = result[:-1] + b',"next":' + next_claim + b"}"
        self._token = agent.token
        self._heartbeat = self._split("heartbeat", _PROGRESS)
        self._result = self._split("result", result)
        self._and_next = self._split("result", and_next)

    def heartbeat(self, job_id: str) -> bytes:
        """Return the request that renews the lease of a job."""
        return job_id.encode().join(self._heartbeat)

    def result(self, job_id: str) -> bytes:
        """Return the request that reports a result."""
        return job_id.encode().join(self._result)

    def result_and_next(self, job_id: str) -> bytes:
        """Return the request that reports a result and claims the next job."""
        return job_id.encode().join(self._and_next)

    def _split(self, report: str, body: bytes) -> tuple[bytes, bytes]:
        before, _, after = request("POST", f"/v1/jobs/@/{report}", self._token, body).partition(
            b"@"
        )
        return before, after
