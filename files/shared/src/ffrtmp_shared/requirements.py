"""What a job asks of a node, and how urgent it is."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Labels, Name, Word


class Priority(StrEnum):
    """How urgent a job is, the most urgent first."""

    LIVE = "live"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    BATCH = "batch"

    @property
    def steps(self) -> int:
        """Return how many priorities stand below this one."""
        return _STEPS[self]


_STEPS = {priority: place for place, priority in enumerate(reversed(Priority))}


class Requirements(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a node must be or have; what is not said does not matter.

    `architecture` is the kernel's name of it (x86_64, aarch64), `gpu` a part of a GPU's name in
    any case, `labels` are labels of the node with exactly these values. `kind` stands only where
    not every node can do jobs of that kind. `ffmpeg_under_test` asks for a node that may run an
    FFmpeg that a suite gives.
    """

    encoder: Word | None = None
    kind: Word | None = None
    node: Name | None = None
    architecture: Word | None = None
    gpu: Word | None = None
    memory_bytes_min: Annotated[int, Meta(ge=1, le=2**62)] | None = None
    cpu_count_min: Annotated[int, Meta(ge=1, le=65536)] | None = None
    labels: Labels = {}
    ffmpeg_under_test: bool = False
