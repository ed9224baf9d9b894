"""The commands `ffrtmp nodes`, which list, show, drain and resume nodes."""

import click
import msgspec
from ffrtmp_client import nodes
from ffrtmp_client.api import Json, Master
from ffrtmp_client.deadline import Deadline

from ffrtmp_cli.command_group import ListGroup
from ffrtmp_cli.connection import connected
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_completion import complete_nodes
from ffrtmp_cli.name_rules import check_name
from ffrtmp_cli.output import json_output
from ffrtmp_cli.run_text import time_text
from ffrtmp_cli.text_table import text_list, text_table

_GIB = 2**30


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """Suspicion that the speed of a node has changed, from its control encodes.

    Attributes:
        since: The time at which the node became suspect.
        run_id: The run whose control encodes lay outside the usual range of the node.
        speed: The latest speed of a control encode, in multiples of real time.
        ratio: This speed, divided by the usual one.
        low: The lower limit of the usual range, in multiples of real time.
        high: The upper limit of the usual range, in multiples of real time.
    """

    since: str
    run_id: str
    speed: float
    ratio: float
    low: float
    high: float


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A node.

    Attributes:
        name: The name of the node.
        state: `active`, `draining` or `offline`.
        is_draining: Whether an operator drains the node, which may be offline.
        architecture: The architecture of its CPU, such as `x86_64`.
        cpu_model: The model of the CPU.
        cpu_count: The number of CPUs.
        memory_bytes: The size of the memory, in bytes.
        gpus: The names of the GPUs.
        os: The operating system.
        kernel: The version of the kernel.
        encoders: The encoders that passed a test encode on the node.
        ffmpeg_version: The version of its FFmpeg.
        agent_version: The version of its agent.
        labels: The labels of the node.
        last_seen_at: The time of the last request of the node.
        failed_units: The first failed units of systemd; null if they are unknown.
        suspicion: Why the node is suspect; null if it is not.
    """

    name: str
    state: str
    is_draining: bool
    architecture: str
    cpu_model: str
    cpu_count: int
    memory_bytes: int
    gpus: tuple[str, ...]
    os: str
    kernel: str
    encoders: tuple[str, ...]
    ffmpeg_version: str
    agent_version: str
    labels: dict[str, str]
    last_seen_at: str
    failed_units: tuple[str, ...] | None
    suspicion: Suspicion | None


class NodesDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/nodes/1", kw_only=True):
    """The nodes of the farm.

    Attributes:
        nodes: The nodes, sorted by name.
    """

    nodes: tuple[NodeEntry, ...]


class NodeDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/node/1", kw_only=True):
    """A node with its active jobs.

    Attributes:
        node: The node.
        active_jobs: The ids of the jobs that the node runs.
    """

    node: NodeEntry
    active_jobs: tuple[str, ...]


@click.group("nodes", cls=ListGroup)
def command() -> None:
    """List, show, drain and resume nodes. Without a command, list them."""


@command.command("list", epilog=examples("ffrtmp nodes"))
@json_output(NodesDocument)
@connected
def list_nodes(master: Master) -> tuple[NodesDocument, str]:
    """List the nodes of the farm."""
    entries = [_entry(node) for node in nodes.all_nodes(master)]
    rows = [
        (
            entry.name,
            entry.state if entry.suspicion is None else f"{entry.state}, suspect",
            entry.architecture,
            str(entry.cpu_count),
            f"{entry.memory_bytes / _GIB:.1f}",
            str(len(entry.gpus)),
            entry.ffmpeg_version,
            time_text(entry.last_seen_at),
        )
        for entry in entries
    ]
    headings = ("node", "state", "arch", "CPUs", "GiB", "GPUs", "FFmpeg", "last seen")
    text = text_table(headings, rows) if rows else "There are no nodes."
    return NodesDocument(nodes=tuple(entries)), text


@command.command("show", epilog=examples("ffrtmp nodes show worker1"))
@click.argument("node", shell_complete=complete_nodes)
@json_output(NodeDocument)
@connected
def show(master: Master, node: str) -> tuple[NodeDocument, str]:
    """Show a node: its state, hardware, encoders and active jobs."""
    return _described(master, _find(master, node))


@command.command(
    "drain", epilog=examples("ffrtmp nodes drain worker1", "ffrtmp nodes drain worker1 --wait")
)
@click.argument("node", shell_complete=complete_nodes)
@click.option("--wait", is_flag=True, help="Wait until the node has no active job.")
@click.option(
    "--wait-timeout-s",
    type=click.FloatRange(0, 31_536_000),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time to wait.",
)
@json_output(NodeDocument)
@connected
def drain(
    master: Master, node: str, *, wait: bool, wait_timeout_s: float
) -> tuple[NodeDocument, str]:
    """Let a node finish its jobs and receive no more, for example before maintenance."""
    changed = nodes.set_state(master, check_name("node", node), "draining")
    if wait:
        nodes.wait_until_idle(master, node, Deadline(wait_timeout_s))
    return _described(master, changed)


@command.command("resume", epilog=examples("ffrtmp nodes resume worker1"))
@click.argument("node", shell_complete=complete_nodes)
@json_output(NodeDocument)
@connected
def resume(master: Master, node: str) -> tuple[NodeDocument, str]:
    """Let a drained node receive jobs again."""
    return _described(master, nodes.set_state(master, check_name("node", node), "active"))


def _find(master: Master, name: str) -> Json:
    """Return the node with this name. Raises CommandError if there is none."""
    found = nodes.all_nodes(master)
    node = nodes.find(found, check_name("node", name))
    if node is None:
        known = ", ".join(sorted(node["name"] for node in found)) or "none"
        raise CommandError(
            f"the farm has no node {name} (known: {known}). A node is registered when its agent "
            "starts",
            ExitCode.NOT_FOUND,
        )
    return node


def _described(master: Master, node: Json) -> tuple[NodeDocument, str]:
    entry, jobs = _entry(node), nodes.held_jobs(master, node["name"])
    pairs = [
        ("node", entry.name),
        ("state", entry.state),
        ("last seen", time_text(entry.last_seen_at)),
        ("CPU", f"{entry.cpu_model}, {entry.cpu_count} CPUs, {entry.architecture}"),
        ("memory", f"{entry.memory_bytes / _GIB:.1f} GiB"),
        ("GPUs", ", ".join(entry.gpus)),
        ("system", f"{entry.os}, kernel {entry.kernel}"),
        ("FFmpeg", entry.ffmpeg_version),
        ("encoders", ", ".join(entry.encoders)),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(entry.labels.items()))),
        ("failed units", ", ".join(entry.failed_units or ())),
        ("suspect", _suspicion_text(entry.suspicion)),
        ("active jobs", ", ".join(jobs) or "none"),
    ]
    return NodeDocument(node=entry, active_jobs=tuple(jobs)), text_list(pairs)


def _suspicion_text(suspicion: Suspicion | None) -> str:
    if suspicion is None:
        return ""
    return (
        f"since {time_text(suspicion.since)}: control encode {suspicion.speed:.2f} x real time "
        f"({(suspicion.ratio - 1) * 100:+.1f} %), usual are {suspicion.low:.2f} to "
        f"{suspicion.high:.2f} x; results of run {suspicion.run_id} are degraded"
    )


def _entry(node: Json) -> NodeEntry:
    registration = node["registration"]
    facts, heartbeat = registration["facts"], node.get("heartbeat")
    units = None
    if heartbeat is not None and heartbeat["failed_unit_count"] is not None:
        units = tuple(heartbeat["failed_units"])
    suspicion = node.get("suspicion")
    return NodeEntry(
        name=node["name"],
        state=node["state"],
        is_draining=node.get("is_draining", False),
        architecture=facts["architecture"],
        cpu_model=facts["cpu_model"],
        cpu_count=facts["cpu_count"],
        memory_bytes=facts["memory_bytes"],
        gpus=tuple(facts["gpus"]),
        os=facts["os"],
        kernel=facts["kernel"],
        encoders=tuple(registration["encoders"]),
        ffmpeg_version=registration["ffmpeg"]["version"],
        agent_version=registration["agent_version"],
        labels=registration["labels"],
        last_seen_at=node["last_seen_at"],
        failed_units=units,
        suspicion=None if suspicion is None else msgspec.convert(suspicion, Suspicion),
    )
