"""Tests of whether other jobs could run during a measurement."""

import factories
import msgspec
import pytest
import result_collectors
from ffrtmp_analysis.book_cost import encode_use
from ffrtmp_analysis.node_use import may_have_shared
from ffrtmp_shared.host_environment import NODE_EXCLUSIVE, NODE_SHARED
from ffrtmp_shared.unavailable import Unavailable


@pytest.mark.parametrize(
    ("node_use", "expected"),
    [
        (NODE_EXCLUSIVE, False),
        (NODE_SHARED, True),
        (Unavailable(reason="this release of the agent did not measure it"), False),
    ],
)
def test_only_a_job_that_was_not_exclusive_may_have_shared(
    node_use: str | Unavailable, expected: bool
) -> None:
    measured = factories.measurement()
    environment = msgspec.structs.replace(measured.environment, node_use=node_use)
    result = result_collectors.result(
        measurement=msgspec.structs.replace(measured, environment=environment)
    )
    assert may_have_shared(result) is expected
    assert encode_use(result).is_estimate is expected
