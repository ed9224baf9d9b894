"""The command `ffrtmp-host-tuning`, which tunes this host for a benchmark and restores it.

Its systemd unit runs `set` when it is started, and `restore` when it is stopped or `set` fails.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from ffrtmp_shared import logs
from ffrtmp_shared.config import ConfigError, load

from ffrtmp_worker.service_settings import EXIT_CONFIG
from ffrtmp_worker.tuning import cpus, state
from ffrtmp_worker.tuning.state import STATE_FILE, SavedState, TuningError
from ffrtmp_worker.tuning.timers import Timers

_log = logging.getLogger(__name__)


class HostTuningSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings file.

    `cpu_tree` is the kernel's tree of CPUs. If `governor` is empty, the governors are not changed.
    `timers` are the systemd timers to stop; those that do not exist on the host are ignored.
    """

    cpu_tree: Path
    governor: str
    is_turbo_off: bool
    timers: tuple[str, ...]
    systemctl: Path
    state_file: Path = STATE_FILE
    log_level: str = "info"


def tune(settings: HostTuningSettings) -> None:
    """Tune the host. The state that an earlier call saved is not overwritten.

    Raises TuningError if the host cannot be tuned. In this case, `restore` restores the settings
    that have already been changed.
    """
    tree, timers = settings.cpu_tree, Timers(settings.systemctl)
    before = state.load_state(settings.state_file) or SavedState()
    wanted = cpus.wanted_settings(
        tree, governor=settings.governor, is_turbo_off=settings.is_turbo_off
    )
    if not wanted:
        _log.info("this host offers no control of frequency or turbo, or none is configured")
    now = cpus.read_settings(tree, [*wanted, *cpus.dependent_settings(tree)])
    active = timers.active(settings.timers)
    saved = SavedState(settings=now | before.settings, timers=active | before.timers)
    state.save_state(settings.state_file, saved)
    cpus.write_settings(tree, wanted)
    for name in active:
        timers.stop(name)
    state.save_state(settings.state_file, msgspec.structs.replace(saved, is_applied=True))
    _log.info("tuned", extra={"files": len(wanted), "timers": sorted(saved.timers)})


def restore(settings: HostTuningSettings) -> None:
    """Restore the saved state and remove it; do nothing on a host that is not tuned.

    Raises TuningError if a setting cannot be restored. In this case, all other settings are
    restored and the saved state is kept.
    """
    saved = state.load_state(settings.state_file)
    if saved is None:
        _log.info("this host is not tuned")
        return
    state.save_state(settings.state_file, msgspec.structs.replace(saved, is_applied=False))
    timers = Timers(settings.systemctl)
    steps: list[Callable[[], None]] = [
        partial(_restore, settings.cpu_tree, name, value) for name, value in saved.settings.items()
    ]
    steps += [
        partial(timers.release, name, was_active=active) for name, active in saved.timers.items()
    ]
    errors = [error for step in steps if (error := _error_of(step))]
    if errors:
        raise TuningError("; ".join(errors))
    settings.state_file.unlink()
    _log.info("put back", extra={"files": len(saved.settings), "timers": sorted(saved.timers)})


def _restore(tree: Path, name: str, value: str) -> None:
    if cpus.is_there(tree, name):
        cpus.write_settings(tree, {name: value})
    else:
        _log.warning("a saved setting belongs to a CPU that is offline now", extra={"file": name})


def _error_of(step: Callable[[], None]) -> str:
    try:
        step()
    except TuningError as error:
        return str(error)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="ffrtmp-host-tuning", description="Tune this host for benchmarks, and restore it."
    )
    parser.add_argument("--config", type=Path, required=True, help="the settings, a YAML file")
    parser.add_argument("command", choices=_COMMANDS, help="the action")
    options = parser.parse_args(arguments)
    try:
        settings = load(options.config, HostTuningSettings)
        logs.configure(settings.log_level)
        _COMMANDS[options.command](settings)
    except (ConfigError, TuningError, OSError) as error:
        sys.stderr.write(f"ffrtmp-host-tuning: {error}\n")
        return EXIT_CONFIG if isinstance(error, ConfigError) else 1
    return 0


_COMMANDS: dict[str, Callable[[HostTuningSettings], None]] = {
    "set": tune,
    "restore": restore,
    # Nothing is left to do, because `main` has validated the settings by then.
    "check-config": lambda _: None,
}
