"""Wire types of the API for nodes: registration, heartbeats, state and scrape targets."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import (
    Address,
    Amount,
    Count,
    Labels,
    Moment,
    Name,
    Port,
    Real,
    Text,
    UnitName,
    Word,
)
from ffrtmp_shared.provenance import FfmpegBuild
from ffrtmp_shared.scenario import KINDS_OF_EVERY_NODE
from ffrtmp_shared.states import NodeState


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hardware and operating system of a worker host, as its agent detected them.

    Attributes:
        hostname: The name of the host.
        os: The operating system.
        kernel: The version of the kernel.
        architecture: The architecture of the CPU, such as `x86_64`.
        cpu_model: The model of the CPU.
        cpu_count: The number of CPUs.
        memory_bytes: The size of the memory, in bytes.
        gpus: The names of the GPUs.
    """

    hostname: Text
    os: Text
    kernel: Text
    architecture: Text
    cpu_model: Text
    cpu_count: Count
    memory_bytes: Count
    gpus: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()


NODE_EXPORTERS = ("cpu", "gpu", "ffmpeg", "docker_stats", "node")
"""The exporters that a node may run, by the names under which it registers their ports."""


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Description of a node that its agent sends at startup.

    `encoders` lists the encoders that passed a short test encode on the node. `address` is the
    address of the node's exporters, and `exporters` contains their ports by name. `kinds` lists the
    kinds of scenarios that the agent supports. `ffmpeg_under_test` indicates whether the node may
    run an FFmpeg that a suite provides.
    """

    name: Name
    facts: NodeFacts
    encoders: Annotated[tuple[Word, ...], Meta(max_length=256)]
    ffmpeg: FfmpegBuild
    quality_ffmpeg: FfmpegBuild
    agent_version: Text
    address: Address
    exporters: Annotated[dict[Name, Port], Meta(max_length=64)]
    labels: Labels = {}
    kinds: Annotated[tuple[Word, ...], Meta(max_length=64)] = KINDS_OF_EVERY_NODE
    ffmpeg_under_test: bool = False


MAX_UNITS = 32
"""The maximum number of failed units that a heartbeat names."""


class ClockOffset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The time by which a node's clock is ahead of the master's, in seconds.

    The true offset is between `offset_s - uncertainty_s` and `offset_s + uncertainty_s`.
    """

    offset_s: Real
    uncertainty_s: Amount


class NodeHeartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The condition of a node's host, which one agent of the node sends periodically.

    `clock` is null until it has been measured. `failed_unit_count` is the number of units of
    systemd that have failed, and `failed_units` contains the names of the first of them. The number
    is null if systemd cannot be queried.
    """

    clock: ClockOffset | None = None
    failed_unit_count: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    failed_units: Annotated[tuple[UnitName, ...], Meta(max_length=MAX_UNITS)] = ()


class NodeHeartbeatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The master's time between the arrival of a heartbeat and the response to it."""

    time: Moment


class NodeSuspicion(msgspec.Struct, frozen=True, kw_only=True):
    """Suspicion that the speed of a node has changed, from its control encodes.

    The node is suspect since `since`, when two control encodes of the run `run_id` in succession
    lay outside the usual range of the node. `speed` is the latest speed in multiples of real time,
    `low` and `high` are the limits of the range, and `ratio` is the speed divided by the usual one.
    """

    since: Moment
    run_id: UUID
    speed: float
    ratio: float
    low: float
    high: float


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A registered worker host.

    `is_draining` states whether an operator drains the node; unlike `state`, it does not change
    when the node is offline.

    `heartbeat` is the last heartbeat of the node, which the master received at `heartbeat_at`. Both
    are null if there is none, for example because the agent is that of an earlier release.

    `suspicion` is null unless the node is suspect. It ends with a control encode whose speed is
    usual or cannot be judged.
    """

    id: UUID
    name: str
    state: NodeState
    registration: Registration
    registered_at: Moment
    last_seen_at: Moment
    is_draining: bool = False
    heartbeat: NodeHeartbeat | None = None
    heartbeat_at: Moment | None = None
    suspicion: NodeSuspicion | None = None

    @property
    def was_stopped(self) -> bool:
        """Return whether the node is offline because an operator drained it."""
        return self.is_draining and self.state is NodeState.OFFLINE


class NodeUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a node's state. A draining node finishes its jobs but claims no more."""

    state: NodeState


class NodeList(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes, sorted by name."""

    items: tuple[Node, ...]


class TargetGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Scrape targets in the format of Prometheus' HTTP service discovery."""

    targets: tuple[str, ...]
    labels: dict[str, str]
