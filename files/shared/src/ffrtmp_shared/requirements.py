"""Requirements of a job on its node, what happens if no node meets them, and its priority."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Labels, Name, Word
from ffrtmp_shared.suite_limits import MAX_CPU_COUNT, MAX_MEMORY_BYTES

WhenUnmet = Literal["wait", "refuse"]
"""Handling of jobs whose requirements no active node meets: they wait, or are refused."""


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

    `kind` is the kind of the scenario; it is set only for kinds that some nodes do not support.
    `architecture` is the kernel's name for the architecture, such as x86_64 or aarch64. `gpu` is a
    part of the name of a GPU; upper and lower case are equivalent. `labels` must match labels of
    the node exactly. If `ffmpeg_under_test` is true, the node must be allowed to run an FFmpeg that
    a suite provides.
    """

    encoder: Word | None = None
    kind: Word | None = None
    node: Name | None = None
    architecture: Word | None = None
    gpu: Word | None = None
    memory_bytes_min: Annotated[int, Meta(ge=1, le=MAX_MEMORY_BYTES)] | None = None
    cpu_count_min: Annotated[int, Meta(ge=1, le=MAX_CPU_COUNT)] | None = None
    labels: Labels = {}
    ffmpeg_under_test: bool = False
