"""The command `ffrtmp recommend-config`: settings of a worker for this host."""

import platform
from pathlib import Path

import click
import msgspec
from ffrtmp_client.cpu_assignment import PinningError
from ffrtmp_worker.measure.host_files import HostFiles

from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.output import json_output
from ffrtmp_cli.recommendation.capacity import Capacity, read_capacity
from ffrtmp_cli.recommendation.worker_settings import GIB, Setting, as_yaml, recommend


class Recommendation(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="ffrtmp/recommend-config/1"
):
    """Recommended settings of a worker.

    Attributes:
        host: The description of the host on which they are based.
        settings: The settings.
    """

    host: str
    settings: tuple[Setting, ...]


@click.command(
    help="Print settings of a worker that suit this host, as variables of an Ansible inventory: "
    "slots, their CPUs, and limits of memory and disk. Run the command on the worker, and save its "
    "output as host_vars/NAME.yml."
)
@click.option("--slots", type=click.IntRange(1, 65_536), help="Number of slots.  [default: 1]")
@click.option("--shared", is_flag=True, help="Choose the number of slots for jobs that share it.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/ffmpeg-rtmp/worker"),
    show_default=True,
    help="Directory of the worker's data (worker_data_dir).",
)
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    hidden=True,
    help="Directory with the folders proc and sys, for tests.",
)
@json_output(Recommendation)
def command(
    *, slots: int | None, shared: bool, data_dir: Path, root: Path
) -> tuple[Recommendation, str]:
    """Return the recommended settings, and their YAML."""
    try:
        capacity = read_capacity(HostFiles(proc=root / "proc", sys=root / "sys"), data_dir)
        settings = recommend(capacity, slots, is_shared=shared)
    except PinningError as error:
        raise CommandError(f"{error}, for example with --slots 1") from error
    except OSError as error:
        raise CommandError(f"the host cannot be read: {error}") from error
    description = _description(capacity)
    document = Recommendation(host=description, settings=tuple(settings))
    return document, f"# {platform.node()}: {description}\n---\n{as_yaml(settings)}"


def _description(capacity: Capacity) -> str:
    host = capacity.host
    text = f"{len(host.online)} CPUs, {len(host.cores)} cores"
    if capacity.is_hybrid:
        text += f" ({len(capacity.fast_host.cores)} of the fastest type)"
    if len(host.memory_nodes) > 1:
        text += f", {len(host.memory_nodes)} memory nodes"
    if capacity.memory_bytes is not None:
        text += f", {capacity.memory_bytes / GIB:.1f} GiB memory"
    return f"{text}, {capacity.free_bytes / GIB:.1f} GiB free"
