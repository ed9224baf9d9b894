"""File with which an interrupted run is continued."""

from pathlib import Path

import msgspec

from ffrtmp_cli.local.certificates import write_private

_NAME = "session.json"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The state that `ffrtmp local` needs to continue a run.

    Attributes:
        suite: The text of the suite.
        suite_path: The path of the suite, to which paths in it are relative.
        expected_s: The expected duration of the run in seconds, or None if it is unknown.
        remarks: What the user needs to know about the suite.
        clip: The path of the clip, or None if the user has named a suite.
    """

    suite: str
    suite_path: str
    expected_s: float | None
    remarks: tuple[str, ...]
    clip: str | None


def load_session(folder: Path) -> Session | None:
    """Return the session in a directory, or None if none was stored completely."""
    try:
        return msgspec.json.decode((folder / _NAME).read_bytes(), type=Session)
    except (OSError, msgspec.MsgspecError):
        return None


def store_session(folder: Path, session: Session) -> None:
    """Store a session. Raises OSError if that fails."""
    temporary = folder / f"{_NAME}.new"
    write_private(temporary, msgspec.json.encode(session))
    temporary.replace(folder / _NAME)
