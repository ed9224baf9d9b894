"""Results that were measured while other jobs could run on the same node."""

from ffrtmp_shared.host_environment import NODE_SHARED
from ffrtmp_shared.models import Result


def may_have_shared(result: Result) -> bool:
    """Return whether other jobs could run on the node of a result at the same time.

    Its energy, cost and carbon are then estimates, because they are those of the whole host. They
    are never divided among jobs by their CPU time, because the energy of a second of CPU time
    depends on the frequency and on the instructions. A result of an earlier release of the agent,
    which did not report this, counts as exclusive, as jobs are by default.
    """
    return result.measurement.environment.node_use == NODE_SHARED
