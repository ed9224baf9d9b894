"""The progress of the series importer, stored on disk."""

import os
from pathlib import Path
from uuid import UUID

import msgspec


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A cursor of the list of results, and the ids of imported results after it."""

    cursor: str = ""
    done: tuple[UUID, ...] = ()


def load_checkpoint(file: Path) -> Checkpoint:
    """Return the checkpoint in `file`, or an empty one if the file does not exist.

    Raises OSError, or msgspec.DecodeError if the file is not a checkpoint.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Checkpoint)
    except FileNotFoundError:
        return Checkpoint()


def save_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint to `file` atomically; raises OSError."""
    new = file.with_suffix(".new")
    with new.open("wb") as opened:
        opened.write(msgspec.json.encode(checkpoint))
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
