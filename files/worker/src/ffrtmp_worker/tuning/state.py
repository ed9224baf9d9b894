"""What a host was like before it was tuned, in a file that a reboot clears with the tuning."""

from pathlib import Path

import msgspec
from ffrtmp_shared.measurement import Unavailable

STATE_FILE = Path("/run/ffrtmp-host-tuning/before.json")


class TuningError(Exception):
    """The host cannot be tuned, or not be put back."""


class SavedState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stood in the kernel's files, by their paths below its tree of CPUs, and the timers.

    `timers` says of each that is held whether it ran before. `is_applied` is false while the
    tuning is being set or put back.
    """

    settings: dict[str, str] = {}
    timers: dict[str, bool] = {}
    is_applied: bool = False


def load_state(file: Path) -> SavedState | None:
    """Return what is kept, or nothing on a host that is not tuned; raises TuningError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=SavedState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise TuningError(f"what this host was like before cannot be read: {file}: {error}") from (
            error
        )


def save_state(file: Path, saved: SavedState) -> None:
    """Keep it, for everybody to read; a reader sees the old file or the new one, never a part."""
    new = file.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(saved))
    new.chmod(0o644)
    new.replace(file)


def host_tuning(file: Path = STATE_FILE) -> str | Unavailable:
    """Return whether the host is tuned now: `on` or `off`."""
    try:
        saved = load_state(file)
    except TuningError as error:
        return Unavailable(reason=str(error))
    if saved is None:
        return "off"
    return "on" if saved.is_applied else Unavailable(reason="the tuning was not carried through")
