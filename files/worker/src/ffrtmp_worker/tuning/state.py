"""State of the host before tuning, in a file that a reboot removes together with the tuning."""

from pathlib import Path

import msgspec
from ffrtmp_shared.atomic_file import write_atomically
from ffrtmp_shared.unavailable import Unavailable

STATE_FILE = Path("/run/ffrtmp-host-tuning/before.json")


class TuningError(Exception):
    """The host cannot be tuned or restored."""


class SavedState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State of the host before tuning.

    `settings` contains the previous contents of the kernel's files, by their paths below its tree
    of CPUs. `timers` contains, for each stopped timer, whether it was active before. `is_applied`
    is false while the tuning is being set or restored.
    """

    settings: dict[str, str] = {}
    timers: dict[str, bool] = {}
    is_applied: bool = False


def load_state(file: Path) -> SavedState | None:
    """Return the saved state, or None if the host is not tuned. Raises TuningError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=SavedState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise TuningError(
            f"the saved state of this host cannot be read: {file}: {error}"
        ) from error


def save_state(file: Path, saved: SavedState) -> None:
    """Store the state atomically, in a file that all users can read."""
    write_atomically(file, msgspec.json.encode(saved), is_durable=False, mode=0o644)


def host_tuning(file: Path = STATE_FILE) -> str | Unavailable:
    """Return `on` if the host is tuned, `off` if it is not, or unavailable if this is unknown."""
    try:
        saved = load_state(file)
    except TuningError as error:
        return Unavailable(reason=str(error))
    if saved is None:
        return "off"
    return "on" if saved.is_applied else Unavailable(reason="the tuning was not completed")
