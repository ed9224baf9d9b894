"""Files of the kernel that control the frequency of the CPUs."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from ffrtmp_worker.kernel_files import KernelFileError, find_text, read_text
from ffrtmp_worker.tuning.state import TuningError

_log = logging.getLogger(__name__)

TURBO_OFF = (("intel_pstate/no_turbo", "1"), ("cpufreq/boost", "0"))
"""Files that control turbo, with the values that switch it off; the first existing one is used."""


def wanted_settings(tree: Path, *, governor: str, is_turbo_off: bool) -> dict[str, str]:
    """Return the values to write, by the path of each file below `tree`.

    Args:
        tree: the kernel's tree of CPUs.
        governor: the frequency governor; if it is empty, the governors are not changed.
        is_turbo_off: whether to switch turbo off.

    Returns:
        The values by path, only for files that exist on this host.
    """
    found: dict[str, str] = {}
    if governor:
        found |= dict.fromkeys(_of_every_cpu(tree, "scaling_governor"), governor)
    if is_turbo_off:
        found |= next(([turbo] for turbo in TURBO_OFF if (tree / turbo[0]).exists()), [])
    return found


def dependent_settings(tree: Path) -> list[str]:
    """Return the files that drivers themselves change when the governor changes."""
    return _of_every_cpu(tree, "energy_performance_preference")


def read_settings(tree: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the contents of the files. Raises TuningError if a file cannot be read."""
    return {name: _text(tree / name) for name in names}


def write_settings(tree: Path, values: Mapping[str, str]) -> None:
    """Write the values that differ from the current ones.

    Raises TuningError at the first file that rejects its value.
    """
    for name, value in values.items():
        file = tree / name
        if _text(file) == value:
            continue
        try:
            file.write_text(value, encoding="ascii")
        except OSError as error:
            raise TuningError(f"{file} does not accept {value}: {error}") from error
        _log.info("set", extra={"file": name, "value": value})


def is_there(tree: Path, name: str) -> bool:
    """Return whether the file exists and belongs to a CPU that is online, or to no CPU."""
    file = tree / name
    return file.exists() and _is_online(tree / file.relative_to(tree).parts[0])


def _of_every_cpu(tree: Path, name: str) -> list[str]:
    return [
        str(file.relative_to(tree))
        for file in sorted(tree.glob(f"cpu[0-9]*/cpufreq/{name}"))
        if _is_online(file.parents[1])
    ]


def _is_online(cpu: Path) -> bool:
    """Return whether a CPU is online: the files of one that is not may exist, but are unreadable.

    The first CPU of many hosts has no file that tells it.
    """
    return find_text(cpu / "online") != "0"


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except KernelFileError as error:
        raise TuningError(str(error)) from error
