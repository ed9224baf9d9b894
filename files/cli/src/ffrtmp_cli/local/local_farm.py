"""A master and an agent that run as child processes while a benchmark is in progress."""

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ffrtmp_client.api import Master
from ffrtmp_client.errors import ApiError

from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.local.child_process import ChildProcess
from ffrtmp_cli.local.disk_space import check_free
from ffrtmp_cli.local.farm_files import (
    ADDRESS,
    MIN_FREE_BYTES,
    NODE,
    FarmFiles,
    write_farm_files,
)
from ffrtmp_cli.local.ffmpeg_programs import Programs
from ffrtmp_cli.local.host_state import has_readable_energy

_START_TIMEOUT_S = 180.0
_POLL_S = 0.1
_TIMEOUT_S = 30.0
# FFmpeg gets five seconds to end before the agent kills it.
_END_AGENT_S = 20.0
_END_MASTER_S = 10.0


@dataclass(frozen=True)
class LocalFarm:
    """A running farm.

    Attributes:
        master: The client of the master.
        processes: The programs that must not end while the farm is used.
        folder: The directory of the session.
    """

    master: Master
    processes: tuple[ChildProcess, ...]
    folder: Path

    def check(self) -> None:
        """Raise CommandError if a program of the farm has ended, or if the disk is full."""
        # Without this, the master would repeat the jobs, which fail, until there is space.
        check_free(self.folder, MIN_FREE_BYTES)
        for process in self.processes:
            if not process.is_running:
                raise process.failure()


@contextlib.contextmanager
def running_farm(
    folder: Path, cache: Path, programs: Programs, *, allow_builds: bool, lock: int
) -> Iterator[LocalFarm]:
    """Run a farm within the context. It continues the work in the directory, if there is any.

    Args:
        folder: The directory of the session.
        cache: The directory of the agent's caches.
        programs: The programs to measure with.
        allow_builds: Whether FFmpeg builds that the suite provides may run.
        lock: The descriptor of the locked file, which the programs of the farm keep locked.

    Yields:
        The farm, whose node has registered.

    Raises:
        CommandError: A program of the farm ends unexpectedly.
        OSError: A file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        energy_socket = None
        if has_readable_energy():
            # The path of a socket is limited to 107 bytes, which that of the session may exceed.
            energy_socket = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "energy"
        files = write_farm_files(
            folder,
            cache,
            programs,
            port=_free_port(),
            energy_socket=energy_socket,
            allow_builds=allow_builds,
        )
        if energy_socket is not None:
            reader = ChildProcess(
                "energy-reader",
                ["--config", str(files.energy_settings)],
                folder / "energy.log",
                lock,
            )
            _start(stack, reader, _END_MASTER_S)
        master_log = folder / "master.log"
        config = ["--config", str(files.master_settings)]
        ChildProcess(
            "master",
            [*config, "migrate", "--credentials", str(files.credentials)],
            master_log,
            lock,
        ).run()
        master = ChildProcess("master", [*config, "serve"], master_log, lock)
        agent = ChildProcess(
            "agent",
            ["--config", str(files.agent_settings), "run", "--slot", "1"],
            folder / "agent.log",
            lock,
        )
        # The agent ends first, because it returns its job to the master.
        _start(stack, master, _END_MASTER_S)
        _start(stack, agent, _END_AGENT_S)
        farm = LocalFarm(_client(stack, files), (master, agent), folder)
        _wait_until_registered(farm)
        yield farm


def _start(stack: contextlib.ExitStack, process: ChildProcess, end_s: float) -> None:
    # Registered first, so that an interrupt right after the start does not leave the process.
    stack.callback(process.end, end_s)
    process.start()


def _client(stack: contextlib.ExitStack, files: FarmFiles) -> Master:
    master = Master(files.url, files.token, str(files.ca), _TIMEOUT_S)
    return stack.enter_context(contextlib.closing(master))


def _wait_until_registered(farm: LocalFarm) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        farm.check()
        with contextlib.suppress(ApiError):
            nodes = list(farm.master.pages("/v1/nodes"))
            if any(node["name"] == NODE and node["state"] != "offline" for node in nodes):
                return
        time.sleep(_POLL_S)
    raise CommandError(
        f"the local farm did not start within {_START_TIMEOUT_S:g} s: stop other programs that "
        "keep this computer busy, and try again"
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port: int = free.getsockname()[1]
        return port
