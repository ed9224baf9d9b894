"""How far the results have been brought over, kept on disk."""

import os
from pathlib import Path
from uuid import UUID

import msgspec


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A cursor of the API's, and which of the results after it are done."""

    cursor: str = ""
    done: tuple[UUID, ...] = ()


def load_checkpoint(file: Path) -> Checkpoint:
    """Return the place in `file`; where there is none, the beginning.

    Raises OSError, or msgspec.DecodeError when the file is something else.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Checkpoint)
    except FileNotFoundError:
        return Checkpoint()


def save_checkpoint(file: Path, place: Checkpoint) -> None:
    """Put `place` into `file`, whole or not at all; raises OSError."""
    new = file.with_suffix(".new")
    with new.open("wb") as opened:
        opened.write(msgspec.json.encode(place))
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
