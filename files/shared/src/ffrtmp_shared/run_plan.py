"""Wire types of a plan: a preview of the jobs that a suite would queue."""

from uuid import UUID

import msgspec

from ffrtmp_shared.constrained_types import Moment
from ffrtmp_shared.models import OmittedNode
from ffrtmp_shared.requirements import WhenUnmet


class WaitingScenarios(msgspec.Struct, frozen=True, kw_only=True):
    """Scenarios that no active node can run, and the reason that they have in common."""

    scenarios: tuple[str, ...]
    reason: str


class SuiteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a suite lists.

    `path` is the path in the suite, and `name` the entry of the suite, such as `source clip`.
    `is_stored` states whether the master has the file.
    """

    name: str
    path: str
    sha256: str
    is_stored: bool


class ExpectedDuration(msgspec.Struct, frozen=True, kw_only=True):
    """The expected duration of a run, in seconds, if no other jobs run at the same time.

    It is the sum of the mean durations that the same jobs had on the same nodes in earlier runs,
    for the node that takes longest. If it is null, `reason` explains why. If `is_minimum` is true,
    more jobs may be added to the run, or it has control encodes whose duration is not known.
    """

    duration_s: float | None = None
    reason: str = ""
    is_minimum: bool = False


class RunWithKey(msgspec.Struct, frozen=True, kw_only=True):
    """The run with the Idempotency-Key of a request.

    `is_same` states whether it has the suite and the seed of the request. If it has not, the master
    refuses a run with this key.
    """

    id: UUID
    suite_name: str
    created_at: Moment
    is_same: bool


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A preview of the jobs that a suite would queue.

    Attributes:
        suite_name: The name of the suite.
        jobs: The number of jobs that are queued at once.
        scenarios: The names of the scenarios.
        nodes: The active nodes that can run at least one scenario.
        repeats: The number of repeats of each scenario; with a precision, the minimum.
        max_repeats: The maximum number of repeats, or None without a precision.
        control_jobs: The number of control encodes that are certain: the first and the last one of
            each node. Only the first ones are queued at once.
        control_reason: Why the run has control encodes, or why it has none.
        control_s: The expected time that the control encodes of a node take in seconds, for the
            node on which they take longest. None if there are none, or if no node has run any yet.
        total_jobs: The number of jobs that are certain: those queued at once, and the last control
            encodes.
        waiting: The scenarios that no active node can run, which would wait.
        omitted_nodes: The nodes that could run some of the jobs, but are draining or offline.
        when_unmet: The setting of the suite for scenarios that no active node can run.
        files: The files that the suite lists.
        expected: The expected duration.
        existing: The run with the same key, which a request for a run would return or conflict
            with.
    """

    suite_name: str
    jobs: int
    scenarios: tuple[str, ...]
    nodes: tuple[str, ...]
    repeats: int = 1
    max_repeats: int | None = None
    control_jobs: int = 0
    control_reason: str = ""
    control_s: float | None = None
    total_jobs: int = 0
    waiting: tuple[WaitingScenarios, ...] = ()
    omitted_nodes: tuple[OmittedNode, ...] = ()
    when_unmet: WhenUnmet | None = None
    files: tuple[SuiteFile, ...] = ()
    expected: ExpectedDuration = ExpectedDuration()
    existing: RunWithKey | None = None
