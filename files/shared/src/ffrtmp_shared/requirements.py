"""Requirements of a job on its node, and its priority."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Labels, Name, Word


class Priority(StrEnum):
    """Priorities of jobs, the most urgent first."""

    LIVE = "live"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    BATCH = "batch"

    @property
    def steps(self) -> int:
        """Number of priorities below this one."""
        return _STEPS[self]


_STEPS = {priority: place for place, priority in enumerate(reversed(Priority))}


class Requirements(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Properties that a node must have. Properties that are not set are not checked.

    `architecture` is the kernel's name (x86_64, aarch64), `gpu` a case-insensitive part of the
    name of a GPU, and `labels` must match labels of the node exactly. `kind` is set only for
    kinds that not every node supports. `ffmpeg_under_test` requires a node that may run an FFmpeg
    that a suite provides.
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
