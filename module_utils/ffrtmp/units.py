"""State of systemd units, and the action that makes a unit run with the files on disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.ffrtmp import unit_inputs

_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "InvocationID",
    "InactiveExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "NRestarts",
    "MainPID",
    "StatusText",
    "Result",
    "ExecStart",
)
_CTIME_RESOLUTION_S = 0.05
"""Linux takes the time of a change from its timer interrupt, so it may be slightly too early."""

Run = Callable[[list[str]], tuple[int, str, str]]
"""A function that runs a command and returns its exit code, output and errors."""


@dataclass(frozen=True)
class UnitState:
    """Properties of a unit, as `systemctl show` prints them."""

    properties: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return a property, or an empty text if systemd printed none."""
        return self.properties.get(name, "")

    @property
    def is_active(self) -> bool:
        """Return whether the unit runs. It does not while systemd waits to restart it."""
        return self["ActiveState"] in {"active", "reloading"}

    @property
    def is_loaded(self) -> bool:
        """Return whether systemd knows the unit's files as they are on disk."""
        return self["LoadState"] != "not-found" and self["NeedDaemonReload"] != "yes"

    @property
    def restarts(self) -> int:
        """Number of automatic restarts since the unit was started."""
        return int(self["NRestarts"] or 0)

    @property
    def uptime_s(self) -> float:
        """Time since the unit became active, in seconds; 0 if it does not run."""
        return _age_s(self["ActiveEnterTimestampMonotonic"]) if self.is_active else 0.0

    @property
    def started_at_s(self) -> float:
        """Time at which systemd began to start the unit, in seconds since 1970."""
        return time.time() - _age_s(self["InactiveExitTimestampMonotonic"])

    @property
    def program(self) -> str:
        """Path of the program that the unit starts; empty if it starts none."""
        return self["ExecStart"].partition("path=")[2].partition(" ;")[0]

    @property
    def own_files(self) -> list[str]:
        """Paths of the unit, its drop-in files and its program."""
        paths = [self["FragmentPath"], *self["DropInPaths"].split(), self.program]
        return [path for path in paths if path]

    @property
    def runs_in_its_environment(self) -> bool:
        """Return whether the main process runs in the virtual environment of the unit's program.

        It does not if a link on the path of the program has led to another release since.
        """
        try:
            words = Path(f"/proc/{self['MainPID']}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        # The interpreter of a virtual environment is a link, so only its directory is resolved.
        folder = os.path.realpath(os.path.dirname(words[0].decode()))  # noqa: PTH120
        return folder == os.path.dirname(os.path.realpath(self.program))  # noqa: PTH120


def _age_s(monotonic_us: str) -> float:
    """Return the age of a time stamp of systemd, in microseconds of the monotonic clock."""
    return max(time.monotonic() - int(monotonic_us or 0) / 1e6, 0.0)


def read_states(run: Run, names: Iterable[str]) -> dict[str, UnitState]:
    """Return the state of each unit.

    Raises:
        OSError: systemd cannot be queried.
    """
    wanted = list(names)
    if not wanted:
        return {}
    command = ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", *wanted]
    code, out, err = run(command)
    if code != 0:
        raise OSError(f"{' '.join(command[:2])} failed: {err.strip()}")
    states = []
    for block in out.strip().split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines())
        states.append(UnitState({name: value for name, _, value in pairs}))
    return dict(zip(wanted, states, strict=True))


@dataclass(frozen=True)
class Digests:
    """Digests of the files that a unit reads when it starts, and when it starts or reloads."""

    start: str
    reload: str


@dataclass(frozen=True)
class Record:
    """The start of a unit, and the files with which it was started.

    Attributes:
        invocation: systemd's identifier of that start.
        digests: Digests of the files at that time.
        declaration: The unit's entry in the option C(units) of the module current_units.
    """

    invocation: str
    digests: Digests
    declaration: dict[str, Any]


class Records:
    """The records of all units of this host. Each is a file, which only root can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of the units that have a record."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def read(self, name: str) -> Record | None:
        """Return the record of a unit, or None if there is none that can be read."""
        try:
            document = json.loads((self._folder / f"{name}.json").read_text())
            digests = Digests(**document.pop("digests"))
            return Record(digests=digests, **document)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, name: str, record: Record) -> None:
        """Store the record of a unit atomically, if it differs."""
        if self.read(name) == record:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._folder / f"{name}.part"
        temporary.write_text(json.dumps(asdict(record)))
        temporary.chmod(0o600)
        temporary.replace(self._folder / f"{name}.json")

    def remove(self, name: str) -> None:
        """Remove the record of a unit."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)


def digests_of(declaration: Mapping[str, Any], state: UnitState) -> Digests:
    """Return the digests of what a unit would read if it were started now."""
    start = [*state.own_files, *(declaration.get("inputs") or ())]
    return Digests(
        start=unit_inputs.digest_of(start, declaration.get("values") or {}),
        reload=unit_inputs.digest_of(declaration.get("reload_inputs") or (), {}),
    )


def reads_below(declaration: Mapping[str, Any], folder: str) -> bool:
    """Return whether a declared file of a unit is in a folder or leads to one in it.

    Args:
        declaration: The unit's entry in the option C(units) of the module current_units.
        folder: Absolute path of the folder.
    """
    paths = [*(declaration.get("inputs") or ()), *(declaration.get("reload_inputs") or ())]
    target = unit_inputs.follow(folder)[1]
    return any(
        Path(path).is_relative_to(folder) or unit_inputs.follow(path)[1].is_relative_to(target)
        for path in paths
    )


def action_for(
    declaration: Mapping[str, Any], state: UnitState, record: Record | None, digests: Digests
) -> str:
    """Return what makes a unit run with the files on disk: start, restart, reload or nothing.

    The record decides if it belongs to the present start of the unit. Otherwise, for example after
    a crash or a reboot, the times of the files are compared with the time of the start.

    Args:
        declaration: The unit's entry in the option C(units) of the module current_units.
        state: The present state of the unit.
        record: What the unit was started with, if it was recorded.
        digests: Digests of the files as they are now.
    """
    if not state.is_active:
        return "start"
    if declaration.get("virtual_environment") and not state.runs_in_its_environment:
        return "restart"
    if record is not None and record.invocation == state["InvocationID"]:
        if record.digests.start != digests.start:
            return "restart"
        return "reload" if record.digests.reload != digests.reload else ""
    started_at_s = state.started_at_s - _CTIME_RESOLUTION_S
    start = [*state.own_files, *(declaration.get("inputs") or ())]
    if unit_inputs.changed_at_s(start) >= started_at_s:
        return "restart"
    reloaded = unit_inputs.changed_at_s(declaration.get("reload_inputs") or ())
    return "reload" if reloaded >= started_at_s else ""
