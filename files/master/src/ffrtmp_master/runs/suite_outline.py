"""The settings of a suite that are needed after its run was created."""

from typing import Self

import msgspec
from ffrtmp_shared.precision import Precision
from ffrtmp_shared.suite import Suite
from ffrtmp_shared.suite_pairs import SuitePair


class SuiteOutline(msgspec.Struct, frozen=True):
    """The settings; see `Suite` for their meaning."""

    precision: Precision | None
    repeats: int
    exclusive: bool
    compare: tuple[SuitePair, ...] = ()

    @classmethod
    def of(cls, suite: Suite) -> Self:
        """Return the outline of a suite."""
        return cls(
            precision=suite.precision,
            repeats=suite.repeats,
            exclusive=suite.exclusive,
            compare=suite.compare,
        )
