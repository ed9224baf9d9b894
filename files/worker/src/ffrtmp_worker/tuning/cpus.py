"""The kernel's files that say how fast the CPUs run."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from ffrtmp_worker.tuning.state import TuningError

_log = logging.getLogger(__name__)

# Intel's own driver, and all others; the first that is there counts.
_TURBO_OFF = (("intel_pstate/no_turbo", "1"), ("cpufreq/boost", "0"))


def wanted_settings(tree: Path, *, governor: str, is_turbo_off: bool) -> dict[str, str]:
    """Return what is to stand in which of the files that this host has, by paths below `tree`.

    An empty `governor` leaves the governors alone.
    """
    found: dict[str, str] = {}
    if governor:
        found |= dict.fromkeys(_of_every_cpu(tree, "scaling_governor"), governor)
    if is_turbo_off:
        found |= next(([turbo] for turbo in _TURBO_OFF if (tree / turbo[0]).exists()), [])
    return found


def dependent_settings(tree: Path) -> list[str]:
    """Return the files that drivers change by themselves when the governor is changed."""
    return _of_every_cpu(tree, "energy_performance_preference")


def read_settings(tree: Path, names: Iterable[str]) -> dict[str, str]:
    """Return what stands in the files; raises TuningError."""
    return {name: _text(tree / name) for name in names}


def write_settings(tree: Path, values: Mapping[str, str]) -> None:
    """Write where something else stands; raises TuningError at the first that does not take it."""
    for name, value in values.items():
        file = tree / name
        if _text(file) == value:
            continue
        try:
            file.write_text(value, encoding="ascii")
        except OSError as error:
            raise TuningError(f"{file} does not take {value}: {error}") from error
        _log.info("set", extra={"file": name, "value": value})


def is_there(tree: Path, name: str) -> bool:
    """Whether the host has the file; a CPU that was taken offline has none."""
    return (tree / name).exists()


def _of_every_cpu(tree: Path, name: str) -> list[str]:
    return [str(file.relative_to(tree)) for file in sorted(tree.glob(f"cpu[0-9]*/cpufreq/{name}"))]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TuningError(f"{file} cannot be read: {error}") from error
