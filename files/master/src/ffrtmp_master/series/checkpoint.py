"""The progress of the series importer, stored on disk."""

from pathlib import Path
from uuid import UUID

import msgspec
from ffrtmp_shared.atomic_file import write_atomically


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A cursor in the list of results, and the ids of the results after it that were imported."""

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
    write_atomically(file, msgspec.json.encode(checkpoint), is_durable=True)
