"""The command `ffrtmp-host-tuning`: tunes this host for a benchmark, and puts it back.

Its unit runs `set` when it is started and `restore` when it is stopped, or when `set` failed.
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

    `cpu_tree` is the kernel's tree of CPUs. An empty `governor` leaves the governors alone.
    `timers` are held; those that a host does not have do no harm.
    """

    cpu_tree: Path
    governor: str
    is_turbo_off: bool
    timers: tuple[str, ...]
    systemctl: Path
    state_file: Path = STATE_FILE
    log_level: str = "info"


def tune(settings: HostTuningSettings) -> None:
    """Tune the host. What was kept by an earlier call stays as it is.

    Raises TuningError and leaves what is already set to `put_back`.
    """
    tree, timers = settings.cpu_tree, Timers(settings.systemctl)
    before = state.load_state(settings.state_file) or SavedState()
    wanted = cpus.wanted_settings(
        tree, governor=settings.governor, is_turbo_off=settings.is_turbo_off
    )
    if not wanted:
        _log.info("this host offers no control of frequency or turbo, or none is wanted")
    now = cpus.read_settings(tree, [*wanted, *cpus.dependent_settings(tree)])
    active = timers.active(settings.timers)
    kept = SavedState(settings=now | before.settings, timers=active | before.timers)
    state.save_state(settings.state_file, kept)
    cpus.write_settings(tree, wanted)
    for name in active:
        timers.stop(name)
    state.save_state(settings.state_file, msgspec.structs.replace(kept, is_applied=True))
    _log.info("tuned", extra={"files": len(wanted), "timers": sorted(kept.timers)})


def restore(settings: HostTuningSettings) -> None:
    """Put back all that was kept, and forget it; on a host that is not tuned there is nothing.

    Raises TuningError, after everything else was put back, when something cannot be; what was
    kept stays then.
    """
    kept = state.load_state(settings.state_file)
    if kept is None:
        _log.info("this host is not tuned")
        return
    state.save_state(settings.state_file, msgspec.structs.replace(kept, is_applied=False))
    timers = Timers(settings.systemctl)
    steps: list[Callable[[], None]] = [
        partial(_restore, settings.cpu_tree, name, value) for name, value in kept.settings.items()
    ]
    steps += [
        partial(timers.release, name, was_active=active) for name, active in kept.timers.items()
    ]
    problems = [problem for step in steps if (problem := _problem(step))]
    if problems:
        raise TuningError("; ".join(problems))
    settings.state_file.unlink()
    _log.info("put back", extra={"files": len(kept.settings), "timers": sorted(kept.timers)})


def _restore(tree: Path, name: str, value: str) -> None:
    if cpus.is_there(tree, name):
        cpus.write_settings(tree, {name: value})
    else:
        _log.warning("a CPU is gone whose setting was kept", extra={"file": name})


def _problem(step: Callable[[], None]) -> str:
    try:
        step()
    except TuningError as error:
        return str(error)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="ffrtmp-host-tuning", description="Tune this host for benchmarks, and put it back."
    )
    parser.add_argument("--config", type=Path, required=True, help="the settings, a YAML file")
    parser.add_argument("deed", choices=_DEEDS, help="what is to be done")
    options = parser.parse_args(arguments)
    try:
        settings = load(options.config, HostTuningSettings)
        logs.configure(settings.log_level)
        _DEEDS[options.deed](settings)
    except (ConfigError, TuningError, OSError) as error:
        sys.stderr.write(f"ffrtmp-host-tuning: {error}\n")
        return EXIT_CONFIG if isinstance(error, ConfigError) else 1
    return 0


_DEEDS: dict[str, Callable[[HostTuningSettings], None]] = {
    "set": tune,
    "restore": restore,
    # The settings have been read by then.
    "check-config": lambda _: None,
}
